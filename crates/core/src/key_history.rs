//! What a server knows of the tenant's keys over time: since when, and which the provider has withdrawn.
//!
//! Genuine key sets flicker: a key is gone from one answer and back in the next. So one that vanishes is good for a
//! while longer, and dies if no answer holds it again, whether there are answers or not.

use std::time::Duration;

use crate::keys::{MAX_KEYS, SigningKey};
use crate::time::UnixTime;

/// How long a key outlives the first good answer without it.
pub const GRACE: Duration = Duration::from_secs(300);

/// How soon keys are fetched again while one is missing, so that it is seen when it is back.
pub const RECHECK: Duration = Duration::from_secs(60);

/// A key with what is known of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key.
    pub key: SigningKey,
    /// When it was first published by the provider, as far as this server saw.
    pub first_seen: UnixTime,
    /// When it was last seen.
    pub last_seen: UnixTime,
    /// When an answer first lacked it; `None` for a key that the last answer held.
    pub missing_since: Option<UnixTime>,
}

impl KeyEntry {
    /// Whether tokens may be verified with it. A clock that was set back says nothing of how long it is missing.
    pub fn is_alive(&self, now: UnixTime) -> bool {
        self.missing_since.is_none_or(|since| {
            u64::try_from(now.since(since)).is_ok_and(|seconds| seconds < GRACE.as_secs())
        })
    }
}

/// The entries after an answer that held `keys` at `now`, where `known` were those before: at most [`MAX_KEYS`].
///
/// Keys of `known` that are missing stay if `keeps_missing`, until their grace is over, unless a key of the answer has
/// the same name: then they were replaced.
pub fn after_answer(
    known: &[KeyEntry],
    keys: &[SigningKey],
    now: UnixTime,
    keeps_missing: bool,
) -> Vec<KeyEntry> {
    let seen = |key: &SigningKey| {
        let before = known.iter().find(|entry| entry.key == *key);
        let first_seen = before.map_or(now, |entry| entry.first_seen);
        KeyEntry { key: *key, first_seen, last_seen: now, missing_since: None }
    };
    let is_replaced = |entry: &KeyEntry| keys.iter().any(|key| key.shares_a_name_with(&entry.key));
    let missing = known
        .iter()
        .filter(|entry| keeps_missing && !is_replaced(entry))
        .map(|entry| KeyEntry { missing_since: entry.missing_since.or(Some(now)), ..*entry })
        .filter(|entry| entry.is_alive(now));
    keys.iter().map(seen).chain(missing).take(MAX_KEYS).collect()
}
