//! `pgaad.check()`: a server set up as the README says is sound, and each hole is named with what to do.

use pgaad_tests::account::as_root;
use pgaad_tests::log::LogMark;
use pgaad_tests::scene::quoted;
use pgaad_tests::{Cluster, Installation, PamService, Route, Scene, run_directory};
use std::time::Duration;
use tenant::{Behavior, Tenant, object_id};

mod running;

/// A server as the README has it, on loopback.
struct Server {
    cluster: Cluster,
    tenant: Tenant,
    service: PamService,
}

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
            .conf("pgaad.audience", "api://pgaad-test")
            .conf("pgaad.scope", "user_impersonation")
            .hba(format!("hostssl all +azure_ad_user 0.0.0.0/0 pam pamservice={}", service.name()))
            .hba("host all all 0.0.0.0/0 scram-sha-256")
            .start();
        cluster.sql("CREATE EXTENSION pgaad");
        let ann = object_id("ann@example.com");
        cluster.sql(&format!(
            "SELECT pgaadauth_create_principal_with_oid('ann', '{ann}', 'user', false, false)"
        ));
        cluster.wait_until_ready();
        Some(Server { cluster, tenant, service })
    }

    /// What is wrong, the machine's own `/etc/pam.d/other` aside: item, detail, hint.
    fn defects(&self) -> Vec<(String, String, String)> {
        let rows = self
            .cluster
            .sql("SELECT item, detail, hint FROM pgaad.check() WHERE NOT ok AND item <> 'pam_other'");
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        rows.iter().map(|row| (text(&row[0]), text(&row[1]), text(&row[2]))).collect()
    }

    /// Exactly this is wrong, said with these words, and the hint helps.
    fn expect(&self, item: &str, detail: &str, hint: &str) {
        let defects = self.defects();
        let items: Vec<_> = defects.iter().map(|(item, _, _)| item.as_str()).collect();
        assert_eq!(items, [item], "{defects:?}");
        assert!(defects[0].1.contains(detail), "{detail}: {defects:?}");
        assert!(defects[0].2.contains(hint), "{hint}: {defects:?}");
    }

    fn expect_sound(&self) {
        assert_eq!(self.defects(), [], "nothing should be wrong");
    }

    fn lines(&self, lines: &[&str]) {
        let pam = format!("pam pamservice={}", self.service.name());
        let lines: Vec<_> = lines.iter().map(|line| line.replace("TOKEN", &pam)).collect();
        self.cluster.write_hba(&lines);
        self.cluster.reload();
    }

    /// Pastes the hint of the only defect: statements, one after the other, as psql sends them.
    fn paste(&self) {
        let (_, _, hint) = self.defects().remove(0);
        for statement in hint.split_inclusive(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            self.cluster.sql(statement);
        }
        // Every process hears of a reload in its own time.
        self.cluster.reload();
    }

    fn write_service(&self, text: &str) {
        let library = self.cluster.installation().library();
        let draft = run_directory::fresh("pam");
        std::fs::write(&draft, text.replace("LIB", &library.display().to_string())).expect("a file of ours");
        let copied = as_root("cp").arg(draft).arg(self.service.path()).status();
        assert!(copied.is_ok_and(|status| status.success()));
    }
}

const TOKEN_LINE: &str = "hostssl all +azure_ad_user 0.0.0.0/0 TOKEN";

#[test]
fn server_as_the_readme_has_it_is_sound_and_every_check_is_listed() {
    let Some(server) = Server::start() else { return };
    server.expect_sound();
    let items = server.cluster.value("SELECT count(DISTINCT item) FROM pgaad.check() WHERE detail <> ''");
    assert_eq!(items, pgaad_audit::CHECKS.len().to_string());
    // What the machine itself has is advice.
    let severities = "SELECT count(*) FROM pgaad.check() WHERE NOT ok AND severity <> 'advice'";
    assert_eq!(server.cluster.value(severities), "0");
}

