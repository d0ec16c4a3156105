//! The main job, end to end: an unmodified psql logs in to a real PostgreSQL with a token, and nothing else does.
//!
//! Everything shown is also checked; whatever is not as it should be ends the demo with an error.
//! `KEEP=1` leaves the servers running for a try by hand.

use pgaad_tests::cluster::Cluster;
use pgaad_tests::log::LogMark;
use pgaad_tests::{Installation, PamService, run_directory};
use std::io::{BufRead, IsTerminal};
use std::process::{Output, exit};
use std::time::Duration;
use tenant::{Signer, Tenant, Token};

const ALICE: &str = "alice@example.com";
const PATIENCE: Duration = Duration::from_secs(10);

/// A way in, and the database whose `pg_hba.conf` line has it.
#[derive(Clone, Copy)]
struct Way {
    method: &'static str,
    database: &'static str,
}

const PAM: Way = Way { method: "pam", database: "app" };
const TRUST: Way = Way { method: "trust", database: "app_trust" };

struct Demo {
    cluster: Cluster,
    tenant: Tenant,
    pam: Option<PamService>,
    step: usize,
}

fn main() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
        eprintln!("\nThe demo failed: {}", message.unwrap_or("something broke"));
    }));
    if std::panic::catch_unwind(run).is_err() {
        exit(1);
    }
}

fn run() {
    let mut demo = Demo::set_up();
    demo.make_roles();
    let ways = if demo.pam.is_some() { vec![PAM, TRUST] } else { vec![TRUST] };
    for &way in &ways {
        demo.show_logins(way);
    }
    let way = ways[0];
    demo.show_refusals(way);
    demo.show_a_dead_provider(way);
    println!("\nAll as it should be.");
    if std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty()) {
        demo.keep();
    }
}

impl Demo {
    fn set_up() -> Demo {
        let tenant = Tenant::start(&run_directory::fresh("tenant"));
        let installation = Installation::pgaad();
        let pam = PamService::available().then(|| PamService::new(&installation));
        let settings = [
            ("shared_preload_libraries", "pgaad".to_owned()),
            ("pgaad.tenant_id", tenant.tenant_id()),
            ("pgaad.authority", tenant.authority()),
            ("pgaad.ca_file", tenant.ca_file().display().to_string()),
            ("pgaad.allow_trust", "on".to_owned()),
        ];
        let lines = [
            pam.as_ref().map(|service| {
                format!(
                    "hostssl {} +azure_ad_user 127.0.0.1/32 pam pamservice={}",
                    PAM.database,
                    service.name()
                )
            }),
            Some(format!("hostssl {} +azure_ad_user 127.0.0.1/32 trust", TRUST.database)),
        ];
        let mut cluster = Cluster::new(&installation);
        for (name, value) in &settings {
            cluster = cluster.conf(name, value);
        }
        for line in lines.iter().flatten() {
            cluster = cluster.hba(line.as_str());
        }

        let mut demo = Demo { cluster: cluster.start(), tenant, pam, step: 0 };
        demo.begin("A throw-away PostgreSQL with TLS and pgaad, and a stand-in for an Entra tenant");
        show("postgresql.conf", settings.iter().map(|(name, value)| format!("{name} = '{value}'")));
        show("pg_hba.conf", lines.into_iter().flatten());
        match &demo.pam {
            Some(service) => show(
                &format!("/etc/pam.d/{}", service.name()),
                std::fs::read_to_string(service.path()).expect("our own file").lines().map(str::to_owned),
            ),
            None => {
                println!("   SKIPPED: the pam way in needs root, for its service file; only trust is shown")
            }
        }
        demo.cluster.wait_until_ready();
        demo.show_log(LogMark::START, &["pgaad: keys refreshed:"]);
        demo
    }

    fn make_roles(&mut self) {
        self.begin("The superuser makes the extension and a role, as on Azure");
        for database in [PAM.database, TRUST.database] {
            self.cluster.sql(&format!("CREATE DATABASE {database}"));
            let made = self.cluster.try_sql_in(database, "CREATE EXTENSION pgaad");
            made.unwrap_or_else(|answer| panic!("CREATE EXTENSION pgaad: {answer}"));
        }
        let create = format!("CREATE USER \"{ALICE}\" IN ROLE azure_ad_user");
        self.cluster.sql(&create);
        show("psql", ["CREATE EXTENSION pgaad;".to_owned(), format!("{create};")]);
        let ready = "SELECT configured, ready, keys, last_error FROM pgaad.status";
        let output = self.cluster.psql(
            &format!("host={} dbname={} user=postgres", self.cluster.socket_dir().display(), PAM.database),
            None,
            ready,
        );
        check(output.status.success(), || text(&output.stderr));
        show(ready, text(&output.stdout).lines().map(str::to_owned));
    }

    fn show_logins(&mut self, way: Way) {
        for (version, token) in [("v1", self.token().v1()), ("v2", self.token().v2())] {
            self.begin(&format!("Alice logs in with a {version} token, over {}", way.method));
            self.expect_admitted(way, &token);
        }
    }

