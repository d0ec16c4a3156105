//! The background workers, and the jobs of each.
//!
//! A worker sleeps until a job of its is due, the configuration is reloaded, or somebody sets its latch. No job waits
//! for anything: what takes long goes on [`aside`], and the job looks after it when it is due again. So neither a stop
//! of the server nor the end of a session waits for the provider or a file system.

mod aside;
mod denials;
mod directory;
mod directory_names;
mod directory_sessions;
mod files;
mod job;
mod keys;
mod sessions;

use std::time::Instant;

use pgaad_core::log_line::LogLine;

use self::job::{IDLE, Job, ReadSettings};
use crate::pg::report;
use crate::pg::worker::{self, Wake, Worker, WorkerId};
use crate::settings;

/// The workers of the server; the last only where the directory is read.
static WORKERS: [Worker; 3] = [
    Worker { id: WorkerId::Keys, name: "pgaad key worker", main: key_worker },
    Worker { id: WorkerId::Denials, name: "pgaad session worker", main: session_worker },
    Worker { id: WorkerId::Directory, name: "pgaad directory", main: directory_worker },
];

/// Registers the workers. Call once, from `_PG_init`.
pub(crate) fn register() {
    let count = if settings::has_directory() { WORKERS.len() } else { WORKERS.len().saturating_sub(1) };
    worker::register(WORKERS.get(..count).unwrap_or_default());
}

/// The one process that talks to the identity provider. It has no database.
fn key_worker() -> ! {
    work(&mut [
        &mut WarnOfSettings,
        &mut sessions::EndSessions::default(),
        &mut files::WarnOfFiles::default(),
        &mut keys::RefreshKeys::default(),
    ])
}

/// Shuts out those who are in. It reads the shared catalogs, for which the other one would have to wait on a standby.
fn session_worker() -> ! {
    work(&mut [&mut denials::EndDenied::default()])
}

/// Reads the directory, beside the key worker: a long answer and a secret must not share a process with what logins
/// wait for.
fn directory_worker() -> ! {
    work(&mut [&mut directory_names::LookUpNames::default(), &mut directory::ReadDirectory::default()])
}

fn work(jobs: &mut [&mut dyn Job]) -> ! {
    let mut settings = read_settings(jobs);
    let mut due: Vec<Option<Instant>> = vec![None; jobs.len()];
    loop {
        let now = Instant::now();
        // A job that says "in a moment" is run in that moment, however often the worker is woken until then.
        for (job, due) in jobs.iter_mut().zip(&mut due) {
            *due = [*due, job.due(now)].into_iter().flatten().min();
        }
        let first = due.iter().flatten().min();
        let sleep = first.map_or(IDLE, |due| due.saturating_duration_since(now));
        match worker::sleep(sleep) {
            Wake::Stop => worker::stop(),
            Wake::Reload => settings = read_settings(jobs),
            Wake::Time => {}
        }
        let now = Instant::now();
        for (job, due) in jobs.iter_mut().zip(&mut due) {
            if due.is_some_and(|due| due <= now) {
                *due = None;
                job.run(&settings);
            }
        }
    }
}

/// Reads the settings, and tells the jobs.
fn read_settings(jobs: &mut [&mut dyn Job]) -> ReadSettings {
    let settings = settings::read();
    for job in jobs {
        job.on_reload(&settings);
    }
    settings
}

/// Says which setting is wrong.
struct WarnOfSettings;

impl Job for WarnOfSettings {
    fn due(&mut self, _now: Instant) -> Option<Instant> {
        None
    }

    fn run(&mut self, _settings: &ReadSettings) {}

    fn on_reload(&mut self, settings: &ReadSettings) {
        match settings {
            Err(reason) => {
                let line = reason.facts(LogLine::new("pgaad: bad setting, token logins are refused:"));
                report::warn(&line.into_text());
            }
            Ok(settings) => {
                if settings.token.is_none() {
                    report::warn("pgaad: pgaad.tenant_id is not set, token logins are refused");
                }
                if let Err(reason) = &settings.directory {
                    let line = reason.facts(LogLine::new("pgaad: bad setting, the directory is not read:"));
                    report::warn(&line.into_text());
                }
            }
        }
    }
}
