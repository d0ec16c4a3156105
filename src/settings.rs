//! The settings: their names, defaults and meaning, and the typed policy they add up to.
//!
//! A value that cannot be used refuses every login that is ours, with the setting's name in the
//! log; it never falls back to a default that the operator did not write.

use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use pgaad_core::Reason;
use pgaad_core::admit::AdmitPolicy;
use pgaad_core::app_role::are_of_one_application;
use pgaad_core::gate::{GatePolicy, GuardTrust, OtherMethods};
use pgaad_core::guid::ObjectId;
use pgaad_core::refresh::RefreshPolicy;
use pgaad_core::tenant::{Cloud, NotAnAuthority, Tenant};
use pgaad_core::verify::TokenPolicy;
use pgaad_provider::is_proxy;
use pgrx::GucSetting;

use crate::pg::port::Port;
use crate::pg::report;
use crate::pg::setting::{self, TextSetting};
use crate::pg::shmem::MAX_PATH_BYTES;

macro_rules! settings {
    ($( $item:ident $name:literal $default:literal $description:literal $($hidden:ident)?; )+) => {
        $( static $item: TextSetting = TextSetting::new($name, $default)$(.$hidden())?; )+

        /// Registers all settings. Call once, from `_PG_init`.
        pub(crate) fn define() {
            $( $item.define($description); )+
            setting::define_user_bool(
                &VALIDATE_OIDS,
                c"aad_validate_oids_in_tenant",
                c"Accepted for scripts written for Azure Single Server; has no effect: there is no directory to ask.",
            );
            setting::define_fixed_bool(
                &GROUP_SYNC,
                c"pgaadauth.enable_group_sync",
                c"Shown for scripts written for Azure; always off: roles are not made for the members of groups.",
            );
            #[cfg(feature = "fault_injection")]
            crate::pg::fault::define();
            setting::reserve_prefix();
        }

        /// The text of every setting under `pgaad.`.
        fn texts() -> Vec<String> {
            vec![ $( $item.text(), )+ ]
        }

        /// Name and default of every setting under `pgaad.`, as the README lists them.
        pub(crate) const TABLE: &[(&CStr, &CStr)] = &[ $( ($name, $default), )+ ];
    };
}

settings! {
    TENANT_ID c"pgaad.tenant_id" c""
        c"GUID of the Entra tenant whose tokens are accepted. Empty refuses every token.";
    CLOUD c"pgaad.cloud" c"public"
        c"Microsoft cloud of the tenant: public, usgov or china.";
    AUDIENCE c"pgaad.audience" c""
        c"Accepted audiences, separated by commas. Empty means the cloud's Azure database resource.";
    SCOPE c"pgaad.scope" c""
        c"Accepted scopes of users' tokens, separated by commas; one of them must be in scp. Empty accepts any.";
    AUTHORITY c"pgaad.authority" c""
        c"Base URL of the identity provider, https only. Empty means the cloud's.";
    CA_FILE c"pgaad.ca_file" c""
        c"PEM file of certificate authorities to trust for the provider besides the system's.";
    HTTPS_PROXY c"pgaad.https_proxy" c""
        c"Proxy for reaching the provider, http://host:port. Environment variables are ignored." hidden;
    JWKS_FILE c"pgaad.jwks_file" c""
        c"File with the tenant's JWK set, for machines that cannot reach the provider; read again on reload.";
    REFRESH_INTERVAL c"pgaad.refresh_interval" c"1h"
        c"Time between regular fetches of the keys.";
    REFRESH_COOLDOWN c"pgaad.refresh_cooldown" c"30s"
        c"Least time between fetches that logins with unknown keys can cause.";
    MAX_STALE c"pgaad.max_stale" c"24h"
        c"How long the last good keys serve while the provider is away, or jwks_file is not replaced.";
    KEY_WAIT c"pgaad.key_wait" c"3s"
        c"How long a login with an unknown key waits for the fetch it caused.";
    CLOCK_SKEW c"pgaad.clock_skew" c"300s"
        c"By how much the clocks of Entra and this server may differ.";
    MAX_TOKEN_BYTES c"pgaad.max_token_bytes" c"32kB"
        c"Longest token accepted.";
    REQUIRE_TLS c"pgaad.require_tls" c"on"
        c"Ask for a token only over TLS, GSS encryption, a Unix socket or loopback.";
    NAME_MATCH c"pgaad.name_match" c"on"
        c"Admit a role without object id to the user or program whose name it has.";
    GROUP_NAME_MATCH c"pgaad.group_name_match" c"off"
        c"Admit a role without object id to the members of the group whose name it has. Group names are not unique.";
    ALLOW_TRUST c"pgaad.allow_trust" c"off"
        c"Ask members of azure_ad_user for a token on trust lines; off refuses them there.";
    ALLOW_SUPERUSER c"pgaad.allow_superuser" c"off"
        c"Admit superusers with a token.";
    ALLOW_OTHER_METHODS c"pgaad.allow_other_methods" c"off"
        c"Methods without a token by which members of azure_ad_user may log in: off, on (all but trust), or a list.";
    GUARD_TRUST c"pgaad.guard_trust" c"remote"
        c"Which trust logins of other roles to refuse: remote, all or off.";
    SERVER_NAME c"pgaad.server_name" c""
        c"Server name that user names may end with, as user@tenant@server; the role is the one without it.";
    LOG_LOGINS c"pgaad.log_logins" c"all"
        c"Which decisions to log: all, refused or none.";
    SESSION_END c"pgaad.session_end" c"never"
        c"When to end a session: never, or token, when its token expires.";
}

