//! The key worker: the one process that talks to the identity provider.
//!
//! It has no database. It fetches on schedule and when a login meets an unknown key, publishes what
//! is good, and writes it to `pgaad/keys.json` in the data directory for the next start.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use pgaad_core::Reason;
use pgaad_core::inline::Inline;
use pgaad_core::log_line::LogLine;
use pgaad_core::refresh::next_fetch_in;
use pgaad_core::snapshot::Snapshot;
use pgaad_core::tenant::Tenant;
use pgaad_core::verify::TokenPolicy;

use crate::check::PamFiles;
use crate::fetch::{self, FetchError, FetchRequest, Fetched};
use crate::file::FileError;
use crate::pg::hba::Candidates;
use crate::pg::shmem::{self, Refresh, Source};
use crate::pg::worker::{self, Wake};
use crate::pg::{clock, report, sessions};
use crate::settings::Settings;
use crate::{check, key_cache, key_file};

/// How often the worker looks whether a fetch is over, and whether it should stop meanwhile.
const POLL: Duration = Duration::from_millis(5);

/// How long the worker waits for a fetch: longer than one takes, unless a file system does not answer.
const FETCH_LIMIT: Duration = Duration::from_secs(12);

/// How long the worker waits for the PAM service files.
const PAM_LIMIT: Duration = Duration::from_secs(2);

/// Most threads that may wait for a file system by the same settings; while there are as many, nothing more is begun.
const MOST_THREADS: usize = 2;

/// Most of all, however often settings are reloaded meanwhile.
const MOST_THREADS_EVER: usize = 64;