    fn show_refusals(&mut self, way: Way) {
        let refusals = [
            ("An expired token", self.token().expires_in(-3600), "expired"),
            (
                "A token for another resource",
                self.token().claim("aud", "https://graph.microsoft.com"),
                "wrong_audience",
            ),
            (
                "Another tenant's token",
                self.token().tenant("11111111-2222-3333-4444-555555555555"),
                "issuer_unknown",
            ),
            ("Bob's token for Alice's role", self.tenant.token().user("bob@example.com"), "role_not_bound"),
            (
                "A token signed by a key that nobody published",
                self.token().signed_by(Signer::Unpublished),
                "key_unknown",
            ),
        ];
        for (title, token, code) in refusals {
            self.begin(&format!("{title} is refused"));
            self.expect_refused(way, &token.mint(), code);
        }
        self.begin("A password that is no token is refused");
        self.expect_refused(way, "hunter2", "malformed_token");
    }

    fn show_a_dead_provider(&mut self, way: Way) {
        self.begin("The identity provider dies: logins go on");
        self.tenant.stop();
        self.expect_admitted(way, &self.token());

        self.begin("The server restarts while the provider is dead: the keys come from its data directory");
        let mark = self.cluster.log_mark();
        self.cluster.restart();
        self.show_log(mark, &["pgaad: keys restored:"]);
        self.show_log(mark, &["pgaad: key refresh failed:", "code=connection_refused"]);
        self.expect_admitted(way, &self.token());

        self.begin("A dead provider lets nobody in, either");
        self.expect_refused(way, &self.token().signed_by(Signer::Unpublished).mint(), "key_unknown");
        self.tenant.start_again();
    }

    fn keep(&self) {
        let way = if self.pam.is_some() { PAM } else { TRUST };
        let tenant = self.tenant.ca_file();
        let directory = tenant.parent().expect("the tenant's directory").display();
        println!("\nThe servers go on until Enter or Ctrl-C. Mint a token, and log in:\n");
        println!("   export PGPASSWORD=$(cargo run -q -p tenant -- mint --dir {directory} --user {ALICE})");
        println!("   psql \"{}\"\n", self.connection(way));
        println!(
            "   the superuser: psql -h {} -p {} -U postgres {}",
            self.cluster.socket_dir().display(),
            self.cluster.port(),
            way.database
        );
        println!("   the log:       {}", self.cluster.log().path().display());
        let read = std::io::stdin().lock().read_line(&mut String::new());
        if read.unwrap_or(0) == 0 {
            // Nobody is at the other end: until a signal.
            loop {
                std::thread::park();
            }
        }
    }

    fn token(&self) -> Token {
        self.tenant.token().user(ALICE)
    }

    fn begin(&mut self, title: &str) {
        self.step += 1;
        let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        println!("\n{bold}{:2}. {title}{plain}", self.step);
    }

    fn connection(&self, way: Way) -> String {
        format!(
            "host=127.0.0.1 port={} dbname={} user={ALICE} sslmode=require",
            self.cluster.port(),
            way.database
        )
    }

    fn psql(&self, way: Way, password: &str, sql: &str) -> Output {
        println!("   $ PGPASSWORD=$TOKEN psql \"{}\"", self.connection(way));
        self.cluster.psql(&self.connection(way), Some(password), sql)
    }

    fn expect_admitted(&self, way: Way, token: &Token) {
        let sql = "SELECT 'current_user = ' || current_user || E'\\nupn          = ' ||
            coalesce(pgaad.claims()->>'upn', pgaad.claims()->>'preferred_username') || E'\\noid          = ' ||
            (pgaad.claims()->>'oid') || E'\\nver          = ' || (pgaad.claims()->>'ver')";
        let mark = self.cluster.log_mark();
        let output = self.psql(way, &token.mint(), sql);
        check(output.status.success(), || format!("a good token was refused: {}", text(&output.stderr)));
        let seen = text(&output.stdout);
        show("", seen.lines().map(str::to_owned));
        check(seen.contains(&format!("current_user = {ALICE}")), || {
            format!("not logged in as {ALICE}: {seen}")
        });
        self.show_log(mark, &["pgaad: login admitted:", &format!("route={} ", way.method)]);
    }

    fn expect_refused(&self, way: Way, password: &str, code: &str) {
        let mark = self.cluster.log_mark();
        let output = self.psql(way, password, "SELECT current_user");
        check(!output.status.success(), || "it was let in".to_owned());
        let seen = text(&output.stderr);
        show("", seen.lines().map(str::to_owned));
        check(seen.contains("FATAL:  token authentication failed for user"), || {
            format!("another answer: {seen}")
        });
        self.show_log(mark, &["pgaad: login refused:", &format!("code={code} ")]);
    }

    /// Shows the log line that holds all of this; it must be there.
    fn show_log(&self, mark: LogMark, needles: &[&str]) {
        let line = self.cluster.log().wait_for_line(mark, needles, PATIENCE);
        let line = line.unwrap_or_else(|log| panic!("the log has no line with {needles:?}:\n{log}"));
        println!("   log: {}", line.split_once("LOG:  ").map_or(line.as_str(), |(_, message)| message));
    }
}

fn show(head: &str, lines: impl IntoIterator<Item = String>) {
    if !head.is_empty() {
        println!("   {head}");
    }
    for line in lines.into_iter().filter(|line| !line.trim().is_empty()) {
        println!("      {line}");
    }
}

fn check(good: bool, otherwise: impl FnOnce() -> String) {
    assert!(good, "{}", otherwise());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
