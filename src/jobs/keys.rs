//! Keeps the published keys of each tenant fresh: on schedule, and when somebody asks.
//!
//! It publishes what is good as soon as it is there, and writes it down in the data directory for the next start.

use std::time::{Duration, Instant};

use pgaad_core::Reason;
use pgaad_core::inline::Inline;
use pgaad_core::key_history::RECHECK;
use pgaad_core::log_line::LogLine;
use pgaad_core::refresh::next_fetch_in;
use pgaad_core::refresh_queue::Ticket;
use pgaad_core::settings::{MAX_TENANTS, Settings};
use pgaad_core::snapshot::Snapshot;
use pgaad_core::tenant::Tenant;
use pgaad_provider::file::FileError;
use pgaad_provider::{FetchError, FetchRequest, Fetched, Route, fetch};

use super::aside::{Aside, AsideError, Threads};
use super::job::{IDLE, Job, POLL, ReadSettings};
use crate::pg::shmem::{self, FetchState, KeyBoard, LONGEST_CAUSE, Source};
use crate::pg::{clock, report};
use crate::{key_cache, key_file};

/// How long a fetch is waited for: longer than one takes, unless a file system does not answer.
const FETCH_LIMIT: Duration = Duration::from_secs(12);

/// The job.
pub(super) struct RefreshKeys {
    threads: Threads,
    refresh: Option<Refresh>,
    /// When keys are fetched next if nobody asks.
    next: Instant,
    /// How many refreshes in a row have failed.
    failures: u32,
}

impl Default for RefreshKeys {
    fn default() -> Self {
        Self { threads: Threads::default(), refresh: None, next: Instant::now(), failures: 0 }
    }
}

/// A refresh. From the time that it is there logins without a key wait for it.
struct Refresh {
    ticket: Ticket,
    phase: Phase,
    /// Whether the configuration was reloaded after it began.
    is_outdated: bool,
}

/// How far a refresh has come.
enum Phase {
    /// It is to begin.
    Taken,
    /// The keys are on their way, or published already.
    Fetching(Vec<Fetch>, Outcome),
    /// Logins find the keys, if there are any, and those who wait for it are still to be told.
    Over(Outcome),
}

/// What has become of a refresh.
#[derive(Default)]
struct Outcome {
    /// Keys that logins find from now on.
    published: Vec<Published>,
    /// Whether the keys of a tenant could not be had.
    has_failed: bool,
}

impl Outcome {
    fn add(&mut self, published: Option<Published>) {
        self.has_failed |= published.is_none();
        self.published.extend(published);
    }
}

impl Job for RefreshKeys {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.refresh.is_none() {
            let is_time = self.next <= now;
            let ticket = shmem::with_refresh_queue(|queue| {
                queue.pending().or_else(|| is_time.then(|| queue.ask(clock::monotonic())))
            });
            self.refresh = ticket.map(|ticket| Refresh { ticket, phase: Phase::Taken, is_outdated: false });
        }
        Some(match self.refresh.as_ref().map(|refresh| &refresh.phase) {
            None => self.next,
            Some(Phase::Fetching(..)) => now + POLL,
            // Once more through the worker's loop: a reload that came just before the request may be noticed only now.
            Some(Phase::Taken | Phase::Over(_)) => now,
        })
    }

    fn run(&mut self, settings: &ReadSettings) {
        let Some(mut refresh) = self.refresh.take() else { return };
        refresh.phase = match refresh.phase {
            Phase::Taken => begin(&self.threads, settings),
            Phase::Fetching(fetches, mut outcome) => {
                let mut pending = Vec::new();
                for fetch in fetches {
                    match fetch.aside.poll() {
                        None => pending.push(fetch),
                        Some(result) => outcome.add(fetch.publish(result, settings)),
                    }
                }
                if pending.is_empty() { Phase::Over(outcome) } else { Phase::Fetching(pending, outcome) }
            }
            Phase::Over(outcome) => {
                return self.finish(refresh.ticket, refresh.is_outdated, outcome, settings);
            }
        };
        self.refresh = Some(refresh);
    }

    fn on_reload(&mut self, settings: &ReadSettings) {
        self.threads.on_reload();
        (self.failures, self.next) = (0, Instant::now());
        if let Some(refresh) = &mut self.refresh {
            refresh.is_outdated = !matches!(refresh.phase, Phase::Taken);
        }
        // While a setting cannot be read, nobody logs in with any key.
        if let Ok(settings) = settings {
            drop_keys_of_another_source(settings);
            key_file::restore(settings);
        }
    }
}

