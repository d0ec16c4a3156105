//! What SQL is told of the keys: `pgaad.status`, `pgaad.tenants`, `pgaad.keys`, and `pgaad.refresh()`.

use std::time::{Duration, Instant};

use pgaad_audit::{NO_WORKER, more_slots};
use pgaad_core::key_history::KeyEntry;
use pgaad_core::log_line::LogLine;
use pgaad_core::tenant::Tenant;
use pgaad_core::verify::TokenPolicy;
use pgrx::prelude::*;

use crate::key_cache;
use crate::pg::clock;
use crate::pg::report::{self, SqlError};
use crate::pg::shmem::{self, KeyBoard};
use crate::pg::text::TextToSql;
use crate::pg::worker::{self, WorkerId};
use crate::settings;
use crate::sql_api::{interval, timestamp};

/// Longest time that `pgaad.refresh()` waits: twice the worker's own limit for a fetch, since one that is under way may
/// come first, and some.
const REFRESH_WAIT: Duration = Duration::from_secs(25);

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
    let took = began.elapsed().as_millis();
    let failed = |tenant: Option<&Tenant>, (code, words): (String, String), keys: usize| {
        let line = LogLine::new(&format!("it failed after {took} ms:"));
        let line = tenant.iter().fold(line, |line, tenant| line.fact("tid", tenant.id())).fact("code", code);
        let line = if words.is_empty() { line } else { line.quoted("cause", &words) };
        report::notice(format!("{}; {keys} keys from before stay", line.into_text()));
    };
    let settings = settings::read();
    let Some((settings, policy)) =
        settings.as_ref().ok().and_then(|settings| Some((settings, settings.token.as_ref()?)))
    else {
        failed(None, key_cache::last_error(None).unwrap_or_default(), 0);
        return false;
    };
    let now = clock::now();
    let mut is_good = true;
    for (place, tenant) in policy.tenants().enumerate() {
        let read = |board: &KeyBoard| (board.alive(now).count(), board.source);
        let (keys, source) = key_cache::read(tenant, settings, read).unwrap_or_default();
        // What a tenant is called is of interest where there are several.
        let named = Some(tenant).filter(|_| place > 0);
        if let Some(error) = key_cache::last_error(Some(tenant)) {
            is_good = false;
            failed(named, error, keys);
        } else {
            let whose = named.map(|tenant| format!("tenant {}: ", tenant.id())).unwrap_or_default();
            report::notice(format!("{whose}{keys} keys from {} after {took} ms", source.name()));
        }
    }
    is_good
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
        let board = policy.and_then(|(settings, policy)| {
            let read = |board: &KeyBoard| (board.fetched_at, board.alive(now).count());
            key_cache::read(&policy.tenant, settings, read)
        });
        let (fetched_at, keys) = board.unwrap_or((now, 0));
        let home = policy.map(|(_, policy)| &policy.tenant);
        let (error, cause) = key_cache::last_error(home).unzip();
        let last_success = home.and_then(|home| key_cache::fetches_of(&refreshes, home).last_success);
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
            last_success: last_success.map(timestamp),
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
fn key_records() -> TableIterator<
    'static,
    (
        name!(kid, TextToSql),
        name!(algorithm, TextToSql),
        name!(bits, i32),
        name!(issuer, Option<TextToSql>),
        name!(first_seen, TimestampWithTimeZone),
        name!(last_seen, TimestampWithTimeZone),
        name!(source, TextToSql),
        name!(tenant_id, Option<TextToSql>),
    ),
> {
    let now = clock::now();
    let boards = shmem::each_board(|board| {
        let whose = |entry: &KeyEntry| (*entry, board.source, board.tenant_id());
        board.alive(now).map(whose).collect::<Vec<_>>()
    });
    TableIterator::new(boards.into_iter().flatten().map(move |(entry, source, tenant)| {
        (
            entry.key.kid().into(),
            "RS256".into(),
            i32::try_from(entry.key.bits()).unwrap_or(i32::MAX),
            entry.key.issuer().map(TextToSql::from),
            timestamp(entry.first_seen),
            timestamp(entry.last_seen),
            source.name().into(),
            tenant.map(|tenant| tenant.to_string().into()),
        )
    }))
}

/// `pgaad.key_rows` of 0.1.0, which knows of one tenant: for databases whose extension has not been updated.
#[pg_extern(sql = false)]
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
    let rows = key_records().map(|(kid, algorithm, bits, issuer, first, last, source, _)| {
        (kid, algorithm, bits, issuer, first, last, source)
    });
    TableIterator::new(rows)
}

/// The rows of `pgaad.tenants`.
#[pg_extern(name = "_tenant_rows", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn tenant_rows() -> TableIterator<
    'static,
    (
        name!(tenant_id, TextToSql),
        name!(ready, bool),
        name!(keys, i32),
        name!(age, Option<Interval>),
        name!(last_success, Option<TimestampWithTimeZone>),
        name!(last_error, Option<TextToSql>),
        name!(cause, Option<TextToSql>),
    ),
> {
    let (now, state) = (clock::now(), shmem::refresh_state());
    let Ok(settings) = settings::read() else { return TableIterator::empty() };
    let row = |tenant: &Tenant| {
        let read = |board: &KeyBoard| (interval(now.since(board.fetched_at)), board.alive(now).count());
        let (age, keys) = key_cache::read(tenant, &settings, read).unwrap_or_default();
        let (code, words) = key_cache::last_error(Some(tenant)).unzip();
        (
            tenant.id().to_string().into(),
            key_cache::all(tenant, &settings).is_ok_and(|keys| !keys.is_empty()),
            i32::try_from(keys).unwrap_or(i32::MAX),
            age,
            key_cache::fetches_of(&state, tenant).last_success.map(timestamp),
            code.map(TextToSql::from),
            words.filter(|words| !words.is_empty()).map(TextToSql::from),
        )
    };
    let rows: Vec<_> = settings.token.iter().flat_map(TokenPolicy::tenants).map(row).collect();
    TableIterator::new(rows)
}
