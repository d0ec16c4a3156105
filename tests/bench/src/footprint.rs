//! What the library weighs: memory of a backend and of the worker, time to load it, threads.

use std::fs;
use std::time::{Duration, Instant};

use pgaad_tests::account::server_command;
use pgaad_tests::cluster::Cluster;
use pgaad_tests::process;

use crate::Effort;
use crate::bed::{Bed, Transport, Way};
use crate::load;
use crate::login::{Session, login};
use crate::page::{AtMost, Page};
use crate::sample::{Ratio, count, quantile};

/// How often the worker is made to fetch, to see whether it grows.
const REFRESHES: usize = 300;

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    sessions(bed, effort, page);
    loading(bed, effort, page);
    processes(bed, page);
}

fn sessions(bed: &Bed, effort: Effort, page: &mut Page) {
    page.heading("A session's memory, kB");
    page.row(&["session", "anonymous", "all, its part of what is shared"]);
    let (mut bare, mut plain) = (0.0, 0.0);
    for way in [Way::Bare, Way::Trust, Way::Scram, Way::TokenTrust, Way::TokenPam, Way::TokenLeanPam] {
        // The first sessions of a database build caches that later ones read from a file.
        load::round(bed.cluster_of(way), &bed.ticket(way, Transport::Plain), 1, effort.logins);
        let sessions: Vec<_> = (0..effort.rounds).map(|_| memory_of_a_session(bed, way)).collect();
        let median = |of: fn(&Memory) -> usize| {
            quantile(sessions.iter().map(|memory| count(of(memory))).collect(), 0.5)
        };
        let (own, all) = (median(|memory| memory.anonymous), median(|memory| memory.in_all));
        page.row(&[way.name(), &format!("{own:.0}"), &format!("{all:.0}")]);
        let mut bound = |what: &str, more: f64| page.target(what, Ratio::exactly(more), AtMost(256.0));
        match way {
            Way::Bare => bare = own,
            Way::Trust => {
                plain = own;
                bound("memory of a session, pgaad preloaded − not, kB", own - bare);
            }
            Way::TokenTrust => bound("memory of a session, token over trust − trust, kB", own - plain),
            Way::TokenPam => bound("memory of a session, token over pam − trust, kB", own - plain),
            _ => {}
        }
    }
}

fn loading(bed: &Bed, effort: Effort, page: &mut Page) {
    page.heading("Loading the libraries (`postgres -C shared_memory_size`)");
    page.row(&["server", "ms"]);
    let clusters = [Way::Bare, Way::Trust].map(|way| bed.cluster_of(way));
    clusters.iter().for_each(|cluster| cluster.stop());
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..effort.rounds {
        for (cluster, times) in clusters.iter().zip(&mut times) {
            times.push(time_to_load(cluster));
        }
    }
    for cluster in clusters {
        cluster.start_again().expect("it started before");
    }
    let [bare, with] = times.map(|times| quantile(times, 0.5));
    page.row(&["without pgaad", &format!("{bare:.1}")]);
    page.row(&["with pgaad", &format!("{with:.1}")]);
    page.target("loading pgaad, its _PG_init included, ms", Ratio::exactly(with - bare), AtMost(20.0));
}

fn processes(bed: &Bed, page: &mut Page) {
    bed.cluster.wait_until_ready();
    let pid = bed.cluster.postmaster_pid();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs").count();
    page.target("threads in the postmaster", Ratio::exactly(count(threads)), AtMost(1.0));

    let worker = *bed.cluster.processes("pgaad key worker").first().expect("there is a worker");
    let refresh = |times: usize| {
        let rows = bed.cluster.sql(&format!("SELECT pgaad.refresh() FROM generate_series(1, {times})"));
        assert!(rows.iter().flatten().all(|cell| cell.as_deref() == Some("t")), "a fetch failed");
    };
    refresh(REFRESHES / 10);
    let before = memory(worker).anonymous;
    refresh(REFRESHES);
    let growth = count(memory(worker).anonymous) - count(before);
    page.target(
        &format!("memory that {REFRESHES} fetches leave behind in the worker, kB"),
        Ratio::exactly(growth),
        AtMost(64.0),
    );
}

/// In kilobytes.
struct Memory {
    /// What is neither of a file, which is in the page cache whichever process maps it, nor shared memory. Pages of the
    /// postmaster's that nobody has written to since count as well, in full, and so the same in all its sessions.
    anonymous: usize,
    /// All that it has mapped, divided among those that share it.
    in_all: usize,
}

fn memory_of_a_session(bed: &Bed, way: Way) -> Memory {
    let session: Session = login(&bed.ticket(way, Transport::Plain)).expect("let in");
    let cluster = bed.cluster_of(way);
    let is_it = |pid: &u32| process::title(*pid).contains(" 127.0.0.1(");
    let pid = process::children(cluster.postmaster_pid()).into_iter().find(is_it).expect("a backend");
    let memory = memory(pid);
    drop(session);
    while process::children(cluster.postmaster_pid()).contains(&pid) {
        std::thread::sleep(Duration::from_millis(2));
    }
    memory
}

/// What the kernel says of a process' memory (proc(5), `/proc/PID/smaps_rollup`).
fn memory(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("root reads it");
    let field = |name: &str| -> usize {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    Memory { anonymous: field("Anonymous:"), in_all: field("Pss:") }
}

/// A stopped server is asked for a setting that depends on what its libraries ask for, so it loads them and ends.
fn time_to_load(cluster: &Cluster) -> f64 {
    let mut command = server_command(cluster.installation().program("postgres"));
    command.args(["-C", "shared_memory_size", "-D"]).arg(cluster.data_dir());
    let began = Instant::now();
    let output = command.output().unwrap_or_else(|error| panic!("postgres: {error}"));
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}
