//! Who gets in, and with what password and by what connection nobody does: at the client and in the server's log.

use pgaad_tests::scene::quoted;
use pgaad_tests::twin::{refuses_password, scene};
use pgaad_tests::{
    Cluster, Installation, PamService, Route, Scene, Transport, account, run_directory, skipped,
};
use serde_json::json;
use tenant::{Signer, Tenant};

// Those who get in.

#[test]
fn good_token_is_admitted_by_every_way_and_transport() {
    let scene = scene();
    for route in scene.token_routes() {
        for transport in Transport::all() {
            let role = scene.member();
            scene.attempt(route, &role).over(transport).expect_admitted();
        }
    }
}

#[test]
fn v2_token_is_admitted_by_every_way_and_transport() {
    let scene = scene();
    for route in scene.token_routes() {
        for transport in Transport::all() {
            let role = scene.member();
            let token = scene.tenant.token().v2().user(&role).mint();
            scene.attempt(route, &role).over(transport).with(token).expect_admitted();
        }
    }
}

#[test]
fn session_sees_its_claims_and_the_log_names_the_human() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        let token = scene.token(&role);
        let claims = token.claims();
        let mark = scene.cluster.log_mark();
        let mut session = scene.attempt(route, &role).with(token.mint()).expect_admitted();
        let oid = session.value("SELECT pgaad.claims() ->> 'oid'");
        assert_eq!(oid.as_deref(), claims["oid"].as_str());
        let line = scene.cluster.wait_for_log(mark, &format!("role=\"{role}\""));
        let oid = format!("oid={}", claims["oid"].as_str().expect("a token has an oid"));
        for fact in
            ["kind=user", &format!("upn=\"{role}\""), &oid, "tid=", "kid=\"", "uti=\"", "client=127.0.0.1"]
        {
            assert!(line.contains(fact), "{fact} is not in {line}");
        }
    }
}

#[test]
fn session_is_told_of_itself_and_nothing_else() {
    let scene = scene();
    let role = scene.member();
    let mut session = scene.attempt(scene.route(), &role).expect_admitted();
    assert!(session.value("SELECT pgaad.claims()").is_some());
    for sql in ["SELECT * FROM pgaad.status", "SELECT * FROM pgaad.keys", "SELECT pgaad.refresh()"] {
        let answer = session.query(sql).expect_err("not for everybody");
        assert_eq!(answer.sqlstate, "42501", "{sql}: {answer}");
    }
    // Who came in by other means has no claims.
    assert_eq!(scene.cluster.sql("SELECT pgaad.claims()"), [[None]]);
}

#[test]
fn unmodified_psql_gets_in_with_a_token_as_pgpassword_and_not_without() {
    let scene = scene();
    let mode = if Installation::is_built_with("openssl") { "require" } else { "disable" };
    for route in scene.routes() {
        let role = scene.member();
        let to = format!(
            "host=localhost hostaddr=127.0.0.1 sslmode={mode} user={role} dbname={}",
            route.database()
        );
        let token = scene.token(&role).mint();
        let said = scene.cluster.psql(&to, Some(&token), "SELECT current_user");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), role, "{said:?}");

        let said = scene.cluster.psql(&to, Some("hunter2"), "SELECT current_user");
        assert!(!said.status.success() && said.stdout.is_empty(), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("FATAL:  "), "{said:?}");
    }
}

#[test]
fn v1_token_by_a_key_whose_issuer_is_the_v2_template_is_admitted() {
    let scene = scene();
    let keys = scene.tenant.keys().jwks();
    let issuers: Vec<&str> =
        keys["keys"].as_array().expect("a key set").iter().filter_map(|key| key["issuer"].as_str()).collect();
    assert!(
        issuers.iter().any(|issuer| issuer.contains("{tenantid}") && issuer.ends_with("/v2.0")),
        "{issuers:?}"
    );
    for route in scene.token_routes() {
        for signer in [Signer::Current, Signer::Second] {
            let role = scene.member();
            let token = scene.token(&role).v1().user(&role).signed_by(signer).mint();
            scene.attempt(route, &role).with(token).expect_admitted();
        }
    }
}

