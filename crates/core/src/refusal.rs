//! A refused login.

use crate::reason::Reason;
use crate::subject::TokenSubject;

/// Why a login was refused, and whose token it was where its signature was good.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Whose, as the tenant's own key vouches; boxed, since it is rare and large.
    pub subject: Option<Box<TokenSubject>>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, subject: None }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        refusal.reason
    }
}
