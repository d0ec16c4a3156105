//! The article on Single Server once more, where the directory is there to ask: as on Azure, names mean ids, and tokens
//! of Azure's own audience, which tell no groups, open the groups' roles.

use pgaad_tests::directory;
use pgaad_tests::scene::quoted;
use tenant::object_id;

use super::{ADMIN, CLIENT_ID, attempt, hand_over, login, password_login, run};

const GUEST: &str = "bob@fabrikam.com";
const GUEST_NAME: &str = "bob_fabrikam.com#EXT#@contoso.com";
const READERS: &str = "Prod DB Readonly";

#[test]
fn single_servers_article_with_a_directory() {
    let scene = directory::scene_with(|cluster| cluster);
    {
        let mut directory = scene.tenant.directory();
        for user in
            ["user1@contoso.com", "o'neil smith@contoso.com", "existing@contoso.com", "user3@contoso.com"]
        {
            directory.add_user(user);
        }
        let member = directory.add_user("user2@contoso.com");
        directory.add_guest(GUEST, GUEST_NAME);
        directory.add_group(READERS, &[&member]);
        directory.add_group("reporting", &[&member]);
        directory.add_program(CLIENT_ID, "myuser");
    }
    let user = |name: &str| scene.token(name);
    let refresh = || assert_eq!(scene.cluster.value("SELECT pgaad.refresh_directory()"), "t");
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &user(ADMIN));

    // Creating Entra users, guests too.
    run(&mut admin, r#"CREATE USER "user1@contoso.com" IN ROLE azure_ad_user"#);
    run(&mut admin, r#"CREATE ROLE "o'neil smith@contoso.com" WITH LOGIN IN ROLE azure_ad_user"#);
    run(&mut admin, &format!("CREATE USER {} IN ROLE azure_ad_user", quoted(GUEST_NAME)));
    for name in ["user1@contoso.com", "o'neil smith@contoso.com"] {
        login(&scene, name, &user(name));
        attempt(&scene, name, &user("user2@contoso.com")).expect_refused("principal_mismatch");
    }
    login(&scene, GUEST_NAME, &scene.tenant.token().guest(GUEST));

    // Creating an Entra group: by the function that looks up groups.
    run(&mut admin, &format!("SELECT pgaadauth_create_principal('{READERS}', false, false)"));
    refresh();
    login(&scene, READERS, &user("user2@contoso.com"));
    attempt(&scene, READERS, &user("user3@contoso.com")).expect_refused("not_in_group");

    // Migrating existing users, case 1: the name is that of the Entra user.
    scene.cluster.sql(r#"CREATE USER "existing@contoso.com" PASSWORD 'old'"#);
    run(&mut admin, r#"GRANT azure_ad_user TO "existing@contoso.com""#);
    login(&scene, "existing@contoso.com", &user("existing@contoso.com"));
    assert!(!password_login(&scene, "existing@contoso.com", "old"));
    run(&mut admin, r#"REVOKE azure_ad_user FROM "existing@contoso.com""#);
    assert!(password_login(&scene, "existing@contoso.com", "old"), "the password is what it was");
    run(&mut admin, r#"GRANT azure_ad_user TO "existing@contoso.com""#);
    login(&scene, "existing@contoso.com", &user("existing@contoso.com"));

    // Case 2: a group of the role's name. GRANT looks no group up, since anybody may make one of any name.
    scene.cluster.sql("CREATE USER reporting PASSWORD 'old'");
    run(&mut admin, "GRANT azure_ad_user TO reporting");
    attempt(&scene, "reporting", &user("user2@contoso.com")).expect_refused("role_not_bound");
    hand_over(&scene, &mut admin, "reporting");
    let group = scene.tenant.directory().group_named("reporting");
    run(
        &mut admin,
        &format!("SECURITY LABEL FOR pgaadauth ON ROLE reporting IS 'aadauth,oid={group},type=group'"),
    );
    refresh();
    login(&scene, "reporting", &user("user2@contoso.com"));
    assert!(!password_login(&scene, "reporting", "old"));

    // A managed identity, whose id is validated unless that is switched off.
    run(&mut admin, &format!("CREATE ROLE myuser WITH LOGIN PASSWORD '{CLIENT_ID}' IN ROLE azure_ad_user"));
    login(&scene, "myuser", &scene.tenant.token().managed_identity(CLIENT_ID));
    let other = object_id("no program");
    let unknown = format!("CREATE ROLE other WITH LOGIN PASSWORD '{other}' IN ROLE azure_ad_user");
    assert_eq!(admin.query(&unknown).expect_err("nobody has that id").sqlstate, "42704");
    run(&mut admin, &format!("SET aad_validate_oids_in_tenant = off; {unknown}"));
}
