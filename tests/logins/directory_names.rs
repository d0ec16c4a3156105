//! Names that the directory knows: which id a role is bound to that Azure's functions make by a name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgaad_tests::directory::APP;
use pgaad_tests::patience::PATIENCE;
use pgaad_tests::scene::quoted;
use pgaad_tests::{Scene, wait_until};
use tenant::{Token, Trouble, object_id};

use crate::directory::{column, scene};

const JOB: &str = "b1946ac9-2492-4ef8-9d3a-7f1f6c2d8e54";
const GUEST: &str = "carol@partner.example";
const GUEST_NAME: &str = "carol_partner.example#EXT#@example.onmicrosoft.com";

/// Users, groups and programs of all kinds of names.
fn furnished() -> Scene {
    let scene = scene();
    {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user("ann@example.com");
        directory.add_user("o'brien@example.com");
        directory.add_guest(GUEST, GUEST_NAME);
        directory.add_program(JOB, "nightly & job #1");
        directory.add_group("Leser & Söhne, 100%", &[&ann]);
    }
    scene
}

fn create(scene: &Scene, name: &str) -> String {
    column(scene, &format!("SELECT pgaadauth_create_principal('{}', false, false)", name.replace('\'', "''")))
}

fn failure(scene: &Scene, sql: &str) -> (String, String, String) {
    let answer = scene.cluster.try_sql(sql).expect_err(sql);
    (answer.sqlstate.clone(), answer.message.clone(), answer.hint.clone())
}

