//! Files that the server reads for pgaad: `pgaad.ca_file`, `pgaad.jwks_file`, `keys.json`, PAM service files.
//!
//! An operator names them, and a name can lead to anything. Opening a FIFO waits for a writer, and reading a device can
//! last forever, while a signal that should stop the worker only sets a flag. So only regular files are opened,
//! without blocking, and none is read beyond a bound.

use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use pgaad_core::time::UnixTime;

/// What a regular file held.
#[derive(Debug)]
pub struct Content {
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// When the file was last modified, in whole seconds. A time before 1970 reads as 1970.
    pub modified: UnixTime,
}

/// Why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is no file of that name.
    Missing,
    /// It is something else than a regular file: what.
    NotRegular(&'static str),
    /// It has more bytes than a file of its kind can have.
    TooLarge,
    /// The file system did not answer in time.
    TimedOut,
    /// The operating system refused.
    Refused(io::ErrorKind),
}

impl fmt::Display for FileError {
    /// The end of a sentence that begins with the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::NotRegular(what) => write!(f, "is {what} and not a regular file"),
            Self::TooLarge => f.write_str("is larger than a file of its kind can be"),
            Self::TimedOut => f.write_str("cannot be read: its file system does not answer"),
            Self::Refused(kind) => write!(f, "cannot be read: {kind}"),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            kind => Self::Refused(kind),
        }
    }
}

/// Reads a regular file of at most `max_bytes`.
///
/// A file system that does not answer still blocks the calling thread, so the worker calls this on a thread beside its
/// main one, except for files of the data directory, without which nothing of the server works.
///
/// # Errors
/// [`FileError`]; never [`FileError::TimedOut`].
pub fn read(path: &Path, max_bytes: u64) -> Result<Content, FileError> {
    let (file, metadata) = open(path)?;
    let bytes = read_opened(file, max_bytes)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Content { bytes, modified: UnixTime::new(i64::try_from(modified).unwrap_or(i64::MAX)) })
}

/// Opens a regular file for reading, without blocking.
///
/// # Errors
/// As [`read`].
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    // Before the opening, since opening a device can do something (a tape rewinds); and after it, since the name may
    // lead elsewhere by then.
    regular(fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new()
        .read(true)
        // O_CLOEXEC is set by std.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    Ok((file, metadata))
}

/// All of an open file that has at most `max_bytes`.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_opened(file: File, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max_bytes) {
        return Err(FileError::TooLarge);
    }
    Ok(bytes)
}

/// Whether `path` leads to a regular file, without opening it.
///
/// # Errors
/// As [`read`].
pub fn require_regular(path: &Path) -> Result<(), FileError> {
    regular(fs::metadata(path)?.file_type())
}

fn regular(kind: FileType) -> Result<(), FileError> {
    if kind.is_file() {
        return Ok(());
    }
    Err(FileError::NotRegular(match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    }))
}
