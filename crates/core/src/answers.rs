//! What a refusal is answered with: the little that the client may know, and the statement that lifts it.

use std::fmt;

use crate::code::Code;
use crate::reason::{PublicAnswer, Reason};

impl Code {
    /// What is documented of a refusal's code.
    pub fn named(name: &str) -> Option<&'static Self> {
        Reason::CODES.iter().find(|code| code.name == name)
    }
}

impl Reason {
    /// What the client is told.
    pub const fn public_answer(&self) -> PublicAnswer {
        match self {
            Self::EncryptionRequired => PublicAnswer::EncryptionRequired,
            // Both are checked after the signature, the issuer and the tenant, and before the role.
            Self::Expired { .. } => PublicAnswer::TokenExpired,
            Self::WrongAudience { .. } => PublicAnswer::TokenForAnotherResource,
            _ => PublicAnswer::Failed,
        }
    }

    /// The statement that lifts the refusal, where there is one that is safe to paste.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::RoleNotBound { suggestion, .. } => suggestion.as_ref().map(ToString::to_string),
            Self::RoleNotMember { grant } => grant.clone(),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Reason {}