#[test]
fn whoever_is_granted_it_may_check_the_server_and_nobody_else() {
    let Some(server) = Server::start() else { return };
    server.cluster.sql("CREATE ROLE monitor IN ROLE pg_monitor");
    let as_monitor = "SET ROLE monitor; SELECT count(*) > 20 FROM pgaad.check()";
    let refusal = server.cluster.try_sql(as_monitor).expect_err("it is not granted");
    assert!(refusal.message.contains("permission denied for function check"), "{refusal}");
    server.cluster.sql("GRANT EXECUTE ON FUNCTION pgaad.check() TO monitor");
    assert_eq!(server.cluster.value(as_monitor), "t");
}

#[test]
fn lines_of_pg_hba_that_leave_a_door_open_are_named() {
    let Some(server) = Server::start() else { return };
    let scram = "host all all 0.0.0.0/0 scram-sha-256";
    server.lines(&[TOKEN_LINE, "host all other 10.0.0.0/8 trust"]);
    server.expect("hba_trust_remote", "line 3", "line 3");
    server.lines(&[TOKEN_LINE, "host all all 127.0.0.1/32 trust"]);
    server.expect("hba_trust_member", "line 3", "guard_roles");
    server.lines(&[TOKEN_LINE, "local all ann trust"]);
    server.expect("hba_trust_member", "line 3", "guard_roles");
    server.lines(&[TOKEN_LINE, "local all other trust"]);
    server.expect_sound();
    server.lines(&[scram, TOKEN_LINE]);
    server.expect(
        "hba_order",
        "line 2 matches members of azure_ad_user before line 3",
        "Move line 3 above line 2",
    );
    server.lines(&[scram]);
    server.expect("hba_token_line", "no line asks", "pam pamservice=pgaad");
    server.lines(&[TOKEN_LINE, "nonsense"]);
    server.expect("hba_file", "line 3", "pg_hba_file_rules");
    server.lines(&["host all +azure_ad_user 0.0.0.0/0 TOKEN"]);
    server.expect_sound();
    server.cluster.set("pgaad.require_tls", "off");
    server.expect("hba_token_without_tls", "line 2", "pgaad.require_tls = on");
    server.lines(&[TOKEN_LINE, scram]);
    server.expect_sound();
    server.cluster.set("pgaad.allow_other_methods", "on");
    server.expect("hba_without_token", "line 3 (scram-sha-256)", "pgaad.allow_other_methods = off");
}

