//! Whom a refused or admitted token was issued for, as the log and the views show it.

use serde::{Deserialize, Serialize};

/// Whom a token with a good signature names, whatever became of the login: for the log and the views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSubject {
    /// `user` or `app`, where that can be told.
    pub kind: Option<String>,
    /// `tid`.
    pub tid: String,
    /// `oid`.
    pub oid: Option<String>,
    /// `upn` (v1) or `preferred_username` (v2) of a user.
    pub upn: Option<String>,
    /// `appid` (v1) or `azp` (v2).
    pub appid: Option<String>,
    /// The agent of Entra Agent ID that acts, for itself or for the user: its client id.
    pub agent: Option<String>,
    /// `aud`, separated by spaces where there are several.
    pub aud: String,
    /// Id of the key that signed.
    pub kid: String,
    /// `uti`.
    pub uti: Option<String>,
}
