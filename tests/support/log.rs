//! A server's log file, read from where a test began.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A place in a log: what was written before it is of no concern.
#[derive(Clone, Copy, Debug)]
pub struct LogMark(u64);

impl LogMark {
    /// The beginning of the log.
    pub const START: LogMark = LogMark(0);
}

/// The log file of one cluster.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// The log at `path`.
    pub fn new(path: PathBuf) -> Log {
        Log { path }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The end of the log as it is now.
    pub fn mark(&self) -> LogMark {
        LogMark(std::fs::metadata(&self.path).map_or(0, |file| file.len()))
    }

    /// Everything written since `mark`.
    pub fn since(&self, mark: LogMark) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(mark.0)).expect("a log can be sought");
            file.read_to_end(&mut bytes).expect("a log can be read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The first line since `mark` that holds all of `needles`; waits for it.
    ///
    /// # Errors
    /// All that was written since `mark`, when `timeout` passes without such a line.
    pub fn wait_for_line(
        &self,
        mark: LogMark,
        needles: &[&str],
        timeout: Duration,
    ) -> Result<String, String> {
        let deadline = Instant::now() + timeout;
        loop {
            let text = self.since(mark);
            // A line still being written has no end yet, and perhaps not all of its facts.
            let found = text
                .split_inclusive('\n')
                .find(|line| line.ends_with('\n') && needles.iter().all(|needle| line.contains(needle)));
            if let Some(line) = found {
                return Ok(line.trim_end().to_owned());
            }
            if Instant::now() >= deadline {
                return Err(text);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
