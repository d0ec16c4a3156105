//! What `pgaad.check()` says of the order of `pg_hba.conf`, beside what PostgreSQL does with the same lines.

use pgaad_tests::document::Section;
use pgaad_tests::log::LogMark;
use pgaad_tests::{Cluster, Installation, PamService, run_directory, wait_for};
use tenant::{Tenant, object_id};

struct Server {
    cluster: Cluster,
    service: PamService,
    _tenant: Tenant,
}

/// What is said of one line: its number, the part that it takes, and the lines to move above it.
type Said = (String, String, String);

impl Server {
    fn start() -> Option<Server> {
        if !PamService::available() {
            return None;
        }
        let installation = Installation::pgaad();
        let tenant = Tenant::start(&run_directory::fresh("tenant"));
        let service = PamService::new(&installation);
        let cluster = Cluster::new(&installation)
            .conf("shared_preload_libraries", "pgaad")
            .conf("pgaad.tenant_id", tenant.tenant_id())
            .conf("pgaad.authority", tenant.authority())
            .conf("pgaad.ca_file", tenant.ca_file().display().to_string())
            .conf("pgaad.audience", "api://pgaad-test");
        let oauth = installation.major() >= 18;
        let cluster =
            if oauth { cluster.conf("oauth_validator_libraries", "pgaad") } else { cluster }.start();
        for sql in ["CREATE EXTENSION pgaad", "CREATE ROLE app", "CREATE DATABASE app", "CREATE DATABASE ann"]
        {
            cluster.sql(sql);
        }
        let ann = object_id("ann@example.com");
        cluster.sql(&format!(
            "SELECT pgaadauth_create_principal_with_oid('ann', '{ann}', 'user', false, false); GRANT app TO ann"
        ));
        cluster.wait_until_ready();
        Some(Server { cluster, service, _tenant: tenant })
    }

    /// Lines after the superuser's own, which is the first.
    fn lines(&self, lines: &[&str]) {
        let pam = format!("pam pamservice={}", self.service.name());
        let lines: Vec<_> = lines.iter().map(|line| line.replace("TOKEN", &pam)).collect();
        let mark = self.cluster.log_mark();
        self.cluster.write_hba(&lines);
        self.cluster.reload();
        assert!(!self.cluster.log_since(mark).contains("was not reloaded"), "{lines:?}");
    }

    /// What is said of the order.
    fn said(&self) -> Vec<Said> {
        let rows =
            self.cluster.sql("SELECT detail, hint FROM pgaad.check() WHERE item = 'hba_order' AND NOT ok");
        let parse = |row: &Vec<Option<String>>| {
            let (detail, hint) = (row[0].clone().expect("words"), row[1].clone().expect("words"));
            let number = detail.split([' ', ',']).nth(1).expect("a line").to_owned();
            let (_, part) = detail.split_once("token, by ").expect("the part");
            let part = part.split_once("; ").expect("what becomes of them").0;
            (number, part.to_owned(), hint)
        };
        rows.iter().map(parse).collect()
    }

    /// The line that a login of ann's to this database meets: a wrong secret is refused by the method, and core says by
    /// which line; or pgaad is asked for.
    fn met(&self, database: &str) -> String {
        let mark = self.cluster.log_mark();
        let target = format!("host=127.0.0.1 user=ann dbname={database} sslmode=require");
        assert!(!self.cluster.psql(&target, Some("wrong"), "SELECT 1").status.success());
        let log = wait_for_refusal(&self.cluster, mark);
        if log.contains("route=pam") {
            return "TOKEN".to_owned();
        }
        let (_, rest) = log.split_once("onnection matched").expect("core names the line");
        rest.split_once("line ").and_then(|(_, rest)| rest.split_once(':')).expect("its number").0.to_owned()
    }
}

fn wait_for_refusal(cluster: &Cluster, mark: LogMark) -> String {
    cluster.wait_for_log(mark, "FATAL:");
    wait_for("the log names the line", || {
        let log = cluster.log_since(mark);
        (log.contains("onnection matched") || log.contains("pgaad: login refused")).then_some(log)
    })
}

const TOKEN: &str = "hostssl all +azure_ad_user 0.0.0.0/0 TOKEN";

#[test]
fn line_that_takes_logins_of_members_is_named_and_takes_them() {
    let Some(server) = Server::start() else { return };
    for (line, part, database) in [
        ("host all all 0.0.0.0/0 scram-sha-256", "scram-sha-256, all of them", "app"),
        // Debian's own.
        ("host all all 127.0.0.1/32 scram-sha-256", "scram-sha-256, those from 127.0.0.1/32", "app"),
        ("host all all 127.0.0.0 255.0.0.0 password", "password, those from 127.0.0.0/8", "app"),
        ("host all all samehost md5", "md5, those from samehost", "app"),
        ("host app all all scram-sha-256", "scram-sha-256, those to app", "app"),
        ("host sameuser all all password", "password, those to ann as ann", "ann"),
        ("host samerole all all password", "password, those to ann, app, azure_ad_user", "app"),
        ("hostssl all +app 127.0.0.0/8 password", "password, those from 127.0.0.0/8 as ann", "app"),
        ("host all ann all password", "password, those as ann", "app"),
    ] {
        server.lines(&[line, TOKEN]);
        let hint = "Move line 3 above line 2.".to_owned();
        assert_eq!(server.said(), [("2".to_owned(), part.to_owned(), hint)], "{line}");
        assert_eq!(server.met(database), "2", "{line}");
        // The other way round.
        server.lines(&[TOKEN, line]);
        assert_eq!(server.said(), [], "{line}");
        assert_eq!(server.met(database), "TOKEN", "{line}");
    }
}

