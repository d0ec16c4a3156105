//! The claims of a session: for row-level security, and out of the session's reach.

use pgaad_tests::wire::Session;
use pgaad_tests::{Route, Scene};
use tenant::object_id;

const READERS: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";
const WRITERS: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

fn login(scene: &Scene, role: &str, groups: &[&str]) -> Session {
    let token = scene.token(role).groups(groups).mint();
    scene.attempt(Route::Trust, role).with(token).expect_admitted()
}

/// Policies as `docs/row-level-security.md` has them, in the database of the trust lines.
fn tables(scene: &Scene, member: &str) {
    let sql = format!(
        "CREATE TABLE orders (owner_oid uuid, item text);
         ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON orders USING (owner_oid = ((SELECT pgaad.claims())->>'oid')::uuid);
         INSERT INTO orders VALUES ('{}', 'ann''s'), ('{}', 'bob''s');
         CREATE TABLE notes (group_id text, note text);
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
         CREATE POLICY of_group ON notes USING ((SELECT pgaad.claims()->'groups') ? group_id);
         INSERT INTO notes VALUES ('{READERS}', 'for readers'), ('{WRITERS}', 'for writers');
         GRANT ALL ON orders, notes TO PUBLIC; CREATE TABLE many AS SELECT generate_series(1, 200000) AS n;
         GRANT SELECT ON many TO PUBLIC",
        object_id(member),
        object_id("bob@example.com"),
    );
    scene.cluster.try_sql_in("trust_db", &sql).unwrap_or_else(|answer| panic!("{answer}"));
}

#[test]
fn policies_see_the_humans_rows_by_oid_and_by_groups() {
    let scene = Scene::start();
    let ann = scene.member();
    tables(&scene, &ann);
    let mut session = login(&scene, &ann, &[READERS]);
    assert_eq!(session.value("SELECT string_agg(item, ',') FROM orders").as_deref(), Some("ann's"));
    assert_eq!(session.value("SELECT string_agg(note, ',') FROM notes").as_deref(), Some("for readers"));
    let mut session = login(&scene, &ann, &[]);
    assert_eq!(session.value("SELECT count(*) FROM notes").as_deref(), Some("0"));

    // In parallel plans, too: the question stays with the leader.
    let parallel =
        "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
                    SET min_parallel_table_scan_size = 0";
    session.query(parallel).expect("settings of core's");
    let count = "SELECT count(*) FROM many WHERE (pgaad.claims()->>'oid') IS NOT NULL";
    assert_eq!(session.value(count).as_deref(), Some("200000"));
    let plan = session.query("EXPLAIN SELECT count(*) FROM many WHERE n > 0").expect("a plan");
    assert!(
        plan.iter().any(|row| row[0].as_deref().is_some_and(|line| line.contains("Parallel"))),
        "{plan:?}"
    );
}

#[test]
fn parallel_worker_is_told_that_it_has_no_claims() {
    let scene = Scene::start();
    let ann = scene.member();
    let wrapper = "CREATE FUNCTION liar() RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS
        $$ BEGIN RETURN pgaad.claims() IS NULL; END $$";
    scene.cluster.try_sql_in("trust_db", wrapper).expect("a function");
    let mut session = login(&scene, &ann, &[]);
    assert_eq!(session.value("SELECT liar()").as_deref(), Some("f"));
    let forced = if scene.cluster.installation().major() < 16 {
        "force_parallel_mode"
    } else {
        "debug_parallel_query"
    };
    session.query(&format!("SET {forced} = on")).expect("a setting of core's");
    let answer = session.query("SELECT liar()").expect_err("in a worker");
    assert!(
        answer.message.contains("parallel worker") && answer.hint.contains("PARALLEL RESTRICTED"),
        "{answer:?}"
    );
    assert!(session.value("SELECT pgaad.claims()->>'oid'").is_some(), "asked directly, the leader answers");
}

#[test]
fn session_cannot_change_its_claims() {
    let scene = Scene::start();
    let ann = scene.member();
    scene.cluster.sql("CREATE ROLE other; ALTER DATABASE trust_db SET pgaad_tests.x = '1'");
    scene.cluster.sql(&format!("GRANT other TO \"{ann}\""));
    let mut session = login(&scene, &ann, &[READERS]);
    let claims = session.value("SELECT pgaad.claims()::text");
    assert!(claims.as_ref().is_some_and(|claims| claims.contains(&object_id(&ann))), "{claims:?}");
    for attempt in [
        "SET pgaad.claims = '{}'",
        "SET pgaad.tenant_id = ''",
        "SELECT set_config('pgaad.claims', '{}', false)",
        "SELECT set_config('pgaad.name_match', 'off', true)",
        "ALTER ROLE CURRENT_USER SET pgaad.tenant_id = 'x'",
        "CREATE OR REPLACE FUNCTION pgaad.claims() RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'",
        "CREATE FUNCTION pgaad.claims(int) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'",
        "DROP FUNCTION pgaad.claims()",
        "SELECT pgaad.refresh()",
        "SET SESSION AUTHORIZATION other",
        "LOAD 'pgaad'",
    ] {
        let done = session.query(attempt);
        assert!(done.is_err() || attempt.starts_with("LOAD"), "{attempt}: {done:?}");
        assert_eq!(session.value("SELECT pgaad.claims()::text"), claims, "{attempt}");
    }
    for harmless in [
        "RESET ALL",
        "DISCARD ALL",
        "SET ROLE other",
        "RESET ROLE",
        "SET search_path = pg_temp",
        "ROLLBACK",
        "DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    ] {
        session.query(harmless).unwrap_or_else(|answer| panic!("{harmless}: {answer}"));
        assert_eq!(session.value("SELECT pgaad.claims()::text"), claims, "{harmless}");
    }
    // A function of the same name elsewhere is another function: policies name the schema.
    session.query("CREATE TEMP TABLE t (a int)").expect("a temporary table");
    assert_eq!(session.value("SELECT current_setting('application_name')").as_deref(), Some(""), "untouched");
}

#[test]
fn refresh_tells_how_it_goes() {
    let scene = Scene::start();
    let socket = scene.cluster.socket_dir();
    let connection = format!("host={} dbname=postgres user=postgres", socket.display());
    let refresh = || {
        let output = scene.cluster.psql(&connection, None, "SELECT pgaad.refresh()");
        (
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (answer, said) = refresh();
    assert!(
        answer == "t" && said.contains("asking the key worker") && said.contains("keys from network after"),
        "{said}"
    );
    scene.tenant.stop();
    let (answer, said) = refresh();
    assert!(
        answer == "f" && said.contains("it failed after") && said.contains("keys from before stay"),
        "{said}"
    );
}
