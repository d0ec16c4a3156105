//! Who may change the marker roles and who is in them, by every statement that can.

use pgaad_tests::wire::{self, Answer, Outcome, Session};
use pgaad_tests::{Cluster, Installation};
use tenant::object_id;

const DENIED: &str = "42501";

/// `boss` is an Entra administrator, `maker` has CREATEROLE and no more, `nobody` has nothing; `ann` is
/// an Entra user, `plain` and `app` are other roles, `chief` is a superuser.
const CAST: &str = "
    CREATE EXTENSION pgaad;
    CREATE ROLE maker CREATEROLE; CREATE ROLE nobody; CREATE ROLE plain LOGIN PASSWORD 'x'; CREATE ROLE app;
    CREATE ROLE chief SUPERUSER; CREATE ROLE copier LOGIN REPLICATION; CREATE USER ann IN ROLE azure_ad_user;
    GRANT azure_ad_mfa TO ann;
    CREATE FUNCTION enable(text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE format('GRANT azure_ad_user TO %I', $1); END $$;
    CREATE FUNCTION enable_as_owner(text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN EXECUTE format('GRANT azure_ad_user TO %I', $1); END $$;
    ALTER FUNCTION enable_as_owner(text) OWNER TO maker;";

/// From 16 on a CREATEROLE rules only over the roles on which it has the ADMIN OPTION; `boss` has it on Entra roles.
fn rules_over_all_roles(cluster: &Cluster) -> bool {
    cluster.installation().major() < 16
}

fn cluster() -> Cluster {
    let cluster = Cluster::new(&Installation::pgaad()).conf("shared_preload_libraries", "pgaad").start();
    cluster.sql(CAST);
    cluster.sql(&format!("SELECT pgaad.set_admin('boss', '{}', 'user')", object_id("boss")));
    for (role, ruler) in [("plain", "boss"), ("ann", "boss"), ("app", "boss"), ("app", "maker")] {
        cluster.sql(&format!("GRANT {role} TO {ruler} WITH ADMIN OPTION"));
    }
    cluster
}

fn superuser(cluster: &Cluster) -> Session {
    match wire::login(&cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    }
}

/// Runs a statement as `role`, and undoes it. The error, if there was one, and what was warned of.
fn run(cluster: &Cluster, role: &str, statement: &str) -> (Option<Answer>, Vec<Answer>) {
    let mut session = superuser(cluster);
    session.query(&format!("SET SESSION AUTHORIZATION {role}; BEGIN")).expect("core's own statements");
    let failure = session.query(statement).err();
    let warnings = session.take_notices();
    session.query("ROLLBACK").expect("core's own statement");
    (failure, warnings.into_iter().filter(|notice| notice.severity == "WARNING").collect())
}

fn expect_allowed(cluster: &Cluster, role: &str, statement: &str) {
    let (failure, _) = run(cluster, role, statement);
    assert!(failure.is_none(), "{role}: {statement}: {failure:?}");
}

/// Refused by pgaad, with what to do, and not by core.
fn expect_denied(cluster: &Cluster, role: &str, statement: &str) {
    let (failure, _) = run(cluster, role, statement);
    let answer = failure.unwrap_or_else(|| panic!("{role}: {statement}: allowed"));
    assert_eq!(answer.sqlstate, DENIED, "{role}: {statement}: {answer:?}");
    let ours = answer.hint.contains("superusers") || answer.hint.contains("without a token");
    assert!(ours, "{role}: {statement}: {answer:?}");
}

#[test]
fn only_superusers_and_administrators_put_a_role_into_azure_ad_user_or_take_it_out() {
    let cluster = cluster();
    for statement in [
        "GRANT azure_ad_user TO plain",
        "GRANT azure_ad_user TO plain WITH ADMIN OPTION",
        "GRANT azure_ad_mfa TO plain",
        "GRANT azure_ad_user, app TO plain",
        "GRANT app, azure_ad_mfa, azure_ad_user TO plain, ann",
        "REVOKE azure_ad_user FROM ann",
        "REVOKE azure_ad_mfa FROM ann CASCADE",
        "REVOKE ADMIN OPTION FOR azure_ad_user FROM ann",
        "CREATE ROLE new IN ROLE azure_ad_user",
        "CREATE USER new IN ROLE app, azure_ad_user",
        "CREATE GROUP new IN GROUP azure_ad_mfa",
        "ALTER GROUP azure_ad_user ADD USER plain",
        "ALTER GROUP azure_ad_user DROP USER ann",
        "DO $$ BEGIN GRANT azure_ad_user TO plain; END $$",
        "SELECT enable('plain')",
        "GRANT azure_ad_mfa TO CURRENT_USER, plain",
        "SAVEPOINT before; GRANT azure_ad_user TO plain; ROLLBACK TO before",
    ] {
        expect_allowed(&cluster, "postgres", statement);
        expect_allowed(&cluster, "boss", statement);
        expect_denied(&cluster, "maker", statement);
        expect_denied(&cluster, "nobody", statement);
    }
    for statement in
        ["ALTER ROLE azure_ad_mfa CONNECTION LIMIT 3", "ALTER ROLE azure_ad_mfa SET work_mem = '8MB'"]
    {
        expect_allowed(&cluster, "postgres", statement);
        for role in ["boss", "maker", "nobody"] {
            expect_denied(&cluster, role, statement);
        }
    }
    // The twins: what is not about Entra is core's to judge.
    for statement in ["GRANT app TO plain", "CREATE ROLE new IN ROLE app", "ALTER GROUP app ADD USER plain"] {
        expect_allowed(&cluster, "maker", statement);
    }
    // A function's owner counts, as everywhere.
    expect_denied(&cluster, "postgres", "SELECT enable_as_owner('plain')");
    expect_denied(&cluster, "boss", "SELECT enable_as_owner('plain')");
}

#[test]
fn only_superusers_make_administrators_and_rule_over_that_role() {
    let cluster = cluster();
    for statement in [
        "GRANT azure_ad_admin TO plain",
        "GRANT app, azure_ad_admin TO plain",
        "REVOKE azure_ad_admin FROM boss",
        "CREATE ROLE new IN ROLE azure_ad_admin",
        "CREATE USER new IN ROLE azure_ad_user, azure_ad_admin",
        "ALTER GROUP azure_ad_admin ADD USER plain",
        "ALTER GROUP azure_ad_admin DROP USER boss",
        "ALTER ROLE azure_ad_admin RENAME TO other",
        "ALTER ROLE azure_ad_admin LOGIN PASSWORD 'x'",
        "ALTER ROLE azure_ad_admin SET work_mem = '8MB'",
        "GRANT azure_ad_user TO chief",
        "REVOKE azure_ad_user FROM chief",
    ] {
        expect_allowed(&cluster, "postgres", statement);
        for role in ["boss", "maker", "nobody"] {
            expect_denied(&cluster, role, statement);
        }
    }
}

#[test]
fn only_superusers_and_administrators_rename_to_or_from_drop_or_make_a_marker() {
    let cluster = cluster();
    for (statement, superuser_gets) in [
        ("ALTER ROLE plain RENAME TO azure_ad_user", Some("42710")),
        ("ALTER ROLE azure_ad_mfa RENAME TO other", None),
        ("DROP ROLE azure_ad_mfa", None),
        ("DROP ROLE IF EXISTS app, azure_ad_mfa", None),
        ("CREATE ROLE azure_ad_user", Some("42710")),
        ("CREATE GROUP azure_ad_mfa USER plain", Some("42710")),
    ] {
        let (failure, _) = run(&cluster, "postgres", statement);
        assert_eq!(failure.map(|answer| answer.sqlstate).as_deref(), superuser_gets, "{statement}");
        expect_denied(&cluster, "maker", statement);
        expect_denied(&cluster, "nobody", statement);
    }
    expect_denied(&cluster, "boss", "ALTER ROLE plain RENAME TO azure_ad_admin");
    expect_denied(&cluster, "boss", "DROP ROLE azure_ad_admin");
}

#[test]
fn entra_role_is_not_granted_to_one_that_is_none() {
    let cluster = cluster();
    for statement in [
        "GRANT ann TO plain",
        "GRANT app, ann TO plain",
        "CREATE ROLE new IN ROLE ann",
        "CREATE ROLE new ROLE ann, plain IN ROLE azure_ad_user",
        "ALTER GROUP ann ADD USER plain",
    ] {
        let (failure, warnings) = run(&cluster, "postgres", statement);
        assert!(failure.is_none(), "{statement}: {failure:?}");
        assert_eq!(warnings.len(), 1, "{statement}: {warnings:?}");
        assert!(warnings[0].message.contains("which is not one"), "{statement}: {warnings:?}");
        expect_denied(&cluster, "boss", statement);
    }
    // The twin: between Entra roles, and from another role to one.
    for statement in ["GRANT ann TO boss", "GRANT app TO ann", "CREATE ROLE new IN ROLE ann, azure_ad_user"] {
        expect_allowed(&cluster, "boss", statement);
        let (_, warnings) = run(&cluster, "postgres", statement);
        assert!(warnings.is_empty(), "{statement}: {warnings:?}");
    }
}

#[test]
fn superuser_is_warned_when_a_superuser_or_a_standbys_role_becomes_a_member() {
    let cluster = cluster();
    for (statement, words) in [
        ("GRANT azure_ad_user TO chief", "is a superuser"),
        ("GRANT azure_ad_user TO copier", "has REPLICATION"),
        ("CREATE ROLE new SUPERUSER IN ROLE azure_ad_user", "is a superuser"),
        ("ALTER GROUP azure_ad_user ADD USER copier", "has REPLICATION"),
    ] {
        let (failure, warnings) = run(&cluster, "postgres", statement);
        assert!(failure.is_none(), "{statement}: {failure:?}");
        assert!(warnings.iter().any(|warning| warning.message.contains(words)), "{statement}: {warnings:?}");
    }
    let (_, warnings) = run(&cluster, "postgres", "GRANT azure_ad_user TO plain");
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn marker_memberships_are_granted_by_the_bootstrap_superuser_and_others_by_who_asks() {
    let cluster = cluster();
    let mut session = superuser(&cluster);
    for author in ["boss", "chief"] {
        session.query(&format!("SET SESSION AUTHORIZATION {author}; BEGIN")).expect("core's own statements");
        session
            .query("CREATE ROLE one IN ROLE azure_ad_user, azure_ad_mfa, app")
            .expect("the administrator may");
        session.query("GRANT azure_ad_user, app TO plain WITH ADMIN OPTION").expect("the administrator may");
        session
            .query("CREATE ROLE two; ALTER GROUP azure_ad_user ADD USER two")
            .expect("the administrator may");
        let rows = session.query(
            "SELECT member::regrole || ' in ' || roleid::regrole || ' by ' || grantor || ' ' || admin_option
             FROM pg_auth_members WHERE member IN ('one'::regrole, 'two'::regrole)
                OR member = 'plain'::regrole AND roleid = 'azure_ad_user'::regrole
                OR member = 'plain'::regrole AND roleid = 'app'::regrole ORDER BY 1",
        );
        let rows: Vec<_> = rows.expect("a query").into_iter().filter_map(|row| row[0].clone()).collect();
        let own = rows.iter().filter(|row| row.contains(" in app by ") && !row.contains(" by 10 ")).count();
        // From 16 on core itself records a superuser's grants as the bootstrap superuser's.
        let by_core = author == "chief" && !rules_over_all_roles(&cluster);
        assert_eq!(own, if by_core { 0 } else { 2 }, "{rows:?}");
        for row in [
            "one in azure_ad_mfa by 10 false",
            "one in azure_ad_user by 10 false",
            "plain in azure_ad_user by 10 true",
            "two in azure_ad_user by 10 false",
        ] {
            assert!(rows.iter().any(|found| found == row), "{author}: {row}: {rows:?}");
        }
        session.query("ROLLBACK; RESET SESSION AUTHORIZATION").expect("core's own statements");
    }
}

#[test]
fn current_user_is_who_asks_and_not_who_carries_it_out() {
    let cluster = cluster();
    let mut session = superuser(&cluster);
    let has_mfa = |session: &mut Session| {
        session.value(
            "SELECT string_agg(member::regrole::text, ',' ORDER BY 1) FROM pg_auth_members
             WHERE roleid = 'azure_ad_mfa'::regrole AND member <> 'ann'::regrole",
        )
    };
    for (give, take) in [
        ("GRANT azure_ad_mfa TO CURRENT_USER", "REVOKE azure_ad_mfa FROM CURRENT_USER"),
        ("GRANT azure_ad_mfa TO CURRENT_ROLE", "REVOKE azure_ad_mfa FROM CURRENT_ROLE"),
        ("ALTER GROUP azure_ad_mfa ADD USER CURRENT_USER", "ALTER GROUP azure_ad_mfa DROP USER CURRENT_USER"),
    ] {
        session.query("SET SESSION AUTHORIZATION boss").expect("core's own statement");
        session.query(give).unwrap_or_else(|answer| panic!("{give}: {answer}"));
        assert_eq!(has_mfa(&mut session).as_deref(), Some("boss"), "{give}");
        // An administrator does not lift it from themselves.
        let answer = session.query(take).expect_err("only superusers may");
        assert_eq!(answer.sqlstate, DENIED, "{take}: {answer}");
        session.query("RESET SESSION AUTHORIZATION; REVOKE azure_ad_mfa FROM boss").expect("a superuser may");
        session.query("SET SESSION AUTHORIZATION chief").expect("core's own statement");
        session.query(give).unwrap_or_else(|answer| panic!("{give}: {answer}"));
        assert_eq!(has_mfa(&mut session).as_deref(), Some("chief"), "{give}");
        session.query(take).unwrap_or_else(|answer| panic!("{take}: {answer}"));
        assert_eq!(has_mfa(&mut session), None, "{take}");
        session.query("RESET SESSION AUTHORIZATION").expect("core's own statement");
    }
}

/// `plain` is in `azure_ad_user` by `boss` and by a superuser, as where the library was not loaded.
fn cluster_with_grantors() -> Cluster {
    let cluster = cluster();
    cluster.append_conf("shared_preload_libraries = ''");
    cluster.restart();
    cluster.sql("SET ROLE boss; GRANT azure_ad_user TO plain");
    cluster.sql("SET client_min_messages = error; GRANT azure_ad_user TO plain");
    cluster.append_conf("shared_preload_libraries = 'pgaad'");
    cluster.restart();
    cluster
}

/// The members of `azure_ad_user` after a statement of this role's, which is undone.
fn members_after(cluster: &Cluster, role: &str, statement: &str) -> Result<String, Answer> {
    let mut session = superuser(cluster);
    session.query(&format!("SET SESSION AUTHORIZATION {role}; BEGIN")).expect("core's own statements");
    session.query(statement)?;
    let members = session.value(
        "SELECT string_agg(DISTINCT member::regrole::text, ',' ORDER BY member::regrole::text)
         FROM pg_auth_members WHERE roleid = 'azure_ad_user'::regrole",
    );
    Ok(members.unwrap_or_default())
}

#[test]
fn membership_is_revoked_whoever_granted_it() {
    let cluster = cluster_with_grantors();
    let grants = cluster.value("SELECT count(*) FROM pg_auth_members WHERE member = 'plain'::regrole");
    assert_eq!(grants, if rules_over_all_roles(&cluster) { "1" } else { "2" });
    for statement in [
        "REVOKE azure_ad_user FROM plain",
        "REVOKE azure_ad_user, azure_ad_mfa FROM plain GRANTED BY CURRENT_USER",
        "ALTER GROUP azure_ad_user DROP USER plain",
    ] {
        for role in ["postgres", "boss"] {
            let members = members_after(&cluster, role, statement).expect(statement);
            assert_eq!(members, "ann,boss", "{role}: {statement}");
        }
    }
}

#[test]
fn drop_owned_takes_nobody_out_of_azure_ad_user_but_for_those_who_may() {
    let cluster = cluster_with_grantors();
    // What a role was granted is not its own, what it granted is, from 16 on.
    for statement in
        ["DROP OWNED BY ann", "DROP OWNED BY azure_ad_user", "DROP OWNED BY CURRENT_USER CASCADE"]
    {
        assert_eq!(
            members_after(&cluster, "ann", statement).expect(statement),
            "ann,boss,plain",
            "{statement}"
        );
    }
    cluster.sql("REVOKE azure_ad_user FROM plain; CREATE ROLE zoe IN ROLE azure_ad_user, boss");
    cluster.append_conf("shared_preload_libraries = ''");
    cluster.restart();
    cluster.sql("SET ROLE boss; GRANT azure_ad_user TO plain");
    cluster.append_conf("shared_preload_libraries = 'pgaad'");
    cluster.restart();

    let statement = "DROP OWNED BY boss";
    let left = if rules_over_all_roles(&cluster) { "ann,boss,plain,zoe" } else { "ann,boss,zoe" };
    assert_eq!(members_after(&cluster, "postgres", statement).expect("a superuser may"), left);
    assert_eq!(members_after(&cluster, "boss", statement).expect("an administrator may"), left);
    let former = |who: &str| {
        if rules_over_all_roles(&cluster) {
            assert_eq!(members_after(&cluster, who, statement).expect("it takes nobody out"), left);
        } else {
            expect_denied(&cluster, who, statement);
        }
    };
    former("zoe");
    cluster.sql("REVOKE azure_ad_admin FROM boss");
    former("boss");
}
