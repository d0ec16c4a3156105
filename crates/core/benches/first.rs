//! What the first decision of a process costs that was just forked, as every login's is, beside a later one.
//!
//! Nothing of the cryptographic library may run in the parent before but the self-test, as in a postmaster: tokens are
//! minted in a process of their own.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod server;

use std::io::{Read, Write, pipe};
use std::process::exit;
use std::time::Instant;

use fork::{Fork, fork};
use pgaad_core::self_test::self_test;
use serde_json::{Value, json};

use server::{Bare, Server, signing_key, token_of};

const TOKEN_BYTES: usize = 2_000;
/// Processes of each kind.
const PROCESSES: usize = 400;
/// Which decision of a process counts as a later one.
const LATER: usize = 50;

fn main() {
    let minted = apart(|| format!("{}\n{}", signing_key(), token_of(TOKEN_BYTES)));
    let (key, token) = minted.split_once('\n').unwrap();
    let key: Value = serde_json::from_str(key).unwrap();
    let server = Server::with_jwks(&json!({ "keys": [key] }).to_string());
    let bare = Bare::by(&key);
    let decide = || drop(server.decide(token.as_bytes()).unwrap());
    let verify = || bare.verify(token);

    println!(
        "\n| in a process just forked, {} B | the first, µs | page faults | a later one, µs |",
        token.len()
    );
    println!("|---|--:|--:|--:|");
    row("decision, no self-test before the fork", &decide);
    row("verification alone, no self-test before the fork", &verify);
    assert!(self_test());
    row("decision", &decide);
    row("verification alone", &verify);
}

/// Medians over many processes.
fn row(name: &str, work: &dyn Fn()) {
    let reports: Vec<Vec<f64>> = (0..PROCESSES)
        .map(|_| apart(|| report(work)).split(' ').map(|number| number.parse().unwrap()).collect())
        .collect();
    let median = |column: usize| {
        let mut values: Vec<f64> = reports.iter().map(|report| report[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("| {name} | {:.1} | {:.0} | {:.1} |", median(0), median(1), median(2));
}

/// The first time, its page faults, and a later time, in this process.
fn report(work: &dyn Fn()) -> String {
    // The first reading of the file has page faults of its own.
    page_faults();
    let before = page_faults();
    let first = time(work);
    let faults = page_faults() - before;
    let later = (0..LATER).map(|_| time(work)).last().unwrap();
    format!("{first} {faults} {later}")
}

fn time(work: &dyn Fn()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6
}

/// Minor page faults of this process so far (proc(5), `/proc/PID/stat`, minflt).
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(7).unwrap().parse().unwrap()
}

/// What `work` says in a process of its own.
fn apart(work: impl Fn() -> String) -> String {
    let (mut reader, mut writer) = pipe().unwrap();
    match fork().unwrap() {
        Fork::Child => {
            let said = writer.write_all(work().as_bytes());
            exit(i32::from(said.is_err()));
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut said = String::new();
            reader.read_to_string(&mut said).unwrap();
            fork::waitpid(child).unwrap();
            said
        }
    }
}
