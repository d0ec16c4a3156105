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
    let all = "nobody logs in with a token";
    let directory = "the directory is not read";
    for (statement, message, expected, consequence) in [
        ("pgaad.clock_skew = '5m'", "pgaad.clock_skew cannot be \"5m\"", "0s to 3600s", all),
        // Names are compared without regard to case, and a value need not be quoted.
        ("\"PGAAD.Clock_Skew\" TO 4000", "pgaad.clock_skew cannot be \"4000\"", "0s to 3600s", all),
        (
            "pgaad.tenant_id = 'contoso.com'",
            "pgaad.tenant_id cannot be \"contoso.com\"",
            "az account show",
            all,
        ),
        ("pgaad.audience = 'api://a b'", "pgaad.audience cannot be \"", "without /.default or quotes", all),
        // Its value may hold a password.
        (
            "pgaad.https_proxy = 'socks5://u:secret@h:1'",
            "pgaad.https_proxy cannot have this value",
            "http://host",
            all,
        ),
        ("pgaad.directory = 'maybe'", "pgaad.directory cannot be \"maybe\"", "on or off", directory),
        ("pgaad.directory_interval = '1s'", "pgaad.directory_interval cannot be \"1s\"", "60s to", directory),
        (
            "pgaad.directory_credential = 'my secret'",
            "pgaad.directory_credential cannot have this value",
            "secret_file:/PATH",
            directory,
        ),
    ] {
        let statement = format!("ALTER SYSTEM SET {statement}");
        let notices = run(&mut session, &statement);
        let [notice] = notices.as_slice() else { panic!("{statement}: {notices:?}") };
        assert_eq!(notice.severity, "WARNING", "{notice}");
        assert!(notice.message.starts_with(message), "{notice}");
        assert!(notice.message.contains(consequence), "{notice}");
        assert!(notice.hint.contains(expected) && !notice.message.contains("secret"), "{notice}");
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

const RELOAD: &str = "SELECT pg_reload_conf()";

/// The one warning of a reload.
fn warning_of(session: &mut Session, statement: &str) -> Answer {
    let notices = run(session, statement);
    let [notice] = notices.as_slice() else { panic!("{statement}: {notices:?}") };
    assert_eq!(notice.severity, "WARNING", "{notice}");
    notice.clone()
}

#[test]
fn a_reload_warns_the_session_that_asks_for_it_of_a_value_that_cannot_be_used() {
    let scene = Scene::start();
    let cluster = &scene.cluster;
    if cluster.installation().major() >= 17 {
        // The hook that sees the call would slow others down there.
        cluster.sql("ALTER SYSTEM SET pgaad.clock_skew = '5m'");
        return assert_eq!(run(&mut superuser(&scene), RELOAD), []);
    }
    let (mut session, mut other) = (superuser(&scene), superuser(&scene));
    assert_eq!(run(&mut session, RELOAD), []);

    // What ALTER SYSTEM wrote is taken back by a statement. The warning comes from a function and a procedure too.
    run(&mut session, "ALTER SYSTEM SET pgaad.clock_skew = '5m'");
    for call in [
        RELOAD,
        "DO $$ BEGIN PERFORM pg_reload_conf(); END $$",
        "DO $$ DECLARE done bool; BEGIN COMMIT; done := pg_reload_conf(); END $$",
    ] {
        let warning = warning_of(&mut session, call);
        assert!(
            warning
                .message
                .starts_with("pgaad.clock_skew cannot be \"5m\": from this reload on nobody logs in"),
            "{warning}"
        );
        let (_, cure) = warning.hint.split_once("To take the value back: ").expect("a statement to paste");
        assert_eq!(cure, "ALTER SYSTEM RESET pgaad.clock_skew; SELECT pg_reload_conf();");
    }
    run(&mut session, "ALTER SYSTEM RESET pgaad.clock_skew");
    assert_eq!(run(&mut session, RELOAD), []);
    assert_eq!(run(&mut other, "SELECT 1"), [], "it is the business of the session that reloads");

    // A line of a file, the last for the setting, is named; so is one of a file that is included.
    let included = cluster.data_dir().join("conf.d-x.conf");
    cluster.write_as_server("conf.d-x.conf", "\n\nPgaad.Audience = 'api://a b'\n");
    let lines = |path: &std::path::Path| std::fs::read_to_string(path).expect("its file").lines().count();
    cluster.append_conf("pgaad.key_wait = '9s'\npgaad.key_wait = '9 hours'");
    let own = lines(&cluster.data_dir().join("postgresql.conf"));
    let warning = warning_of(&mut session, RELOAD);
    assert!(warning.message.starts_with("pgaad.key_wait cannot be \"9 hours\""), "{warning}");
    assert!(
        warning.hint.contains(&format!("Correct line {own} of postgresql.conf,")),
        "{own}: {}",
        warning.hint
    );
    cluster.append_conf(&format!("pgaad.key_wait = '9s'\ninclude '{}'\n", included.display()));
    let warning = warning_of(&mut session, RELOAD);
    assert!(warning.message.starts_with("pgaad.audience cannot be"), "{warning}");
    assert!(warning.hint.contains("Correct line 3 of conf.d-x.conf,"), "{warning}");

    // Files of which core loads nothing.
    cluster.append_conf("this is no line of a file\n");
    assert_eq!(run(&mut session, RELOAD), []);
}

#[test]
fn a_reload_warns_whoever_may_ask_for_it_and_nobody_else() {
    let scene = Scene::start();
    if scene.cluster.installation().major() >= 17 {
        return pgaad_tests::skipped("before 17 only: the hook that sees the call would slow others down");
    }
    scene.cluster.sql(
        "CREATE ROLE monitor LOGIN; GRANT EXECUTE ON FUNCTION pg_reload_conf() TO monitor; \
         CREATE ROLE guest LOGIN",
    );
    scene.cluster.sql("ALTER SYSTEM SET pgaad.https_proxy = 'socks5://u:secret@h:1'");
    let mut session = superuser(&scene);
    run(&mut session, "SET ROLE monitor");
    let warning = warning_of(&mut session, RELOAD);
    assert!(warning.message.starts_with("pgaad.https_proxy cannot have this value"), "{warning}");
    assert!(!warning.to_string().contains("secret"), "{warning}");
    run(&mut session, "SET ROLE guest");
    assert_eq!(session.query(RELOAD).expect_err("they may not").sqlstate, "42501");
    assert_eq!(session.take_notices(), []);
}