/// How many threads there were when the settings were read.
static THREADS_BEFORE: AtomicUsize = AtomicUsize::new(0);

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
        let mut refreshed = refresh(&settings);
        // A reload that came just before the request may be noticed only now.
        refreshed.reloaded |= match worker::sleep(Duration::ZERO) {
            Wake::Stop => leave(),
            Wake::Reload => true,
            Wake::Time => false,
        };
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
fn rest(settings: &Result<Settings, Reason>, due: Instant) -> Duration {
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

fn reload() -> (Result<Settings, Reason>, u32, Instant) {
    (read_settings(), 0, Instant::now())
}

/// Reads the settings, says which one is wrong, and sees to it that the published keys are of their source.
fn read_settings() -> Result<Settings, Reason> {
    loop {
        THREADS_BEFORE.store(worker::threads(), Ordering::Relaxed);
        let settings = Settings::read();
        match &settings {
            Err(reason) => {
                let line = reason.facts(LogLine::new("pgaad: bad setting, token logins are refused:"));
                report::warn(&line.into_text());
            }
            Ok(settings) => {
                if settings.token.is_none() {
                    report::warn("pgaad: pgaad.tenant_id is not set, token logins are refused");
                }
                drop_keys_of_another_source(settings);
                key_file::restore(settings);
            }
        }
        if !warn_of_files(&settings) {
            return settings;
        }
    }
}

/// Says what is wrong with files and settings. `true` if the configuration was reloaded meanwhile.
fn warn_of_files(settings: &Result<Settings, Reason>) -> bool {
    let hba_file = check::read_hba(Candidates::default());
    let services = check::services(&hba_file);
    let ours = services.clone();
    let (pam, reloaded) = aside(settings, PAM_LIMIT, move || PamFiles::read(&ours));
    let pam = pam.unwrap_or_else(|_| PamFiles::unread(&services, FileError::TimedOut));
    check::warn(&hba_file, &pam);
    reloaded
}

/// Drops keys that were published from a source which is not configured any more. While a setting cannot be read,
/// nobody logs in with them.
fn drop_keys_of_another_source(settings: &Settings) {
    let is_of_another = shmem::with_keys(|board| {
        let of_source = |policy: &TokenPolicy| {
            key_cache::is_of_source(board, &policy.tenant, settings.jwks_file.as_deref())
        };
        !board.issuer.is_empty() && !settings.token.as_ref().is_some_and(of_source)
    });
    if is_of_another {
        key_cache::drop_all();
        note_error("", "");
        report::log("pgaad: keys dropped: they are not of the source that is configured now");
    }
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
fn refresh(whole: &Result<Settings, Reason>) -> Refreshed {
    let failed = |code| {
        note_error(code, "");
        Refreshed { published: None, reloaded: false }
    };
    let settings = match whole {
        Ok(settings) => settings,
        Err(reason) => return failed(reason.code()),
    };
    let Some(policy) = &settings.token else { return failed(Reason::NotConfigured.code()) };
    let began = Instant::now();
    let request = FetchRequest {
        tenant: policy.tenant.clone(),
        ca_file: settings.ca_file.clone(),
        https_proxy: settings.https_proxy.clone(),
        jwks_file: settings.jwks_file.clone(),
    };
    let (fetched, reloaded) = aside(whole, FETCH_LIMIT, move || fetch::fetch(&request));
    let fetched = fetched.unwrap_or_else(|error| Err(error_of(error, settings)));
    let published = match fetched.and_then(|fetched| publish(settings, &policy.tenant, fetched, began)) {
        Ok(published) => Some(published),
        Err(error) => {
            report_failure(error);
            None
        }
    };
    Refreshed { published, reloaded }
}

/// Notes why a fetch brought no keys. A file that says that there are none is believed.
fn report_failure(error: FetchError) {
    if matches!(error, FetchError::JwksFileWithoutKeys(_)) {
        key_cache::drop_all();
    }
    let (code, words) = (error.code(), error.words().unwrap_or_default());
    note_error(&code, &words);
    let mut line = LogLine::new("pgaad: key refresh failed:").fact("code", code);
    if !words.is_empty() {
        line = line.quoted("cause", &words);
    }
    report::log(&line.into_text());
}

/// Why a thread brought nothing.
enum AsideError {
    /// It waits for a file system, or others do.
    TimedOut,
    /// It did not start, or broke down.
    Internal,
}

fn error_of(error: AsideError, settings: &Settings) -> FetchError {
    match error {
        AsideError::Internal => FetchError::Internal,
        AsideError::TimedOut if settings.jwks_file.is_some() => {
            FetchError::JwksFileNotRead(FileError::TimedOut)
        }
        AsideError::TimedOut if settings.ca_file.is_some() => FetchError::CaFileNotRead(FileError::TimedOut),
        AsideError::TimedOut => FetchError::TimedOut,
    }
}

/// Does `work` on another thread, so that neither a stop of the server nor the end of a session waits for the
/// provider or a file system. `true` if the configuration was reloaded meanwhile.
///
/// A thread that needs longer than `limit` is left to itself.
fn aside<T: Send + 'static>(
    settings: &Result<Settings, Reason>,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> (Result<T, AsideError>, bool) {
    let mut reloaded = false;
    let deadline = Instant::now() + limit;
    let before = THREADS_BEFORE.load(Ordering::Relaxed);
    if worker::threads() >= before.saturating_add(MOST_THREADS).min(MOST_THREADS_EVER) {
        return (Err(AsideError::TimedOut), reloaded);
    }
    let Some(result) = worker::spawn(work) else { return (Err(AsideError::Internal), reloaded) };
    let ends_sessions = settings.as_ref().is_ok_and(|settings| settings.ends_sessions);
    loop {
        match result.try_recv() {
            Ok(done) => return (Ok(done), reloaded),
            Err(TryRecvError::Disconnected) => return (Err(AsideError::Internal), reloaded),
            Err(TryRecvError::Empty) if Instant::now() >= deadline => {
                return (Err(AsideError::TimedOut), reloaded);
            }
            Err(TryRecvError::Empty) => {}
        }
        if ends_sessions {
            end_sessions();
        }
        match worker::sleep(POLL) {
            Wake::Stop => leave(),
            Wake::Reload => reloaded = true,
            Wake::Time => {}
        }
    }
}

fn publish(
    settings: &Settings,
    tenant: &Tenant,
    fetched: Fetched,
    began: Instant,
) -> Result<Published, FetchError> {
    let now = clock::now();
    let source = if fetched.modified.is_some() { Source::File } else { Source::Network };
    let dated = fetched.modified.unwrap_or(now);
    if dated > now {
        return Err(FetchError::JwksFileFromTheFuture);
    }
    key_cache::publish(tenant, &fetched.keys, dated, source, settings.jwks_file.as_deref());
    shmem::update_worker(|state| {
        state.last_success = Some(now);
        state.last_error = Inline::EMPTY;
        state.last_cause = Inline::EMPTY;
        state.clock_ahead = fetched.provider_time.map(|time| now.since(time));
    });
    Ok(Published {
        line: LogLine::new("pgaad: keys refreshed:")
            .fact("keys", fetched.keys.keys().len())
            .fact("unusable", fetched.keys.errors().len())
            .fact("source", source_name(source))
            .fact("age_s", now.since(dated))
            .fact("took_ms", began.elapsed().as_millis()),
        snapshot: (source == Source::Network)
            .then(|| Snapshot::new(tenant, now, fetched.cloud, fetched.document)),
    })
}

/// Writes keys down for the next start, and tells of them.
fn write_down(published: Published) {
    if let Some(snapshot) = &published.snapshot {
        key_file::write(snapshot);
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

fn note_error(code: &str, words: &str) {
    let code = Inline::new(code.as_bytes()).unwrap_or_default();
    let words = Inline::new(words.as_bytes()).unwrap_or_default();
    shmem::update_worker(|state| {
        state.last_error = code;
        state.last_cause = words;
    });
}
