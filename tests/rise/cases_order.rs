//! Sequences whose single statements are harmless, and arguments that nobody should take.

use crate::play::{Play, SUPERUSER, world};

#[test]
fn entra_role_is_not_had_by_others_in_whatever_order() {
    let world = world();
    let mut play = Play::new(world);
    play.given("CREATE ROLE o2; CREATE ROLE o3");
    if !world.is_before_16() {
        play.given("GRANT o2, o3 TO root WITH ADMIN OPTION");
    }
    play.allows("root", "GRANT o2 TO plain");
    play.refuses("root", "GRANT azure_ad_user TO o2");
    play.allows("root", "REVOKE o2 FROM plain");
    play.allows("root", "GRANT azure_ad_user TO o2");
    play.refuses("root", "GRANT o2 TO plain");
    // Through a third role, from either end.
    play.refuses("root", "GRANT o2 TO o3");
    play.allows("root", "GRANT o3 TO plain");
    play.refuses("root", "GRANT o2 TO o3");
    play.refuses("root", "CREATE ROLE new IN ROLE o2");
    play.allows("root", "CREATE ROLE new IN ROLE o2, azure_ad_user");
    play.allows("root", "GRANT o2 TO ann");
    play.allows(SUPERUSER, "GRANT o2 TO o3");
}

#[test]
fn role_taken_out_of_azure_ad_user_leaves_the_entra_roles_it_was_in() {
    let mut play = Play::new(world());
    let before = play.state();
    play.allows("root", "REVOKE azure_ad_user FROM ann");
    assert!(!play.has_members("team").contains("ann"), "ann was a member");
    assert!(play.has_members("app").contains("ann"), "an app role is not Entra's");
    let after = play.state();
    assert!(before.is_entra("ann") && !after.is_entra("ann"));
    play.has_broken_nothing_since(&before);
    // The twin: a role that stays.
    drop(play);
    let mut play = Play::new(world());
    play.allows("root", "REVOKE azure_ad_mfa FROM ann");
    assert!(play.has_members("team").contains("ann"));
}

#[test]
fn label_that_is_taken_away_opens_the_role_to_nobody() {
    let mut play = Play::new(world());
    play.allows("root", "SECURITY LABEL FOR pgaadauth ON ROLE ann IS NULL");
    assert!(!play.state().is_entra("ann"), "bound by an id, and now by its name");
    // The twin: the other label still binds the role.
    drop(play);
    let mut play = Play::new(world());
    play.allows(
        "root",
        "SECURITY LABEL FOR \"pgaadauth-int\" ON ROLE team IS 'type=group,oid={team},tenant_id={ann}'",
    );
    play.allows("root", "SECURITY LABEL FOR pgaadauth ON ROLE team IS NULL");
    assert!(play.state().is_entra("team"));
    play.allows("root", "SECURITY LABEL FOR \"pgaadauth-int\" ON ROLE team IS NULL");
    assert!(!play.state().is_entra("team"));
}

#[test]
fn marker_roles_are_changed_by_superusers_only() {
    let world = world();
    for marker in ["azure_ad_user", "azure_ad_admin", "azure_ad_mfa"] {
        for statement in [
            "ALTER ROLE {} RENAME TO other",
            "ALTER ROLE {} LOGIN",
            "ALTER ROLE {} PASSWORD '{verifier}'",
            "ALTER ROLE {} SET work_mem = '8MB'",
            "ALTER ROLE {} CONNECTION LIMIT 3",
            "DROP ROLE IF EXISTS {}",
            "GRANT app TO {}",
        ] {
            let statement = statement.replace("{}", marker);
            let mut play = Play::new(world);
            for who in ["root", "maker", "former", "plain"] {
                play.refuses_somehow(who, &statement);
            }
            let refused = play.run(SUPERUSER, &statement);
            // Members and grants of its own keep core from dropping it.
            let is_core = refused.as_ref().is_err_and(|answer| answer.sqlstate == "2BP01");
            assert!(refused.is_ok() || is_core, "{statement}: {refused:?}");
        }
    }
    Play::new(world).allows("maker", "GRANT app TO plain");
}

#[test]
fn arguments_that_mean_another_role_are_errors() {
    let mut play = Play::new(world());
    let long = "x".repeat(64);
    for call in [
        "pgaad.set_admin('postgres', '{mallory}', 'user')".to_owned(),
        "pgaad.set_admin('su', '{mallory}', 'user')".to_owned(),
        "pgaad.set_admin(NULL, '{mallory}', 'user')".to_owned(),
        "pgaad.set_admin('heir', NULL, 'user')".to_owned(),
        "pgaad.set_admin('heir', '{mallory}', NULL)".to_owned(),
        "pgaad.set_admin('heir', '{mallory}', 'user,admin')".to_owned(),
        format!("pgaad.set_admin('{long}', '{{mallory}}', 'user')"),
        format!("pgaadauth_create_principal('{long}', false, false)"),
        format!("pgaadauth_create_principal_with_oid('{long}', '{{mallory}}', 'user', false, false)"),
        format!("pgaadauth_update_principal_with_oid('{long}', '{{mallory}}', 'user', false, false)"),
        "pgaadauth_create_principal_with_oid('new', '{mallory}', 'user,admin', false, false)".to_owned(),
        "pgaadauth_update_principal_with_oid('ann', '{mallory}', 'user,admin', false, false)".to_owned(),
        "pgaadauth_update_principal_with_oid('ann', '{mallory},admin', 'user', false, false)".to_owned(),
    ] {
        let result = play.run(SUPERUSER, &format!("SELECT {call}"));
        let answer = result.expect_err(&call);
        assert!(!["42883", "XX000"].contains(&answer.sqlstate.as_str()), "{call}: {answer:?}");
    }
    let fits = "x".repeat(63);
    play.given(&format!("SELECT pgaadauth_create_principal('{fits}', false, false)"));
    play.given("SELECT pgaadauth_update_principal_with_oid('ann', '{mallory}', 'user', false, false)");
    play.given("CREATE ROLE successor; SELECT pgaad.set_admin('successor', '{mallory}', 'user')");
}

#[test]
fn what_a_role_owns_does_not_carry_the_rights_of_another() {
    let world = world();
    for (who, statement) in [
        ("maker", "DROP OWNED BY CURRENT_USER"),
        ("root", "DROP OWNED BY CURRENT_USER"),
        ("former", "DROP OWNED BY CURRENT_USER CASCADE"),
        ("maker", "REASSIGN OWNED BY CURRENT_USER TO made"),
    ] {
        let mut play = Play::new(world);
        let before = play.state();
        let _ = play.run(who, statement);
        play.has_broken_nothing_since(&before);
        let after = play.state();
        let entra = |state: &crate::state::State| {
            state.roles.keys().filter(|id| state.is_entra(id)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(entra(&before), entra(&after), "{who}: {statement}");
    }
}
