//! The functions of schema `pgaad`; the views over them are in `sql/`.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::ffi::CString;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pgaad_audit::{NO_WORKER, more_slots};
use pgaad_core::label::Binding;
use pgaad_core::labelling::Labelling;
use pgaad_core::log_line::LogLine;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;

use crate::events;
use crate::key_cache;
use crate::pg::report::{self, SqlError};
use crate::pg::shmem;
use crate::pg::text::{JsonToSql, NameToSql, TextFromSql, TextToSql, json_object};
use crate::pg::worker::{self, WorkerId};
use crate::pg::{catalog, clock, event_buffer};
use crate::session;
use crate::settings;

extension_sql_file!("../sql/bootstrap.sql", bootstrap);
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = [status_row, key_rows, event_rows, session_rows, login_counts]
);
extension_sql_file!("../sql/principals.sql", name = "principals", requires = [labels, admins_make_admins]);
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
        "denials"
    ]
);
extension_sql_file!("../sql/privileges.sql", finalize);

/// Longest time that `pgaad.refresh()` waits: twice the worker's own limit for a fetch, since one that is under way may
/// come first, and some.
const REFRESH_WAIT: Duration = Duration::from_secs(25);

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

/// Has the keys fetched now, waits for it, and tells how it goes. `true` if that brought keys.
#[pg_extern(volatile, parallel_restricted)]
fn refresh() -> bool {
    if worker::never_ran(WorkerId::Keys) {
        SqlError {
            code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            message: NO_WORKER.to_owned(),
            hint: more_slots(worker::slots()).into(),
        }
        .raise();
    }
    let began = Instant::now();
    report::notice(match worker::pid(WorkerId::Keys) {
        Some(pid) => format!("asking the key worker, process {pid}"),
        None => "there is no key worker at the moment; it is started again every second".to_owned(),
    });
    let ticket = shmem::with_refresh_queue(|queue| queue.demand(clock::monotonic()));
    worker::wake(WorkerId::Keys);
    while !shmem::refresh_queue().is_done(ticket) {
        if began.elapsed() >= REFRESH_WAIT {
            report::notice(format!("no answer within {} s; it goes on by itself", REFRESH_WAIT.as_secs()));
            return false;
        }
        worker::wait(Duration::from_millis(10));
    }
    let state = shmem::refresh_state();
    let (error, cause) = (state.last_error, state.last_cause);
    let now = clock::now();
    let (keys, source) = shmem::with_keys(|board| (board.alive(now).count(), board.source));
    let took = began.elapsed().as_millis();
    report::notice(if error.is_empty() {
        format!("{keys} keys from {} after {took} ms", source.name())
    } else {
        let line = LogLine::new(&format!("it failed after {took} ms:")).fact("code", error.as_str());
        let line = if cause.is_empty() { line } else { line.quoted("cause", cause.as_str()) };
        format!("{}; {keys} keys from before stay", line.into_text())
    });
    error.is_empty()
}

/// The row of `pgaad.status`.
#[pg_extern(name = "_status_row", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn status_record() -> TableIterator<
    'static,
    (
        name!(configured, bool),
        name!(ready, bool),
        name!(problem, Option<TextToSql>),
        name!(worker_pid, Option<i32>),
        name!(last_success, Option<TimestampWithTimeZone>),
        name!(last_error, Option<TextToSql>),
        name!(next_refresh, Option<TimestampWithTimeZone>),
        name!(keys, i32),
        name!(age, Option<Interval>),
        name!(version, TextToSql),
        name!(clock_ahead, Option<Interval>),
    ),
> {
    let status = Status::now();
    TableIterator::once((
        status.configured,
        status.ready,
        status.problem,
        status.worker_pid,
        status.last_success,
        status.last_error,
        status.next_refresh,
        status.keys,
        status.age,
        status.version,
        status.clock_ahead,
    ))
}

/// `pgaad.status_row` of 0.1.0, which says nothing of the clock: for databases whose extension has not been updated.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn status_row() -> TableIterator<
    'static,
    (
        name!(configured, bool),
        name!(ready, bool),
        name!(problem, Option<TextToSql>),
        name!(worker_pid, Option<i32>),
        name!(last_success, Option<TimestampWithTimeZone>),
        name!(last_error, Option<TextToSql>),
        name!(next_refresh, Option<TimestampWithTimeZone>),
        name!(keys, i32),
        name!(age, Option<Interval>),
        name!(version, TextToSql),
    ),
