//! The Entra administrator, and Azure Flexible Server's functions, as a superuser and an administrator use them.

use pgaad_tests::Scene;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::Session;
use tenant::object_id;

const CLIENT: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

fn set_admin(scene: &Scene, name: &str) {
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{name}', '{}', 'user')", object_id(name)));
}

fn login(scene: &Scene, name: &str) -> Session {
    scene.attempt(scene.route(), name).expect_admitted()
}

#[test]
fn administrator_enables_users_and_is_replaced_without_expelling_them() {
    let scene = Scene::start();
    set_admin(&scene, "first@example.com");
    let mut first = login(&scene, "first@example.com");
    first
        .query("CREATE USER \"ann@example.com\" IN ROLE azure_ad_user")
        .expect("the administrator enables a user");
    let made =
        format!("SELECT pgaadauth_create_principal_with_oid('robot', '{CLIENT}', 'service', false, false)");
    assert_eq!(first.value(&made).as_deref(), Some("Created role for robot"));
    let superuser = first.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user");
    assert_eq!(superuser.as_deref(), Some("f"));
    drop(first);

    let robot = scene.tenant.token().app(CLIENT).mint();
    for admin in ["second@example.com", "first@example.com"] {
        set_admin(&scene, admin);
        let admins =
            scene.cluster.value("SELECT string_agg(rolename, ',') FROM pgaadauth_list_principals(true)");
        assert_eq!(admins, admin, "exactly one");
        for name in ["ann@example.com", "first@example.com", "second@example.com"] {
            let known = scene.cluster.value(&format!("SELECT to_regrole('{}') IS NOT NULL", quoted(name)));
            if known == "t" {
                login(&scene, name);
            }
        }
        scene.attempt(scene.route(), "robot").with(&robot).expect_admitted();
    }
}

#[test]
fn administrator_is_never_matched_by_name() {
    let scene = Scene::start();
    set_admin(&scene, "root@example.com");
    let namesake = scene.token("root@example.com").claim("oid", object_id("somebody else"));
    scene
        .attempt(scene.route(), "root@example.com")
        .with(namesake.mint())
        .expect_refused("principal_mismatch");
    login(&scene, "root@example.com");
}

#[test]
fn administrator_can_be_a_group() {
    let scene = Scene::start();
    let group = object_id("the dbas");
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('DBAs', '{group}', 'group')"));
    let ann = scene.token("ann@example.com");
    let member = ann.clone().groups(&[&group]).mint();
    scene.attempt(scene.route(), "DBAs").with(&member).expect_admitted();
    scene.attempt(scene.route(), "DBAs").with(ann.mint()).expect_refused("groups_missing");
}

#[test]
fn only_superusers_set_the_administrator_and_bad_words_change_nothing() {
    let scene = Scene::start();
    set_admin(&scene, "first@example.com");
    let mut first = login(&scene, "first@example.com");
    let answer = first.query("SELECT pgaad.set_admin('x', '5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90', 'user')");
    assert_eq!(answer.expect_err("an administrator is no superuser").sqlstate, "42501");
    for (id, kind) in [("not a guid", "user"), (CLIENT, "service"), (CLIENT, "robot")] {
        let answer = scene.cluster.try_sql(&format!("SELECT pgaad.set_admin('x', '{id}', '{kind}')"));
        assert_eq!(answer.expect_err("bad words").sqlstate, "22023", "{id} {kind}");
    }
    assert_eq!(scene.cluster.value("SELECT to_regrole('x') IS NULL"), "t");
    login(&scene, "first@example.com");
}

#[test]
fn principals_are_created_updated_and_listed_as_on_azure() {
    let scene = Scene::start();
    let oid = object_id("ann@example.com");
    let sql = |sql: &str| scene.cluster.value(sql);
    let created = sql("SELECT * FROM pgaadauth_create_principal('bob@example.com', false, false)");
    assert_eq!(created, "Created role for \"bob@example.com\"");
    login(&scene, "bob@example.com");
    let bound = format!(
        "SELECT pgaadauth_update_principal_with_oid('bob@example.com', '{oid}', 'user', false, false)"
    );
    assert_eq!(sql(&bound), "Updated role for \"bob@example.com\"");
    scene.attempt(scene.route(), "bob@example.com").expect_refused("principal_mismatch");

    let rows = scene.cluster.sql("SELECT * FROM pgaadauth_list_principals(false)");
    let row: Vec<_> = rows[0].iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
    let tenant = scene.tenant.tenant_id();
    assert_eq!(row, ["bob@example.com", "user", &oid, &tenant, "0", "0", "bob@example.com"]);
    let columns = scene
        .cluster
        .sql("SELECT unnest(proargnames) FROM pg_proc WHERE proname = 'pgaadauth_list_principals'");
    let columns: Vec<_> = columns.iter().map(|row| row[0].as_deref().unwrap_or("")).collect();
    assert_eq!(
        columns,
        ["isadminvalue", "rolname", "principaltype", "objectid", "tenantid", "ismfa", "isadmin", "rolename"]
    );
    let answer = scene.cluster.try_sql("SELECT pgaadauth_create_principal('eve', true, false)");
    assert!(answer.expect_err("by name").hint.contains("_with_oid"));
}

