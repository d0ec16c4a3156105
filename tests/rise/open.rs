//! Holes in the guard of roles that are known and open.

use crate::attacks::{ADDED_MEMORY_KB, NAMES, OF_AN_ADMINISTRATOR, about, added_memory_kb, names};
use crate::play::{Play, world};
use crate::replaced::kept;

#[test]
fn administrators_long_lists_about_azure_ad_user_take_little_memory() {
    let mut play = Play::new(world());
    // Not all that a statement can hold: without a bound that would be more than any machine has.
    let (markers, members) = (names("azure_ad_user", NAMES / 20), names("plain", NAMES / 20));
    let added = added_memory_kb(&mut play, |play| {
        play.allows("root", &format!("GRANT {markers} TO {members}"));
        play.allows("root", &format!("REVOKE {markers} FROM {members}"));
    });
    assert!(added < ADDED_MEMORY_KB, "{added} kB");
}

/// An administrator makes a role through another one of theirs, and leaves or drops that before they are replaced.
#[test]
fn replaced_administrator_keeps_nothing_that_a_role_they_no_longer_have_gave_to_them() {
    let world = world();
    for farewell in ["SELECT 1", "REVOKE h FROM root", "DROP ROLE h"] {
        let mut play = Play::new(world);
        for statement in [
            "CREATE ROLE h CREATEROLE IN ROLE azure_ad_user; GRANT h TO CURRENT_USER",
            "SET ROLE h; CREATE ROLE kept CREATEROLE ROLE root",
            "GRANT azure_ad_user TO kept; GRANT \"bob@example.com\" TO kept WITH ADMIN OPTION",
        ] {
            play.allows("root", statement);
        }
        // From 16 on core does not drop a role that has granted something.
        let _ = play.run("root", farewell);
        play.allows("root", "SET ROLE kept");
        play.given("CREATE ROLE successor LOGIN");
        play.set_admin("successor").expect("a superuser may");
        assert_eq!(kept(&mut play), "", "{farewell}");
        for statement in
            ["SET ROLE kept", "SET ROLE \"bob@example.com\"", "GRANT \"bob@example.com\" TO root"]
        {
            play.refuses_somehow("root", statement);
        }
    }
}

#[test]
fn administrator_has_no_power_over_an_entra_role_that_has_got_an_attribute_of_power() {
    let world = world();
    for attribute in ["REPLICATION", "BYPASSRLS"] {
        let mut play = Play::new(world);
        play.given("CREATE ROLE \"eva@example.com\" LOGIN IN ROLE azure_ad_user");
        play.set_admin("root").expect("a superuser may repeat it");
        let rename = "ALTER ROLE {} RENAME TO \"eve@example.com\"";
        play.allows_and_undoes("root", &about(rename, "eva@example.com"));
        play.given(&format!("ALTER ROLE \"eva@example.com\" {attribute}"));
        // Eve's token would open it, as by a label.
        play.refuses_somehow("root", &about(rename, "eva@example.com"));
        if world.is_before_16() {
            continue; // What CREATEROLE may there, with and without pgaad.
        }
        for statement in OF_AN_ADMINISTRATOR {
            play.refuses_somehow("root", &about(statement, "eva@example.com"));
        }
    }
}
