//! A record in shared memory that is written and read without a lock.
//!
//! Nobody waits for anybody. A slot has a version that is odd while somebody writes it (a sequence lock); a reader that
//! meets a change reads again. Everything is atomic, so a torn read is a wrong copy and never undefined.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering, fence};

const WORD_BYTES: usize = size_of::<u64>();

/// A place for a record and its id. All zero is an empty one.
pub(super) struct Slot<const WORDS: usize> {
    version: AtomicU64,
    id: AtomicU64,
    length: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Default for Slot<WORDS> {
    fn default() -> Self {
        let word = |_| AtomicU64::new(0);
        Self { version: word(0), id: word(0), length: word(0), words: array::from_fn(word) }
    }
}

impl<const WORDS: usize> Slot<WORDS> {
    /// Longest record, in bytes.
    pub(super) const MAX_BYTES: usize = WORDS * WORD_BYTES;

    /// Writes a record of at most [`Self::MAX_BYTES`], unless somebody else is about to.
    pub(super) fn write(&self, id: u64, record: &[u8]) {
        let version = self.version.load(Ordering::Relaxed);
        let is_ours = record.len() <= Self::MAX_BYTES
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
    pub(super) fn read(&self) -> Option<(u64, Vec<u8>)> {
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
