//! `ALTER SYSTEM` of a setting of ours: a value that cannot be used is warned of at once, before a reload locks
//! everybody out; settings of others are left to core.

use pgaad_tests::Scene;
use pgaad_tests::wire::{Answer, Outcome, Session};

fn superuser(scene: &Scene) -> Session {
    match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    }
}

fn run(session: &mut Session, statement: &str) -> Vec<Answer> {
    session.query(statement).unwrap_or_else(|answer| panic!("{statement}: {answer}"));
    session.take_notices()
}

#[test]
fn a_value_that_cannot_be_used_is_warned_of_and_the_hint_takes_it_back() {
    let scene = Scene::start();
    let role = scene.member();
    let mut session = superuser(&scene);
    for (statement, message, expected) in [
        ("pgaad.clock_skew = '5m'", "pgaad.clock_skew cannot be \"5m\"", "0s to 3600s"),
        // Names are compared without regard to case, and a value need not be quoted.
        ("\"PGAAD.Clock_Skew\" TO 4000", "pgaad.clock_skew cannot be \"4000\"", "0s to 3600s"),
        ("pgaad.tenant_id = 'contoso.com'", "pgaad.tenant_id cannot be \"contoso.com\"", "az account show"),
        ("pgaad.audience = 'api://a b'", "pgaad.audience cannot be \"", "without /.default or quotes"),
        // Its value may hold a password.
        (
            "pgaad.https_proxy = 'socks5://u:secret@h:1'",
            "pgaad.https_proxy cannot have this value",
            "http://host",
        ),
    ] {
        let statement = format!("ALTER SYSTEM SET {statement}");
        let notices = run(&mut session, &statement);
        let [notice] = notices.as_slice() else { panic!("{statement}: {notices:?}") };
        assert_eq!(notice.severity, "WARNING", "{notice}");
        assert!(notice.message.starts_with(message), "{notice}");
        assert!(notice.message.contains("nobody logs in with a token"), "{notice}");
        assert!(notice.hint.contains(expected) && !notice.to_string().contains("secret"), "{notice}");
        let (_, cure) = notice.hint.split_once("To take the value back: ").expect("a statement to paste");
        assert_eq!(run(&mut session, cure), [], "{cure}");
        scene.cluster.reload();
        for route in scene.token_routes() {
            scene.attempt(route, &role).expect_admitted();
        }
    }
}

#[test]
fn other_statements_of_the_kind_are_left_to_core() {
    let scene = Scene::start();
    let mut session = superuser(&scene);
    for statement in [
        "ALTER SYSTEM SET pgaad.clock_skew = '5min'",
        "ALTER SYSTEM SET pgaad.clock_skew = DEFAULT",
        "ALTER SYSTEM RESET pgaad.clock_skew",
        "ALTER SYSTEM SET pgaad.audience = 'api://x, y'",
        "ALTER SYSTEM SET work_mem = '5MB'",
        "ALTER SYSTEM RESET ALL",
    ] {
        assert_eq!(run(&mut session, statement), [], "{statement}");
    }
    // Core's own errors, with nothing of ours after them.
    for (statement, code) in [
        ("ALTER SYSTEM SET pgaad.no_such = '1'", ["42704", "42602"].as_slice()),
        ("ALTER SYSTEM SET pgaad.audience = 'api://x', 'y z'", &["22023"]),
        ("ALTER SYSTEM SET work_mem = 'much'", &["22023"]),
    ] {
        let answer = session.query(statement).expect_err("core's own error");
        assert!(code.contains(&answer.sqlstate.as_str()), "{answer}");
        assert_eq!(session.take_notices(), [], "{statement}");
    }
}
