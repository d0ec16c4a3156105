//! The ways to rise that were found, each beside a statement like it that is allowed.

use crate::play::{Play, SUPERUSER, world};
use crate::rules::SERVER_ROLES;
use crate::world::{OF_THE_HOLDER_FROM_16_ON, World};

/// The ADMIN OPTION alone, which before 16 nobody can have without the role's rights.
fn admin_option_alone(world: &World, role: &str, holder: &str) -> String {
    let options =
        if world.is_before_16() { "WITH ADMIN OPTION" } else { "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE" };
    format!("GRANT {role} TO {holder} {options}")
}

#[test]
fn holder_of_the_admin_option_on_the_administrator_does_not_grant_the_office() {
    let world = world();
    let mut play = Play::new(world);
    let who = if world.is_before_16() { "maker" } else { "holder" };
    if !world.is_before_16() {
        play.given(OF_THE_HOLDER_FROM_16_ON);
    }
    for statement in [
        "GRANT root TO CURRENT_USER",
        "GRANT root TO plain",
        "GRANT app, root TO plain",
        "ALTER GROUP root ADD USER CURRENT_USER",
        "DO $$ BEGIN GRANT root TO CURRENT_USER; END $$",
    ] {
        play.refuses(who, statement);
    }
    if world.is_before_16() {
        for statement in
            ["CREATE ROLE new IN ROLE root", "CREATE ROLE new IN ROLE app, root ROLE CURRENT_USER"]
        {
            play.refuses(who, statement);
        }
        play.allows(who, "CREATE ROLE h CREATEROLE ROLE CURRENT_USER");
        play.refuses(who, "SET ROLE h; GRANT root TO maker");
    }
    // The twins: what is not about the office, and a superuser.
    play.allows(who, "GRANT app TO plain");
    play.allows(SUPERUSER, "GRANT root TO plain");
}

#[test]
fn local_role_that_holds_the_office_is_not_granted() {
    let world = world();
    let mut play = Play::new(world);
    if world.is_before_16() {
        play.refuses("maker", "GRANT office TO CURRENT_USER");
        play.refuses("maker", "GRANT localdba TO CURRENT_USER");
        play.refuses("maker", "CREATE ROLE new IN ROLE office");
        play.allows("maker", "GRANT heir TO o1");
    }
    play.given(&admin_option_alone(world, "localdba", "holder"));
    play.refuses("holder", "GRANT localdba TO plain");
    play.given("GRANT localdba TO root WITH ADMIN OPTION");
    play.refuses("root", "GRANT localdba TO ann");
    play.allows("holder", "GRANT app TO plain");
    play.allows(SUPERUSER, "GRANT office TO plain");
}

#[test]
fn maker_of_the_role_that_becomes_administrator_does_not_have_the_office() {
    let world = world();
    for role in ["made", "heir"] {
        let (mut play, maker) = (Play::new(world), if role == "made" { "maker" } else { "holder" });
        let before = play.state();
        // The superuser may be told to take the ADMIN OPTION away first.
        if play.set_admin(role).is_ok() {
            play.refuses_somehow(maker, &format!("GRANT {role} TO CURRENT_USER; SET ROLE {role}"));
            let admins = play.state().who_reaches("azure_ad_admin").contains(maker);
            assert!(!admins, "{maker} has the rights of {role}");
            assert!(!before.who_reaches("azure_ad_admin").contains(maker));
        }
    }
    // The twin: a role that is nobody's.
    let mut play = Play::new(world);
    play.given("CREATE ROLE successor LOGIN");
    play.set_admin("successor").expect("a superuser may");
    assert!(play.state().who_reaches("azure_ad_admin").iter().any(|role| role.starts_with('+')));
}

#[test]
fn replaced_administrator_does_not_take_the_office_back() {
    let world = world();
    let mut play = Play::new(world);
    for statement in [
        "GRANT root TO CURRENT_USER",
        "SECURITY LABEL FOR pgaadauth ON ROLE root IS 'aadauth,oid={mallory},type=user'",
        "SECURITY LABEL FOR pgaadauth ON ROLE former IS 'aadauth,oid={mallory},type=user,admin'",
        "ALTER ROLE root RENAME TO toor",
        "GRANT azure_ad_admin TO CURRENT_USER",
        "GRANT azure_ad_user TO groundwork",
    ] {
        play.refuses_somehow("former", statement);
    }
    let attributes =
        play.value("SELECT rolcreaterole::text || rolcreatedb FROM pg_roles WHERE rolname = 'former'");
    assert_eq!(attributes, "falsefalse", "the office's attributes");
    play.allows("root", "GRANT azure_ad_user TO plain");
}

