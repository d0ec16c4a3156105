//! Reads all roles and memberships, as they are at this moment and with what this transaction has done.
//!
//! By scans of the shared catalogs and not by SPI: a plan of SPI's sees the snapshot of the statement around it, and
//! runs functions and operators that could be somebody else's.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use pgaad_core::membership::{Markers, Membership, Role, RoleGraph, RoleOid};
use pgrx::prelude::*;

use super::catalog::{self, Marker};
use super::libpq;
use super::version::conveys;

/// `pg_auth_members` (pg_auth_members.h, `AuthMemRelationId`).
const MEMBERSHIPS: u32 = 1261;

/// Takes in what others have committed. A lock that this transaction holds already does not (lmgr.c,
/// `LockRelationOid`), and a catalog snapshot that was taken before is as old as that.
pub(super) fn accept_changes() {
    // SAFETY: in a transaction of a session that has logged in.
    unsafe {
        pg_sys::AcceptInvalidationMessages();
        pg_sys::InvalidateCatalogSnapshot();
    }
}

/// The graph of all roles and memberships.
pub(crate) fn read() -> RoleGraph {
    accept_changes();
    // A time-out or a cancel would be raised through our frames, and rebuilt on the way. It waits for the end of this.
    // SAFETY: plain counters of core's (globals.c), which core itself resets when an error ends the work.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    let graph = read_all();
    // SAFETY: as above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
    graph
}

fn read_all() -> RoleGraph {
    let mut roles = BTreeMap::new();
    for_each_row(pg_sys::AuthIdRelationId, |row: &pg_sys::FormData_pg_authid| {
        // SAFETY: a `name` is NUL-terminated within its 64 bytes.
        let name = unsafe { CStr::from_ptr(row.rolname.data.as_ptr()) };
        let role = Role {
            name: name.to_bytes().to_vec(),
            is_superuser: row.rolsuper,
            can_replicate: row.rolreplication,
            bypasses_rls: row.rolbypassrls,
        };
        roles.insert(row.oid.to_u32(), role);
    });
    let mut memberships = Vec::new();
    for_each_row(MEMBERSHIPS.into(), |row: &libpq::FormData_pg_auth_members| {
        memberships.push(membership(row));
    });
    let oid_of = |marker: Marker| -> Option<RoleOid> {
        let name = marker.name().to_bytes();
        roles.iter().find(|(_, role)| role.name == name).map(|(oid, _)| *oid)
    };
    let markers =
        Markers { user: oid_of(Marker::User), admin: oid_of(Marker::Admin), mfa: oid_of(Marker::Mfa) };
    RoleGraph::new(roles, memberships, markers)
}

/// Whether memberships would go with what one of these roles owns, from 16 on those that it granted.
pub(super) fn grants_any(grantors: &[CString]) -> bool {
    let grantors: Vec<_> = grantors.iter().filter_map(|name| catalog::oid_of(name)).collect();
    let mut grants = false;
    for_each_row(MEMBERSHIPS.into(), |row: &libpq::FormData_pg_auth_members| {
        grants |= grantors.contains(&row.grantor);
    });
    grants
}

fn membership(row: &libpq::FormData_pg_auth_members) -> Membership {
    Membership { role: row.roleid, member: row.member, admin: row.admin_option, conveys: conveys(row) }
}

/// Shows each row of a shared catalog whose fixed part is a `T`.
fn for_each_row<T>(catalog: pg_sys::Oid, mut show: impl FnMut(&T)) {
    // SAFETY: in a transaction; the catalog is one whose rows begin with a `T`. Opening it takes in what others have
    // committed, and a scan without a snapshot of its own takes the newest (genam.c, `systable_beginscan`).
    unsafe {
        let lock = pg_sys::AccessShareLock.try_into().unwrap_or(1);
        let relation = pg_sys::table_open(catalog, lock);
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::InvalidOid,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let row: *const T = pg_sys::GETSTRUCT(tuple).cast();
            show(&*row);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
}
