//! The key worker: the one process that talks to the identity provider.
//!
//! It has no database. It fetches on schedule and when a login meets an unknown key, publishes what
//! is good, and writes it to `pgaad/keys.json` in the data directory for the next start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use pgaad_core::Refusal;
use pgaad_core::event::LogLine;
use pgaad_core::inline::Inline;
use pgaad_core::refresh::next_fetch_in;
use pgaad_core::snapshot::{Snapshot, SnapshotFault};
use pgaad_core::tenant::Tenant;

use crate::fetch::{self, Errand, FetchFault, Fetched};
use crate::pg::shmem::{self, Refresh, Source};
use crate::pg::worker::{self, Wake};
use crate::pg::{clock, report, sessions};
use crate::settings::Settings;
use crate::{check, key_cache};

/// How often the worker looks whether a fetch is over, and whether it should stop meanwhile.
const POLL: Duration = Duration::from_millis(5);

/// Bounds of its sleep while sessions are to be ended: the wall clock, which tokens go by, can step.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// How long it sleeps while there is nothing to fetch; a reload wakes it.
const IDLE: Duration = Duration::from_secs(3_600);

/// Registers the worker. Call once, from `_PG_init`.
pub(crate) fn register() {
    worker::register("pgaad key worker", run);
}

fn run() -> ! {
    shmem::enter_worker();
    let mut settings = read_settings();
    restore(&settings);
    let mut failures = 0;
    let mut due = Instant::now();
    loop {
        // Counted before the signals are looked at: who reloads and then asks is answered by what he reloaded.
        // From here on logins without a key wait for it.
        let owed = Refresh::under_way()
            .or_else(|| (due <= Instant::now()).then(|| Refresh::owe(clock::monotonic())));
        let rest = if owed.is_some() { Duration::ZERO } else { rest(&settings, due) };
        match worker::sleep(rest) {
            Wake::Stop => leave(),
            Wake::Reload => (settings, failures, due) = reload(),
            Wake::Time => {}
        }
        let Some(owed) = owed else { continue };
        let refreshed = refresh(&settings);
        failures = if refreshed.published.is_some() { 0 } else { failures + 1 };
        let wait = settings.as_ref().map_or(IDLE, |settings| next_fetch_in(failures, &settings.refresh));
        due = Instant::now() + wait;
        shmem::update_worker(|state| state.next_refresh = Some(clock::now().plus(wait)));
        Refresh::begin_again(clock::monotonic());
        // After a reload it is owed still: he who reloaded and asked wants it by the new settings.
        if !refreshed.reloaded {
            owed.finish();
        }
        // Those who waited for this one do not wait for the disk.
        if let Some(published) = refreshed.published {
            write_down(published);
        }
        if refreshed.reloaded {
            (settings, failures, due) = reload();
        }
    }
}

/// How long the worker may sleep: until the next fetch is due, or the next session to end.
fn rest(settings: &Result<Settings, Refusal>, due: Instant) -> Duration {
    let until_fetch = due.saturating_duration_since(Instant::now());
    let ends_sessions = settings.as_ref().is_ok_and(|settings| settings.ends_sessions);
    let next_end = if ends_sessions { end_sessions() } else { None };
    next_end.map_or(until_fetch, |end| end.clamp(SHORTEST, LONGEST).min(until_fetch))
}

/// Ends the sessions whose token has; gives the time until the next one does.
fn end_sessions() -> Option<Duration> {
    let (ended, next) = sessions::end_due();
    for pid in ended {
        report::log(
            &LogLine::new("pgaad: session ended:").fact("code", "token_ended").fact("pid", pid).into_text(),
        );
    }
    next
}

fn leave() -> ! {
    shmem::leave_worker();
    worker::stop()
}

fn reload() -> (Result<Settings, Refusal>, u32, Instant) {
    let settings = read_settings();
    restore(&settings);
    (settings, 0, Instant::now())
}

/// Reads the settings, and says which one is wrong.
fn read_settings() -> Result<Settings, Refusal> {
    let settings = Settings::read();
    match &settings {
        Err(refusal) => {
            let line = refusal.facts(LogLine::new("pgaad: bad setting, token logins are refused:"));
            report::warn(&line.into_text());
        }
        Ok(settings) if settings.token.is_none() => {
            report::warn("pgaad: pgaad.tenant_id is not set, token logins are refused");
        }
        Ok(_) => {}
    }
    check::warn();
    settings
}

/// How a refresh came out.
struct Refreshed {
    published: Option<Published>,
    /// Whether the configuration was reloaded meanwhile.
    reloaded: bool,
}

/// Keys that logins find from now on, and what is still to be done with them.
struct Published {
    /// What the log says of them.
    line: LogLine,
    /// For the next start, if they came from the provider.
    snapshot: Option<Snapshot>,
}