#[test]
fn settings_keys_and_clock_are_checked() {
    let Some(server) = Server::start() else { return };
    server.cluster.set("pgaad.audience", "");
    server.expect("audience_shared", "is shared by Azure", "pgaad.audience");
    server.cluster.set("pgaad.audience", "https://ossrdbms-aad.database.usgovcloudapi.net/");
    server.expect("audience", "is of another cloud", "pgaad.cloud = 'usgov'");
    server.cluster.set("pgaad.audience", "api://pgaad-test");
    server.cluster.set("pgaad.scope", "");
    server.expect("scope", "any scope", "pgaad.scope");
    // Azure's own audience has one scope only.
    server.cluster.set("pgaad.audience", "");
    server.expect("audience_shared", "is shared by Azure", "pgaad.audience");
    server.cluster.set("pgaad.audience", "api://pgaad-test");
    server.cluster.set("pgaad.scope", "user_impersonation");
    for (setting, good) in [
        ("pgaad.clock_skew", "300"),
        ("pgaad.scope", "user_impersonation"),
        ("pgaad.allow_trust", "off"),
        ("pgaad.allow_other_methods", "off"),
    ] {
        server.cluster.set(setting, if setting == "pgaad.scope" { "," } else { "nonsense" });
        if setting == "pgaad.scope" {
            // Its default accepts any scope, which nobody must get by pasting.
            server.expect("settings", setting, "Correct it in postgresql.conf");
        } else {
            server.expect("settings", setting, &format!("ALTER SYSTEM SET {setting} = '"));
            server.paste();
            assert!(server.defects().iter().all(|(item, ..)| item != "settings"), "{:?}", server.defects());
            server.cluster.sql(&format!("ALTER SYSTEM RESET {setting}"));
        }
        server.cluster.set(setting, good);
    }
    // What bad settings leave open is not called sound, and the lines are judged all the same.
    server.lines(&["host all all 0.0.0.0/0 trust"]);
    server.cluster.set("pgaad.max_stale", "nonsense");
    let items: Vec<_> = server.defects().into_iter().map(|(item, ..)| item).collect();
    assert!(items.contains(&"hba_trust_remote".to_owned()), "{items:?}");
    let said = "SELECT count(*) FROM pgaad.check() \
                WHERE item IN ('tenant', 'audience', 'scope', 'keys', 'key_issuers', 'clock')";
    assert_eq!(server.cluster.value(said), "0");
    server.cluster.set("pgaad.max_stale", "24h");
    server.lines(&[TOKEN_LINE, "host all all 0.0.0.0/0 scram-sha-256"]);
    server.cluster.set("pgaad.tenant_id", "");
    server.expect("tenant", "pgaad.tenant_id is empty", "pgaad.tenant_id");
    server.cluster.set("pgaad.tenant_id", &server.tenant.tenant_id());
    server.cluster.sql("SELECT pgaad.refresh()");
    server.expect_sound();

    server.tenant.set_behavior(Behavior::Clock(-500));
    server.cluster.sql("SELECT pgaad.refresh()");
    server.expect("clock", "s ahead of the provider's", "set-ntp");
    server.tenant.set_behavior(Behavior::Html);
    server.cluster.sql("SELECT pgaad.refresh()");
    let items: Vec<_> = server.defects().into_iter().map(|(item, detail, _)| (item, detail)).collect();
    assert!(items[0].0 == "keys" && items[0].1.contains("the last fetch failed:"), "{items:?}");
    server.tenant.set_behavior(Behavior::Clock(30));
    server.cluster.sql("SELECT pgaad.refresh()");
    server.expect_sound();

    // A setting that is none, at the next start: PostgreSQL only warns of it.
    server.cluster.append_conf("pgaad.name_mach = off\n PGAAD.Audiences = 'x'\n");
    server.cluster.restart();
    server.cluster.wait_until_ready();
    let defects = server.defects();
    let items: Vec<_> = defects.iter().map(|(item, ..)| item.as_str()).collect();
    assert_eq!(items, ["unknown_settings"; 2], "{defects:?}");
    for (_, _, hint) in defects {
        assert!(as_root("sh").args(["-c", &hint]).status().is_ok_and(|status| status.success()), "{hint}");
    }
    server.cluster.reload();
    server.expect_sound();
}

#[test]
fn pam_service_file_must_ask_this_library_and_nothing_else() {
    let Some(server) = Server::start() else { return };
    let write = |text: &str| server.write_service(text);
    write("auth required LIB\n");
    server.expect("pam_file", "has no account line", "account required");
    write("auth required LIB\naccount required LIB\nauth sufficient pam_permit.so\n");
    server.expect("pam_file", "pam_permit.so", "required");
    write("auth required /nowhere/pgaad.so\naccount required LIB\n");
    server.expect(
        "pam_file",
        "/nowhere/pgaad.so",
        &server.cluster.installation().library().display().to_string(),
    );
    server.service.restore();
    server.expect_sound();
}