static VALIDATE_OIDS: GucSetting<bool> = GucSetting::<bool>::new(true);
static GROUP_SYNC: GucSetting<bool> = GucSetting::<bool>::new(false);

/// `pgaad.log_logins`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLogins {
    /// Every decision.
    All,
    /// Refusals.
    Refused,
    /// Nothing.
    None,
}

/// All settings, typed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None` while `pgaad.tenant_id` is empty.
    pub(crate) token: Option<TokenPolicy>,
    pub(crate) admit: AdmitPolicy,
    pub(crate) refresh: RefreshPolicy,
    pub(crate) key_wait: Duration,
    pub(crate) max_token_bytes: usize,
    pub(crate) require_tls: bool,
    pub(crate) gate: GatePolicy,
    pub(crate) log_logins: LogLogins,
    /// `pgaad.session_end` is `token`.
    pub(crate) ends_sessions: bool,
    pub(crate) server_name: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) https_proxy: Option<String>,
    pub(crate) jwks_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the values in force.
    ///
    /// # Errors
    /// [`Reason::SettingInvalid`] names the first setting whose value cannot be used.
    pub(crate) fn read() -> Result<Self, Reason> {
        let cloud = CLOUD.one_of(&Cloud::ALL.map(|cloud| (cloud.name(), cloud)))?;
        let authority = AUTHORITY.optional(&NotAnAuthority.to_string(), |text| text.parse().ok())?;
        let tenant = TENANT_ID
            .optional(A_TENANT_ID, |text| text.parse().ok())?
            .map(|id| Tenant::new(id, cloud, authority));
        let audiences = audiences(cloud)?;
        let scopes = SCOPE.optional("scopes, separated by commas", scopes)?.unwrap_or_default();
        let clock_skew = CLOCK_SKEW.duration(Duration::ZERO, Duration::from_secs(3_600))?;
        guard_trust()?;
        let app_roles = are_of_one_application(&audiences);
        Ok(Self {
            token: tenant.map(|tenant| TokenPolicy {
                tenant,
                audiences,
                scopes,
                line_scopes: Vec::new(),
                clock_skew,
            }),
            admit: AdmitPolicy {
                name_match: NAME_MATCH.bool()?,
                group_name_match: GROUP_NAME_MATCH.bool()?,
                allow_superuser: ALLOW_SUPERUSER.bool()?,
                app_roles,
            },
            refresh: RefreshPolicy {
                interval: REFRESH_INTERVAL.duration(Duration::from_secs(10), DAY)?,
                cooldown: REFRESH_COOLDOWN.duration(Duration::from_secs(1), DAY)?,
                max_stale: MAX_STALE.duration(Duration::from_secs(60), 30 * DAY)?,
            },
            key_wait: KEY_WAIT.duration(Duration::ZERO, Duration::from_secs(60))?,
            max_token_bytes: max_token_bytes()?,
            require_tls: REQUIRE_TLS.bool()?,
            gate: GatePolicy {
                allow_trust: ALLOW_TRUST.bool()?,
                other_methods: ALLOW_OTHER_METHODS.typed(|| SOME_METHODS.to_owned(), other_methods)?,
            },
            log_logins: LOG_LOGINS.one_of(&[
                ("all", LogLogins::All),
                ("refused", LogLogins::Refused),
                ("none", LogLogins::None),
            ])?,
            ends_sessions: SESSION_END.one_of(&[("never", false), ("token", true)])?,
            server_name: SERVER_NAME.optional("a name", |text| Some(text.to_owned()))?,
            ca_file: CA_FILE.optional(A_PATH, absolute_path)?,
            https_proxy: HTTPS_PROXY
                .optional("http://host:port", |text| is_proxy(text).then(|| text.to_owned()))?,
            jwks_file: JWKS_FILE.optional(A_PATH, absolute_path)?,
        })
    }

    /// Reads the values in force ahead of all logins. Call once, from `_PG_init`.
    pub(crate) fn read_ahead() {
        // Whatever goes wrong here refuses logins, and must not keep the server from starting.
        if let Ok(reading) = report::catch_errors(|| Ok::<_, Reason>(Reading::now())) {
            let _ = AT_START.set(reading);
        }
    }

    /// The values in force for the login of this connection: no backend reads `postgresql.conf` again before its login
    /// is over (postgres.c, `PostgresMain`).
    ///
    /// They are those that were read when the server started, as long as all texts are still the same: in a process
    /// just forked reading costs as much as half a verification.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub(crate) fn of_login(_: Port) -> Result<&'static Self, Reason> {
        static AFRESH: OnceLock<Reading> = OnceLock::new();
        static CHOSEN: OnceLock<&Reading> = OnceLock::new();
        let at_start = || AT_START.get().filter(|reading| reading.texts == texts());
        let reading = CHOSEN.get_or_init(|| at_start().unwrap_or_else(|| AFRESH.get_or_init(Reading::now)));
        reading.settings.as_ref().map_err(Reason::clone)
    }
}

