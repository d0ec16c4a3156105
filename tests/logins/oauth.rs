//! The `oauth` way in of PostgreSQL 18: the same decision, by SASL OAUTHBEARER.

use pgaad_tests::scene::quoted;
use pgaad_tests::{Installation, Route, Scene, run_directory, wait_until};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use tenant::object_id;

/// The scene, where the server has this way in.
fn scene() -> Option<Scene> {
    let scene = Scene::start();
    if scene.cluster.installation().major() < 18 {
        pgaad_tests::skipped("needs PostgreSQL 18: oauth");
        return None;
    }
    Some(scene)
}

fn oauth_line(scene: &Scene, options: &str) -> String {
    let issuer = scene.tenant.authority();
    format!(
        "host oauth_db all 127.0.0.1/32 oauth issuer={issuer} scope=\"api://pgaad/.default\" validator=pgaad {options}"
    )
}

#[test]
fn bearer_of_a_good_token_is_admitted_and_named() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let mut session = scene.attempt(Route::OAuth, &role).expect_admitted();
    assert_eq!(session.value("SELECT SYSTEM_USER"), Some(format!("oauth:{role}")));
    assert_eq!(session.value("SELECT pgaad.claims()->>'oid'"), Some(object_id(&role)));
    scene
        .attempt(Route::OAuth, &role)
        .with(scene.token("mallory@example.com").mint())
        .expect_refused("role_not_bound");
    let stranger = scene.fresh_name();
    scene.cluster.sql(&format!("CREATE USER {}", quoted(&stranger)));
    scene.attempt(Route::OAuth, &stranger).expect_refused("role_not_member");
}

#[test]
fn role_bound_by_label_is_opened_by_its_owner_whatever_its_name() {
    let Some(scene) = scene() else { return };
    let ann = object_id("ann@example.com");
    scene.cluster.sql(&format!(
        "SELECT pgaadauth_create_principal_with_oid('accountant', '{ann}', 'user', false, false)"
    ));
    let token = scene.token("ann@example.com").mint();
    let mut session = scene.attempt(Route::OAuth, "accountant").with(token).expect_admitted();
    assert_eq!(session.value("SELECT SYSTEM_USER").as_deref(), Some("oauth:ann@example.com"));
}

#[test]
fn scope_that_the_line_names_for_the_accepted_audience_is_enforced() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let line = |scope: &str| {
        let options = "validator=pgaad delegate_ident_mapping=1";
        let issuer = scene.tenant.authority();
        format!("host oauth_db all 127.0.0.1/32 oauth issuer={issuer} scope=\"{scope}\" {options}")
    };
    let attempt =
        |scp: &str| scene.attempt(Route::OAuth, &role).with(scene.token(&role).claim("scp", scp).mint());
    let write = |scope: &str| {
        scene.cluster.write_hba(&[line(scope)]);
        scene.cluster.reload();
    };
    for scope in [
        format!("{}/db.access", tenant::AUDIENCE),
        format!("openid api://{}/db.access", tenant::AUDIENCE_APP_ID),
        format!("{}/db.access", tenant::AUDIENCE_APP_ID),
    ] {
        write(&scope);
        attempt("db.access").expect_admitted();
        attempt("openid db.access").expect_admitted();
        let line = attempt("openid").expect_refused("wrong_scope");
        assert!(line.contains(" scp=\"openid\" wanted=\"db.access\""), "{line}");
    }
    for scope in [format!("{}/.default", tenant::AUDIENCE), "api://another/db.access".into(), "openid".into()]
    {
        write(&scope);
        attempt("openid").expect_admitted();
    }
}

#[test]
fn line_without_delegation_is_refused_and_the_log_says_what_to_write() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    scene.attempt(Route::OAuth, &role).expect_admitted();
    scene.cluster.write_hba(&[oauth_line(&scene, "")]);
    scene.cluster.reload();
    scene.attempt(Route::OAuth, &role).expect_refused("oauth_not_delegated");
    let advice = "SELECT count(*) FROM pgaad.explain_event((SELECT max(id) FROM pgaad.events)) \
                  WHERE detail LIKE '%delegate_ident_mapping=1%'";
    assert_eq!(scene.cluster.value(advice), "1");
}

