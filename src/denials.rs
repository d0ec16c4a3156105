//! Shutting somebody out: the functions below `pgaad.deny`, `pgaad.allow` and `pgaad.denied`.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use pgaad_core::deny::{Denial, DeniedBy, Mark, NotChanged};
use pgaad_core::guid::TenantId;
use pgaad_core::log_line::LogLine;
use pgaad_core::role_name;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;

use crate::pg::report::{self, SqlError};
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::{catalog, clock, deny_labels};
use crate::settings;
use crate::sql_api::timestamp;

extension_sql_file!(
    "../sql/denials.sql",
    name = "denials",
    requires = ["views", deny_entry, allow_entry, denial_rows, denial_mark]
);

/// Longest id of a token, in bytes. Entra's have 22.
const MAX_TOKEN_ID_BYTES: usize = 256;

/// Puts somebody on the list, until that Unix time or for ever: in whichever of the tenants the id is. Gives the
/// tenants.
#[pg_extern(name = "_deny", volatile, parallel_unsafe)]
fn deny_entry(claim: TextFromSql, id: TextFromSql, until: Option<i64>) -> Vec<TextToSql> {
    let marks = raise(marks_of(&claim, &id));
    let by_superuser = raise(authorize());
    let denial = |mark| Denial { mark, until: until.map(UnixTime::new), by_superuser };
    let changed = deny_labels::change(c"pgaad.deny()", |list| {
        marks.iter().try_for_each(|(_, mark)| list.deny(denial(*mark), clock::now()))
    });
    raise(changed.ok_or_else(no_list).and_then(|changed| changed.map_err(not_changed)));
    note("deny", &claim, &id, until);
    names(marks)
}

/// Takes somebody off the list. Gives the tenants in which they were on it.
#[pg_extern(name = "_allow", volatile, parallel_unsafe)]
fn allow_entry(claim: TextFromSql, id: TextFromSql) -> Vec<TextToSql> {
    let mut marks = raise(marks_of(&claim, &id));
    let is_superuser = raise(authorize());
    let changed = deny_labels::change(c"pgaad.allow()", |list| {
        let mut forgotten = Vec::new();
        for (tenant, mark) in marks.drain(..) {
            if list.forget(mark, is_superuser)? {
                forgotten.push((tenant, mark));
            }
        }
        marks = forgotten;
        Ok(())
    });
    raise(changed.ok_or_else(no_list).and_then(|changed| changed.map_err(not_changed)));
    if !marks.is_empty() {
        note("allow", &claim, &id, None);
    }
    names(marks)
}

fn names(marks: Vec<(TenantId, Mark)>) -> Vec<TextToSql> {
    marks.into_iter().map(|(tenant, _)| tenant.to_string().into()).collect()
}

/// Says in the log who changes the list, before their transaction has ended: whatever becomes of it, they did that.
fn note(action: &str, claim: &TextFromSql, id: &TextFromSql, until: Option<i64>) {
    let (_, caller) = catalog::caller();
    let name = catalog::name_of(pg_sys::Oid::from(caller.role)).unwrap_or_default();
    let line = LogLine::new("pgaad: deny list changed:").fact("action", action);
    let line = line.quoted("claim", &claim.text()).quoted("id", &id.text());
    let line = until.iter().fold(line, |line, until| line.fact("until", until));
    report::log(&line.quoted("by", &role_name::from_bytes(name.to_bytes())).into_text());
}

/// Who is on the list: their marks, until when, and whether a superuser said so.
#[pg_extern(name = "_denial_rows", volatile, parallel_restricted)]
fn denial_rows() -> TableIterator<
    'static,
    (name!(mark, TextToSql), name!(until, TimestampWithTimeZone), name!(by_superuser, bool)),
> {
    let list = deny_labels::read();
    if list.is_damaged() {
        raise::<()>(Err(not_changed(NotChanged::Damaged)));
    }
    let row = |denial: Denial| {
        let until = denial.until.map_or_else(TimestampWithTimeZone::positive_infinity, timestamp);
        (denial.mark.to_string().into(), until, denial.by_superuser)
    };
    TableIterator::new(list.denials().map(row).collect::<Vec<_>>())
}

/// The mark of an id, by which the list knows it.
#[pg_extern(name = "_denial_mark", immutable, strict, parallel_safe)]
fn denial_mark(claim: TextFromSql, tenant: TextFromSql, id: TextFromSql) -> Option<TextToSql> {
    let tenant = tenant.text().parse().ok()?;
    Some(Mark::new(claim_named(&claim)?, tenant, &id.text()).to_string().into())
}

fn claim_named(claim: &TextFromSql) -> Option<DeniedBy> {
    DeniedBy::ALL.into_iter().find(|by| by.name() == claim.text())
}

/// The tenants of this server, and the mark of an id in each.
fn marks_of(claim: &TextFromSql, id: &TextFromSql) -> Result<Vec<(TenantId, Mark)>, SqlError> {
    let invalid = |message: String, hint: &'static str| SqlError {
        code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message,
        hint: hint.into(),
    };
    let by = claim_named(claim).ok_or_else(|| {
        invalid(
            format!("\"{}\" is no claim that the list knows", claim.text()),
            "It knows oid, uti and appid.",
        )
    })?;
    let id = id.text();
    if id.is_empty() || id.len() > MAX_TOKEN_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(
            format!("\"{id}\" is no id of a token"),
            "It is the token's claim uti, which the log and pgaad.events show.",
        ));
    }
    let settings = settings::read().ok();
    let policy = settings.and_then(|settings| settings.token).ok_or(SqlError {
        code: PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        message: "there is no tenant whose ids these could be".to_owned(),
        hint: "Set pgaad.tenant_id in postgresql.conf and reload the server.".into(),
    })?;
    Ok(policy.tenants().map(|tenant| (tenant.id(), Mark::new(by, tenant.id(), &id))).collect())
}

/// Whether the caller is a superuser.
///
/// # Errors
/// `42501` unless they are one or an Entra administrator.
fn authorize() -> Result<bool, SqlError> {
    let (is_superuser, caller) = catalog::caller();
    if is_superuser || caller.is_entra_admin {
        return Ok(is_superuser);
    }
    Err(SqlError {
        code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        message: "permission denied to change the deny list".to_owned(),
        hint: "Only superusers and members of azure_ad_admin may.".into(),
    })
}

fn no_list() -> SqlError {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        message: "role azure_ad_user does not exist".to_owned(),
        hint: "Make the extension here: CREATE EXTENSION pgaad;".into(),
    }
}

fn not_changed(reason: NotChanged) -> SqlError {
    let (code, message, hint) = match reason {
        NotChanged::Full => (
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "the deny list has no room for another entry".to_owned(),
            "Let those back in who need not be on it, as pgaad.denied shows them, or disable accounts in Entra.",
        ),
        NotChanged::BySuperuser => (
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied to change what a superuser has put on the deny list".to_owned(),
            "Only superusers may.",
        ),
        NotChanged::Damaged => (
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            "the deny list cannot be read, and everybody is shut out".to_owned(),
            "SELECT format('SECURITY LABEL FOR %I ON ROLE azure_ad_user IS NULL;', provider) FROM pg_shseclabel \
             WHERE provider LIKE 'pgaad-deny-%'; lists what takes it away, for a superuser to run.",
        ),
    };
    SqlError { code, message, hint: hint.into() }
}

fn raise<T>(result: Result<T, SqlError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => error.raise(),
    }
}
