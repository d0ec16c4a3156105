//! `azure_pg_admin`: there if a superuser wants it, with what it has on Azure, and nobody's way to rise.

use super::{ADMIN, login, run};
use pgaad_tests::Scene;
use pgaad_tests::wire::Session;
use tenant::object_id;

fn administrator(scene: &Scene) -> Session {
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    login(scene, ADMIN, &scene.token(ADMIN))
}

fn granted(scene: &Scene) -> String {
    scene.cluster.value(
        "SELECT string_agg(roleid::regrole::text, ' ' ORDER BY roleid::regrole::text) FROM pg_auth_members
         WHERE member = 'azure_pg_admin'::regrole AND admin_option",
    )
}

#[test]
fn scripts_that_grant_azures_administrator_role_say_how_to_have_one_and_then_work() {
    let scene = Scene::start();
    let mut admin = administrator(&scene);
    run(&mut admin, "CREATE ROLE helper LOGIN");
    let answer = admin.query("GRANT azure_pg_admin TO helper").expect_err("nobody has made it yet");
    assert_eq!(
        (answer.sqlstate.as_str(), answer.message.as_str()),
        ("42704", "role \"azure_pg_admin\" does not exist")
    );
    let (_, statement) = answer.hint.split_once(": ").expect("a statement to paste");
    let denied = admin.query(statement).expect_err("an administrator is no superuser");
    assert_eq!(denied.sqlstate, "42501");
    scene.cluster.sql(statement);

    let all = granted(&scene);
    for role in ["pg_checkpoint", "pg_monitor", "pg_read_all_data", "pg_read_all_stats", "pg_signal_backend"]
    {
        assert!(all.split(' ').any(|granted| granted == role), "{all}");
    }
    assert!(!all.contains("server") && !all.contains("write"), "{all}");
    assert_eq!(all.contains("pg_create_subscription"), scene.cluster.installation().major() >= 16, "{all}");
    let attributes = "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles
                      WHERE rolname = 'azure_pg_admin'";
    assert_eq!(scene.cluster.value(attributes), "f");
    // Again, and nothing changes.
    scene.cluster.sql(statement);
    assert_eq!(granted(&scene), all);

    // Nobody rises by it.
    for sql in [
        "GRANT azure_pg_admin TO helper",
        "GRANT azure_pg_admin TO CURRENT_USER",
        "GRANT azure_ad_user TO azure_pg_admin",
        "ALTER ROLE azure_pg_admin LOGIN PASSWORD 'x'",
        "ALTER ROLE azure_pg_admin RENAME TO mine",
        "CREATE ROLE inside IN ROLE azure_pg_admin",
        "SET ROLE azure_pg_admin",
    ] {
        let answer = admin.query(sql).expect_err(sql);
        assert_eq!(answer.sqlstate, "42501", "{sql}: {answer}");
    }
    // A superuser's grant is what counts; and who was granted it is a superuser's to open by a token.
    scene.cluster.sql("GRANT azure_pg_admin TO helper WITH ADMIN OPTION");
    let answer = admin.query("GRANT azure_ad_user TO helper").expect_err("it has power over the server");
    assert_eq!(answer.sqlstate, "42501", "{answer}");
    assert_eq!(scene.cluster.value("SELECT pg_has_role('helper', 'pg_read_all_data', 'USAGE')"), "t");
    let database = scene.route().database();
    for role in [ADMIN, "azure_pg_admin"] {
        scene.cluster.sql(&format!("GRANT CREATE ON DATABASE {database} TO \"{role}\""));
    }
    scene.cluster.sql(&format!("GRANT azure_pg_admin TO \"{ADMIN}\""));
    run(&mut admin, "CREATE SCHEMA reports");
    run(&mut admin, "ALTER SCHEMA reports OWNER TO azure_pg_admin");
}

#[test]
fn a_role_that_was_there_before_gives_its_members_nothing_unasked() {
    let scene = Scene::start();
    scene.cluster.sql("CREATE ROLE azure_pg_admin; CREATE ROLE somebody IN ROLE azure_pg_admin");
    let make = "SELECT pgaad.make_azure_roles()";
    let answer = scene.cluster.try_sql(make).expect_err("somebody would rise");
    assert!(answer.message.ends_with("its members would have its rights: somebody"), "{answer}");
    scene.cluster.sql(&answer.hint);
    assert_eq!(scene.cluster.value("SELECT pg_has_role('somebody', 'pg_read_all_data', 'USAGE')"), "t");
    scene.cluster.sql("REVOKE azure_pg_admin FROM somebody; ALTER ROLE azure_pg_admin LOGIN PASSWORD 'x'");
    let answer = scene.cluster.try_sql(make).expect_err("somebody may know the password");
    scene.cluster.sql(&answer.hint);
    scene.cluster.sql(make);
}

#[test]
fn what_a_role_that_was_there_before_owns_does_not_run_with_more_rights_unasked() {
    let scene = Scene::start();
    scene.cluster.sql(
        "CREATE ROLE azure_pg_admin;
         CREATE FUNCTION public.later() RETURNS text LANGUAGE sql SECURITY DEFINER
             RETURN pg_catalog.current_setting('data_directory');
         ALTER FUNCTION public.later OWNER TO azure_pg_admin",
    );
    let answer = scene.cluster.try_sql("SELECT pgaad.make_azure_roles()").expect_err("everybody would rise");
    assert!(answer.message.contains("owns what would run with its rights, in "), "{answer}");
    let memberships = "SELECT count(*) FROM pg_auth_members WHERE member = 'azure_pg_admin'::regrole";
    assert_eq!(scene.cluster.value(memberships), "0");
    scene.cluster.sql(&answer.hint);
    assert!(granted(&scene).contains("pg_read_all_settings"));
    // A schema runs nothing.
    scene.cluster.sql("DROP FUNCTION public.later; CREATE SCHEMA theirs AUTHORIZATION azure_pg_admin");
    scene.cluster.sql("SELECT pgaad.make_azure_roles()");
}
