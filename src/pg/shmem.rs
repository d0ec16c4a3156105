//! What all processes of the server share: the published keys and the state of the worker.
//!
//! Fixed size, plain data. A value is built outside the lock and published by one assignment under
//! it, so that a panic can never leave half a write behind.

use std::sync::atomic::{AtomicU64, Ordering};

use pgaad_core::inline::Inline;
use pgaad_core::keys::{MAX_KEYS, SigningKey};
use pgaad_core::refresh::{Cooldown, Monotonic};
use pgaad_core::time::UnixTime;
use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{PgAtomic, pg_shmem_init};

/// Longest path of a file; Linux opens none that is longer (`PATH_MAX`, with its final NUL).
pub(crate) const MAX_PATH_BYTES: usize = 4095;

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

/// A key with what is known of its history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyEntry {
    /// The key.
    pub(crate) key: SigningKey,
    /// When it was first published by the provider, as far as this server saw.
    pub(crate) first_seen: UnixTime,
    /// When it was last seen.
    pub(crate) last_seen: UnixTime,
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

/// What the worker is about.
#[derive(Clone, Copy, Default)]
pub(crate) struct WorkerState {
    /// Its process id; 0 while there is none.
    pub(crate) pid: i32,
    /// When it last got keys.
    pub(crate) last_success: Option<UnixTime>,
    /// Code of what went wrong at the last try; empty when nothing did.
    pub(crate) last_error: Inline<64>,
    /// The same in words, where the code leaves something open.
    pub(crate) last_cause: Inline<256>,
    /// What is wrong with `keys.json`, in words; empty when nothing is.
    pub(crate) snapshot_problem: Inline<256>,
    /// By how many seconds the server's clock was ahead of the provider's, when it last answered.
    pub(crate) clock_ahead: Option<i64>,
    /// When it will fetch again.
    pub(crate) next_refresh: Option<UnixTime>,
    /// The cool-down of fetches that logins cause.
    pub(crate) cooldown: Cooldown,
    /// Address of its latch in shared memory, the same in every process; 0 while there is none.
    latch: usize,
}

// SAFETY: plain data without pointers into any process' own memory; the latch's address is in
// shared memory, which every process has at the same place (they are forked).
unsafe impl PGRXSharedMemory for KeyBoard {}
// SAFETY: as above.
unsafe impl PGRXSharedMemory for WorkerState {}

// SAFETY: a name of ours, used once.
static KEYS: PgLwLock<KeyBoard> = unsafe { PgLwLock::new(c"pgaad_keys") };
// SAFETY: a name of ours, used once.
static WORKER: PgLwLock<WorkerState> = unsafe { PgLwLock::new(c"pgaad_worker") };
/// Refreshes asked for, counted; the worker owes one while `DONE` is smaller.
// SAFETY: a name of ours, used once.
static ASKED: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"pgaad_asked") };
/// When the one that is under way was asked for, or began, where that was after another.
// SAFETY: a name of ours, used once.
static ASKED_AT: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"pgaad_asked_at") };
/// The count of `ASKED` that the last finished refresh had seen when it began.
// SAFETY: a name of ours, used once.
static DONE: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"pgaad_done") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(KEYS);
    pg_shmem_init!(WORKER);
    pg_shmem_init!(ASKED);
    pg_shmem_init!(ASKED_AT);
    pg_shmem_init!(DONE);
}

/// Reads the published keys under the shared lock. `read` copies out what it needs and cannot block.
pub(crate) fn with_keys<T>(read: impl FnOnce(&KeyBoard) -> T) -> T {
    read(&KEYS.share())
}

/// Publishes keys.
pub(crate) fn publish_keys(board: &KeyBoard) {
    *KEYS.exclusive() = *board;
}

/// The worker's state.
pub(crate) fn worker_state() -> WorkerState {
    *WORKER.share()
}

/// Changes the worker's state. `change` works on a copy.
pub(crate) fn update_worker<T>(change: impl FnOnce(&mut WorkerState) -> T) -> T {
    let mut guard = WORKER.exclusive();
    let mut state = *guard;
    let result = change(&mut state);
    *guard = state;
    result
}

/// Notes that this process is the worker.
pub(crate) fn enter_worker() {
    // SAFETY: plain globals of this process; a background worker's latch is its PGPROC's, in shared memory.
    let (pid, latch) = unsafe { (pg_sys::MyProcPid, pg_sys::MyLatch.addr()) };
    update_worker(|state| {
        state.pid = pid;
        state.latch = latch;
    });
}

/// Notes that there is no worker any more.
pub(crate) fn leave_worker() {
    update_worker(|state| {
        state.pid = 0;
        state.latch = 0;
    });
}

/// Wakes the worker, if there is one.
pub(crate) fn wake_worker() {
    let latch: *mut pg_sys::Latch = std::ptr::with_exposed_provenance_mut(worker_state().latch);
    if !latch.is_null() {
        // SAFETY: the latch of a PGPROC, which stays in shared memory for the server's life; when
        // the worker has gone meanwhile, somebody else wakes for nothing (latch.h allows for it).
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// A refresh that the worker owes, or is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refresh {
    number: u64,
    /// When it was asked for; where it had to wait for another one, when that was over.
    pub(crate) asked_at: Monotonic,
}

impl Refresh {
    /// Asks the worker for a refresh that begins from now on.
    pub(crate) fn ask(now: Monotonic) -> Self {
        let refresh = Self::owe(now);
        wake_worker();
        refresh
    }

    /// Makes the worker owe a refresh that begins from now on, without waking it: that takes the lock on its
    /// state, which the caller may hold.
    pub(crate) fn owe(now: Monotonic) -> Self {
        if Self::under_way().is_none() {
            ASKED_AT.get().store(now, Ordering::SeqCst);
        }
        Self { number: ASKED.get().fetch_add(1, Ordering::SeqCst) + 1, asked_at: now }
    }

    /// The refresh that is owed or running, if there is one.
    pub(crate) fn under_way() -> Option<Self> {
        let (done, number) = (DONE.get().load(Ordering::SeqCst), ASKED.get().load(Ordering::SeqCst));
        (done < number).then(|| Self { number, asked_at: ASKED_AT.get().load(Ordering::SeqCst) })
    }

    /// Whether it is over.
    pub(crate) fn is_done(self) -> bool {
        DONE.get().load(Ordering::SeqCst) >= self.number
    }

    /// Notes, in the worker, that what is owed still begins now: whoever joins it waits as long for it as for any other.
    pub(crate) fn begin_again(now: Monotonic) {
        ASKED_AT.get().store(now, Ordering::SeqCst);
    }

    /// Notes, in the worker, that this and all earlier ones are over.
    pub(crate) fn finish(self) {
        DONE.get().fetch_max(self.number, Ordering::SeqCst);
    }
}
