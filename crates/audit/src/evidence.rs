//! What the checks look at.

use pgaad_core::Reason;
use pgaad_core::verify::TokenPolicy;

use crate::hba::{self, Line, Lines, Member};
use crate::pam_file::PamFiles;

/// What a server says of itself, gathered once.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The settings in force, or the first that cannot be used.
    pub settings: Result<Settings, Reason>,
    /// The lines of `pg_hba.conf`, or what is wrong with the file.
    pub lines: Result<Vec<Line>, String>,
    /// Those files of the lines that were changed and not loaded since.
    pub changed_files: Vec<String>,
    /// The members of `azure_ad_user`, as far as they are known.
    pub members: Vec<Member>,
    /// The PAM service files that lines ask.
    pub pam_files: PamFiles,
    /// `shared_preload_libraries`.
    pub preloaded: String,
    /// The library that was loaded later and stands before pgaad.
    pub outer_library: Option<String>,
    /// What only a moment tells; `None` where it was not asked for.
    pub moment: Option<Moment>,
}

/// The settings that checks look at.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `None` while `pgaad.tenant_id` is empty.
    pub token: Option<TokenPolicy>,
    /// Those that change what a line means.
    pub of_lines: hba::Settings,
}

/// The state of a tenant's keys.
#[derive(Clone, Debug, Default)]
pub struct KeysOfTenant {
    /// The tenant's id; `None` for the first of `pgaad.tenant_id`.
    pub tenant: Option<String>,
    /// Why there are no keys for a login, in words.
    pub no_keys: Option<String>,
    /// Why the last fetch failed, by code and in words.
    pub last_error: Option<String>,
    /// How old the keys are, in seconds.
    pub key_age: i64,
    /// How many keys there are.
    pub keys: usize,
    /// How many of them do not say whose tokens they sign.
    pub keys_without_issuer: usize,
}

/// The state of the keys and of the clock.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// `max_worker_processes`, if that left no room for the key worker: it has not run since the server's start.
    pub slots_without_worker: Option<i32>,
    /// The same of the worker that ends sessions of who is shut out.
    pub slots_without_session_worker: Option<i32>,
    /// The data directory.
    pub data_directory: String,
    /// What is wrong with `keys.json`, in words.
    pub snapshot_problem: Option<String>,
    /// The keys of each tenant.
    pub tenants: Vec<KeysOfTenant>,
    /// By how many seconds the server's clock is ahead of the provider's, where that is known.
    pub clock_ahead: Option<i64>,
    /// The directory; `None` while `pgaad.directory` is off.
    pub directory: Option<Directory>,
}

/// The state of the directory; none while `pgaad.directory` is off.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// What keeps it from being read at all: a setting that is missing or cannot be used, in words.
    pub problem: Option<String>,
    /// `max_worker_processes`, if that left no room for its worker.
    pub slots_without_worker: Option<i32>,
    /// Whether no run has ended yet.
    pub is_first_run: bool,
    /// Why the last run failed: its code, and the same in words.
    pub last_error: Option<(String, String)>,
    /// The file of the credential, and what makes it readable by others, as the end of a sentence.
    pub open_secret: Option<(String, String)>,
    /// How long the credential is still valid, in seconds, where that can be told.
    pub credential_expires_in: Option<i64>,
    /// The permissions that Graph's token names; `None` where it does not tell.
    pub permissions: Option<Vec<String>>,
    /// Whether accounts are read.
    pub accounts: bool,
    /// The groups that roles are bound to.
    pub groups: Vec<Group>,
}

/// A group that a role is bound to.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its display name, where it was ever read.
    pub name: Option<String>,
    /// Whether its members get in by the directory now.
    pub is_ready: bool,
    /// How long ago it was read, in seconds; `None` where it never was, or that is lost.
    pub age: Option<i64>,
    /// Why it was not read the last time: its code.
    pub error: Option<String>,
    /// `securityEnabled`.
    pub is_security: Option<bool>,
}

/// Of a server that has nothing yet: no tenant, no lines.
impl Default for Evidence {
    fn default() -> Self {
        Self {
            settings: Ok(Settings { token: None, of_lines: hba::Settings::STRICTEST }),
            lines: Ok(Vec::new()),
            changed_files: Vec::new(),
            members: Vec::new(),
            pam_files: PamFiles::default(),
            preloaded: String::new(),
            outer_library: None,
            moment: None,
        }
    }
}

impl Evidence {
    /// The policy for tokens: none while settings cannot be read, or no tenant is set.
    pub(crate) fn policy(&self) -> Option<&TokenPolicy> {
        self.settings.as_ref().ok()?.token.as_ref()
    }

    /// The lines: none while their file cannot be read. The strictest settings count while those in force cannot be.
    pub(crate) fn lines(&self) -> Option<Lines<'_>> {
        let settings = self.settings.as_ref().map_or(hba::Settings::STRICTEST, |settings| settings.of_lines);
        Some(Lines::new(self.lines.as_ref().ok()?, settings, &self.members))
    }
}
