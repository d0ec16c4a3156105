//! Several Entra administrators, as on Flexible Server, where a superuser wants that.

use pgaad_tests::Scene;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::Session;
use tenant::object_id;

const FIRST: &str = "first@example.com";
const SECOND: &str = "second@example.com";

fn scene(admins_make_admins: &str) -> (Scene, Session) {
    let scene = Scene::with(|cluster| cluster.conf("pgaad.admins_make_admins", admins_make_admins));
    scene.cluster.sql("CREATE USER \"ann@example.com\" IN ROLE azure_ad_user");
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{FIRST}', '{}', 'user')", object_id(FIRST)));
    let first = scene.attempt(scene.route(), FIRST).expect_admitted();
    (scene, first)
}

fn appoint(name: &str) -> String {
    let id = object_id(name);
    format!("SELECT pgaadauth_create_principal_with_oid('{name}', '{id}', 'user', true, false)")
}

fn refused(session: &mut Session, sql: &str) -> String {
    let answer = session.query(sql).expect_err(sql);
    assert_eq!(answer.sqlstate, "42501", "{sql}: {answer}");
    answer.hint
}

#[test]
fn an_administrator_makes_no_other_unless_a_superuser_lets_them() {
    let (scene, mut first) = scene("off");
    let hint = refused(&mut first, &appoint(SECOND));
    assert!(hint.contains("pgaad.admins_make_admins = on"), "{hint}");
    assert_eq!(scene.cluster.value(&format!("SELECT to_regrole('{}') IS NULL", quoted(SECOND))), "t");
    scene.cluster.set("pgaad.admins_make_admins", "perhaps");
    scene.cluster.restart();
    // A setting that cannot be used lets nobody in, and nobody rise.
    let asked = format!("SET ROLE {}; {}", quoted(FIRST), appoint(SECOND));
    assert_eq!(scene.cluster.try_sql(&asked).expect_err("it is not on").sqlstate, "42501");
}

/// A former administrator may have left one behind, or somebody made one before there was an extension.
#[test]
fn a_function_that_the_administrators_role_owns_makes_its_caller_none() {
    let (scene, mut first) = scene("on");
    let database = scene.route().database();
    let made = "CREATE FUNCTION left_behind(statement text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \
                $$ BEGIN EXECUTE statement; END $$; GRANT CREATE ON SCHEMA public TO azure_ad_admin; \
                ALTER FUNCTION left_behind(text) OWNER TO azure_ad_admin";
    scene.cluster.try_sql_in(database, made).expect("made");
    scene.cluster.sql("CREATE ROLE local");
    let mut ann = scene.attempt(scene.route(), "ann@example.com").expect_admitted();
    let oid = object_id("ann@example.com");
    for statement in [
        appoint(SECOND),
        format!("SELECT pgaad.set_admin('ann@example.com', '{oid}', 'user')"),
        "GRANT azure_ad_user TO local".to_owned(),
        "GRANT azure_ad_admin TO \"ann@example.com\"".to_owned(),
        format!("SECURITY LABEL FOR pgaadauth ON ROLE local IS 'aadauth,oid={oid},type=user'"),
        format!("SELECT pgaad.deny('{}')", object_id(FIRST)),
        format!("SELECT pgaadauth_create_principal_with_oid('eve', '{oid}', 'user', false, false)"),
    ] {
        refused(&mut ann, &format!("SELECT left_behind($left${statement}$left$)"));
    }
    let names = "SELECT count(*) FROM pg_roles WHERE rolname IN ('eve', 'second@example.com')";
    assert_eq!(scene.cluster.value(names), "0");
    // The administrator in office may, by their own right.
    first.query(&appoint(SECOND)).expect("an administrator makes another");
}

