//! `pgaad.check()`: is this server safe? And the worker's warnings of what files and settings tell.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::collections::BTreeMap;
use std::path::Path;

use pgaad_audit::defect::Defect;
use pgaad_audit::{hba, pam_file};
use pgaad_core::gate::OtherMethods;
use pgaad_core::log_line::LogLine;
use pgaad_core::role_name;
use pgaad_core::tenant::Cloud;
use pgaad_core::verify::TokenPolicy;
use pgaad_provider::file::{self, FileError};
use pgrx::prelude::*;

use crate::key_cache;
use crate::pg::hba::{Candidates, HbaFile};
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::{clock, entry, hook, report, shmem};
use crate::settings::Settings;

extension_sql_file!("../sql/check.sql", name = "check", requires = [check_surroundings, readable]);

/// What is checked here, and what it is good for when nothing is wrong. The rest is in `sql/check.sql`.
const ITEMS: [(&str, &str); 18] = [
    ("settings", "every pgaad setting has a value that can be used"),
    ("tenant", "pgaad.tenant_id is set"),
    ("audience", "tokens are made out to this server or its group"),
    ("scope", "users' tokens need an accepted scope"),
    ("keys", "there are keys, and they are fresh"),
    ("keys_file", "pgaad/keys.json can be read and written, as far as tried"),
    ("key_issuers", "each key says whose tokens it signs"),
    ("clock", "the server's clock is that of the provider, as far as known"),
    ("hook", "no library loaded later stands before pgaad"),
    ("hba_file", "pg_hba.conf can be read"),
    ("hba_token_line", "a line asks for a token"),
    ("hba_token_without_tls", "no line asks for a token without encryption"),
    ("hba_trust_remote", "no trust line can be reached from other machines"),
    ("hba_trust_member", "no trust line matches members of azure_ad_user"),
    ("hba_without_token", "no line admits members without a token"),
    ("hba_oauth_mapping", "no oauth line of pgaad's lacks delegate_ident_mapping=1"),
    ("hba_order", "no line takes logins of members before one that asks for a token"),
    ("pam_file", "the PAM service files ask this library and nothing else"),
];

/// The items that only good settings can answer; nothing is said of them while a setting cannot be read.
const OF_SETTINGS: [&str; 6] = ["tenant", "audience", "scope", "keys", "key_issuers", "clock"];

/// By how much the server's clock may differ from the provider's before it is worth a word; the
/// default of `pgaad.clock_skew` is five times that.
const CLOCK_TOLERANCE: i64 = 60;

/// Most bytes of a PAM service file.
const MAX_PAM_BYTES: u64 = 64 * 1024;

/// One row for each defect, and one for each check that found none.
///
/// `members` are the members of `azure_ad_user`, each once for each role that it is in, directly or not, itself among
/// them; that role is in the same place of `roles`. `databases` are those that there are.
#[pg_extern(name = "_check_server", volatile, parallel_restricted)]
fn check_surroundings(
    members: Vec<TextFromSql>,
    roles: Vec<TextFromSql>,
    databases: Vec<TextFromSql>,
) -> TableIterator<
    'static,
    (name!(item, TextToSql), name!(ok, bool), name!(detail, TextToSql), name!(hint, Option<TextToSql>)),
> {
    let names = |names: &[TextFromSql]| -> Vec<String> {
        names.iter().map(|name| role_name::from_bytes(name.bytes())).collect()
    };
    rows(&members_of(&names(&members), names(&roles)), &names(&databases))
}

fn rows(
    known: &[hba::Member],
    databases: &[String],
) -> TableIterator<
    'static,
    (name!(item, TextToSql), name!(ok, bool), name!(detail, TextToSql), name!(hint, Option<TextToSql>)),
