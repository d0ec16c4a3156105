//! Sessions that end with their token: who they are and when, in shared memory, and their end.
//!
//! A time-out of the session's own would not do: core disarms all of them at the first SQL error
//! (postgres.c, `disable_all_timeouts`). So a backend leaves its process id here, and the worker
//! sends SIGTERM when it is due. The place is emptied as the backend exits, before its id can be
//! given to another process; a backend that dies without makes the postmaster empty all of this.

use std::array;
use std::sync::atomic::{AtomicI64, Ordering};

use pgaad_core::time::UnixTime;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;

use super::clock;
use super::worker::{self, WorkerId};

/// Most sessions at a time.
const PLACES: usize = 8192;

/// The end of a free place, and of a session that was told.
///
/// Zero, as all of a free place is, without padding: else the places are made on the stack of the postmaster and copied
/// from there, which are 240 kB that every session inherits.
const NONE: i64 = 0;

/// No session will end.
const NEVER: i64 = i64::MAX;

struct Sessions {
    /// The earliest end that the worker knows of.
    next: AtomicI64,
    places: [Place; PLACES],
}

/// Free while the process id is 0.
struct Place {
    pid: AtomicI64,
    end: AtomicI64,
}

impl Default for Sessions {
    fn default() -> Self {
        let free = |_| Place { pid: AtomicI64::new(0), end: AtomicI64::new(NONE) };
        Self { next: AtomicI64::new(NEVER), places: array::from_fn(free) }
    }
}

// SAFETY: atomics only, no pointers.
unsafe impl PGRXSharedMemory for Sessions {}

// Only ever taken in shared mode; see `event_buffer`.
// SAFETY: a name of ours, used once.
static SESSIONS: PgLwLock<Sessions> = unsafe { PgLwLock::new(c"pgaad_sessions") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(SESSIONS);
}

/// Has this process' session ended at `end`. `false` when there is no place left for it.
pub(crate) fn end_at(end: UnixTime) -> bool {
    let sessions = SESSIONS.share();
    // SAFETY: a plain global of this process.
    let pid = i64::from(unsafe { pg_sys::MyProcPid });
    let free =
        |place: &&Place| place.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    let Some(place) = sessions.places.iter().find(free) else { return false };
    // SAFETY: the callback is a function of this library, which is never unloaded.
    unsafe { pg_sys::on_shmem_exit(Some(forget), pg_sys::Datum::from(0_usize)) };
    place.end.store(end.seconds(), Ordering::Release);
    if sessions.next.fetch_min(end.seconds(), Ordering::AcqRel) > end.seconds() {
        worker::wake(WorkerId::Keys);
    }
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn forget(_code: i32, _argument: pg_sys::Datum) {
    // SAFETY: a plain global of this process.
    let pid = i64::from(unsafe { pg_sys::MyProcPid });
    for place in SESSIONS.share().places.iter().filter(|place| place.pid.load(Ordering::Relaxed) == pid) {
        place.end.store(NONE, Ordering::Release);
        place.pid.store(0, Ordering::Release);
    }
}

/// Ends a session by its process id; whether there is such a process.
pub(crate) fn end(pid: i32) -> bool {
    // SAFETY: a signal to a process that has its place on the board of sessions, so it is a backend of this server.
    pid > 0 && unsafe { libc::kill(pid, libc::SIGTERM) } == 0
}

/// When the next session ends; the time may be over, and the session gone.
pub(crate) fn next_end() -> Option<UnixTime> {
    let next = SESSIONS.share().next.load(Ordering::Acquire);
    (next != NEVER).then(|| UnixTime::new(next))
}

/// Ends the sessions that are due, and gives their process ids.
pub(crate) fn end_due() -> Vec<i32> {
    let sessions = SESSIONS.share();
    // What is added from here on wakes the worker, and what was added before is seen below: a swap, since a plain
    // store could be overtaken by the loads.
    sessions.next.swap(NEVER, Ordering::AcqRel);
    let now = clock::now().seconds();
    let mut ended = Vec::new();
    for place in &sessions.places {
        // The id first: once its end is taken, the place may already be another session's.
        let pid = i32::try_from(place.pid.load(Ordering::Acquire)).unwrap_or_default();
        let end = place.end.load(Ordering::Acquire);
        if end == NONE {
            continue;
        }
        if end > now {
            sessions.next.fetch_min(end, Ordering::AcqRel);
        } else if place.end.compare_exchange(end, NONE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            && self::end(pid)
        {
            ended.push(pid);
        }
    }
    ended
}
