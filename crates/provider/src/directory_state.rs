//! What is known of the last runs: `pgaad/directory.json` in the data directory, which the worker writes and the views
//! read. It decides nothing.

use std::io;
use std::path::{Path, PathBuf};

use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::data_file;
use crate::directory_run::{DirectoryReport, RunError};
use crate::file;

/// Of the file: ten thousand groups.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What is known of all tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryState {
    /// Each tenant, the first one first.
    pub tenants: Vec<TenantState>,
}

/// How the directory of one tenant was read last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantState {
    /// Its id.
    pub tenant: String,
    /// When the last run began and ended, seconds since 1970.
    pub began_at: i64,
    /// See above.
    pub ended_at: i64,
    /// When the last run began in which nothing failed.
    pub last_success: Option<i64>,
    /// What failed first in the last run: its code, and words.
    pub error: Option<Failure>,
    /// The permissions that Graph's token named.
    pub permissions: Option<Vec<String>>,
    /// When the credential expires, where that can be told.
    pub credential_expires: Option<i64>,
    /// Questions to Graph in the last run, and the bytes of its answers.
    pub requests: u64,
    /// See above.
    pub bytes: u64,
    /// How many accounts the last run has read; `None` where it has not.
    pub accounts: Option<usize>,
    /// Each group that a role is bound to.
    pub groups: Vec<GroupState>,
}

/// Why something was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable name.
    pub code: String,
    /// The facts in words.
    pub words: Option<String>,
    /// Since when, seconds since 1970.
    pub since: i64,
}

/// What is known of a group beside its members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Its id.
    pub group: String,
    /// `displayName`, as it was last read.
    pub name: Option<String>,
    /// `securityEnabled`, as it was last read.
    pub is_security: Option<bool>,
    /// Why it was not read.
    pub error: Option<Failure>,
}

impl DirectoryState {
    fn path(data_directory: &Path) -> PathBuf {
        data_directory.join("pgaad").join("directory.json")
    }

    /// What was written down last; nothing where that cannot be read.
    pub fn read(data_directory: &Path) -> Self {
        let content = file::read(&Self::path(data_directory), MAX_BYTES);
        content.ok().and_then(|content| serde_json::from_slice(&content.bytes).ok()).unwrap_or_default()
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(&self, data_directory: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        data_file::replace(data_directory, &Self::path(data_directory), &json, || Ok(()))
    }

    /// What is known of a tenant.
    pub fn of(&self, tenant: TenantId) -> Option<&TenantState> {
        let tenant = tenant.to_string();
        self.tenants.iter().find(|known| known.tenant == tenant)
    }

    /// What is known after a run: what failed keeps what was known of it, and since when it fails.
    pub fn after(&self, reports: &[DirectoryReport], began_at: UnixTime, ended_at: UnixTime) -> Self {
        let of = |report: &DirectoryReport| {
            let known = self.of(report.tenant).cloned().unwrap_or_default();
            known.after(report, began_at.seconds(), ended_at.seconds())
        };
        Self { tenants: reports.iter().map(of).collect() }
    }
}

impl TenantState {
    /// What is known of a group.
    pub fn group(&self, group: ObjectId) -> Option<&GroupState> {
        let group = group.to_string();
        self.groups.iter().find(|known| known.group == group)
    }

    fn after(self, report: &DirectoryReport, began_at: i64, ended_at: i64) -> Self {
        let error = report.error().map(|error| failure(error, self.error.as_ref(), began_at));
        let groups = report.groups.iter().map(|(group, done)| {
            let known = self.group(*group).cloned().unwrap_or_default();
            let group = group.to_string();
            match done {
                Ok(done) => GroupState {
                    group,
                    name: Some(done.name.clone()),
                    is_security: Some(done.is_security),
                    error: None,
                },
                Err(error) => {
                    GroupState { group, error: Some(failure(error, known.error.as_ref(), began_at)), ..known }
                }
            }
        });
        Self {
            tenant: report.tenant.to_string(),
            began_at,
            ended_at,
            last_success: if error.is_none() { Some(began_at) } else { self.last_success },
            permissions: report.permissions.clone().or_else(|| self.permissions.clone()),
            credential_expires: report.credential_expires.map(UnixTime::seconds),
            requests: report.traffic.requests,
            bytes: report.traffic.bytes,
            accounts: report.accounts.as_ref().and_then(|read| read.as_ref().ok()).copied(),
            groups: groups.collect(),
            error,
        }
    }
}

/// A failure, since it began: one of another code is another.
fn failure(error: &RunError, known: Option<&Failure>, now: i64) -> Failure {
    let code = error.code();
    let since = known.filter(|known| known.code == code).map_or(now, |known| known.since);
    Failure { code, words: error.words(), since }
}
