//! `pgaad.check()`: is this server safe? And the worker's warnings of what files and settings tell.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::fs;

use pgaad_core::defect::Defect;
use pgaad_core::event::LogLine;
use pgaad_core::tenant::Cloud;
use pgaad_core::{hba, pam_file};
use pgrx::prelude::*;

use crate::pg::{clock, entry, hook, report, shmem};
use crate::settings::Settings;

extension_sql_file!("../sql/check.sql", name = "check", requires = [check_server]);

/// What is checked here, and what it is good for when nothing is wrong. The rest is in `sql/check.sql`.
const ITEMS: [(&str, &str); 14] = [
    ("settings", "every pgaad setting has a value that can be used"),
    ("tenant", "pgaad.tenant_id is set"),
    ("audience", "tokens are made out to this server or its group"),
    ("keys", "there are keys, and they are fresh"),
    ("clock", "the server's clock is that of the provider, as far as known"),
    ("hook", "no library loaded later stands before pgaad"),
    ("hba_file", "pg_hba.conf can be read"),
    ("hba_token_line", "a line asks for a token"),
    ("hba_token_without_tls", "no line asks for a token without encryption"),
    ("hba_trust_remote", "no trust line can be reached from other machines"),
    ("hba_trust_member", "no trust line matches members of azure_ad_user"),
    ("hba_without_token", "no line admits members without a token"),
    ("hba_order", "no line stands before the one that asks for a token"),
    ("pam_file", "the PAM service files ask this library and nothing else"),
];

/// By how much the server's clock may differ from the provider's before it is worth a word; the
/// default of `pgaad.clock_skew` is five times that.
const CLOCK_TOLERANCE: i64 = 60;

/// One row for each defect, and one for each check that found none. `members` are the members of `azure_ad_user`.
#[pg_extern(volatile, parallel_restricted)]
fn check_server(
    members: Vec<String>,
) -> TableIterator<
    'static,
    (name!(item, &'static str), name!(ok, bool), name!(detail, String), name!(hint, Option<String>)),
> {
    let mut defects = defects(&members);
    defects.extend(defects_of_keys());
    let other = pam_other().map_or_else(
        || ("pam_other", true, "/etc/pam.d/other refuses".to_owned(), None),
        |defect| (defect.item, false, defect.detail, Some(defect.hint)),
    );
    let rows = ITEMS.into_iter().flat_map(move |(item, sound)| {
        let (found, rest) =
            std::mem::take(&mut defects).into_iter().partition::<Vec<_>, _>(|d| d.item == item);
        defects = rest;
        let mut rows: Vec<_> =
            found.into_iter().map(|defect| (item, false, defect.detail, Some(defect.hint))).collect();
        if rows.is_empty() {
            rows.push((item, true, sound.to_owned(), None));
        }
        rows
    });
    TableIterator::new(rows.chain(std::iter::once(other)))
}

/// Says in the log what is wrong with files and settings. For the worker, at its start and at each reload.
pub(crate) fn warn() {
    for Defect { item, detail, hint } in defects(&[]).into_iter().chain(pam_other()) {
        let line =
            LogLine::new("pgaad: check:").fact("item", item).quoted("detail", &detail).quoted("hint", &hint);
        report::warn(&line.into_text());
    }
}

/// What files and settings tell.
fn defects(members: &[String]) -> Vec<Defect> {
    let mut defects = Vec::new();
    if let Some(library) = hook::outer_library() {
        defects.push(Defect::new(
            "hook",
            format!("{library} has put itself before pgaad, and decides whether pgaad is asked"),
            "Name pgaad last in shared_preload_libraries.",
        ));
    }
    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(refusal) => {
            let detail = refusal.facts(LogLine::new("every token login is refused:")).into_text();
            defects.push(Defect::new(
                "settings",
                detail,
                "Mend it in postgresql.conf and reload the server.",
            ));
            return defects;
        }
    };
    match &settings.token {
        None => defects.push(Defect::new(
            "tenant",
            "pgaad.tenant_id is empty: every token login is refused",
            "pgaad.tenant_id = '00000000-0000-0000-0000-000000000000'",
        )),
        Some(policy) => {
            let clouds = [Cloud::Public, Cloud::UsGov, Cloud::China];
            let shared = |audience: &&String| {
                let default =
                    |cloud: &Cloud| cloud.default_audiences().contains(&audience.trim_end_matches('/'));
                clouds.iter().any(default)
            };
            if let Some(audience) = policy.audiences.iter().find(shared) {
                defects.push(Defect::new(
                    "audience",
                    format!("{audience} is shared by Azure and all pgaad servers of the tenant: each could use tokens at the others"),
                    "pgaad.audience = 'api://…'    # an app registration of this server's own",
                ));
            }
        }
    }
    match crate::pg::hba::lines() {
        Ok((lines, services)) => {
            let meaning = hba::Settings {
                require_tls: settings.require_tls,
                allow_trust: settings.allow_trust,
                allow_other_methods: settings.allow_other_methods,
            };
            defects.extend(hba::defects(&lines, meaning, members));
            let library = entry::own_path();
            for service in services {
                let text = fs::read_to_string(format!("/etc/pam.d/{service}")).ok();
                defects.extend(pam_file::defects(&service, text.as_deref(), &library));
            }
        }
        Err(fault) => defects.push(Defect::new(
            "hba_file",
            format!("{}: {fault}; the lines loaded before stay in force", crate::pg::hba::path().display()),
            "SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL;",
        )),
    }
    defects
}

fn pam_other() -> Option<Defect> {
    // Nothing falls back to it where no line is pam.
    let (_, services) = crate::pg::hba::lines().ok()?;
    if services.is_empty() {
        return None;
    }
    pam_file::defects_of_other(fs::read_to_string("/etc/pam.d/other").ok().as_deref())
}

/// What only a moment tells: not for the log.
fn defects_of_keys() -> Vec<Defect> {
    let mut defects = Vec::new();
    let Ok(settings) = Settings::read() else { return defects };
    let Some(policy) = &settings.token else { return defects };
    let worker = shmem::worker_state();
    if let Err(refusal) = crate::key_cache::all(&policy.tenant, &settings.refresh) {
        let error = worker.last_error.as_str();
        let detail = refusal.facts(LogLine::new(refusal.code()).fact("last_error", error)).into_text();
        defects.push(Defect::new("keys", detail, "SELECT pgaad.refresh(); SELECT * FROM pgaad.status;"));
    } else if !worker.last_error.is_empty() {
        let since = worker.last_success.map_or(0, |last| clock::now().since(last));
        defects.push(Defect::new(
            "keys",
            format!("the last fetch failed: {}; the keys are {since} s old", worker.last_error.as_str()),
            "SELECT pgaad.refresh(); SELECT * FROM pgaad.status;",
        ));
    }
    if let Some(ahead) = worker.clock_ahead.filter(|ahead| ahead.abs() > CLOCK_TOLERANCE) {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        defects.push(Defect::new(
            "clock",
            format!("the server's clock is {} s {direction} the provider's", ahead.abs()),
            "timedatectl set-ntp true",
        ));
    }
    defects
}