#[test]
fn line_that_takes_no_login_of_a_member_is_not_named_and_takes_none() {
    let Some(server) = Server::start() else { return };
    for line in [
        "local all postgres peer",
        // Debian's own, where the token line is for TLS.
        "local all all peer",
        "host replication all 127.0.0.1/32 scram-sha-256",
        "host all all 127.0.0.2/32 scram-sha-256",
        "host all all ::1/128 scram-sha-256",
        "host all \"all\" all scram-sha-256",
        "host \"all\" all all scram-sha-256",
        "host all \"+app\" all scram-sha-256",
        "host all +pg_monitor all scram-sha-256",
        "hostnossl all all all scram-sha-256",
        "host app postgres all scram-sha-256",
    ] {
        // The login that would be taken is one to a database that only `all` matches.
        server.lines(&[line, "hostssl postgres,app +azure_ad_user 127.0.0.1/32 TOKEN"]);
        assert_eq!(server.said(), [], "{line}");
        assert_eq!(server.met("app"), "TOKEN", "{line}");
    }
    server.lines(&["host postgres all all scram-sha-256", "hostssl app all all TOKEN"]);
    assert_eq!(server.said(), []);
    assert_eq!(server.met("app"), "TOKEN");
}

#[test]
fn unix_socket_of_members_has_its_own_order() {
    let Some(server) = Server::start() else { return };
    server.lines(&["local all all peer", "local all +azure_ad_user TOKEN"]);
    let hint = "Move line 3 above line 2.".to_owned();
    assert_eq!(server.said(), [("2".to_owned(), "peer, all of them".to_owned(), hint)]);
    server.lines(&["local all postgres peer", "local all +azure_ad_user TOKEN"]);
    assert_eq!(server.said(), []);
}

#[test]
fn lines_of_the_readme_before_debians_own_are_sound() {
    let Some(server) = Server::start() else { return };
    let section = Section::of(include_str!("../../README.md"), "Five minutes on a real server");
    let file = section.samples("").into_iter().find(|sample| sample.contains("pamservice=pgaad"));
    let lines: Vec<String> = file
        .expect("the whole file")
        .lines()
        .map(|line| line.replace("pam pamservice=pgaad", "TOKEN"))
        .collect();
    let (ours, debians): (Vec<&str>, Vec<&str>) =
        lines.iter().map(String::as_str).partition(|line| line.ends_with("TOKEN"));
    assert_eq!((ours.len(), debians.len()), (1, 7));
    server.lines(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(server.said(), []);
    assert_eq!(server.met("app"), "TOKEN");
    // Appended to Debian's file it is not: other lines have been read before.
    server.lines(&[debians, ours].concat());
    let said: Vec<_> = server.said().into_iter().map(|(line, part, _)| (line, part)).collect();
    let expected =
        [("4", "scram-sha-256, those from 127.0.0.1/32"), ("5", "scram-sha-256, those from ::1/128")];
    assert_eq!(said, expected.map(|(line, part)| (line.to_owned(), part.to_owned())));
    assert_eq!(server.met("app"), "4");
}

#[test]
fn patterns_and_included_files_are_read_as_postgresql_reads_them_from_16_on() {
    let Some(server) = Server::start() else { return };
    if server.cluster.installation().major() < 16 {
        // A name like any other.
        server.lines(&["host /^a /^a all scram-sha-256", TOKEN]);
        assert_eq!(server.said(), []);
        assert_eq!(server.met("app"), "TOKEN");
        return;
    }
    for (line, part) in [
        ("host all /^a.n$ all scram-sha-256", Some("scram-sha-256, those as ann")),
        ("host /^(ap+|other)$ all all scram-sha-256", Some("scram-sha-256, those to app")),
        ("host all /^b all scram-sha-256", None),
        ("host all \"/^(ann,|ann)$\" all scram-sha-256", Some("scram-sha-256, those as ann")),
        ("host /^b all all scram-sha-256", None),
    ] {
        server.lines(&[line, TOKEN]);
        let parts: Vec<_> = server.said().into_iter().map(|(_, part, _)| part).collect();
        assert_eq!(parts, Vec::from_iter(part.map(str::to_owned)), "{line}");
        assert_eq!(server.met("app"), if part.is_some() { "2" } else { "TOKEN" }, "{line}");
    }
    server.cluster.write_as_server("more_hba.conf", "\nhost all all all scram-sha-256\n");
    server.lines(&["include more_hba.conf", TOKEN]);
    let [(number, part, hint)] = &server.said()[..] else { panic!("one line") };
    assert_eq!((number.as_str(), part.as_str()), ("2", "scram-sha-256, all of them"));
    assert!(hint.starts_with("Move line 3 above line 2 of /") && hint.ends_with("more_hba.conf."), "{hint}");
    assert_eq!(server.met("app"), "2");
}

#[test]
fn oauth_line_without_delegated_mapping_is_named_from_18_on() {
    let Some(server) = Server::start() else { return };
    if server.cluster.installation().major() < 18 {
        pgaad_tests::skipped("needs PostgreSQL 18: oauth");
        return;
    }
    let line =
        "hostssl all +azure_ad_user all oauth issuer=\"https://x.example\" scope=\"openid\" validator=pgaad";
    let of_oauth = "SELECT coalesce(string_agg(detail || hint, ''), '') FROM pgaad.check() \
                    WHERE item = 'hba_oauth_mapping' AND NOT ok";
    server.lines(&[&format!("{line} delegate_ident_mapping=1")]);
    assert_eq!(server.cluster.value(of_oauth), "");
    server.lines(&[line]);
    let said = server.cluster.value(of_oauth);
    assert!(said.contains("line 2 is oauth without") && said.contains("delegate_ident_mapping=1"), "{said}");
}
