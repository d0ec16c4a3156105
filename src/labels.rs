//! Who may put which label on a role, and what a label does.

use pgaad_core::label::{InternalLabel, Label, LabelFault};
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use crate::pg::catalog;
use crate::pg::report::{self, SqlError};
use crate::pg::seclabel::Provider;

/// Judges a label that somebody wants to put on a role, after core's own rule (ownership) was
/// satisfied, and makes the role a member of `azure_ad_user`, as on Azure.
///
/// # Errors
/// `42501` unless the caller is a superuser or a member of `azure_ad_admin` (and, where the label says
/// `admin`, a superuser); `22023` for a label that is not in the grammar, naming the part.
pub(crate) fn judge(provider: Provider, role: Oid, text: Option<&str>) -> Result<(), SqlError> {
    let caller = catalog::caller();
    if !caller.is_superuser && !caller.is_entra_admin {
        return Err(SqlError {
            code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            message: "permission denied to change an Entra label".to_owned(),
            hint: "Only superusers and members of azure_ad_admin may.",
        });
    }
    let Some(text) = text else { return Ok(()) };
    let label = match provider {
        Provider::Public => text.parse::<Label>(),
        Provider::Internal => text.parse::<InternalLabel>().map(|internal| internal.label),
    };
    let label = label.map_err(malformed)?;
    if label.admin && !caller.is_superuser {
        return Err(SqlError {
            code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            message: "permission denied to label a role as the Entra administrator's".to_owned(),
            hint: "Only superusers may.",
        });
    }
    if !catalog::make_member(role) {
        report::notice(
            "role azure_ad_user does not exist yet; the label takes effect when the role is made a member of it"
                .to_owned(),
        );
    }
    Ok(())
}

fn malformed(fault: LabelFault) -> SqlError {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message: format!("invalid Entra label: {fault}"),
        hint: "Write 'aadauth', or 'aadauth,oid=…,type=user' (or group, or service), then ',admin' or ',mfa'.",
    }
}
