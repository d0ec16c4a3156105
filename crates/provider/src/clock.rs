//! The system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use pgaad_core::time::UnixTime;

/// Now. A clock set before 1970 reads as 1970.
pub(crate) fn now() -> UnixTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UnixTime::new(i64::try_from(seconds).unwrap_or(i64::MAX))
}
