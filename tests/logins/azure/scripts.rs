//! What scripts, modules and providers in the field write for Azure, beyond its how-tos.

use super::{ADMIN, CLIENT_ID, GROUP, attempt, login, password_login, run};
use pgaad_tests::Scene;
use pgaad_tests::wire::Outcome;
use tenant::object_id;

/// As scripts of Azure's own tools, Bicep and Terraform modules write it.
#[test]
fn functions_are_what_scripts_in_the_field_take_them_for() {
    let scene = Scene::start();
    let value = |sql: &str| scene.cluster.value(sql);
    // Words for the type, by whichever tool; flags that are not given; names that need quotes and that do not.
    for (name, kind, answer) in [
        ("plainname", "service", "Created role for plainname"),
        ("My App", "ServicePrincipal", "Created role for \"My App\""),
        ("readers", "Group", "Created role for readers"),
        ("ann@contoso.com", "User", "Created role for \"ann@contoso.com\""),
    ] {
        let call = format!(
            "SELECT pgaadauth_create_principal_with_oid('{name}', '{}', '{kind}', NULL, NULL)",
            object_id(name)
        );
        assert_eq!(value(&call), answer);
        let again = scene.cluster.try_sql(&call).expect_err("it is there");
        assert_eq!(again.sqlstate, "42710", "{again}");
        let update = call.replace("create", "update");
        assert_eq!(value(&update), answer.replace("Created", "Updated"));
    }
    let wrong = scene.cluster.try_sql(&format!(
        "SELECT pgaadauth_create_principal_with_oid('x', '{}', 'robot', false, false)",
        object_id("x")
    ));
    assert_eq!(wrong.expect_err("no type").message, "the type \"robot\" is not one of user, group, service");
    let kinds = "SELECT string_agg(principaltype, ' ' ORDER BY rolname) FROM pgaadauth_list_principals(false) \
                 WHERE isadmin = 0 AND ismfa = 0 AND rolname = rolename";
    assert_eq!(value(kinds), "service user service group");
    // A Bicep module's block: made anew where the id is another.
    let oid = object_id("another");
    scene.cluster.sql(&format!(
        "DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_catalog.pgaadauth_list_principals(false)
                       WHERE rolname = 'plainname' AND objectid != '{oid}') THEN
                DROP ROLE plainname;
            END IF;
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'plainname') THEN
                PERFORM pg_catalog.pgaadauth_create_principal_with_oid('plainname', '{oid}', 'service', false, false);
            END IF;
        END $$"
    ));
    let found = "SELECT objectId FROM pgaadauth_list_principals(false) WHERE rolename = 'plainname'";
    assert_eq!(value(found), oid);
}

#[test]
fn what_there_is_not_says_what_to_use() {
    let scene = Scene::start();
    let answer =
        scene.cluster.try_sql("SELECT pgaadauth_sync_roles_for_group_members()").expect_err("no sync");
    assert_eq!(answer.sqlstate, "0A000", "{answer}");
    assert!(answer.hint.contains("SECURITY LABEL FOR \"pgaadauth\" ON ROLE"), "{answer}");
    assert_eq!(scene.cluster.value("SHOW pgaadauth.enable_group_sync"), "off");
    let answer = scene.cluster.try_sql("SET pgaadauth.enable_group_sync = on").expect_err("it stays off");
    assert_eq!(answer.sqlstate, "55P02", "{answer}");
    // Blanks and capitals: the text that is meant.
    scene.cluster.sql("CREATE ROLE app LOGIN");
    let oid = object_id("app");
    for (text, right) in [
        (format!("aadauth, oid={oid}, type=user"), format!("aadauth,oid={oid},type=user")),
        (
            format!("aadauth,OID={},Type=Service", oid.to_uppercase()),
            format!("aadauth,oid={oid},type=service"),
        ),
        ("AADAUTH,ADMIN".to_owned(), "aadauth,admin".to_owned()),
    ] {
        let label = |text: &str| format!("SECURITY LABEL FOR \"pgaadauth\" ON ROLE app IS '{text}'");
        let answer = scene.cluster.try_sql(&label(&text)).expect_err("as on Azure");
        assert_eq!(
            (answer.sqlstate.as_str(), answer.hint.as_str()),
            ("22023", &*format!("Write '{right}'."))
        );
        scene.cluster.sql(&label(&right));
    }
    // Another order, and an id in capitals, are read.
    scene.cluster.sql(&format!(
        "SECURITY LABEL FOR \"pgaadauth\" ON ROLE app IS 'aadauth,type=service,oid={}'",
        oid.to_uppercase()
    ));
    let bound = "SELECT objectid FROM pgaadauth_list_principals(false) WHERE rolname = 'app'";
    assert_eq!(scene.cluster.value(bound), oid);
}

