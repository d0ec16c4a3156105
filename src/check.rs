//! `pgaad.check()`: is this server safe? Gathers the evidence that `pgaad-audit` judges; and the worker's warnings.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pgaad_audit::evidence::{self, Evidence, KeysOfTenant, Moment};
use pgaad_audit::hba::{self, Member};
use pgaad_audit::pam_file::{PamFiles, Reading};
use pgaad_audit::{Check, Finding, Severity, defects, findings};
use pgaad_core::Reason;
use pgaad_core::gate::{GatePolicy, OtherMethods};
use pgaad_core::log_line::LogLine;
use pgaad_core::role_name;
use pgaad_core::settings::Settings;
use pgaad_core::tenant::Tenant;
use pgaad_provider::file::{self, FileError};
use pgrx::prelude::*;

use crate::directory_views;
use crate::key_cache;
use crate::pg::hba::{Candidates, HbaFile};
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::worker::{self, WorkerId};
use crate::pg::{clock, entry, hook, report, shmem};
use crate::settings;

extension_sql_file!(
    "../sql/check.sql",
    name = "check",
    requires = [check_surroundings, gate_policy, readable, labels]
);

/// Most bytes of a PAM service file.
const MAX_PAM_BYTES: u64 = 64 * 1024;

/// One row for each finding, in the order in which they are shown. `ok` is NULL for a check that the catalogs tell, and
/// `detail` is then what holds when they tell of nothing.
///
/// `members` are the members of `azure_ad_user`, each once for each role that it is in, directly or not, itself among
/// them; that role is in the same place of `roles`. `databases` are those that there are.
#[pg_extern(name = "_check_server", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of its rows")]
fn check_surroundings(
    members: Vec<TextFromSql>,
    roles: Vec<TextFromSql>,
    databases: Vec<TextFromSql>,
) -> TableIterator<
    'static,
    (
        name!(item, TextToSql),
        name!(severity, TextToSql),
        name!(ok, Option<bool>),
        name!(detail, TextToSql),
        name!(hint, Option<TextToSql>),
    ),
> {
    let names = |names: &[TextFromSql]| -> Vec<String> {
        names.iter().map(|name| role_name::from_bytes(name.bytes())).collect()
    };
    let members = members_of(&names(&members), names(&roles));
    TableIterator::new(rows(members, &names(&databases)).into_iter().map(|(check, ok, detail, hint)| {
        (check.item.into(), check.severity.name().into(), ok, detail.into(), hint.map(TextToSql::from))
    }))
}

/// `pgaad.check_server` of 0.1.0, which knows of no other roles than the members: for databases whose extension has not
/// been updated, since a function must not be called with fewer arguments than it takes.
#[pg_extern(sql = false)]
fn check_server(
    members: Vec<TextFromSql>,
) -> TableIterator<
    'static,
    (name!(item, TextToSql), name!(ok, bool), name!(detail, TextToSql), name!(hint, Option<TextToSql>)),
> {
    let names = members.iter().map(|name| role_name::from_bytes(name.bytes()));
    let member =
        |name: String| Member { roles: vec![name.clone(), "azure_ad_user".to_owned()], name: Some(name) };
    let rows = rows(names.map(member).collect(), &[]);
    let outdated = (
        "extension".into(),
        false,
        format!("the extension's SQL is of 0.1.0, and the library is {}", env!("CARGO_PKG_VERSION")).into(),
        Some("ALTER EXTENSION pgaad UPDATE;".into()),
    );
    let told = rows.into_iter().filter_map(|(check, ok, detail, hint)| {
        Some((check.item.into(), ok?, detail.into(), hint.map(TextToSql::from)))
    });
    TableIterator::new(std::iter::once(outdated).chain(told))
}

