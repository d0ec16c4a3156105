//! The typed policy that the texts of the settings add up to.
//!
//! A value that cannot be used refuses every login that is ours, with the setting's name in the
//! log; it never falls back to a default that the operator did not write.

pub mod directory;
pub mod table;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use crate::admit::AdmitPolicy;
use crate::app_role::are_of_one_application;
use crate::gate::{GatePolicy, GuardTrust, OtherMethods};
use crate::reason::Reason;
use crate::refresh::RefreshPolicy;
use crate::tenant::{Cloud, NotAnAuthority, Tenant};
use crate::verify::TokenPolicy;

use directory::DirectorySettings;
use table::Setting;
use values::{DAY, Value, audience, scopes, tenant_ids};
pub use values::{MAX_PATH_BYTES, MAX_TENANTS, Source};

/// `pgaad.log_logins`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLogins {
    /// Every decision.
    All,
    /// Refusals.
    Refused,
    /// Nothing.
    None,
}

/// All settings, typed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a token must be; `None` while `pgaad.tenant_id` is empty.
    pub token: Option<TokenPolicy>,
    /// What a role must be.
    pub admit: AdmitPolicy,
    /// When keys are fetched.
    pub refresh: RefreshPolicy,
    /// `pgaad.key_wait`.
    pub key_wait: Duration,
    /// `pgaad.max_token_bytes`.
    pub max_token_bytes: usize,
    /// `pgaad.require_tls`.
    pub require_tls: bool,
    /// Which methods of `pg_hba.conf` members may use.
    pub gate: GatePolicy,
    /// `pgaad.admins_make_admins`.
    pub admins_make_admins: bool,
    /// `pgaad.log_logins`.
    pub log_logins: LogLogins,
    /// `pgaad.session_end` is `token`, or `directory`, which is the token's end too.
    pub ends_sessions: bool,
    /// `pgaad.session_end` is `directory`.
    pub directory_ends_sessions: bool,
    /// `pgaad.server_name`.
    pub server_name: Option<String>,
    /// `pgaad.ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `pgaad.https_proxy`.
    pub https_proxy: Option<String>,
    /// `pgaad.jwks_file`.
    pub jwks_file: Option<PathBuf>,
    /// Those of the directory, or which one cannot be used: then its word lets nobody in, and other logins go on.
    pub directory: Result<DirectorySettings, Reason>,
}

impl Settings {
    /// Reads the values in force.
    ///
    /// # Errors
    /// [`Reason::SettingInvalid`] names the first setting whose value cannot be used.
    pub fn read(source: &impl Source) -> Result<Self, Reason> {
        let value = |setting| Value::new(source, setting);
        let cloud = value(&table::CLOUD).one_of(&Cloud::ALL.map(|cloud| (cloud.name(), cloud)))?;
        let authority =
            value(&table::AUTHORITY).optional(&NotAnAuthority.to_string(), |text| text.parse().ok())?;
        let tenants = value(&table::TENANT_ID).optional(SOME_TENANT_IDS, tenant_ids)?.unwrap_or_default();
        let mut tenants = tenants.into_iter().map(|id| Tenant::new(id, cloud, authority.clone()));
        let home = tenants.next();
        let audiences: Vec<String> = value(&table::AUDIENCE)
            .optional(SOME_AUDIENCES, |text| text.split(',').map(audience).collect())?
            .unwrap_or_else(|| cloud.default_audiences().iter().map(|&aud| aud.to_owned()).collect());
        let scopes =
            value(&table::SCOPE).optional("scopes, separated by commas", scopes)?.unwrap_or_default();
        let clock_skew = value(&table::CLOCK_SKEW).duration(Duration::ZERO, Duration::from_secs(3_600))?;
        let (ends_sessions, directory_ends_sessions) = value(&table::SESSION_END).one_of(&SESSION_ENDS)?;
        guard_trust(source)?;
        let directory = DirectorySettings::read(source);
        let admit = AdmitPolicy {
            name_match: value(&table::NAME_MATCH).bool()?,
            group_name_match: value(&table::GROUP_NAME_MATCH).bool()?,
            allow_superuser: value(&table::ALLOW_SUPERUSER).bool()?,
            app_roles: are_of_one_application(&audiences),
            directory_max_stale: directory.as_ref().map_or(Duration::ZERO, |directory| directory.max_stale),
            clock_skew,
        };
        Ok(Self {
            token: home.map(|tenant| TokenPolicy {
                tenant,
                others: tenants.collect(),
                is_home: true,
                audiences,
                scopes,
                line_scopes: Vec::new(),
                clock_skew,
            }),
            admit,
            refresh: refresh_policy(source)?,
            key_wait: value(&table::KEY_WAIT).duration(Duration::ZERO, Duration::from_secs(60))?,
            max_token_bytes: value(&table::MAX_TOKEN_BYTES).bytes(1_024, 65_535)?,
            require_tls: value(&table::REQUIRE_TLS).bool()?,
            gate: GatePolicy {
                allow_trust: value(&table::ALLOW_TRUST).bool()?,
                other_methods: value(&table::ALLOW_OTHER_METHODS)
                    .typed(|| SOME_METHODS.to_owned(), |text| other_methods(source, text))?,
            },
            admins_make_admins: value(&table::ADMINS_MAKE_ADMINS).bool()?,
            log_logins: value(&table::LOG_LOGINS).one_of(&LOG_LOGINS)?,
            ends_sessions,
            directory_ends_sessions,
            server_name: value(&table::SERVER_NAME).optional("a name", |text| Some(text.to_owned()))?,
            ca_file: value(&table::CA_FILE).path()?,
            https_proxy: value(&table::HTTPS_PROXY)
                .optional("http://host:port", |text| source.is_proxy(text).then(|| text.to_owned()))?,
            jwks_file: value(&table::JWKS_FILE).path()?,
            directory,
        })
    }
}

