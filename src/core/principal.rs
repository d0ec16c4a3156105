//! Who a verified token belongs to.

use std::fmt;

use crate::guid::{ClientId, ObjectId, TenantId};
use crate::verify::{VerifiedClaims, Version};

/// The two kinds of principal that get tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A human: a delegated token.
    User,
    /// A service principal or managed identity: an app-only token.
    App,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::App => "app",
        })
    }
}

/// The holder of a verified token, as the rules of admission see it.
#[derive(Clone, Debug)]
pub struct Principal {
    kind: Kind,
    tenant: TenantId,
    object_id: ObjectId,
    client_id: ClientId,
    user_name: Option<String>,
    groups: Vec<String>,
    has_groups_elsewhere: bool,
    methods: Option<Vec<String>>,
    key_id: String,
    token_id: Option<String>,
}

impl From<&VerifiedClaims> for Principal {
    fn from(verified: &VerifiedClaims) -> Self {
        let claims = &verified.claims;
        let user_name = match verified.version {
            Version::V1 => &claims.upn,
            Version::V2 => &claims.preferred_username,
        };
        Self {
            kind: verified.kind,
            tenant: claims.tid,
            object_id: verified.object_id,
            client_id: verified.client_id,
            user_name: user_name.clone().filter(|_| verified.kind == Kind::User),
            groups: claims.groups.clone(),
            has_groups_elsewhere: claims.has_groups_elsewhere,
            methods: claims.amr.clone(),
            key_id: verified.key_id.clone(),
            token_id: claims.uti.clone(),
        }
    }
}

impl Principal {
    /// User or program.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The id of the user, service principal or managed identity.
    pub fn object_id(&self) -> ObjectId {
        self.object_id
    }

    /// The application the token was given to: for a program, itself; for a user, the client program.
    pub fn client_id(&self) -> ClientId {
        self.client_id
    }

    /// `upn` (v1) or `preferred_username` (v2) of a user. Personal accounts have none in v1 tokens.
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// What `SYSTEM_USER` shows: the human's name, or the object id where there is none.
    pub fn identity(&self) -> String {
        self.user_name.clone().unwrap_or_else(|| self.object_id.to_string())
    }

    /// Id of the key that signed.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// `uti`, Entra's id of the token, by which its sign-in logs can be searched.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// Entries of `groups`: object ids, or names where the tenant is set to emit them.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether the token says that its groups did not fit.
    pub(crate) fn has_groups_elsewhere(&self) -> bool {
        self.has_groups_elsewhere
    }

    /// `amr`: how the user signed in; v2 tokens do not say.
    pub(crate) fn methods(&self) -> Option<&[String]> {
        self.methods.as_deref()
    }
}
