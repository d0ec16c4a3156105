//! `pgaad.check()`: is this server safe? And the worker's warnings of what files and settings tell.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::fs;

use pgaad_core::defect::Defect;
use pgaad_core::event::LogLine;
use pgaad_core::gate::OtherMethods;
use pgaad_core::role_name;
use pgaad_core::tenant::Cloud;
use pgaad_core::verify::TokenPolicy;
use pgaad_core::{hba, pam_file};
use pgrx::prelude::*;

use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::{clock, entry, hook, report, shmem};
use crate::settings::Settings;

extension_sql_file!("../sql/check.sql", name = "check", requires = [check_server, readable]);

/// What is checked here, and what it is good for when nothing is wrong. The rest is in `sql/check.sql`.
const ITEMS: [(&str, &str); 16] = [
    ("settings", "every pgaad setting has a value that can be used"),
    ("tenant", "pgaad.tenant_id is set"),
    ("audience", "tokens are made out to this server or its group"),
    ("scope", "users' tokens need an accepted scope"),
    ("keys", "there are keys, and they are fresh"),
    ("key_issuers", "each key says whose tokens it signs"),
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

/// The items that only good settings can answer; nothing is said of them while a setting cannot be read.
const OF_SETTINGS: [&str; 6] = ["tenant", "audience", "scope", "keys", "key_issuers", "clock"];

/// By how much the server's clock may differ from the provider's before it is worth a word; the
/// default of `pgaad.clock_skew` is five times that.
const CLOCK_TOLERANCE: i64 = 60;

/// One row for each defect, and one for each check that found none. `members` are the members of `azure_ad_user`.
#[pg_extern(volatile, parallel_restricted)]
fn check_server(
    members: Vec<TextFromSql>,
) -> TableIterator<
    'static,
    (name!(item, TextToSql), name!(ok, bool), name!(detail, TextToSql), name!(hint, Option<TextToSql>)),
> {
    let members: Vec<_> = members.iter().map(|name| role_name::from_bytes(name.bytes())).collect();
    let mut defects = defects(&members);
    defects.extend(defects_of_keys());
    let other = pam_other().map_or_else(
        || ("pam_other", true, "/etc/pam.d/other refuses".to_owned(), None),
        |defect| (defect.item, false, defect.detail, Some(defect.hint)),
    );
    let is_unreadable = defects.iter().any(|defect| defect.item == "settings");
    let rows = ITEMS.into_iter().flat_map(move |(item, sound)| {
        let (found, rest) =
            std::mem::take(&mut defects).into_iter().partition::<Vec<_>, _>(|d| d.item == item);
        defects = rest;
        let mut rows: Vec<_> =
            found.into_iter().map(|defect| (item, false, defect.detail, Some(defect.hint))).collect();
        if rows.is_empty() && !(is_unreadable && OF_SETTINGS.contains(&item)) {
            rows.push((item, true, sound.to_owned(), None));
        }
        rows
    });
    TableIterator::new(
        rows.chain(std::iter::once(other))
            .map(|(item, ok, detail, hint)| (item.into(), ok, detail.into(), hint.map(TextToSql::from))),
    )
}

/// Says in the log what is wrong with files and settings. For the worker, at its start and at each reload.
pub(crate) fn warn() {
    for Defect { item, detail, hint } in defects(&[]).into_iter().chain(pam_other()) {
        let line = LogLine::new("pgaad: check:").fact("item", item).quoted("detail", &detail).hint(&hint);
        report::warn(&line.into_text());
    }
}

/// What files and settings tell.
fn defects(members: &[String]) -> Vec<Defect> {
    let settings = Settings::read();
    let of_settings = match &settings {
        Err(refusal) => vec![Defect::new(
            "settings",
            refusal.facts(LogLine::new("every token login is refused:")).into_text(),
            "Correct it in postgresql.conf and reload the server.",
        )],
        Ok(Settings { token: None, .. }) => vec![Defect::new(
            "tenant",
            "pgaad.tenant_id is empty: every token login is refused",
            "Set pgaad.tenant_id to the tenant's id in postgresql.conf and reload the server.",
        )],
        Ok(Settings { token: Some(policy), .. }) => {
            defect_of_audience(policy).into_iter().chain(defect_of_scope(policy)).collect()
        }
    };
    // The lines are judged by the strictest settings while those in force cannot be read.
    let meaning = settings.map_or(
        hba::Settings { require_tls: true, allow_trust: false, other_methods: OtherMethods::NONE },
        |settings| hba::Settings {
            require_tls: settings.require_tls,
            allow_trust: settings.gate.allow_trust,
            other_methods: settings.gate.other_methods,
        },
    );
    let mut defects: Vec<_> = defect_of_hook().into_iter().chain(of_settings).collect();
    defects.extend(defects_of_hba(meaning, members));
    defects
}

fn defect_of_hook() -> Option<Defect> {
    hook::outer_library().map(|library| {
        Defect::new(
            "hook",
            format!("{library} has put itself before pgaad, and decides whether pgaad is asked"),
            "Name pgaad last in shared_preload_libraries.",
        )
    })
}

fn defect_of_audience(policy: &TokenPolicy) -> Option<Defect> {
    let own = policy.tenant.cloud();
    policy.audiences.iter().find_map(|audience| match Cloud::of_default_audience(audience)? {
        cloud if cloud == own => Some(Defect::new(
            "audience",
            format!("{audience} is shared by Azure and all pgaad servers of the tenant: each could use tokens at the others"),
            "Set pgaad.audience to an app registration of this server's own: docs/audience.md.",
        )),
        other => Some(Defect::new(
            "audience",
            format!("{audience} is of another cloud than pgaad.cloud, which is {}: no token has it", own.name()),
            format!("pgaad.cloud = '{}'", other.name()),
        )),
    })
}

/// An application of one's own has the scopes that one gives it, and any client of the tenant can get a token for it.
fn defect_of_scope(policy: &TokenPolicy) -> Option<Defect> {
    let has_own = policy.audiences.iter().any(|audience| Cloud::of_default_audience(audience).is_none());
    (has_own && policy.scopes.is_empty()).then(|| {
        Defect::new(
            "scope",
            "users' tokens with any scope are accepted, also such that were issued for another purpose than this server",
            "Set pgaad.scope to the scope of the application in pgaad.audience that means this server: docs/audience.md.",
        )
    })
}

fn defects_of_hba(meaning: hba::Settings, members: &[String]) -> Vec<Defect> {
    let (lines, services) = match crate::pg::hba::lines() {
        Ok(read) => read,
        Err(fault) => {
            return vec![Defect::new(
                "hba_file",
                format!(
                    "{}: {fault}; the lines loaded before stay in force",
                    crate::pg::hba::path().display()
                ),
                "SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL;",
            )];
        }
    };
    let library = entry::own_path();
    let of_services = services.iter().flat_map(|service| {
        let text = fs::read_to_string(format!("/etc/pam.d/{service}")).ok();
        pam_file::defects(service, text.as_deref(), &library)
    });
    hba::defects(&lines, meaning, members).into_iter().chain(of_services).collect()
}

fn pam_other() -> Option<Defect> {
    // Nothing falls back to it where no line is pam.
    let (_, services) = crate::pg::hba::lines().ok()?;
    if services.is_empty() {
        return None;
    }
    pam_file::defects_of_other(fs::read_to_string("/etc/pam.d/other").ok().as_deref(), &entry::own_path())
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
    defects.extend(defect_of_key_issuers(policy));
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

/// Entra's v1 key sets do not say which keys are of the tenant's issuer and which of that of personal accounts.
fn defect_of_key_issuers(policy: &TokenPolicy) -> Option<Defect> {
    let (unsaid, all) = shmem::with_keys(|board| {
        let keys = || board.entries.iter().flatten();
        (keys().filter(|entry| entry.key.issuer().is_none()).count(), keys().count())
    });
    (unsaid > 0).then(|| {
        Defect::new(
            "key_issuers",
            format!("{unsaid} of {all} keys do not say whose tokens they sign: whether they may sign the tenant's is not checked"),
            format!("Use the key set that {} names as jwks_uri.", policy.tenant.metadata_url()),
        )
    })
}
