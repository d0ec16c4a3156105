//! Migrations of Flyway and Liquibase that make and bind roles, in those tools' own sessions and transactions: once, a
//! second time in a copy where the role is there, one that fails, and one that takes the role back.
//!
//! Flyway (its `PostgreSQLConnection` and `JdbcTableSchemaHistory`) locks by `pg_try_advisory_xact_lock` and runs each
//! migration with its row of the history in one transaction. Liquibase locks by a table, sends one statement at a time,
//! and takes the changes of a changeset and its row of the log together.

use super::{ADMIN, login, run};
use pgaad_tests::Scene;
use pgaad_tests::document::Section;
use pgaad_tests::wire::{Outcome, Session};
use tenant::object_id;

const APP: &str = "app";
const APP_ID: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

/// A migration in the way of one of the tools: whether it went through.
type Migrate = fn(&mut Session, version: u32, statements: &[String]) -> bool;

fn finish(session: &mut Session, statements: &[String], note: &str) -> bool {
    let went_through = statements.iter().all(|statement| session.query(statement).is_ok());
    if went_through {
        run(session, note);
    }
    run(session, if went_through { "COMMIT" } else { "ROLLBACK" });
    went_through
}

fn flyway(session: &mut Session, version: u32, statements: &[String]) -> bool {
    run(
        session,
        "CREATE TABLE IF NOT EXISTS flyway_schema_history (version int PRIMARY KEY, success bool NOT NULL)",
    );
    run(session, "BEGIN");
    run(session, "SELECT pg_try_advisory_xact_lock(77431133, 1)");
    run(session, "SELECT set_config('search_path', 'public', false)");
    finish(session, statements, &format!("INSERT INTO flyway_schema_history VALUES ({version}, true)"))
}

fn liquibase(session: &mut Session, version: u32, statements: &[String]) -> bool {
    run(
        session,
        "CREATE TABLE IF NOT EXISTS databasechangelog (id int NOT NULL, orderexecuted int NOT NULL)",
    );
    run(
        session,
        "CREATE TABLE IF NOT EXISTS databasechangeloglock (id int PRIMARY KEY, locked bool NOT NULL)",
    );
    run(
        session,
        "INSERT INTO databasechangeloglock VALUES (1, true) ON CONFLICT (id) DO UPDATE SET locked = true",
    );
    run(session, "BEGIN");
    let went_through =
        finish(session, statements, &format!("INSERT INTO databasechangelog VALUES ({version}, {version})"));
    run(session, "UPDATE databasechangeloglock SET locked = false WHERE id = 1");
    went_through
}

#[test]
fn flyways_and_liquibases_migrations_run_as_they_stand() {
    let scene = Scene::start();
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let in_database = |sql: &str| scene.cluster.try_sql_in(scene.route().database(), sql).expect("it runs");
    in_database("GRANT CREATE ON SCHEMA public TO public");
    let mut admin = login(&scene, ADMIN, &scene.token(ADMIN));
    let of_superuser =
        scene.cluster.login(&scene.cluster.unix(scene.route().database()), "postgres", b"").outcome;
    let Outcome::Accepted(mut superuser) = of_superuser else { panic!("no superuser") };
    let document = include_str!("../../../docs/migrating-from-azure.md");
    let create = Section::of(document, "Flyway and Liquibase").sample("sql").replace("<object id>", APP_ID);
    let privileges = |verb: &str| {
        format!("{verb} USAGE ON SCHEMA public {} {APP}", if verb == "GRANT" { "TO" } else { "FROM" })
    };
    let token = || scene.tenant.token().app(APP_ID).mint();
    let attempt = || scene.attempt(scene.route(), APP).with(token());
    let there = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{APP}'");
    for (who, session) in [("administrator", &mut admin), ("superuser", &mut superuser)] {
        for migrate in [flyway as Migrate, liquibase] {
            // One that fails at its end leaves nothing.
            let broken = [create.clone(), "SELECT 1/0".to_owned()];
            assert!(!migrate(session, 1, &broken));
            assert_eq!(scene.cluster.value(&there), "0", "{who}");
            assert!(migrate(session, 1, &[create.clone(), privileges("GRANT")]), "{who}");
            attempt().expect_admitted();
            // The same in a copy of the database.
            assert!(migrate(session, 2, std::slice::from_ref(&create)), "{who}");
            attempt().expect_admitted();
            let alter = format!("ALTER ROLE {APP} CONNECTION LIMIT 5");
            assert!(migrate(session, 3, &[alter]), "{who}");
            attempt().expect_admitted();
            assert!(migrate(session, 4, &[privileges("REVOKE"), format!("DROP ROLE {APP}")]), "{who}");
            assert_eq!(scene.cluster.value(&there), "0", "{who}");
            run(
                session,
                "DROP TABLE IF EXISTS flyway_schema_history, databasechangelog, databasechangeloglock",
            );
        }
    }
}
