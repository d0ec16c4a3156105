//! Says in the log what is wrong with files and settings, at the worker's start and at each reload.

use std::time::{Duration, Instant};

use pgaad_audit::pam_file::PamFiles;
use pgaad_provider::file::FileError;

use super::aside::{Aside, Threads};
use super::job::{Job, POLL, ReadSettings};
use crate::check;
use crate::pg::hba::{Candidates, HbaFile};

/// How long the PAM service files are waited for.
const PAM_LIMIT: Duration = Duration::from_secs(2);

/// The job.
#[derive(Default)]
pub(super) struct WarnOfFiles {
    threads: Threads,
    reading: Option<Reading>,
}

/// The PAM service files are being read.
struct Reading {
    hba_file: Result<HbaFile, String>,
    services: Vec<String>,
    pam: Aside<PamFiles>,
}

impl Job for WarnOfFiles {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        self.reading.as_ref().map(|_| now + POLL)
    }

    fn run(&mut self, _settings: &ReadSettings) {
        let Some(reading) = &self.reading else { return };
        let Some(pam) = reading.pam.poll() else { return };
        let pam = pam.unwrap_or_else(|_| check::unread_pam_files(&reading.services, FileError::TimedOut));
        if let Some(reading) = self.reading.take() {
            check::warn(reading.hba_file, pam);
        }
    }

    fn on_reload(&mut self, _settings: &ReadSettings) {
        self.threads.on_reload();
        let hba_file = check::read_hba(Candidates::default());
        let services = check::services(&hba_file);
        let ours = services.clone();
        self.reading = match self.threads.start(PAM_LIMIT, 1, move || check::read_pam_files(&ours)) {
            Ok(pam) => Some(Reading { hba_file, services, pam }),
            Err(_) => {
                check::warn(hba_file, check::unread_pam_files(&services, FileError::TimedOut));
                None
            }
        };
    }
}
