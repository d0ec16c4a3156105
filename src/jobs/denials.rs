//! Ends the sessions of those who were shut out after they had logged in.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::time::{Duration, Instant};

use pgaad_core::log_line::LogLine;
use pgaad_core::role_name;

use super::job::{Job, ReadSettings};
use crate::pg::catalog::Role;
use crate::pg::{clock, deny_labels, report, sessions, worker};
use crate::session_rows::{self, Session};

/// How often it looks: sessions end within a second. On a standby nobody could tell it that the list has changed.
const INTERVAL: Duration = Duration::from_millis(500);

/// The job.
#[derive(Default)]
pub(super) struct EndDenied {
    /// The processes that were told: a session that takes its time is told again, and named once.
    told: BTreeSet<i32>,
}

impl Job for EndDenied {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        Some(now + INTERVAL)
    }

    fn run(&mut self, _settings: &ReadSettings) {
        let sessions = session_rows::sessions();
        self.told.retain(|pid| sessions.iter().any(|session| session.pid == *pid));
        if sessions.is_empty() {
            return;
        }
        for (pid, by) in worker::in_transaction(|| denied(&sessions)) {
            if sessions::end(pid) && self.told.insert(pid) {
                let line = LogLine::new("pgaad: session ended:").fact("code", "denied").fact("pid", pid);
                report::log(&line.fact("denied", by).into_text());
            }
        }
    }

    fn on_reload(&mut self, _settings: &ReadSettings) {}
}

/// The sessions that must end, and by which claim. While the list cannot be read none does: who is in was let in by one
/// that could be.
fn denied(sessions: &[Session]) -> Vec<(i32, &'static str)> {
    let list = deny_labels::read();
    if list.is_empty() || list.is_damaged() {
        return Vec::new();
    }
    let now = clock::now();
    let of_session = |session: &Session| {
        let is_protected = || role_of(session).is_some_and(|role| role.facts().is_protected());
        // Most are on no list at all, and their roles are not looked up.
        list.find(&session.marks, false, now)?;
        let (by, _) = list.find(&session.marks, is_protected(), now)?;
        Some((session.pid, by.name()))
    };
    sessions.iter().filter_map(of_session).collect()
}

fn role_of(session: &Session) -> Option<Role> {
    let name = CString::new(role_name::to_bytes(&session.role)).ok()?;
    Role::find(&name)
}
