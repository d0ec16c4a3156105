//! What keeps an administrator from choosing which roles are theirs to administer.

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use super::catalog::{self, Marker};
use super::role_nodes;
use super::version::MEMBERSHIPS_HAVE_OWNERS;

/// From 16 on `pgaad.set_admin` gives the administrator the ADMIN OPTION on Entra roles. An administrator must not
/// choose these: a role that they have put into `azure_ad_user` without holding its ADMIN OPTION is a member WITH SET
/// FALSE, which `pgaad.set_admin` passes over and which makes no other difference.
///
/// # Safety
/// A statement that nobody else reads, of a caller who is no superuser.
pub(super) unsafe fn vouch(statement: *mut pg_sys::PlannedStmt, caller: u32) {
    if !MEMBERSHIPS_HAVE_OWNERS {
        return;
    }
    // SAFETY: as above; cast to the type that its tag names.
    unsafe {
        let node = (*statement).utilityStmt;
        if (*node).type_ != NodeTag::T_GrantRoleStmt || !(*node.cast::<pg_sys::GrantRoleStmt>()).is_grant {
            return;
        }
        let grant: *mut pg_sys::GrantRoleStmt = node.cast();
        let Some((role, member)) = role_nodes::ends(grant) else { return };
        if Marker::named(&role) == Some(Marker::User) && !catalog::administers(caller, &member) {
            let is_member = catalog::standing(&member).is_some_and(|standing| standing.is_member);
            role_nodes::without_set(grant, is_member);
        }
    }
}
