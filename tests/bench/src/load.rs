//! Rounds of logins, each way in its turn.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use pgaad_tests::cluster::Cluster;
use pgaad_tests::process;

use crate::Effort;
use crate::bed::Ticket;
use crate::login::login;
use crate::sample::{Round, Series, count};

/// Measures several tickets in turn, with so many clients at a time. The order turns by one each round, so that
/// nobody always comes after the same one.
pub fn in_turn(tickets: &[(&Cluster, Ticket)], clients: usize, effort: Effort) -> Vec<Series> {
    let mut series: Vec<Series> = tickets.iter().map(|_| Series::default()).collect();
    for (cluster, ticket) in tickets {
        round(cluster, ticket, clients, effort.logins / 4);
    }
    for number in 0..effort.rounds {
        for turn in 0..tickets.len() {
            let which = (number + turn) % tickets.len();
            let (cluster, ticket) = &tickets[which];
            series[which].rounds.push(round(cluster, ticket, clients, effort.logins));
        }
    }
    series
}

/// So many logins by so many clients, each one after the other.
pub fn round(cluster: &Cluster, ticket: &Ticket, clients: usize, logins: usize) -> Round {
    settle(cluster);
    let before = server_cpu(cluster);
    let start = Barrier::new(clients);
    let began = Instant::now();
    let client = || {
        start.wait();
        (0..logins.div_ceil(clients)).map(|_| time(ticket)).collect::<Vec<_>>()
    };
    let latencies = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("every login is let in")).collect()
    });
    let wall = began.elapsed();
    settle(cluster);
    Round { wall, latencies, server_cpu: server_cpu(cluster).saturating_sub(before) }
}

fn time(ticket: &Ticket) -> Duration {
    let began = Instant::now();
    let session = login(ticket).unwrap_or_else(|error| panic!("{}: {error}", ticket.user));
    let took = began.elapsed();
    drop(session);
    took
}

/// Waits until the backends of the last logins are gone and reaped.
fn settle(cluster: &Cluster) {
    let is_backend = |pid: &u32| process::title(*pid).contains(" 127.0.0.1(");
    while process::children(cluster.postmaster_pid()).iter().any(is_backend) {
        thread::sleep(Duration::from_millis(2));
    }
}

/// User and system time of the postmaster and of all its children that have ended (proc(5), `/proc/PID/stat`:
/// utime, stime, cutime, cstime).
fn server_cpu(cluster: &Cluster) -> Duration {
    /// Of `/proc`, on every architecture that Linux has.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", cluster.postmaster_pid())).expect("the server runs");
    // The second field is a name in parentheses, which may hold anything.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(4);
    let ticks: usize = fields.map(|field| field.parse::<usize>().expect("a number of ticks")).sum();
    Duration::from_secs_f64(count(ticks) / TICKS_PER_SECOND)
}
