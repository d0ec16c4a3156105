//! What the shared catalogs say of a role, at this very moment.
//!
//! Shared catalogs can be read before the session has a database, on a standby too. The membership
//! functions of core cannot be used: they are transitive, true for every superuser, and before
//! `initialize_acl` their cache hears of no REVOKE.

use std::ffi::CStr;

use pgaad_core::admit::RoleFacts;
use pgaad_core::label::Binding;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum};

use super::libpq;

/// Seconds from 1970 to 2000, where PostgreSQL's timestamps begin (timestamp.h, `POSTGRES_EPOCH_JDATE`).
const POSTGRES_EPOCH: i64 = 946_684_800;

/// Reads the facts of the role `name` afresh. `None` when there is no such role.
///
/// The name is looked up as bytes, so that a role in any encoding is found and its membership counts;
/// one that is not UTF-8 is given out as empty, and so equals no name in a token.
pub(crate) fn role_facts(name: &CStr) -> Option<RoleFacts> {
    // SAFETY: inside the transaction that InitPostgres starts before it authenticates.
    unsafe { pg_sys::AcceptInvalidationMessages() };

    let role = AuthId::find(name)?;
    let is_member_of =
        |marker: &CStr| AuthId::find(marker).is_some_and(|marker| is_direct_member(role.oid, marker.oid));
    Some(RoleFacts {
        oid: role.oid.to_u32(),
        name: name.to_str().unwrap_or_default().to_owned(),
        binding: Binding::Name,
        is_member: is_member_of(c"azure_ad_user"),
        is_admin: is_member_of(c"azure_ad_admin"),
        needs_mfa: is_member_of(c"azure_ad_mfa"),
        can_login: role.can_login,
        is_superuser: role.is_superuser,
        valid_until: role.valid_until,
    })
}

/// A row of `pg_authid`, as far as it matters here.
struct AuthId {
    oid: pg_sys::Oid,
    can_login: bool,
    is_superuser: bool,
    valid_until: Option<UnixTime>,
}

impl AuthId {
    fn find(name: &CStr) -> Option<Self> {
        // SAFETY: the cache copies the key while it searches; the tuple is released below, and the
        // fields are copied out before.
        unsafe {
            let cache = i32::try_from(pg_sys::SysCacheIdentifier::AUTHNAME).ok()?;
            let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(name.as_ptr()));
            if tuple.is_null() {
                return None;
            }
            let row: *const pg_sys::FormData_pg_authid = pg_sys::GETSTRUCT(tuple).cast();
            let mut is_null = false;
            let until = pg_sys::SysCacheGetAttr(
                cache,
                tuple,
                i16::try_from(pg_sys::Anum_pg_authid_rolvaliduntil).ok()?,
                &raw mut is_null,
            );
            let found = Self {
                oid: (*row).oid,
                can_login: (*row).rolcanlogin,
                is_superuser: (*row).rolsuper,
                valid_until: i64::from_datum(until, is_null).and_then(unix_time),
            };
            pg_sys::ReleaseSysCache(tuple);
            Some(found)
        }
    }
}

/// A `timestamptz` as Unix time, rounded down; `None` for `infinity`.
fn unix_time(timestamp: i64) -> Option<UnixTime> {
    (timestamp != i64::MAX)
        .then(|| UnixTime::new(timestamp.div_euclid(1_000_000).saturating_add(POSTGRES_EPOCH)))
}

/// Whether `pg_auth_members` has a row that makes `member` a member of `role`, by whomever granted.
fn is_direct_member(member: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let Ok(cache) = i32::try_from(pg_sys::SysCacheIdentifier::AUTHMEMMEMROLE) else { return false };
    // SAFETY: the list is released below; its tuples are read before. The index behind this cache
    // is one of the few that are usable before a database is chosen (relcache.c,
    // RelationCacheInitializePhase2).
    unsafe {
        let Some(key) = member.into_datum() else { return false };
        let none = pg_sys::Datum::from(0_usize);
        let list = pg_sys::SearchSysCacheList(cache, 1, key, none, none);
        let count = usize::try_from((*list).n_members).unwrap_or_default();
        let found = (*list).members.as_slice(count).iter().any(|&entry| {
            let row: *const libpq::FormData_pg_auth_members =
                pg_sys::GETSTRUCT(&raw mut (*entry).tuple).cast();
            (*row).roleid == role.to_u32()
        });
        pg_sys::ReleaseCatCacheList(list);
        found
    }
}
