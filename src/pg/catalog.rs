//! What the shared catalogs say of a role, at this very moment.
//!
//! Shared catalogs can be read before the session has a database, on a standby too. The membership
//! functions of core cannot be used: they are transitive, true for every superuser, and before
//! `initialize_acl` their cache does not notice a REVOKE.

use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};

use pgaad_core::labelling::Labelling;
use pgaad_core::membership_rules::Caller;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum};

use super::c_string::c_str;
use super::label_scan::labels;
use super::libpq;
use super::seclabel::{Provider, label_of};
use super::version::{MEMBERSHIPS_HAVE_OWNERS, conveys};

/// The roles whose direct members are special.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Marker {
    /// `azure_ad_user`: the roles that log in with a token.
    User,
    /// `azure_ad_admin`: who administers those.
    Admin,
    /// `azure_ad_mfa`: those whose token must say `mfa`.
    Mfa,
}

impl Marker {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::User, Self::Admin, Self::Mfa];

    /// The marker role of this name.
    pub(crate) fn named(name: &CStr) -> Option<Self> {
        Self::ALL.into_iter().find(|marker| marker.name() == name)
    }

    /// The role's name.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::User => c"azure_ad_user",
            Self::Admin => c"azure_ad_admin",
            Self::Mfa => c"azure_ad_mfa",
        }
    }

    /// Whether there is such a role.
    pub(super) fn exists(self) -> bool {
        AuthId::find(self.name()).is_some()
    }

    /// Whether there is any of them: else nobody uses pgaad on this server.
    pub(super) fn any_exists() -> bool {
        Self::ALL.into_iter().any(Self::exists)
    }
}

/// Seconds from 1970 to 2000, where PostgreSQL's timestamps begin (timestamp.h, `POSTGRES_EPOCH_JDATE`).
const POSTGRES_EPOCH: i64 = 946_684_800;

/// A role as the catalog has it at this moment. What is asked of it beyond its row is read when it is asked:
/// each look-up in a process just forked is an index scan, and most logins are of roles that are not members.
pub(crate) struct Role {
    name: CString,
    row: AuthId,
}

impl Role {
    /// Reads the role `name` afresh. `None` when there is no such role.
    ///
    /// The name is looked up as bytes, so that a role in any encoding is found and its membership counts.
    pub(crate) fn find(name: &CStr) -> Option<Self> {
        // SAFETY: inside the transaction that InitPostgres starts before it authenticates.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        Some(Self { name: name.to_owned(), row: AuthId::find(name)? })
    }

    /// The name by which it was found.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// What it is known by whatever its name.
    pub(crate) fn oid(&self) -> u32 {
        self.row.oid.to_u32()
    }

    /// Whether it is a direct member of `azure_ad_user`.
    pub(crate) fn is_member(&self) -> bool {
        is_member_of(self.row.oid, Marker::User)
    }

    /// All that a decision depends on. A name that is not UTF-8 is given out as empty, and so equals no name
    /// in a token.
    pub(crate) fn facts(&self) -> RoleFacts {
        let mut roles: Vec<u32> =
            memberships(By::Member, self.row.oid).iter().map(|row| row.roleid).collect();
        let mut is_in = |marker| take(&mut roles, marker);
        let label = labelling_of(self.row.oid);
        RoleFacts {
            oid: self.oid(),
            name: self.name.to_str().unwrap_or_default().to_owned(),
            binding: label.binding,
            is_labelled: label.is_labelled,
            label_tenant: label.tenant,
            is_member: is_in(Marker::User),
            is_admin: is_in(Marker::Admin) || label.admin,
            needs_mfa: is_in(Marker::Mfa) || label.mfa,
            can_login: self.row.can_login,
            is_superuser: self.row.is_superuser,
            valid_until: self.row.valid_until,
        }
    }
}

/// Takes a marker role out of these; whether it was there. Once none is left, nothing is looked up.
fn take(roles: &mut Vec<u32>, marker: Marker) -> bool {
    let before = roles.len();
    if before > 0
        && let Some(marker) = AuthId::find(marker.name())
    {
        roles.retain(|role| *role != marker.oid.to_u32());
    }
    roles.len() < before
}

/// What the labels of a role add up to.
fn labelling_of(role: pg_sys::Oid) -> Labelling {
    let (public, internal) = (label_of(role, Provider::Public), label_of(role, Provider::Internal));
    Labelling::of(public.as_deref(), internal.as_deref())
}

/// What the labels of the role of this name add up to; `None` when there is no such role.
pub(crate) fn labelling(name: &CStr) -> Option<Labelling> {
    AuthId::find(name).map(|role| labelling_of(role.oid))
}

