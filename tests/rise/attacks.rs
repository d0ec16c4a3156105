//! Holes that an attacker found, with the statement that used each and one like it that is allowed.

use crate::play::{Play, SUPERUSER, world};
use pgaad_tests::process::peak_memory_kb;
use pgaad_tests::wire::Answer;

/// How many names each list of a GRANT has. Their product would be the server's memory.
pub const NAMES: usize = 20_000;

/// What a statement may add to the memory of its server process, in kilobytes.
pub const ADDED_MEMORY_KB: u64 = 300_000;

pub fn names(name: &str, count: usize) -> String {
    vec![name; count].join(", ")
}

/// Runs statements, and returns by how much they have added to the most memory that the server process has had.
pub fn added_memory_kb<'a>(play: &mut Play<'a>, run: impl FnOnce(&mut Play<'a>)) -> u64 {
    let before = peak_memory_kb(play.backend_pid());
    run(play);
    peak_memory_kb(play.backend_pid()) - before
}

#[test]
fn grant_of_two_long_lists_is_answered_by_core_in_little_memory() {
    let mut play = Play::new(world());
    // The twin: short lists.
    let short = play.run("plain", "GRANT nosuch TO nobody").expect_err("no such roles");
    let added = added_memory_kb(&mut play, |play| {
        for granted in ["nosuch", "app"] {
            let long = format!("GRANT {} TO {}", names(granted, NAMES), names("nobody", NAMES));
            let answer = play.run("plain", &long).expect_err("no such roles");
            assert_eq!((&answer.sqlstate, &answer.message), (&short.sqlstate, &short.message));
        }
    });
    assert!(added < ADDED_MEMORY_KB, "{added} kB");
}

#[test]
fn long_lists_about_azure_ad_user_are_refused_to_others_in_little_memory() {
    let mut play = Play::new(world());
    let (markers, members) = (names("azure_ad_user", NAMES), names("app", NAMES));
    let added = added_memory_kb(&mut play, |play| {
        play.refuses_somehow("plain", &format!("GRANT {markers} TO {members}"));
        play.refuses_somehow("plain", &format!("REVOKE {markers} FROM {members}"));
    });
    assert!(added < ADDED_MEMORY_KB, "{added} kB");
}

#[test]
fn superuser_enables_a_thousand_roles_by_one_statement_in_little_memory() {
    let mut play = Play::new(world());
    play.given("DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE ROLE many%s', i); END LOOP; END $$");
    let list = (1..=1000).map(|i| format!("many{i}")).collect::<Vec<_>>().join(", ");
    let members = "SELECT count(*)::text FROM pg_auth_members
                   WHERE roleid = 'azure_ad_user'::regrole AND member::regrole::text LIKE 'many%'";
    let added = added_memory_kb(&mut play, |play| {
        play.given(&format!("GRANT azure_ad_user TO {list}"));
        assert_eq!(play.value(members), "1000");
        play.given(&format!("REVOKE azure_ad_user FROM {list}"));
        assert_eq!(play.value(members), "0");
    });
    // A copy of the list for each of its names would be more.
    assert!(added < ADDED_MEMORY_KB / 4, "{added} kB");
}

#[test]
fn members_among_the_options_hide_no_other_option_of_an_alter_role() {
    let world = world();
    let mut play = Play::new(world);
    play.given(
        "CREATE ROLE etl LOGIN IN ROLE pg_execute_server_program; CREATE ROLE helper; GRANT etl TO helper;
         CREATE ROLE deputy LOGIN; GRANT localdba TO deputy;
         CREATE ROLE harmless LOGIN; GRANT harmless TO helper",
    );
    if !world.is_before_16() {
        play.given("GRANT etl, localdba, harmless TO maker WITH ADMIN TRUE, INHERIT FALSE, SET FALSE");
    }
    for change in ["PASSWORD 'x'", "CREATEDB VALID UNTIL 'infinity'", "NOLOGIN"] {
        for order in [format!("{change} USER deputy"), format!("USER deputy {change}")] {
            play.refuses("maker", &format!("ALTER ROLE localdba {order}"));
        }
        if world.is_before_16() {
            for order in [format!("{change} USER helper"), format!("USER helper {change}")] {
                play.refuses("maker", &format!("ALTER ROLE etl {order}"));
            }
        }
        play.allows("maker", &format!("ALTER ROLE harmless {change} USER helper"));
        play.allows(SUPERUSER, &format!("ALTER ROLE etl {change} USER helper"));
    }
}

