//! The published keys: the worker publishes, logins find. No login ever touches the network.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use pgaad_core::Reason;
use pgaad_core::inline::Inline;
use pgaad_core::key_history;
use pgaad_core::keys::KeyName;
use pgaad_core::keys::{self, KeySet, SigningKey};
use pgaad_core::refresh::RefreshPolicy;
use pgaad_core::refresh_queue::Ticket;
use pgaad_core::settings::Settings;
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;

use crate::pg::clock;
use crate::pg::shmem::{self, FetchState, KeyBoard, RefreshState, Source};
use crate::pg::worker::{self, WorkerId};

/// How often a login that waits for a fetch looks whether it is over.
const POLL: Duration = Duration::from_millis(5);

/// Publishes `set` in place of what was published before. A key that the provider has withdrawn dies with its grace;
/// one that the operator's file does not hold any more, or that is missing when an operator asks, dies here.
///
/// `file` is the `pgaad.jwks_file` that holds the set, `None` for one of the provider's.
pub(crate) fn publish(
    tenant: &Tenant,
    set: &KeySet,
    fetched_at: UnixTime,
    source: Source,
    file: Option<&Path>,
) {
    let Some(issuer) = Inline::new(tenant.v2_issuer().as_bytes()) else { return };
    let Some(file) = Inline::new(path_bytes(file)) else { return };
    let mut board = KeyBoard { issuer, file, fetched_at, source, ..KeyBoard::default() };
    let is_same = |known: &KeyBoard| known.issuer == board.issuer && known.file == board.file;
    let known =
        shmem::with_keys(is_same, |known| known.entries.iter().flatten().copied().collect::<Vec<_>>());
    let known = known.unwrap_or_default();
    let keeps_missing = source == Source::Network && !shmem::refresh_queue().is_demanded();
    let entries = key_history::after_answer(&known, set.keys(), fetched_at, keeps_missing);
    for (place, entry) in board.entries.iter_mut().zip(entries) {
        *place = Some(entry);
    }
    shmem::publish_keys(&board);
}

/// Whether a key is missing that may come back.
pub(crate) fn is_one_missing() -> bool {
    let now = clock::now();
    let is_one_missing = |board: &KeyBoard| board.alive(now).any(|entry| entry.missing_since.is_some());
    shmem::each_board(is_one_missing).contains(&true)
}

/// Drops the published keys of a tenant.
pub(crate) fn drop_of(tenant: &Tenant) {
    shmem::drop_keys(|board| board.issuer.as_str() == tenant.v2_issuer());
}

/// Whether published keys come from where the settings say that keys come from: the tenant at its authority, and
/// the same file, or none.
///
/// Each login asks, by the settings in force for it: the worker drops keys of another source when it reloads its
/// settings, and a login that comes right after the reload must not be faster than that.
pub(crate) fn is_of_source(board: &KeyBoard, tenant: &Tenant, jwks_file: Option<&Path>) -> bool {
    board.issuer.as_str() == tenant.v2_issuer() && board.file.as_bytes() == path_bytes(jwks_file)
}

fn path_bytes(path: Option<&Path>) -> &[u8] {
    path.map(|path| path.as_os_str().as_bytes()).unwrap_or_default()
}

/// The code of what went wrong when keys of a tenant's were last fetched, and words, where there are some. Without a
/// tenant, what keeps the settings from being used: once they are good it says nothing any more, and the worker may not
/// have read them yet.
pub(crate) fn last_error(tenant: Option<&Tenant>) -> Option<(String, String)> {
    let state = shmem::refresh_state();
    let Some(tenant) = tenant else {
        let code = state.settings_error.as_str();
        return (!code.is_empty()).then(|| (code.to_owned(), String::new()));
    };
    let fetch = fetches_of(&state, tenant);
    let code = fetch.last_error.as_str();
    (!code.is_empty()).then(|| (code.to_owned(), fetch.last_cause.as_str().to_owned()))
}