/// A check, whether all is well, what was found, what to do.
type Row = (&'static Check, Option<bool>, String, Option<String>);

fn rows(members: Vec<Member>, databases: &[String]) -> Vec<Row> {
    let names: Vec<String> = members.iter().filter_map(|member| member.name.clone()).collect();
    let hba_file = read_hba(Candidates { databases, roles: &names });
    let pam_files = read_pam_files(&services(&hba_file));
    let settings = settings::read();
    let moment = Some(moment(&settings));
    let evidence = Evidence { members, moment, ..of_files(settings.as_ref(), hba_file, pam_files) };
    let row = |(check, finding): (&'static Check, Finding)| match finding {
        Finding::Sound => (check, Some(true), check.sound.to_owned(), None),
        Finding::Wrong(defect) => (check, Some(false), defect.detail, Some(defect.hint)),
        Finding::InCatalogs => (check, None, check.sound.to_owned(), None),
    };
    findings(&evidence).map(row).collect()
}

fn members_of(members: &[String], roles: Vec<String>) -> Vec<Member> {
    let mut known = BTreeMap::<&String, Vec<String>>::new();
    for (member, role) in members.iter().zip(roles) {
        known.entry(member).or_default().push(role);
    }
    known.into_iter().map(|(name, roles)| Member { name: Some(name.clone()), roles }).collect()
}

/// Reads `pg_hba.conf`. What core opens without asking must be a regular file.
pub(crate) fn read_hba(candidates: Candidates) -> Result<HbaFile, String> {
    let path = crate::pg::hba::path();
    let read = file::require_regular(&path).map_err(|error| error.to_string());
    let read = read.and_then(|()| crate::pg::hba::read(candidates));
    read.map_err(|error| format!("{}: {error}; the lines loaded before stay in force", path.display()))
}

/// The PAM services of ours that the lines name.
pub(crate) fn services(hba_file: &Result<HbaFile, String>) -> Vec<String> {
    hba_file.as_ref().map(|file| file.services.clone()).unwrap_or_default()
}

/// The PAM service files of ours, and the one that decides where one is missing.
pub(crate) fn read_pam_files(services: &[String]) -> PamFiles {
    let read = |path: &str| -> Reading {
        match file::read(Path::new(path), MAX_PAM_BYTES) {
            Ok(content) => Ok(Some(String::from_utf8_lossy(&content.bytes).into_owned())),
            Err(FileError::Missing) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    };
    let own = entry::own_path();
    let id = |path: &str| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let is_own = |path: &str| id(path).is_some_and(|found| id(&own) == Some(found));
    PamFiles::read(services, &own, read, is_own)
}

/// As if no service file could be read.
pub(crate) fn unread_pam_files(services: &[String], error: FileError) -> PamFiles {
    PamFiles::read(services, &entry::own_path(), |_| Err(error.to_string()), |_| false)
}

/// Says in the log what is wrong with files and settings. For the worker, at its start and at each reload.
pub(crate) fn warn(hba_file: Result<HbaFile, String>, pam_files: PamFiles) {
    let settings = settings::read();
    for (check, defect) in defects(&of_files(settings.as_ref(), hba_file, pam_files)) {
        let line = LogLine::new("pgaad: check:").fact("item", check.item).quoted("detail", &defect.detail);
        let line = line.hint(&defect.hint).into_text();
        match check.severity {
            Severity::Hole | Severity::Fault => report::warn(&line),
            Severity::Advice => report::log(&line),
        }
    }
}

/// What the settings mean for members: whether trust lines ask them for a token, whether any other method admits them,
/// and whether app roles open roles. None of it while the settings in force cannot be read: then nobody is let in.
#[pg_extern(name = "_gate_policy", stable, parallel_safe)]
fn gate_policy() -> TableIterator<
    'static,
    (name!(allow_trust, bool), name!(allow_other_methods, bool), name!(app_roles, bool)),
> {
    let policies = settings::read().map(|settings| (settings.gate, settings.admit.app_roles));
    let (gate, app_roles) = policies.unwrap_or((GatePolicy::STRICT, false));
    TableIterator::once((gate.allow_trust, gate.other_methods != OtherMethods::NONE, app_roles))
}

/// What files and settings tell.
fn of_files(
    settings: Result<&Settings, &Reason>,
    hba_file: Result<HbaFile, String>,
    pam_files: PamFiles,
) -> Evidence {
    let settings = settings.map_err(Reason::clone).map(|settings| evidence::Settings {
        token: settings.token.clone(),
        of_lines: hba::Settings {
            tls: crate::pg::hba::is_tls_on(),
            require_tls: settings.require_tls,
            allow_trust: settings.gate.allow_trust,
            other_methods: settings.gate.other_methods,
        },
    });
    let lines = hba_file.map(|file| file.lines);
    Evidence {
        settings,
        changed_files: lines.as_deref().map(crate::pg::hba::changed_since_reload).unwrap_or_default(),
        lines,
        pam_files,
        preloaded: entry::preloaded(),
        outer_library: hook::outer_library(),
        ..Evidence::default()
    }
}

/// What only a moment tells: not for the log.
fn moment(settings: &Result<Settings, Reason>) -> Moment {
    let refreshes = shmem::refresh_state();
    let now = clock::now();
    let keys_of = |(place, tenant): (usize, &Tenant), settings: &Settings| {
        let (key_age, keys, keys_without_issuer) = key_cache::read(tenant, settings, |board| {
            let keys = || board.alive(now);
            let without_issuer = keys().filter(|entry| entry.key.issuer().is_none()).count();
            (now.since(board.fetched_at), keys().count(), without_issuer)
        })
        .unwrap_or_default();
        let why_none = key_cache::all(tenant, settings).err();
        KeysOfTenant {
            // There is but one that nobody would look for under its id.
            tenant: (place > 0).then(|| tenant.id().to_string()),
            no_keys: why_none.map(|reason| reason.facts(LogLine::new(reason.code())).into_text()),
            last_error: key_cache::last_error(Some(tenant)).map(|(code, words)| match words.as_str() {
                "" => code,
                words => format!("{code} ({words})"),
            }),
            key_age,
            keys,
            keys_without_issuer,
        }
    };
    let policy = settings.as_ref().ok().and_then(|settings| Some((settings, settings.token.as_ref()?)));
    let tenants = policy.map(|(settings, policy)| {
        policy.tenants().enumerate().map(|tenant| keys_of(tenant, settings)).collect()
    });
    Moment {
        slots_without_worker: worker::never_ran(WorkerId::Keys).then(worker::slots),
        slots_without_session_worker: worker::never_ran(WorkerId::Denials).then(worker::slots),
        data_directory: worker::data_directory().display().to_string(),
        snapshot_problem: Some(refreshes.snapshot_problem.as_str())
            .filter(|problem| !problem.is_empty())
            .map(str::to_owned),
        tenants: tenants.unwrap_or_default(),
        clock_ahead: refreshes.clock_ahead,
        directory: directory_views::evidence(),
    }
}
