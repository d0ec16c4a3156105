//! Who may change roles, as far as tokens open them: the rules of `pgaad_core::membership_rules` in the words of SQL.
//!
//! Membership in `azure_ad_user` takes a role's password away and gives the role to the holder of a token. So
//! superusers and Entra administrators decide about it, and nobody rises by it: see `pgaad_core::membership_rules`.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use pgaad_core::label::Binding;
use pgaad_core::membership::{Privilege, RoleGraph, RoleOid};
use pgaad_core::membership_rules::{self, Caller, Violation};
use pgrx::prelude::*;

use crate::directory_names;
use crate::pg::catalog::{self, Marker, standing};
use crate::pg::encoding;
use crate::pg::report::{self, SqlError};
use crate::pg::role_graph;
use crate::pg::role_statement::Change;
use crate::pg::utility::Guard;

/// The guard of every statement about roles.
pub(crate) const GUARD: Guard = Guard { before, after, advise, directory: directory_names::OF_STATEMENTS };

const ADMINISTRATORS: &str = "Only superusers and members of azure_ad_admin may.";
const SUPERUSERS: &str = "Only superusers may.";
const HOLDERS: &str = "It has power over the server. Where pgaad is used, only superusers may, and roles to which \
                       one has given it WITH ADMIN OPTION and its rights.";

/// Judges a statement of a caller who is no superuser before it is carried out: what the graph will not show, and
/// what can be said in better words now.
///
/// # Errors
/// `42501` for what the caller may not do.
fn before(changes: &[Change], caller: Caller) -> Result<(), SqlError> {
    changes.iter().try_for_each(|change| match change {
        Change::Role(name) | Change::Drop(name) if Marker::named(name).is_some() => Err(denied(
            format!("permission denied to create, alter, rename or drop role {}", quoted(name)),
            SUPERUSERS,
        )),
        Change::Role(name) => alter_by_right(name, caller),
        Change::Grant { roles, .. } if roles.iter().any(|role| is_missing_azure_admin(role)) => {
            Err(SqlError {
                code: PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                message: "role \"azure_pg_admin\" does not exist".to_owned(),
                hint: "It is Azure's. A superuser can make one here: SELECT pgaad.make_azure_roles();".into(),
            })
        }
        Change::Grant { members, .. } | Change::Revoke { members, .. } => change
            .markers()
            .into_iter()
            .try_for_each(|marker| change_members_by_right(marker, members, caller)),
        Change::Drop(_) | Change::Label(_) => Ok(()),
    })
}

/// Scripts that were written for Azure grant a role that only Azure's servers have.
fn is_missing_azure_admin(role: &CStr) -> bool {
    role == c"azure_pg_admin" && catalog::oid_of(role).is_none()
}

/// A role is had by its password, too, and by the settings of its sessions.
fn alter_by_right(name: &CStr, caller: Caller) -> Result<(), SqlError> {
    let Some(role) = catalog::oid_of(name).filter(|role| *role != caller.role) else { return Ok(()) };
    membership_rules::judge_alteration(&role_graph::read(), role, caller).map_err(|privilege| {
        denied(
            format!("permission denied to alter role {}, which {}", quoted(name), words(privilege)),
            if privilege == Privilege::Administrator { SUPERUSERS } else { HOLDERS },
        )
    })
}

/// Nobody but a superuser decides how a superuser logs in, as with all else about superusers in core.
fn change_members_by_right(marker: Marker, members: &[CString], caller: Caller) -> Result<(), SqlError> {
    if marker == Marker::Admin || !caller.is_entra_admin {
        return Err(denied(
            format!("permission denied to change the members of role {}", quoted(marker.name())),
            if marker == Marker::Admin {
                "Only superusers may: SELECT pgaad.set_admin(name, object_id, type)."
            } else {
                ADMINISTRATORS
            },
        ));
    }
    let is_superuser = |name: &&CString| standing(name).is_some_and(|standing| standing.is_superuser);
    members.iter().find(is_superuser).map_or(Ok(()), |member| {
        Err(denied(
            format!(
                "permission denied to put superuser {} into role {} or take it out",
                quoted(member),
                quoted(marker.name())
            ),
            SUPERUSERS,
        ))
    })
}

