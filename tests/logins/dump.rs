//! Roles that are dumped and restored keep their bindings: from one pgaad server to another, and from Azure.

use pgaad_tests::Scene;
use pgaad_tests::scene::quoted;
use std::process::{Command, Stdio};
use tenant::object_id;

mod azure;

const GROUP: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";

/// What `pg_dumpall --roles-only` says.
fn dump_roles(scene: &Scene) -> String {
    let output = Command::new(scene.cluster.installation().program("pg_dumpall"))
        .args(["--roles-only", "-U", "postgres", "-p", &scene.cluster.port().to_string(), "-h"])
        .arg(scene.cluster.socket_dir())
        .stderr(Stdio::inherit())
        .output()
        .expect("pg_dumpall");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a dump by psql, statement by statement, as an operator does; returns what psql said.
fn restore(scene: &Scene, dump: &str) -> String {
    let connection = format!("host={} dbname=postgres user=postgres", scene.cluster.socket_dir().display());
    let statements: Vec<&str> =
        dump.lines().filter(|line| !line.starts_with("--") && !line.is_empty()).collect();
    let said = statements.iter().map(|statement| {
        let output = scene.cluster.psql(&connection, None, statement);
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    said.collect()
}

#[test]
fn roles_dumped_here_restore_here_with_the_same_bindings() {
    let (from, to) = (Scene::start(), Scene::start());
    let ann = object_id("ann@example.com");
    from.cluster.sql(&format!(
        "CREATE USER \"a user\"; SECURITY LABEL FOR pgaadauth ON ROLE \"a user\" IS 'aadauth,oid={ann},type=user';
         CREATE USER zgroup; SECURITY LABEL FOR pgaadauth ON ROLE zgroup IS 'aadauth,oid={GROUP},type=group';
         SELECT pgaad.set_admin('root@example.com', '{}', 'user')",
        object_id("root@example.com")
    ));
    let named = from.member();
    let said = restore(&to, &dump_roles(&from));
    // The superuser, the marker roles and core's own are there already.
    assert!(said.lines().all(|line| !line.contains("ERROR") || line.contains("already exists")), "{said}");

    let listed = "SELECT * FROM pgaadauth_list_principals(false)";
    assert_eq!(to.cluster.sql(listed), from.cluster.sql(listed));
    let token = to.token("ann@example.com");
    to.attempt(to.route(), "a user").with(token.mint()).expect_admitted();
    to.attempt(to.route(), "zgroup").with(token.clone().groups(&[GROUP]).mint()).expect_admitted();
    to.attempt(to.route(), "zgroup").with(token.mint()).expect_refused("groups_missing");
    to.attempt(to.route(), "root@example.com").expect_admitted();
    to.attempt(to.route(), &named).expect_admitted();
}

#[test]
fn label_that_comes_before_azure_ad_user_is_stored_with_a_notice_and_counts_later() {
    let scene = Scene::start();
    scene.cluster.sql("DROP ROLE azure_ad_user");
    let dump = format!(
        "CREATE ROLE \"ann@example.com\" WITH LOGIN;\n\
         SECURITY LABEL FOR \"pgaadauth\" ON ROLE \"ann@example.com\" IS 'aadauth,oid={0},type=user';\n\
         SECURITY LABEL FOR \"pgaadauth-int\" ON ROLE \"ann@example.com\" IS 'type=user,oid={0},tenant_id={1}';\n\
         CREATE ROLE azure_pg_admin;\n",
        object_id("ann@example.com"),
        scene.tenant.tenant_id()
    );
    let said = restore(&scene, &dump);
    assert!(said.contains("NOTICE") && said.contains("azure_ad_user does not exist yet"), "{said}");
    assert!(!said.contains("ERROR"), "{said}");
    scene.cluster.sql("CREATE ROLE azure_ad_user NOLOGIN");
    let attempt = scene.attempt(scene.route(), "ann@example.com");
    if scene.has_pam() {
        attempt.expect_refused("role_not_member");
    }
    scene.cluster.sql(&format!("GRANT azure_ad_user TO {}", quoted("ann@example.com")));
    attempt.expect_admitted();
}

#[test]
fn extension_dropped_and_made_again_loses_no_binding() {
    let scene = Scene::start();
    let (ann, role) = (object_id("ann@example.com"), "bound");
    scene.cluster.sql(&format!(
        "CREATE USER {role}; SECURITY LABEL FOR pgaadauth ON ROLE {role} IS 'aadauth,oid={ann},type=user'"
    ));
    let attempt = scene.attempt(scene.route(), role).with(scene.token("ann@example.com").mint());
    attempt.expect_admitted();
    scene.cluster.sql("DROP EXTENSION pgaad");
    attempt.expect_admitted();
    scene.cluster.sql("CREATE EXTENSION pgaad");
    attempt.expect_admitted();
}
