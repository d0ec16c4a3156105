//! All roles and memberships of a server at one moment, and who reaches whom in them.
//!
//! The rules that compare two such moments are in [`crate::membership_rules`].

use std::collections::{BTreeMap, BTreeSet};

/// `pg_authid.oid`.
pub type RoleOid = u32;

/// Role ids below this one are PostgreSQL's own (transam.h, `FirstNormalObjectId`).
const FIRST_NORMAL_OID: RoleOid = 16_384;

/// The superuser that initdb makes (pg_authid.dat): the one of these that is not predefined.
const BOOTSTRAP_SUPERUSER: RoleOid = 10;

/// `pg_read_server_files`, `pg_write_server_files`, `pg_execute_server_program`, `pg_write_all_data` (pg_authid.dat).
const SERVER_ROLES: [RoleOid; 4] = [4569, 4570, 4571, 6182];

/// Azure's administrator role (`pgaad.make_azure_roles`): its members read all data and hand that on.
const AZURE_ADMIN: &[u8] = b"azure_pg_admin";

/// A row of `pg_authid`, as far as the rules look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `rolname`, in bytes: its encoding is not known.
    pub name: Vec<u8>,
    /// `rolsuper`.
    pub is_superuser: bool,
    /// `rolreplication`.
    pub can_replicate: bool,
    /// `rolbypassrls`.
    pub bypasses_rls: bool,
}

/// A row of `pg_auth_members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// The role whose rights are given.
    pub role: RoleOid,
    /// The role that has them.
    pub member: RoleOid,
    /// `admin_option`.
    pub admin: bool,
    /// Whether the member has the role's rights, or may take them by SET ROLE: always before PostgreSQL 16, from 16
    /// on `inherit_option` or `set_option`.
    pub conveys: bool,
}

/// The marker roles that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    /// `azure_ad_user`.
    pub user: Option<RoleOid>,
    /// `azure_ad_admin`.
    pub admin: Option<RoleOid>,
    /// `azure_ad_mfa`.
    pub mfa: Option<RoleOid>,
}

impl Markers {
    pub(crate) fn all(self) -> impl Iterator<Item = RoleOid> {
        [self.user, self.admin, self.mfa].into_iter().flatten()
    }
}

/// All roles and memberships of the server at one moment.
#[derive(Clone, Debug, Default)]
pub struct RoleGraph {
    pub(crate) roles: BTreeMap<RoleOid, Role>,
    pub(crate) memberships: BTreeSet<Membership>,
    pub(crate) markers: Markers,
    pub(crate) by_role: BTreeMap<RoleOid, Vec<Membership>>,
    by_member: BTreeMap<RoleOid, Vec<Membership>>,
}

/// What makes a role one that only superusers put into `azure_ad_user`, label, or hand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// A role of PostgreSQL's own, `pg_…`.
    Predefined,
    /// SUPERUSER.
    Superuser,
    /// REPLICATION.
    Replication,
    /// BYPASSRLS.
    BypassRls,
    /// It is Azure's administrator role, `azure_pg_admin`.
    AzureAdmin,
    /// It is, directly or through others, a member of this role, which is one of those above and has power over the
    /// server.
    Reaches(RoleOid),
    /// It is, directly or through others, a member of `azure_ad_admin`.
    Administrator,
}

impl RoleGraph {
    /// The graph of these rows.
    pub fn new(
        roles: BTreeMap<RoleOid, Role>,
        memberships: impl IntoIterator<Item = Membership>,
        markers: Markers,
    ) -> Self {
        let mut graph = Self { roles, markers, ..Self::default() };
        for membership in memberships {
            if graph.memberships.insert(membership) {
                graph.by_role.entry(membership.role).or_default().push(membership);
                graph.by_member.entry(membership.member).or_default().push(membership);
            }
        }
        graph
    }

    /// A role's row.
    pub fn role(&self, oid: RoleOid) -> Option<&Role> {
        self.roles.get(&oid)
    }

    /// Whether a role is a direct member of `azure_ad_user`.
    pub fn is_entra(&self, oid: RoleOid) -> bool {
        self.markers.user.is_some_and(|user| self.is_member(oid, user))
    }

    /// Whether `member` is a direct member of `role`.
    pub fn is_member(&self, member: RoleOid, role: RoleOid) -> bool {
        self.direct_members(role).any(|other| other == member)
    }

    pub(crate) fn direct_members(&self, role: RoleOid) -> impl Iterator<Item = RoleOid> {
        self.by_role.get(&role).into_iter().flatten().map(|membership| membership.member)
    }

