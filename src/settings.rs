//! The settings of `postgresql.conf`: registered, read ahead of all logins, and read again.

use std::sync::OnceLock;
use std::time::Duration;

use pgaad_core::Reason;
use pgaad_core::gate::GuardTrust;
use pgaad_core::settings::table::Setting;
use pgaad_core::settings::{self, Settings, Source, directory};
use pgaad_provider::is_proxy;
use pgrx::GucSetting;

use crate::pg::port::Port;
use crate::pg::reload::Line;
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
        c"Whether a role that joins azure_ad_user is looked up in the directory, as on Azure Single Server.",
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

/// Which values are read.
enum Texts<'a> {
    /// Those in force.
    InForce,
    /// Those in force, but for one that was written with `ALTER SYSTEM`: its name and its value.
    With(&'a str, &'a str),
    /// Those that a reload takes from the files. A setting that no line names has its default.
    OfLines(&'a [Line]),
}

impl Source for Texts<'_> {
    fn text(&self, setting: &'static Setting) -> String {
        match self {
            Self::With(name, value) if is_named(setting.name(), name) => (*value).to_owned(),
            Self::InForce | Self::With(..) => setting::text(setting),
            Self::OfLines(lines) => line_of(lines, setting.name()).map_or_else(
                || setting.default_value().to_string_lossy().into_owned(),
                |line| line.value.clone(),
            ),
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
    Settings::read(&Texts::InForce)
}

/// `pgaad.guard_trust`, whatever the other settings are.
///
/// # Errors
/// As [`settings::guard_trust`].
pub(crate) fn guard_trust() -> Result<GuardTrust, Reason> {
    settings::guard_trust(&Texts::InForce)
}

/// Whether the directory is read: what `pgaad.directory` said when the server started, since only a restart changes it.
/// A value that cannot be used means no.
pub(crate) fn has_directory() -> bool {
    static HAS_DIRECTORY: OnceLock<bool> = OnceLock::new();
    *HAS_DIRECTORY.get_or_init(|| directory::is_on(&Texts::InForce).unwrap_or(false))
}

/// Whether who puts a role into `azure_ad_user` has it looked up: Azure Single Server's setting, which everybody may
/// set.
pub(crate) fn validates_oids() -> bool {
    VALIDATE_OIDS.get()
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
    has_directory();
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
    advise(&Texts::With(name, value), "from the next reload on", |setting| {
        format!("To take the value back: ALTER SYSTEM RESET {setting};")
    });
}

/// Warns who has the files loaded, by `pg_reload_conf()`, of a value that cannot be used.
pub(crate) fn advise_of_lines(lines: &[Line]) {
    advise(&Texts::OfLines(lines), "from this reload on", |setting| match line_of(lines, setting) {
        Some(Line { file, .. }) if file == AUTO_CONF => {
            format!("To take the value back: ALTER SYSTEM RESET {setting}; SELECT pg_reload_conf();")
        }
        Some(Line { file, number, .. }) => {
            format!("Correct line {number} of {file}, then: SELECT pg_reload_conf();")
        }
        None => String::new(),
    });
}

const AUTO_CONF: &str = "postgresql.auto.conf";

fn advise(texts: &Texts<'_>, since: &str, cure: impl FnOnce(&str) -> String) {
    let (reason, consequence) = match Settings::read(texts) {
        Err(reason) => (reason, "nobody logs in with a token"),
        Ok(Settings { directory: Err(reason), .. }) => (reason, "the directory is not read"),
        Ok(_) => return,
    };
    let Reason::SettingInvalid { setting, value, expected } = reason else { return };
    let value = value.map_or_else(|| "have this value".to_owned(), |value| format!("be \"{value}\""));
    report::caution(
        format!("{setting} cannot {value}: {since} {consequence}"),
        format!("It may be {expected}. {}", cure(setting)),
    );
}

/// The line that counts for a setting: the last.
fn line_of<'a>(lines: &'a [Line], setting: &str) -> Option<&'a Line> {
    lines.iter().rev().find(|line| is_named(setting, &line.name))
}

/// Names of settings are compared without regard to case (guc.c, `guc_name_compare`).
fn is_named(setting: &str, name: &str) -> bool {
    setting.eq_ignore_ascii_case(name)
}