#[test]
fn program_is_admitted_as_the_role_named_by_its_client_id() {
    let scene = scene();
    for (number, route) in scene.token_routes().into_iter().enumerate() {
        let client_id = &format!("0d4f1c2e-51f0-4a3e-9f10-0c6c2b8a7e0{number}");
        scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(client_id)));
        for token in [scene.tenant.token().app(client_id), scene.tenant.token().v2().app(client_id)] {
            scene.attempt(route, client_id).with(token.mint()).expect_admitted();
        }
        // A user's name match is by the user's own name, whatever it is, and never by the program that asked for the
        // token.
        scene.attempt(route, client_id).with(scene.token(client_id).mint()).expect_admitted();
        let through_it = scene.token("somebody@example.com").claim("appid", client_id.as_str()).mint();
        scene.attempt(route, client_id).with(through_it).expect_refused("role_not_bound");
        let stranger = scene.tenant.token().app("0d4f1c2e-51f0-4a3e-9f10-0c6c2b8a7eff").mint();
        scene.attempt(route, client_id).with(stranger).expect_refused("role_not_bound");
    }
}

#[test]
fn audience_is_matched_with_and_without_its_trailing_slash_and_inside_an_array() {
    let scene = scene();
    let bare = tenant::AUDIENCE.trim_end_matches('/');
    let forms = [json!(bare), json!(format!("{bare}/")), json!(["https://example.com", bare])];
    for route in scene.token_routes() {
        for aud in &forms {
            let role = scene.member();
            let token = scene.token(&role).claim("aud", aud.clone()).mint();
            scene.attempt(route, &role).with(token).expect_admitted();
        }
    }
}

// Passwords that are no token.

#[test]
fn client_that_leaves_when_asked_is_not_let_in_and_not_logged_as_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        let mark = scene.cluster.log_mark();
        drop(scene.attempt(route, &role).until_asked());
        // The next login's line proves that the server had time to write one for the first.
        scene.attempt(route, &role).expect_admitted();
        let log = scene.cluster.log_since(mark);
        assert!(!log.lines().any(|line| line.contains("login refused") && line.contains(&role)), "{log}");

        if route == Route::OAuth {
            continue; // psql would have to speak it.
        }
        let to =
            format!("host={} user={role} dbname={}", scene.cluster.socket_dir().display(), route.database());
        let said = scene.cluster.psql(&to, None, "SELECT 1");
        assert!(String::from_utf8_lossy(&said.stderr).contains("no password supplied"), "{said:?}");
    }
}

#[test]
fn empty_password_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        scene.attempt(route, &role).expect_admitted();
        let attempt = scene.attempt(route, &role).with("");
        let mark = scene.cluster.log_mark();
        let login = attempt.login();
        assert!(login.challenged);
        let answer = attempt.expect_turned_away(login);
        // Core refuses an empty password itself where it is the one to read it (`recv_password_packet`), and a bearer
        // that is no b64token (`validate_token_format`).
        let (sqlstate, cores_words) = if route == Route::OAuth {
            ("28000", "malformed OAuth bearer token")
        } else {
            ("28P01", "empty password returned by client")
        };
        assert_eq!(answer.sqlstate, sqlstate, "{answer:?}");
        let log = scene.cluster.log_since(mark);
        let is_ours = route != Route::OAuth && log.contains("code=no_token");
        assert!(is_ours || log.contains(cores_words), "{route}: {log}");
    }
}

#[test]
fn garbage_password_is_refused() {
    for garbage in ["hunter2", "a.b.c", "..", "eyJhbGciOiJSUzI1NiJ9", " ", "\u{fffd}\u{202e}"] {
        refuses_password("malformed_token", garbage.as_bytes());
    }
}

#[test]
fn password_that_is_no_utf8_is_refused() {
    refuses_password("malformed_token", b"\xff\xfe\xc0.\x80.\xf5");
}

#[test]
fn password_of_65530_bytes_is_refused() {
    refuses_password("token_too_large", &[b'a'; 65_530]);
}

#[test]
fn token_with_an_embedded_nul_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        let token = scene.token(&role).mint();
        scene.attempt(route, &role).with(&token).expect_admitted();
        for password in [format!("{token}\0"), format!("{token}\0x"), format!("\0{token}")] {
            let attempt = scene.attempt(route, &role).with(password);
            let login = attempt.login();
            assert!(login.challenged);
            let answer = attempt.expect_turned_away(login);
            // 08P01 is core's own word for it, which it says before any method sees the password.
            assert!(["28P01", "28000", "08P01"].contains(&answer.sqlstate.as_str()), "{answer:?}");
        }
    }
}