/// What the labels of the role of this id add up to.
pub(crate) fn labelling_of_oid(role: u32) -> Labelling {
    labelling_of(pg_sys::Oid::from(role))
}

/// What the labels of each role add up to that has one and is a member of `azure_ad_user`. In a transaction.
pub(crate) fn labellings_of_members() -> Vec<Labelling> {
    let mut roles: Vec<_> = labels(None, Provider::has_name).iter().map(|row| row.role.to_u32()).collect();
    roles.sort_unstable();
    roles.dedup();
    roles.into_iter().filter(|role| is_entra_role(*role)).map(labelling_of_oid).collect()
}

/// Who runs the SQL, `SET ROLE` and SECURITY DEFINER considered; and whether it is a superuser.
pub(crate) fn caller() -> (bool, Caller) {
    // SAFETY: in a transaction of a session that has logged in.
    let (user, is_superuser) = unsafe { (pg_sys::GetUserId(), pg_sys::superuser()) };
    let caller = Caller {
        role: user.to_u32(),
        is_entra_admin: is_entra_admin(user),
        createrole_rules_all: !MEMBERSHIPS_HAVE_OWNERS,
    };
    (is_superuser, caller)
}

/// Whether `holder` has the ADMIN OPTION on the role of this name.
pub(super) fn administers(holder: u32, role: &CStr) -> bool {
    // SAFETY: in a transaction of a session that has logged in, so that the cache of memberships notices changes.
    AuthId::find(role)
        .is_some_and(|role| unsafe { pg_sys::is_admin_of_role(pg_sys::Oid::from(holder), role.oid) })
}

/// What makes a role one that tokens should not open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// A direct member of `azure_ad_user`.
    pub(crate) is_member: bool,
    /// A superuser.
    pub(crate) is_superuser: bool,
    /// Has REPLICATION.
    pub(crate) can_replicate: bool,
    /// Has a password.
    pub(crate) has_password: bool,
}

/// What the catalogs say about a role; `None` when there is no such role.
pub(crate) fn standing(name: &CStr) -> Option<Standing> {
    let role = AuthId::find(name)?;
    Some(Standing {
        is_member: is_member_of(role.oid, Marker::User),
        is_superuser: role.is_superuser,
        can_replicate: role.can_replicate,
        has_password: role.has_password,
    })
}

/// The stored form of a role's password, as no more than a number: two that are equal are of one password.
pub(crate) fn password_mark(name: &CStr) -> Option<u64> {
    // SAFETY: as in `AuthId::find`; the text is copied out before the tuple is released.
    let stored = unsafe {
        let cache = i32::try_from(pg_sys::SysCacheIdentifier::AUTHNAME).ok()?;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(name.as_ptr()));
        if tuple.is_null() {
            return None;
        }
        let mut is_null = false;
        let column = i16::try_from(pg_sys::Anum_pg_authid_rolpassword).ok()?;
        let stored = pg_sys::SysCacheGetAttr(cache, tuple, column, &raw mut is_null);
        let stored = String::from_datum(stored, is_null);
        pg_sys::ReleaseSysCache(tuple);
        stored?
    };
    let mut hasher = DefaultHasher::new();
    stored.hash(&mut hasher);
    Some(hasher.finish())
}

/// Whether the role of this id is a direct member of `azure_ad_user`, as the catalog has it now.
pub(crate) fn is_entra_role(role: u32) -> bool {
    // SAFETY: inside the transaction that InitPostgres has open.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    is_member_of(pg_sys::Oid::from(role), Marker::User)
}

/// Most roles are members of nothing, so the marker role is looked up last.
fn is_member_of(member: pg_sys::Oid, marker: Marker) -> bool {
    let roles = memberships(By::Member, member);
    !roles.is_empty()
        && AuthId::find(marker.name())
            .is_some_and(|marker| roles.iter().any(|row| row.roleid == marker.oid.to_u32()))
}

/// Whether a role has the rights of `azure_ad_admin` as a direct member: not with nothing but the ADMIN OPTION, which
/// from 16 on a CREATEROLE gets who makes a role.
fn is_entra_admin(member: pg_sys::Oid) -> bool {
    AuthId::find(Marker::Admin.name()).is_some_and(|admin| {
        memberships(By::Member, member).iter().any(|row| row.roleid == admin.oid.to_u32() && conveys(row))
    })
}

