//! `pgaad/keys.json` in the data directory: the last good keys of the provider, for the next start.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pgaad_core::inline::Inline;
use pgaad_core::log_line::LogLine;
use pgaad_core::settings::Settings;
use pgaad_core::snapshot::{Snapshot, SnapshotError};
use pgaad_provider::file::{self, FileError};

use crate::key_cache;
use crate::pg::shmem::{self, Source};
use crate::pg::{clock, report, worker};

/// Of the whole file: a document of 1 MB, of which every byte may be written as six (`\u0000`), and its origin.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Publishes the keys that were written down last, unless keys come from a file of the operator's, or there are
/// published ones of this tenant already: after a start, or after a crash that emptied shared memory, nobody waits for
/// the provider.
pub(crate) fn restore(settings: &Settings) {
    let Some(policy) = &settings.token else { return };
    let tenant = &policy.tenant;
    let is_published = shmem::with_keys(|board| key_cache::is_of_source(board, tenant, None));
    if settings.jwks_file.is_some() || is_published {
        return;
    }
    let content = match file::read(&path(), MAX_BYTES) {
        Ok(content) => content.bytes,
        Err(FileError::Missing) => return note_problem(""),
        Err(error) => {
            let words = format!("pgaad/keys.json {error}");
            note_problem(&words);
            let line = LogLine::new("pgaad: cannot read pgaad/keys.json:").quoted("cause", &words);
            return report::warn(&line.into_text());
        }
    };
    note_problem("");
    match Snapshot::read(&content, tenant, clock::now()) {
        Ok((keys, fetched_at)) => {
            key_cache::publish(tenant, &keys, fetched_at, Source::Disk, None);
            let line = LogLine::new("pgaad: keys restored:")
                .fact("keys", keys.keys().len())
                .fact("age_s", clock::now().since(fetched_at));
            report::log(&line.into_text());
        }
        Err(SnapshotError::OtherTenant) => {
            report::log("pgaad: keys.json is of another tenant and is ignored");
        }
        Err(_) => {
            note_problem("pgaad/keys.json is damaged, or dated in the future");
            report::warn("pgaad: keys.json is damaged and is ignored");
        }
    }
}

/// Writes the keys down.
pub(crate) fn write(snapshot: &Snapshot) {
    match try_write(snapshot) {
        Ok(()) => note_problem(""),
        Err(error) => {
            note_problem(&format!("pgaad/keys.json cannot be written: {error}"));
            let line =
                LogLine::new("pgaad: cannot write pgaad/keys.json:").quoted("cause", &error.to_string());
            report::warn(&line.into_text());
        }
    }
}

/// For `pgaad.check()`.
fn note_problem(words: &str) {
    let words = Inline::new(words.as_bytes()).unwrap_or_default();
    shmem::update_refresh_state(|state| state.snapshot_problem = words);
}

fn path() -> PathBuf {
    worker::data_directory().join("pgaad").join("keys.json")
}

/// Writes the file so that a reader, or a crash, sees the old or the new one and never a piece.
fn try_write(snapshot: &Snapshot) -> io::Result<()> {
    let path = path();
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let (directory_mode, file_mode) = modes(&worker::data_directory())?;
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() && found.permissions().mode() & 0o777 != directory_mode => {
            fs::set_permissions(directory, Permissions::from_mode(directory_mode))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(directory_mode).create(directory)?;
        }
        _ => {}
    }
    let draft = path.with_extension("json.new");
    // What a crash has left, or something else of that name: a FIFO would hold up the process that opens it.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(file_mode).open(&draft)?;
    file.write_all(&snapshot.to_json())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(directory)?.sync_all()
}

/// The modes of the directory and the file: the group may read them where it may read the data directory
/// (file_perm.h, `pg_dir_create_mode`, `pg_file_create_mode`), else its `pg_basebackup` fails at them.
fn modes(data_directory: &Path) -> io::Result<(u32, u32)> {
    let is_group_readable = fs::metadata(data_directory)?.permissions().mode() & 0o050 == 0o050;
    Ok(if is_group_readable { (0o750, 0o640) } else { (0o700, 0o600) })
}
