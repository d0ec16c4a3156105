//! Transactions that are open while the extension is created, and what waits for a superuser's `set_admin`.

use pgaad_tests::wire::{self, Outcome, Session};
use pgaad_tests::{Cluster, Installation};
use tenant::object_id;

/// The library is preloaded, and there is no extension and no marker role.
fn cluster() -> Cluster {
    let cluster = Cluster::new(&Installation::pgaad()).conf("shared_preload_libraries", "pgaad").start();
    cluster.sql("CREATE ROLE maker LOGIN CREATEROLE; CREATE ROLE app; GRANT app TO maker WITH ADMIN OPTION");
    cluster
}

fn session(cluster: &Cluster, role: &str) -> Session {
    let Outcome::Accepted(mut session) = wire::login(&cluster.unix("postgres"), "postgres", b"").outcome
    else {
        panic!("the superuser is refused")
    };
    session.query(&format!("SET SESSION AUTHORIZATION {role}")).expect("core's own statement");
    session
}

fn set_admin(name: &str) -> String {
    format!("SELECT pgaad.set_admin('{name}', '{}', 'user')", object_id(name))
}

#[test]
fn transaction_that_looked_for_the_marker_roles_before_they_were_made_is_judged_by_them() {
    let cluster = cluster();
    let mut maker = session(&cluster, "maker");
    maker.query("CREATE ROLE root LOGIN").expect("a CREATEROLE may");
    maker.query("BEGIN; ALTER ROLE CURRENT_USER SET work_mem = '8MB'").expect("their own setting");
    cluster.sql("CREATE EXTENSION pgaad");
    cluster.sql(&set_admin("root"));
    let grant = if cluster.installation().major() < 16 {
        "GRANT root TO maker WITH ADMIN OPTION"
    } else {
        "GRANT root TO maker WITH INHERIT TRUE, SET TRUE"
    };
    let answer = maker.query(grant).expect_err("they would be an administrator");
    assert_eq!(answer.sqlstate, "42501", "{answer}");
    maker.query("ROLLBACK; GRANT app TO root").expect("what is not about Entra is core's to judge");
}

#[test]
fn extension_waits_for_transactions_that_have_changed_roles_unjudged() {
    let cluster = cluster();
    let mut maker = session(&cluster, "maker");
    maker.query("CREATE ROLE friend; BEGIN; GRANT app TO friend").expect("a CREATEROLE may");
    let create = "SET lock_timeout = '300ms'; CREATE EXTENSION pgaad";
    let answer = cluster.try_sql(create).expect_err("a transaction is open");
    assert_eq!(answer.sqlstate, "55P03", "{answer}");
    maker.query("COMMIT").expect("core's own statement");
    cluster.sql(create);
}

#[test]
fn role_with_settings_that_somebody_prepared_does_not_become_the_administrator() {
    let cluster = cluster();
    cluster.sql("CREATE EXTENSION pgaad; CREATE ROLE root LOGIN");
    for prepared in [
        "ALTER ROLE root SET search_path = evil",
        "ALTER ROLE root IN DATABASE postgres SET work_mem = '8MB'",
    ] {
        cluster.sql(prepared);
        let answer = cluster.try_sql(&set_admin("root")).expect_err("somebody may have prepared it");
        assert_eq!(answer.sqlstate, "55000", "{answer}");
        cluster.sql(&answer.hint);
    }
    cluster.sql(&set_admin("root"));
    // In office, their settings are their own.
    cluster.sql("ALTER ROLE root SET work_mem = '8MB'");
    cluster.sql(&set_admin("root"));
}

#[test]
fn superuser_who_repeats_set_admin_is_told_who_is_administrator_too() {
    let cluster = cluster();
    cluster.sql("CREATE EXTENSION pgaad");
    cluster.sql(&set_admin("root"));
    cluster.sql("SET client_min_messages = error; CREATE ROLE eve; GRANT root TO eve");
    let mut superuser = session(&cluster, "postgres");
    superuser.query(&set_admin("root")).expect("a superuser may");
    let warnings = superuser.take_notices();
    let told = |answer: &wire::Answer| answer.message.contains("eve, which is an Entra administrator, too");
    let warning = warnings.iter().find(|answer| told(answer)).unwrap_or_else(|| panic!("{warnings:?}"));
    superuser.query(&warning.hint).expect("the hint can be pasted");
    superuser.query(&set_admin("root")).expect("a superuser may");
    assert!(!superuser.take_notices().iter().any(told));
}

#[test]
fn superuser_who_takes_a_role_out_takes_the_administrators_option_on_it_too() {
    let cluster = cluster();
    cluster.sql(
        "CREATE EXTENSION pgaad; CREATE ROLE bob IN ROLE azure_ad_user;
         CREATE ROLE carol IN ROLE azure_ad_user",
    );
    cluster.sql(&set_admin("root"));
    cluster.sql("REVOKE azure_ad_user FROM bob");
    let held = cluster.value(
        "SELECT coalesce(string_agg(roleid::regrole::text, ','), '') FROM pg_auth_members
         WHERE member = 'root'::regrole AND roleid IN ('bob'::regrole, 'carol'::regrole)",
    );
    // Before 16 CREATEROLE is enough, and the office gives no option.
    assert_eq!(held, if cluster.installation().major() < 16 { "" } else { "carol" });
}

#[test]
fn hint_about_who_can_grant_a_marker_role_takes_the_option_and_leaves_the_member() {
    let cluster = cluster();
    cluster.sql("CREATE DATABASE other");
    cluster.sql("CREATE EXTENSION pgaad; CREATE ROLE ann");
    cluster.sql("GRANT azure_ad_user TO ann WITH ADMIN OPTION");
    let answer = cluster.try_sql_in("other", "CREATE EXTENSION pgaad").expect_err("ann can grant it");
    assert_eq!(answer.sqlstate, "55000", "{answer}");
    cluster.sql(&answer.hint);
    cluster.try_sql_in("other", "CREATE EXTENSION pgaad").expect("the hint cures it");
    assert_eq!(cluster.value("SELECT pg_has_role('ann', 'azure_ad_user', 'MEMBER')"), "t", "{}", answer.hint);
}