#[test]
fn role_bound_by_its_name_is_renamed_by_those_who_may_label_it_only() {
    let world = world();
    let mut play = Play::new(world);
    if !world.is_before_16() {
        for role in ["ann", "app", "\"bob@example.com\""] {
            play.given(&admin_option_alone(world, role, "maker"));
        }
    }
    play.refuses("maker", "ALTER ROLE \"bob@example.com\" RENAME TO \"boris@example.com\"");
    play.refuses("maker", "ALTER USER \"bob@example.com\" RENAME TO azure");
    play.refuses("maker", "DO $$ BEGIN ALTER ROLE \"bob@example.com\" RENAME TO x; END $$");
    // The twins: a role that is bound by an id, one that is no Entra role, and who may label.
    play.allows("maker", "ALTER ROLE ann RENAME TO anna");
    play.allows("maker", "ALTER ROLE app RENAME TO application");
    play.allows(SUPERUSER, "ALTER ROLE \"mallory@example.com\" RENAME TO \"mal@example.com\"");
    play.allows("root", "ALTER ROLE \"bob@example.com\" RENAME TO \"boris@example.com\"");
}

#[test]
fn administrator_puts_no_role_of_the_servers_into_azure_ad_user() {
    let world = world();
    let mut play = Play::new(world);
    for role in SERVER_ROLES.into_iter().chain(["pg_monitor", "repl", "bypass", "su2"]) {
        play.refuses("root", &format!("GRANT azure_ad_user TO {role}"));
        play.refuses("root", &format!("ALTER GROUP azure_ad_user ADD USER {role}"));
        play.refuses_somehow("root", &format!("SECURITY LABEL FOR pgaadauth ON ROLE {role} IS 'aadauth'"));
    }
    play.refuses_somehow("root", "CREATE ROLE new REPLICATION IN ROLE azure_ad_user");
    play.allows("root", "GRANT azure_ad_user TO plain");
    play.allows("root", "CREATE ROLE new IN ROLE azure_ad_user");
    // What a superuser may, with a warning.
    play.allows(SUPERUSER, "GRANT azure_ad_user TO repl");
}

#[test]
fn administrator_rules_over_no_role_because_they_enabled_it() {
    let world = world();
    if world.is_before_16() {
        return; // CREATEROLE rules over every role there, with and without pgaad.
    }
    let mut play = Play::new(world);
    for role in ["dbowner", "monitor", "plain"] {
        play.allows("root", &format!("GRANT azure_ad_user TO {role}"));
        play.refuses_somehow("root", &format!("GRANT {role} TO CURRENT_USER"));
    }
    let before = play.state();
    play.set_admin("root").expect("a superuser may repeat it");
    play.has_broken_nothing_since(&before);
    for role in ["dbowner", "monitor", "plain"] {
        play.refuses_somehow("root", &format!("GRANT {role} TO CURRENT_USER; SET ROLE {role}"));
    }
    // The twin: what they made themselves.
    play.allows("root", "CREATE ROLE \"zoe@example.com\" LOGIN IN ROLE azure_ad_user");
    play.allows("root", "GRANT \"zoe@example.com\" TO CURRENT_USER");
}

#[test]
fn role_with_members_that_are_no_entra_roles_becomes_none() {
    let world = world();
    let mut play = Play::new(world);
    play.given(
        "CREATE ROLE team2 ROLE ann; CREATE ROLE mixed ROLE ann, plain; GRANT app TO root WITH ADMIN OPTION",
    );
    for statement in [
        "GRANT azure_ad_user TO dbagroup",
        "GRANT azure_ad_user TO mixed",
        "GRANT azure_ad_user, app TO mixed",
        "ALTER GROUP azure_ad_user ADD USER dbagroup",
        "CREATE ROLE new IN ROLE azure_ad_user ROLE plain",
        "DO $$ BEGIN GRANT azure_ad_user TO dbagroup; END $$",
    ] {
        play.refuses("root", statement);
    }
    for statement in [
        "SECURITY LABEL FOR pgaadauth ON ROLE dbagroup IS 'aadauth,oid={team},type=group'",
        "SELECT pgaadauth_update_principal_with_oid('mixed', '{team}', 'group', false, false)",
    ] {
        play.refuses_somehow("root", statement);
    }
    play.allows("root", "GRANT azure_ad_user TO team2");
    play.allows("root", "CREATE ROLE new IN ROLE azure_ad_user ROLE ann");
    play.allows("root", "GRANT azure_ad_user TO plain; GRANT azure_ad_user TO mixed");
}

