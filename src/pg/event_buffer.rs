//! The last decisions and their counts, in shared memory: written by logins, read by views.
//!
//! Nobody waits for anybody. A slot has a version that is odd while somebody writes it (a sequence
//! lock); a reader that meets a change reads again, and a writer that meets another one, a whole
//! lap behind, leaves the slot to it. Everything is atomic, so a torn read is a wrong copy and never
//! undefined.

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use pgaad_core::time::UnixTime;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;

use super::clock;

/// How many records are kept.
const SLOTS: usize = 256;
/// Most counters.
const COUNTERS: usize = 96;
const WORDS: usize = 256;
const WORD_BYTES: usize = size_of::<u64>();

/// Longest record, in bytes.
pub(crate) const MAX_RECORD: usize = WORDS * WORD_BYTES;

struct EventBuffer {
    began: AtomicI64,
    /// Id of the next record; the first is 1.
    next: AtomicU64,
    slots: [Slot; SLOTS],
    counters: [Counter; COUNTERS],
}

struct Slot {
    version: AtomicU64,
    id: AtomicU64,
    length: AtomicU64,
    words: [AtomicU64; WORDS],
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

impl Default for Slot {
    fn default() -> Self {
        let word = |_| AtomicU64::new(0);
        Self { version: word(0), id: word(0), length: word(0), words: array::from_fn(word) }
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
    fn slot(&self, id: u64) -> Option<&Slot> {
        let slots = u64::try_from(SLOTS).ok()?;
        self.slots.get(usize::try_from(id % slots).ok()?)
    }
}

impl Slot {
    fn write(&self, id: u64, record: &[u8]) {
        let version = self.version.load(Ordering::Relaxed);
        let is_ours = record.len() <= MAX_RECORD
            && version.is_multiple_of(2)
            && self
                .version
                .compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !is_ours {
            return;
        }
        fence(Ordering::Release);
        self.id.store(id, Ordering::Relaxed);
        self.length.store(u64::try_from(record.len()).unwrap_or_default(), Ordering::Relaxed);
        for (word, chunk) in self.words.iter().zip(record.chunks(WORD_BYTES)) {
            let mut bytes = [0; WORD_BYTES];
            bytes.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    /// The record; `None` if the slot has none, or if it changes faster than it can be read.
    fn read(&self) -> Option<(u64, Vec<u8>)> {
        (0..3).find_map(|_| {
            let version = self.version.load(Ordering::Acquire);
            if version == 0 || !version.is_multiple_of(2) {
                return None;
            }
            let id = self.id.load(Ordering::Relaxed);
            let length = usize::try_from(self.length.load(Ordering::Relaxed)).ok()?;
            let words = self.words.iter().take(length.div_ceil(WORD_BYTES));
            let mut bytes: Vec<u8> =
                words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
            bytes.truncate(length);
            fence(Ordering::Acquire);
            (self.version.load(Ordering::Relaxed) == version).then_some((id, bytes))
        })
    }
}
