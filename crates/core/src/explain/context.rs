//! What an explanation goes by.

use crate::admit::AdmitPolicy;
use crate::deny::DenyList;
use crate::directory::Directory;
use crate::keys::SigningKey;
use crate::reason::Reason;
use crate::role_facts::RoleFacts;
use crate::time::UnixTime;
use crate::verify::TokenPolicy;

/// What a token and a role are measured against.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// `pgaad.max_token_bytes`.
    pub max_bytes: usize,
    /// The published keys, or why none can be used.
    pub keys: Result<Vec<SigningKey>, Reason>,
    /// The settings for tokens.
    pub policy: &'a TokenPolicy,
    /// The settings for roles.
    pub admit: AdmitPolicy,
    /// The server's clock.
    pub now: UnixTime,
    /// The role's name.
    pub role_name: &'a str,
    /// The role, if there is one.
    pub role: Option<&'a RoleFacts>,
    /// What the directory says.
    pub directory: &'a dyn Directory,
    /// Whom no role opens to.
    pub denied: &'a DenyList,
}
