//! The two clocks: the wall's, which tokens are measured against, and the one that never steps back.

use std::time::{SystemTime, UNIX_EPOCH};

use pgaad_core::refresh_queue::Monotonic;
use pgaad_core::time::UnixTime;

/// Now, by the server's clock. A clock set before 1970 reads as 1970: every token is then not yet valid.
pub(crate) fn now() -> UnixTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UnixTime::new(i64::try_from(seconds).unwrap_or_default())
}

/// Milliseconds since the machine started, the same in every process.
pub(crate) fn monotonic() -> Monotonic {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours; CLOCK_MONOTONIC exists on every Linux, and a
    // failure leaves the zero in place.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000)
}