impl RefreshKeys {
    /// Answers those who wait, and sees when keys are fetched next.
    fn finish(&mut self, ticket: Ticket, is_outdated: bool, outcome: Outcome, settings: &ReadSettings) {
        self.failures = if outcome.has_failed { self.failures.saturating_add(1) } else { 0 };
        let wait = settings.as_ref().map_or(IDLE, |settings| next_fetch_in(self.failures, &settings.refresh));
        let wait = if key_cache::is_one_missing() { wait.min(RECHECK) } else { wait };
        self.next = Instant::now() + wait;
        shmem::update_refresh_state(|state| state.next_refresh = Some(clock::now().plus(wait)));
        let now = clock::monotonic();
        // A request after a reload wants the new settings.
        shmem::with_refresh_queue(
            |queue| if is_outdated { queue.repeat(now) } else { queue.finish(ticket, now) },
        );
        // Those who waited do not wait for the disk.
        outcome.published.into_iter().for_each(write_down);
        if is_outdated {
            (self.failures, self.next) = (0, Instant::now());
        }
    }
}

/// Keys of a tenant that are being fetched.
struct Fetch {
    request: FetchRequest,
    /// The name of the file for the next start.
    file: String,
    began: Instant,
    aside: Aside<Result<Fetched, FetchError>>,
}

/// Keys that logins find from now on, and what is still to be done with them.
struct Published {
    /// What the log says of them.
    line: LogLine,
    /// For the next start, if they came from the provider.
    snapshot: Option<(String, Snapshot)>,
}

/// Begins a fetch for each tenant by these settings.
fn begin(threads: &Threads, settings: &ReadSettings) -> Phase {
    let mut outcome = Outcome::default();
    let requests = match requests_of(settings) {
        Ok(requests) => requests,
        Err(reason) => {
            note_settings_error(reason.code());
            outcome.add(None);
            return Phase::Over(outcome);
        }
    };
    note_settings_error("");
    keep_fetches_of(&requests);
    let (began, most) = (Instant::now(), requests.len());
    let mut fetches = Vec::new();
    for (place, request) in requests.into_iter().enumerate() {
        let (ours, file) = (request.clone(), key_file::name(place, &request.tenant));
        match threads.start(FETCH_LIMIT, most, move || fetch(&ours)) {
            Ok(aside) => fetches.push(Fetch { request, file, began, aside }),
            Err(error) => {
                report_failure(&request, error_of(error, &request));
                outcome.add(None);
            }
        }
    }
    Phase::Fetching(fetches, outcome)
}

impl Fetch {
    /// Publishes what came, unless the settings would ask elsewhere by now, or trust somebody else.
    fn publish(
        self,
        result: Result<Result<Fetched, FetchError>, AsideError>,
        settings: &ReadSettings,
    ) -> Option<Published> {
        if !requests_of(settings).is_ok_and(|requests| requests.contains(&self.request)) {
            return None;
        }
        let fetched = result.unwrap_or_else(|error| Err(error_of(error, &self.request)));
        let published = fetched.and_then(|fetched| publish(&self, fetched));
        published.map_err(|error| report_failure(&self.request, error)).ok()
    }
}

/// What the settings have the worker ask for each tenant, and where.
fn requests_of(settings: &ReadSettings) -> Result<Vec<FetchRequest>, Reason> {
    let settings = settings.as_ref().map_err(Reason::clone)?;
    let policy = settings.token.as_ref().ok_or(Reason::NotConfigured)?;
    let request = |tenant: &Tenant| FetchRequest {
        tenant: tenant.clone(),
        route: Route { ca_file: settings.ca_file.clone(), https_proxy: settings.https_proxy.clone() },
        jwks_file: settings.jwks_file.clone(),
    };
    Ok(policy.tenants().map(request).collect())
}

/// Drops keys that were published from a source which is not configured any more.
fn drop_keys_of_another_source(settings: &Settings) {
    let is_of_another = |board: &KeyBoard| {
        let of_tenant = |tenant| key_cache::is_of_source(board, tenant, settings.jwks_file.as_deref());
        !settings.token.as_ref().is_some_and(|policy| policy.tenants().any(of_tenant))
    };
    if shmem::drop_keys(is_of_another) {
        shmem::update_refresh_state(|state| state.fetches = [FetchState::default(); MAX_TENANTS]);
        report::log("pgaad: keys dropped: they are not of the source that is configured now");
    }
}

