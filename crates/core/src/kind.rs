//! The kinds of principal that Entra issues tokens for.

use std::fmt;

/// The two kinds of principal that get tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A human: a delegated token.
    User,
    /// A service principal or managed identity: an app-only token.
    Service,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Service => "service",
        })
    }
}