#[test]
fn administrators_are_several_and_each_is_a_superusers_to_put_out() {
    let (scene, mut first) = scene("on");
    assert_eq!(first.value(&appoint(SECOND)).as_deref(), Some("Created role for \"second@example.com\""));
    let admins = "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pgaadauth_list_principals(true)";
    assert_eq!(first.value(admins).as_deref(), Some("first@example.com,second@example.com"));
    let mut second = scene.attempt(scene.route(), SECOND).expect_admitted();
    let namesake = scene.token(SECOND).claim("oid", object_id("somebody else")).mint();
    scene.attempt(scene.route(), SECOND).with(namesake).expect_refused("principal_mismatch");
    // It is an administrator like the first one.
    second
        .query("CREATE USER \"bob@example.com\" IN ROLE azure_ad_user")
        .expect("an administrator enables users");
    let label = format!("'aadauth,oid={},type=user'", object_id("ann@example.com"));
    second
        .query(&format!("SECURITY LABEL FOR pgaadauth ON ROLE \"ann@example.com\" IS {label}"))
        .expect("an administrator labels the users that were there");
    second.query(&appoint("third@example.com")).expect("and makes others");

    // None rules over another one.
    for (session, other) in [(&mut first, SECOND), (&mut second, FIRST)] {
        let (role, id) = (quoted(other), object_id("eve@example.com"));
        for sql in [
            format!("ALTER ROLE {role} PASSWORD 'x'"),
            format!("ALTER ROLE {role} RENAME TO mine"),
            format!("DROP ROLE {role}"),
            format!("REVOKE azure_ad_admin FROM {role}"),
            format!("GRANT {role} TO CURRENT_USER"),
            format!("SECURITY LABEL FOR pgaadauth ON ROLE {role} IS 'aadauth,oid={id},type=user,admin'"),
            format!("SELECT pgaadauth_update_principal_with_oid('{other}', '{id}', 'user', true, false)"),
            format!(
                "SELECT pgaadauth_update_principal_with_oid('ann@example.com', '{id}', 'user', true, false)"
            ),
        ] {
            refused(session, &sql);
        }
        // The name of a role that is there makes no administrator of it.
        for name in ["ann@example.com", "postgres", other] {
            let answer = session.query(&appoint(name)).expect_err(name);
            assert_eq!(answer.sqlstate, "42710", "{answer}");
        }
    }
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{FIRST}', '{}', 'user')", object_id(FIRST)));
    assert_eq!(first.value(admins).as_deref(), Some(FIRST));
    refused(&mut second, &appoint("fourth@example.com"));
    refused(&mut second, "CREATE ROLE x");
}

#[test]
fn nobody_rises_by_the_functions_that_make_administrators() {
    let (scene, mut first) = scene("on");
    scene.cluster.sql("CREATE ROLE maker CREATEROLE; GRANT maker TO \"ann@example.com\"");
    let mut ann = scene.attempt(scene.route(), "ann@example.com").expect_admitted();
    ann.query("SET ROLE maker").expect("a member");
    let id = object_id("ann@example.com");
    for sql in [
        appoint("eve@example.com"),
        format!("SELECT pgaad._appoint('eve', '{id}', 'user', false)"),
        "SELECT pgaad._share_roles('maker')".to_owned(),
        "SELECT pgaad._admins_make_admins()".to_owned(),
    ] {
        refused(&mut ann, &sql);
    }
    // What the caller does not rule over the new one does not rule over either.
    scene.cluster.sql(
        "CREATE ROLE \"late@example.com\" LOGIN IN ROLE azure_ad_user;
         CREATE ROLE \"strong@example.com\" LOGIN IN ROLE azure_ad_user",
    );
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{FIRST}', '{}', 'user')", object_id(FIRST)));
    scene.cluster.sql(
        "CREATE ROLE \"later@example.com\" LOGIN IN ROLE azure_ad_user;
         GRANT pg_write_all_data TO \"strong@example.com\"",
    );
    first.query(&appoint(SECOND)).expect("an administrator");
    let mut second = scene.attempt(scene.route(), SECOND).expect_admitted();
    let comment = |role: &str| format!("COMMENT ON ROLE {} IS 'mine'", quoted(role));
    second.query(&comment("late@example.com")).expect("the first one ruled over it");
    if scene.cluster.installation().major() >= 16 {
        refused(&mut second, &comment("later@example.com"));
    }
    refused(&mut second, "ALTER ROLE \"strong@example.com\" PASSWORD 'x'");
    refused(&mut second, "GRANT \"strong@example.com\" TO CURRENT_USER");
}