/// The words of `pgaad.log_logins`.
const LOG_LOGINS: [(&str, LogLogins); 3] =
    [("all", LogLogins::All), ("refused", LogLogins::Refused), ("none", LogLogins::None)];

/// The words of `pgaad.session_end`: whether the token's end does, and whether the directory does.
const SESSION_ENDS: [(&str, (bool, bool)); 3] =
    [("never", (false, false)), ("token", (true, false)), ("directory", (true, true))];

fn refresh_policy(source: &impl Source) -> Result<RefreshPolicy, Reason> {
    let span = |setting, least, most| Value::new(source, setting).duration(Duration::from_secs(least), most);
    Ok(RefreshPolicy {
        interval: span(&table::REFRESH_INTERVAL, 10, DAY)?,
        cooldown: span(&table::REFRESH_COOLDOWN, 1, DAY)?,
        max_stale: span(&table::MAX_STALE, 60, 30 * DAY)?,
    })
}

/// `pgaad.guard_trust`. Apart from the other settings, since it is about logins of roles that are not Entra's: those do
/// not depend on whether the rest can be used.
///
/// # Errors
/// [`Reason::SettingInvalid`].
pub fn guard_trust(source: &impl Source) -> Result<GuardTrust, Reason> {
    let words = [("remote", GuardTrust::Remote), ("all", GuardTrust::All), ("off", GuardTrust::Off)];
    Value::new(source, &table::GUARD_TRUST).one_of(&words)
}

fn other_methods(source: &impl Source, text: &str) -> Option<OtherMethods> {
    match source.bool(text) {
        Some(true) => Some(OtherMethods::ALL),
        Some(false) => Some(OtherMethods::NONE),
        None => OtherMethods::parse(text),
    }
}

/// The default of a setting, where it lets nobody in whom another value would keep out: only then may a hint put it in
/// the place of a value that cannot be used, whose author may have meant a stricter one. (By `pgaad.clock_skew` a token
/// lives minutes longer, and no more.)
pub fn strict_default(name: &str) -> Option<&'static str> {
    const OPEN: [&Setting; 9] = [
        &table::AUDIENCE,
        &table::SCOPE,
        &table::NAME_MATCH,
        &table::GUARD_TRUST,
        &table::MAX_STALE,
        &table::SESSION_END,
        &table::DIRECTORY_MAX_STALE,
        &table::DIRECTORY_NESTED,
        &table::DIRECTORY_ACCOUNTS,
    ];
    let setting = table::TABLE.into_iter().find(|setting| setting.name() == name)?;
    let default = setting.default_value().to_str().ok()?;
    // A setting without a default, such as the tenant's id, has nothing to paste.
    (!default.is_empty() && !OPEN.contains(&setting)).then_some(default)
}

/// What settings may be.
const SOME_TENANT_IDS: &str = "the id of a tenant, which is a GUID and no domain name: \
                               az account show --query tenantId --output tsv; up to 8, separated by commas";
const SOME_METHODS: &str = "on, off, or a list of methods of pg_hba.conf, without trust and reject";
const SOME_AUDIENCES: &str = "the aud of tokens, as an application id or its URI, without /.default or quotes; several \
                              are separated by commas";