/// One refresh: fetch and publish.
fn refresh(settings: &Result<Settings, Refusal>) -> Refreshed {
    let failed = |code| {
        note_error(code);
        Refreshed { published: None, reloaded: false }
    };
    let settings = match settings {
        Ok(settings) => settings,
        Err(refusal) => return failed(refusal.code()),
    };
    let Some(policy) = &settings.token else { return failed(Refusal::NotConfigured.code()) };
    let began = Instant::now();
    let (fetched, source, reloaded) = match &settings.jwks_file {
        Some(path) => (fetch::read_file(path, &policy.tenant), Source::File, false),
        None => {
            let (fetched, reloaded) = fetch_aside(settings, &policy.tenant);
            (fetched, Source::Network, reloaded)
        }
    };
    let published = match fetched {
        Ok(fetched) => Some(publish(&policy.tenant, fetched, source, began)),
        Err(fault) => {
            let code = fault.code();
            note_error(&code);
            report::log(&LogLine::new("pgaad: key refresh failed:").fact("code", code).into_text());
            None
        }
    };
    Refreshed { published, reloaded }
}

/// Fetches on another thread, so that neither a stop of the server nor the end of a session waits for the provider.
fn fetch_aside(settings: &Settings, tenant: &Tenant) -> (Result<Fetched, FetchFault>, bool) {
    let errand = Errand {
        tenant: tenant.clone(),
        ca_file: settings.ca_file.clone(),
        https_proxy: settings.https_proxy.clone(),
    };
    let mut reloaded = false;
    let Some(result) = worker::spawn(move || fetch::fetch(&errand)) else {
        return (Err(FetchFault::Internal), reloaded);
    };
    loop {
        match result.try_recv() {
            Ok(fetched) => return (fetched, reloaded),
            Err(TryRecvError::Disconnected) => return (Err(FetchFault::Internal), reloaded),
            Err(TryRecvError::Empty) => {}
        }
        if settings.ends_sessions {
            end_sessions();
        }
        match worker::sleep(POLL) {
            Wake::Stop => leave(),
            Wake::Reload => reloaded = true,
            Wake::Time => {}
        }
    }
}

fn publish(tenant: &Tenant, fetched: Fetched, source: Source, began: Instant) -> Published {
    let now = clock::now();
    key_cache::publish(tenant, &fetched.keys, now, source);
    shmem::update_worker(|state| {
        state.last_success = Some(now);
        state.last_error = Inline::EMPTY;
        state.clock_ahead = fetched.provider_time.map(|time| now.since(time));
    });
    Published {
        line: LogLine::new("pgaad: keys refreshed:")
            .fact("keys", fetched.keys.keys().len())
            .fact("unusable", fetched.keys.faults().len())
            .fact("source", source_name(source))
            .fact("took_ms", began.elapsed().as_millis()),
        snapshot: (source == Source::Network)
            .then(|| Snapshot::new(tenant, now, fetched.cloud, fetched.document)),
    }
}

/// Writes keys down for the next start, and tells of them.
fn write_down(published: Published) {
    if let Some(Err(error)) = published.snapshot.as_ref().map(write_snapshot) {
        let line = LogLine::new("pgaad: cannot write pgaad/keys.json:").quoted("cause", &error.to_string());
        report::warn(&line.into_text());
    }
    report::log(&published.line.into_text());
}

/// The word for a source in logs and views.
pub(crate) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Network => "network",
        Source::Disk => "disk",
        Source::File => "file",
    }
}

fn note_error(code: &str) {
    let code = Inline::new(code.as_bytes()).unwrap_or_default();
    shmem::update_worker(|state| state.last_error = code);
}

/// Publishes the keys that were written down last, unless there are published ones of this tenant
/// already: after a start, or after a crash that emptied shared memory, nobody waits for the provider.
fn restore(settings: &Result<Settings, Refusal>) {
    let Ok(settings) = settings else { return };
    let Some(policy) = &settings.token else { return };
    let tenant = &policy.tenant;
    if settings.jwks_file.is_some() || shmem::with_keys(|board| board.issuer.as_str() == tenant.v2_issuer()) {
        return;
    }
    let Ok(content) = fs::read(snapshot_path()) else { return };
    match Snapshot::read(&content, tenant, clock::now()) {
        Ok((keys, fetched_at)) => {
            key_cache::publish(tenant, &keys, fetched_at, Source::Disk);
            let line = LogLine::new("pgaad: keys restored:")
                .fact("keys", keys.keys().len())
                .fact("age_s", clock::now().since(fetched_at));
            report::log(&line.into_text());
        }
        Err(SnapshotFault::OtherTenant) => {
            report::log("pgaad: keys.json is of another tenant and is ignored")
        }
        Err(_) => report::warn("pgaad: keys.json is damaged and is ignored"),
    }
}

fn snapshot_path() -> PathBuf {
    worker::data_directory().join("pgaad").join("keys.json")
}

/// Writes the file so that a reader, or a crash, sees the old or the new one and never a piece.
fn write_snapshot(snapshot: &Snapshot) -> io::Result<()> {
    let path = snapshot_path();
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !directory.exists() {
        DirBuilder::new().mode(0o700).create(directory)?;
    }
    let draft = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&snapshot.to_json())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(directory)?.sync_all()
}
