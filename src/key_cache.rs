//! The published keys: the worker publishes, logins find. No login ever touches the network.

use std::time::Duration;

use pgaad_core::Refusal;
use pgaad_core::inline::Inline;
use pgaad_core::keys::{self, KeySet, SigningKey};
use pgaad_core::refresh::RefreshPolicy;
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;
use pgaad_core::token::KeyName;

use crate::pg::shmem::{self, KeyBoard, KeyEntry, Refresh, Source};
use crate::pg::{clock, worker};

/// How often a login that waits for a fetch looks whether it is over.
const POLL: Duration = Duration::from_millis(5);

/// Replaces all published keys by `set`: a key that the provider has withdrawn dies here.
pub(crate) fn publish(tenant: &Tenant, set: &KeySet, fetched_at: UnixTime, source: Source) {
    let Some(issuer) = Inline::new(tenant.v2_issuer().as_bytes()) else { return };
    let mut board = KeyBoard { issuer, fetched_at, source, ..KeyBoard::default() };
    let known = shmem::with_keys(|board| *board);
    for (place, key) in board.entries.iter_mut().zip(set.keys()) {
        let before = known.entries.iter().flatten().find(|entry| entry.key == *key);
        *place = Some(KeyEntry {
            key: *key,
            first_seen: before.map_or(fetched_at, |entry| entry.first_seen),
            last_seen: fetched_at,
        });
    }
    shmem::publish_keys(&board);
}

/// Finds the key that a token names; where it is not known, joins the fetch that is under way, or has the
/// worker fetch, and waits until that is over or `wait` has passed since it was asked for.
///
/// # Errors
/// [`Refusal::KeyUnknown`], [`Refusal::NoKeys`], [`Refusal::KeysStale`], at once when no fetch is under way
/// and a login has caused one within the cool-down.
pub(crate) fn find_or_refresh(
    name: KeyName<'_>,
    tenant: &Tenant,
    policy: &RefreshPolicy,
    wait: Duration,
) -> Result<SigningKey, Refusal> {
    let find = || find(name, tenant, policy, clock::now());
    // The fetch that is under way may have begun before the provider had the key; the one after it has not.
    for _ in 0..2 {
        if let Ok(key) = find() {
            return Ok(key);
        }
        let Some(refresh) = join_or_ask(policy) else { break };
        if !is_done_in_time(refresh, wait) {
            break;
        }
    }
    find()
}

/// The refresh that is under way, or one that this login causes, unless another has within the cool-down.
///
/// All of it happens under one lock: whoever is denied the cool-down sees the refresh of him who got it.
fn join_or_ask(policy: &RefreshPolicy) -> Option<Refresh> {
    let now = clock::monotonic();
    let refresh = shmem::update_worker(|state| {
        Refresh::under_way().or_else(|| state.cooldown.claim(now, policy).then(|| Refresh::owe(now)))
    });
    if refresh.is_some() {
        shmem::wake_worker();
    }
    refresh
}

/// Waits for a refresh, as long as it may take counted from when it was asked for.
fn is_done_in_time(refresh: Refresh, wait: Duration) -> bool {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    while !refresh.is_done() {
        if clock::monotonic().saturating_sub(refresh.asked_at) >= wait {
            return false;
        }
        worker::nap(POLL);
    }
    true
}

fn find(
    name: KeyName<'_>,
    tenant: &Tenant,
    policy: &RefreshPolicy,
    now: UnixTime,
) -> Result<SigningKey, Refusal> {
    with_usable(tenant, policy, now, |board, age_seconds| {
        let unknown = Refusal::KeyUnknown { keys: keys_of(board).count(), age_seconds };
        keys::find(keys_of(board), name, tenant).copied().ok_or(unknown)
    })?
}

/// All published keys, to explain why one is not among them.
///
/// # Errors
/// [`Refusal::NoKeys`], [`Refusal::KeysStale`].
pub(crate) fn all(tenant: &Tenant, policy: &RefreshPolicy) -> Result<Vec<SigningKey>, Refusal> {
    with_usable(tenant, policy, clock::now(), |board, _| keys_of(board).copied().collect())
}

fn keys_of(board: &KeyBoard) -> impl Iterator<Item = &SigningKey> {
    board.entries.iter().flatten().map(|entry| &entry.key)
}

/// Reads the published keys and their age, if they are the tenant's and fresh enough.
fn with_usable<T>(
    tenant: &Tenant,
    policy: &RefreshPolicy,
    now: UnixTime,
    read: impl FnOnce(&KeyBoard, i64) -> T,
) -> Result<T, Refusal> {
    shmem::with_keys(|board| {
        if board.issuer.as_str() != tenant.v2_issuer() {
            return Err(Refusal::NoKeys);
        }
        let age_seconds = now.since(board.fetched_at);
        // A clock that stepped back says nothing about the age, so it counts like one that ran on.
        if board.source != Source::File && age_seconds.unsigned_abs() > policy.max_stale.as_secs() {
            return Err(Refusal::KeysStale { age_seconds });
        }
        Ok(read(board, age_seconds))
    })
}
