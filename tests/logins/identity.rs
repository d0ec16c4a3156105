//! Whom core takes the session for: `SYSTEM_USER`, which PostgreSQL has from 16 on, and its own lines in the log.

use pgaad_tests::scene::quoted;
use pgaad_tests::twin::scene;
use pgaad_tests::{Installation, Route, Scene, skipped};
use tenant::object_id;

const CLIENT_ID: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

#[test]
fn system_user_is_the_method_and_the_human_in_parallel_workers_too() {
    if Installation::pgaad().major() < 16 {
        return skipped("SYSTEM_USER is there from PostgreSQL 16 on");
    }
    let scene = scene();
    for route in scene.token_routes() {
        // A role that is not called like the human, so that neither can stand for the other.
        let role = scene.fresh_name();
        let human = scene.fresh_name();
        scene.cluster.sql(&format!(
            "CREATE USER {0}; SECURITY LABEL FOR pgaadauth ON ROLE {0} IS 'aadauth,oid={1},type=user'",
            quoted(&role),
            object_id(&human)
        ));
        let token = scene.token(&human).mint();
        let mut session = scene.attempt(route, &role).with(token).expect_admitted();
        let expected = format!("{route}:{human}");
        assert_eq!(session.value("SELECT system_user").as_deref(), Some(expected.as_str()));

        session.query("SET debug_parallel_query = on").expect("anybody may");
        let plan = session.query("EXPLAIN (ANALYZE, COSTS OFF) SELECT system_user").expect("a query");
        let plan: Vec<_> = plan.iter().filter_map(|row| row[0].as_deref()).collect();
        assert!(plan.iter().any(|line| line.contains("Workers Launched: 1")), "{plan:?}");
        assert_eq!(session.value("SELECT system_user").as_deref(), Some(expected.as_str()));
    }
}

#[test]
fn system_user_is_the_object_id_of_a_program() {
    if Installation::pgaad().major() < 16 {
        return skipped("SYSTEM_USER is there from PostgreSQL 16 on");
    }
    let scene = scene();
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(CLIENT_ID)));
    let token = scene.tenant.token().app(CLIENT_ID);
    let oid = token.claims()["oid"].as_str().expect("a token has an oid").to_owned();
    for route in scene.token_routes() {
        let mut session = scene.attempt(route, CLIENT_ID).with(token.mint()).expect_admitted();
        assert_eq!(session.value("SELECT system_user"), Some(format!("{route}:{oid}")));
    }
}

#[test]
fn system_user_of_a_login_that_is_not_ours_is_cores() {
    if Installation::pgaad().major() < 16 {
        return skipped("SYSTEM_USER is there from PostgreSQL 16 on");
    }
    // The superuser comes in by `trust`, which authenticates nobody.
    assert_eq!(scene().cluster.sql("SELECT system_user"), [[None]]);
}

/// What docs/internals.md tells auditors of `log_connections`.
#[test]
fn core_names_a_login_before_the_gate_and_pgaad_admits_it_when_core_knows_the_role() {
    let scene = Scene::with(|cluster| cluster.conf("log_connections", "on"));
    let major = scene.cluster.installation().major();
    for route in scene.token_routes() {
        let (role, human) = (scene.fresh_name(), scene.fresh_name());
        scene.cluster.sql(&format!(
            "CREATE USER {0}; SECURITY LABEL FOR pgaadauth ON ROLE {0} IS 'aadauth,oid={1},type=user'",
            quoted(&role),
            object_id(&human)
        ));
        let authenticated = match route {
            Route::Pam => Some(format!("connection authenticated: identity=\"{role}\" method=pam")),
            Route::OAuth => Some(format!("connection authenticated: identity=\"{human}\" method=oauth")),
            _ => (major >= 17).then(|| format!("connection authenticated: user=\"{role}\" method=trust")),
        };
        let mark = scene.cluster.log_mark();
        scene.attempt(route, &role).with(scene.token(&human).mint()).expect_admitted();
        let log = scene.cluster.log_since(mark);
        let place = |line: &str| log.find(line).unwrap_or_else(|| panic!("not in the log: {line}\n{log}"));
        let admitted = place("pgaad: login admitted:");
        assert!(place(&format!("connection authorized: user={role}")) < admitted, "{log}");
        match authenticated {
            Some(line) => assert!(place(&line) < admitted, "{log}"),
            None => assert!(!log.contains("connection authenticated"), "{log}"),
        }

        let mark = scene.cluster.log_mark();
        scene.attempt(route, &role).expect_refused("principal_mismatch");
        assert!(!scene.cluster.log_since(mark).contains("connection authorized"));
    }
}
