//! What SQL is told of the directory: `pgaad.directory`, `pgaad.groups`, `pgaad.group_members()`, and
//! `pgaad.refresh_directory()`.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::Path;
use std::time::{Duration, Instant};

use pgaad_audit::{evidence, more_slots};
use pgaad_core::directory::AccountState;
use pgaad_core::directory::members::MembersOutline;
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::label::Binding;
use pgaad_core::log_line::LogLine;
use pgaad_core::settings::Settings;
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use pgaad_provider::directory_state::{DirectoryState, Failure, GroupState};
use pgaad_provider::secret_file;
use pgaad_provider::set_store::SetStore;
use pgrx::prelude::*;

use crate::pg::catalog::{self, Role};
use crate::pg::report::{self, SqlError};
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::worker::{self, WorkerId};
use crate::pg::{clock, shmem};
use crate::settings;
use crate::sql_api::{interval, timestamp};

extension_sql_file!(
    "../sql/directory.sql",
    name = "directory",
    requires = [directory_rows, group_rows, group_member_rows, refresh_directory]
);

/// Longest time that `pgaad.refresh_directory()` waits; the run goes on by itself.
const REFRESH_WAIT: Duration = Duration::from_secs(300);

/// The working directory of every process of the server is the data directory (miscinit.c, `ChangeToDataDir`).
fn data_directory() -> &'static Path {
    Path::new("")
}

/// An error where there is no directory to ask.
fn require_directory() -> Result<(), SqlError> {
    if settings::has_directory() {
        return Ok(());
    }
    Err(SqlError {
        code: PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        message: "the directory is not read: pgaad.directory is off".to_owned(),
        hint: "ALTER SYSTEM SET pgaad.directory = on; then restart the server. docs/directory.md says what it needs."
            .into(),
    })
}

/// Has the directory read now, waits for it, and tells how it goes. `true` if nothing failed.
#[pg_extern(volatile, parallel_restricted)]
fn refresh_directory() -> bool {
    if let Err(error) = require_directory() {
        error.raise();
    }
    if worker::never_ran(WorkerId::Directory) {
        SqlError {
            code: PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            message: "the server had no room for the worker that reads the directory".to_owned(),
            hint: more_slots(worker::slots()).into(),
        }
        .raise();
    }
    let (began, asked_at) = (Instant::now(), clock::now());
    let ticket = shmem::with_directory_queue(|queue| queue.demand(clock::monotonic()));
    worker::wake(WorkerId::Directory);
    while !shmem::directory_queue().is_done(ticket) {
        if began.elapsed() >= REFRESH_WAIT {
            report::notice(format!("no answer within {} s; it goes on by itself", REFRESH_WAIT.as_secs()));
            return false;
        }
        worker::wait(Duration::from_millis(20));
    }
    let took = began.elapsed().as_millis();
    match settings_in_force() {
        Err(reason) => {
            report::notice(reason);
            false
        }
        Ok((settings, _)) => tell(&settings, asked_at, took),
    }
}

/// The settings that the worker goes by.
fn settings_in_force() -> Result<(Settings, TenantId), String> {
    let settings = settings::read()
        .and_then(|settings| settings.directory.clone().map(|_| settings))
        .map_err(|reason| reason.facts(LogLine::new("bad setting:")).into_text())?;
    let home = settings.token.as_ref().map(|policy| policy.tenant.id());
    home.map(|home| (settings, home)).ok_or_else(|| "pgaad.tenant_id is not set".to_owned())
}

/// Tells how the last run went; whether nothing failed.
fn tell(settings: &Settings, asked_at: UnixTime, took: u128) -> bool {
    let state = DirectoryState::read(data_directory());
    let mut is_good = true;
    for tenant in settings.token.iter().flat_map(TokenPolicy::tenants) {
        let known = state.of(tenant.id()).filter(|known| known.began_at >= asked_at.seconds());
        let Some(known) = known else {
            is_good = false;
            report::notice("nothing was read: the server's log says why".to_owned());
            continue;
        };
        match &known.error {
            None => {
                let (groups, requests) = (known.groups.len(), known.requests);
                report::notice(format!("{groups} groups by {requests} questions after {took} ms"));
            }
            Some(Failure { code, words, .. }) => {
                is_good = false;
                let line = LogLine::new(&format!("it failed after {took} ms:")).fact("code", code);
                let line = words.iter().fold(line, |line, words| line.quoted("cause", words));
                report::notice(format!("{}; what was read before stays", line.into_text()));
            }
        }
    }
    is_good
}

