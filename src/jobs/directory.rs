//! Reads the groups and the accounts of the directory: on schedule, when somebody asks, and at once when a role is
//! bound to a group that has never been read, or what was read is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pgaad_core::Reason;
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::kind::Kind;
use pgaad_core::label::Binding;
use pgaad_core::log_line::LogLine;
use pgaad_core::refresh::{RefreshPolicy, next_fetch_in};
use pgaad_core::refresh_queue::Ticket;
use pgaad_core::settings::Settings;
use pgaad_core::settings::directory::DirectorySettings;
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use pgaad_provider::Route;
use pgaad_provider::directory_run::{self, DirectoryReport, DirectoryRequest, TIME};
use pgaad_provider::directory_state::DirectoryState;
use pgaad_provider::graph::{GraphRequest, LocalServices};
use pgaad_provider::set_store::SetStore;

use super::aside::{Aside, Threads};
use super::directory_sessions;
use super::job::{IDLE, Job, ReadSettings};
use crate::pg::{catalog, clock, report, shmem, worker};
use crate::{events, session_rows};

/// How often it looks whether a run is over.
const POLL: Duration = Duration::from_millis(50);

/// How often it looks whether a group is new or lost, while no run is due.
const LOOK: Duration = Duration::from_secs(10);

/// The first wait after a run that failed; each is twice as long as the one before.
const RETRY: Duration = Duration::from_secs(30);

/// How many threads there may be, twice: a run, and names that are asked for beside it.
pub(super) const THREADS: usize = 4;

/// Between two tries of one question.
const PAUSE: Duration = Duration::from_secs(1);

/// Most groups of one tenant that are read. Whoever may label roles could else have Graph asked for ever.
const MAX_GROUPS: usize = 1_000;

/// The job.
pub(super) struct ReadDirectory {
    threads: Threads,
    run: Option<Run>,
    /// When the directory is read next if nobody asks.
    next: Instant,
    /// When it looks next for groups that are new or lost.
    look: Instant,
    /// How many runs in a row have failed.
    failures: u32,
    /// What the last run was about.
    asked: Wanted,
    /// What the log was told last.
    told: BTreeMap<TenantId, String>,
}

impl Default for ReadDirectory {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            threads: Threads::default(),
            run: None,
            next: now,
            look: now,
            failures: 0,
            asked: Wanted::default(),
            told: BTreeMap::new(),
        }
    }
}

/// A run. From the time that it is there, whoever asks for one waits for it, or for the one after it.
struct Run {
    ticket: Ticket,
    began_at: UnixTime,
    /// `None` until it begins, and where it cannot.
    aside: Option<Aside<Vec<DirectoryReport>>>,
    /// Whether the configuration was reloaded after it began.
    is_outdated: bool,
}

/// The groups and the users of each tenant that somebody may log in by.
type Wanted = BTreeMap<TenantId, (BTreeSet<ObjectId>, BTreeSet<ObjectId>)>;

impl Job for ReadDirectory {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.run.is_none() {
            let is_time = self.next <= now;
            let ticket = shmem::with_directory_queue(|queue| {
                queue.pending().or_else(|| is_time.then(|| queue.ask(clock::monotonic())))
            });
            self.run =
                ticket.map(|ticket| Run { ticket, began_at: clock::now(), aside: None, is_outdated: false });
        }
        Some(match &self.run {
            None => self.next.min(self.look),
            Some(Run { aside: Some(_), .. }) => now + POLL,
            Some(Run { aside: None, .. }) => now,
        })
    }

    fn run(&mut self, settings: &ReadSettings) {
        match self.run.take() {
            None => self.look_for_changes(settings),
            Some(run @ Run { aside: None, .. }) => self.begin(run, settings),
            Some(run) => match run.aside.as_ref().and_then(Aside::poll) {
                None => self.run = Some(run),
                Some(reports) => self.finish(&run, &reports.unwrap_or_default(), settings),
            },
        }
    }

    fn on_reload(&mut self, _settings: &ReadSettings) {
        self.threads.on_reload();
        (self.failures, self.next) = (0, Instant::now());
        if let Some(run) = &mut self.run {
            run.is_outdated = run.aside.is_some();
        }
    }
}

