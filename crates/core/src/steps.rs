//! The steps of the straight line.

use std::fmt;

/// A step of the straight line, in the order of a login. Each refusal belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The connection, the settings and the `pg_hba.conf` line: all that is decided without looking at a token.
    Connection,
    /// The form of the token and its header.
    Header,
    /// The key that the header names, and the signature.
    Key,
    /// The payload: every required claim is there, each has its type.
    Claims,
    /// `iss` and `ver`.
    Issuer,
    /// `tid`.
    Tenant,
    /// `aud`.
    Audience,
    /// `nbf` and `exp`.
    Time,
    /// An access token, issued for one user or one program, and a bearer token.
    Kind,
    /// `scp`.
    Scope,
    /// The role exists, is a member of `azure_ad_user`, and may log in.
    Role,
    /// What the directory says of the account, and of the role's group.
    Directory,
    /// The role belongs to the principal.
    Binding,
}

impl Step {
    /// The steps that look at a token or a role.
    pub const ALL: [Self; 12] = [
        Self::Header,
        Self::Key,
        Self::Claims,
        Self::Issuer,
        Self::Tenant,
        Self::Audience,
        Self::Time,
        Self::Kind,
        Self::Scope,
        Self::Role,
        Self::Directory,
        Self::Binding,
    ];

    /// The name, as explanations show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Header => "header",
            Self::Key => "key",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Tenant => "tenant",
            Self::Audience => "audience",
            Self::Time => "time",
            Self::Kind => "kind",
            Self::Scope => "scope",
            Self::Role => "role",
            Self::Directory => "directory",
            Self::Binding => "binding",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
