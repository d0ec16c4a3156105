//! In place of `oauth.rs` before PostgreSQL 18, where no library can validate OAuth tokens.

use pgaad_core::Reason;

use super::packet::Secret;
use super::port::Port;

/// As since 18; never called.
pub(crate) type Validate = fn(Port, Result<Secret, Reason>) -> Option<String>;

/// Does nothing.
pub(crate) fn arm(_validate: Validate) {}