/// The default of a setting, where it lets nobody in whom another value would keep out: only then may a hint put it in
/// the place of a value that cannot be used, whose author may have meant a stricter one. (By `pgaad.clock_skew` a token
/// lives minutes longer, and no more.)
pub(crate) fn strict_default(name: &str) -> Option<String> {
    const OPEN: [&str; 6] = [
        "pgaad.audience",
        "pgaad.scope",
        "pgaad.name_match",
        "pgaad.guard_trust",
        "pgaad.max_stale",
        "pgaad.session_end",
    ];
    let of_name = |(found, default): &(&CStr, &CStr)| {
        (found.to_bytes() == name.as_bytes()).then(|| default.to_string_lossy().into_owned())
    };
    // A setting without a default, such as the tenant's id, has nothing to paste.
    TABLE.iter().find_map(of_name).filter(|default| !default.is_empty() && !OPEN.contains(&name))
}

/// Warns who has set a setting, by `ALTER SYSTEM`, to a value that cannot be used: nothing tells them otherwise until
/// the next reload locks everybody out.
pub(crate) fn advise_of(name: &str, value: &str) {
    let Err(Reason::SettingInvalid { setting, value, expected }) =
        setting::with_value(name, value, Settings::read)
    else {
        return;
    };
    let value = value.map_or_else(|| "have this value".to_owned(), |value| format!("be \"{value}\""));
    report::caution(
        format!("{setting} cannot {value}: from the next reload on nobody logs in with a token"),
        format!("It may be {expected}. To take the value back: ALTER SYSTEM RESET {setting};"),
    );
}

/// What the postmaster read when it loaded the library, and every backend inherits.
static AT_START: OnceLock<Reading> = OnceLock::new();

/// All settings, and the texts that they were read from.
struct Reading {
    texts: Vec<String>,
    settings: Result<Settings, Reason>,
}

impl Reading {
    fn now() -> Self {
        Self { texts: texts(), settings: Settings::read() }
    }
}

/// What settings may be.
const A_TENANT_ID: &str = "the id of a tenant, which is a GUID and no domain name: \
                           az account show --query tenantId --output tsv";
const SOME_METHODS: &str = "on, off, or a list of methods of pg_hba.conf, without trust and reject";
const SOME_AUDIENCES: &str = "the aud of tokens, as an application id or its URI, without /.default or quotes; several \
                              are separated by commas";
const A_PATH: &str = "an absolute path";

