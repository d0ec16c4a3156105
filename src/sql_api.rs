//! The functions of schema `pgaad`; the views over them are in `sql/`.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::ffi::CString;
use std::sync::OnceLock;

use pgaad_core::label::Binding;
use pgaad_core::labelling::Labelling;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;

use crate::events;
use crate::pg::report::SqlError;
use crate::pg::text::{JsonToSql, NameToSql, TextFromSql, TextToSql, json_object};
use crate::pg::worker;
use crate::pg::{catalog, event_buffer};
use crate::session;
use crate::settings;

extension_sql_file!("../sql/bootstrap.sql", bootstrap);
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = [status_row, key_rows, event_rows, session_rows, login_counts]
);
extension_sql_file!(
    "../sql/principals.sql",
    name = "principals",
    requires = [labels, admins_make_admins, has_directory, find_principal]
);
extension_sql_file!("../sql/guard.sql", name = "guard");
extension_sql_file!("../sql/azure_roles.sql", name = "azure_roles");
extension_sql_file!(
    "../sql/comments.sql",
    name = "comments",
    requires = [
        claims,
        refresh,
        readable,
        status_row,
        key_rows,
        event_rows,
        session_rows,
        login_counts,
        explain,
        explain_event,
        "principals",
        "guard",
        "azure_roles",
        "check",
        "denials",
        "directory"
    ]
);
extension_sql_file!("../sql/privileges.sql", finalize);

/// The verified claims of this session; `NULL` if it did not log in with a token. A claim that the database's encoding
/// cannot hold is left out.
///
/// Parallel workers have none of their own. The planner keeps the question with the leader, and a
/// function that is falsely called parallel safe gets an error: `NULL` would mean another session.
#[pg_extern(stable, parallel_restricted)]
fn claims() -> Option<JsonToSql> {
    if worker::is_parallel() {
        SqlError {
            code: PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_STATE,
            message: "pgaad.claims() cannot be asked in a parallel worker".to_owned(),
            hint: "Mark the function that asks it PARALLEL RESTRICTED.".into(),
        }
        .raise();
    }
    // A session has one login and one database.
    static CLAIMS: OnceLock<Option<CString>> = OnceLock::new();
    let claims = CLAIMS
        .get_or_init(|| session::claims().and_then(|json| json_object(serde_json::from_str(&json).ok()?)));
    claims.as_deref().map(JsonToSql::from)
}

/// The rows of `pgaad.stat_logins`.
#[pg_extern(name = "_login_counts", volatile, parallel_restricted)]
fn login_counts() -> TableIterator<
    'static,
    (
        name!(code, TextToSql),
        name!(count, i64),
        name!(last_at, Option<TimestampWithTimeZone>),
        name!(since, TimestampWithTimeZone),
    ),
> {
    let since = event_buffer::began();
    TableIterator::new(events::counts().map(move |(code, count, last)| {
        (code.into(), i64::try_from(count).unwrap_or(i64::MAX), last.map(timestamp), timestamp(since))
    }))
}

/// Whether administrators make others. Not by `current_setting`: where this library is not loaded anybody sets that.
#[pg_extern(name = "_admins_make_admins", stable, parallel_safe)]
fn admins_make_admins() -> bool {
    settings::read().is_ok_and(|settings| settings.admins_make_admins)
}

/// What the labels of a role add up to, as a login sees them.
#[pg_extern(name = "_labels", stable, strict, parallel_safe)]
#[allow(clippy::type_complexity, reason = "the columns of its row")]
fn labels(
    role: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(bound_to, TextToSql),
        name!(object_id, Option<TextToSql>),
        name!(tenant_id, Option<TextToSql>),
        name!(is_admin, bool),
        name!(is_mfa, bool),
        name!(is_labelled, bool),
    ),
> {
    let Labelling { binding, tenant, admin, mfa, is_labelled } = catalog::labelling_of_oid(role.to_u32());
    // Labels that cannot be read ask for everything, and so nobody gets in by them. That makes nobody an administrator.
    let is_readable = binding != Binding::Nobody;
    let tenant = tenant.map(|tenant| tenant.to_string().into());
    let object_id = binding.object_id().map(|id| id.to_string().into());
    let (is_admin, is_mfa) = (admin && is_readable, mfa && is_readable);
    TableIterator::once((binding.word().into(), object_id, tenant, is_admin, is_mfa, is_labelled))
}

/// Text as it is, or, where a role's name in it is in no encoding of this database's, with those bytes as `\xfc`: a
/// client whose encoding is another would get an error for all that is returned.
#[pg_extern(name = "_readable", immutable, strict, parallel_safe)]
fn readable(text: TextFromSql) -> NameToSql {
    text.into()
}

/// Microseconds since 2000, as PostgreSQL counts (datatype/timestamp.h); what that cannot hold is infinity.
pub(crate) fn timestamp(time: UnixTime) -> TimestampWithTimeZone {
    /// 2000-01-01T00:00:00Z.
    const POSTGRES_EPOCH: UnixTime = UnixTime::new(946_684_800);
    time.since(POSTGRES_EPOCH)
        .checked_mul(1_000_000)
        .and_then(|microseconds| TimestampWithTimeZone::try_from(microseconds).ok())
        .unwrap_or_else(TimestampWithTimeZone::positive_infinity)
}

/// `None` for more than a quarter of a million years.
pub(crate) fn interval(seconds: i64) -> Option<Interval> {
    let hours = i32::try_from(seconds / 3_600).ok()?;
    let rest = f64::from(i32::try_from((seconds % 3_600).abs()).ok()?);
    // pgrx takes parts of one sign only, and tells a zero's.
    let rest = if seconds < 0 { -rest } else { rest };
    Interval::from(None, None, None, None, Some(hours), None, Some(rest)).ok()
}