    /// The roles below a role: its members, theirs, and so on, along the memberships that count.
    pub(crate) fn below(&self, role: RoleOid, counts: impl Fn(&Membership) -> bool) -> BTreeSet<RoleOid> {
        walk(role, |role| {
            let rows = self.by_role.get(&role).into_iter().flatten();
            rows.filter(|row| counts(row)).map(|row| row.member).collect()
        })
    }

    /// The roles that a role has the rights of, or can take by SET ROLE.
    pub(crate) fn reached_by(&self, member: RoleOid) -> BTreeSet<RoleOid> {
        walk(member, |member| {
            let rows = self.by_member.get(&member).into_iter().flatten();
            rows.filter(|row| row.conveys).map(|row| row.role).collect()
        })
    }

    /// What makes a role privileged, if anything does.
    pub fn privilege(&self, oid: RoleOid) -> Option<Privilege> {
        self.own_privilege(oid).or_else(|| self.reached_privilege(oid))
    }

    /// What makes a role privileged by what it is a member of.
    pub(crate) fn reached_privilege(&self, oid: RoleOid) -> Option<Privilege> {
        let reached = self.reached_by(oid);
        if self.markers.admin.is_some_and(|admin| reached.contains(&admin)) {
            return Some(Privilege::Administrator);
        }
        reached.into_iter().find(|role| self.has_power_over_the_server(*role)).map(Privilege::Reaches)
    }

    /// What makes a role privileged by itself, not by what it is a member of.
    pub(crate) fn own_privilege(&self, oid: RoleOid) -> Option<Privilege> {
        let role = self.roles.get(&oid)?;
        if oid < FIRST_NORMAL_OID && oid != BOOTSTRAP_SUPERUSER {
            return Some(Privilege::Predefined);
        }
        let attributes = [
            (role.is_superuser, Privilege::Superuser),
            (role.can_replicate, Privilege::Replication),
            (role.bypasses_rls, Privilege::BypassRls),
            (role.name == AZURE_ADMIN, Privilege::AzureAdmin),
        ];
        attributes.into_iter().find_map(|(has, privilege)| has.then_some(privilege))
    }

    pub(crate) fn has_power_over_the_server(&self, oid: RoleOid) -> bool {
        let has_power = |role: &Role| {
            role.is_superuser || role.can_replicate || role.bypasses_rls || role.name == AZURE_ADMIN
        };
        SERVER_ROLES.contains(&oid) || self.roles.get(&oid).is_some_and(has_power)
    }

    /// Whether a role holds the ADMIN OPTION on another, itself or through a role that it is a member of, with the
    /// other role's rights: the ADMIN OPTION alone is what from 16 on an office gives, or having made the role.
    pub(crate) fn administers(&self, holder: RoleOid, role: RoleOid) -> bool {
        let reached = self.reached_by(holder);
        let rows = self.by_role.get(&role).into_iter().flatten();
        rows.filter(|row| row.admin && row.conveys)
            .any(|row| row.member == holder || reached.contains(&row.member))
    }

    /// What rule 3 forbids, of each Entra role.
    pub(crate) fn exposures(&self) -> BTreeSet<(RoleOid, Exposure)> {
        let mut exposures = BTreeSet::new();
        let Some(user) = self.markers.user else { return exposures };
        let entra: BTreeSet<_> = self.direct_members(user).collect();
        for &role in &entra {
            if let Some(privilege) = self.own_privilege(role) {
                exposures.insert((role, Exposure::Privileged(privilege)));
            }
            // Apart, so that a member with nothing but the ADMIN OPTION does not get the role's rights either.
            let outsiders =
                |below: BTreeSet<RoleOid>| below.into_iter().filter(|below| !entra.contains(below));
            let members = outsiders(self.below(role, |_| true));
            exposures.extend(members.map(|outsider| (role, Exposure::Outsider(outsider))));
            let holders = outsiders(self.below(role, |row| row.conveys));
            exposures.extend(holders.map(|outsider| (role, Exposure::OutsiderWithRights(outsider))));
        }
        exposures
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exposure {
    Privileged(Privilege),
    Outsider(RoleOid),
    OutsiderWithRights(RoleOid),
}

/// All that can be reached from `start` by `next`, without `start` itself.
fn walk(start: RoleOid, next: impl Fn(RoleOid) -> Vec<RoleOid>) -> BTreeSet<RoleOid> {
    let (mut seen, mut waiting) = (BTreeSet::new(), next(start));
    while let Some(oid) = waiting.pop() {
        if oid != start && seen.insert(oid) {
            waiting.extend(next(oid));
        }
    }
    seen
}