impl ReadDirectory {
    fn begin(&mut self, run: Run, settings: &ReadSettings) {
        let requests = requests_of(settings);
        let Ok((wanted, requests)) = requests else {
            if let Err(reason) = &requests {
                tell(&mut self.told, None, reason.facts(LogLine::new("pgaad: directory not read:")));
            }
            return self.finish(&run, &[], settings);
        };
        self.asked = wanted;
        let store = SetStore::new(&worker::data_directory());
        let work = move || requests.into_iter().map(|request| directory_run::run(request, &store)).collect();
        match self.threads.start(TIME + POLL, THREADS, work) {
            Ok(aside) => self.run = Some(Run { aside: Some(aside), ..run }),
            Err(error) => {
                let line = LogLine::new("pgaad: directory not read:");
                let line = line.quoted("cause", &format!("no thread could be started: {error:?}"));
                tell(&mut self.told, None, line);
                self.finish(&run, &[], settings);
            }
        }
    }

    /// Writes down how it went, answers those who wait, and sees when the directory is read next.
    fn finish(&mut self, run: &Run, reports: &[DirectoryReport], settings: &ReadSettings) {
        let has_failed = reports.is_empty() || reports.iter().any(|report| report.error().is_some());
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
        let interval = directory_of(settings).map_or(IDLE, |(_, _, directory)| directory.interval);
        let policy = RefreshPolicy { interval, cooldown: RETRY, max_stale: IDLE };
        (self.next, self.look) =
            (Instant::now() + next_fetch_in(self.failures, &policy), Instant::now() + LOOK);
        if !reports.is_empty() {
            self.write_down(run, reports);
        }
        if let Ok(settings) = settings
            && settings.directory_ends_sessions
        {
            directory_sessions::end(settings);
        }
        let now = clock::monotonic();
        shmem::with_directory_queue(|queue| {
            if run.is_outdated { queue.repeat(now) } else { queue.finish(run.ticket, now) }
        });
        if run.is_outdated {
            (self.failures, self.next) = (0, Instant::now());
        }
    }

    fn write_down(&mut self, run: &Run, reports: &[DirectoryReport]) {
        let data_directory = worker::data_directory();
        let state = DirectoryState::read(&data_directory).after(reports, run.began_at, clock::now());
        if let Err(error) = state.write(&data_directory) {
            let line = LogLine::new("pgaad: cannot write pgaad/directory.json:");
            tell(&mut self.told, None, line.quoted("cause", &error.to_string()));
        }
        let store = SetStore::new(&data_directory);
        let groups: Vec<_> = self.asked.values().flat_map(|(groups, _)| groups).copied().collect();
        store.forget_others(&groups, clock::now(), Duration::from_secs(30 * 86_400));
        for report in reports {
            let line = line_of(report, &store);
            tell(&mut self.told, Some(report.tenant), line);
        }
    }

    /// Has the directory read at once, where a role is bound to a group that the last run did not read, or what it read
    /// is lost.
    fn look_for_changes(&mut self, settings: &ReadSettings) {
        self.look = Instant::now() + LOOK;
        // A run that failed is repeated in its own time.
        let Some((policy, ..)) = directory_of(settings).filter(|_| self.failures == 0) else { return };
        let wanted = worker::in_transaction(|| wanted(policy, false));
        let store = SetStore::new(&worker::data_directory());
        let asks_for_more = wanted.iter().any(|(tenant, (groups, _))| {
            let asked = self.asked.get(tenant).map(|(groups, _)| groups);
            groups.iter().any(|group| {
                !asked.is_some_and(|asked| asked.contains(group)) || store.is_lost(*tenant, *group)
            })
        });
        if asks_for_more {
            self.next = Instant::now();
        }
    }
}

/// The settings that a run goes by; `None` while one of them cannot be used, or there is no tenant.
fn directory_of(settings: &ReadSettings) -> Option<(&TokenPolicy, &Settings, &DirectorySettings)> {
    let settings = settings.as_ref().ok()?;
    Some((settings.token.as_ref()?, settings, settings.directory.as_ref().ok()?))
}

