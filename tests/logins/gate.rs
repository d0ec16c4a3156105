//! The gate that every login of the server passes: whom it refuses, and that others do not notice it.

use pgaad_tests::cluster::ANOTHER_ADDRESS;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{self, Connection, Login, Message, Outcome, Target};
use pgaad_tests::{Cluster, Installation, Route, Scene, account, run_directory, skipped};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

// Logins of others are as without pgaad, byte for byte.

/// A library that raises an error with every field from the hook, as auth_delay, credcheck and pg_tle may.
const FAILING_HOOK: &str = r#"
#include "postgres.h"
#include "fmgr.h"
#include "libpq/auth.h"
PG_MODULE_MAGIC;
void _PG_init(void);
static ClientAuthentication_hook_type previous;

static void
fail(Port *port, int status)
{
	if (previous)
		previous(port, status);
	if (strcmp(port->user_name, "victim") == 0)
		ereport(ERROR,
				errcode(MAKE_SQLSTATE('P', 'T', '4', '2', '9')),
				errmsg("not now, \"%s\"", port->user_name),
				errdetail("Bytes that are not UTF-8: \xe9\xff."),
				errhint("Come again."),
				errcontext("while nobody looked"),
				errposition(7),
				internalerrposition(3),
				internalerrquery("SELECT 1"),
				err_generic_string(PG_DIAG_SCHEMA_NAME, "a schema"),
				err_generic_string(PG_DIAG_TABLE_NAME, "a table"),
				err_generic_string(PG_DIAG_COLUMN_NAME, "a column"),
				err_generic_string(PG_DIAG_DATATYPE_NAME, "a type"),
				err_generic_string(PG_DIAG_CONSTRAINT_NAME, "a constraint"));
}

void
_PG_init(void)
{
	previous = ClientAuthentication_hook;
	ClientAuthentication_hook = fail;
}
"#;

