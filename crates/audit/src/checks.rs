//! The checks: one row each.

use crate::defect::Defect;
use crate::evidence::Evidence;
use crate::hba::{self, Lines};
use crate::pam_file::{self, PamFiles};
use crate::{directory, keys, settings};

/// How bad it is when a check finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody can get in, or get at a token, who should not.
    Hole,
    /// Logins fail, or will.
    Fault,
    /// It could be better.
    Advice,
}

impl Severity {
    /// Its name; stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::Fault => "fault",
            Self::Advice => "advice",
        }
    }
}

/// A check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name; stable.
    pub item: &'static str,
    /// How bad is what it finds.
    pub severity: Severity,
    /// What holds when it finds nothing.
    pub sound: &'static str,
    /// How it looks.
    look: Look,
}

/// How a check looks. A function gives `None` where the evidence that it needs is not there: then nothing is said.
#[derive(Clone, Copy, Debug)]
enum Look {
    At(fn(&Evidence) -> Option<Vec<Defect>>),
    AtLines(fn(&Lines<'_>) -> Vec<Defect>),
    AtPamFiles(fn(&PamFiles) -> Vec<Defect>),
    /// By `sql/check.sql`, in the catalogs.
    InCatalogs,
}

use Look::{At, AtLines, AtPamFiles, InCatalogs};
use Severity::{Advice, Fault, Hole};

/// All checks, in the order in which `pgaad.check()` shows them.
pub const CHECKS: [Check; 43] = [
    row("settings", Fault, "every pgaad setting has a value that can be used", At(settings::unusable)),
    row("tenant", Fault, "pgaad.tenant_id is set", At(settings::tenant)),
    row("audience", Fault, "tokens of pgaad.cloud can have the accepted audiences", At(settings::audience)),
    row("audience_shared", Advice, "tokens are for this server or its group", At(settings::audience_shared)),
    row("scope", Advice, "users' tokens need an accepted scope", At(settings::scope)),
    row("extension", Fault, "the extension's SQL is that of the library", InCatalogs),
    row("worker", Fault, "the workers run, or have run", At(keys::worker)),
    row("keys", Fault, "there are keys, and they are fresh", At(keys::usable)),
    row("keys_file", Fault, "pgaad/keys.json can be read and written, as far as tried", At(keys::file)),
    row("key_issuers", Advice, "each key says whose tokens it signs", At(keys::issuers)),
    row("clock", Fault, "the server's clock is that of the provider, as far as known", At(keys::clock)),
    row("directory", Fault, "the directory is read, or is off", At(directory::is_read)),
    row("directory_groups", Fault, "every group of a role is read, and fresh", At(directory::groups)),
    row("directory_secret", Hole, "others cannot read the directory's credential", At(directory::secret)),
    row("directory_expiry", Fault, "that credential is good for 30 days more", At(directory::expiry)),
    row(
        "directory_open_groups",
        Advice,
        "every group of a role is a security group",
        At(directory::open_groups),
    ),
    row(
        "directory_permissions",
        Advice,
        "Graph grants what is needed and no more",
        At(directory::permissions),
    ),
    row("hook", Hole, "no library loaded later stands before pgaad", At(settings::hook)),
    row("hba_file", Fault, "pg_hba.conf can be read", At(settings::hba_file)),
    row("hba_reload", Fault, "pg_hba.conf is loaded as it is", At(settings::hba_reload)),
    row("hba_tls_off", Fault, "no line asks for a token over TLS while ssl is off", AtLines(hba::tls_off)),
    row("hba_token_line", Fault, "a line asks for a token", AtLines(hba::token_line)),
    row(
        "hba_token_without_tls",
        Hole,
        "no line asks for a token in the clear",
        AtLines(hba::token_without_tls),
    ),
    row(
        "hba_trust_remote",
        Hole,
        "no trust line can be reached from other machines",
        AtLines(hba::trust_remote),
    ),
    row(
        "hba_trust_member",
        Hole,
        "no trust line matches members of azure_ad_user",
        AtLines(hba::trust_member),
    ),
    row("hba_without_token", Hole, "no line admits members without a token", AtLines(hba::without_token)),
    row("hba_oauth_mapping", Fault, "every oauth line of pgaad has its mapping", AtLines(hba::oauth_mapping)),
    row("hba_order", Fault, "no line takes logins of members before a token line", AtLines(hba::order)),
    row(
        "pam_file",
        Hole,
        "the PAM service files ask this library and nothing else",
        AtPamFiles(pam_file::services),
    ),
    row("pam_other", Advice, "/etc/pam.d/other refuses", AtPamFiles(pam_file::other)),
    row("roles", Hole, "the three marker roles are there, and as they should be", InCatalogs),
    row("administrators", Hole, "Entra administrators", InCatalogs),
    row("azure_roles", Hole, "no role of Azure's own can log in with more than others", InCatalogs),
    row("members_superuser", Hole, "no member is a superuser", InCatalogs),
    row("members_replication", Hole, "no member has REPLICATION", InCatalogs),
    row("members_privileged", Hole, "no member is a predefined role or has BYPASSRLS", InCatalogs),
    row("members_password", Hole, "no member has a password", InCatalogs),
    row("members_by_name", Advice, "every member is bound to an id", InCatalogs),
    row(
        "members_app_role",
        Fault,
        "app roles that open roles are of one application of your own",
        InCatalogs,
    ),
    row("members_granted", Hole, "no member is granted to a role that is not one", InCatalogs),
    row("members_guarded", Hole, "no member depends on a trust line alone", InCatalogs),
    row("standby_lag", Hole, "this server knows what was revoked", InCatalogs),
    row("unknown_settings", Fault, "every pgaad setting in the files is one", InCatalogs),
];

const fn row(item: &'static str, severity: Severity, sound: &'static str, look: Look) -> Check {
    Check { item, severity, sound, look }
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is wrong.
    Sound,
    /// This is wrong.
    Wrong(Defect),
    /// The catalogs tell.
    InCatalogs,
}

/// All findings, in the order of the table: one for each defect, and one for each check that found none. A check whose
/// evidence is not there has none.
pub fn findings(evidence: &Evidence) -> impl Iterator<Item = (&'static Check, Finding)> {
    CHECKS.iter().flat_map(|check| {
        let looked = match check.look {
            At(look) => look(evidence),
            AtLines(look) => evidence.lines().map(|lines| look(&lines)),
            AtPamFiles(look) => Some(look(&evidence.pam_files)),
            InCatalogs => None,
        };
        let found = match looked {
            Some(defects) if defects.is_empty() => vec![Finding::Sound],
            Some(defects) => defects.into_iter().map(Finding::Wrong).collect(),
            None if matches!(check.look, InCatalogs) => vec![Finding::InCatalogs],
            None => vec![],
        };
        found.into_iter().map(move |finding| (check, finding))
    })
}

/// The defects alone.
pub fn defects(evidence: &Evidence) -> impl Iterator<Item = (&'static Check, Defect)> {
    findings(evidence).filter_map(|(check, finding)| match finding {
        Finding::Wrong(defect) => Some((check, defect)),
        Finding::Sound | Finding::InCatalogs => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{KeysOfTenant, Moment, Settings};
    use pgaad_core::Reason;
    use pgaad_core::tenant::{Cloud, Tenant};
    use pgaad_core::verify::TokenPolicy;
    use std::time::Duration;

    const SHARED: &str = "https://ossrdbms-aad.database.windows.net";

    /// Of a server that has all that it needs.
    fn evidence() -> Evidence {
        let id = "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10".parse().expect("a GUID");
        let policy = TokenPolicy {
            tenant: Tenant::new(id, Cloud::Public, None),
            others: Vec::new(),
            is_home: true,
            audiences: vec!["api://server".into()],
            scopes: vec!["login".into()],
            line_scopes: Vec::new(),
            clock_skew: Duration::ZERO,
        };
        let mut evidence = Evidence::default();
        evidence.settings = evidence.settings.map(|settings| Settings { token: Some(policy), ..settings });
        let keys = KeysOfTenant { keys: 4, key_age: 7, ..KeysOfTenant::default() };
        evidence.moment = Some(Moment { tenants: vec![keys], ..Moment::default() });
        evidence
    }

    /// What is wrong, lines aside: item and detail.
    fn found(evidence: &Evidence) -> Vec<(&'static str, String)> {
        let defects = defects(evidence).map(|(check, defect)| (check.item, defect.detail));
        defects.filter(|(item, _)| *item != "hba_token_line").collect()
    }

    fn with_policy(change: impl FnOnce(&mut TokenPolicy)) -> Evidence {
        let mut evidence = evidence();
        if let Ok(Settings { token: Some(policy), .. }) = &mut evidence.settings {
            change(policy);
        }
        evidence
    }

    fn at(change: impl FnOnce(&mut Moment)) -> Evidence {
        let mut evidence = evidence();
        change(evidence.moment.as_mut().expect("it was asked for"));
        evidence
    }

    fn of_keys(change: impl FnOnce(&mut KeysOfTenant)) -> Evidence {
        at(|moment| change(&mut moment.tenants[0]))
    }

    fn unusable(setting: &'static str) -> Reason {
        Reason::SettingInvalid { setting, value: owned("x"), expected: "y".to_owned() }
    }

    fn owned(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn each_setting_and_each_moment_is_named_for_what_is_wrong_with_it() {
        let with_audiences = |audiences: &[&str]| {
            let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
            with_policy(|policy| policy.audiences = audiences)
        };
        let unusable = unusable("pgaad.clock_skew");
        for (evidence, item, detail) in [
            (Evidence { settings: Err(unusable), ..evidence() }, "settings", "setting=pgaad.clock_skew"),
            (Evidence { outer_library: owned("audit.so"), ..evidence() }, "hook", "audit.so has put itself"),
            (
                Evidence { lines: Err("line 3: nonsense".into()), ..evidence() },
                "hba_file",
                "line 3: nonsense",
            ),
            (with_audiences(&[SHARED]), "audience_shared", "each could use tokens at the others"),
            (with_audiences(&["api://server", SHARED]), "audience_shared", SHARED),
            (
                with_audiences(&["api://server", "https://ossrdbms-aad.database.usgovcloudapi.net"]),
                "audience",
                "is of another cloud than pgaad.cloud, which is public",
            ),
            (with_policy(|policy| policy.scopes.clear()), "scope", "any scope"),
            (of_keys(|keys| keys.no_keys = owned("no_keys")), "keys", "no_keys"),
            (
                at(|moment| moment.slots_without_worker = Some(1)),
                "worker",
                "has not run since the server's start",
            ),
            (
                Evidence { changed_files: vec!["/etc/pg_hba.conf".into()], ..evidence() },
                "hba_reload",
                "/etc/pg_hba.conf was changed, and not loaded since",
            ),
            (
                of_keys(|keys| keys.last_error = owned("timed_out")),
                "keys",
                "the last fetch failed: timed_out; the keys are 7 s old",
            ),
            (
                of_keys(|keys| (keys.no_keys, keys.last_error) = (owned("no_keys"), owned("timed_out"))),
                "keys",
                "no_keys; the last fetch failed: timed_out",
            ),
            (
                at(|moment| moment.snapshot_problem = owned("pgaad/keys.json cannot be read")),
                "keys_file",
                "cannot be read: ",
            ),
            (of_keys(|keys| keys.keys_without_issuer = 2), "key_issuers", "2 of 4 keys do not say"),
            (
                of_keys(|keys| (keys.tenant, keys.no_keys) = (owned("0d4f"), owned("no_keys"))),
                "keys",
                "tenant 0d4f: no_keys",
            ),
            (at(|moment| moment.clock_ahead = Some(61)), "clock", "61 s ahead of"),
            (at(|moment| moment.clock_ahead = Some(-61)), "clock", "61 s behind"),
        ] {
            let found = found(&evidence);
            let [(named, said)] = &found[..] else { panic!("{item}: {found:?}") };
            assert_eq!(*named, item, "{said}");
            assert!(said.contains(detail), "{detail}: {said}");
        }
    }

    #[test]
    fn the_hint_makes_room_for_the_worker_beside_the_others() {
        let one = at(|moment| moment.slots_without_session_worker = Some(2));
        let told: Vec<_> = defects(&one).filter(|(check, _)| check.item == "worker").collect();
        assert!(
            told.len() == 1 && told[0].1.detail.starts_with("the session worker has not run"),
            "{told:?}"
        );
        assert!(told[0].1.hint.starts_with("ALTER SYSTEM SET max_worker_processes = 10;"), "{told:?}");
        let no_room = at(|moment| moment.slots_without_worker = Some(3));
        let hint = defects(&no_room).find(|(check, _)| check.item == "worker").map(|(_, defect)| defect.hint);
        assert_eq!(
            hint.as_deref(),
            Some("ALTER SYSTEM SET max_worker_processes = 11; -- and restart the server")
        );
    }

    #[test]
    fn what_is_in_order_is_sound() {
        assert_eq!(found(&evidence()), []);
        // Nobody's scopes but those of one's own application are in doubt.
        let shared = with_policy(|policy| {
            policy.audiences = vec![SHARED.into()];
            policy.scopes.clear();
        });
        assert_eq!(found(&shared).len(), 1);
        assert_eq!(found(&at(|moment| moment.clock_ahead = Some(60))), []);
        assert_eq!(found(&at(|moment| moment.clock_ahead = Some(-60))), []);
    }

    #[test]
    fn nothing_is_said_of_what_the_evidence_does_not_show() {
        let silent = |evidence: &Evidence| {
            let told: Vec<_> = findings(evidence).map(|(check, _)| check.item).collect();
            CHECKS.iter().map(|check| check.item).filter(|item| !told.contains(item)).collect::<Vec<_>>()
        };
        let of_directory = CHECKS.iter().map(|check| check.item).filter(|item| item.starts_with("directory"));
        let of_directory: Vec<_> = of_directory.collect();
        assert_eq!(silent(&evidence()), [""; 0]);
        let of_policy = ["audience", "audience_shared", "scope", "keys", "key_issuers", "clock"];
        let no_tenant = Evidence { moment: evidence().moment, ..Evidence::default() };
        assert_eq!(silent(&no_tenant), of_policy);
        let unusable = Evidence { settings: Err(unusable("pgaad.scope")), ..evidence() };
        assert_eq!(silent(&unusable), [&["tenant"], &of_policy[..]].concat());
        assert_eq!(
            silent(&Evidence { moment: None, ..evidence() }),
            [&["worker", "keys", "keys_file", "key_issuers", "clock"], &of_directory[..]].concat()
        );
        let of_lines = CHECKS.iter().map(|check| check.item).filter(|item| item.starts_with("hba_"));
        let of_lines: Vec<_> = of_lines.filter(|item| *item != "hba_file").collect();
        assert_eq!(silent(&Evidence { lines: Err("nonsense".into()), ..evidence() }), of_lines);
    }

    #[test]
    fn the_document_lists_every_check_with_its_severity_and_no_other() {
        let document = include_str!("../../../docs/checks.md");
        let rows = document.lines().filter(|line| line.starts_with("| `"));
        let listed: Vec<_> =
            rows.filter_map(|row| row.split(" | ").take(2).collect::<Vec<_>>().try_into().ok()).collect();
        let wanted: Vec<_> = CHECKS
            .iter()
            .map(|check| [format!("| `{}`", check.item), check.severity.name().to_owned()])
            .collect();
        assert_eq!(listed.iter().map(|row: &[&str; 2]| row.map(str::to_owned)).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn each_check_has_a_name_of_its_own() {
        let mut items = CHECKS.map(|check| check.item);
        items.sort_unstable();
        assert!(items.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!([Hole, Fault, Advice].map(Severity::name), ["hole", "fault", "advice"]);
    }
}