fn has_role(scene: &Scene, name: &str) -> bool {
    column(scene, &format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", name.replace('\'', "''")))
        == "1"
}

#[test]
fn users_guests_groups_and_programs_are_bound_by_the_names_that_entra_shows() {
    let scene = furnished();
    let group = scene.tenant.directory().group_named("Leser & Söhne, 100%");
    let ann = || scene.tenant.token().user("ann@example.com");
    let guest = || scene.tenant.token().guest(GUEST);
    let cases: [(&str, &str, String, Token); 6] = [
        ("ann@example.com", "user", object_id("ann@example.com"), ann()),
        (
            "o'brien@example.com",
            "user",
            object_id("o'brien@example.com"),
            scene.tenant.token().user("o'brien@example.com"),
        ),
        (GUEST_NAME, "user", object_id(GUEST), guest()),
        (GUEST, "user", object_id(GUEST), guest()),
        ("nightly & job #1", "service", object_id(JOB), scene.tenant.token().app(JOB)),
        ("Leser & Söhne, 100%", "group", group.clone(), ann().groups(&[&group])),
    ];
    for (name, kind, id, token) in cases {
        assert_eq!(create(&scene, name), format!("Created role for {}", quoted(name)));
        let label = format!(
            "SELECT string_agg(provider || ' ' || label, '; ' ORDER BY provider) FROM pg_seclabels \
             WHERE objtype = 'role' AND objoid = '{}'::regrole",
            quoted(name).replace('\'', "''")
        );
        let tenant = scene.tenant.tenant_id();
        let expected = format!(
            "pgaadauth aadauth,oid={id},type={kind}; pgaadauth-int type={kind},oid={id},tenant_id={tenant}"
        );
        assert_eq!(column(&scene, &label), expected, "{name}");
        scene.attempt(scene.route(), name).with(token.mint()).expect_admitted();
    }
    // By its client id.
    create(&scene, JOB);
    scene.attempt(scene.route(), JOB).with(scene.tenant.token().app(JOB).mint()).expect_admitted();
}

#[test]
fn entra_administrator_may_and_nobody_else_learns_what_the_directory_knows() {
    let scene = furnished();
    scene.cluster.sql(
        "CREATE ROLE dba LOGIN CREATEROLE IN ROLE azure_ad_admin; GRANT azure_ad_user TO dba WITH ADMIN OPTION; \
         CREATE ROLE maker CREATEROLE; CREATE ROLE nobody",
    );
    let as_role = |role: &str, name: &str| {
        format!("SET ROLE {role}; SELECT pgaadauth_create_principal('{name}', false, false)")
    };
    scene.cluster.sql(&as_role("dba", "ann@example.com"));
    scene.tenant.set_trouble(|_, _| None);
    for role in ["maker", "nobody"] {
        for name in ["o'brien@example.com", "nosuch@example.com"] {
            let (sqlstate, ..) = failure(&scene, &as_role(role, &name.replace('\'', "''")));
            assert_eq!(sqlstate, "42501", "{role}");
            let asked = format!("SET ROLE {role}; SELECT * FROM pgaad._find_principal('ann@example.com')");
            assert_eq!(failure(&scene, &asked).0, "42501");
        }
    }
    assert_eq!(scene.tenant.questions(), 0, "nobody has asked Graph");
    // By a name an administrator is bound to an id, and only by whom makes administrators.
    let by_dba = "SET ROLE dba; SELECT pgaadauth_create_principal('o''brien@example.com', true, false)";
    assert_eq!(failure(&scene, by_dba).0, "42501");
    scene.cluster.sql("SELECT pgaadauth_create_principal('o''brien@example.com', true, false)");
    let id = object_id("o'brien@example.com");
    let listed = "SELECT objectid || isadmin FROM pgaadauth_list_principals(true) WHERE rolname LIKE 'o%'";
    assert_eq!(column(&scene, listed), format!("{id}1"));
}

#[test]
fn name_that_is_nobodys_or_several_binds_nothing() {
    let scene = furnished();
    let (sqlstate, message, hint) =
        failure(&scene, "SELECT pgaadauth_create_principal('nosuch@example.com', false, false)");
    assert_eq!(sqlstate, "42704");
    let words =
        "Could not validate AAD user \"nosuch@example.com\" because its name is not found in the tenant.";
    assert_eq!(message, words);
    assert!(hint.contains("pgaadauth_create_principal_with_oid"), "{hint}");
    let (one, other, program) = {
        let mut directory = scene.tenant.directory();
        let one = directory.add_group("twice", &[]);
        let other = "c0ffee00-1234-4abc-9def-0123456789ab";
        directory.add_group_with_id(other, "Twice", &[]);
        let program = directory.add_program("0ddba115-1234-4abc-9def-0123456789ab", "Leser & Söhne, 100%");
        (one, other, program)
    };
    let (sqlstate, message, _) = failure(&scene, "SELECT pgaadauth_create_principal('twice', false, false)");
    assert_eq!(sqlstate, "42P09");
    assert!(
        message.contains(&format!("group {one}")) && message.contains(&format!("group {other}")),
        "{message}"
    );
    let leser = "Leser & Söhne, 100%";
    let (_, message, _) =
        failure(&scene, &format!("SELECT pgaadauth_create_principal('{leser}', false, false)"));
    assert!(message.contains("group ") && message.contains(&format!("service {program}")), "{message}");
    for name in ["nosuch@example.com", "twice", leser] {
        assert!(!has_role(&scene, name), "{name}");
    }
    // A role that is there stays what it is.
    scene.cluster.sql("CREATE ROLE \"ann@example.com\"");
    let again = failure(&scene, "SELECT pgaadauth_create_principal('ann@example.com', false, false)");
    assert_eq!(again.0, "42710");
}

#[test]
fn directory_that_is_forbidden_slow_or_down_is_told_apart_and_a_statement_can_be_cancelled() {
    let scene = furnished();
    let make = "SELECT pgaadauth_create_principal('ann@example.com', false, false)";
    let expect = |code: &str| {
        let (sqlstate, message, hint) = failure(&scene, make);
        assert_eq!(sqlstate, "08006", "{message}");
        let said = format!("the directory does not say what \"ann@example.com\" is: code={code}");
        assert!(message.starts_with(&said), "{code}: {message}");
        assert!(hint.contains("pgaadauth_create_principal_with_oid"), "{hint}");
        assert!(!has_role(&scene, "ann@example.com"));
    };
    let permit = |names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        scene.tenant.directory().applications.get_mut(APP).expect("registered").permissions = names;
    };
    permit(&["GroupMember.Read.All"]);
    expect("permission_missing");
    // Programs need a permission of their own: who is found all the same is found.
    permit(&["GroupMember.Read.All", "User.Read.All"]);
    assert_eq!(failure(&scene, "SELECT pgaadauth_create_principal('nosuch', false, false)").0, "08006");
    scene.cluster.sql("BEGIN; SELECT pgaadauth_create_principal('ann@example.com', false, false); ROLLBACK");
    scene.tenant.set_trouble(|_, path| path.contains("/users").then_some(Trouble::Stalled));
    let began = Instant::now();
    let cancelled = failure(&scene, &format!("SET statement_timeout = '500ms'; {make}"));
    assert_eq!(cancelled.0, "57014", "{}", cancelled.1);
    assert!(began.elapsed() < Duration::from_secs(8), "it was cancelled, and did not wait for the answer");
    scene.tenant.end_trouble();
    // The worker is busy with what nobody waits for any more, and comes to this afterwards.
    let made = format!("BEGIN; {make}; ROLLBACK");
    wait_until("the worker is free again", || scene.cluster.try_sql(&made).is_ok());
    scene.tenant.set_trouble(|_, path| path.contains("/users").then_some(Trouble::Html));
    expect("page_malformed");
    let other =
        r#"{"value":[{"id":"c0ffee00-1234-4abc-9def-0123456789ab","userPrincipalName":"eve@example.com"}]}"#;
    scene
        .tenant
        .set_trouble(move |_, path| path.contains("/users").then(|| Trouble::Body(200, other.into())));
    expect("page_malformed");
    scene.tenant.end_trouble();
    scene.cluster.set("pgaad.directory_credential", "secret_file:/nonexistent");
    expect("credential_unusable");
    scene.cluster.set("pgaad.directory_interval", "1s");
    expect("setting_invalid");
}