#[test]
fn members_that_tokens_should_not_open_are_named() {
    let Some(server) = Server::start() else { return };
    let undo = "SET client_min_messages = error; ";
    for (make, item, detail, hint) in [
        (
            "CREATE ROLE odd SUPERUSER IN ROLE azure_ad_user",
            "members_superuser",
            "odd is a superuser",
            "REVOKE azure_ad_user FROM odd GRANTED BY postgres;",
        ),
        (
            "CREATE ROLE odd REPLICATION IN ROLE azure_ad_user",
            "members_replication",
            "odd has REPLICATION",
            "NOREPLICATION",
        ),
        (
            "CREATE ROLE odd PASSWORD 'x' IN ROLE azure_ad_user",
            "members_password",
            "works again when it leaves",
            "PASSWORD NULL",
        ),
        (
            "CREATE ROLE odd; GRANT ann TO odd",
            "members_granted",
            "ann is granted to odd",
            "REVOKE ann FROM odd GRANTED BY postgres;",
        ),
        (
            "CREATE ROLE odd BYPASSRLS IN ROLE azure_ad_user",
            "members_privileged",
            "odd has BYPASSRLS",
            "ALTER ROLE odd NOBYPASSRLS;",
        ),
        (
            "CREATE USER odd IN ROLE azure_ad_user",
            "members_by_name",
            "odd is bound to its name",
            "ON ROLE odd IS 'aadauth,oid=<object id>,type=user';",
        ),
    ] {
        server.cluster.sql(&format!("{undo}{make}"));
        server.expect(item, detail, hint);
        // What is a statement is pasted as it is.
        if item != "members_by_name" {
            server.cluster.sql(&server.defects().remove(0).2);
            server.expect_sound();
        }
        server.cluster.sql("DROP ROLE odd");
        server.expect_sound();
    }
    server.cluster.sql(
        "SET client_min_messages = error; CREATE ROLE middle; CREATE ROLE odd IN ROLE middle; \
         GRANT ann TO middle",
    );
    // Either hint cures its own row: what is left of the other is gone with it, or is its own.
    let hint_of = |detail: &str| {
        let defects = server.defects();
        let found = defects.iter().find(|defect| defect.1.contains(detail));
        found.unwrap_or_else(|| panic!("{detail}: {defects:?}")).2.clone()
    };
    let hint = hint_of("odd is a member of ann through other roles");
    assert_eq!(hint, "REVOKE middle FROM odd GRANTED BY postgres;");
    server.cluster.sql(&hint);
    server.cluster.sql(&hint_of("ann is granted to middle"));
    server.expect_sound();
    server.cluster.sql("DROP ROLE odd, middle");
    let administrators = "SELECT detail FROM pgaad.check() WHERE item = 'administrators'";
    assert_eq!(server.cluster.value(administrators), "Entra administrators: none");
    server.cluster.sql("CREATE ROLE local IN ROLE azure_ad_admin; CREATE ROLE odd IN ROLE local");
    server.expect(
        "administrators",
        "odd has the rights of azure_ad_admin",
        "REVOKE local FROM odd GRANTED BY postgres;",
    );
    server.paste();
    server.cluster.sql("DROP ROLE odd");
    assert_eq!(server.cluster.value(administrators), "Entra administrators: local");
    server.cluster.sql("DROP ROLE local");
    if server.cluster.installation().major() >= 16 {
        // A membership that another role than the superuser has given.
        server.cluster.sql(&format!(
            "{undo}CREATE ROLE zgiver; GRANT ann TO zgiver WITH ADMIN OPTION; CREATE ROLE odd; \
             GRANT ann TO odd GRANTED BY zgiver"
        ));
        for (_, _, hint) in server.defects() {
            server.cluster.sql(&hint);
        }
        server.expect_sound();
        server.cluster.sql("DROP ROLE odd; DROP ROLE zgiver");
    }
    // What the hint says is a statement that can be pasted.
    server.cluster.sql("CREATE USER \"odd \"\" one\" PASSWORD 'x' IN ROLE azure_ad_user");
    let id = object_id("odd");
    server.cluster.sql(&format!(
        "SECURITY LABEL FOR pgaadauth ON ROLE {} IS 'aadauth,oid={id},type=user'",
        quoted("odd \" one")
    ));
    let hint = server.defects().remove(0).2;
    server.cluster.sql(&hint);
    server.expect_sound();
}

