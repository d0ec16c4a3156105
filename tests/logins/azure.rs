//! Azure's own how-tos, followed line by line: what a team that leaves Azure knows by heart works here.

use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{Outcome, Session};
use pgaad_tests::{Attempt, Route, Scene};
use tenant::{Token, object_id};

mod migrations;
mod pg_admin;
mod scripts;
mod table;
mod terraform;
mod with_directory;

/// Ids that the directory would give, as `az ad group show` and `az identity show` print them.
const GROUP: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";
const CLIENT_ID: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

const ADMIN: &str = "dba@contoso.com";

/// Logs in with a token, as the role.
fn login(scene: &Scene, role: &str, token: &Token) -> Session {
    scene.attempt(scene.route(), role).with(token.mint()).expect_admitted()
}

fn attempt<'a>(scene: &'a Scene, role: &str, token: &Token) -> Attempt<'a> {
    scene.attempt(scene.route(), role).with(token.mint())
}

fn run(session: &mut Session, statement: &str) {
    session.query(statement).unwrap_or_else(|answer| panic!("{statement}: {answer} {}", answer.hint));
}

/// A role that a superuser made is the administrator's to label from 16 on when they have the ADMIN OPTION on it
/// (core's own rule), as on Azure; before, CREATEROLE was enough.
fn hand_over(scene: &Scene, admin: &mut Session, role: &str) {
    if scene.cluster.installation().major() >= 16 {
        let label = format!("SECURITY LABEL FOR pgaadauth ON ROLE {role} IS 'aadauth'");
        let answer = admin.query(&label).expect_err("the administrator does not rule it");
        assert_eq!(answer.sqlstate, "42501", "{answer:?}");
        scene.cluster.sql(&format!(
            "SET client_min_messages = error; GRANT {role} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
            quoted(ADMIN)
        ));
    }
}

fn password_login(scene: &Scene, role: &str, password: &str) -> bool {
    let login = scene.attempt(Route::Password, role).with(password).login();
    matches!(login.outcome, Outcome::Accepted(_))
}

/// The statement that ends the log line of a refusal, to be pasted.
fn hinted_statement(line: &str) -> &str {
    line.trim_end().split_once(" hint=").unwrap_or_else(|| panic!("no hint in {line}")).1
}

