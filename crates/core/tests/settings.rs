//! What the settings' texts add up to, and which texts are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pgaad_core::Reason;
use pgaad_core::gate::{GatePolicy, GuardTrust, OtherMethods};
use pgaad_core::settings::directory::{Credential, DirectorySettings, Programs, is_on};
use pgaad_core::settings::table::{Setting, TABLE};
use pgaad_core::settings::{
    LogLogins, MAX_PATH_BYTES, MAX_TENANTS, Settings, Source, guard_trust, strict_default,
};

const TENANT: &str = "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10";
const AZURE: &str = "https://ossrdbms-aad.database.windows.net";
const AZURE_ID: &str = "123cd850-d9df-40bd-94d5-c9f07b7fa203";

/// The defaults, but for some texts. Values are read as simply as it goes: PostgreSQL's parsers are tested in a server.
#[derive(Clone, Default)]
struct Texts(BTreeMap<&'static str, String>);

impl Source for Texts {
    fn text(&self, setting: &'static Setting) -> String {
        let default = || setting.default_value().to_str().unwrap().to_owned();
        self.0.get(setting.name()).cloned().unwrap_or_else(default)
    }

    fn bool(&self, text: &str) -> Option<bool> {
        match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        }
    }

    fn duration(&self, text: &str) -> Option<Duration> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = match text.strip_prefix(number)? {
            "s" => 1,
            "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        Some(Duration::from_secs(number.parse::<u64>().ok()? * unit))
    }

    fn bytes(&self, text: &str) -> Option<usize> {
        match text.strip_suffix("kB") {
            Some(number) => Some(number.parse::<usize>().ok()? * 1024),
            None => text.strip_suffix('B')?.parse().ok(),
        }
    }

    fn is_proxy(&self, text: &str) -> bool {
        text == "http://proxy:3128"
    }
}

