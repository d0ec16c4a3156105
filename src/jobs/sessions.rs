//! Ends the sessions whose token has expired, where `pgaad.session_end` says so.

use std::time::{Duration, Instant};

use pgaad_core::log_line::LogLine;

use super::job::{Job, ReadSettings};
use crate::pg::{clock, report, sessions};

/// How long it may sleep while sessions are to be ended: the wall clock, which tokens go by, can step.
const LONGEST: Duration = Duration::from_secs(60);

/// The job.
#[derive(Default)]
pub(super) struct EndSessions {
    is_on: bool,
}

impl Job for EndSessions {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let next = sessions::next_end().filter(|_| self.is_on)?;
        let wait = u64::try_from(next.since(clock::now())).unwrap_or(0);
        Some(now + Duration::from_secs(wait).min(LONGEST))
    }

    fn run(&mut self, _settings: &ReadSettings) {
        if !self.is_on {
            return;
        }
        for pid in sessions::end_due() {
            let line = LogLine::new("pgaad: session ended:").fact("code", "token_ended").fact("pid", pid);
            report::log(&line.into_text());
        }
    }

    fn on_reload(&mut self, settings: &ReadSettings) {
        self.is_on = settings.as_ref().is_ok_and(|settings| settings.ends_sessions);
    }
}
