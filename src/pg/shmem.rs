//! What all processes of the server share: the published keys, who waits for a refresh of them, and how the last went.
//!
//! Fixed size, plain data. A value is built outside the lock and published by one assignment under
//! it, so that a panic can never leave half a write behind.

use pgaad_core::guid::TenantId;
use pgaad_core::inline::Inline;
use pgaad_core::key_history::KeyEntry;
use pgaad_core::keys::MAX_KEYS;
use pgaad_core::refresh_queue::RefreshQueue;
use pgaad_core::settings::{MAX_PATH_BYTES, MAX_TENANTS};
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
    /// The tenant's v2 issuer; empty when nothing is published.
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
    /// The tenant's id, as its issuer has it: `https://…/{id}/v2.0`.
    pub(crate) fn tenant_id(&self) -> Option<TenantId> {
        self.issuer.as_str().rsplit('/').nth(1)?.parse().ok()
    }

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

/// How the fetches of one tenant's keys have gone.
#[derive(Clone, Copy, Default)]
pub(crate) struct FetchState {
    /// The tenant's v2 issuer; empty where there is none.
    pub(crate) issuer: Inline<256>,
    /// When one last brought keys.
    pub(crate) last_success: Option<UnixTime>,
    /// Code of what went wrong at the last try; empty when nothing did.
    pub(crate) last_error: Inline<64>,
    /// The same in words, where the code leaves something open.
    pub(crate) last_cause: Inline<LONGEST_CAUSE>,
}

/// How the refreshes of the keys have gone.
#[derive(Clone, Copy, Default)]
pub(crate) struct RefreshState {
    /// Of each tenant, in the order of `pgaad.tenant_id`.
    pub(crate) fetches: [FetchState; MAX_TENANTS],
    /// Code of what keeps the settings from being used for a fetch; empty when nothing does.
    pub(crate) settings_error: Inline<64>,
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

/// A board for each tenant, in no order, and their initialization.
macro_rules! boards {
    ($($name:ident $c_name:literal)+) => {
        $(
            // SAFETY: a name of ours, used once.
            static $name: PgLwLock<KeyBoard> = unsafe { PgLwLock::new($c_name) };
        )+
        static BOARDS: [&PgLwLock<KeyBoard>; MAX_TENANTS] = [$(&$name),+];

        fn request_boards() {
            $( pg_shmem_init!($name); )+
        }
    };
}

boards! {
    KEYS c"pgaad_keys"
    KEYS_2 c"pgaad_keys_2"
    KEYS_3 c"pgaad_keys_3"
    KEYS_4 c"pgaad_keys_4"
    KEYS_5 c"pgaad_keys_5"
    KEYS_6 c"pgaad_keys_6"
    KEYS_7 c"pgaad_keys_7"
    KEYS_8 c"pgaad_keys_8"
}

// SAFETY: a name of ours, used once.
static REFRESHES: PgLwLock<RefreshState> = unsafe { PgLwLock::new(c"pgaad_refreshes") };
// SAFETY: a name of ours, used once.
static QUEUE: PgLwLock<Queue> = unsafe { PgLwLock::new(c"pgaad_refresh_queue") };
// SAFETY: a name of ours, used once.
static DIRECTORY_QUEUE: PgLwLock<Queue> = unsafe { PgLwLock::new(c"pgaad_directory_queue") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    request_boards();
    pg_shmem_init!(REFRESHES);
    pg_shmem_init!(QUEUE);
    pg_shmem_init!(DIRECTORY_QUEUE);
}

/// Reads a tenant's published keys under the shared lock. `read` copies out what it needs and cannot block. `None`
/// where no board is the tenant's.
pub(crate) fn with_keys<T>(
    is_it: impl Fn(&KeyBoard) -> bool,
    read: impl FnOnce(&KeyBoard) -> T,
) -> Option<T> {
    BOARDS
        .into_iter()
        .find_map(|board| {
            let board = board.share();
            is_it(&board).then_some(board)
        })
        .map(|board| read(&board))
}

/// Reads all boards that have keys, one after the other.
pub(crate) fn each_board<T>(mut read: impl FnMut(&KeyBoard) -> T) -> Vec<T> {
    let boards = BOARDS.into_iter().map(|board| board.share());
    boards.filter(|board| !board.issuer.is_empty()).map(|board| read(&board)).collect()
}

/// Publishes a tenant's keys in place of those of before. Only the worker calls it, and has dropped what belongs to no
/// tenant any more: there is a place for each.
pub(crate) fn publish_keys(board: &KeyBoard) {
    let place = |issuer: &Inline<256>| BOARDS.into_iter().find(|place| place.share().issuer == *issuer);
    if let Some(place) = place(&board.issuer).or_else(|| place(&Inline::EMPTY)) {
        *place.exclusive() = *board;
    }
}

/// Drops the boards with keys of which this is true. Tells whether there were some.
pub(crate) fn drop_keys(is_one: impl Fn(&KeyBoard) -> bool) -> bool {
    let mut has_dropped = false;
    for place in BOARDS {
        let is_dropped = {
            let board = place.share();
            !board.issuer.is_empty() && is_one(&board)
        };
        if is_dropped {
            *place.exclusive() = KeyBoard::default();
            has_dropped = true;
        }
    }
    has_dropped
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

/// The queue of the directory's runs, as it is now.
pub(crate) fn directory_queue() -> RefreshQueue {
    DIRECTORY_QUEUE.share().0
}

/// Changes it, as [`with_refresh_queue`].
pub(crate) fn with_directory_queue<T>(change: impl FnOnce(&mut RefreshQueue) -> T) -> T {
    with_queue(&DIRECTORY_QUEUE, change)
}

/// The queue as it is now.
pub(crate) fn refresh_queue() -> RefreshQueue {
    QUEUE.share().0
}

/// Changes the queue. `change` works on a copy, and cannot block.
pub(crate) fn with_refresh_queue<T>(change: impl FnOnce(&mut RefreshQueue) -> T) -> T {
    with_queue(&QUEUE, change)
}

fn with_queue<T>(queue: &PgLwLock<Queue>, change: impl FnOnce(&mut RefreshQueue) -> T) -> T {
    let mut guard = queue.exclusive();
    let mut queue = guard.0;
    let result = change(&mut queue);
    guard.0 = queue;
    result
}
