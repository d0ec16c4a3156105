//! The ways in by PostgreSQL's own client library, as most clients take them: `pgbench -C`, a connection for each
//! query.
//!
//! libpq computes a SCRAM proof several times as slowly as the bare client of the other chapters, and has a cost of its
//! own at each connection; so these are the ratios that people see, and the ones that have bounds.

use std::fs;
use std::process::Command;

use pgaad_tests::run_directory;
use pgaad_tests::wire::Address;

use crate::Effort;
use crate::bed::{Bed, Transport, Way};
use crate::page::{AtLeast, Page};
use crate::sample::{Ratio, quantile};

const WAYS: [Way; 8] = Way::OF_EVERY_SERVER;

/// How many clients log in at a time, when they are many.
const CLIENTS: usize = 16;

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    for (clients, name) in [(1, "1 client".to_owned()), (CLIENTS, format!("{CLIENTS} clients"))] {
        // Many at a time need more, so that their beginning and their end count for little.
        let effort = if clients > 1 { Effort { logins: effort.logins * 4, ..effort } } else { effort };
        let rates = Rates::measured(bed, effort, clients);
        rates.table(page, &name);
        let mut bound = |way: Way, other: Way, least| {
            let what = format!("logins/s, {name}, {} / {}", way.name(), other.name());
            page.target(&what, rates.by(way, other), AtLeast(least));
        };
        bound(Way::TokenTrust, Way::Trust, 0.95);
        bound(Way::TokenPam, Way::Trust, 0.60);
        bound(Way::TokenPam, Way::Scram, 1.3);
        bound(Way::TokenLeanPam, Way::Trust, 0.80);
        bound(Way::TokenLeanPamWithoutNetlink, Way::Trust, 0.80);
    }
}

/// Logins a second of each way, round by round.
struct Rates([Vec<f64>; WAYS.len()]);

impl Rates {
    fn measured(bed: &Bed, effort: Effort, clients: usize) -> Rates {
        let mut rates = WAYS.map(|_| Vec::new());
        for number in 0..effort.rounds {
            for turn in 0..WAYS.len() {
                let which = (number + turn) % WAYS.len();
                rates[which].push(logins_per_second(bed, WAYS[which], clients, effort.logins));
            }
        }
        Rates(rates)
    }

    fn of(&self, way: Way) -> &[f64] {
        &self.0[WAYS.iter().position(|other| *other == way).expect("it is measured")]
    }

    fn by(&self, way: Way, other: Way) -> Ratio {
        Ratio::of(self.of(way).iter().zip(self.of(other)).map(|(one, other)| one / other).collect())
    }

    fn table(&self, page: &mut Page, clients: &str) {
        page.heading(&format!("Logins by libpq (`pgbench -C`), without TLS, {clients}"));
        page.row(&["method", "logins/s", "× trust", "× password", "× scram-sha-256"]);
        for way in WAYS {
            page.row(&[
                way.name(),
                &format!("{:.0}", quantile(self.of(way).to_vec(), 0.5)),
                &self.by(way, Way::Trust).to_string(),
                &self.by(way, Way::Password).to_string(),
                &self.by(way, Way::Scram).to_string(),
            ]);
        }
    }
}

fn logins_per_second(bed: &Bed, way: Way, clients: usize, logins: usize) -> f64 {
    let ticket = bed.ticket(way, Transport::Plain);
    let Address::Plain(address) = ticket.target.address else { unreachable!("asked for without TLS") };
    let script = run_directory::fresh("select.sql");
    fs::write(&script, "SELECT 1;\n").expect("our own file");
    let output = Command::new(bed.cluster.installation().program("pgbench"))
        .args(["-C", "-n", "-c", &clients.to_string(), "-j", &clients.to_string()])
        .args(["-t", &logins.div_ceil(clients).to_string(), "-f"])
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
