//! The settings of `postgresql.conf`: registered, read ahead of all logins, and read again.

use std::sync::OnceLock;
use std::time::Duration;

use pgaad_core::Reason;
use pgaad_core::gate::GuardTrust;
use pgaad_core::settings::table::Setting;
use pgaad_core::settings::{self, Settings, Source};
use pgaad_provider::is_proxy;
use pgrx::GucSetting;

use crate::pg::port::Port;
use crate::pg::report;
use crate::pg::setting;

static VALIDATE_OIDS: GucSetting<bool> = GucSetting::<bool>::new(true);
static GROUP_SYNC: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Registers all settings. Call once, from `_PG_init`.
pub(crate) fn define() {
    setting::define_all();
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

/// The values in force, but for one that somebody is about to write.
struct Texts<'a> {
    about_to_be: Option<(&'a str, &'a str)>,
}

const IN_FORCE: Texts<'_> = Texts { about_to_be: None };

impl Source for Texts<'_> {
    fn text(&self, setting: &'static Setting) -> String {
        match self.about_to_be {
            Some((name, value)) if name.eq_ignore_ascii_case(setting.name()) => value.to_owned(),
            _ => setting::text(setting),
        }
    }

    fn bool(&self, text: &str) -> Option<bool> {
        setting::parse_bool(text)
    }

    fn duration(&self, text: &str) -> Option<Duration> {
        setting::parse_duration(text)
    }

    fn bytes(&self, text: &str) -> Option<usize> {
        setting::parse_bytes(text)
    }

    fn is_proxy(&self, text: &str) -> bool {
        is_proxy(text)
    }
}

/// Reads the values in force.
///
/// # Errors
/// As [`Settings::read`].
pub(crate) fn read() -> Result<Settings, Reason> {
    Settings::read(&IN_FORCE)
}

/// `pgaad.guard_trust`, whatever the other settings are.
///
/// # Errors
/// As [`settings::guard_trust`].
pub(crate) fn guard_trust() -> Result<GuardTrust, Reason> {
    settings::guard_trust(&IN_FORCE)
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
        Self { texts: setting::texts(), settings: read() }
    }
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
pub(crate) fn of_login(_: Port) -> Result<&'static Settings, Reason> {
    static AFRESH: OnceLock<Reading> = OnceLock::new();
    static CHOSEN: OnceLock<&Reading> = OnceLock::new();
    let at_start = || AT_START.get().filter(|reading| reading.texts == setting::texts());
    let reading = CHOSEN.get_or_init(|| at_start().unwrap_or_else(|| AFRESH.get_or_init(Reading::now)));
    reading.settings.as_ref().map_err(Reason::clone)
}

/// Warns who has set a setting, by `ALTER SYSTEM`, to a value that cannot be used: nothing tells them otherwise until
/// the next reload locks everybody out.
pub(crate) fn advise_of(name: &str, value: &str) {
    let texts = Texts { about_to_be: Some((name, value)) };
    let Err(Reason::SettingInvalid { setting, value, expected }) = Settings::read(&texts) else {
        return;
    };
    let value = value.map_or_else(|| "have this value".to_owned(), |value| format!("be \"{value}\""));
    report::caution(
        format!("{setting} cannot {value}: from the next reload on nobody logs in with a token"),
        format!("It may be {expected}. To take the value back: ALTER SYSTEM RESET {setting};"),
    );
}