/// "Use Microsoft Entra ID for authentication with PostgreSQL – Single Server".
#[test]
fn single_servers_article() {
    let scene = Scene::start();
    let user = |name: &str| scene.token(name);

    // Setting the Entra administrator: in the portal there, by the superuser here.
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));

    // Connecting as the administrator, with a token for a password.
    let mut admin = login(&scene, ADMIN, &user(ADMIN));

    // Creating Entra users.
    run(&mut admin, r#"CREATE USER "user1@contoso.com" IN ROLE azure_ad_user"#);
    run(&mut admin, r#"CREATE ROLE "o'neil smith@contoso.com" WITH LOGIN IN ROLE azure_ad_user"#);
    run(&mut admin, r#"CREATE USER "bob_fabrikam.com#EXT#@contoso.com" IN ROLE azure_ad_user"#);
    run(&mut admin, r#"CREATE USER "zoë@contoso.com" IN ROLE azure_ad_user"#);
    for name in ["user1@contoso.com", "o'neil smith@contoso.com", "zoë@contoso.com"] {
        login(&scene, name, &user(name));
        attempt(&scene, name, &user("user2@contoso.com")).expect_refused("role_not_bound");
    }
    let guest = user("bob").guest("bob@fabrikam.com").claim("upn", "bob_fabrikam.com#EXT#@contoso.com");
    // Names of guests are what others gave them: here they are bound by object id, and the log has the statement.
    let line = attempt(&scene, "bob_fabrikam.com#EXT#@contoso.com", &guest).expect_refused("role_not_bound");
    run(&mut admin, hinted_statement(&line));
    login(&scene, "bob_fabrikam.com#EXT#@contoso.com", &guest);

    // Creating an Entra group. Its name means something to Azure's directory only: the tokens hold ids.
    run(&mut admin, r#"CREATE ROLE "Prod DB Readonly" WITH LOGIN IN ROLE azure_ad_user"#);
    let member = user("user2@contoso.com").groups(&[GROUP]);
    let line = attempt(&scene, "Prod DB Readonly", &member).expect_refused("role_not_bound");
    assert!(
        !line.contains("SECURITY LABEL"),
        "a group that a token holds is not therefore the role's: {line}"
    );
    let of_group = |role: &str| {
        format!("SECURITY LABEL FOR pgaadauth ON ROLE {} IS 'aadauth,oid={GROUP},type=group'", quoted(role))
    };
    run(&mut admin, &of_group("Prod DB Readonly"));
    login(&scene, "Prod DB Readonly", &member);
    attempt(&scene, "Prod DB Readonly", &user("user3@contoso.com")).expect_refused("groups_missing");

    // Migrating existing users, case 1: the name is that of the Entra user.
    scene.cluster.sql(
        r#"CREATE USER "existing@contoso.com" PASSWORD 'old'; CREATE TABLE kept AS SELECT 1 AS a;
        GRANT SELECT ON kept TO "existing@contoso.com""#,
    );
    assert!(password_login(&scene, "existing@contoso.com", "old"));
    run(&mut admin, r#"GRANT azure_ad_user TO "existing@contoso.com""#);
    login(&scene, "existing@contoso.com", &user("existing@contoso.com"));
    assert!(
        !password_login(&scene, "existing@contoso.com", "old"),
        "the token has taken the password's place"
    );
    run(&mut admin, r#"REVOKE azure_ad_user FROM "existing@contoso.com""#);
    assert!(password_login(&scene, "existing@contoso.com", "old"), "the password is what it was");
    run(&mut admin, r#"GRANT azure_ad_user TO "existing@contoso.com""#);

    // Case 2: the name is another one, so a group of that name is made in Entra.
    scene.cluster.sql("CREATE USER reporting PASSWORD 'old'");
    run(&mut admin, "GRANT azure_ad_user TO reporting");
    hand_over(&scene, &mut admin, "reporting");
    attempt(&scene, "reporting", &member).expect_refused("role_not_bound");
    run(&mut admin, &of_group("reporting"));
    login(&scene, "reporting", &member);
    assert!(!password_login(&scene, "reporting", "old"));

    // A role of another name that is one user's.
    scene.cluster.sql("CREATE USER nightly IN ROLE azure_ad_user");
    hand_over(&scene, &mut admin, "nightly");
    attempt(&scene, "nightly", &member).expect_refused("role_not_bound");
    let oid = object_id("user2@contoso.com");
    run(
        &mut admin,
        &format!("SECURITY LABEL FOR pgaadauth ON ROLE nightly IS 'aadauth,oid={oid},type=user'"),
    );
    login(&scene, "nightly", &member);
    attempt(&scene, "nightly", &user("user3@contoso.com").groups(&[GROUP]))
        .expect_refused("principal_mismatch");
}

/// "Connect with Managed Identity to Azure Database for PostgreSQL – Single Server".
#[test]
fn single_servers_article_on_managed_identities() {
    let scene = Scene::start();
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &scene.token(ADMIN));

    run(&mut admin, "SET aad_validate_oids_in_tenant = off");
    run(&mut admin, &format!("CREATE ROLE myuser WITH LOGIN PASSWORD '{CLIENT_ID}' IN ROLE azure_ad_user"));
    let notices = admin.take_notices();
    assert!(notices.iter().any(|notice| notice.message.contains("is bound to the program")), "{notices:?}");

    let identity = scene.tenant.token().managed_identity(CLIENT_ID);
    login(&scene, "myuser", &identity);
    attempt(&scene, "myuser", &scene.tenant.token().app(GROUP)).expect_refused("principal_mismatch");
    attempt(&scene, "myuser", &scene.token("myuser")).expect_refused("kind_mismatch");

    // The client id is public: it never was a password, nor is it one after the role has left.
    assert_eq!(
        scene.cluster.value("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'myuser'"),
        "t"
    );
    run(&mut admin, "REVOKE azure_ad_user FROM myuser");
    assert!(!password_login(&scene, "myuser", CLIENT_ID));

    // The twins: a password that is no id is one, and so is an id where no token is meant.
    scene.cluster.sql(&format!(
        "CREATE USER plain PASSWORD '{CLIENT_ID}'; CREATE USER ann PASSWORD 'secret' IN ROLE azure_ad_user"
    ));
    assert!(password_login(&scene, "plain", CLIENT_ID));
    scene.cluster.sql("REVOKE azure_ad_user FROM ann");
    assert!(password_login(&scene, "ann", "secret"));
}

/// "Manage Microsoft Entra roles in Azure Database for PostgreSQL – Flexible Server".
#[test]
fn flexible_servers_article() {
    let scene = Scene::start();
    let user = |name: &str| scene.token(name);
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &user(ADMIN));

    // Create or delete Entra administrators; list them.
    let admins = admin.query("select * from pgaadauth_list_principals(true)").expect("a query");
    assert_eq!(admins.len(), 1);
    assert_eq!(admins[0][0].as_deref(), Some(ADMIN));

    // Create a role by name: a user's works as it is, a group's is bound by its id.
    run(&mut admin, "select * from pgaadauth_create_principal('mary@contoso.com', false, false)");
    assert!(admin.take_notices().iter().any(|notice| notice.hint.contains("_with_oid")));
    login(&scene, "mary@contoso.com", &user("mary@contoso.com"));

    // Create a role by object id.
    let made = format!(
        "select * from pgaadauth_create_principal_with_oid('accounting_application', '{CLIENT_ID}', \
         'service', false, false)"
    );
    assert_eq!(admin.value(&made).as_deref(), Some("Created role for accounting_application"));
    login(&scene, "accounting_application", &scene.tenant.token().app(CLIENT_ID));

    // Enable Entra authentication for an existing role by security labels.
    scene.cluster.sql("CREATE USER existing PASSWORD 'old'");
    hand_over(&scene, &mut admin, "existing");
    run(
        &mut admin,
        &format!(r#"SECURITY LABEL for "pgaadauth" on role "existing" is 'aadauth,oid={GROUP},type=group'"#),
    );
    login(&scene, "existing", &user("mary@contoso.com").groups(&[GROUP]));
    assert!(!password_login(&scene, "existing", "old"));

    // Remove a role.
    run(&mut admin, r#"DROP ROLE "mary@contoso.com""#);
    run(&mut admin, r#"CREATE USER "mary@contoso.com""#);
    let bound = scene.cluster.value(&format!(
        "SELECT count(*) FROM pg_auth_members WHERE roleid = 'azure_ad_user'::regrole AND member = '{}'::regrole",
        quoted("mary@contoso.com")
    ));
    assert_eq!(bound, "0", "a role made again has nothing of the former one");
}

/// What Azure grants its administrator, and what it does not.
#[test]
fn administrator_makes_databases_and_rules_over_his_predecessors_roles() {
    let scene = Scene::start();
    let set = |name: &str| {
        scene.cluster.sql(&format!("SELECT pgaad.set_admin('{name}', '{}', 'user')", object_id(name)));
        login(&scene, name, &scene.token(name))
    };
    let mut first = set("first@contoso.com");
    run(&mut first, "CREATE DATABASE sales");
    run(&mut first, "CREATE USER \"ann@contoso.com\" IN ROLE azure_ad_user");
    run(&mut first, "CREATE USER \"bob@contoso.com\" IN ROLE azure_ad_user");
    drop(first);

    let mut second = set("second@contoso.com");
    let label = |role: &str| {
        format!(
            r#"SECURITY LABEL FOR "pgaadauth" ON ROLE "{role}" IS 'aadauth,oid={},type=user'"#,
            object_id(role)
        )
    };
    run(&mut second, &label("ann@contoso.com"));
    run(&mut second, "ALTER ROLE \"ann@contoso.com\" VALID UNTIL 'infinity'");
    login(&scene, "ann@contoso.com", &scene.token("ann@contoso.com"));
    run(&mut second, "DROP ROLE \"bob@contoso.com\"");
    for forbidden in
        ["CREATE ROLE x SUPERUSER", "ALTER ROLE postgres PASSWORD 'x'", "GRANT azure_ad_user TO postgres"]
    {
        let answer = second.query(forbidden).expect_err(forbidden);
        assert_eq!(answer.sqlstate, "42501", "{forbidden}");
    }

    // The former one is a user like any other.
    let mut first = login(&scene, "first@contoso.com", &scene.token("first@contoso.com"));
    let answer = first.query("CREATE USER x IN ROLE azure_ad_user").expect_err("not an administrator");
    assert_eq!(answer.sqlstate, "42501");
}