/// Notes why a fetch brought no keys. A file that says that there are none is believed.
fn report_failure(request: &FetchRequest, error: FetchError) {
    if matches!(error, FetchError::JwksFileWithoutKeys { .. }) {
        key_cache::drop_of(&request.tenant);
    }
    let (code, words) = (error.code(), error.words().unwrap_or_default());
    note_error(&request.tenant, &code, &words);
    let mut line = LogLine::new("pgaad: key refresh failed:").fact("code", code);
    if !words.is_empty() {
        line = line.quoted("cause", &words);
    }
    report::log(&line.fact("tid", request.tenant.id()).into_text());
}

fn error_of(error: AsideError, request: &FetchRequest) -> FetchError {
    match error {
        AsideError::Internal => FetchError::Internal,
        AsideError::TimedOut if request.jwks_file.is_some() => {
            FetchError::JwksFileNotRead(FileError::TimedOut)
        }
        AsideError::TimedOut if request.route.ca_file.is_some() => {
            FetchError::CaFileNotRead(FileError::TimedOut)
        }
        AsideError::TimedOut => FetchError::TimedOut {
            to: request.tenant.authority().as_str().to_owned(),
            during: "for all that was to be done",
        },
    }
}

fn publish(Fetch { request, file, began, .. }: &Fetch, fetched: Fetched) -> Result<Published, FetchError> {
    let now = clock::now();
    let source = if fetched.modified.is_some() { Source::File } else { Source::Network };
    let dated = fetched.modified.unwrap_or(now);
    if dated > now {
        return Err(FetchError::JwksFileFromTheFuture);
    }
    key_cache::publish(&request.tenant, &fetched.keys, dated, source, request.jwks_file.as_deref());
    note_fetch(&request.tenant, |fetch| {
        (fetch.last_success, fetch.last_error, fetch.last_cause) = (Some(now), Inline::EMPTY, Inline::EMPTY);
    });
    shmem::update_refresh_state(|state| {
        state.clock_ahead = fetched.provider_time.map(|time| now.since(time));
    });
    Ok(Published {
        line: LogLine::new("pgaad: keys refreshed:")
            .fact("keys", fetched.keys.keys().len())
            .fact("unusable", fetched.keys.errors().len())
            .fact("source", source.name())
            .fact("age_s", now.since(dated))
            .fact("took_ms", began.elapsed().as_millis())
            .fact("tid", request.tenant.id()),
        snapshot: (source == Source::Network)
            .then(|| (file.clone(), Snapshot::new(&request.tenant, now, fetched.cloud, fetched.document))),
    })
}

/// Writes keys down for the next start, and tells of them.
fn write_down(published: Published) {
    if let Some((file, snapshot)) = &published.snapshot {
        key_file::write(file, snapshot);
    }
    report::log(&published.line.into_text());
}

/// As much of a text as fits.
fn start_of(text: &str, most_bytes: usize) -> &str {
    text.char_indices()
        .map(|(place, c)| place + c.len_utf8())
        .take_while(|end| *end <= most_bytes)
        .last()
        .and_then(|end| text.get(..end))
        .unwrap_or_default()
}

fn note_error(tenant: &Tenant, code: &str, words: &str) {
    let code = Inline::new(code.as_bytes()).unwrap_or_default();
    let words = Inline::new(start_of(words, LONGEST_CAUSE).as_bytes()).unwrap_or_default();
    note_fetch(tenant, |fetch| (fetch.last_error, fetch.last_cause) = (code, words));
}

fn note_settings_error(code: &str) {
    let code = Inline::new(code.as_bytes()).unwrap_or_default();
    shmem::update_refresh_state(|state| state.settings_error = code);
}

fn note_fetch(tenant: &Tenant, note: impl FnOnce(&mut FetchState)) {
    let is_of = |fetch: &&mut FetchState| fetch.issuer.as_str() == tenant.v2_issuer();
    shmem::update_refresh_state(|state| {
        if let Some(fetch) = state.fetches.iter_mut().find(is_of) {
            note(fetch);
        }
    });
}

/// Has a place for each tenant, in their order, with what is known of it.
fn keep_fetches_of(requests: &[FetchRequest]) {
    shmem::update_refresh_state(|state| {
        let known = *state;
        state.fetches = [FetchState::default(); MAX_TENANTS];
        for (place, request) in state.fetches.iter_mut().zip(requests) {
            let issuer = Inline::new(request.tenant.v2_issuer().as_bytes()).unwrap_or_default();
            *place = FetchState { issuer, ..key_cache::fetches_of(&known, &request.tenant) };
        }
    });
}
