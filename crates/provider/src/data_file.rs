//! Files of pgaad's own, below `pgaad/` in the data directory.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directory of pgaad's files, and those below it, in the order in which they are made.
fn directories(data_directory: &Path, file: &Path) -> Vec<PathBuf> {
    let mut directories: Vec<_> = file
        .ancestors()
        .skip(1)
        .take_while(|path| path.starts_with(data_directory) && *path != data_directory)
        .map(Path::to_path_buf)
        .collect();
    directories.reverse();
    directories
}

/// Writes a file so that a reader, or a crash, sees the old or the new one and never a piece. `before` is run when the
/// new one is whole and on the disk, just before it takes the place of the old one.
///
/// # Errors
/// Whatever the file system says; the old file stays then.
pub fn replace(
    data_directory: &Path,
    path: &Path,
    bytes: &[u8],
    before: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let file_mode = prepare(data_directory, path)?;
    let draft = with_suffix(path, "new");
    let written = write_new(&draft, bytes, file_mode).and_then(|()| before());
    let replaced = written.and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        // On a full disk it would take the room that the server needs.
        let _ = fs::remove_file(&draft);
    }
    replaced?;
    File::open(directory)?.sync_all()
}

/// The path with `.suffix` behind the file's whole name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// Makes the directories, and gives the mode of the file: the group may read them where it may read the data directory
/// (file_perm.h, `pg_dir_create_mode`, `pg_file_create_mode`), else its `pg_basebackup` fails at them.
fn prepare(data_directory: &Path, path: &Path) -> io::Result<u32> {
    let is_group_readable = fs::metadata(data_directory)?.permissions().mode() & 0o050 == 0o050;
    let (directory_mode, file_mode) = if is_group_readable { (0o750, 0o640) } else { (0o700, 0o600) };
    for directory in directories(data_directory, path) {
        match fs::metadata(&directory) {
            Ok(found) if found.is_dir() && found.permissions().mode() & 0o777 != directory_mode => {
                fs::set_permissions(directory, Permissions::from_mode(directory_mode))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(directory_mode).create(directory)?;
            }
            _ => {}
        }
    }
    Ok(file_mode)
}

fn write_new(draft: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What a crash has left, or something else of that name: a FIFO would hold up the process that opens it.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}
