//! What the library weighs: memory of a backend, time to start a server, threads.

use std::fs;
use std::time::{Duration, Instant};

use pgaad_tests::cluster::Cluster;
use pgaad_tests::process;

use crate::Effort;
use crate::bed::{Bed, Transport, Way};
use crate::login::{Session, login};
use crate::page::Page;
use crate::sample::quantile;

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    page.heading("A session's memory, kB");
    page.row(&["session", "its own pages", "pages shared with others, its part"]);
    for way in [Way::Bare, Way::Trust, Way::Scram, Way::TokenTrust, Way::TokenPam, Way::TokenLeanPam] {
        let sessions: Vec<_> = (0..effort.rounds).map(|_| memory_of_a_session(bed, way)).collect();
        let median = |of: fn(&Memory) -> usize| {
            quantile(sessions.iter().map(|memory| crate::sample::count(of(memory))).collect(), 0.5)
        };
        let (own, shared) = (median(|memory| memory.own), median(|memory| memory.part_of_shared));
        page.row(&[way.name(), &format!("{own:.0}"), &format!("{shared:.0}")]);
    }

    page.heading("Starting the server");
    page.row(&["server", "until it answers, ms"]);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..effort.rounds {
        for (way, times) in [Way::Bare, Way::Trust].into_iter().zip(&mut times) {
            times.push(time_to_start(bed.cluster_of(way)));
        }
    }
    for (name, times) in ["without pgaad", "with pgaad"].iter().zip(times) {
        page.row(&[name, &format!("{:.1}", quantile(times, 0.5))]);
    }
    bed.cluster.wait_until_ready();
    let pid = bed.cluster.postmaster_pid();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs").count();
    page.line(&format!("\nThreads in the postmaster: {threads}."));
}

/// In kilobytes.
struct Memory {
    own: usize,
    part_of_shared: usize,
}

fn memory_of_a_session(bed: &Bed, way: Way) -> Memory {
    let session: Session = login(&bed.ticket(way, Transport::Plain)).expect("let in");
    let cluster = bed.cluster_of(way);
    let is_it = |pid: &u32| process::title(*pid).contains(" 127.0.0.1(");
    let pid = process::children(cluster.postmaster_pid()).into_iter().find(is_it).expect("a backend");
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("root reads it");
    drop(session);
    let field = |name: &str| -> usize {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
    };
    let own = field("Private_Clean:") + field("Private_Dirty:");
    while process::children(cluster.postmaster_pid()).contains(&pid) {
        std::thread::sleep(Duration::from_millis(2));
    }
    Memory { own, part_of_shared: field("Pss:").saturating_sub(own) }
}

fn time_to_start(cluster: &Cluster) -> f64 {
    cluster.stop();
    let began = Instant::now();
    cluster.start_again().expect("it started before");
    began.elapsed().as_secs_f64() * 1e3
}