#[test]
fn marker_role_is_not_altered_by_a_statement_that_also_names_members() {
    let mut play = Play::new(world());
    for who in ["maker", "root", "plain"] {
        for change in ["NOLOGIN USER ann", "USER ann NOLOGIN", "USER plain LOGIN", "PASSWORD 'x' USER ann"] {
            play.refuses_somehow(who, &format!("ALTER ROLE azure_ad_user {change}"));
        }
    }
    // The twins: members alone, and a superuser, whose statement does what it does in core.
    play.allows("root", "ALTER GROUP azure_ad_user ADD USER plain");
    play.allows("root", "ALTER GROUP azure_ad_user DROP USER plain");
    play.given("ALTER ROLE azure_ad_user NOLOGIN CONNECTION LIMIT 7 USER ann, plain");
    assert!(play.has_members("azure_ad_user").contains("plain"));
    let attributes = "SELECT rolcanlogin::text || rolconnlimit FROM pg_roles WHERE rolname = 'azure_ad_user'";
    assert_eq!(play.value(attributes), "false7");
}

/// Each of these gives the role's rights away.
pub const OF_AN_ADMINISTRATOR: [&str; 8] = [
    "GRANT {} TO CURRENT_USER",
    "GRANT {} TO team",
    "ALTER GROUP {} ADD USER team",
    "ALTER ROLE {} PASSWORD 'x'",
    "ALTER ROLE {} SET search_path = evil",
    "ALTER ROLE {} PASSWORD 'x' USER team",
    "ALTER ROLE {} RENAME TO \"eve@example.com\"",
    "SECURITY LABEL FOR pgaadauth ON ROLE {} IS 'aadauth,oid={mallory},type=user'",
];

pub fn about(statement: &str, role: &str) -> String {
    statement.replace("{}", &format!("\"{role}\""))
}

#[test]
fn administrator_has_no_power_over_an_entra_role_that_has_got_power_over_the_server() {
    let world = world();
    for power in ["su", "pg_execute_server_program", "pg_write_all_data", "backup", "azure_pg_admin"] {
        let mut play = Play::new(world);
        if power == "azure_pg_admin" {
            play.given("SELECT pgaad.make_azure_roles()");
        }
        play.given("CREATE ROLE \"eva@example.com\" LOGIN IN ROLE azure_ad_user");
        play.set_admin("root").expect("a superuser may repeat it");
        for statement in OF_AN_ADMINISTRATOR {
            // The twin: the same role before, on which the office has the ADMIN OPTION.
            play.allows_and_undoes("root", &about(statement, "eva@example.com"));
        }
        play.given(&format!("GRANT {power} TO \"eva@example.com\""));
        for statement in OF_AN_ADMINISTRATOR {
            play.refuses_somehow("root", &about(statement, "eva@example.com"));
        }
        // Neither does it come back when the superuser repeats what made the administrator.
        play.set_admin("root").expect("a superuser may repeat it");
        for statement in OF_AN_ADMINISTRATOR {
            play.refuses_somehow("root", &about(statement, "eva@example.com"));
        }
    }
}

