//! What all processes of the server share: the published keys, who waits for a refresh of them, and how the last went.
//!
//! Fixed size, plain data. A value is built outside the lock and published by one assignment under
//! it, so that a panic can never leave half a write behind.

use pgaad_core::inline::Inline;
use pgaad_core::key_history::KeyEntry;
use pgaad_core::keys::MAX_KEYS;
use pgaad_core::refresh_queue::RefreshQueue;
use pgaad_core::settings::MAX_PATH_BYTES;
use pgaad_core::time::UnixTime;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;

/// Most bytes of the words that are kept of what went wrong.
pub(crate) const LONGEST_CAUSE: usize = 512;

/// Where keys came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// The identity provider.
    #[default]
    Network,
    /// `keys.json` in the data directory, written when the provider last answered.
    Disk,
    /// `pgaad.jwks_file`.
    File,
}

impl Source {
    /// The word for it in logs and views.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Disk => "disk",
            Self::File => "file",
        }
    }
}

/// The published keys of one tenant.
#[derive(Clone, Copy)]
pub(crate) struct KeyBoard {
    /// The v2 issuer they belong to; empty when nothing is published.
    pub(crate) issuer: Inline<256>,
    /// The path of the `pgaad.jwks_file` that they were read from; empty when the provider gave them.
    pub(crate) file: Inline<MAX_PATH_BYTES>,
    /// When the provider gave them, or when their file was last modified.
    pub(crate) fetched_at: UnixTime,
    /// Where they came from.
    pub(crate) source: Source,
    /// The keys, in the first places.
    pub(crate) entries: [Option<KeyEntry>; MAX_KEYS],
}

impl KeyBoard {
    /// The keys that tokens may be verified with.
    pub(crate) fn alive(&self, now: UnixTime) -> impl Iterator<Item = &KeyEntry> {
        self.entries.iter().flatten().filter(move |entry| entry.is_alive(now))
    }
}

impl Default for KeyBoard {
    fn default() -> Self {
        Self {
            issuer: Inline::EMPTY,
            file: Inline::EMPTY,
            fetched_at: UnixTime::new(0),
            source: Source::default(),
            entries: [None; MAX_KEYS],
        }
    }
}

/// How the refreshes of the keys have gone.
#[derive(Clone, Copy, Default)]
pub(crate) struct RefreshState {
    /// When one last brought keys.
    pub(crate) last_success: Option<UnixTime>,
    /// Code of what went wrong at the last try; empty when nothing did.
    pub(crate) last_error: Inline<64>,
    /// The same in words, where the code leaves something open.
    pub(crate) last_cause: Inline<LONGEST_CAUSE>,
    /// What is wrong with `keys.json`, in words; empty when nothing is.
    pub(crate) snapshot_problem: Inline<256>,
    /// By how many seconds the server's clock was ahead of the provider's, when it last answered.
    pub(crate) clock_ahead: Option<i64>,
    /// When the next begins.
    pub(crate) next_refresh: Option<UnixTime>,
}

// SAFETY: plain data without pointers.
unsafe impl PGRXSharedMemory for KeyBoard {}
// SAFETY: as above.
unsafe impl PGRXSharedMemory for RefreshState {}

/// The queue, as plain data of this crate.
#[derive(Clone, Copy, Default)]
struct Queue(RefreshQueue);

// SAFETY: as above.
unsafe impl PGRXSharedMemory for Queue {}

// SAFETY: a name of ours, used once.
static KEYS: PgLwLock<KeyBoard> = unsafe { PgLwLock::new(c"pgaad_keys") };
// SAFETY: a name of ours, used once.
static REFRESHES: PgLwLock<RefreshState> = unsafe { PgLwLock::new(c"pgaad_refreshes") };
// SAFETY: a name of ours, used once.
static QUEUE: PgLwLock<Queue> = unsafe { PgLwLock::new(c"pgaad_refresh_queue") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(KEYS);
    pg_shmem_init!(REFRESHES);
    pg_shmem_init!(QUEUE);
}

/// Reads the published keys under the shared lock. `read` copies out what it needs and cannot block.
pub(crate) fn with_keys<T>(read: impl FnOnce(&KeyBoard) -> T) -> T {
    read(&KEYS.share())
}

/// Publishes keys.
pub(crate) fn publish_keys(board: &KeyBoard) {
    *KEYS.exclusive() = *board;
}

/// How the refreshes have gone.
pub(crate) fn refresh_state() -> RefreshState {
    *REFRESHES.share()
}

/// Notes how a refresh has gone. `change` works on a copy.
pub(crate) fn update_refresh_state(change: impl FnOnce(&mut RefreshState)) {
    let mut guard = REFRESHES.exclusive();
    let mut state = *guard;
    change(&mut state);
    *guard = state;
}

/// The queue as it is now.
pub(crate) fn refresh_queue() -> RefreshQueue {
    QUEUE.share().0
}

/// Changes the queue. `change` works on a copy, and cannot block.
pub(crate) fn with_refresh_queue<T>(change: impl FnOnce(&mut RefreshQueue) -> T) -> T {
    let mut guard = QUEUE.exclusive();
    let mut queue = guard.0;
    let result = change(&mut queue);
    guard.0 = queue;
    result
}
