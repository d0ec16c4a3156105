//! Five hundred clients that reconnect at once, after a restart that took the keys away.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgaad_tests::{process, run_directory};

use crate::bed::{Bed, Transport, Way};
use crate::login::login;
use crate::page::Page;
use crate::sample::quantile;

const CLIENTS: usize = 500;
/// What a pool would wait before it tries again.
const PAUSE: Duration = Duration::from_millis(50);
const SMALL_STACK: usize = 256 << 10;

pub fn measure(bed: &Bed, page: &mut Page) {
    page.heading(&format!("{CLIENTS} clients after a restart"));
    page.row(&[
        "way",
        "all in after, s",
        "median client, s",
        "refused meanwhile",
        "fetches",
        "waits for a lock",
        "for one of pgaad's",
    ]);
    for way in [Way::Trust, Way::TokenTrust, Way::TokenPam] {
        let herd = run(bed, way, false);
        let Waits { all, ours } = run(bed, way, true).waits;
        page.row(&[
            way.name(),
            &format!("{:.2}", herd.all_in),
            &format!("{:.2}", herd.median),
            &herd.refused.to_string(),
            &herd.fetches.to_string(),
            &all.to_string(),
            &ours.to_string(),
        ]);
    }
    page.line(
        "\nWaits for a lock were counted in a run of their own, under strace: futex(2) calls that slept, of all \
         backends, and the library that had called `LWLockAcquire`.",
    );
}

struct Herd {
    all_in: f64,
    median: f64,
    refused: usize,
    fetches: usize,
    waits: Waits,
}

/// How often backends slept for a lock.
#[derive(Default)]
struct Waits {
    all: usize,
    /// For a lock that pgaad itself had asked for, and not core on its behalf.
    ours: usize,
}

fn run(bed: &Bed, way: Way, is_traced: bool) -> Herd {
    let ticket = bed.ticket(way, Transport::Plain);
    let fetches = bed.tenant.fetches();
    let refused = AtomicUsize::new(0);
    bed.cluster.restart();
    let trace = is_traced.then(|| Trace::of(bed.cluster.postmaster_pid()));
    let began = Instant::now();
    let enter = || loop {
        match login(&ticket) {
            Ok(session) => return (began.elapsed().as_secs_f64(), session),
            Err(_) => refused.fetch_add(1, Ordering::Relaxed),
        };
        thread::sleep(PAUSE);
    };
    let entered: Vec<_> = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().stack_size(SMALL_STACK).spawn_scoped(scope, enter);
        let clients: Vec<_> = (0..CLIENTS).map(|number| spawn(number).expect("a thread")).collect();
        clients.into_iter().map(|client| client.join().expect("let in at last")).collect()
    });
    let times: Vec<f64> = entered.iter().map(|(time, _)| *time).collect();
    drop(entered);
    let waits = trace.map(Trace::waits).unwrap_or_default();
    Herd {
        all_in: quantile(times.clone(), 1.0),
        median: quantile(times, 0.5),
        refused: refused.into_inner(),
        fetches: bed.tenant.fetches() - fetches,
        waits,
    }
}

/// strace beside the server and all that it forks: PostgreSQL's locks sleep in futex(2) (sem_wait(3)).
struct Trace {
    strace: std::process::Child,
    file: std::path::PathBuf,
}

impl Trace {
    fn of(pid: u32) -> Trace {
        let file = run_directory::fresh("futexes");
        let strace = Command::new("strace")
            .args(["-f", "-k", "-qq", "-e", "trace=futex", "-o"])
            .arg(&file)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("strace: {error}"));
        thread::sleep(Duration::from_millis(500));
        Trace { strace, file }
    }

    fn waits(mut self) -> Waits {
        process::signal(self.strace.id(), "INT");
        let _ = self.strace.wait();
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        // A wait that found the value changed meanwhile ends with EAGAIN and did not sleep.
        let waited = |line: &&str| line.contains("FUTEX_WAIT") && !line.contains("EAGAIN");
        let lines: Vec<&str> = text.lines().collect();
        // The stack follows, the caller after the called.
        let is_ours = |pair: &&[&str]| pair[0].contains("(LWLockAcquire+") && pair[1].contains("/pgaad.so");
        Waits {
            all: lines.iter().copied().filter(waited).count(),
            ours: lines.windows(2).filter(is_ours).count(),
        }
    }
}
