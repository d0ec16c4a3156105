//! Files with a secret, which must be kept from others.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::file::{self, FileError};

/// Of a certificate with its chain and key, a token of Kubernetes', a client secret.
const MAX_BYTES: u64 = 64 * 1024;

/// The bits of a mode that a file with a secret may have: the owner reads and writes it, the group reads it.
const ALLOWED_MODE: u32 = 0o640;

/// Why a file with a secret was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretFileError {
    /// It cannot be read.
    File(FileError),
    /// Somebody else than the server's user and root owns it: the id of that user.
    Owner(u32),
    /// Others may read or write it: its mode.
    Mode(u32),
    /// It is inside the data directory, whose backups would hold it.
    InDataDirectory,
    /// There is nothing in it.
    Empty,
}

impl fmt::Display for SecretFileError {
    /// The end of a sentence that begins with the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Owner(id) => write!(f, "belongs to user {id}, and not to the server's user or root"),
            Self::Mode(mode) => write!(f, "has mode {mode:04o}, and may have 0640 at most"),
            Self::InDataDirectory => f.write_str("is inside the data directory, so that backups hold it"),
            Self::Empty => f.write_str("is empty"),
        }
    }
}

impl From<FileError> for SecretFileError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Reads a file that only the server's user, root and a group of theirs may read, and that is not inside
/// `data_directory`. What it holds is wiped when it is dropped.
///
/// # Errors
/// [`SecretFileError`]
pub fn read(path: &Path, data_directory: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let bytes = Zeroizing::new(file::read_opened(open(path, data_directory)?, MAX_BYTES)?);
    if bytes.trim_ascii().is_empty() { Err(SecretFileError::Empty) } else { Ok(bytes) }
}

/// What makes a file with a secret readable by others; `None` where nothing does, or it is not there at all. Its
/// content is not looked at.
pub fn exposure(path: &Path, data_directory: &Path) -> Option<SecretFileError> {
    open(path, data_directory).err().filter(|error| !matches!(error, SecretFileError::File(_)))
}

fn open(path: &Path, data_directory: &Path) -> Result<File, SecretFileError> {
    let (file, metadata) = file::open(path)?;
    let real = |path: &Path| fs::canonicalize(path).map_err(FileError::from);
    if real(path)?.starts_with(real(data_directory)?) {
        return Err(SecretFileError::InDataDirectory);
    }
    // The server does not start unless its own user owns the data directory (miscinit.c, `checkDataDir`).
    let server_user = fs::metadata(data_directory).map_err(FileError::from)?.uid();
    if ![server_user, 0].contains(&metadata.uid()) {
        return Err(SecretFileError::Owner(metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & !ALLOWED_MODE != 0 {
        return Err(SecretFileError::Mode(mode));
    }
    Ok(file)
}
