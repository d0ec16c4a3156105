//! What the operator sees of logins: the views, and the log.

use pgaad_core::Reason;
use pgaad_tests::scene::quoted;
use pgaad_tests::{Route, Scene};
use tenant::{Signer, object_id};

const GROUP: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";

fn row(scene: &Scene, columns: &str, condition: &str) -> Vec<String> {
    let rows = scene
        .cluster
        .sql(&format!("SELECT {columns} FROM pgaad.events WHERE {condition} ORDER BY id DESC LIMIT 1"));
    let row = rows.into_iter().next().unwrap_or_else(|| panic!("no event where {condition}"));
    row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect()
}

#[test]
fn every_decision_is_an_event_that_names_the_human_where_the_signature_was_good() {
    let scene = Scene::start();
    let role = scene.member();
    let (oid, tid) = (object_id(&role), scene.tenant.tenant_id());
    let attempt = scene.attempt(scene.route(), &role);
    let columns =
        "code, route, kind, tid, oid, upn, appid IS NOT NULL, kid IS NOT NULL, uti IS NOT NULL, client";
    let of_role = format!("role = '{role}'");

    attempt.expect_admitted();
    let route = scene.route().to_string();
    let known = ["user", &tid, &oid, &role, "t", "t", "t", "127.0.0.1"];
    assert_eq!(row(&scene, columns, &of_role), [&["admitted", &route], &known[..]].concat());

    // Refused, by a token that is genuine: the human is named.
    attempt
        .clone()
        .with(scene.token(&role).expires_in(-3600).not_before_in(-8000).mint())
        .expect_refused("expired");
    assert_eq!(row(&scene, columns, &of_role), [&["expired", &route], &known[..]].concat());
    // Numbers are numbers, and foreign text is text.
    let facts = "(facts ->> 'ago_s')::int BETWEEN 3600 AND 3700, jsonb_typeof(facts -> 'exp')";
    assert_eq!(row(&scene, facts, &of_role), ["t", "number"]);
    attempt
        .clone()
        .with(scene.token(&role).claim("aud", "https://a\"b.example/7").mint())
        .expect_refused("wrong_audience");
    assert_eq!(row(&scene, "aud, facts", &of_role), [r#"https://a"b.example/7"#, "NULL"]);
    let other = scene.token("mallory@example.com");
    let line = attempt.clone().with(other.mint()).expect_refused("role_not_bound");
    assert!(
        line.contains(&format!(" oid={} upn=\"mallory@example.com\" ", object_id("mallory@example.com"))),
        "{line}"
    );
    assert_eq!(row(&scene, "upn, facts", &of_role), ["mallory@example.com", "NULL"]);

    // And by one that is not: whatever it says counts for nothing.
    attempt.clone().with(other.signed_by(Signer::Broken).mint()).expect_refused("bad_signature");
    let unknown = ["NULL", "NULL", "NULL", "NULL", "f", "f", "f", "127.0.0.1"];
    assert_eq!(row(&scene, columns, &of_role), [&["bad_signature", &route], &unknown[..]].concat());
    scene.cluster.sql(&format!("ALTER ROLE {} PASSWORD 'hunter2'", quoted(&role)));
    scene.attempt(Route::Password, &role).with("hunter2").expect_refused("method_not_allowed");
    assert_eq!(row(&scene, "code, route", &of_role), ["method_not_allowed", "other"]);
}

#[test]
fn group_login_names_the_role_and_the_human_and_a_program_itself() {
    let scene = Scene::start();
    scene.cluster.sql(&format!(
        "SELECT pgaadauth_create_principal_with_oid('readers', '{GROUP}', 'group', false, false)"
    ));
    let token = scene.token("ann@example.com").groups(&[GROUP]).mint();
    let mark = scene.cluster.log_mark();
    scene.attempt(scene.route(), "readers").with(token).expect_admitted();
    let log = scene.cluster.log_since(mark);
    let line = log.lines().find(|line| line.contains("login admitted")).expect("a line");
    assert!(line.contains("pgaad: login admitted: code=admitted route="), "{line}");
    assert!(line.contains(" role=\"readers\" ") && line.contains(" by=group "), "{line}");
    assert!(line.contains(" upn=\"ann@example.com\" "), "{line}");
    assert_eq!(row(&scene, "role, upn, rule", "true"), ["readers", "ann@example.com", "group"]);
}

#[test]
fn counts_are_kept_since_the_start_and_for_pg_monitor_too() {
    let scene = Scene::start();
    let role = scene.member();
    let attempt = scene.attempt(scene.route(), &role);
    for _ in 0..3 {
        attempt.expect_admitted();
        attempt.clone().with("hunter2").expect_refused("malformed_token");
    }
    scene.cluster.sql("CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE nobody");
    let counts = scene.cluster.sql(
        "SET ROLE watcher; SELECT code, count, last_at >= since AND since <= now() FROM pgaad.stat_logins \
         WHERE count > 0 ORDER BY 1",
    );
    let counts: Vec<_> = counts.iter().flatten().flatten().map(String::as_str).collect();
    assert_eq!(counts, ["admitted", "3", "t", "malformed_token", "3", "t"]);
    // A count that is there only from its first time on has no rate.
    let zeros = "SELECT count(*) FROM pgaad.stat_logins WHERE count = 0 AND last_at IS NULL";
    assert_eq!(scene.cluster.value(zeros), (Reason::CODES.len() - 1).to_string());
    for view in ["stat_logins", "events"] {
        let answer = scene.cluster.try_sql(&format!("SET ROLE nobody; SELECT * FROM pgaad.{view}"));
        assert_eq!(answer.expect_err("not for everybody").sqlstate, "42501");
    }

    scene.cluster.restart();
    assert_eq!(scene.cluster.value("SELECT count(*) FROM pgaad.events"), "0");
    assert_eq!(scene.cluster.value("SELECT sum(count) FROM pgaad.stat_logins"), "0");
}

#[test]
fn the_last_256_are_kept_in_order_while_many_log_in_and_others_read() {
    let scene = Scene::start();
    let role = scene.member();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..90 {
                    scene.attempt(Route::Trust, &role).with("hunter2").login();
                }
            });
        }
        for _ in 0..30 {
            // Every row that is read is whole: the role and the code are what they must be.
            let wrong = format!(
                "SELECT count(*) FROM pgaad.events WHERE role <> '{role}' OR code <> 'malformed_token'"
            );
            assert_eq!(scene.cluster.value(&wrong), "0");
        }
    });
    let kept = "SELECT count(*) || ' ' || max(id) || ' ' || min(id) FROM pgaad.events";
    assert_eq!(scene.cluster.value(kept), "256 360 105");
    let comment = scene.cluster.value("SELECT obj_description('pgaad.events'::regclass, 'pg_class')");
    assert!(comment.starts_with("the last 256 decisions, "), "{comment}");
    assert_eq!(scene.cluster.value("SELECT count FROM pgaad.stat_logins WHERE count > 0"), "360");
}

#[test]
fn log_logins_says_what_is_logged_and_the_views_have_all() {
    for (value, admitted, refused) in [("refused", false, true), ("none", false, false)] {
        let scene = Scene::with(|cluster| cluster.conf("pgaad.log_logins", value));
        let role = scene.member();
        let mark = scene.cluster.log_mark();
        let attempt = scene.attempt(scene.route(), &role);
        attempt.login();
        attempt.clone().with("hunter2").login();
        let log = scene.cluster.log_since(mark);
        assert_eq!(log.contains("login admitted"), admitted, "{value}: {log}");
        assert_eq!(log.contains("login refused"), refused, "{value}: {log}");
        let codes = "SELECT string_agg(code, ' ' ORDER BY id) FROM pgaad.events";
        assert_eq!(scene.cluster.value(codes), "admitted malformed_token");
    }
}

#[test]
fn names_that_are_not_harmless_read_back_as_they_are() {
    let scene = Scene::start();
    let name = "x\" code=admitted\n'; drop';zoë";
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(name)));
    scene.attempt(Route::Trust, name).with("hunter2").login();
    assert_eq!(row(&scene, "role, code", "true"), [name, "malformed_token"]);
}
