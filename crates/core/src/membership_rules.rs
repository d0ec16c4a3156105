//! Which changes of roles and memberships are for superusers only.
//!
//! The guard of role statements reads all roles and memberships before a statement and after it, and asks
//! [`judge`] whether a caller who is no superuser may leave this graph behind. The rules judge the graph, not
//! the words of the statement, so that no order and no syntax goes around them:
//!
//! 1. The marker roles stay as they are, and are members of nothing.
//! 2. The roles that reach `azure_ad_admin`, directly or through other roles, stay the same, and are altered by
//!    superusers and by themselves only: a role is had by its password, too.
//! 3. A member of `azure_ad_user` is no predefined role, no superuser, has neither REPLICATION nor BYPASSRLS, and
//!    every role that is a member of it, in whatever way, is a member of `azure_ad_user` itself: a `+azure_ad_user`
//!    of `pg_hba.conf` is transitive (hba.c, `is_member`) and counts memberships with nothing but the ADMIN OPTION.
//! 4. No role outside `azure_ad_user` reaches one inside it. A membership that a superuser has made with nothing but
//!    the ADMIN OPTION is not widened, either.
//! 5. A role that is bound by its name is renamed by Entra administrators only.
//! 6. Before PostgreSQL 16, where CREATEROLE may grant and alter any role that is no superuser: one that has
//!    REPLICATION, BYPASSRLS or a predefined role's power over the server, or reaches such a role or a superuser, is
//!    granted and altered by holders of its ADMIN OPTION only. From 16 on core asks for it; but an Entra administrator
//!    has it, alone, by their office on every role that was harmless once. It is not enough for them.
//!
//! Memberships in `azure_ad_user` and `azure_ad_mfa` are changed by superusers and Entra administrators only.

use std::collections::BTreeSet;

use crate::membership::{Exposure, Membership, Privilege, RoleGraph, RoleOid};

/// Who runs the statement.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Current user.
    pub role: RoleOid,
    /// Whether it is a direct member of `azure_ad_admin`.
    pub is_entra_admin: bool,
    /// Whether CREATEROLE rules over all roles in this major (before 16).
    pub createrole_rules_all: bool,
}

impl Caller {
    /// Whether core would let this caller, without an ADMIN OPTION that somebody chose to give them, grant and alter
    /// roles with power over the server.
    fn needs_option_for_power(self) -> bool {
        self.createrole_rules_all || self.is_entra_admin
    }
}

/// What a caller who is no superuser may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Rule 1: a marker role is made, renamed, altered or dropped.
    Marker,
    /// Rule 1: a marker role becomes a member of this role.
    MarkerIsMember {
        /// The marker role.
        marker: RoleOid,
        /// The role.
        of: RoleOid,
    },
    /// Rule 2: this role would reach `azure_ad_admin`, or no longer.
    Administrators(RoleOid),
    /// The caller is no Entra administrator, and changes the membership of this role in `azure_ad_user` or
    /// `azure_ad_mfa`.
    NotAdministrator {
        /// The marker role.
        marker: RoleOid,
    },
    /// An Entra administrator puts this role into a marker role, or takes it out, which only superusers may.
    Privileged {
        /// The role.
        role: RoleOid,
        /// Why.
        privilege: Privilege,
    },
    /// Rules 3 and 4: `outsider` would be a member of the Entra role `role`, and is no Entra role.
    Outsider {
        /// The Entra role.
        role: RoleOid,
        /// The other.
        outsider: RoleOid,
    },
    /// Rule 5: a role that is bound by its name gets another name.
    BindingRenamed(RoleOid),
    /// Rule 6: a role that reaches this one is granted without its ADMIN OPTION.
    ServerRole {
        /// The role that is granted.
        granted: RoleOid,
        /// The superuser or predefined role that it reaches.
        reaches: RoleOid,
    },
}

/// Judges what a statement by a caller who is no superuser has made of the graph.
///
/// `is_bound_by_name` tells whether an Entra role is bound by nothing but its name; asked for renamed ones only.
///
/// # Errors
/// The first [`Violation`] that was not there before, in the order of the rules.
pub fn judge(
    before: &RoleGraph,
    after: &RoleGraph,
    caller: Caller,
    is_bound_by_name: impl Fn(RoleOid) -> bool,
) -> Result<(), Violation> {
    keep_markers(before, after)?;
    keep_administrators(before, after)?;
    change_members_by_right(before, after, caller)?;
    expose_no_member(before, after)?;
    keep_bindings(before, after, caller, is_bound_by_name)?;
    spread_no_server_role(before, after, caller)
}

/// Judges whether a caller who is no superuser may alter `role`, not their own, as far as core lets them: its password,
/// name, attributes and settings.
///
/// # Errors
/// Why not: it reaches `azure_ad_admin`; or it has power over the server, or reaches a role that has, and the caller
/// needs its ADMIN OPTION for that and does not hold it.
pub fn judge_alteration(graph: &RoleGraph, role: RoleOid, caller: Caller) -> Result<(), Privilege> {
    let reached = graph.reached_privilege(role);
    if reached == Some(Privilege::Administrator) {
        return Err(Privilege::Administrator);
    }
    match graph.own_privilege(role).or(reached) {
        Some(privilege) if caller.needs_option_for_power() && !graph.administers(caller.role, role) => {
            Err(privilege)
        }
        _ => Ok(()),
    }
}