#[test]
fn closed_while_a_setting_is_bad_and_without_the_preload() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let attempt = scene.attempt(Route::OAuth, &role);
    attempt.expect_admitted();
    let tenant = scene.tenant.tenant_id();
    for (value, code) in [("nonsense", "setting_invalid"), ("", "not_configured")] {
        scene.cluster.set("pgaad.tenant_id", value);
        attempt.expect_refused(code);
        scene.cluster.set("pgaad.tenant_id", &tenant);
        attempt.expect_admitted();
    }
    scene.cluster.append_conf("shared_preload_libraries = ''");
    scene.cluster.restart();
    // Core's own refusal: the validator is not armed, and says so to the log only.
    attempt.expect_turned_away(attempt.login());
    scene.cluster.append_conf("shared_preload_libraries = 'pgaad'");
    scene.cluster.restart();
    scene.cluster.wait_until_ready();
    attempt.expect_admitted();
}

#[test]
fn closed_without_keys() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let attempt = scene.attempt(Route::OAuth, &role);
    attempt.expect_admitted();
    scene.tenant.stop();
    scene.cluster.stop();
    std::fs::remove_file(scene.cluster.data_dir().join("pgaad/keys.json"))
        .expect("the worker keeps its keys");
    scene.cluster.start_again().expect("the server starts");
    attempt.expect_refused("no_keys");
    scene.tenant.start_again();
    wait_until("keys come", || scene.cluster.value("SELECT pgaad.refresh()") == "t");
    attempt.expect_admitted();
}

#[test]
fn closed_when_the_decision_fails_from_the_inside() {
    if Installation::faulty().major() < 18 {
        return pgaad_tests::skipped("needs PostgreSQL 18: oauth");
    }
    let scene = Scene::on(&Installation::faulty(), |cluster| cluster);
    let role = scene.member();
    let attempt = scene.attempt(Route::OAuth, &role);
    let mut bystander = attempt.expect_admitted();
    for fault in ["panic", "error"] {
        scene.cluster.set("pgaad.fault", fault);
        let line = attempt.expect_refused("internal_error");
        assert!(!line.contains("terminat"), "{line}");
        scene.cluster.set("pgaad.fault", "none");
        attempt.expect_admitted();
    }
    assert_eq!(bystander.value("SELECT 1").as_deref(), Some("1"), "the server has not restarted");
}

#[test]
fn client_without_a_token_is_told_where_to_get_one_and_the_log_is_silent() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    // RFC 7628 §4.3: an empty auth asks for discovery. Core answers it, and no validator is asked.
    let mut connection = scene.attempt(Route::OAuth, &role).until_asked();
    let response = b"n,,\x01auth=\x01\x01";
    let length = u32::try_from(response.len()).expect("short").to_be_bytes();
    connection
        .send_message(b'p', &[b"OAUTHBEARER\0", &length[..], response].concat())
        .expect("the server reads");
    let answer = connection.read_message().expect("an answer");
    assert_eq!((answer.tag, &answer.body[..4]), (b'R', &[0, 0, 0, 11][..]));
    assert!(String::from_utf8_lossy(&answer.body).contains("openid-configuration"));
    drop(connection);
    // When it is gone, it has said what it had to say.
    wait_until("the login is over", || scene.cluster.backend_pids().is_empty());
    assert!(!scene.cluster.log_since(mark).contains("pgaad: login"));
    // The search proves itself: the next login's line is found.
    scene.attempt(Route::OAuth, &role).expect_admitted();
    assert!(scene.cluster.log_since(mark).contains("pgaad: login"));
}

