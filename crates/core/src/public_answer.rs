//! The little that a client may know of a refusal.

/// What a client that is turned away is told.
///
/// Kept very small on purpose: a new way to tell a stranger something has to be a new variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicAnswer {
    /// SQLSTATE 28P01, the same for every token and every role: it failed, but not why (as
    /// PostgreSQL's own `auth_failed` in `auth.c`).
    Failed,
    /// SQLSTATE 28P01, with the reason: the token is a genuine one of this tenant's and has expired.
    /// Its holder can read the same in it.
    TokenExpired,
    /// SQLSTATE 28P01, with the reason: the token is a genuine one of this tenant's for another resource.
    TokenForAnotherResource,
    /// SQLSTATE 28000: the connection is not encrypted. Said before a token is asked for, and to
    /// everybody, so it tells nothing about a role.
    EncryptionRequired,
}
