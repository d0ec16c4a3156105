//! What a worker does again and again.

use std::time::{Duration, Instant};

use pgaad_core::Reason;
use pgaad_core::settings::Settings;

/// How long a worker sleeps while none of its jobs is due.
pub(super) const IDLE: Duration = Duration::from_secs(3_600);

/// How often a job looks whether what it does aside is over.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// The settings as a worker has read them, or which one cannot be used.
pub(super) type ReadSettings = Result<Settings, Reason>;

/// One job of a worker.
pub(super) trait Job {
    /// When it is due; `None` while only a reload can change that.
    ///
    /// A request is taken here, before the worker looks whether the configuration was reloaded: who reloads and then
    /// asks is answered by what they reloaded.
    fn due(&mut self, now: Instant) -> Option<Instant>;

    /// Does what is due. Since it was asked it may have become due later, or not at all by other settings: then there
    /// is nothing to do.
    fn run(&mut self, settings: &ReadSettings);

    /// The configuration was read, at the worker's start or again.
    fn on_reload(&mut self, settings: &ReadSettings);
}
