//! What others' statements cost with the library preloaded: each passes its hook.
//!
//! All by loops inside the server, so that no client and no network is measured with them, and in processor time of the
//! backend, since the clock of a shared machine is off by more than what is looked for. Where valgrind is installed,
//! the instructions of a statement are counted too, which is exact.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use pgaad_tests::account::server_command;
use pgaad_tests::cluster::Cluster;
use pgaad_tests::wire::{self, Outcome, Session};

use crate::Effort;
use crate::bed::{Bed, Way};
use crate::page::{AtLeast, Page};
use crate::sample::{Ratio, count, quantile};

/// What is run, its name first, and how often in a turn, a few dozen milliseconds each. None looks up a setting: that
/// takes another time where there are more settings.
const STATEMENTS: [(&str, &str, usize); 3] = [
    ("`CALL` of an empty procedure", "CALL nothing();", 10_000),
    ("`DISCARD SEQUENCES`", "DISCARD SEQUENCES;", 20_000),
    (
        "`CALL` whose error is caught",
        "BEGIN CALL fails(); EXCEPTION WHEN SQLSTATE 'PT429' THEN NULL; END;",
        4_000,
    ),
];

const PROCEDURES: &str = "CREATE OR REPLACE PROCEDURE nothing() LANGUAGE plpgsql AS 'BEGIN END';
    CREATE OR REPLACE PROCEDURE fails() LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'PT429'; END $$";

/// Turns of each server in a round.
const TURNS: usize = 8;

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    let clusters = [Way::Bare, Way::Trust].map(|way| bed.cluster_of(way));
    for cluster in clusters {
        cluster.sql(PROCEDURES);
    }
    by_time(clusters, effort, page);
    by_instructions(clusters, page);
}

fn by_time(clusters: [&Cluster; 2], effort: Effort, page: &mut Page) {
    page.heading("Statements of others, thousands a second of processor time");
    page.row(&["statement", "without pgaad", "with pgaad", "ratio"]);
    for (name, statement, times) in STATEMENTS {
        let sql = repeated(statement, times);
        let mut sessions = clusters.map(Loop::new);
        for session in &mut sessions {
            session.run(&sql);
        }
        let mut rates: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for round in 0..effort.rounds {
            let mut took = [0.0; 2];
            for turn in 0..2 * TURNS {
                let which = (round + turn + turn / 2) % 2;
                took[which] += sessions[which].run(&sql);
            }
            for (rates, took) in rates.iter_mut().zip(took) {
                rates.push(count(times * TURNS) / took / 1e3);
            }
        }
        let ratio = Ratio::of(rates[1].iter().zip(&rates[0]).map(|(with, without)| with / without).collect());
        let [without, with] = rates.map(|rates| format!("{:.1}", quantile(rates, 0.5)));
        page.row(&[name, &without, &with, &exact(ratio)]);
        // By time the cheapest statement differs from itself by more than the bound; its instructions do not.
        if statement.contains("CALL") {
            let what = format!("statements in a second of processor time, {name}, with / without");
            page.target(&what, ratio, AtLeast(0.99));
        }
    }
}

/// To three places: a hundredth is the bound.
fn exact(ratio: Ratio) -> String {
    format!("{:.3} ({:.3}–{:.3})", ratio.median, ratio.quartiles.0, ratio.quartiles.1)
}

fn by_instructions(clusters: [&Cluster; 2], page: &mut Page) {
    page.heading("Instructions of a statement");
    if Command::new("valgrind").arg("--version").output().is_err() {
        return page.line("Not counted here: there is no valgrind.");
    }
    page.row(&["statement", "without pgaad", "with pgaad", "ratio"]);
    clusters.iter().for_each(|cluster| cluster.stop());
    for (name, statement, _) in STATEMENTS {
        let [without, with] = clusters.map(|cluster| instructions(cluster, statement));
        let ratio = without / with;
        page.row(&[name, &format!("{without:.0}"), &format!("{with:.0}"), &format!("{ratio:.4}")]);
        page.target(&format!("instructions, {name}, without / with"), Ratio::exactly(ratio), AtLeast(0.99));
    }
    for cluster in clusters {
        cluster.start_again().expect("it started before");
    }
}

/// A statement so many times, in a loop of PL/pgSQL's.
fn repeated(statement: &str, times: usize) -> String {
    format!("DO $do$ BEGIN FOR n IN 1..{times} LOOP {statement} END LOOP; END $do$")
}

/// A session in which loops are run, and its process.
struct Loop {
    session: Session,
    schedstat: String,
}

impl Loop {
    fn new(cluster: &Cluster) -> Loop {
        let Outcome::Accepted(session) = wire::login(&cluster.unix("postgres"), "postgres", b"").outcome
        else {
            panic!("the superuser is let in")
        };
        let schedstat = format!("/proc/{}/schedstat", session.backend_pid);
        Loop { session, schedstat }
    }

    /// The processor time of one run, in seconds.
    fn run(&mut self, sql: &str) -> f64 {
        let before = self.processor_time();
        self.session.query(sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"));
        self.processor_time() - before
    }

    /// Seconds on a processor so far (Linux, `Documentation/scheduler/sched-stats.rst`: nanoseconds come first).
    fn processor_time(&self) -> f64 {
        let text = fs::read_to_string(&self.schedstat).expect("the backend runs");
        let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
        nanoseconds.expect("a number of nanoseconds") / 1e9
    }
}

/// What one more statement adds to the instructions of a server that runs by itself, on a stopped cluster.
fn instructions(cluster: &Cluster, statement: &str) -> f64 {
    const FEW: usize = 100;
    const MANY: usize = 1_100;
    let [few, many] = [FEW, MANY].map(|times| instructions_of(cluster, &repeated(statement, times)));
    (many - few) / count(MANY - FEW)
}

fn instructions_of(cluster: &Cluster, sql: &str) -> f64 {
    let mut command = server_command("valgrind");
    command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    command.arg(cluster.installation().program("postgres")).args(["--single", "-D"]).arg(cluster.data_dir());
    command.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap_or_else(|error| panic!("valgrind: {error}"));
    let mut input = server.stdin.take().expect("a pipe");
    input.write_all(format!("{sql}\n").as_bytes()).expect("the server reads");
    drop(input);
    let output = server.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR:"), "{said}");
    let line = said.lines().find(|line| line.contains("I refs:") || line.contains("I   refs:"));
    let digits: String =
        line.unwrap_or_else(|| panic!("{said}")).rsplit(':').next().unwrap_or_default().to_owned();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{said}"))
}