fn failing_hook() -> PathBuf {
    let pg_config =
        std::env::var_os("PG_CONFIG").unwrap_or_else(|| "/usr/lib/postgresql/15/bin/pg_config".into());
    let include = Command::new(pg_config).arg("--includedir-server").output().expect("pg_config");
    let include = String::from_utf8_lossy(&include.stdout).trim().to_owned();
    let (source, library) =
        (run_directory::fresh("hook").with_extension("c"), run_directory::fresh("hook").with_extension("so"));
    std::fs::write(&source, FAILING_HOOK).expect("our own file");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-o"])
        .arg(&library)
        .arg(&source)
        .arg(format!("-I{include}"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "cc");
    library
}

/// Everything that the server says to a login, from the start-up packet to the first query or the end, but for what
/// no two sessions share.
fn conversation(target: &Target, user: &str, password: &str) -> Vec<Message> {
    let mut connection = Connection::connect(target).expect("the server listens");
    connection.startup(user, &target.database, &[]).expect("the server reads");
    let mut said = Vec::new();
    while let Ok(message) = connection.read_message() {
        if message.tag == b'R' && message.body == [0, 0, 0, 3] {
            let _ = connection.send_password(password.as_bytes());
        }
        let is_last = message.tag == b'Z';
        if message.tag != b'K' {
            said.push(message);
        }
        if is_last {
            break;
        }
    }
    said
}

fn with_others(cluster: Cluster, libraries: &str) -> Cluster {
    let cluster = cluster
        .conf("shared_preload_libraries", libraries)
        .hba("local trusting all trust")
        .hba("local all all password")
        .start();
    cluster.sql("CREATE DATABASE trusting");
    cluster.sql("CREATE DATABASE closed CONNECTION LIMIT 0");
    cluster.sql("CREATE ROLE victim LOGIN PASSWORD 'right'");
    cluster.sql("CREATE ROLE plain LOGIN PASSWORD 'right'");
    cluster.sql("CREATE ROLE grounded PASSWORD 'right'");
    cluster.sql("CREATE ROLE expired LOGIN PASSWORD 'right' VALID UNTIL '2001-01-01'");
    cluster
}

#[test]
fn logins_of_others_and_errors_of_other_libraries_are_as_without_pgaad_byte_for_byte() {
    let hook = failing_hook();
    let hook = hook.display();
    let bare = with_others(Cluster::new(&Installation::without_pgaad()), &hook.to_string());
    for libraries in [format!("{hook},pgaad"), format!("pgaad,{hook}")] {
        let ours = with_others(Cluster::new(&Installation::pgaad()), &libraries);
        for database in ["trusting", "postgres", "closed", "missing"] {
            for user in ["victim", "plain", "grounded", "expired", "nobody"] {
                for password in ["right", "wrong", ""] {
                    let without = conversation(&bare.unix(database), user, password);
                    let with = conversation(&ours.unix(database), user, password);
                    assert_eq!(with, without, "{user} in {database} with {password:?}, {libraries}");
                    assert!(!without.is_empty());
                }
            }
        }
        // The comparison saw the other library's error, with all its fields, and somebody who got in.
        let failed = conversation(&ours.unix("trusting"), "victim", "");
        let text = String::from_utf8_lossy(&failed.last().expect("an error").body).into_owned();
        for field in [
            "CPT429",
            "Mnot now, \"victim\"",
            "HCome again.",
            "Wwhile nobody looked",
            "P7",
            "p3",
            "na constraint",
        ] {
            assert!(text.contains(field), "{field}: {text}");
        }
        let let_in = conversation(&ours.unix("postgres"), "plain", "right");
        assert_eq!(let_in.last().map(|message| message.tag), Some(b'Z'));
    }
}

// The table.

fn login(target: &Target, user: &str, password: &str) -> Login {
    wire::login(target, user, password.as_bytes())
}

fn expect_in(cluster: &Cluster, user: &str, password: &str, case: &str) {
    let login = login(&cluster.unix("postgres"), user, password);
    assert!(matches!(login.outcome, Outcome::Accepted(_)), "{case}: {user}: {login:?}");
}

fn expect_code(cluster: &Cluster, user: &str, password: &str, code: &str, case: &str) {
    let mark = cluster.log_mark();
    let login = login(&cluster.unix("postgres"), user, password);
    assert!(matches!(login.outcome, Outcome::Refused(_)), "{case}: {user} is let in");
    let needles = [&format!(" code={code} "), &format!("role=\"{user}\"")[..]];
    let line = cluster.log().wait_for_line(mark, &needles, Duration::from_secs(10));
    line.unwrap_or_else(|log| panic!("{case}: no {needles:?} in\n{log}"));
}

/// A server whose lines are the test's own, with a member `ann`, an indirect one `bob`, and `eve`, who is none.
fn server() -> Cluster {
    let cluster = Cluster::new(&Installation::pgaad()).conf("shared_preload_libraries", "pgaad").start();
    cluster.sql("CREATE EXTENSION pgaad");
    cluster.sql("CREATE ROLE ann LOGIN PASSWORD 'right' IN ROLE azure_ad_user");
    cluster.sql("CREATE ROLE team IN ROLE azure_ad_user");
    cluster.sql("CREATE ROLE bob LOGIN PASSWORD 'right' IN ROLE team");
    cluster.sql("CREATE ROLE eve LOGIN PASSWORD 'right'");
    cluster.sql("CREATE ROLE \"+azure_ad_user\" LOGIN");
    cluster
}

fn write_line(cluster: &Cluster, line: &str) {
    cluster.write_hba(&[line.to_owned()]);
    cluster.reload();
}

#[test]
fn trust_line_for_members_lets_in_no_indirect_member_whatever_else_is_in_its_role_column() {
    let cluster = server();
    let mut columns = vec![
        ("+azure_ad_user", false),
        ("+azure_ad_user,bob", false),
        ("eve,+azure_ad_user", false),
        ("+missing,+azure_ad_user,all", false),
        ("+azure_ad_mfa,+azure_ad_user", false),
        // What matched is another entry.
        ("bob,+azure_ad_user", true),
        ("all,+azure_ad_user", true),
        ("+team,+azure_ad_user", true),
        ("\"+azure_ad_user\",bob", true),
        ("\"all\",bob", true),
    ];
    if cluster.installation().major() >= 16 {
        columns.extend([
            ("/^bo,+azure_ad_user", true),
            ("\"/^b.b$\",+azure_ad_user", true),
            ("/^eve,+azure_ad_user", false),
            ("/^b$,+azure_ad_user,bob", false),
        ]);
    }
    for (column, is_in) in columns {
        write_line(&cluster, &format!("local all {column} trust"));
        if is_in {
            expect_in(&cluster, "bob", "", column);
        } else {
            expect_code(&cluster, "bob", "", "role_not_member", column);
        }
    }
    // The same column over another method is core's own business.
    write_line(&cluster, "local all +azure_ad_user password");
    expect_in(&cluster, "bob", "right", "password");
}

#[test]
fn listed_methods_let_members_in_without_a_token_and_no_others_do() {
    let cluster = server();
    write_line(&cluster, "local all all password");
    for (value, code) in [
        ("off", Some("method_not_allowed")),
        ("on", None),
        ("password", None),
        ("cert, PASSWORD", None),
        ("cert, peer, scram-sha-256", Some("method_not_allowed")),
        ("password, trust", Some("setting_invalid")),
        ("reject", Some("setting_invalid")),
        ("password, passwort", Some("setting_invalid")),
        ("password,", Some("setting_invalid")),
    ] {
        cluster.set("pgaad.allow_other_methods", value);
        match code {
            None => expect_in(&cluster, "ann", "right", value),
            Some(code) => expect_code(&cluster, "ann", "right", code, value),
        }
        // Whatever it says, it says nothing of others.
        expect_in(&cluster, "eve", "right", value);
    }
    cluster.set("pgaad.allow_other_methods", "on");
    write_line(&cluster, "local all all trust");
    expect_code(&cluster, "ann", "", "trust_not_allowed", "trust has a setting of its own");
}

#[test]
fn bad_setting_refuses_members_and_nobody_else() {
    let cluster = server();
    // As initdb writes it.
    write_line(&cluster, "local all all trust");
    expect_in(&cluster, "eve", "", "all is well");
    for (setting, bad, good) in [
        ("pgaad.clock_skew", "5 minutes", "300s"),
        ("pgaad.tenant_id", "nonsense", ""),
        ("pgaad.guard_trust", "nonsense", "remote"),
        ("pgaad.allow_other_methods", "maybe", "off"),
        ("pgaad.log_logins", "some", "all"),
    ] {
        cluster.set(setting, bad);
        expect_in(&cluster, "eve", "", setting);
        expect_in(&cluster, "bob", "", setting);
        expect_code(&cluster, "ann", "", "setting_invalid", setting);
        cluster.set(setting, good);
    }
    expect_code(&cluster, "ann", "", "trust_not_allowed", "all is well again");
}

#[test]
fn guard_of_trust_lines_holds_for_other_machines_while_it_cannot_be_read() {
    if !account::is_root() {
        return skipped("needs root: a network namespace");
    }
    let cluster = Cluster::new(&Installation::pgaad())
        .with_another_address()
        .conf("shared_preload_libraries", "pgaad")
        .hba(format!("host all eve {ANOTHER_ADDRESS}/32 trust"))
        .hba(format!("host all all {ANOTHER_ADDRESS}/32 trust"))
        .hba("host all all 127.0.0.1/32 trust")
        .start();
    cluster.sql("CREATE EXTENSION pgaad");
    cluster.sql("CREATE ROLE bob LOGIN");
    cluster.sql("CREATE ROLE eve LOGIN");
    let is_in = |host: &str, user: &str| {
        let to = format!("host={host} dbname=postgres user={user} sslmode=disable");
        cluster.psql_nearby(&to, None, "SELECT 1").status.success()
    };
    let settings = [
        // What is set, and whether a role gets in from another machine by a line for anybody.
        (vec![], false),
        (vec![("pgaad.clock_skew", "5 minutes")], false),
        (vec![("pgaad.clock_skew", "5 minutes"), ("pgaad.guard_trust", "off")], true),
        (vec![("pgaad.clock_skew", "300s"), ("pgaad.guard_trust", "nonsense")], false),
        (vec![("pgaad.guard_trust", "off")], true),
    ];
    for (set, from_elsewhere) in settings {
        for (name, value) in &set {
            cluster.set(name, value);
        }
        assert_eq!(is_in(ANOTHER_ADDRESS, "bob"), from_elsewhere, "{set:?}");
        assert!(is_in("127.0.0.1", "bob"), "{set:?}");
        assert!(is_in(ANOTHER_ADDRESS, "eve"), "a line of its own, {set:?}");
    }
}

#[test]
fn role_behind_a_server_name_is_admitted_where_it_would_meet_the_same_line_itself() {
    let scene = Scene::with(|cluster| cluster.conf("pgaad.server_name", "srv"));
    for route in scene.routes() {
        let role = scene.member();
        let longer = format!("{role}@srv");
        let database = route.database();
        let attempt = || {
            let mark = scene.cluster.log_mark();
            let token = scene.token(&role).mint();
            let login = wire::login(&scene.cluster.unix(database), &longer, token.as_bytes());
            (login, mark)
        };
        let lines = Scene::hba(scene.pam.as_ref());
        let (login, _) = attempt();
        let Outcome::Accepted(mut session) = login.outcome else { panic!("{route}: {login:?}") };
        assert_eq!(session.value("SELECT current_user"), Some(role.clone()));
        for line in ["reject", "trust", "scram-sha-256"] {
            let own = format!("local {database} {} {line}", quoted(&role));
            scene.cluster.write_hba(&[vec![own], lines.clone()].concat());
            scene.cluster.reload();
            let (login, mark) = attempt();
            assert!(matches!(login.outcome, Outcome::Refused(_)), "{route}, {line}: let in");
            scene.cluster.wait_for_log(mark, "code=server_name_line");
        }
        // Core knows no role of the longer name, and of a role that is no member pgaad says nothing else.
        let stranger = scene.fresh_name();
        scene.cluster.sql(&format!("CREATE ROLE {} LOGIN", quoted(&stranger)));
        let name = format!("{stranger}@srv");
        let lines_of_others = vec![format!("local {database} {} trust", quoted(&name))];
        scene.cluster.write_hba(&[lines_of_others, lines.clone()].concat());
        scene.cluster.reload();
        let Outcome::Refused(answers) = wire::login(&scene.cluster.unix(database), &name, b"").outcome else {
            panic!("{route}: let in")
        };
        assert_eq!(answers[0].message, format!("role \"{name}\" does not exist"), "{route}");
        // A line for somebody else is none of its business.
        let others = format!("local {database} somebody reject");
        scene.cluster.write_hba(&[vec![others], lines].concat());
        scene.cluster.reload();
        let (login, _) = attempt();
        assert!(matches!(login.outcome, Outcome::Accepted(_)), "{route}: {login:?}");
        assert_eq!(login.challenged, route == Route::Pam || route == Route::Trust);
    }
}