fn with(texts: &[(&'static str, &str)]) -> Texts {
    Texts(texts.iter().map(|&(name, text)| (name, text.to_owned())).collect())
}

fn read(texts: &[(&'static str, &str)]) -> Settings {
    Settings::read(&with(texts)).unwrap_or_else(|reason| panic!("{texts:?}: {reason:?}"))
}

/// Of the settings of a tenant, what its tokens must be.
fn audiences(texts: &[(&'static str, &str)]) -> Vec<String> {
    let texts = [&[("pgaad.tenant_id", TENANT)], texts].concat();
    read(&texts).token.expect("a tenant is set").audiences
}

#[test]
fn nothing_is_written_and_nothing_is_open() {
    let settings = read(&[]);
    assert!(settings.token.is_none());
    let strict = GatePolicy { allow_trust: false, other_methods: OtherMethods::NONE };
    assert_eq!(settings.gate, strict);
    assert!(settings.admit.name_match && !settings.admit.group_name_match && !settings.admit.allow_superuser);
    assert!(!settings.admit.app_roles, "the database resource is nobody's own application");
    assert!(settings.require_tls && !settings.ends_sessions && !settings.admins_make_admins);
    assert_eq!(settings.log_logins, LogLogins::All);
    let spans = (settings.refresh.interval, settings.refresh.cooldown, settings.refresh.max_stale);
    assert_eq!(spans, (seconds(3_600), seconds(30), seconds(86_400)));
    assert_eq!((settings.key_wait, settings.max_token_bytes), (seconds(3), 32_768));
    assert!(settings.server_name.is_none() && settings.https_proxy.is_none());
    assert!(settings.ca_file.is_none() && settings.jwks_file.is_none());
    assert_eq!(guard_trust(&Texts::default()), Ok(GuardTrust::Remote));
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_setting_counts() {
    let settings = read(&[
        ("pgaad.tenant_id", TENANT),
        ("pgaad.audience", AZURE_ID),
        ("pgaad.scope", "db.read, db.write"),
        ("pgaad.clock_skew", "0s"),
        ("pgaad.name_match", "off"),
        ("pgaad.group_name_match", "on"),
        ("pgaad.allow_superuser", "on"),
        ("pgaad.refresh_interval", "10s"),
        ("pgaad.refresh_cooldown", "1s"),
        ("pgaad.max_stale", "60s"),
        ("pgaad.key_wait", "0s"),
        ("pgaad.max_token_bytes", "1024B"),
        ("pgaad.require_tls", "off"),
        ("pgaad.allow_trust", "on"),
        ("pgaad.allow_other_methods", "cert,scram-sha-256"),
        ("pgaad.admins_make_admins", "on"),
        ("pgaad.log_logins", "REFUSED"),
        ("pgaad.session_end", "Token"),
        ("pgaad.server_name", "contoso"),
        ("pgaad.ca_file", "/etc/ca.pem"),
        ("pgaad.https_proxy", " http://proxy:3128 "),
        ("pgaad.jwks_file", "/etc/jwks.json"),
    ]);
    let token = settings.token.expect("a tenant is set");
    assert_eq!(token.tenant.id().to_string(), TENANT);
    assert_eq!((token.audiences, token.clock_skew), (vec![AZURE_ID.to_owned()], Duration::ZERO));
    assert_eq!(token.scopes, ["db.read", "db.write"]);
    assert!(token.line_scopes.is_empty());
    assert!(!settings.admit.name_match && settings.admit.group_name_match && settings.admit.allow_superuser);
    let spans = (settings.refresh.interval, settings.refresh.cooldown, settings.refresh.max_stale);
    assert_eq!(spans, (seconds(10), seconds(1), seconds(60)));
    assert_eq!((settings.key_wait, settings.max_token_bytes), (Duration::ZERO, 1_024));
    assert!(!settings.require_tls && settings.gate.allow_trust && settings.ends_sessions);
    assert_eq!(Some(settings.gate.other_methods), OtherMethods::parse("cert,scram-sha-256"));
    assert!(settings.admins_make_admins);
    assert_eq!(settings.log_logins, LogLogins::Refused);
    assert_eq!(settings.server_name.as_deref(), Some("contoso"));
    assert_eq!(settings.https_proxy.as_deref(), Some("http://proxy:3128"));
    assert_eq!(settings.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(settings.jwks_file.as_deref(), Some(Path::new("/etc/jwks.json")));
    assert_eq!(read(&[("pgaad.log_logins", "none")]).log_logins, LogLogins::None);
    for (text, wanted) in [("all", GuardTrust::All), ("off", GuardTrust::Off), ("Remote", GuardTrust::Remote)]
    {
        assert_eq!(guard_trust(&with(&[("pgaad.guard_trust", text)])), Ok(wanted));
    }
    for (text, wanted) in [("on", OtherMethods::ALL), ("off", OtherMethods::NONE)] {
        assert_eq!(read(&[("pgaad.allow_other_methods", text)]).gate.other_methods, wanted);
    }
}

#[test]
fn audiences_are_the_clouds_or_those_that_are_written() {
    assert_eq!(audiences(&[]), [AZURE, AZURE_ID]);
    let usgov = audiences(&[("pgaad.cloud", "usgov")]);
    assert_eq!(usgov, ["https://ossrdbms-aad.database.usgovcloudapi.net"]);
    let written = format!(" api://pg , {}", AZURE_ID.to_uppercase());
    assert_eq!(audiences(&[("pgaad.audience", &written)]), ["api://pg", AZURE_ID]);
    let own =
        |audience: &str| read(&[("pgaad.tenant_id", TENANT), ("pgaad.audience", audience)]).admit.app_roles;
    assert!(own(TENANT) && !own(AZURE_ID), "whose app roles a token has");
}

#[test]
fn the_first_of_the_tenants_is_the_home_and_there_are_eight_at_most() {
    let id = |place: usize| format!("{place}d4f2c6b-5f0e-4a3c-9b8d-7e6f5a4b3c2d");
    let tenants = |count: usize| (0..count).map(id).collect::<Vec<_>>().join(", ");
    let policy = read(&[("pgaad.tenant_id", &tenants(MAX_TENANTS))]).token.unwrap();
    let ids: Vec<_> = policy.tenants().map(|tenant| tenant.id().to_string()).collect();
    assert_eq!(ids, (0..MAX_TENANTS).map(id).collect::<Vec<_>>());
    assert!(policy.is_home && policy.tenant.id().to_string() == id(0));
    let other = policy.of(&policy.others[2]);
    assert!(!other.is_home && other.tenants().count() == 1 && other.tenant.id().to_string() == id(3));
    assert!(policy.of(&policy.tenant).is_home);
    assert!(Settings::read(&with(&[("pgaad.tenant_id", &tenants(MAX_TENANTS + 1))])).is_err());
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_what_it_may_be() {
    let path = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    assert!(read(&[("pgaad.ca_file", &path(MAX_PATH_BYTES))]).ca_file.is_some());
    for (name, text, expected) in [
        ("pgaad.tenant_id", "contoso.com", "the id of a tenant, which is a GUID and no domain name"),
        ("pgaad.tenant_id", &*format!("{TENANT},{TENANT}"), "up to 8, separated by commas"),
        ("pgaad.tenant_id", &*format!("{TENANT},"), "up to 8, separated by commas"),
        ("pgaad.cloud", "germany", "public, or usgov, or china"),
        ("pgaad.audience", "api://pg/.default", "without /.default or quotes"),
        ("pgaad.audience", "api://pg,", "separated by commas"),
        ("pgaad.audience", "'api://pg'", "without /.default or quotes"),
        ("pgaad.audience", "api://pg;api://other", "separated by commas"),
        ("pgaad.audience", "api://pg api://other", "separated by commas"),
        ("pgaad.scope", " , ", "scopes, separated by commas"),
        ("pgaad.authority", "http://login.example", "https"),
        ("pgaad.ca_file", "ca.pem", "an absolute path"),
        ("pgaad.jwks_file", &path(MAX_PATH_BYTES + 1), "an absolute path"),
        ("pgaad.refresh_interval", "9s", "10s to 86400s: a whole number of seconds, or of a unit"),
        ("pgaad.refresh_interval", "86401s", "10s to 86400s"),
        ("pgaad.refresh_cooldown", "0s", "1s to 86400s"),
        ("pgaad.max_stale", "59s", "60s to 2592000s"),
        ("pgaad.max_stale", "31d", "60s to 2592000s"),
        ("pgaad.key_wait", "61s", "0s to 60s"),
        ("pgaad.clock_skew", "3601s", "0s to 3600s"),
        ("pgaad.clock_skew", "5m", "0s to 3600s"),
        ("pgaad.max_token_bytes", "1023B", "1024B to 65535B: a whole number of bytes, or of a unit"),
        ("pgaad.max_token_bytes", "64kB", "1024B to 65535B"),
        ("pgaad.require_tls", "sometimes", "on or off"),
        ("pgaad.name_match", "", "on or off"),
        ("pgaad.group_name_match", "x", "on or off"),
        ("pgaad.allow_superuser", "x", "on or off"),
        ("pgaad.allow_trust", "x", "on or off"),
        ("pgaad.admins_make_admins", "x", "on or off"),
        ("pgaad.allow_other_methods", "trust", "without trust and reject"),
        ("pgaad.guard_trust", "local", "remote, or all, or off"),
        ("pgaad.log_logins", "on", "all, or refused, or none"),
        ("pgaad.session_end", "on", "never, or token"),
    ] {
        match Settings::read(&with(&[(name, text)])) {
            Err(Reason::SettingInvalid { setting, value, expected: told }) => {
                assert_eq!((setting, value.as_deref()), (name, Some(text)));
                assert!(told.contains(expected), "{name}: {told}");
            }
            other => panic!("{name} = {text}: {other:?}"),
        }
    }
    // A proxy's URL can hold a password.
    let hidden = Settings::read(&with(&[("pgaad.https_proxy", "socks5://user:secret@proxy")])).unwrap_err();
    assert!(matches!(&hidden, Reason::SettingInvalid { value: None, .. }), "{hidden:?}");
}

#[test]
fn a_default_is_pasted_only_where_no_value_is_stricter() {
    for (name, default) in [
        ("pgaad.require_tls", Some("on")),
        ("pgaad.allow_trust", Some("off")),
        ("pgaad.clock_skew", Some("300s")),
        ("pgaad.tenant_id", None),
        ("pgaad.audience", None),
        ("pgaad.scope", None),
        ("pgaad.name_match", None),
        ("pgaad.guard_trust", None),
        ("pgaad.max_stale", None),
        ("pgaad.session_end", None),
        ("pgaad.no_such", None),
    ] {
        assert_eq!(strict_default(name), default, "{name}");
    }
}

#[test]
fn the_readme_lists_every_setting_with_its_default_and_no_other() {
    let readme = include_str!("../../../README.md");
    let rows = || readme.lines().filter(|line| line.starts_with("| `pgaad."));
    for setting in TABLE {
        let (name, default) = (setting.name(), setting.default_value().to_str().unwrap());
        let default = if default.is_empty() { "''" } else { default };
        let head = format!("| `{name}` | `{default}` | ");
        assert!(rows().any(|row| row.starts_with(&head)), "the README should have a row {head}");
        let described = setting.description().to_str().unwrap();
        assert!(described.ends_with('.') && setting.c_name().to_str() == Ok(name), "{name}: {described}");
        // Both may hold a secret: that of the proxy, or one that somebody wrote in the place of its file's name.
        let is_hidden = ["pgaad.https_proxy", "pgaad.directory_credential"].contains(&name);
        assert_eq!(setting.is_hidden(), is_hidden);
        assert_eq!(setting.needs_restart(), name == "pgaad.directory");
    }
    assert_eq!(rows().count(), TABLE.len());
}

fn directory(texts: &[(&'static str, &str)]) -> DirectorySettings {
    read(texts).directory.unwrap_or_else(|reason| panic!("{texts:?}: {reason:?}"))
}

#[test]
fn directory_is_off_and_its_settings_are_read() {
    assert!(!is_on(&with(&[])).unwrap());
    assert!(is_on(&with(&[("pgaad.directory", "on")])).unwrap());
    let settings = directory(&[]);
    assert_eq!(settings.graph_url.as_str(), "https://graph.microsoft.com");
    assert_eq!((settings.credential.clone(), settings.client_id), (None, None));
    assert_eq!((settings.nested, settings.programs, settings.accounts), (true, Programs::Cast, false));
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!((settings.interval, settings.max_stale), (minutes(5), minutes(24 * 60)));
    assert_eq!(settings.missing(), Some("pgaad.directory_credential"));
    assert_eq!(
        directory(&[("pgaad.cloud", "china")]).graph_url.as_str(),
        "https://microsoftgraph.chinacloudapi.cn"
    );
    let all = directory(&[
        ("pgaad.cloud", "usgov"),
        ("pgaad.graph_url", "https://localhost:8443/"),
        ("pgaad.directory_client_id", AZURE_ID),
        ("pgaad.directory_interval", "60s"),
        ("pgaad.directory_max_stale", "30d"),
        ("pgaad.directory_nested", "off"),
        ("pgaad.directory_programs", "Beta"),
        ("pgaad.directory_accounts", "on"),
    ]);
    assert_eq!(all.graph_url.as_str(), "https://localhost:8443");
    assert_eq!(all.client_id.unwrap().to_string(), AZURE_ID);
    assert_eq!((all.interval, all.max_stale), (minutes(1), minutes(30 * 24 * 60)));
    assert_eq!((all.nested, all.programs, all.accounts), (false, Programs::Beta, true));
    assert_eq!(read(&[("pgaad.directory_max_stale", "2h")]).admit.directory_max_stale, minutes(120));
}

#[test]
fn credentials_are_read_and_some_need_the_application() {
    let credential = |text: &str| directory(&[("pgaad.directory_credential", text)]);
    let path = std::path::PathBuf::from("/etc/pgaad/x");
    for (text, expected, needs_client_id) in [
        ("secret_file:/etc/pgaad/x", Credential::SecretFile(path.clone()), true),
        ("certificate: /etc/pgaad/x", Credential::Certificate(path.clone()), true),
        ("federated:/etc/pgaad/x", Credential::Federated(path.clone()), true),
        ("imds", Credential::Imds(None), false),
        (
            "imds:123cd850-d9df-40bd-94d5-c9f07b7fa203",
            Credential::Imds(Some(AZURE_ID.parse().unwrap())),
            false,
        ),
        ("arc", Credential::Arc, false),
    ] {
        let settings = credential(text);
        let file = needs_client_id.then_some(&path);
        assert_eq!(settings.credential.as_ref().and_then(Credential::file), file, "{text}");
        assert_eq!(settings.missing(), needs_client_id.then_some("pgaad.directory_client_id"), "{text}");
        assert_eq!(settings.credential, Some(expected));
    }
    let whole = [("pgaad.directory_credential", "secret_file:/x"), ("pgaad.directory_client_id", AZURE_ID)];
    assert_eq!(directory(&whole).missing(), None);
}

#[test]
fn wrong_setting_of_the_directory_leaves_the_others_alone() {
    for (name, text) in [
        ("pgaad.directory", "maybe"),
        ("pgaad.graph_url", "http://graph.microsoft.com"),
        ("pgaad.graph_url", "https://graph.microsoft.com/v1.0"),
        ("pgaad.directory_credential", "s3cr3t"),
        ("pgaad.directory_credential", "secret_file:relative"),
        ("pgaad.directory_credential", "secret_file"),
        ("pgaad.directory_credential", "imds:me"),
        ("pgaad.directory_credential", "arc:/etc"),
        ("pgaad.directory_client_id", "pgaad"),
        ("pgaad.directory_interval", "1s"),
        ("pgaad.directory_interval", "2d"),
        ("pgaad.directory_max_stale", "59s"),
        ("pgaad.directory_max_stale", "31d"),
        ("pgaad.directory_nested", "yes"),
        ("pgaad.directory_programs", "on"),
        ("pgaad.directory_accounts", "yes"),
    ] {
        let settings = read(&[(name, text)]);
        let reason = settings.directory.expect_err(text);
        assert!(matches!(reason, Reason::SettingInvalid { setting, .. } if setting == name), "{reason:?}");
        assert_eq!(settings.admit.directory_max_stale, Duration::ZERO, "its word lets nobody in");
    }
    assert!(is_on(&with(&[("pgaad.directory", "maybe")])).is_err());
}