/// The rows of `pgaad.directory`.
#[pg_extern(name = "_directory_rows", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn directory_rows() -> TableIterator<
    'static,
    (
        name!(tenant_id, Option<TextToSql>),
        name!(problem, Option<TextToSql>),
        name!(worker_pid, Option<i32>),
        name!(last_run, Option<TimestampWithTimeZone>),
        name!(took, Option<Interval>),
        name!(last_success, Option<TimestampWithTimeZone>),
        name!(last_error, Option<TextToSql>),
        name!(cause, Option<TextToSql>),
        name!(failing_since, Option<TimestampWithTimeZone>),
        name!(groups, i32),
        name!(accounts, Option<i32>),
        name!(requests, i64),
        name!(bytes, i64),
        name!(permissions, Option<TextToSql>),
        name!(credential_expires, Option<TimestampWithTimeZone>),
    ),
> {
    if !settings::has_directory() {
        return TableIterator::empty();
    }
    let (tenants, problem) = tenants_and_problem();
    let (state, pid) = (DirectoryState::read(data_directory()), worker::pid(WorkerId::Directory));
    let time = |seconds: i64| timestamp(UnixTime::new(seconds));
    let rows: Vec<_> = tenants
        .into_iter()
        .map(|tenant: Option<TenantId>| {
            let known = tenant.and_then(|tenant| state.of(tenant)).cloned();
            let has_run = known.is_some();
            let known = known.unwrap_or_default();
            let (code, words, since) = parts(known.error);
            (
                tenant.map(|tenant| tenant.to_string().into()),
                problem.clone().map(TextToSql::from),
                pid,
                has_run.then(|| time(known.began_at)),
                has_run.then(|| interval(known.ended_at.saturating_sub(known.began_at))).flatten(),
                known.last_success.map(time),
                code,
                words,
                since.map(time),
                i32::try_from(known.groups.len()).unwrap_or(i32::MAX),
                known.accounts.and_then(|accounts| i32::try_from(accounts).ok()),
                i64::try_from(known.requests).unwrap_or(i64::MAX),
                i64::try_from(known.bytes).unwrap_or(i64::MAX),
                known.permissions.map(|names| names.join(" ").into()),
                known.credential_expires.map(time),
            )
        })
        .collect();
    TableIterator::new(rows)
}

/// The tenants whose directory is read, or none that is known, and what keeps it from being read at all.
fn tenants_and_problem() -> (Vec<Option<TenantId>>, Option<String>) {
    match settings_in_force() {
        Err(problem) => (vec![None], Some(problem)),
        Ok((settings, _)) => {
            let missing = settings.directory.as_ref().ok().and_then(|directory| directory.missing());
            let tenants = settings.token.iter().flat_map(TokenPolicy::tenants);
            (
                tenants.map(|tenant| Some(tenant.id())).collect(),
                missing.map(|name| format!("{name} is not set")),
            )
        }
    }
}

/// Code, words and time of a failure.
fn parts(failure: Option<Failure>) -> (Option<TextToSql>, Option<TextToSql>, Option<i64>) {
    match failure {
        None => (None, None, None),
        Some(Failure { code, words, since }) => (Some(code.into()), words.map(TextToSql::from), Some(since)),
    }
}

/// The rows of `pgaad.groups`: one for each group that a role is bound to.
#[pg_extern(name = "_group_rows", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn group_rows() -> TableIterator<
    'static,
    (
        name!(tenant_id, TextToSql),
        name!(group_id, TextToSql),
        name!(name, Option<TextToSql>),
        name!(ready, bool),
        name!(members, Option<i64>),
        name!(read_at, Option<TimestampWithTimeZone>),
        name!(age, Option<Interval>),
        name!(is_security, Option<bool>),
        name!(last_error, Option<TextToSql>),
        name!(cause, Option<TextToSql>),
        name!(failing_since, Option<TimestampWithTimeZone>),
    ),
> {
    TableIterator::new(groups().into_iter().map(|group| {
        let (code, words, since) = parts(group.known.error);
        (
            group.tenant.to_string().into(),
            group.id.to_string().into(),
            group.known.name.map(TextToSql::from),
            group.is_ready,
            group.outline.and_then(|outline| i64::try_from(outline.count).ok()),
            group.outline.map(|outline| timestamp(outline.began_at)),
            group.age.and_then(interval),
            group.known.is_security,
            code,
            words,
            since.map(|since| timestamp(UnixTime::new(since))),
        )
    }))
}

/// A group that a role is bound to, and what is known of it.
struct KnownGroup {
    tenant: TenantId,
    id: ObjectId,
    known: GroupState,
    outline: Option<MembersOutline>,
    /// Seconds since it was read.
    age: Option<i64>,
    is_ready: bool,
}

/// All groups that roles are bound to; none while `pgaad.directory` is off, or a setting cannot be read.
fn groups() -> Vec<KnownGroup> {
    let Some((settings, home)) = settings_in_force().ok().filter(|_| settings::has_directory()) else {
        return Vec::new();
    };
    let bound: BTreeSet<(TenantId, ObjectId)> = catalog::labellings_of_members()
        .into_iter()
        .filter_map(|labelling| match labelling.binding {
            Binding::Group(group) => Some((labelling.tenant.unwrap_or(home), group)),
            _ => None,
        })
        .collect();
    let (state, store, now) =
        (DirectoryState::read(data_directory()), SetStore::new(data_directory()), clock::now());
    let known = |(tenant, id): (TenantId, ObjectId)| {
        let outline = store.outline(tenant, id);
        KnownGroup {
            tenant,
            id,
            known: state.of(tenant).and_then(|known| known.group(id)).cloned().unwrap_or_default(),
            outline,
            age: outline.map(|outline| now.since(outline.began_at)),
            is_ready: outline.is_some_and(|outline| settings.admit.is_fresh(outline.began_at, now)),
        }
    };
    bound.into_iter().map(known).collect()
}

