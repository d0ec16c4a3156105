//! What the directory said, as files: the worker writes them, logins read them.
//!
//! ```text
//! pgaad/groups/<group>.set            the members of a group, as of the last complete run
//! pgaad/groups/<group>.set.previous   as of the one before, or the same
//! pgaad/groups/accounts-<tenant>.set  accounts, and their previous ones likewise
//! ```
//!
//! The previous file lets nobody in. It is there to tell a set that is lost from one that never was: a removed member
//! must not get in because a file was deleted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use pgaad_core::directory::accounts::{self, Account};
use pgaad_core::directory::members::{self, MembersOutline};
use pgaad_core::directory::{AccountState, Bytes, MembershipWord, RecordFileError};
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::time::UnixTime;

use crate::data_file::{self, with_suffix};
use crate::file;

/// Of a file of the largest group.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The files of one server.
#[derive(Clone, Debug)]
pub struct SetStore {
    data_directory: PathBuf,
}

/// A file that is read here and there. It is never mapped: a mapping of a file that somebody cuts ends the process
/// with a signal, and the server with it.
struct OpenFile(File);

impl Bytes for OpenFile {
    fn length(&self) -> Option<u64> {
        self.0.metadata().ok().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        self.0.read_exact_at(buffer, offset).is_ok()
    }
}

/// What a file said, or that it says nothing.
enum Said<T> {
    Whole(T),
    /// There is none, and none before it either.
    Never,
    /// There was one.
    Lost,
}

impl SetStore {
    /// The files below this data directory.
    pub fn new(data_directory: &Path) -> Self {
        Self { data_directory: data_directory.to_path_buf() }
    }

    fn directory(&self) -> PathBuf {
        self.data_directory.join("pgaad").join("groups")
    }

    fn of_group(&self, group: ObjectId) -> PathBuf {
        self.directory().join(format!("{group}.set"))
    }

    fn of_accounts(&self, tenant: TenantId) -> PathBuf {
        self.directory().join(format!("accounts-{tenant}.set"))
    }

    /// What the directory says of a member and a group.
    pub fn membership(&self, tenant: TenantId, group: ObjectId, member: ObjectId) -> MembershipWord {
        match said(&self.of_group(group), |file| members::find(file, tenant, group, member)) {
            Said::Whole(word) => word,
            Said::Never => MembershipWord::NeverRead,
            Said::Lost => MembershipWord::Lost,
        }
    }

    /// What the directory says of a user's account.
    pub fn account(&self, tenant: TenantId, user: ObjectId) -> AccountState {
        match said(&self.of_accounts(tenant), |file| accounts::find(file, tenant, user)) {
            Said::Whole(state) => state,
            Said::Never => AccountState::Unknown,
            Said::Lost => AccountState::Lost,
        }
    }

    /// When a group was read, and how many members it has; `None` where there is no file that says so.
    pub fn outline(&self, tenant: TenantId, group: ObjectId) -> Option<MembersOutline> {
        match said(&self.of_group(group), |file| members::outline(file, tenant, group)) {
            Said::Whole(outline) => Some(outline),
            Said::Never | Said::Lost => None,
        }
    }

    /// All members of a group; `None` where there is no file, or none that is whole.
    pub fn members(&self, tenant: TenantId, group: ObjectId) -> Option<Vec<ObjectId>> {
        let content = file::read(&self.of_group(group), MAX_BYTES).ok()?;
        members::decode(&content.bytes, tenant, group).ok()
    }

    /// All accounts that are known, and as of when; `None` where there is no file, or none that is whole.
    pub fn accounts(&self, tenant: TenantId) -> Option<(UnixTime, Vec<Account>)> {
        let content = file::read(&self.of_accounts(tenant), MAX_BYTES).ok()?;
        accounts::decode(&content.bytes, tenant).ok()
    }

    /// Whether a file of the group is there and cannot be used, or was there: then the next run must not wait.
    pub fn is_lost(&self, tenant: TenantId, group: ObjectId) -> bool {
        let read = |file: &OpenFile| members::outline(file, tenant, group);
        matches!(said(&self.of_group(group), read), Said::Lost)
    }

    /// Writes down the members of a group.
    ///
    /// # Errors
    /// Whatever the file system says; what was known stays.
    pub fn write_members(
        &self,
        tenant: TenantId,
        group: ObjectId,
        began_at: UnixTime,
        ids: Vec<ObjectId>,
    ) -> io::Result<()> {
        self.write(&self.of_group(group), &members::encode(tenant, group, began_at, ids))
    }

    /// Writes down accounts.
    ///
    /// # Errors
    /// Whatever the file system says; what was known stays.
    pub fn write_accounts(
        &self,
        tenant: TenantId,
        began_at: UnixTime,
        known: Vec<Account>,
    ) -> io::Result<()> {
        self.write(&self.of_accounts(tenant), &accounts::encode(tenant, began_at, known))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let previous = previous(path);
        data_file::replace(&self.data_directory, path, bytes, || keep(path, &previous))?;
        // The first one is its own previous one.
        if previous.exists() { Ok(()) } else { keep(path, &previous) }
    }

    /// Removes the files of groups that no role is bound to any more, once they are as old as `max_age`.
    pub fn forget_others(&self, groups: &[ObjectId], now: UnixTime, max_age: std::time::Duration) {
        let Ok(entries) = fs::read_dir(self.directory()) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let group = name.split('.').next().and_then(|id| id.parse::<ObjectId>().ok());
            let is_other = group.is_some_and(|group| !groups.contains(&group));
            let is_old = || {
                let modified = entry.metadata().ok()?.modified().ok()?;
                let seconds = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
                let modified = UnixTime::new(i64::try_from(seconds).ok()?);
                Some(modified.plus(max_age) < now)
            };
            if is_other && is_old() == Some(true) {
                // It does no harm where it stays.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn previous(path: &Path) -> PathBuf {
    with_suffix(path, "previous")
}

/// Keeps the file under the name of the previous one.
fn keep(path: &Path, previous: &Path) -> io::Result<()> {
    let draft = with_suffix(previous, "new");
    let _ = fs::remove_file(&draft);
    match fs::hard_link(path, &draft) {
        Ok(()) => {
            fs::rename(&draft, previous)?;
            // Where both are links to one file already, renaming does nothing (rename(2)).
            let _ = fs::remove_file(&draft);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A file system without links.
        Err(_) => fs::copy(path, &draft).and_then(|_| fs::rename(&draft, previous)),
    }
}

/// What a file says. A file of another group or tenant says nothing, and neither does none.
fn said<T>(path: &Path, read: impl FnOnce(&OpenFile) -> Result<T, RecordFileError>) -> Said<T> {
    let read = match file::open(path) {
        Ok((file, _)) => read(&OpenFile(file)),
        Err(file::FileError::Missing) => Err(RecordFileError::Another),
        Err(_) => Err(RecordFileError::Damaged),
    };
    match read {
        Ok(said) => Said::Whole(said),
        Err(RecordFileError::Another) if !previous(path).exists() => Said::Never,
        Err(_) => Said::Lost,
    }
}