/// Judges what a statement of such a caller has made of the roles.
///
/// # Errors
/// `42501` for what the caller may not do.
fn after(before: &RoleGraph, after: &RoleGraph, caller: Caller) -> Result<(), SqlError> {
    let is_bound_by_name = |role| catalog::labelling_of_oid(role).binding == Binding::Name;
    membership_rules::judge(before, after, caller, is_bound_by_name)
        .map_err(|violation| error_of(&violation, before, |role| name_in(role, before, after)))
}

fn error_of(violation: &Violation, before: &RoleGraph, name: impl Fn(RoleOid) -> String) -> SqlError {
    match violation {
        Violation::Marker => denied("permission denied to change a role of pgaad's".to_owned(), SUPERUSERS),
        Violation::MarkerIsMember { marker, of } => denied(
            format!("permission denied to grant role {} to role {}", name(*of), name(*marker)),
            "All Entra roles would have its rights. Only superusers may.",
        ),
        Violation::Administrators(role) => denied(
            format!("permission denied to change whether role {} is an Entra administrator", name(*role)),
            "Only superusers may: SELECT pgaad.set_admin(name, object_id, type).",
        ),
        Violation::NotAdministrator { marker } => denied(
            format!("permission denied to change the members of role {}", name(*marker)),
            ADMINISTRATORS,
        ),
        Violation::Privileged { role, privilege } => denied(
            format!(
                "permission denied to change whether tokens open role {}, which {}",
                name(*role),
                words(*privilege)
            ),
            SUPERUSERS,
        ),
        Violation::Outsider { role, outsider } => denied(
            format!(
                "Entra role {} cannot have member {}, which is not an Entra role",
                name(*role),
                name(*outsider)
            ),
            hint_for_outsider(*role, *outsider, before),
        ),
        Violation::BindingRenamed(role) => denied(
            format!("permission denied to rename Entra role {}, which is bound by its name", name(*role)),
            "Another user's token would open it. Only superusers and members of azure_ad_admin may.",
        ),
        Violation::ServerRole { granted, reaches } if granted == reaches => {
            denied(format!("permission denied to grant role {}", name(*granted)), HOLDERS)
        }
        Violation::ServerRole { granted, reaches } => denied(
            format!(
                "permission denied to grant role {}, which is a member of {}",
                name(*granted),
                name(*reaches)
            ),
            HOLDERS,
        ),
    }
}

/// A membership that was there before can be taken back.
fn hint_for_outsider(role: RoleOid, outsider: RoleOid, before: &RoleGraph) -> String {
    if before.is_member(outsider, role) {
        return revocations(&name_of(role), &name_of(outsider));
    }
    "The role's rights would be had without a token. Make both Entra roles, or grant both what they need by a third \
     role. Only superusers may do otherwise."
        .to_owned()
}

fn name_of(role: RoleOid) -> CString {
    catalog::name_of(pg_sys::Oid::from(role)).unwrap_or_default()
}

/// The statements that take a membership back, from 16 on one for each role that has granted it.
fn revocations(role: &CStr, member: &CStr) -> String {
    let revoke = format!("REVOKE {} FROM {}", quoted(role), quoted(member));
    let grantors = catalog::grantors(role, member);
    if grantors.is_empty() {
        return format!("{revoke} CASCADE;");
    }
    let each = grantors.iter().map(|grantor| format!("{revoke} GRANTED BY {} CASCADE;", quoted(grantor)));
    each.collect::<Vec<_>>().join(" ")
}

/// Why a role is left to superusers.
pub(crate) fn words(privilege: Privilege) -> String {
    match privilege {
        Privilege::Predefined => "is a predefined role".to_owned(),
        Privilege::Superuser => "is a superuser".to_owned(),
        Privilege::Replication => "has REPLICATION".to_owned(),
        Privilege::BypassRls => "has BYPASSRLS".to_owned(),
        Privilege::AzureAdmin => "is Azure's administrator role".to_owned(),
        Privilege::Reaches(role) => {
            let name = catalog::name_of(pg_sys::Oid::from(role)).unwrap_or_default();
            format!("is a member of {}", quoted(&name))
        }
        Privilege::Administrator => "is an Entra administrator".to_owned(),
    }
}

