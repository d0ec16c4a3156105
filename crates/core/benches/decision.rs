//! What a decision costs, as a multiple of the one RSA verification that it cannot do without.
//!
//! `make bench` runs this and prints the ratios; both sides are measured in one run, so that the
//! machine's changing speed cancels out. With `PGAAD_BENCH_CHECK` set it fails when a target is missed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod server;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use serde_json::{Value, json};
use tenant::Signer;

use server::{Bare, NOW, Server, signing_key, token, token_of};

fn main() {
    let server = Server::with_jwks(&jwks(8));
    let refusals = [
        ("garbage", "x".repeat(2_000)),
        ("unknown_kid", token().header("kid", "nobody").mint()),
        ("expired", token().claim("exp", NOW - 1_000).claim("nbf", NOW - 4_000).mint()),
        ("bad_signature", token().signed_by(Signer::Broken).mint()),
    ];
    let admitted = token_of(2_000);
    let passwords: Vec<&str> =
        refusals.iter().map(|(_, password)| password.as_str()).chain([admitted.as_str()]).collect();
    // Before Criterion leaves memory of its own, which would be used again.
    let growth = growth(&server, &passwords);

    let mut criterion = Criterion::default()
        .configure_from_args()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let bare = Bare::by(&signing_key());
    let sizes = [1_300, 2_000, 7_000, 16_000];
    let mut rows = Vec::new();
    for size in sizes {
        let token = token_of(size);
        let base = format!("bare/{size}");
        criterion.bench_function(&base, |b| b.iter(|| bare.verify(black_box(&token))));
        for keys in [1, 8, 64] {
            let server = Server::with_jwks(&jwks(keys));
            assert!(server.decide(token.as_bytes()).is_ok());
            let name = format!("decision/{size}-{keys}");
            criterion.bench_function(&name, |b| b.iter(|| server.decide(black_box(token.as_bytes()))));
            rows.push((format!("decision, {size} B, {keys} keys"), name, base.clone()));
        }
    }
    for (case, password) in &refusals {
        assert!(server.decide(password.as_bytes()).is_err());
        let name = format!("refusal/{case}");
        criterion.bench_function(&name, |b| b.iter(|| server.decide(black_box(password.as_bytes()))));
        rows.push((format!("refused: {case}"), name, "bare/2000".to_owned()));
    }
    criterion.final_summary();
    report(&rows);
    let met = targets(growth);
    if !met && std::env::var_os("PGAAD_BENCH_CHECK").is_some() {
        std::process::exit(1);
    }
}

/// A key set of so many; the tenant's own, which is looked for, comes last.
fn jwks(count: usize) -> String {
    let own = signing_key();
    let mut keys: Vec<Value> = (1..count)
        .map(|number| {
            let mut other = own.clone();
            other["kid"] = json!(format!("another-key-{number}"));
            other["x5t"] = json!(format!("another-key-{number}"));
            other
        })
        .collect();
    keys.push(own);
    json!({ "keys": keys }).to_string()
}

/// By how many kilobytes this process has grown after many decisions on each of these, more than after a few.
fn growth(server: &Server, passwords: &[&str]) -> f64 {
    let decide = |times: usize| {
        for _ in 0..times {
            passwords.iter().for_each(|password| drop(server.decide(black_box(password.as_bytes()))));
        }
    };
    // proc(5), `/proc/PID/status`.
    let resident = || -> f64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        line.unwrap().trim().parse().unwrap()
    };
    decide(1_000);
    let before = resident();
    decide(50_000);
    resident() - before
}

/// The bounds of a decision; whether it keeps them.
fn targets(growth: f64) -> bool {
    let at = |name: &str| median(name).unwrap_or(f64::INFINITY);
    let bounds = [
        ("decision / bare verification, 2 kB, 8 keys", at("decision/2000-8") / at("bare/2000"), 1.35),
        ("64 keys / 1 key, 2 kB", at("decision/2000-64") / at("decision/2000-1"), 1.1),
        ("garbage refused, µs", at("refusal/garbage") / 1e3, 5.0),
        ("memory that 250,000 decisions leave behind, kB", growth, 0.0),
    ];
    println!("\n| target | at most | measured | met |\n|---|--:|--:|--:|");
    for (what, measured, bound) in bounds {
        println!("| {what} | {bound} | {measured:.2} | {} |", if measured <= bound { "yes" } else { "no" });
    }
    bounds.iter().all(|(_, measured, bound)| measured <= bound)
}

/// The medians, and what they are in multiples of the bare verification.
fn report(rows: &[(String, String, String)]) {
    println!("\n| what | median | bare verification | ratio |\n|---|---|---|---|");
    for (what, name, base) in rows {
        let (Some(median), Some(bare)) = (median(name), median(base)) else { continue };
        println!("| {what} | {:.1} µs | {:.1} µs | {:.2} |", median / 1e3, bare / 1e3, median / bare);
    }
}

/// Criterion's estimate, nanoseconds.
fn median(name: &str) -> Option<f64> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into());
    let file = Path::new(&target).join("criterion").join(name.replace('/', "_")).join("new/estimates.json");
    let estimates: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