#[test]
fn holder_of_the_admin_option_with_the_roles_rights_still_grants_a_role_with_power() {
    let world = world();
    let mut play = Play::new(world);
    play.given("GRANT pg_execute_server_program TO \"bob@example.com\"");
    // Core leaves the other options of a membership that is there as they are.
    let options = if world.is_before_16() { "ADMIN OPTION" } else { "ADMIN TRUE, INHERIT TRUE, SET TRUE" };
    for who in ["root", "ann"] {
        play.refuses_somehow(who, "GRANT \"bob@example.com\" TO team");
        play.given(&format!("GRANT \"bob@example.com\" TO {who} WITH {options}"));
        play.allows_and_undoes(who, "GRANT \"bob@example.com\" TO team");
    }
}

/// What `pgaadauth_update_principal_with_oid` says when it is to make a role an administrator.
fn make_administrator(play: &mut Play<'_>, role: &str) -> Result<(), Answer> {
    play.run(
        SUPERUSER,
        &format!("SELECT pgaadauth_update_principal_with_oid('{role}', '{{plain}}', 'user', true, false)"),
    )
}

#[test]
fn update_of_a_principal_makes_no_administrator_whom_set_admin_refuses() {
    let world = world();
    let mut play = Play::new(world);
    play.given("CREATE ROLE had; GRANT had TO plain; CREATE ROLE free LOGIN; CREATE ROLE also_free LOGIN");
    for role in ["had", "su", "su2", "repl", "bypass", "pg_monitor"] {
        let answer = make_administrator(&mut play, role).expect_err(role);
        assert!(["22023", "55000"].contains(&answer.sqlstate.as_str()), "{role}: {answer}");
        assert!(answer.message.contains(role) || answer.message.contains("has member"), "{role}: {answer}");
        assert!(!play.has_members("azure_ad_admin").split(',').any(|member| member == role), "{role}");
    }
    // The twins.
    make_administrator(&mut play, "free").expect("a superuser may");
    assert!(play.has_members("azure_ad_admin").split(',').any(|member| member == "free"));
    play.refuses_somehow(
        "root",
        "SELECT pgaadauth_update_principal_with_oid('also_free', '{plain}', 'user', true, false)",
    );
}

#[test]
fn label_that_a_superuser_puts_on_a_role_warns_of_who_comes_along() {
    let mut play = Play::new(world());
    play.given("CREATE ROLE team2 ROLE ann");
    for (role, words) in [("dbagroup", "is not one"), ("su", "is a superuser"), ("repl", "has REPLICATION")] {
        let label =
            format!("SECURITY LABEL FOR pgaadauth ON ROLE {role} IS 'aadauth,oid={{team}},type=group'");
        let warnings = play.warnings(&label);
        assert!(warnings.iter().any(|warning| warning.message.contains(words)), "{role}: {warnings:?}");
    }
    // The twin: a role whose members are Entra roles.
    let label = "SECURITY LABEL FOR pgaadauth ON ROLE team2 IS 'aadauth,oid={team},type=group'";
    assert_eq!(play.warnings(label), []);
}

#[test]
fn administrator_does_not_lift_multi_factor_authentication_from_themselves() {
    let mut play = Play::new(world());
    play.given("GRANT azure_ad_mfa TO root, ann, localdba");
    for statement in [
        "REVOKE azure_ad_mfa FROM root",
        "REVOKE azure_ad_mfa FROM CURRENT_USER",
        "REVOKE azure_ad_mfa FROM ann, root",
        "REVOKE azure_ad_mfa FROM localdba",
        "ALTER GROUP azure_ad_mfa DROP USER root",
        "DO $$ BEGIN REVOKE azure_ad_mfa FROM root; END $$",
    ] {
        play.refuses("root", statement);
    }
    assert!(play.has_members("azure_ad_mfa").contains("root"));
    // The twins: another's, asking for more, and a superuser.
    play.allows("root", "REVOKE azure_ad_mfa FROM ann");
    play.allows(SUPERUSER, "REVOKE azure_ad_mfa FROM root");
    play.allows("root", "GRANT azure_ad_mfa TO CURRENT_USER");
}