/// What a run asks for.
///
/// # Errors
/// The setting that cannot be used.
fn requests_of(settings: &ReadSettings) -> Result<(Wanted, Vec<DirectoryRequest>), Reason> {
    let settings = settings.as_ref().map_err(Reason::clone)?;
    let policy = settings.token.as_ref().ok_or(Reason::NotConfigured)?;
    let directory = settings.directory.as_ref().map_err(Reason::clone)?;
    let wanted = worker::in_transaction(|| wanted(policy, directory.accounts));
    let request = |tenant: &Tenant| {
        let (groups, users) = wanted.get(&tenant.id()).cloned().unwrap_or_default();
        DirectoryRequest {
            graph: graph_request(settings, directory, tenant, TIME),
            groups: groups.into_iter().take(MAX_GROUPS).collect(),
            users: users.into_iter().collect(),
            nested: directory.nested,
            programs: directory.programs,
        }
    };
    let requests = policy.tenants().map(request).collect();
    Ok((wanted, requests))
}

/// Whom to ask, as whom, and for how long.
pub(super) fn graph_request(
    settings: &Settings,
    directory: &DirectorySettings,
    tenant: &Tenant,
    time: Duration,
) -> GraphRequest {
    GraphRequest {
        tenant: tenant.clone(),
        route: Route { ca_file: settings.ca_file.clone(), https_proxy: settings.https_proxy.clone() },
        graph_url: directory.graph_url.clone(),
        credential: directory.credential.clone(),
        client_id: directory.client_id,
        data_directory: worker::data_directory(),
        local: LocalServices::default(),
        time,
        pause: PAUSE,
    }
}

/// The groups that roles are bound to and, where accounts count, the users: of roles, connected, and lately logged in.
fn wanted(policy: &TokenPolicy, accounts: bool) -> Wanted {
    let home = policy.tenant.id();
    let mut wanted: Wanted = policy.tenants().map(|tenant| (tenant.id(), Default::default())).collect();
    for labelling in catalog::labellings_of_members() {
        let Some((groups, users)) = wanted.get_mut(&labelling.tenant.unwrap_or(home)) else { continue };
        match labelling.binding {
            Binding::Group(group) => drop(groups.insert(group)),
            Binding::User(user) if accounts => drop(users.insert(user)),
            _ => {}
        }
    }
    if accounts {
        let recent = events::last();
        let recent = recent.iter().filter_map(|(_, event)| session_rows::user_of(event.subject.as_ref()?));
        let logins = session_rows::logins();
        let connected = logins.iter().filter(|login| login.kind == Kind::User);
        let connected = connected.map(|login| (login.tenant, login.object_id));
        for (tenant, user) in recent.chain(connected) {
            if let Some((_, users)) = wanted.get_mut(&tenant) {
                users.insert(user);
            }
        }
    }
    wanted
}

/// What the log says of a run.
fn line_of(report: &DirectoryReport, store: &SetStore) -> LogLine {
    let done = report.groups.iter().filter(|(_, done)| done.is_ok());
    let members = done.clone().filter_map(|(group, _)| store.outline(report.tenant, *group));
    let members: u64 = members.map(|outline| outline.count).sum();
    let error = report.error();
    let line =
        LogLine::new(if error.is_some() { "pgaad: directory not read:" } else { "pgaad: directory read:" });
    let line = error.iter().fold(line, |line, error| {
        let line = line.fact("code", error.code());
        error.words().iter().fold(line, |line, words| line.quoted("cause", words))
    });
    let line = line.fact("groups", done.count()).fact("members", members);
    let failed = report.groups.iter().filter(|(_, done)| done.is_err()).count();
    let line = if failed > 0 { line.fact("failed", failed) } else { line };
    let line = match &report.accounts {
        Some(Ok(accounts)) => line.fact("accounts", accounts),
        _ => line,
    };
    line.fact("tid", report.tenant)
}

/// Tells the log what it has not been told: a run each five minutes would fill it.
fn tell(told: &mut BTreeMap<TenantId, String>, tenant: Option<TenantId>, line: LogLine) {
    let text = line.into_text();
    let tenant = tenant.unwrap_or(TenantId::from_bytes([0; 16]));
    if told.get(&tenant) != Some(&text) {
        report::log(&text);
        told.insert(tenant, text);
    }
}