/// Tells of what a statement has done that its author may not have meant. Only superusers come so far with what the
/// rules forbid to others.
fn advise(changes: &[Change], is_superuser: bool) {
    let mut with_password = BTreeSet::new();
    let mut joined = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    for change in changes {
        match change {
            Change::Role(name) => _ = with_password.insert(name),
            Change::Label(name) => _ = joined.insert(name),
            Change::Grant { roles, members } => {
                if change.markers().contains(&Marker::User) {
                    joined.extend(members);
                }
                if is_superuser {
                    pairs.extend(entra_roles_of_outsiders(roles, members));
                }
            }
            Change::Revoke { members, .. } if change.markers().contains(&Marker::User) => {
                members.iter().for_each(|member| advise_of_leaver(member));
            }
            Change::Revoke { .. } | Change::Drop(_) => {}
        }
    }
    with_password.union(&joined).for_each(|name| advise_of_password(name, joined.contains(name)));
    if !is_superuser {
        return;
    }
    for name in joined {
        advise_of_member(name);
        pairs.extend(entra_roles_of_outsiders(std::slice::from_ref(name), &catalog::members_of(name)));
    }
    pairs.iter().for_each(|(role, outsider)| advise_of_outsider(role, outsider));
}

/// The Entra roles among `roles`, each with the members that are not.
fn entra_roles_of_outsiders(roles: &[CString], members: &[CString]) -> Vec<(CString, CString)> {
    let is_entra = |name: &&CString| standing(name).is_some_and(|standing| standing.is_member);
    let entra: BTreeSet<_> =
        roles.iter().filter(|role| Marker::named(role).is_none()).filter(is_entra).collect();
    if entra.is_empty() {
        return Vec::new();
    }
    let outsiders: BTreeSet<_> = members.iter().filter(|member| !is_entra(member)).collect();
    let of_role = |role: &CString| {
        outsiders.iter().map(|&outsider| (role.clone(), outsider.clone())).collect::<Vec<_>>()
    };
    entra.into_iter().flat_map(of_role).collect()
}

fn advise_of_member(member: &CStr) {
    let Some(standing) = standing(member).filter(|standing| standing.is_member) else { return };
    if standing.is_superuser {
        report::caution(
            format!("role {} is a superuser and a member of azure_ad_user", quoted(member)),
            "It can no longer log in with its password, and with a token only while pgaad.allow_superuser is on.",
        );
    }
    if standing.can_replicate {
        report::caution(
            format!("role {} has REPLICATION and is a member of azure_ad_user", quoted(member)),
            "It can no longer log in with its password; give standbys and backups a role of their own.",
        );
    }
}

fn advise_of_leaver(member: &CStr) {
    if standing(member).is_some_and(|standing| standing.has_password && !standing.is_member) {
        report::caution(
            format!("role {} has left azure_ad_user and has a password, which works again", quoted(member)),
            format!("ALTER ROLE {} PASSWORD NULL;", quoted(member)),
        );
    }
}

fn advise_of_outsider(role: &CStr, member: &CStr) {
    report::caution(
        format!(
            "the Entra role {} is granted to {}, which is not one: its rights can be had without a token, and a \
             line for +azure_ad_user matches {1}",
            quoted(role),
            quoted(member)
        ),
        revocations(role, member),
    );
}

/// On some methods core tells a right password from a wrong one before a login can be refused. Where it was given in
/// another session than the membership, nobody can tell any more whether it was the public id of a program.
fn advise_of_password(name: &CStr, has_joined: bool) {
    if !standing(name).is_some_and(|standing| standing.is_member && standing.has_password) {
        return;
    }
    let role = quoted(name);
    let is_bound = catalog::labelling(name).is_some_and(|labelling| labelling.is_labelled);
    let program = if has_joined && !is_bound {
        format!(
            " -- and, if that was a program's client id: SECURITY LABEL FOR \"pgaadauth\" ON ROLE {role} IS \
             'aadauth,oid=<client id>,type=service';"
        )
    } else {
        String::new()
    };
    report::advice(
        format!("role {role} is a member of azure_ad_user and has a password, which it cannot use"),
        format!("ALTER ROLE {role} PASSWORD NULL;{program}"),
    );
}

fn denied(message: String, hint: impl Into<String>) -> SqlError {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        message,
        hint: std::borrow::Cow::Owned(hint.into()),
    }
}

fn name_in(role: RoleOid, before: &RoleGraph, after: &RoleGraph) -> String {
    let name = after.role(role).or_else(|| before.role(role)).map(|role| role.name.clone());
    quoted_text(&encoding::decode(&name.unwrap_or_default()))
}

/// A role's name as an SQL identifier.
pub(crate) fn quoted(name: &CStr) -> String {
    quoted_text(&encoding::of_name(name))
}

fn quoted_text(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
