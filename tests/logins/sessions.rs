//! `pgaad.sessions`: who is behind each connection, right now.

use pgaad_tests::wire::Session;
use pgaad_tests::{Route, Scene, wait_until};
use serde_json::json;
use tenant::object_id;

fn listed(scene: &Scene, columns: &str) -> Vec<Vec<String>> {
    let rows = scene.cluster.sql(&format!("SELECT {columns} FROM pgaad.sessions ORDER BY role, pid"));
    let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

fn count(scene: &Scene) -> String {
    scene.cluster.value("SELECT count(*) FROM pgaad.sessions")
}

fn pid(session: &mut Session) -> String {
    session.value("SELECT pg_backend_pid()").expect("a process id")
}

#[test]
fn each_connection_that_came_with_a_token_is_listed_as_long_as_it_lasts() {
    let scene = Scene::start();
    let role = scene.member();
    scene.cluster.sql("CREATE ROLE plain LOGIN PASSWORD 'secret'");
    assert_eq!(count(&scene), "0");
    let mut sessions: Vec<_> = scene
        .token_routes()
        .into_iter()
        .map(|route| (route, scene.attempt(route, &role).expect_admitted()))
        .collect();
    let plain = scene.attempt(Route::Password, "plain").with("secret").login();
    let oid = object_id(&role);
    let mut wanted: Vec<Vec<String>> = sessions
        .iter_mut()
        .map(|(route, session)| {
            [
                &pid(session),
                &role,
                "user",
                &role,
                &oid,
                "name",
                &route.to_string(),
                "127.0.0.1",
                "t",
                "t",
                "t",
            ]
            .map(str::to_owned)
            .to_vec()
        })
        .collect();
    wanted.sort();
    let columns = "pid, role, kind, upn, oid, rule, route, client, uti IS NOT NULL AND appid IS NOT NULL, \
                   expires_at BETWEEN now() + '1 min' AND now() + '1 day', \
                   since BETWEEN now() - '1 min'::interval AND now()";
    let mut found = listed(&scene, columns);
    found.sort();
    assert_eq!(found, wanted);
    // It joins what core knows.
    let joined = "SELECT count(*) FROM pgaad.sessions JOIN pg_stat_activity USING (pid) WHERE usename = role";
    assert_eq!(scene.cluster.value(joined), wanted.len().to_string());
    drop(plain);
    drop(sessions);
    wait_until("the sessions are gone", || count(&scene) == "0");
}

#[test]
fn whatever_a_session_sets_its_role_to_the_human_is_shown() {
    let scene = Scene::with(|cluster| cluster.conf("pgaad.allow_superuser", "on"));
    let role = scene.member();
    scene.cluster.sql(&format!("CREATE ROLE other; ALTER ROLE \"{role}\" SUPERUSER"));
    let mut session = scene.attempt(scene.route(), &role).expect_admitted();
    for statement in ["SET ROLE other", "RESET ROLE", "SET SESSION AUTHORIZATION other"] {
        session.query(statement).unwrap_or_else(|answer| panic!("{statement}: {answer}"));
        assert_eq!(listed(&scene, "pid, role, upn"), [[pid(&mut session), role.clone(), role.clone()]]);
    }
    // A role that is renamed is shown as it was when the client logged in as it.
    scene.cluster.sql(&format!("ALTER ROLE \"{role}\" RENAME TO renamed"));
    assert_eq!(listed(&scene, "pid, role, upn"), [[pid(&mut session), role.clone(), role.clone()]]);
}

#[test]
fn many_come_and_go_and_none_is_left_behind() {
    let scene = Scene::start();
    let role = scene.member();
    for _ in 0..3 {
        let mut sessions: Vec<_> =
            (0..40).map(|_| scene.attempt(scene.route(), &role).expect_admitted()).collect();
        let mut pids: Vec<_> = sessions.iter_mut().map(pid).collect();
        let mut found: Vec<_> = listed(&scene, "pid").into_iter().flatten().collect();
        pids.sort();
        found.sort();
        assert_eq!(found, pids);
        drop(sessions);
        wait_until("the sessions are gone", || count(&scene) == "0");
    }
    // A refused login never was a session.
    scene.attempt(scene.route(), &role).with("hunter2").expect_refused("malformed_token");
    assert_eq!(count(&scene), "0");
}

#[test]
fn a_crash_ends_all_and_the_next_login_is_listed_again() {
    let scene = Scene::start();
    let role = scene.member();
    let session = scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(count(&scene), "1");
    scene.cluster.kill_a_backend();
    scene.cluster.wait_until_ready();
    assert_eq!(count(&scene), "0");
    drop(session);
    let _session = scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(count(&scene), "1");
}

#[test]
fn monitors_may_read_it_and_others_may_not() {
    let scene = Scene::start();
    let role = scene.member();
    let _session = scene.attempt(scene.route(), &role).expect_admitted();
    scene.cluster.sql("CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE nobody");
    assert_eq!(scene.cluster.value("SET ROLE watcher; SELECT count(*) FROM pgaad.sessions"), "1");
    let answer = scene.cluster.try_sql("SET ROLE nobody; SELECT * FROM pgaad.sessions");
    assert_eq!(answer.expect_err("not for everybody").sqlstate, "42501");
}

#[test]
fn an_agent_is_named_beside_the_user_for_whom_it_acts() {
    const AGENT: &str = "6b1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
    let scene = Scene::start();
    let role = scene.member();
    let acting = scene.token(&role).claim("appid", AGENT).claim("xms_act_fct", "3 9 11");
    let mark = scene.cluster.log_mark();
    let session = scene.attempt(scene.route(), &role).with(acting.mint()).expect_admitted();
    let line = scene.cluster.wait_for_log(mark, "pgaad: login admitted:");
    assert!(line.contains(&format!(" upn=\"{role}\" appid={AGENT} agent={AGENT} ")), "{line}");
    assert_eq!(listed(&scene, "upn, agent"), [[role.clone(), AGENT.to_owned()]]);
    let event = "SELECT agent FROM pgaad.events WHERE upn IS NOT NULL ORDER BY id DESC LIMIT 1";
    assert_eq!(scene.cluster.value(event), AGENT);
    drop(session);
    wait_until("the session is gone", || count(&scene) == "0");
    // Facets of others than agents, and a claim of another form, name none and refuse nobody.
    for facets in [json!("3 9"), json!("111"), json!([11]), json!(11)] {
        let token = scene.token(&role).claim("xms_act_fct", facets).mint();
        let session = scene.attempt(scene.route(), &role).with(token).expect_admitted();
        assert_eq!(listed(&scene, "agent"), [["NULL"]]);
        drop(session);
        wait_until("the session is gone", || count(&scene) == "0");
    }
}
