//! The token is never written down: no piece of it in a log at any level, in a view, or in a file.

use pgaad_tests::token_pieces::{PIECE, TokenPieces, files_below};
use pgaad_tests::wire::Session;
use pgaad_tests::{Scene, Transport};
use serde_json::json;
use std::time::Duration;
use tenant::Signer;

/// Every view and function through which anything of a login could be seen, as text.
fn everything_visible(scene: &Scene, session: &mut Session) -> String {
    let views = "SELECT format('%I.%I', schemaname, viewname) FROM pg_views WHERE schemaname = 'pgaad'";
    let mut names: Vec<String> = scene.cluster.sql(views).into_iter().flatten().flatten().collect();
    assert!(names.len() >= 2, "{names:?}");
    names.extend(
        ["pg_stat_activity", "pg_settings", "pg_stat_ssl", "pg_prepared_statements"].map(str::to_owned),
    );
    let mut text = String::new();
    for name in names {
        for row in scene.cluster.sql(&format!("SELECT v::text FROM {name} v")) {
            text.extend(row.into_iter().flatten());
            text.push('\n');
        }
    }
    for sql in
        ["SELECT pgaad.claims()", "SELECT s::text FROM pg_stat_activity s WHERE pid = pg_backend_pid()"]
    {
        text.push_str(&session.value(sql).unwrap_or_default());
    }
    text
}

#[test]
fn no_piece_of_a_token_is_written_down_anywhere() {
    let scene = Scene::with(|cluster| {
        cluster
            .conf("log_min_messages", "debug5")
            .conf("log_min_error_statement", "debug5")
            .conf("log_error_verbosity", "verbose")
            .conf("log_connections", "on")
            .conf("log_disconnections", "on")
            .conf("log_statement", "all")
            .conf("log_duration", "on")
            .conf("track_activity_query_size", "64kB")
    });
    let mut used = TokenPieces::new();
    let mut sessions = Vec::new();
    for route in scene.routes() {
        for transport in [Transport::Tls, Transport::Plain, Transport::Unix] {
            let role = scene.member();
            let (good, v2) = (scene.token(&role), scene.tenant.token().v2().user(&role));
            for token in [good.clone(), v2] {
                let token = token.mint();
                used.add(token.as_bytes());
                sessions.push(scene.attempt(route, &role).over(transport).with(token).expect_admitted());
            }
            let refused = [
                good.clone().expires_in(-1000).not_before_in(-5000),
                good.clone().claim("aud", "https://graph.microsoft.com"),
                good.clone().claim("tid", tenant::CONSUMER_TENANT_ID),
                good.clone().claim("iss", "https://example.com/"),
                good.clone().claim("oid", json!(["a"])),
                good.clone().without("oid"),
                good.clone().header("crit", json!(["exp"])),
                good.clone().header("jku", "https://example.com/keys"),
                good.clone().header("kid", "a kid that nobody has ever heard of"),
                good.clone().signed_by(Signer::None),
                good.clone().signed_by(Signer::Hs256(b"secret".to_vec())),
                good.clone().signed_by(Signer::Unpublished),
                good.clone().signed_by(Signer::Consumer),
                good.clone().signed_by(Signer::Broken),
                good.clone().raw_payload("not JSON"),
                good.clone().user("somebody.else@example.com"),
            ];
            let mut passwords: Vec<String> = refused.into_iter().map(|token| token.mint()).collect();
            let whole = good.mint();
            passwords.extend([
                format!("{whole}="),
                format!("{whole}\0{whole}"),
                format!("Bearer {whole}"),
                whole.repeat(40).chars().take(65_000).collect(),
                whole[..whole.len() / 2].to_owned(),
                "correct horse battery staple".to_owned(),
            ]);
            for password in passwords {
                used.add(password.as_bytes());
                let attempt = scene.attempt(route, &role).over(transport).with(&password);
                attempt.expect_turned_away(attempt.login());
            }
            // Core's own refusal of a member, and a token sent where a password is asked for.
            let token = scene.token(&role).mint();
            used.add(token.as_bytes());
            let attempt = scene.attempt(pgaad_tests::Route::Password, &role).with(&token);
            attempt.expect_turned_away(attempt.login());
        }
    }
    assert!(used.count() > 10_000, "{}", used.count());
    let session = sessions.last_mut().expect("there was a login");
    let visible = everything_visible(&scene, session);
    assert_eq!(used.place_in(visible.as_bytes()), None, "in a view:\n{visible}");
    scene.cluster.sql("CHECKPOINT");

    let data = scene.cluster.data_dir();
    let log = scene.cluster.log().path().to_owned();
    assert!(files_below(&data).len() > 500, "the data directory is not seen");
    assert_eq!(used.files_with_pieces(&data), Vec::<std::path::PathBuf>::new());
    let text = std::fs::read(&log).expect("the log is read");
    assert!(String::from_utf8_lossy(&text).contains("DEBUG:"), "the log is not at a debug level");
    let place = used
        .place_in(&text)
        .map(|at| String::from_utf8_lossy(&text[at.saturating_sub(200)..at + PIECE]).into_owned());
    assert_eq!(place, None, "in the log");

    // The scan proves itself: one piece, planted in each of the three kinds of place, is found.
    let token = scene.token("planted@example.com").mint();
    let piece = &token[40..40 + PIECE];
    used.add(token.as_bytes());
    let mark = scene.cluster.log_mark();
    let plant = format!("CREATE TABLE planted AS SELECT '{piece}'::text AS piece; CHECKPOINT");
    scene.cluster.sql(&plant);
    scene.cluster.wait_for_log(mark, piece, Duration::from_secs(5));
    assert!(used.place_in(&std::fs::read(&log).expect("the log is read")).is_some());
    assert!(!used.files_with_pieces(&data).is_empty());
    let session = sessions.last_mut().expect("there was a login");
    session.query(&format!("SET application_name = '{piece}'")).expect("anybody may");
    let visible = everything_visible(&scene, session);
    assert!(used.place_in(visible.as_bytes()).is_some());
}