const DAY: Duration = Duration::from_secs(86_400);

/// `pgaad.guard_trust`. Apart from the other settings, since it is about logins of roles that are not Entra's: those do
/// not depend on whether the rest can be used.
///
/// # Errors
/// [`Reason::SettingInvalid`].
pub(crate) fn guard_trust() -> Result<GuardTrust, Reason> {
    GUARD_TRUST.one_of(&[("remote", GuardTrust::Remote), ("all", GuardTrust::All), ("off", GuardTrust::Off)])
}

fn other_methods(text: &str) -> Option<OtherMethods> {
    match setting::parse_bool(text) {
        Some(true) => Some(OtherMethods::ALL),
        Some(false) => Some(OtherMethods::NONE),
        None => OtherMethods::parse(text),
    }
}

/// A relative path would mean the data directory to one process and something else to a person.
fn absolute_path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| path.is_absolute() && text.len() <= MAX_PATH_BYTES)
}

fn audiences(cloud: Cloud) -> Result<Vec<String>, Reason> {
    let set = AUDIENCE.optional(SOME_AUDIENCES, |text| text.split(',').map(audience).collect())?;
    Ok(set.unwrap_or_else(|| cloud.default_audiences().iter().map(|&audience| audience.to_owned()).collect()))
}

/// An accepted audience. A text that no token can have, since it was copied with something else, is refused.
fn audience(entry: &str) -> Option<String> {
    let entry = entry.trim();
    let is_one = !entry.is_empty()
        && !entry.ends_with("/.default")
        && !entry.contains(|c: char| c.is_whitespace() || "'\"`;".contains(c));
    // Tokens write application ids in lower case.
    let id = || entry.parse::<ObjectId>().map_or_else(|_| entry.to_owned(), |id| id.to_string());
    is_one.then(id)
}

fn max_token_bytes() -> Result<usize, Reason> {
    MAX_TOKEN_BYTES.typed(
        || "1024B to 65535B: a whole number of bytes, or of a unit after it: B or kB".to_owned(),
        |text| setting::parse_bytes(text).filter(|bytes| (1_024..=65_535).contains(bytes)),
    )
}

/// Scopes are words: `scp` separates them by spaces, a list of ours by commas or spaces.
fn scopes(text: &str) -> Option<Vec<String>> {
    let scopes: Vec<_> =
        text.split([',', ' ']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    // A list of nothing must not pass for no list, which accepts any.
    (!scopes.is_empty()).then_some(scopes)
}

impl TextSetting {
    /// `expected` says what the value may be.
    fn typed<T>(
        &self,
        expected: impl FnOnce() -> String,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Reason> {
        let text = self.text();
        parse(text.trim()).ok_or_else(|| Reason::SettingInvalid {
            setting: self.name(),
            value: (!self.is_hidden()).then_some(text),
            expected: expected(),
        })
    }

    /// Empty means not set.
    fn optional<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        let parse = |text: &str| if text.is_empty() { Some(None) } else { parse(text).map(Some) };
        self.typed(|| expected.to_owned(), parse)
    }

    fn bool(&self) -> Result<bool, Reason> {
        self.typed(|| "on or off".to_owned(), setting::parse_bool)
    }

    fn duration(&self, least: Duration, most: Duration) -> Result<Duration, Reason> {
        let (from, to) = (least.as_secs(), most.as_secs());
        let expected =
            || format!("{from}s to {to}s: a whole number of seconds, or of a unit after it: s, min, h or d");
        self.typed(expected, |text| {
            setting::parse_duration(text).filter(|span| (least..=most).contains(span))
        })
    }

    /// Words are compared without regard to case, as core's enumerations are.
    fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Reason> {
        let expected = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", or ");
        self.typed(expected, |text| {
            words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn the_readme_lists_every_setting_with_its_default_and_no_other() {
        let readme = include_str!("../README.md");
        let rows = || readme.lines().filter(|line| line.starts_with("| `pgaad."));
        for (name, default) in TABLE {
            let (name, default) = (name.to_str().unwrap(), default.to_str().unwrap());
            let default = if default.is_empty() { "''" } else { default };
            let head = format!("| `{name}` | `{default}` | ");
            assert!(rows().any(|row| row.starts_with(&head)), "the README should have a row {head}");
        }
        assert_eq!(rows().count(), TABLE.len());
    }
}