/// The client id as the password, in a statement of its own: Terraform's way, and that of recipes.
#[test]
fn client_ids_given_as_passwords_in_two_statements_bind_the_role_and_are_no_passwords() {
    let scene = Scene::start();
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &scene.token(ADMIN));
    let mut superuser = match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    };
    let identity = scene.tenant.token().managed_identity(CLIENT_ID);
    for (number, session) in [&mut admin, &mut superuser].into_iter().enumerate() {
        let (later, sooner, rolled) =
            (format!("later{number}"), format!("sooner{number}"), format!("rolled{number}"));
        // The password first, as Terraform's provider sends it: in one transaction, the membership at its end.
        for statement in [
            "BEGIN".to_owned(),
            format!("CREATE ROLE {later} WITH LOGIN PASSWORD '{CLIENT_ID}' NOSUPERUSER"),
            format!("GRANT azure_ad_user TO {later}"),
            "COMMIT".to_owned(),
            // The membership first.
            format!("CREATE USER {sooner} IN ROLE azure_ad_user"),
            format!("ALTER ROLE {sooner} WITH PASSWORD '{CLIENT_ID}' CONNECTION LIMIT 7"),
        ] {
            run(session, &statement);
        }
        for role in [&later, &sooner] {
            attempt(&scene, role, &identity).expect_admitted();
            attempt(&scene, role, &scene.tenant.token().app(GROUP)).expect_refused("principal_mismatch");
            let stored = format!("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = '{role}'");
            assert_eq!(scene.cluster.value(&stored), "t", "{role}");
        }
        let limit = format!("SELECT rolconnlimit FROM pg_authid WHERE rolname = '{sooner}'");
        assert_eq!(scene.cluster.value(&limit), "7");
        // A role that has a label is not bound anew by a password.
        let answer =
            session.query(&format!("ALTER ROLE {sooner} PASSWORD '{GROUP}'")).expect_err("it has a label");
        assert_eq!(answer.sqlstate, "22023", "{answer}");
        assert!(answer.hint.contains("type=service"), "{answer}");
        // What was taken back, or given another password since, binds nothing.
        for statement in [
            "BEGIN".to_owned(),
            format!("CREATE ROLE {rolled} LOGIN PASSWORD '{CLIENT_ID}'"),
            "ROLLBACK".to_owned(),
            format!("CREATE ROLE {rolled} LOGIN PASSWORD '{CLIENT_ID}'"),
            format!("ALTER ROLE {rolled} PASSWORD 'secret'"),
            format!("GRANT azure_ad_user TO {rolled}"),
        ] {
            run(session, &statement);
        }
        attempt(&scene, &rolled, &identity).expect_refused("role_not_bound");
        for statement in [
            format!("REVOKE azure_ad_user FROM {rolled}"),
            "BEGIN".to_owned(),
            format!("ALTER ROLE {rolled} PASSWORD '{CLIENT_ID}'"),
            "ROLLBACK".to_owned(),
            format!("GRANT azure_ad_user TO {rolled}"),
        ] {
            run(session, &statement);
        }
        attempt(&scene, &rolled, &identity).expect_refused("role_not_bound");
        let kept = format!("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = '{rolled}'");
        assert_eq!(scene.cluster.value(&kept), "t");
    }
    // Where no token is meant it is a password as any other.
    run(&mut superuser, &format!("CREATE ROLE plain LOGIN; ALTER ROLE plain PASSWORD '{CLIENT_ID}'"));
    assert!(password_login(&scene, "plain", CLIENT_ID));
}

#[test]
fn a_client_id_that_another_session_gave_is_asked_about_when_the_role_becomes_a_member() {
    let scene = Scene::start();
    let identity = scene.tenant.token().managed_identity(CLIENT_ID);
    scene.cluster.sql(&format!("CREATE ROLE myuser LOGIN PASSWORD '{CLIENT_ID}'"));
    let mut superuser = match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    };
    run(&mut superuser, "GRANT azure_ad_user TO myuser");
    let notices = superuser.take_notices();
    let [notice] = notices.as_slice() else { panic!("{notices:?}") };
    let (remove, bind) =
        notice.hint.split_once(" -- and, if that was a program's client id: ").expect("both");
    run(&mut superuser, remove);
    attempt(&scene, "myuser", &identity).expect_refused("role_not_bound");
    run(&mut superuser, &bind.replace("<client id>", CLIENT_ID));
    attempt(&scene, "myuser", &identity).expect_admitted();
}

#[test]
fn a_client_id_that_a_function_of_somebody_else_gave_binds_nothing() {
    let scene = Scene::start();
    let identity = scene.tenant.token().managed_identity(CLIENT_ID);
    scene.cluster.sql(&format!(
        "CREATE ROLE eve CREATEROLE; GRANT CREATE ON SCHEMA public TO eve; SET ROLE eve;
         CREATE FUNCTION give() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
             $$ BEGIN CREATE ROLE given LOGIN PASSWORD '{CLIENT_ID}'; END $$"
    ));
    let mut superuser = match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    };
    run(&mut superuser, "SELECT give()");
    run(&mut superuser, "GRANT azure_ad_user TO given");
    attempt(&scene, "given", &identity).expect_refused("role_not_bound");
    // The same by the superuser's own hand.
    run(&mut superuser, &format!("ALTER ROLE given PASSWORD '{CLIENT_ID}'"));
    attempt(&scene, "given", &identity).expect_admitted();
}
