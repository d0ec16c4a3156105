//! Libraries that see every statement, loaded before pgaad and after it: each sees a statement about roles once, as it
//! was written, whatever pgaad makes of it.

use pgaad_tests::wire::{Outcome, Session};
use pgaad_tests::{Installation, Scene, skipped};

/// Statements that are carried out in parts, and what undoes them.
const STATEMENTS: [(&str, &str); 6] = [
    ("CREATE USER seen IN ROLE azure_ad_user", "DROP ROLE seen"),
    (
        "CREATE USER seen PASSWORD '5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90' IN ROLE azure_ad_user",
        "DROP ROLE seen",
    ),
    ("GRANT azure_ad_user, plain TO ann, bob", "REVOKE azure_ad_user, plain FROM ann, bob"),
    (
        "SECURITY LABEL FOR pgaadauth ON ROLE ann IS 'aadauth,oid=5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90,type=user'",
        "SECURITY LABEL FOR pgaadauth ON ROLE ann IS NULL",
    ),
    ("ALTER GROUP azure_ad_user ADD USER ann, bob", "ALTER GROUP azure_ad_user DROP USER ann, bob"),
    ("GRANT azure_ad_user TO plain", "REVOKE azure_ad_user FROM plain"),
];

fn with_libraries(libraries: &str) -> (Scene, Session) {
    let scene = Scene::with(|cluster| {
        let cluster = cluster.conf("shared_preload_libraries", libraries).conf("compute_query_id", "on");
        if libraries.contains("pgaudit") { cluster.conf("pgaudit.log", "role, ddl") } else { cluster }
    });
    scene.cluster.sql("CREATE ROLE plain; CREATE ROLE ann; CREATE ROLE bob");
    let session = match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    };
    (scene, session)
}

fn run(session: &mut Session, statement: &str) {
    session.query(statement).unwrap_or_else(|answer| panic!("{statement}: {answer}"));
}

#[test]
fn pgaudit_logs_a_statement_about_roles_once() {
    if !Installation::has_library("pgaudit") {
        return skipped("needs pgaudit for this PostgreSQL");
    }
    for libraries in ["pgaudit, pgaad", "pgaad, pgaudit"] {
        let (scene, mut session) = with_libraries(libraries);
        for statement in STATEMENTS.iter().flat_map(|(make, undo)| [make, undo]) {
            let mark = scene.cluster.log_mark();
            run(&mut session, statement);
            let log = scene.cluster.log_since(mark);
            let seen = log.matches("AUDIT: ").count();
            assert_eq!(seen, 1, "{libraries}: {statement}\n{log}");
        }
    }
}

#[test]
fn pg_stat_statements_counts_a_statement_about_roles_once() {
    for libraries in ["pg_stat_statements, pgaad", "pgaad, pg_stat_statements"] {
        let (scene, mut session) = with_libraries(libraries);
        scene.cluster.sql("CREATE EXTENSION pg_stat_statements");
        for statement in STATEMENTS.iter().flat_map(|(make, undo)| [make, undo]) {
            run(&mut session, "SELECT pg_stat_statements_reset()");
            run(&mut session, statement);
            let counted = "SELECT sum(calls) FROM pg_stat_statements WHERE query !~ 'pg_stat_statements'";
            assert_eq!(session.value(counted).as_deref(), Some("1"), "{libraries}: {statement}");
        }
    }
}