#[test]
fn key_set_that_does_not_say_whose_its_keys_are_is_named() {
    let Some(server) = Server::start() else { return };
    let keys = server.tenant.keys();
    let file = run_directory::fresh("jwks");
    let expect_loaded = |jwks: String| {
        std::fs::write(&file, jwks).expect("a file of ours");
        server.cluster.set("pgaad.jwks_file", &file.display().to_string());
        assert_eq!(server.cluster.value("SELECT pgaad.refresh()"), "t");
    };
    expect_loaded(keys.v1_jwks().to_string());
    server.expect("key_issuers", "2 of 2 keys do not say", "/.well-known/openid-configuration");
    expect_loaded(keys.jwks().to_string());
    server.expect_sound();
}

#[test]
fn worker_warns_of_files_and_settings_at_start_and_reload() {
    let Some(server) = Server::start() else { return };
    let log = server.cluster.log_since(LogMark::START);
    assert!(
        log.lines().all(|line| !line.contains("pgaad: check:") || line.contains("item=pam_other")),
        "{log}"
    );
    let mark = server.cluster.log_mark();
    server.lines(&[TOKEN_LINE, "host all all 0.0.0.0/0 trust"]);
    // Advice is no reason for a warning.
    server.cluster.set("pgaad.audience", "");
    server.cluster.wait_for_log(mark, "LOG:  pgaad: check: item=audience_shared detail=");
    server.cluster.set("pgaad.audience", "api://pgaad-test");
    let warned = "WARNING:  pgaad: check: item=hba_trust_remote detail=";
    server.cluster.wait_for_log(mark, warned);
    // A hint ends its line as it is to be pasted, or says where it can be read.
    server.lines(&["host all all 0.0.0.0/0 scram-sha-256"]);
    let shown = " hint=SELECT item, hint FROM pgaad.check() WHERE NOT ok;";
    let needles = ["pgaad: check: item=hba_token_line ", shown];
    let line = server.cluster.log().wait_for_line(mark, &needles, Duration::from_secs(10));
    assert!(line.expect("it is warned of").trim_end().ends_with(shown));
    server.cluster.sql(shown.trim_start_matches(" hint="));
    server.lines(&[TOKEN_LINE, "host all all 0.0.0.0/0 trust"]);
    let mark = server.cluster.log_mark();
    server.cluster.restart();
    server.cluster.wait_for_log(mark, warned);
}

#[test]
fn trust_lines_want_the_second_lock() {
    let scene = Scene::start();
    scene.member();
    let guarded = "SELECT ok FROM pgaad.check() WHERE item = 'members_guarded'";
    assert_eq!(scene.cluster.value(guarded), "f");
    scene.cluster.sql("SELECT pgaad.guard_roles(true)");
    assert_eq!(scene.cluster.value(guarded), "t");
    let route = Route::Trust;
    scene.attempt(route, &scene.member()).expect_admitted();
}

#[test]
fn library_that_stands_before_pgaad_is_named() {
    let Some(server) = Server::start() else { return };
    server.cluster.append_conf("shared_preload_libraries = 'auth_delay, pgaad'");
    server.cluster.restart();
    server.cluster.wait_until_ready();
    server.expect_sound();
    server.cluster.append_conf("shared_preload_libraries = 'pgaad, auth_delay'");
    server.cluster.restart();
    server.cluster.wait_until_ready();
    server.expect("hook", "auth_delay", "SET shared_preload_libraries = 'auth_delay', 'pgaad';");
    server.cluster.append_conf("shared_preload_libraries = 'pgaad, auth_delay'");
    let (_, _, hint) = server.defects().remove(0);
    server.cluster.sql(hint.split(" -- ").next().expect("a statement"));
    server.cluster.restart();
    server.cluster.wait_until_ready();
    server.expect_sound();
}
