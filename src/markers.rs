//! Who may change the marker roles and who is in them.
//!
//! Membership in `azure_ad_user` takes a role's password away and gives it to the holder of a token, so
//! nobody may give or take it who is neither a superuser nor a member of `azure_ad_admin`. Before
//! PostgreSQL 16 core would let any CREATEROLE.

use std::ffi::CStr;

use pgrx::prelude::*;

use crate::pg::catalog::{self, Caller, Marker, standing};
use crate::pg::report::{self, SqlError};
use crate::pg::role_statement::Change;
use crate::pg::utility::Guard;

/// The guard of every statement about roles.
pub(crate) const GUARD: Guard = Guard { judge, advise };

/// Judges a statement before it is carried out.
///
/// # Errors
/// `42501` for whatever the caller may not do.
fn judge(changes: &[Change]) -> Result<(), SqlError> {
    let caller = catalog::caller();
    if caller.is_superuser {
        return Ok(());
    }
    changes.iter().try_for_each(|change| match change {
        Change::Role(name) => Marker::named(name).map_or(Ok(()), |marker| may_change(caller, marker)),
        Change::Grant { role, member } | Change::Revoke { role, member } => {
            if let Some(marker) = Marker::named(role) {
                may_change(caller, marker)?;
                may_be_changed(member, marker)?;
            }
            if matches!(change, Change::Grant { .. }) && leaks(role, member, changes) {
                return Err(denied(
                    format!(
                        "cannot grant the Entra role {} to {}, which is not one",
                        quoted(role),
                        quoted(member)
                    ),
                    "Its rights would be had without a token. Grant both what they need by a third role.",
                ));
            }
            Ok(())
        }
    })
}

/// Who may change a marker role, or who is in it.
fn may_change(caller: Caller, marker: Marker) -> Result<(), SqlError> {
    match marker {
        Marker::Admin => Err(denied(
            format!("permission denied to change role {} or its members", quoted(marker.name())),
            "Only superusers may: SELECT pgaad.set_admin(name, object_id, type).",
        )),
        Marker::User | Marker::Mfa if !caller.is_entra_admin => Err(denied(
            format!("permission denied to change role {} or its members", quoted(marker.name())),
            "Only superusers and members of azure_ad_admin may.",
        )),
        Marker::User | Marker::Mfa => Ok(()),
    }
}

/// Nobody but a superuser decides how a superuser logs in, as with all else about superusers in core.
fn may_be_changed(member: &CStr, marker: Marker) -> Result<(), SqlError> {
    if standing(member).is_some_and(|standing| standing.is_superuser) {
        return Err(denied(
            format!(
                "permission denied to put superuser {} into role {} or take it out",
                quoted(member),
                quoted(marker.name())
            ),
            "Only superusers may.",
        ));
    }
    Ok(())
}

/// Whether an Entra role would be had by one that is none: by then, or already.
fn leaks(role: &CStr, member: &CStr, changes: &[Change]) -> bool {
    let is_entra = |name: &CStr| {
        standing(name).is_some_and(|standing| standing.is_member)
            || changes.iter().any(|change| {
                matches!(change, Change::Grant { role, member }
                    if Marker::named(role) == Some(Marker::User) && member.as_c_str() == name)
            })
    };
    is_entra(role) && !is_entra(member)
}

/// Warns of what a statement has done that its author may not have meant. Only superusers come so far
/// with an Entra role that somebody else has.
fn advise(changes: &[Change]) {
    for change in changes {
        let Change::Grant { role, member } = change else { continue };
        if Marker::named(role) == Some(Marker::User) {
            let Some(member_is) = standing(member) else { continue };
            if member_is.is_superuser {
                report::caution(
                    format!("role {} is a superuser and a member of azure_ad_user", quoted(member)),
                    "It can no longer log in with its password, and with a token only while pgaad.allow_superuser is on.",
                );
            }
            if member_is.can_replicate {
                report::caution(
                    format!("role {} has REPLICATION and is a member of azure_ad_user", quoted(member)),
                    "It can no longer log in with its password; give standbys and backups a role of their own.",
                );
            }
        }
        if leaks(role, member, &[]) {
            report::caution(
                format!("the Entra role {} is granted to {}, which is not one", quoted(role), quoted(member)),
                "Its rights can be had without a token.",
            );
        }
    }
}

fn denied(message: String, hint: &'static str) -> SqlError {
    SqlError { code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message, hint }
}

fn quoted(name: &CStr) -> String {
    format!("\"{}\"", name.to_string_lossy())
}
