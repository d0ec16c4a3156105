//! What an administrator keeps when a superuser makes somebody else the administrator.

use crate::play::{Play, world};

/// What an administrator does while they have the office, so that they keep something of it.
const PREPARED_IN_OFFICE: [&str; 12] = [
    "CREATE ROLE hj CREATEROLE CREATEDB LOGIN IN ROLE azure_ad_user",
    "CREATE ROLE kj CREATEROLE IN ROLE azure_ad_user",
    "CREATE ROLE l1 CREATEROLE",
    "CREATE ROLE kk IN ROLE azure_ad_user",
    "GRANT hj, kj, l1 TO CURRENT_USER",
    "GRANT kk, \"bob@example.com\" TO CURRENT_USER WITH ADMIN OPTION",
    "GRANT kj, l1, \"bob@example.com\" TO hj WITH ADMIN OPTION",
    "GRANT azure_ad_user TO hj, \"bob@example.com\" WITH ADMIN OPTION",
    "GRANT hj TO kk WITH ADMIN OPTION",
    "CREATE ROLE m1 CREATEROLE CREATEDB ROLE CURRENT_USER",
    "SET ROLE hj; CREATE ROLE n1 CREATEROLE; GRANT n1 TO root WITH ADMIN OPTION",
    "SET ROLE m1; CREATE ROLE n2 CREATEROLE ADMIN root",
];

#[test]
fn replaced_administrator_keeps_nothing_that_they_gave_to_themselves_in_office() {
    let world = world();
    if !world.is_before_16() {
        return; // CREATEROLE rules over what its holder made there, with and without pgaad.
    }
    let mut play = Play::new(world);
    play.given("GRANT app TO root");
    for statement in PREPARED_IN_OFFICE {
        play.allows("root", statement);
    }
    play.allows("root", "SET ROLE n1; CREATE ROLE in_office");
    play.given("CREATE ROLE successor LOGIN");
    play.set_admin("successor").expect("a superuser may");
    assert_eq!(kept(&mut play), "app", "what a superuser gave stays");
    for role in ["hj", "kj", "l1", "kk", "m1", "n1", "n2", "\"bob@example.com\""] {
        play.refuses_somehow("root", &format!("SET ROLE {role}"));
    }
    play.refuses_somehow("root", "CREATE ROLE evil");
    // The twin: whom they enabled stays enabled.
    let members = play.has_members("azure_ad_user");
    assert!(["hj", "kj", "kk"].iter().all(|role| members.contains(role)), "{members}");
}

/// The roles that `root` is in, but for the membership in `azure_ad_user`, and what more they have of each.
pub fn kept(play: &mut Play<'_>) -> String {
    play.value(
        "SELECT string_agg(concat_ws(' ', rolname, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
                                     CASE WHEN is_admin THEN 'ADMIN' END), ', ' ORDER BY rolname)
         FROM pg_roles role, pg_has_role('root', role.oid, 'MEMBER WITH ADMIN OPTION') is_admin
         WHERE pg_has_role('root', role.oid, 'MEMBER') AND rolname <> 'root'
             AND (rolname <> 'azure_ad_user' OR is_admin)",
    )
}