#[test]
fn run_of_the_directory_ends_while_names_are_looked_up_all_the_time() {
    let scene = furnished();
    let deadline = Instant::now() + PATIENCE;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let look_up = "SELECT count(*) FROM generate_series(1, 20), \
                           LATERAL (SELECT * FROM pgaad._find_principal('ann@example.com') OFFSET 0) found";
            let mut has_ended = true;
            while !is_over.load(Ordering::Relaxed) {
                scene.cluster.sql(look_up);
                has_ended = Instant::now() < deadline;
                if !has_ended {
                    break;
                }
            }
            has_ended
        });
        scene.tenant.set_trouble(|_, _| None);
        wait_until("names are looked up", || scene.tenant.questions() > 10);
        assert_eq!(column(&scene, "SELECT pgaad.refresh_directory()"), "t");
        is_over.store(true, Ordering::Relaxed);
        assert!(asking.join().expect("no panic"), "the run has ended meanwhile");
    });
}

#[test]
fn administrator_is_set_by_a_name_where_no_id_is_given() {
    let scene = furnished();
    let (sqlstate, ..) = failure(&scene, "SELECT pgaad.set_admin('nosuch@example.com', NULL, 'user')");
    assert_eq!(sqlstate, "42704");
    let (sqlstate, message, _) = failure(&scene, "SELECT pgaad.set_admin('ann@example.com', NULL, 'group')");
    assert_eq!(
        (sqlstate.as_str(), message.as_str()),
        ("42809", "\"ann@example.com\" is a user, and not a group")
    );
    let program = failure(&scene, "SELECT pgaad.set_admin('nightly & job #1', NULL, NULL)");
    assert_eq!(program.0, "22023", "{}", program.1);
    scene.cluster.sql("SELECT pgaad.set_admin('ann@example.com', NULL, NULL)");
    let token = scene.tenant.token().user("ann@example.com").mint();
    scene.attempt(scene.route(), "ann@example.com").with(token).expect_admitted();
    let admins = "SELECT objectid FROM pgaadauth_list_principals(true)";
    assert_eq!(column(&scene, admins), object_id("ann@example.com"));
}
