//! Who may put which label on a role. What a label does is in `pg/role_plan.rs`.

use std::ffi::CString;

use pgaad_core::label::{InternalLabel, Label, LabelError};
use pgaad_core::membership::Privilege;
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use crate::membership_guard;
use crate::pg::catalog::{self, Marker};
use crate::pg::report::SqlError;
use crate::pg::role_graph;
use crate::pg::seclabel::Provider;

/// Judges a label that somebody wants to put on a role, or to take away, after core's own rule (ownership) was
/// satisfied.
///
/// # Errors
/// `42501` unless the caller is a superuser or a member of `azure_ad_admin`; for a role with power over the server, an
/// administrator's, and a label that says `admin`, unless the caller is a superuser. `22023` for a label that is not
/// in the grammar, naming the part, and for any label of a marker role.
pub(crate) fn judge(provider: Provider, role: Oid, text: Option<&str>) -> Result<(), SqlError> {
    let (is_superuser, caller) = catalog::caller();
    if !is_superuser && !caller.is_entra_admin {
        return Err(denied(
            "permission denied to change an Entra label".to_owned(),
            "Only superusers and members of azure_ad_admin may.",
        ));
    }
    let name = catalog::name_of(role).unwrap_or_default();
    if let Some(marker) = Marker::named(&name) {
        return Err(SqlError {
            code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            message: format!("role {} has no label", membership_guard::quoted(marker.name())),
            hint: "Label the role that a user, group or service logs in as.".into(),
        });
    }
    if !is_superuser && let Some(privilege) = role_graph::read().privilege(role.to_u32()) {
        return Err(privileged(&name, privilege));
    }
    let Some(text) = text else { return Ok(()) };
    let label = match provider {
        Provider::Public => text.parse::<Label>(),
        Provider::Internal => text.parse::<InternalLabel>().map(|internal| internal.label),
    };
    let label = label.map_err(|error| malformed(&error, corrected(provider, text)))?;
    if label.admin && !is_superuser {
        return Err(denied(
            "permission denied to label a role as the Entra administrator's".to_owned(),
            "Only superusers may.",
        ));
    }
    Ok(())
}

fn privileged(name: &CString, privilege: Privilege) -> SqlError {
    denied(
        format!(
            "permission denied to change the label of role {}, which {}",
            membership_guard::quoted(name),
            membership_guard::words(privilege)
        ),
        "Only superusers may.",
    )
}

fn denied(message: String, hint: &'static str) -> SqlError {
    SqlError { code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message, hint: hint.into() }
}

/// The label that is meant, where it is one but for blanks and capitals.
fn corrected(provider: Provider, text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    match provider {
        Provider::Public => plain.parse::<Label>().ok().map(|label| label.to_string()),
        Provider::Internal => plain.parse::<InternalLabel>().ok().map(|_| plain),
    }
}

fn malformed(error: &LabelError, corrected: Option<String>) -> SqlError {
    let grammar = "Write 'aadauth', 'aadauth,oid=…,type=user' (or group, or service), or 'aadauth,role=…', then \
                   ',admin' or ',mfa'.";
    SqlError {
        code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message: format!("invalid Entra label: {error}"),
        hint: corrected.map_or(grammar.into(), |label| format!("Write '{label}'.").into()),
    }
}
