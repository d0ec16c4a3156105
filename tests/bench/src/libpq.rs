//! The ways in by PostgreSQL's own client library, as most clients take them: `pgbench -C`, a connection for each query.
//!
//! libpq computes a SCRAM proof several times as slowly as the bare client of the other chapters, and has a cost of its own
//! at each connection; so these are the ratios that people see, and the ones that have bounds.

use std::fs;
use std::process::Command;

use pgaad_tests::run_directory;
use pgaad_tests::wire::Address;

use crate::Effort;
use crate::bed::{Bed, Transport, Way};
use crate::page::{AtLeast, Page};
use crate::sample::{Ratio, quantile};

const WAYS: [Way; 7] =
    [Way::Trust, Way::Password, Way::Md5, Way::Scram, Way::TokenTrust, Way::TokenPam, Way::TokenLeanPam];

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    let mut rates = WAYS.map(|_| Vec::new());
    for number in 0..effort.rounds {
        for turn in 0..WAYS.len() {
            let which = (number + turn) % WAYS.len();
            rates[which].push(logins_per_second(bed, WAYS[which], effort.logins));
        }
    }
    let of = |way| &rates[WAYS.iter().position(|other| *other == way).expect("it is measured")];
    let by = |way, other| Ratio::of(of(way).iter().zip(of(other)).map(|(one, other)| one / other).collect());

    page.heading("Logins by libpq (`pgbench -C`), without TLS, 1 client");
    page.row(&["method", "logins/s", "× trust", "× password", "× scram-sha-256"]);
    for way in WAYS {
        page.row(&[
            way.name(),
            &format!("{:.0}", quantile(of(way).clone(), 0.5)),
            &by(way, Way::Trust).to_string(),
            &by(way, Way::Password).to_string(),
            &by(way, Way::Scram).to_string(),
        ]);
    }
    page.target("logins/s, token over trust / trust", by(Way::TokenTrust, Way::Trust), AtLeast(0.95));
    page.target("logins/s, token over pam / trust", by(Way::TokenPam, Way::Trust), AtLeast(0.60));
    page.target("logins/s, token over pam / scram", by(Way::TokenPam, Way::Scram), AtLeast(1.3));
    page.target(
        "logins/s, token over pam, lean `other` / trust",
        by(Way::TokenLeanPam, Way::Trust),
        AtLeast(0.80),
    );
}

fn logins_per_second(bed: &Bed, way: Way, logins: usize) -> f64 {
    let ticket = bed.ticket(way, Transport::Plain);
    let Address::Plain(address) = ticket.target.address else { unreachable!("asked for without TLS") };
    let script = run_directory::fresh("select.sql");
    fs::write(&script, "SELECT 1;\n").expect("our own file");
    let output = Command::new(bed.cluster.installation().program("pgbench"))
        .args(["-C", "-n", "-c", "1", "-t", &logins.to_string(), "-f"])
        .arg(&script)
        .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-U", &ticket.user])
        .arg(&ticket.target.database)
        .env("PGPASSWORD", String::from_utf8(ticket.secret).expect("text"))
        .env("PGSSLMODE", "disable")
        .env("PGGSSENCMODE", "disable")
        .output()
        .unwrap_or_else(|error| panic!("pgbench: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.filter(|_| output.status.success())
        .unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}