#[test]
fn holder_of_the_admin_option_alone_matches_the_group_and_counts_as_a_member() {
    let world = world();
    let mut play = Play::new(world);
    // `made` has no member but its maker's ADMIN OPTION, which exists from 16 on.
    if world.is_before_16() {
        play.allows("root", "GRANT azure_ad_user TO made");
    } else {
        play.refuses("root", "GRANT azure_ad_user TO made");
        play.given("REVOKE made FROM maker");
        play.allows("root", "GRANT azure_ad_user TO made");
    }
}

#[test]
fn administrator_who_hides_their_labels_is_found_and_replaced() {
    let world = world();
    for author in ["root", SUPERUSER] {
        let mut play = Play::new(world);
        for statement in [
            "SECURITY LABEL FOR \"pgaadauth-int\" ON ROLE root IS 'type=user,oid={mallory},tenant_id={team},admin'",
            "SECURITY LABEL FOR pgaadauth ON ROLE root IS NULL",
        ] {
            let _ = play.run(author, statement);
        }
        let list = "SELECT count(*)::text FROM pgaadauth_list_principals(true) WHERE rolename = 'root'";
        let is_admin = play.has_members("azure_ad_admin").split(',').any(|member| member == "root");
        assert!(!is_admin || play.value(list) == "1", "{author}: an administrator that nobody sees");
        play.given("CREATE ROLE successor LOGIN");
        play.set_admin("successor").expect("a superuser may");
        let members = play.has_members("azure_ad_admin");
        assert!(!members.split(',').any(|member| member == "root"), "{author}: {members}");
        let left =
            play.value("SELECT rolcreaterole::text || rolcreatedb FROM pg_roles WHERE rolname = 'root'");
        assert_eq!(left, "falsefalse", "{author}: what the office gave");
        let label = "SELECT count(*)::text FROM pg_shseclabel WHERE objoid = 'root'::regrole AND label LIKE '%,admin%'";
        assert_eq!(play.value(label), "0", "{author}");
    }
}

#[test]
fn roles_of_the_server_are_granted_by_superusers_and_holders_of_the_admin_option() {
    let world = world();
    let mut play = Play::new(world);
    for role in SERVER_ROLES {
        for who in ["root", "maker"] {
            for statement in [
                format!("GRANT {role} TO CURRENT_USER"),
                format!("GRANT {role}, app TO plain"),
                format!("CREATE ROLE new IN ROLE {role} ROLE CURRENT_USER"),
            ] {
                play.refuses_or_core_does(who, &statement);
            }
        }
    }
    play.allows("maker", "CREATE ROLE h CREATEROLE");
    play.run("maker", "GRANT h TO CURRENT_USER").expect("their own role");
    play.refuses_or_core_does("maker", "SET ROLE h; GRANT pg_execute_server_program TO maker");
    // The twins.
    play.given("GRANT pg_write_server_files TO holder WITH ADMIN OPTION");
    play.allows("holder", "GRANT pg_write_server_files TO plain");
    play.allows(SUPERUSER, "GRANT pg_execute_server_program TO plain");
    if world.is_before_16() {
        play.allows("maker", "GRANT pg_read_all_settings TO plain");
    }
}

/// A role is had by its password and by the settings of its sessions, too, where core lets others change these.
#[test]
fn role_that_reaches_the_office_or_the_server_is_not_altered_by_others() {
    let world = world();
    let mut play = Play::new(world);
    play.given("CREATE ROLE etl LOGIN IN ROLE pg_execute_server_program; CREATE ROLE harmless LOGIN");
    if !world.is_before_16() {
        play.given(
            "GRANT localdba, harmless TO maker WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
             GRANT localdba, harmless TO root WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        );
    }
    for who in ["maker", "root"] {
        for change in ["PASSWORD 'x'", "SET search_path = evil", "RENAME TO other", "VALID UNTIL 'infinity'"]
        {
            play.refuses(who, &format!("ALTER ROLE localdba {change}"));
            play.refuses_or_core_does(who, &format!("ALTER ROLE etl {change}"));
            play.allows(who, &format!("ALTER ROLE harmless {change}"));
            if change.starts_with("RENAME") {
                play.given("ALTER ROLE other RENAME TO harmless");
            }
        }
    }
    play.allows("localdba", "ALTER ROLE CURRENT_USER PASSWORD 'x'");
}