/// psql 18 alone, with a human at a browser: it shows a code, and waits until somebody has signed in with it.
#[test]
fn psql_logs_a_human_in_by_the_device_flow() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let issuer = format!("{}/{}/v2.0", scene.tenant.authority(), scene.tenant.tenant_id());
    scene.cluster.write_hba(&[format!(
        "host oauth_db all 127.0.0.1/32 oauth issuer={issuer} scope=\"api://pgaad/.default\" validator=pgaad \
         delegate_ident_mapping=1"
    )]);
    scene.cluster.reload();
    let connection = format!(
        "host=127.0.0.1 port={} dbname=oauth_db user={role} sslmode=require oauth_issuer={issuer} \
         oauth_client_id=11111111-1111-1111-1111-111111111111",
        scene.cluster.port()
    );
    let mut psql = Command::new(scene.cluster.installation().program("psql"))
        .args(["-X", "-A", "-t", "-c", "SELECT SYSTEM_USER", "-d", &connection])
        // A provider of one's own has its own authority, which only this lets libpq trust.
        .env("PGOAUTHDEBUG", "UNSAFE")
        .env("PGOAUTHCAFILE", scene.tenant.ca_file())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql");
    let shown = psql.stderr.take().expect("a pipe");
    let mut shown = BufReader::new(shown).lines().map(|line| line.expect("text"));
    let code = shown.find(|line| line.contains("and enter the code: "));
    let code = code.expect("psql shows a code");
    assert!(code.contains("https://microsoft.com/devicelogin") && code.contains("CVGDR5KD6"), "{code}");
    scene.tenant.sign_in(&scene.token(&role).mint());
    let rest = std::thread::spawn(move || shown.collect::<Vec<_>>());
    let output = psql.wait_with_output().expect("psql ends");
    let said = rest.join().expect("no panic");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("oauth:{role}"), "{said:?}");
}

/// What docs/clients.md says of libpq's options.
#[test]
fn options_of_libpq_that_refuse_a_token_and_those_that_do_not() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let token = scene.token(&role).mint();
    let database = scene.route().database();
    let login = |options: &str| {
        let connection = format!("host=127.0.0.1 dbname={database} user={role} sslmode=require {options}");
        let output = scene.cluster.psql(&connection, Some(&token), "SELECT 'in'");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(login("").0 && login("require_auth=password").0, "{:?}", login("require_auth=password"));
    for (options, said) in [
        ("channel_binding=require", "channel binding"),
        ("require_auth=scram-sha-256", "requirement"),
        ("require_auth=oauth", "requirement"),
    ] {
        let (is_in, told) = login(options);
        assert!(!is_in && told.contains(said), "{options}: {told}");
    }
}

/// libpq 18 itself, with a token set by its documented hook (`PQsetAuthDataHook`).
#[test]
fn libpqs_own_bearer_logs_in() {
    let Some(scene) = scene() else { return };
    let role = scene.member();
    let pg_config = std::env::var_os("PG_CONFIG").expect("PostgreSQL 18 is not where Debian's is");
    let directory = |option: &str| {
        let output = Command::new(&pg_config).arg(option).output().expect("pg_config");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let (source, program) =
        (run_directory::fresh("client").with_extension("c"), run_directory::fresh("client"));
    std::fs::write(&source, CLIENT).expect("our own file");
    let lib = directory("--libdir");
    let built = Command::new("cc")
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .arg(format!("-I{}", directory("--includedir")))
        .args([format!("-L{lib}"), format!("-Wl,-rpath,{lib}"), "-lpq".to_owned()])
        .status();
    assert!(built.is_ok_and(|status| status.success()), "cc");
    let login = |token: &str| {
        let connection = format!(
            "host=127.0.0.1 port={} dbname=oauth_db user={role} sslmode=require oauth_issuer={} oauth_client_id=x",
            scene.cluster.port(),
            scene.tenant.authority()
        );
        let output = Command::new(&program).arg(connection).env("TOKEN", token).output().expect("the client");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(login(&scene.token(&role).mint()), format!("oauth:{role}"));
    let said = login(&scene.token("mallory@example.com").mint());
    assert!(said.contains("token authentication failed"), "{said}");
}

const CLIENT: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <libpq-fe.h>

static int give_token(PGauthData type, PGconn *conn, void *data)
{
	if (type != PQAUTHDATA_OAUTH_BEARER_TOKEN)
		return 0;
	((PGoauthBearerRequest *) data)->token = getenv("TOKEN");
	return 1;
}

int main(int argc, char **argv)
{
	PQsetAuthDataHook(give_token);
	PGconn *conn = PQconnectdb(argv[1]);
	if (PQstatus(conn) != CONNECTION_OK)
	{
		printf("%s", PQerrorMessage(conn));
		return 1;
	}
	puts(PQgetvalue(PQexec(conn, "SELECT SYSTEM_USER"), 0, 0));
	PQfinish(conn);
	return 0;
}
"#;