/// A row of `pg_authid`, as far as it matters here.
struct AuthId {
    oid: pg_sys::Oid,
    can_login: bool,
    is_superuser: bool,
    can_replicate: bool,
    has_password: bool,
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
            let mut is_null_password = false;
            pg_sys::SysCacheGetAttr(
                cache,
                tuple,
                i16::try_from(pg_sys::Anum_pg_authid_rolpassword).ok()?,
                &raw mut is_null_password,
            );
            let found = Self {
                oid: (*row).oid,
                can_login: (*row).rolcanlogin,
                is_superuser: (*row).rolsuper,
                can_replicate: (*row).rolreplication,
                has_password: !is_null_password,
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

/// Those in whose names the membership of `member` in `role` must be revoked; nobody in particular on 15.
pub(crate) fn grantors(role: &CStr, member: &CStr) -> Vec<CString> {
    if !MEMBERSHIPS_HAVE_OWNERS {
        return Vec::new();
    }
    let (Some(role), Some(member)) = (AuthId::find(role), AuthId::find(member)) else { return Vec::new() };
    memberships(By::Member, member.oid)
        .into_iter()
        .filter(|row| row.roleid == role.oid.to_u32())
        .filter_map(|row| name_of(pg_sys::Oid::from(row.grantor)))
        .collect()
}

/// The Entra roles that a role is a direct member of, each once.
pub(super) fn entra_roles_of(member: &CStr) -> Vec<CString> {
    let Some(member) = AuthId::find(member) else { return Vec::new() };
    let mut roles: Vec<_> = memberships(By::Member, member.oid).iter().map(|row| row.roleid).collect();
    roles.sort_unstable();
    roles.dedup();
    let roles = roles.into_iter().map(pg_sys::Oid::from);
    roles.filter(|role| is_member_of(*role, Marker::User)).filter_map(name_of).collect()
}

/// The administrators who have the ADMIN OPTION on a role by their office: from the bootstrap superuser, and alone.
/// Before 16 the office gives none.
pub(super) fn administrators_by_office(role: &CStr) -> Vec<CString> {
    let Some(role) = AuthId::find(role).filter(|_| MEMBERSHIPS_HAVE_OWNERS) else { return Vec::new() };
    let is_of_office = |row: &libpq::FormData_pg_auth_members| {
        row.admin_option
            && !conveys(row)
            && row.grantor == pg_sys::BOOTSTRAP_SUPERUSERID
            && is_entra_admin(pg_sys::Oid::from(row.member))
    };
    let rows = memberships(By::Role, role.oid);
    let holders = rows.into_iter().filter(is_of_office).map(|row| pg_sys::Oid::from(row.member));
    holders.filter_map(name_of).collect()
}

/// The direct members of a role.
pub(crate) fn members_of(role: &CStr) -> Vec<CString> {
    let Some(role) = AuthId::find(role) else { return Vec::new() };
    let mut members: Vec<_> = memberships(By::Role, role.oid).iter().map(|row| row.member).collect();
    members.sort_unstable();
    members.dedup();
    members.into_iter().map(pg_sys::Oid::from).filter_map(name_of).collect()
}

/// The id of the role of this name.
pub(crate) fn oid_of(name: &CStr) -> Option<u32> {
    AuthId::find(name).map(|role| role.oid.to_u32())
}

/// The name of a role, in bytes; `None` when it is gone.
pub(crate) fn name_of(role: pg_sys::Oid) -> Option<CString> {
    // SAFETY: null for a role that is gone, else a palloc'd string.
    unsafe { c_str(pg_sys::GetUserNameFromId(role, true)) }.map(CStr::to_owned)
}

/// How rows of `pg_auth_members` are found.
#[derive(Clone, Copy)]
enum By {
    Member,
    Role,
}

/// The rows of `pg_auth_members` with this member, or of this role.
fn memberships(by: By, key: pg_sys::Oid) -> Vec<libpq::FormData_pg_auth_members> {
    let cache = match by {
        By::Member => pg_sys::SysCacheIdentifier::AUTHMEMMEMROLE,
        By::Role => pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
    };
    let Ok(cache) = i32::try_from(cache) else { return Vec::new() };
    // SAFETY: the list is released below; its tuples are copied before. The index behind the cache by
    // member is one of the few that are usable before a database is chosen (relcache.c,
    // RelationCacheInitializePhase2).
    unsafe {
        let Some(key) = key.into_datum() else { return Vec::new() };
        let none = pg_sys::Datum::from(0_usize);
        let list = pg_sys::SearchSysCacheList(cache, 1, key, none, none);
        let count = usize::try_from((*list).n_members).unwrap_or_default();
        let rows = (*list).members.as_slice(count).iter().map(|&entry| {
            let row: *const libpq::FormData_pg_auth_members =
                pg_sys::GETSTRUCT(&raw mut (*entry).tuple).cast();
            *row
        });
        let rows = rows.collect();
        pg_sys::ReleaseCatCacheList(list);
        rows
    }
}