/// How the fetches of a tenant's keys have gone.
pub(crate) fn fetches_of(state: &RefreshState, tenant: &Tenant) -> FetchState {
    let is_of = |fetch: &&FetchState| fetch.issuer.as_str() == tenant.v2_issuer();
    state.fetches.iter().find(is_of).copied().unwrap_or_default()
}

/// Finds the key that a token names; where it is not known, joins the fetch that is under way, or has the
/// worker fetch, and waits until that is over or `pgaad.key_wait` has passed since it was asked for.
///
/// # Errors
/// [`Reason::KeyUnknown`], [`Reason::NoKeys`], [`Reason::KeysStale`], at once when no fetch is under way
/// and a login has caused one within the cool-down.
pub(crate) fn find_or_refresh(
    name: KeyName<'_>,
    tenant: &Tenant,
    settings: &Settings,
) -> Result<SigningKey, Reason> {
    let (policy, wait) = (&settings.refresh, settings.key_wait);
    let find = || find(name, tenant, settings, clock::now());
    // The fetch that is under way may have begun before the provider had the key; the one after it has not.
    for _ in 0..2 {
        if let Ok(key) = find() {
            return Ok(key);
        }
        let Some(ticket) = join_or_ask(policy) else { break };
        // The keys of this tenant may be there before those of another, which is in trouble.
        if !is_done_in_time(ticket, wait, || find().is_ok()) {
            break;
        }
    }
    find()
}

/// The refresh that is under way, or one that this login causes, unless another has within the cool-down.
fn join_or_ask(policy: &RefreshPolicy) -> Option<Ticket> {
    let ticket = shmem::with_refresh_queue(|queue| queue.join_or_ask(clock::monotonic(), policy));
    if ticket.is_some() {
        worker::wake(WorkerId::Keys);
    }
    ticket
}

/// Waits for a refresh, or what is wanted of it, as long as it may take counted from when it could begin.
fn is_done_in_time(ticket: Ticket, wait: Duration, is_there: impl Fn() -> bool) -> bool {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    while !shmem::refresh_queue().is_done(ticket) && !is_there() {
        if clock::monotonic().saturating_sub(ticket.since) >= wait {
            return false;
        }
        worker::wait(POLL);
    }
    true
}

fn find(
    name: KeyName<'_>,
    tenant: &Tenant,
    settings: &Settings,
    now: UnixTime,
) -> Result<SigningKey, Reason> {
    with_usable(tenant, settings, now, |board, age_seconds| {
        let keys = || board.alive(now).map(|entry| &entry.key);
        keys::find(keys(), name, tenant).copied().ok_or_else(|| Reason::KeyUnknown {
            kid: name.text().to_owned(),
            keys: keys().count(),
            age_seconds,
        })
    })?
}

/// All published keys, to explain why one is not among them.
///
/// # Errors
/// [`Reason::NoKeys`], [`Reason::KeysStale`].
pub(crate) fn all(tenant: &Tenant, settings: &Settings) -> Result<Vec<SigningKey>, Reason> {
    let now = clock::now();
    with_usable(tenant, settings, now, |board, _| board.alive(now).map(|entry| entry.key).collect())
}

/// Reads what is published of a tenant, however old it is. `None` where nothing is.
pub(crate) fn read<T>(tenant: &Tenant, settings: &Settings, read: impl FnOnce(&KeyBoard) -> T) -> Option<T> {
    shmem::with_keys(|board| is_of_source(board, tenant, settings.jwks_file.as_deref()), read)
}

/// Reads the published keys and their age, if they are the tenant's, from the source that is configured, and fresh
/// enough.
fn with_usable<T>(
    tenant: &Tenant,
    settings: &Settings,
    now: UnixTime,
    read: impl FnOnce(&KeyBoard, i64) -> T,
) -> Result<T, Reason> {
    self::read(tenant, settings, |board| {
        let age_seconds = now.since(board.fetched_at);
        // A clock that stepped back says nothing about the age, so it counts like one that ran on.
        if age_seconds.unsigned_abs() > settings.refresh.max_stale.as_secs() {
            return Err(Reason::KeysStale { age_seconds });
        }
        Ok(read(board, age_seconds))
    })
    .unwrap_or(Err(Reason::NoKeys))
}