> {
    let names: Vec<String> = known.iter().filter_map(|member| member.name.clone()).collect();
    let hba_file = read_hba(Candidates { databases, roles: &names });
    let pam = PamFiles::read(&services(&hba_file));
    let mut defects = defects(known, &hba_file, &pam);
    defects.extend(defects_of_keys());
    let other = pam.defect_of_other().map_or_else(
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
    let member = |name: String| hba::Member {
        roles: vec![name.clone(), "azure_ad_user".to_owned()],
        name: Some(name),
    };
    rows(&names.map(member).collect::<Vec<_>>(), &[])
}

fn members_of(members: &[String], roles: Vec<String>) -> Vec<hba::Member> {
    let mut known = BTreeMap::<&String, Vec<String>>::new();
    for (member, role) in members.iter().zip(roles) {
        known.entry(member).or_default().push(role);
    }
    known.into_iter().map(|(name, roles)| hba::Member { name: Some(name.clone()), roles }).collect()
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
pub(crate) struct PamFiles {
    services: Vec<(String, Result<String, FileError>)>,
    /// `None` where no line is pam, and so nothing falls back to it.
    other: Option<Result<String, FileError>>,
}

impl PamFiles {
    /// Reads them.
    pub(crate) fn read(services: &[String]) -> Self {
        Self::by(services, |path| {
            let content = file::read(Path::new(path), MAX_PAM_BYTES)?;
            Ok(String::from_utf8_lossy(&content.bytes).into_owned())
        })
    }

    /// As if none could be read.
    pub(crate) fn unread(services: &[String], error: FileError) -> Self {
        Self::by(services, |_| Err(error))
    }

    fn by(services: &[String], read: impl Fn(&str) -> Result<String, FileError>) -> Self {
        let file = |service: &String| (service.clone(), read(&pam_file::path(service)));
        Self {
            services: services.iter().map(file).collect(),
            other: (!services.is_empty()).then(|| read(&pam_file::path("other"))),
        }
    }

    fn defects(&self) -> Vec<Defect> {
        let library = entry::own_path();
        let of_service = |(service, text): &(String, Result<String, FileError>)| {
            let text = text.as_ref().map(String::as_str).map_err(ToString::to_string);
            pam_file::defects(service, text.as_ref().map(|text| *text).map_err(String::as_str), &library)
        };
        self.services.iter().flat_map(of_service).collect()
    }

    fn defect_of_other(&self) -> Option<Defect> {
        match self.other.as_ref()? {
            Ok(text) => pam_file::defects_of_other(Some(text), &entry::own_path()),
            // Without the file PAM refuses by itself.
            Err(FileError::Missing) => None,
            Err(error) => Some(Defect::new(
                "pam_other",
                format!("/etc/pam.d/other {error}: it decides if the service file of a pam line is missing"),
                pam_file::OTHER,
            )),
        }
    }
}

/// Says in the log what is wrong with files and settings. For the worker, at its start and at each reload.
pub(crate) fn warn(hba_file: &Result<HbaFile, String>, pam: &PamFiles) {
    let defects = defects(&[], hba_file, pam).into_iter().chain(pam.defect_of_other());
    for Defect { item, detail, hint } in defects {
        let line = LogLine::new("pgaad: check:").fact("item", item).quoted("detail", &detail).hint(&hint);
        report::warn(&line.into_text());
    }
}

/// What files and settings tell.
fn defects(members: &[hba::Member], hba_file: &Result<HbaFile, String>, pam: &PamFiles) -> Vec<Defect> {
    let settings = Settings::read();
    let of_settings = match &settings {
        Err(reason) => vec![Defect::new(
            "settings",
            reason.facts(LogLine::new("every token login is refused:")).into_text(),
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
    match hba_file {
        Ok(file) => defects.extend(hba::defects(&file.lines, meaning, members)),
        Err(error) => defects.push(Defect::new(
            "hba_file",
            error,
            "SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL;",
        )),
    }
    defects.extend(pam.defects());
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
            format!(
                "{audience} is shared by Azure and all pgaad servers of the tenant: each could use tokens at \
                 the others"
            ),
            "Set pgaad.audience to an app registration of this server's own: docs/audience.md.",
        )),
        other => Some(Defect::new(
            "audience",
            format!(
                "{audience} is of another cloud than pgaad.cloud, which is {}: no token has it",
                own.name()
            ),
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
            "users' tokens with any scope are accepted, also such that were issued for another purpose than \
             this server",
            "Set pgaad.scope to the scope of the application in pgaad.audience that means this server: \
             docs/audience.md.",
        )
    })
}

/// What only a moment tells: not for the log.
fn defects_of_keys() -> Vec<Defect> {
    let worker = shmem::refresh_state();
    let mut defects = Vec::new();
    if !worker.snapshot_problem.is_empty() {
        defects.push(Defect::new(
            "keys_file",
            format!("{}: the next start needs the provider", worker.snapshot_problem.as_str()),
            "The file and its directory must belong to the server's user. SELECT pgaad.refresh() writes it anew.",
        ));
    }
    let settings = Settings::read();
    let last_error = key_cache::last_error(&settings);
    let Ok(settings) = settings else { return defects };
    let Some(policy) = &settings.token else { return defects };
    let failed = last_error.map(|(code, words)| match words.as_str() {
        "" => format!("the last fetch failed: {code}"),
        words => format!("the last fetch failed: {code} ({words})"),
    });
    let detail = match (key_cache::all(&policy.tenant, &settings), failed) {
        (Err(reason), failed) => {
            let facts = reason.facts(LogLine::new(reason.code())).into_text();
            Some(failed.map_or(facts.clone(), |failed| format!("{facts}; {failed}")))
        }
        (Ok(_), Some(failed)) => {
            let age = clock::now().since(shmem::with_keys(|board| board.fetched_at));
            Some(format!("{failed}; the keys are {age} s old"))
        }
        (Ok(_), None) => None,
    };
    let hint = "SELECT pgaad.refresh(); SELECT * FROM pgaad.status;";
    defects.extend(detail.map(|detail| Defect::new("keys", detail, hint)));
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
            format!(
                "{unsaid} of {all} keys do not say whose tokens they sign: whether they may sign the tenant's \
                 is not checked"
            ),
            format!("Use the key set that {} names as jwks_uri.", policy.tenant.metadata_url()),
        )
    })
}