#[test]
fn token_with_a_character_added_or_taken_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        let token = scene.token(&role).mint();
        scene.attempt(route, &role).with(&token).expect_admitted();
        for changed in [format!("{token}="), format!("{token}.")] {
            scene.attempt(route, &role).with(changed).expect_refused("malformed_token");
        }
        for changed in [format!("{token} "), format!("{token}\n"), format!("Bearer {token}")] {
            let attempt = scene.attempt(route, &role).with(changed);
            if route == Route::OAuth {
                // No b64token (RFC 6750 §2.1): core refuses it and asks no validator.
                let mark = scene.cluster.log_mark();
                attempt.expect_turned_away(attempt.login());
                scene.cluster.wait_for_log(mark, "malformed OAuth bearer token");
            } else {
                attempt.expect_refused("malformed_token");
            }
        }
        let spaced = scene.attempt(route, &role).with(format!(" {token}"));
        if route == Route::OAuth {
            spaced.expect_admitted(); // Spaces before a bearer token are none of it (RFC 7628 §3.1).
        } else {
            spaced.expect_refused("malformed_token");
        }
        // The 256 bytes of the signature less one: still good base64url.
        let cut = &token[..token.len() - 2];
        let line = scene.attempt(route, &role).with(cut).expect_refused("signature_length");
        assert!(line.contains(" signature_bytes=255 key_bytes=256"), "{line}");
    }
}

// The connection.

/// A server that is reached at an address other than loopback, with keys from a file: it has no way out.
#[test]
fn plain_tcp_from_another_address_is_refused_before_the_token_is_asked_for() {
    if !account::is_root() {
        return skipped("needs root: a network namespace");
    }
    if !Installation::is_built_with("openssl") || !Installation::is_built_with("pam") {
        return skipped("needs a PostgreSQL built with OpenSSL and PAM");
    }
    let directory = run_directory::fresh("keys");
    let tenant = Tenant::start(&directory);
    let keys = directory.join("jwks.json");
    std::fs::write(&keys, tenant.keys().jwks().to_string()).expect("our own file");
    let service = PamService::new(&Installation::pgaad());
    let cluster = Cluster::new(&Installation::pgaad())
        .with_another_address()
        .conf("shared_preload_libraries", "pgaad")
        .conf("pgaad.tenant_id", tenant.tenant_id())
        .conf("pgaad.authority", tenant.authority())
        .conf("pgaad.jwks_file", keys.display().to_string())
        .conf("pgaad.allow_trust", "on")
        .hba("host trust_db all 10.99.0.1/32 trust")
        .hba(format!("host all all 10.99.0.1/32 pam pamservice={}", service.name()))
        .start();
    cluster.wait_until_ready();
    cluster.sql("CREATE EXTENSION pgaad");
    cluster.sql("CREATE DATABASE trust_db");
    cluster.sql("CREATE USER \"alice@example.com\" IN ROLE azure_ad_user");
    cluster.sql("CREATE USER bob");
    let token = tenant.token().user("alice@example.com").mint();
    for database in ["postgres", "trust_db"] {
        let to =
            |mode: &str| format!("host=10.99.0.1 dbname={database} user=alice@example.com sslmode={mode}");
        let said = cluster.psql_nearby(&to("require"), Some(&token), "SELECT current_user");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "alice@example.com", "{said:?}");

        let mark = cluster.log_mark();
        // Without a password, psql would complain as soon as it is asked for one.
        let said = cluster.psql_nearby(&to("disable"), None, "SELECT current_user");
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success() && stderr.contains("FATAL:  "), "{said:?}");
        assert!(!stderr.contains("no password supplied"), "{said:?}");
        cluster.wait_for_log(mark, "code=tls_required");
        let said = cluster.psql_nearby(&to("disable"), Some(&token), "SELECT current_user");
        assert!(!said.status.success() && said.stdout.is_empty(), "{said:?}");
    }

    // Who is no member is not let in from another machine either, although the line says `trust`.
    let mark = cluster.log_mark();
    let to = "host=10.99.0.1 dbname=trust_db user=bob sslmode=require";
    let said = cluster.psql_nearby(to, Some(&token), "SELECT current_user");
    assert!(!said.status.success() && said.stdout.is_empty(), "{said:?}");
    cluster.wait_for_log(mark, "code=trust_line_guard");
}

#[test]
fn client_is_told_by_its_address_and_not_by_its_name() {
    let scene = Scene::with(|cluster| cluster.conf("log_hostname", "on"));
    let role = scene.member();
    for route in scene.token_routes() {
        let mark = scene.cluster.log_mark();
        // On loopback without encryption: what counts is where the client is, not what it is called.
        scene.attempt(route, &role).over(Transport::Plain).expect_admitted();
        scene.cluster.wait_for_log(mark, " client=127.0.0.1");
    }
}