> {
    let status = Status::now();
    TableIterator::once((
        status.configured,
        status.ready,
        status.problem,
        status.worker_pid,
        status.last_success,
        status.last_error,
        status.next_refresh,
        status.keys,
        status.age,
        status.version,
    ))
}

/// Whether token logins can work, and what the key worker is about.
struct Status {
    configured: bool,
    ready: bool,
    problem: Option<TextToSql>,
    worker_pid: Option<i32>,
    last_success: Option<TimestampWithTimeZone>,
    last_error: Option<TextToSql>,
    next_refresh: Option<TimestampWithTimeZone>,
    keys: i32,
    age: Option<Interval>,
    version: TextToSql,
    clock_ahead: Option<Interval>,
}

impl Status {
    fn now() -> Self {
        let refreshes = shmem::refresh_state();
        let settings = settings::read();
        let policy = settings.as_ref().ok().and_then(|settings| Some((settings, settings.token.as_ref()?)));
        let ready = policy.is_some_and(|(settings, policy)| {
            key_cache::all(&policy.tenant, settings).is_ok_and(|keys| !keys.is_empty())
        });
        let now = clock::now();
        let (fetched_at, keys) = shmem::with_keys(|board| (board.fetched_at, board.alive(now).count()));
        let (error, cause) = key_cache::last_error(&settings).unzip();
        let problem = match &settings {
            Err(reason) => Some(reason.facts(LogLine::new("bad setting:")).into_text()),
            Ok(settings) if settings.token.is_none() => Some("pgaad.tenant_id is not set".to_owned()),
            Ok(_) if !ready && worker::never_ran(WorkerId::Keys) => Some(NO_WORKER.to_owned()),
            // While keys serve, a fetch that failed locks nobody out.
            Ok(_) => cause.filter(|words| !ready && !words.is_empty()),
        };
        Self {
            configured: policy.is_some(),
            ready,
            problem: problem.map(TextToSql::from),
            worker_pid: worker::pid(WorkerId::Keys),
            last_success: refreshes.last_success.map(timestamp),
            last_error: error.map(TextToSql::from),
            next_refresh: refreshes.next_refresh.map(timestamp),
            keys: i32::try_from(keys).unwrap_or(i32::MAX),
            age: (keys > 0).then(|| interval(now.since(fetched_at))).flatten(),
            version: env!("CARGO_PKG_VERSION").into(),
            clock_ahead: refreshes.clock_ahead.and_then(interval),
        }
    }
}

/// The rows of `pgaad.keys`.
#[pg_extern(name = "_key_rows", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn key_rows() -> TableIterator<
    'static,
    (
        name!(kid, TextToSql),
        name!(algorithm, TextToSql),
        name!(bits, i32),
        name!(issuer, Option<TextToSql>),
        name!(first_seen, TimestampWithTimeZone),
        name!(last_seen, TimestampWithTimeZone),
        name!(source, TextToSql),
    ),
> {
    let now = clock::now();
    let (entries, source) =
        shmem::with_keys(|board| (board.alive(now).copied().collect::<Vec<_>>(), board.source));
    TableIterator::new(entries.into_iter().map(move |entry| {
        (
            entry.key.kid().into(),
            "RS256".into(),
            i32::try_from(entry.key.bits()).unwrap_or(i32::MAX),
            entry.key.issuer().map(TextToSql::from),
            timestamp(entry.first_seen),
            timestamp(entry.last_seen),
            source.name().into(),
        )
    }))
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
fn interval(seconds: i64) -> Option<Interval> {
    let hours = i32::try_from(seconds / 3_600).ok()?;
    let rest = f64::from(i32::try_from((seconds % 3_600).abs()).ok()?);
    // pgrx takes parts of one sign only, and tells a zero's.
    let rest = if seconds < 0 { -rest } else { rest };
    Interval::from(None, None, None, None, Some(hours), None, Some(rest)).ok()
}
