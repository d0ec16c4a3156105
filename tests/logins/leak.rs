//! The token is never written down: no piece of it in a log at any level, in a view, or in a file.

use pgaad_tests::scene::quoted;
use pgaad_tests::token_pieces::{PIECE, TokenPieces, files_below};
use pgaad_tests::wire::Session;
use pgaad_tests::{Installation, Route, Scene, Transport, skipped, wait_for, wait_until};
use serde_json::json;
use std::os::unix::fs::FileExt;
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
    for route in scene.token_routes() {
        for transport in Transport::all() {
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
            let attempt = scene.attempt(Route::Password, &role).with(&token);
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
    scene.cluster.wait_for_log(mark, piece);
    assert!(used.place_in(&std::fs::read(&log).expect("the log is read")).is_some());
    assert!(!used.files_with_pieces(&data).is_empty());
    let session = sessions.last_mut().expect("there was a login");
    session.query(&format!("SET application_name = '{piece}'")).expect("anybody may");
    let visible = everything_visible(&scene, session);
    assert!(used.place_in(visible.as_bytes()).is_some());
}

#[test]
fn no_piece_of_a_token_is_in_csv_or_json_logs_and_names_cannot_forge_their_lines() {
    // The collector takes the server's stderr over, so nothing is waited for in it here.
    let scene = Scene::on_before_keys(&Installation::pgaad(), |cluster| {
        cluster
            .conf("logging_collector", "on")
            .conf("log_destination", "stderr,csvlog,jsonlog")
            .conf("log_filename", "server.log")
            .conf("log_min_messages", "debug5")
            .conf("log_error_verbosity", "verbose")
            .conf("backtrace_functions", "errfinish,pgaad,ClientAuthentication")
    });
    wait_until("keys come", || scene.cluster.value("SELECT ready FROM pgaad.status") == "t");
    let mut used = TokenPieces::new();
    let evil = "evil\" code=none\nLOG:  pgaad: login admitted: role=\"postgres\",\\";
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(evil)));
    let role = scene.member();
    for route in scene.token_routes() {
        for (role, token) in [
            (role.as_str(), scene.token(&role)),
            (role.as_str(), scene.token(&role).expires_in(-4000)),
            (role.as_str(), scene.token(evil)),
            (role.as_str(), scene.token(&role).header("kid", evil)),
            (evil, scene.token(evil)),
            (evil, scene.token(&role)),
        ] {
            let token = token.mint();
            used.add(token.as_bytes());
            drop(scene.attempt(route, role).with(&token).login());
        }
    }
    scene.cluster.stop();

    let logs = scene.cluster.data_dir().join("log");
    for (name, decision) in [
        ("server.log", "] LOG:  00000: pgaad: login "),
        ("server.csv", ",\"pgaad: login "),
        ("server.json", "\"message\":\"pgaad: login "),
    ] {
        // The logger outlives the postmaster for a moment.
        let text = wait_for(&format!("the end of {name}"), || {
            let text = std::fs::read(logs.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            String::from_utf8_lossy(&text).contains("database system is shut down").then_some(text)
        });
        assert_eq!(used.place_in(&text), None, "{name}");
        let text = String::from_utf8_lossy(&text);
        // One record for each decision, and none that a name has made.
        let records = text.lines().filter(|line| line.contains(decision)).count();
        assert_eq!(records, scene.token_routes().len() * 6, "{name}");
        // Core writes the role's name into its own column, where CSV lets a line end inside the quotes.
        let forged = |line: &&str| name != "server.csv" && line.starts_with("LOG:  pgaad: login admitted");
        assert_eq!(text.lines().filter(forged).count(), 0, "{name}");
        assert!(
            text.contains("pgaad: login admitted: ") && text.contains("pgaad: login refused: code="),
            "{name}"
        );
    }
    // The scan proves itself.
    let token = scene.token(&role).mint();
    used.add(token.as_bytes());
    std::fs::write(logs.join("planted"), &token[60..60 + PIECE]).expect("root, or the server's own account");
    assert_eq!(used.files_with_pieces(&logs), [logs.join("planted")]);
}

/// What a process has in memory that can be read and written, piece by piece of its map.
fn memory_of(pid: u32) -> Option<Vec<(String, Vec<u8>)>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut regions = Vec::new();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some((from, to)), true) = (fields[0].split_once('-'), fields[1].starts_with("rw")) else {
            continue;
        };
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            regions.push((line.to_owned(), bytes));
        }
    }
    Some(regions)
}

#[test]
fn memory_of_a_backend_holds_no_piece_once_core_has_used_its_receive_buffer_again() {
    let scene = Scene::start();
    let role = scene.member();
    for (route, transport) in scene
        .token_routes()
        .into_iter()
        .flat_map(|route| Transport::all().into_iter().map(move |t| (route, t)))
    {
        let token = scene.token(&role).mint();
        let mut session = scene.attempt(route, &role).over(transport).with(&token).expect_admitted();
        let pid = session.value("SELECT pg_backend_pid()").and_then(|pid| pid.parse().ok()).expect("a pid");
        let pieces = TokenPieces::of(token.as_bytes());
        let found = |pieces: &TokenPieces| -> Option<Vec<String>> {
            let regions = memory_of(pid)?;
            Some(
                regions
                    .into_iter()
                    .filter(|(_, bytes)| pieces.place_in(bytes).is_some())
                    .map(|(map, _)| map)
                    .collect(),
            )
        };
        // Longer than the receive buffer (pqcomm.c, PQ_RECV_BUFFER_SIZE).
        session.query(&format!("SELECT length('{}')", " ".repeat(20_000))).expect("a query");
        let Some(left) = found(&pieces) else { return skipped("needs to read another process's memory") };
        // Core has read the message of OAUTHBEARER into a buffer of its own, which it frees as it is (auth-sasl.c,
        // `CheckSASLAuth`). SECURITY.md says so.
        if route == Route::OAuth {
            assert!(left.iter().all(|map| map.ends_with("[heap]")), "{transport:?}: {left:?}");
        } else {
            assert_eq!(left, Vec::<String>::new(), "{route}, {transport:?}");
        }

        // The scan proves itself.
        let planted = "the-very-long-text-that-is-planted-in-the-session";
        session.query(&format!("SET application_name = '{planted}'")).expect("anybody may");
        let planted = TokenPieces::of(planted.as_bytes());
        assert!(!found(&planted).expect("it was read before").is_empty());
    }
}
