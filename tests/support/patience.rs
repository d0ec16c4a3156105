//! Waiting for what comes about by itself, without a guess at how fast this machine is.

use std::thread;
use std::time::{Duration, Instant};

/// What takes milliseconds on an idle machine may take this long on a loaded one. Nothing is ever asserted to be fast.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is true.
///
/// # Panics
/// When it does not become true.
#[track_caller]
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    wait_for(what, || is_true().then_some(()));
}

/// Waits until there is something, and returns it.
///
/// # Panics
/// When it does not come.
#[track_caller]
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
