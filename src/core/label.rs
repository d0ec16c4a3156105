//! What a role is bound to.

use crate::guid::{ClientId, ObjectId};

/// The Entra identity that a role belongs to, as the role's security label says it.
///
/// Bound by object id wherever there is one; a bound role never falls back to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// No label, or one without an object id: the role's name is compared, where that is allowed.
    Name,
    /// One user.
    User(ObjectId),
    /// One service principal or managed identity, by its object id or its application's client id.
    Service {
        /// Compared to the token's `oid`.
        object_id: ObjectId,
        /// The same GUID, compared to the token's `appid`/`azp`.
        client_id: ClientId,
    },
    /// Every member of one group.
    Group(ObjectId),
}