/// The members of the group that a role is bound to, as the directory was read last: who would get in.
#[pg_extern(name = "_group_member_rows", volatile, strict, parallel_restricted)]
fn group_member_rows(
    role: TextFromSql,
) -> TableIterator<'static, (name!(oid, TextToSql), name!(account, TextToSql))> {
    match try_group_members(&role) {
        Ok((tenant, members)) => {
            let store = SetStore::new(data_directory());
            TableIterator::new(members.into_iter().map(move |member| {
                (member.to_string().into(), account_word(store.account(tenant, member)).into())
            }))
        }
        Err(error) => error.raise(),
    }
}

fn try_group_members(role: &TextFromSql) -> Result<(TenantId, Vec<ObjectId>), SqlError> {
    require_directory()?;
    let shown = role.text();
    let error = |code, message: String, hint: &str| SqlError { code, message, hint: hint.to_owned().into() };
    let (_, home) = settings_in_force().map_err(|reason| {
        error(
            PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            reason,
            "Correct it in postgresql.conf, and reload the server.",
        )
    })?;
    let Some(role) = CString::new(role.bytes()).ok().and_then(|name| Role::find(&name)) else {
        return Err(error(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("role \"{shown}\" does not exist"),
            "pgaad.groups has the roles of each group.",
        ));
    };
    let facts = role.facts();
    let Binding::Group(group) = facts.binding else {
        return Err(error(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("role \"{shown}\" is not bound to a group"),
            "pgaad.groups has the roles of each group.",
        ));
    };
    let tenant = facts.label_tenant.unwrap_or(home);
    let members = SetStore::new(data_directory()).members(tenant, group);
    members.map(|members| (tenant, members)).ok_or_else(|| {
        error(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("group {group} has not been read"),
            "SELECT pgaad.refresh_directory(); says why, and so does pgaad.groups.",
        )
    })
}

fn account_word(state: AccountState) -> &'static str {
    match state {
        AccountState::Unknown => "unknown",
        AccountState::Enabled { .. } => "enabled",
        AccountState::Disabled => "disabled",
        AccountState::Missing { .. } => "missing",
        AccountState::Gone => "gone",
        AccountState::Lost => "lost",
    }
}

/// What `pgaad.check()` looks at; none while `pgaad.directory` is off.
pub(crate) fn evidence() -> Option<evidence::Directory> {
    if !settings::has_directory() {
        // What cannot be read may have been meant to switch it on.
        let reason = settings::read().ok()?.directory.err()?;
        let problem = Some(reason.facts(LogLine::new("bad setting:")).into_text());
        return Some(evidence::Directory { problem, ..evidence::Directory::default() });
    }
    let (tenants, problem) = tenants_and_problem();
    let state = DirectoryState::read(data_directory());
    let known: Vec<_> = tenants.iter().flatten().filter_map(|tenant| state.of(*tenant)).collect();
    let told = |failure: &Failure| match &failure.words {
        Some(words) => (failure.code.clone(), format!("{} ({words})", failure.code)),
        None => (failure.code.clone(), failure.code.clone()),
    };
    let settings = settings_in_force().ok().map(|(settings, _)| settings);
    let directory = settings.as_ref().and_then(|settings| settings.directory.as_ref().ok());
    let secret = directory.and_then(|directory| directory.credential.as_ref()?.file());
    let open_secret = secret.and_then(|path| {
        let error = secret_file::exposure(path, &worker::data_directory())?;
        Some((path.display().to_string(), error.to_string()))
    });
    let home = known.first();
    Some(evidence::Directory {
        problem,
        slots_without_worker: worker::never_ran(WorkerId::Directory).then(worker::slots),
        is_first_run: known.is_empty(),
        last_error: known.iter().find_map(|known| known.error.as_ref()).map(told),
        open_secret,
        credential_expires_in: home
            .and_then(|home| home.credential_expires)
            .map(|end| end.saturating_sub(clock::now().seconds())),
        permissions: home.and_then(|home| home.permissions.clone()),
        accounts: directory.is_some_and(|directory| directory.accounts),
        groups: groups()
            .into_iter()
            .map(|group| evidence::Group {
                id: group.id.to_string(),
                name: group.known.name,
                is_ready: group.is_ready,
                age: group.age,
                error: group.known.error.map(|failure| failure.code),
                is_security: group.known.is_security,
            })
            .collect(),
    })
}
