//! What the directory says of the holder of a token.

use std::fmt;

use super::accounts::AccountState;
use crate::principal::Principal;
use crate::role_facts::RoleFacts;
use crate::time::UnixTime;

/// What the directory says of one principal and one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MembershipWord {
    /// Nothing: `pgaad.directory` is off, or no complete run has read the group.
    #[default]
    NeverRead,
    /// A complete run found the principal among the members.
    Member {
        /// When the run began.
        began_at: UnixTime,
    },
    /// A complete run did not find the principal among the members.
    NotMember {
        /// When the run began.
        began_at: UnixTime,
    },
    /// A complete run has read the group, and what it found is lost or cannot be read.
    Lost,
}

/// What the directory says of a principal, as far as a role asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// Of the role's group, where the role is bound to one.
    pub membership: MembershipWord,
    /// Of a user's account.
    pub account: AccountState,
}

/// Who knows what the directory says.
pub trait Directory: fmt::Debug {
    /// What it says of `principal`, as far as `role` asks.
    fn facts(&self, principal: &Principal, role: &RoleFacts) -> DirectoryFacts;
}

/// The same of everybody.
impl Directory for DirectoryFacts {
    fn facts(&self, _principal: &Principal, _role: &RoleFacts) -> DirectoryFacts {
        *self
    }
}