fn keep_markers(before: &RoleGraph, after: &RoleGraph) -> Result<(), Violation> {
    let same = before.markers.all().all(|marker| before.role(marker) == after.role(marker));
    if before.markers != after.markers || !same {
        return Err(Violation::Marker);
    }
    let markers: Vec<_> = after.markers.all().collect();
    match new_memberships(before, after).find(|new| markers.contains(&new.member)) {
        Some(new) => Err(Violation::MarkerIsMember { marker: new.member, of: new.role }),
        None => Ok(()),
    }
}

fn keep_administrators(before: &RoleGraph, after: &RoleGraph) -> Result<(), Violation> {
    let Some(admin) = before.markers.admin else { return Ok(()) };
    let reaching = |graph: &RoleGraph| graph.below(admin, |row| row.conveys);
    if let Some(role) = reaching(before).symmetric_difference(&reaching(after)).next() {
        return Err(Violation::Administrators(*role));
    }
    let direct = |graph: &RoleGraph| -> BTreeSet<_> {
        graph.by_role.get(&admin).into_iter().flatten().copied().collect()
    };
    if let Some(row) = direct(before).symmetric_difference(&direct(after)).next() {
        return Err(Violation::Administrators(row.member));
    }
    // Nor does one administrator become another one.
    let administrators = reaching(before);
    let taken = new_memberships(before, after).find(|new| new.conveys && administrators.contains(&new.role));
    taken.map_or(Ok(()), |row| Err(Violation::Administrators(row.member)))
}

fn change_members_by_right(before: &RoleGraph, after: &RoleGraph, caller: Caller) -> Result<(), Violation> {
    for marker in [before.markers.user, before.markers.mfa].into_iter().flatten() {
        let rows = |graph: &RoleGraph| -> BTreeSet<_> {
            let rows = graph.by_role.get(&marker).into_iter().flatten().copied();
            // A role that is dropped leaves all others.
            rows.filter(|row| after.roles.contains_key(&row.member)).collect()
        };
        for changed in rows(before).symmetric_difference(&rows(after)) {
            if !caller.is_entra_admin {
                return Err(Violation::NotAdministrator { marker });
            }
            let role = changed.member;
            let joins = !before.is_entra(role);
            let forbidden = match after.privilege(role) {
                Some(privilege @ Privilege::Superuser) => Some(privilege),
                Some(privilege) if Some(marker) == before.markers.user => {
                    (joins || privilege == Privilege::Administrator).then_some(privilege)
                }
                // An administrator does not lift what a superuser asks of them.
                Some(privilege) => (!after.is_member(role, marker)).then_some(privilege),
                None => None,
            };
            if let Some(privilege) = forbidden {
                return Err(Violation::Privileged { role, privilege });
            }
        }
    }
    Ok(())
}

fn expose_no_member(before: &RoleGraph, after: &RoleGraph) -> Result<(), Violation> {
    match after.exposures().difference(&before.exposures()).next().copied() {
        Some((role, Exposure::Privileged(privilege))) => Err(Violation::Privileged { role, privilege }),
        Some((role, Exposure::Outsider(outsider) | Exposure::OutsiderWithRights(outsider))) => {
            Err(Violation::Outsider { role, outsider })
        }
        None => Ok(()),
    }
}

fn keep_bindings(
    before: &RoleGraph,
    after: &RoleGraph,
    caller: Caller,
    is_bound_by_name: impl Fn(RoleOid) -> bool,
) -> Result<(), Violation> {
    if caller.is_entra_admin {
        return Ok(());
    }
    let renamed = after.roles.iter().find(|(oid, role)| {
        before.role(**oid).is_some_and(|old| old.name != role.name)
            && before.is_entra(**oid)
            && is_bound_by_name(**oid)
    });
    renamed.map_or(Ok(()), |(oid, _)| Err(Violation::BindingRenamed(*oid)))
}

fn spread_no_server_role(before: &RoleGraph, after: &RoleGraph, caller: Caller) -> Result<(), Violation> {
    if !caller.needs_option_for_power() {
        return Ok(());
    }
    for new in new_memberships(before, after) {
        let mut reached = after.reached_by(new.role);
        reached.insert(new.role);
        let power = reached.into_iter().find(|role| after.has_power_over_the_server(*role));
        if let Some(reaches) = power
            && !before.administers(caller.role, new.role)
        {
            return Err(Violation::ServerRole { granted: new.role, reaches });
        }
    }
    Ok(())
}

/// Memberships that were not there, or conveyed less.
fn new_memberships<'a>(before: &'a RoleGraph, after: &'a RoleGraph) -> impl Iterator<Item = Membership> + 'a {
    let is_new = |row: &&Membership| {
        let all = |admin, conveys| Membership { admin, conveys, ..**row };
        let mut old = before.memberships.range(all(false, false)..=all(true, true));
        !old.any(|old| old.admin >= row.admin && old.conveys >= row.conveys)
    };
    after.memberships.difference(&before.memberships).filter(is_new).copied()
}
