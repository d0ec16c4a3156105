//! What the shared catalogs say of a role, at this very moment.
//!
//! Shared catalogs can be read before the session has a database, on a standby too. The membership
//! functions of core cannot be used: they are transitive, true for every superuser, and before
//! `initialize_acl` their cache hears of no REVOKE.

use std::ffi::{CStr, CString};

use pgaad_core::admit::RoleFacts;
use pgaad_core::guid::TenantId;
use pgaad_core::label::{Binding, InternalLabel, Label};
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum};

use super::libpq;
use super::seclabel::{Provider, label_of};

/// The roles whose direct members are special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// `azure_ad_user`: whoever logs in with a token.
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
}

/// `SECURITY_LOCAL_USERID_CHANGE` (miscadmin.h).
const LOCAL_USERID_CHANGE: i32 = 1;

/// Seconds from 1970 to 2000, where PostgreSQL's timestamps begin (timestamp.h, `POSTGRES_EPOCH_JDATE`).
const POSTGRES_EPOCH: i64 = 946_684_800;

/// A role as the catalog has it at this moment. What is asked of it beyond its row is read when it is asked:
/// each look-up in a process just forked is an index scan, and most logins are of roles that are none of ours.
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
        let label = Labelling::of(self.row.oid);
        RoleFacts {
            oid: self.oid(),
            name: self.name.to_str().unwrap_or_default().to_owned(),
            binding: label.binding,
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
struct Labelling {
    binding: Binding,
    tenant: Option<TenantId>,
    admin: bool,
    mfa: bool,
}

impl Labelling {
    /// The label that people write counts; Azure's own only where there is no other. One that cannot
    /// be read, or an object id in each that differ, bind the role to nobody.
    fn of(role: pg_sys::Oid) -> Self {
        let nobody = Self { binding: Binding::Nobody, tenant: None, admin: true, mfa: true };
        let read = |provider| label_of(role, provider);
        let public = match read(Provider::Public).map(|text| text.parse::<Label>()) {
            Some(Err(_)) => return nobody,
            Some(Ok(label)) => Some(label),
            None => None,
        };
        let internal = match read(Provider::Internal).map(|text| text.parse::<InternalLabel>()) {
            Some(Err(_)) => return nobody,
            Some(Ok(label)) => Some(label),
            None => None,
        };
        match (public, internal) {
            (None, None) => Self { binding: Binding::Name, tenant: None, admin: false, mfa: false },
            (Some(label), None) => {
                Self { binding: label.binding, tenant: None, admin: label.admin, mfa: label.mfa }
            }
            (None, Some(InternalLabel { label, tenant })) => {
                Self { binding: label.binding, tenant: Some(tenant), admin: label.admin, mfa: label.mfa }
            }
            (Some(label), Some(internal)) if label.binding == internal.label.binding => Self {
                binding: label.binding,
                tenant: Some(internal.tenant),
                admin: label.admin || internal.label.admin,
                mfa: label.mfa,
            },
            (Some(_), Some(_)) => nobody,
        }
    }
}

/// Who runs the SQL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// A superuser.
    pub(crate) is_superuser: bool,
    /// A direct member of `azure_ad_admin`.
    pub(crate) is_entra_admin: bool,
}

/// Who runs the SQL, `SET ROLE` and SECURITY DEFINER considered.
pub(crate) fn caller() -> Caller {
    // SAFETY: in a transaction of a session that has logged in.
    let (user, is_superuser) = unsafe { (pg_sys::GetUserId(), pg_sys::superuser()) };
    Caller { is_superuser, is_entra_admin: is_member_of(user, Marker::Admin) }
}

/// Makes a role a member of `azure_ad_user`, unless it is one. `false` when there is no such role.
///
/// # Errors
/// Whatever PostgreSQL says against it is raised.
pub(crate) fn make_member(role: pg_sys::Oid) -> bool {
    let Some(members) = AuthId::find(Marker::User.name()) else { return false };
    if is_direct_member(role, members.oid) {
        return true;
    }
    // SAFETY: GetUserNameFromId raises an error for a role that is gone; the name is palloc'd.
    let role = unsafe { CStr::from_ptr(pg_sys::quote_identifier(pg_sys::GetUserNameFromId(role, false))) };
    let grant = format!("GRANT azure_ad_user TO {}", role.to_string_lossy());
    as_bootstrap_superuser(|| Spi::run(&grant)).is_ok()
}

/// Does `work` with the rights and in the name of the superuser that initdb made. What may be done so
/// has been judged before.
pub(super) fn as_bootstrap_superuser<T>(work: impl FnOnce() -> T) -> T {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: in a transaction; set back below, and by core should the work fail (xact.c,
    // AbortTransaction and AbortSubTransaction).
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        let superuser = pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID);
        pg_sys::SetUserIdAndSecContext(superuser, context | LOCAL_USERID_CHANGE);
    }
    let done = work();
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
    done
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
}

/// How a role stands; `None` when there is no such role.
pub(crate) fn standing(name: &CStr) -> Option<Standing> {
    let role = AuthId::find(name)?;
    Some(Standing {
        is_member: is_member_of(role.oid, Marker::User),
        is_superuser: role.is_superuser,
        can_replicate: role.can_replicate,
    })
}

fn is_member_of(member: pg_sys::Oid, marker: Marker) -> bool {
    AuthId::find(marker.name()).is_some_and(|marker| is_direct_member(member, marker.oid))
}

/// A row of `pg_authid`, as far as it matters here.
struct AuthId {
    oid: pg_sys::Oid,
    can_login: bool,
    is_superuser: bool,
    can_replicate: bool,
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
                can_replicate: (*row).rolreplication,
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
    memberships(By::Member, member).iter().any(|row| row.roleid == role.to_u32())
}

/// Whether a membership belongs to its grantor: from 16 on there is a row for each grantor, which goes only
/// when it is revoked in his name, and goes with what he owns. On 15 there is one row, and no such bond.
const HAS_GRANTORS: bool = !cfg!(feature = "pg15");

/// Those in whose names the membership of `member` in `role` must be revoked; nobody in particular on 15.
pub(super) fn grantors(role: &CStr, member: &CStr) -> Vec<CString> {
    if !HAS_GRANTORS {
        return Vec::new();
    }
    let (Some(role), Some(member)) = (AuthId::find(role), AuthId::find(member)) else { return Vec::new() };
    memberships(By::Member, member.oid)
        .into_iter()
        .filter(|row| row.roleid == role.oid.to_u32())
        .filter_map(|row| name_of(row.grantor))
        .collect()
}

/// The members of a marker role that are members as long as `grantor` wants it; none on 15.
pub(super) fn members_granted_by(marker: Marker, grantor: &CStr) -> Vec<CString> {
    if !HAS_GRANTORS {
        return Vec::new();
    }
    let (Some(marker), Some(grantor)) = (AuthId::find(marker.name()), AuthId::find(grantor)) else {
        return Vec::new();
    };
    memberships(By::Role, marker.oid)
        .into_iter()
        .filter(|row| row.grantor == grantor.oid.to_u32())
        .filter_map(|row| name_of(row.member))
        .collect()
}

fn name_of(role: libpq::Oid) -> Option<CString> {
    // SAFETY: null for a role that is gone, else a palloc'd string.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::Oid::from(role), true);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_owned())
    }
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
