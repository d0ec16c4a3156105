//! What a server runs by, as against what its files say: lines, TLS, the PAM service, the worker, the keys.

use super::{Server, TOKEN_LINE};
use pgaad_tests::account::as_root;
use pgaad_tests::wire::Outcome;
use pgaad_tests::{Installation, run_directory, wait_until};
use tenant::Behavior;

#[test]
fn lines_that_were_changed_and_not_loaded_are_named() {
    let Some(server) = Server::start() else { return };
    server.expect_sound();
    let pam = format!("pam pamservice={}", server.service.name());
    let lines = [TOKEN_LINE.replace("TOKEN", &pam), "host all all 0.0.0.0/0 scram-sha-256".to_owned()];
    server.cluster.write_hba(&lines);
    server.expect("hba_reload", "was changed, and not loaded since", "SELECT pg_reload_conf();");
    server.paste();
    server.expect_sound();
    // An error in postgresql.conf keeps its settings back, and the lines are loaded all the same.
    server.cluster.append_conf("pgaad.clock_skew = ");
    server.cluster.write_hba(&[&lines[..], &["host all all ::/0 scram-sha-256".to_owned()]].concat());
    server.expect("hba_reload", "was changed, and not loaded since", "SELECT pg_reload_conf();");
    server.cluster.sql("SELECT pg_reload_conf()");
    wait_until("they are loaded", || server.defects().iter().all(|(item, ..)| item != "hba_reload"));
}

#[test]
fn lines_for_tls_match_nobody_while_it_is_off() {
    let Some(server) = Server::start() else { return };
    if !Installation::is_built_with("openssl") {
        return pgaad_tests::skipped("needs a PostgreSQL built with OpenSSL");
    }
    server.cluster.set("ssl", "off");
    server.expect("hba_tls_off", "line 2 asks for tokens over TLS", "ALTER SYSTEM SET ssl = on;");
    server.paste();
    server.expect_sound();
    server.cluster.sql("ALTER SYSTEM RESET ssl");
    server.lines(&["host all +azure_ad_user 0.0.0.0/0 TOKEN"]);
    server.expect_sound();
}

#[test]
fn a_service_file_is_read_as_libpam_reads_it() {
    let Some(server) = Server::start() else { return };
    let run = |command: &str| {
        let status = as_root("sh").arg("-c").arg(command).status();
        assert!(status.is_ok_and(|status| status.success()), "{command}");
    };
    let attempt = |admitted: bool| {
        let token = server.tenant.token().user("ann@example.com").claim("aud", "api://pgaad-test").mint();
        let login = server.cluster.login(&server.cluster.tls("postgres"), "ann", token.as_bytes());
        assert_eq!(matches!(login.outcome, Outcome::Accepted(_)), admitted, "{login:?}");
    };
    attempt(true);
    // Line ends of Windows: libpam looks for a library whose name ends with a carriage return.
    server.write_service("auth required LIB\r\naccount required LIB\r\n");
    attempt(false);
    server.expect("pam_file", "has line ends of Windows", "sed -i");
    run(&server.defects().remove(0).2);
    server.expect_sound();
    attempt(true);
    // A file that the server's user cannot read.
    run(&format!("chmod 0600 {}", server.service.path().display()));
    attempt(false);
    server.expect("pam_file", "cannot be read: permission denied", "chmod 0644");
    run(&server.defects().remove(0).2);
    server.expect_sound();
    attempt(true);
    // Links lead to the same library, and to the same file.
    let link = run_directory::fresh("link");
    std::os::unix::fs::symlink(server.cluster.installation().library(), &link).expect("a link of ours");
    server.write_service(&format!("auth required {0}\naccount required {0}\n", link.display()));
    attempt(true);
    server.expect_sound();
    // Without a line end, and over two lines.
    server.write_service("auth required \\\n LIB\n# a comment\naccount required LIB");
    attempt(true);
    server.expect_sound();
}

#[test]
fn a_server_without_room_for_the_worker_says_so() {
    let Some(server) = Server::start() else { return };
    server.cluster.append_conf("max_worker_processes = 0");
    server.cluster.restart();
    let said = "SELECT count(*) FROM pgaad.check() WHERE item = 'worker' AND NOT ok";
    wait_until("it is clear that there is none", || server.cluster.value(said) == "1");
    let error = server.cluster.try_sql("SELECT pgaad.refresh()").expect_err("nobody to ask");
    assert!(error.message.contains("no free process") && error.sqlstate == "53000", "{error}");
    let problem = server.cluster.value("SELECT problem FROM pgaad.status WHERE NOT ready");
    assert!(problem.contains("no free process"), "{problem}");
    let hint = server.cluster.value("SELECT hint FROM pgaad.check() WHERE item = 'worker'");
    assert_eq!(hint, error.hint);
    // Beside core's own launcher of logical replication there is room for one.
    server.cluster.append_conf("max_worker_processes = 2");
    server.cluster.restart();
    server.cluster.wait_until_ready();
    wait_until("it is clear that one has none", || server.cluster.value(said) == "1");
    let detail = server.cluster.value("SELECT detail FROM pgaad.check() WHERE item = 'worker'");
    assert!(detail.starts_with("the session worker has not run"), "{detail}");
    server.cluster.sql(&server.cluster.value("SELECT hint FROM pgaad.check() WHERE item = 'worker'"));
    server.cluster.restart();
    server.cluster.wait_until_ready();
    server.expect_sound();
}

#[test]
fn a_typing_error_in_the_tenant_is_seen_at_once_and_costs_the_keys_only() {
    let Some(server) = Server::start() else { return };
    let other = "99999999-7d0c-4b3a-9b6c-0f2a5e1c9d10";
    server.cluster.set("pgaad.tenant_id", other);
    server.cluster.sql("SELECT pgaad.refresh()");
    let status = server.cluster.sql("SELECT ready, keys, problem IS NOT NULL FROM pgaad.status");
    let status: Vec<_> = status.iter().flatten().flatten().map(String::as_str).collect();
    assert_eq!(status, ["f", "0", "t"]);
    server.cluster.set("pgaad.tenant_id", &server.tenant.tenant_id());
    server.cluster.sql("SELECT pgaad.refresh()");
    server.expect_sound();
}

#[test]
fn the_clocks_difference_is_in_the_status() {
    let Some(server) = Server::start() else { return };
    server.tenant.set_behavior(Behavior::Clock(-500));
    server.cluster.sql("SELECT pgaad.refresh()");
    let ahead = "SELECT clock_ahead BETWEEN '499 s' AND '510 s' FROM pgaad.status";
    assert_eq!(server.cluster.value(ahead), "t");
}
