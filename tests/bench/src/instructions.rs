//! What pgaad costs a login that is not its business: instructions of the backend, counted by callgrind, since one
//! per cent is below the noise of the clock.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pgaad_tests::cluster::Cluster;
use pgaad_tests::{Installation, account, run_directory};

use crate::page::{AtLeast, Page};
use crate::sample::{Ratio, count, quantile};

/// Counts hardly differ between logins.
const LOGINS: usize = 7;

/// A database, and so a method; the role; the name in the table.
const LOGINS_OF_OTHERS: [(&str, &str, &str); 3] = [
    ("by_trust", "alone", "trust"),
    ("by_trust", "grouped", "trust, a role that is a member of another"),
    ("by_scram", "alone", "scram-sha-256"),
];

pub fn measure(page: &mut Page) {
    page.heading("Logins that are not pgaad's business: instructions of a backend");
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return page.line("Not to be counted here: there is no valgrind.");
    }
    let without = counts(&Installation::without_pgaad(), "");
    let with = counts(&Installation::pgaad(), "pgaad");
    page.row(&["login", "without pgaad", "with pgaad", "ratio"]);
    for ((way, without), with) in LOGINS_OF_OTHERS.iter().zip(without).zip(with) {
        let ratio = without / with;
        page.row(&[way.2, &format!("{without:.0}"), &format!("{with:.0}"), &format!("{ratio:.4}")]);
        if way.1 == "alone" {
            let what = format!("instructions of a login by {}, without pgaad / with", way.2);
            page.target(&what, Ratio::exactly(ratio), AtLeast(0.99));
        }
    }
}

/// The median for each kind of login.
fn counts(installation: &Installation, libraries: &str) -> Vec<f64> {
    let directory = run_directory::fresh("callgrind");
    fs::create_dir(&directory).expect("our own directory");
    account::give_to_servers(&directory);
    let file = format!("--callgrind-out-file={}/%p", directory.display());
    // From the start of the session to the end of the process (postgres.c); what the postmaster did before the fork
    // is not counted.
    let only = "--toggle-collect=PostgresMain";
    let callgrind = ["valgrind", "--quiet", "--tool=callgrind", "--collect-atstart=no", only, &file];
    let cluster = Cluster::new(installation)
        .conf("shared_preload_libraries", libraries)
        .conf("autovacuum", "off")
        .hba("local by_trust all trust")
        .hba("local by_scram all scram-sha-256")
        .run_by(&callgrind)
        .start();
    for marker in ["azure_ad_user", "azure_ad_admin", "azure_ad_mfa"] {
        cluster.sql(&format!("CREATE ROLE {marker}"));
    }
    cluster.sql("CREATE ROLE alone LOGIN PASSWORD 'secret'");
    cluster.sql("CREATE ROLE team");
    cluster.sql("CREATE ROLE grouped LOGIN IN ROLE team");
    for database in ["by_trust", "by_scram"] {
        cluster.sql(&format!("CREATE DATABASE {database}"));
    }
    let median = |(database, role, _): &(&str, &str, &str)| {
        let counts = (0..LOGINS).map(|_| count(instructions(&cluster, &directory, database, role)));
        quantile(counts.collect(), 0.5)
    };
    LOGINS_OF_OTHERS.iter().map(median).collect()
}

/// The instructions of one session that does next to nothing.
fn instructions(cluster: &Cluster, directory: &Path, database: &str, role: &str) -> usize {
    let to = format!("host={} dbname={database} user={role}", cluster.socket_dir().display());
    let said = cluster.psql(&to, Some("secret"), "SELECT pg_backend_pid()");
    let pid = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    assert!(said.status.success(), "{said:?}");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = fs::read_to_string(directory.join(&pid)).unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
        if let Some(total) = total {
            return total;
        }
        assert!(Instant::now() < deadline, "callgrind has written nothing about {pid}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
