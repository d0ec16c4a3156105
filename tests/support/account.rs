//! The operating-system account that servers run under: they refuse to run as root.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The account that the servers run under, when that is not the account of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Whether the tests run as root: only then can they write a PAM service file or make a network namespace.
pub fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0))
}

/// Whether the tests can become root without being asked for a password.
pub fn may_sudo() -> bool {
    static SUDO: OnceLock<bool> = OnceLock::new();
    *SUDO.get_or_init(|| {
        let tried = Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

/// A command that runs as root: by sudo, unless the tests do.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

impl Account {
    /// `postgres` when the tests run as root; otherwise the servers run under the account of the tests.
    pub fn of_servers() -> Option<Account> {
        static ACCOUNT: OnceLock<Option<Account>> = OnceLock::new();
        *ACCOUNT.get_or_init(|| is_root().then(|| Account::named("postgres")))
    }

    fn named(name: &str) -> Account {
        let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))
            .and_then(|fields| {
                Some(Account { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
            })
            .unwrap_or_else(|| {
                panic!("no operating-system user {name}: is the PostgreSQL package installed?")
            })
    }
}

/// A command that will run under the servers' account, with an environment of its own.
///
/// Variables such as `PGHOST` or `PGDATA` of the person who runs the tests must not reach it.
pub fn server_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    clean_environment(&mut command);
    // As a careless operator might have it: a backtrace must tell a stranger nothing, either.
    command.env("RUST_BACKTRACE", "1");
    if let Some(account) = Account::of_servers() {
        command.uid(account.uid).gid(account.gid).current_dir("/");
    }
    command
}

/// Replaces the environment by the little that PostgreSQL's programs need.
pub fn clean_environment(command: &mut Command) {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
}

/// Gives a file or directory to the servers' account.
pub fn give_to_servers(path: &Path) {
    if let Some(account) = Account::of_servers() {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    }
}
