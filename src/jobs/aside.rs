//! Work on a thread of its own, for what a network or a file system can hold up.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use crate::pg::worker;

/// Most threads that may wait for a file system by the same settings, for each that a job begins at once; while there
/// are as many, nothing more is begun.
const MOST_THREADS: usize = 2;

/// Most of all, however often settings are reloaded meanwhile.
const MOST_THREADS_EVER: usize = 64;

/// Why a thread brought nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum AsideError {
    /// It waits for a file system, or others do.
    TimedOut,
    /// It did not start, or broke down.
    Internal,
}

/// What may be begun by the settings that were read last.
#[derive(Default)]
pub(super) struct Threads {
    /// How many there were then.
    before: usize,
}

impl Threads {
    /// Counts again: settings were read, which may name another file system.
    pub(super) fn on_reload(&mut self) {
        self.before = worker::threads();
    }

    /// Begins `work`, one of as many as `together`, which must not call PostgreSQL. If it needs longer than `limit` it
    /// is left to itself.
    ///
    /// # Errors
    /// [`AsideError`]
    pub(super) fn start<T: Send + 'static>(
        &self,
        limit: Duration,
        together: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Aside<T>, AsideError> {
        let most = MOST_THREADS.saturating_mul(together);
        if worker::threads() >= self.before.saturating_add(most).min(MOST_THREADS_EVER) {
            return Err(AsideError::TimedOut);
        }
        let result = worker::spawn(work).ok_or(AsideError::Internal)?;
        Ok(Aside { result, deadline: Instant::now() + limit })
    }
}

/// Work that goes on aside.
pub(super) struct Aside<T> {
    result: Receiver<T>,
    deadline: Instant,
}

impl<T> Aside<T> {
    /// What it brought; `None` while it goes on.
    pub(super) fn poll(&self) -> Option<Result<T, AsideError>> {
        match self.result.try_recv() {
            Ok(done) => Some(Ok(done)),
            Err(TryRecvError::Disconnected) => Some(Err(AsideError::Internal)),
            Err(TryRecvError::Empty) => {
                (Instant::now() >= self.deadline).then_some(Err(AsideError::TimedOut))
            }
        }
    }
}
