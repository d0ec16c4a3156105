//! The last decisions and their counts, in shared memory: written by logins, read by views.
//!
//! Nobody waits for anybody, see [`Slot`]: a writer that meets another one, a whole lap behind, leaves the slot to it.

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pgaad_core::time::UnixTime;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;

use super::clock;
use super::slot::Slot;

/// How many records are kept. The comment of `pgaad.events` says the number, too, and a test holds it.
pub(crate) const SLOTS: usize = 256;
/// Most counters.
const COUNTERS: usize = 96;
const WORDS: usize = 256;

/// Longest record, in bytes.
pub(crate) const MAX_RECORD: usize = Slot::<WORDS>::MAX_BYTES;

struct EventBuffer {
    began: AtomicI64,
    /// Id of the next record; the first is 1.
    next: AtomicU64,
    slots: [Slot<WORDS>; SLOTS],
    counters: [Counter; COUNTERS],
}

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    last: AtomicI64,
}

impl Default for EventBuffer {
    fn default() -> Self {
        Self {
            began: AtomicI64::new(clock::now().seconds()),
            next: AtomicU64::new(1),
            slots: array::from_fn(|_| Slot::default()),
            counters: array::from_fn(|_| Counter::default()),
        }
    }
}

// SAFETY: atomics only, no pointers.
unsafe impl PGRXSharedMemory for EventBuffer {}

// Only ever taken in shared mode, which nobody waits for: the lock is how pgrx places a value in shared memory.
// SAFETY: a name of ours, used once.
static EVENT_BUFFER: PgLwLock<EventBuffer> = unsafe { PgLwLock::new(c"pgaad_events") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(EVENT_BUFFER);
}

/// Adds a record of at most [`MAX_RECORD`] bytes in the place of the oldest, and counts it.
pub(crate) fn push(record: &[u8], counter: usize, now: UnixTime) {
    let buffer = EVENT_BUFFER.share();
    if let Some(counter) = buffer.counters.get(counter) {
        counter.count.fetch_add(1, Ordering::Relaxed);
        counter.last.store(now.seconds(), Ordering::Relaxed);
    }
    let id = buffer.next.fetch_add(1, Ordering::Relaxed);
    if let Some(slot) = buffer.slot(id) {
        slot.write(id, record);
    }
}

/// The records that are kept, the oldest first, each with its id.
pub(crate) fn records() -> Vec<(u64, Vec<u8>)> {
    let buffer = EVENT_BUFFER.share();
    let mut records: Vec<_> = buffer.slots.iter().filter_map(Slot::read).collect();
    records.sort_unstable_by_key(|(id, _)| *id);
    records
}

/// Count and last time of a counter.
pub(crate) fn count(counter: usize) -> (u64, UnixTime) {
    let buffer = EVENT_BUFFER.share();
    buffer.counters.get(counter).map_or((0, UnixTime::new(0)), |counter| {
        (counter.count.load(Ordering::Relaxed), UnixTime::new(counter.last.load(Ordering::Relaxed)))
    })
}

/// Since when records are kept and counted: the server's start, or its last crash.
pub(crate) fn began() -> UnixTime {
    UnixTime::new(EVENT_BUFFER.share().began.load(Ordering::Relaxed))
}

impl EventBuffer {
    fn slot(&self, id: u64) -> Option<&Slot<WORDS>> {
        let slots = u64::try_from(SLOTS).ok()?;
        self.slots.get(usize::try_from(id % slots).ok()?)
    }
}
