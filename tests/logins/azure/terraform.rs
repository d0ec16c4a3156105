//! The statements of Terraform's `cyrilgdn/postgresql` provider, in its transactions and in its order, with its
//! temporary grants (its `resource_postgresql_role.go`, `helpers.go`): made, read back, changed, destroyed, twice.

use super::{ADMIN, login, run};
use pgaad_tests::Scene;
use pgaad_tests::wire::{Outcome, Session};
use tenant::object_id;

const ROLE: &str = "ann@contoso.com";

fn transaction(session: &mut Session, statements: &[String]) {
    run(session, "BEGIN READ WRITE");
    statements.iter().for_each(|statement| run(session, statement));
    run(session, "COMMIT");
}

/// `roles`, as the provider reads it back: what differs from the configuration is drift.
fn roles(session: &mut Session) -> String {
    let read = format!(
        "SELECT coalesce(string_agg(pg_get_userbyid(roleid), ',' ORDER BY 1), '')
         FROM pg_catalog.pg_auth_members members WHERE member = to_regrole('\"{ROLE}\"')"
    );
    session.value(&read).expect("a row")
}

/// A change of an attribute: all memberships are revoked, and those of the configuration granted.
fn change(session: &mut Session, statement: &str, configured: &[&str]) {
    let granted = roles(session);
    let revoke = granted.split(',').filter(|role| !role.is_empty());
    let mut statements = vec![statement.to_owned()];
    statements.extend(revoke.map(|role| format!("REVOKE \"{role}\" FROM \"{ROLE}\"")));
    statements.extend(configured.iter().map(|role| format!("GRANT \"{role}\" TO \"{ROLE}\"")));
    statements.push(format!("ALTER ROLE \"{ROLE}\" SET search_path TO DEFAULT"));
    transaction(session, &statements);
}

fn destroy(session: &mut Session, owner: &str, is_superuser: bool) {
    let temporary = |statement: &str| {
        (!is_superuser).then(|| statement.replace("ROLE", ROLE).replace("OWNER", owner)).into_iter()
    };
    let mut statements = Vec::new();
    statements.extend(temporary("GRANT \"ROLE\" TO \"OWNER\""));
    statements.push(format!("REASSIGN OWNED BY \"{ROLE}\" TO \"{owner}\""));
    statements.push(format!("DROP OWNED BY \"{ROLE}\""));
    statements.extend(temporary("REVOKE \"ROLE\" FROM \"OWNER\""));
    statements.push(format!("DROP ROLE \"{ROLE}\""));
    transaction(session, &statements);
}

#[test]
fn a_role_and_its_label_are_made_changed_and_destroyed_without_drift() {
    let scene = Scene::start();
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &scene.token(ADMIN));
    let login_of_superuser = scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"");
    let Outcome::Accepted(mut superuser) = login_of_superuser.outcome else { panic!("no superuser") };
    let attempt = || scene.attempt(scene.route(), ROLE);
    let label = format!(
        "SECURITY LABEL FOR \"pgaadauth\" ON ROLE \"{ROLE}\" IS 'aadauth,oid={},type=user'",
        object_id(ROLE)
    );
    for (session, owner, is_superuser) in [(&mut admin, ADMIN, false), (&mut superuser, "postgres", true)] {
        for _ in 0..2 {
            // `roles = ["azure_ad_user"]`, and a label by `postgresql_security_label`.
            let create = format!("CREATE ROLE \"{ROLE}\" WITH NOCREATEDB NOCREATEROLE LOGIN");
            let path = format!("ALTER ROLE \"{ROLE}\" SET search_path TO DEFAULT");
            transaction(session, &[create, format!("GRANT \"azure_ad_user\" TO \"{ROLE}\""), path]);
            transaction(session, std::slice::from_ref(&label));
            assert_eq!(roles(session), "azure_ad_user");
            attempt().expect_admitted();
            for limit in [7, -1] {
                let statement = format!("ALTER ROLE \"{ROLE}\" CONNECTION LIMIT {limit}");
                change(session, &statement, &["azure_ad_user"]);
                assert_eq!(roles(session), "azure_ad_user", "no drift");
                attempt().expect_admitted();
            }
            // Without that line the next change takes the membership away, which the label has brought.
            change(session, &format!("ALTER ROLE \"{ROLE}\" CONNECTION LIMIT 7"), &[]);
            attempt().expect_refused("role_not_member");
            destroy(session, owner, is_superuser);
            let left = format!("SELECT count(*) FROM pg_shseclabel WHERE label LIKE '%{}%'", object_id(ROLE));
            assert_eq!(session.value(&left).as_deref(), Some("0"));
            assert_eq!(
                session.value("SELECT to_regrole('\"ann@contoso.com\"') IS NULL").as_deref(),
                Some("t")
            );
        }
    }
}

/// A role that is a member of another Entra role: the provider grants in an order of its own.
#[test]
fn memberships_in_other_entra_roles_come_after_the_one_in_azure_ad_user() {
    let scene = Scene::start();
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &scene.token(ADMIN));
    run(&mut admin, "CREATE ROLE readers LOGIN IN ROLE azure_ad_user");
    run(&mut admin, &format!("CREATE ROLE \"{ROLE}\" LOGIN"));
    let answer = admin.query(&format!("GRANT readers TO \"{ROLE}\"")).expect_err("it is no Entra role yet");
    assert_eq!(answer.sqlstate, "42501", "{answer}");
    // `postgresql_grant_role`, with `depends_on`: each revokes first, and then grants.
    for role in ["azure_ad_user", "readers"] {
        let statements = ["REVOKE", "GRANT"].map(|verb| {
            let preposition = if verb == "GRANT" { "TO" } else { "FROM" };
            format!("{verb} \"{role}\" {preposition} \"{ROLE}\"")
        });
        transaction(&mut admin, &statements);
    }
    assert_eq!(roles(&mut admin), "azure_ad_user,readers");
    scene.attempt(scene.route(), ROLE).expect_admitted();
}