/// On 15 CREATEROLE rules over every role. From 16 on it takes the ADMIN OPTION, which is the office's.
#[test]
fn administrator_rules_over_entra_roles_as_long_as_he_is_one() {
    let scene = Scene::start();
    let superuser = |sql: &str| scene.cluster.sql(sql);
    superuser(
        "CREATE ROLE \"ann@example.com\" LOGIN IN ROLE azure_ad_user; CREATE ROLE app; CREATE ROLE bystander;
         CREATE ROLE chief SUPERUSER IN ROLE azure_ad_user; CREATE ROLE below IN ROLE azure_ad_user",
    );
    set_admin(&scene, "first@example.com");
    let mut first = login(&scene, "first@example.com");
    // Made by the administrator: an Entra role, and another, on which he gives others something.
    for statement in [
        "CREATE ROLE \"bob@example.com\" LOGIN IN ROLE azure_ad_user",
        "CREATE ROLE readers",
        "GRANT readers TO \"ann@example.com\"",
        "GRANT readers TO \"bob@example.com\" WITH ADMIN OPTION",
        "GRANT \"ann@example.com\" TO \"bob@example.com\"",
        "GRANT \"bob@example.com\" TO \"first@example.com\"",
    ] {
        first.query(statement).unwrap_or_else(|answer| panic!("{statement}: {answer}"));
    }
    let alter = |role: &str| format!("ALTER ROLE {} CONNECTION LIMIT 7", quoted(role));
    first.query(&alter("ann@example.com")).expect("the superuser's own Entra role");
    drop(first);
    let given = "SELECT DISTINCT roleid::regrole, member::regrole, admin_option FROM pg_auth_members
        WHERE member IN ('\"ann@example.com\"'::regrole, '\"bob@example.com\"'::regrole)
          AND roleid <> 'azure_ad_user'::regrole";
    let before = superuser(given);
    assert_eq!(before.len(), 3, "{before:?}");

    // Every member of the role would be an administrator, too.
    superuser("CREATE ROLE \"second@example.com\"; GRANT \"second@example.com\" TO below");
    let set = format!(
        "SELECT pgaad.set_admin('second@example.com', '{}', 'user')",
        object_id("second@example.com")
    );
    let answer = scene.cluster.try_sql(&set).expect_err("it has a member");
    assert_eq!(answer.sqlstate, "55000", "{answer:?}");
    assert!(answer.hint.starts_with("REVOKE \"second@example.com\" FROM below GRANTED BY"), "{answer:?}");
    superuser(&answer.hint);
    set_admin(&scene, "second@example.com");
    assert_eq!(superuser(given), before, "nobody else loses anything");
    let mut second = login(&scene, "second@example.com");
    for role in ["ann@example.com", "bob@example.com", "first@example.com", "readers"] {
        second.query(&alter(role)).unwrap_or_else(|answer| panic!("{role}: {answer}"));
    }
    for forbidden in [alter("chief"), alter("postgres")] {
        assert_eq!(second.query(&forbidden).expect_err(&forbidden).sqlstate, "42501");
    }
    if scene.cluster.installation().major() < 16 {
        return;
    }
    // The administrator can use no right of those roles and rules no other role, and the former one keeps nothing.
    let answer =
        second.query("SET ROLE \"ann@example.com\"").expect_err("an administrator rules ann, and is not ann");
    assert_eq!(answer.sqlstate, "42501");
    for role in ["app", "bystander"] {
        assert_eq!(second.query(&alter(role)).expect_err(role).sqlstate, "42501");
    }
    let mut first = login(&scene, "first@example.com");
    for role in ["ann@example.com", "bob@example.com", "second@example.com", "readers"] {
        assert_eq!(first.query(&alter(role)).expect_err(role).sqlstate, "42501");
        let become_it = first.query(&format!("SET ROLE {}", quoted(role)));
        assert_eq!(become_it.expect_err(role).sqlstate, "42501");
    }
    drop(first);
    let left = superuser(
        "SELECT roleid::regrole FROM pg_auth_members WHERE member = '\"first@example.com\"'::regrole",
    );
    assert_eq!(left, [[Some("azure_ad_user".to_owned())]]);

    // And back again.
    set_admin(&scene, "first@example.com");
    assert_eq!(superuser(given), before, "nobody else loses anything");
    let mut first = login(&scene, "first@example.com");
    for role in ["ann@example.com", "bob@example.com", "second@example.com", "readers", "below"] {
        first.query(&alter(role)).unwrap_or_else(|answer| panic!("{role}: {answer}"));
    }

    // Who loses the office by Azure's own function loses the same.
    superuser(&format!(
        "SELECT pgaadauth_update_principal_with_oid('first@example.com', '{}', 'user', false, false)",
        object_id("first@example.com")
    ));
    assert_eq!(first.query(&alter("ann@example.com")).expect_err("a former administrator").sqlstate, "42501");
}
