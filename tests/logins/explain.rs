//! `pgaad.explain`: what a DBA is told of a token and a role, without anybody being admitted.

use pgaad_tests::scene::quoted;
use pgaad_tests::{Route, Scene};
use std::sync::OnceLock;
use tenant::{Signer, Token, object_id};

const GROUP: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";
const STEPS: [&str; 12] = [
    "header",
    "key",
    "claims",
    "issuer",
    "tenant",
    "audience",
    "time",
    "kind",
    "scope",
    "role",
    "directory",
    "binding",
];

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(Scene::start)
}

/// As a shell does it: `${TOKEN%.*}`.
fn unsigned(token: &Token) -> String {
    token.mint().rsplit_once('.').expect("three parts").0.to_owned()
}

/// The rows: step, ok, detail.
fn rows(sql: &str) -> Vec<(String, String, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
    scene().cluster.sql(sql).iter().map(|row| (text(&row[0]), text(&row[1]), text(&row[2]))).collect()
}

fn explain(role: &str, token: &Token) -> Vec<(String, String, String)> {
    let rows =
        rows(&format!("SELECT * FROM pgaad.explain('{}', '{}')", role.replace('\'', "''"), unsigned(token)));
    let steps: Vec<_> = rows.iter().map(|(step, _, _)| step.as_str()).collect();
    assert_eq!(steps, STEPS);
    rows
}

/// The one step that fails says this.
fn expect_fault(role: &str, token: &Token, step: &str, words: &[&str]) {
    let rows = explain(role, token);
    let faults: Vec<_> = rows.iter().filter(|(_, ok, _)| ok == "f").collect();
    assert_eq!(faults.len(), 1, "{rows:?}");
    assert_eq!(faults[0].0, step, "{rows:?}");
    for word in words {
        assert!(faults[0].2.contains(word), "{word}: {faults:?}");
    }
}

#[test]
fn good_token_is_explained_with_every_step_passed_and_admits_nobody() {
    let scene = scene();
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    for (_, ok, detail) in explain(&role, &scene.token(&role)) {
        assert_eq!(ok, "t", "{detail}");
    }
    // Others log in here meanwhile.
    let log = scene.cluster.log_since(mark);
    assert!(!log.lines().any(|line| line.contains("admitted") && line.contains(&role)), "{log}");
    assert_eq!(scene.cluster.value("SELECT pgaad.claims() IS NULL"), "t");
}

#[test]
fn each_fault_is_named_with_what_was_found_and_what_is_wanted() {
    let scene = scene();
    let role = scene.member();
    let token = || scene.token(&role);
    let tid = scene.tenant.tenant_id();
    let aud = token().claim("aud", "https://graph.microsoft.com");
    expect_fault(
        &role,
        &aud,
        "audience",
        &["wrong_audience:", "graph.microsoft.com", "ossrdbms-aad.database.windows.net"],
    );
    let expired = token().not_before_in(-20_000).expires_in(-3_700);
    expect_fault(&role, &expired, "time", &["expired:", "1 h 1 min ago"]);
    let kid = scene.tenant.keys().jwks()["keys"][0]["kid"].as_str().expect("a kid").to_owned();
    expect_fault(&role, &token().signed_by(Signer::Unpublished), "key", &["key_unknown:", "known are", &kid]);
    let other = "11111111-2222-4333-8444-555555555555";
    expect_fault(&role, &token().claim("tid", other), "tenant", &["wrong_tenant:", other, &tid]);
    let foreign = token().claim("iss", format!("https://sts.windows.net/{other}/"));
    expect_fault(&role, &foreign, "issuer", &["issuer_unknown:", other, "accepted are", &tid]);
    let other_cloud = token().signed_by(Signer::OtherCloud);
    expect_fault(
        &role,
        &other_cloud,
        "key",
        &["key_issuer_mismatch:", "microsoftonline.us", "microsoftonline.com"],
    );
    expect_fault(&role, &token().without("scp"), "kind", &["kind_unknown:", "no scp"]);
    expect_fault(&role, &token().claim("cnf", "x"), "kind", &["proof_of_possession:", "bearer"]);
    let guest = token().claim("acct", 1);
    expect_fault(&role, &guest, "binding", &["role_not_bound:", "a guest of the tenant", "object id"]);
    expect_fault(
        &role,
        &scene.token("mallory@example.com"),
        "binding",
        &["role_not_bound:", "mallory@example.com", &role],
    );

    let fresh = scene.fresh_name();
    expect_fault(&fresh, &scene.token(&fresh), "role", &["role_missing:", &fresh]);
    scene.cluster.sql(&format!("CREATE ROLE {} LOGIN", quoted(&fresh)));
    expect_fault(&fresh, &scene.token(&fresh), "role", &["role_not_member:", "GRANT azure_ad_user TO"]);
}

#[test]
fn labels_and_groups_are_explained_by_both_sides() {
    let scene = scene();
    let bound = |label: &str| {
        let role = scene.fresh_name();
        let name = quoted(&role);
        scene
            .cluster
            .sql(&format!("CREATE USER {name}; SECURITY LABEL FOR pgaadauth ON ROLE {name} IS '{label}'"));
        role
    };
    let ann = scene.token("ann@example.com");
    let bob = object_id("bob@example.com");
    let user = bound(&format!("aadauth,oid={bob},type=user"));
    expect_fault(&user, &ann, "binding", &["principal_mismatch:", &bob, &object_id("ann@example.com")]);
    let service = bound(&format!("aadauth,oid={bob},type=service"));
    expect_fault(&service, &ann, "binding", &["kind_mismatch:", "program", "user"]);
    let group = bound(&format!("aadauth,oid={GROUP},type=group"));
    expect_fault(&group, &ann.clone().groups(&[&bob]), "binding", &["not_in_group:", GROUP, &bob]);
    expect_fault(&group, &ann.clone().overage(), "binding", &["groups_overage:", "did not fit"]);
    expect_fault(&group, &ann, "binding", &["groups_missing:", "no groups claim"]);
    let names = ann.clone().groups(&[GROUP, "readers"]);
    expect_fault(&group, &names, "binding", &["not_in_group:", "groups by name", GROUP]);
    let mfa = bound(&format!("aadauth,oid={},type=user,mfa", object_id("ann@example.com")));
    expect_fault(&mfa, &ann.v2(), "binding", &["mfa_unknown:", "multi-factor"]);
}

#[test]
fn whole_token_is_an_error_that_says_so_and_stays_out_of_the_log() {
    let scene = Scene::start();
    let role = scene.member();
    let token = scene.token(&role).mint();
    let mark = scene.cluster.log_mark();
    let answer = scene.cluster.try_sql(&format!("SELECT * FROM pgaad.explain('{role}', '{token}')"));
    let answer = answer.expect_err("a password");
    assert_eq!(answer.sqlstate, "22023");
    assert!(answer.message.contains("is a password") && answer.hint.contains("${TOKEN%.*}"), "{answer:?}");
    scene.cluster.wait_for_log(mark, "is a password");
    let log = scene.cluster.log_since(mark);
    assert!(!log.contains(&token[..40]) && !log.contains("STATEMENT"), "{log}");
    // The twin: core does log the statement of an error.
    let mark = scene.cluster.log_mark();
    assert!(
        scene
            .cluster
            .try_sql("SELECT * FROM pgaad.explain('x', 'no dot') WHERE 'seen' = 'x' OR 1/0 = 1")
            .is_err()
    );
    scene.cluster.sql("SELECT 1");
    assert!(scene.cluster.try_sql("SELECT 1/0").is_err());
    scene.cluster.wait_for_log(mark, "STATEMENT:  SELECT 1/0");
}

#[test]
fn event_is_explained_by_what_was_really_checked() {
    let scene = scene();
    let role = scene.member();
    let last = |code: &str| {
        scene
            .cluster
            .value(&format!("SELECT max(id) FROM pgaad.events WHERE role = '{role}' AND code = '{code}'"))
    };
    let attempt = scene.attempt(scene.route(), &role);
    let explained = |code: &str| rows(&format!("SELECT * FROM pgaad.explain_event({})", last(code)));
    let oks = |rows: &[(String, String, String)]| {
        rows.iter().map(|(_, ok, _)| ok.as_str()).collect::<Vec<_>>().join(" ")
    };

    attempt.expect_admitted();
    let rows_of = explained("admitted");
    assert_eq!(oks(&rows_of), "t t t t t t t t t t t t");
    assert!(rows_of[1].2.contains("the signature is that of key"), "{rows_of:?}");
    attempt
        .clone()
        .with(scene.token(&role).claim("aud", "https://graph.microsoft.com").mint())
        .expect_refused("wrong_audience");
    let rows_of = explained("wrong_audience");
    assert_eq!(oks(&rows_of), "t t t t t f NULL NULL NULL NULL NULL NULL");
    assert!(rows_of[5].2.contains("graph.microsoft.com"), "{rows_of:?}");
    attempt.clone().with(scene.token(&role).signed_by(Signer::Broken).mint()).expect_refused("bad_signature");
    assert_eq!(oks(&explained("bad_signature")), "t f NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL");
    scene.cluster.sql(&format!("ALTER ROLE {} PASSWORD 'hunter2'", quoted(&role)));
    scene.attempt(Route::Password, &role).with("hunter2").expect_refused("method_not_allowed");
    let rows_of = explained("method_not_allowed");
    assert_eq!((rows_of[0].0.as_str(), rows_of[0].1.as_str()), ("connection", "f"), "{rows_of:?}");

    let answer =
        scene.cluster.try_sql("SELECT * FROM pgaad.explain_event(999999)").expect_err("no such event");
    assert_eq!(answer.sqlstate, "P0002", "{answer:?}");
}

#[test]
fn only_administrators_may_ask() {
    let scene = scene();
    scene.cluster.sql("CREATE ROLE asker; CREATE ROLE dba IN ROLE azure_ad_admin");
    for (role, allowed) in [("asker", false), ("dba", true)] {
        for call in ["pgaad.explain('x', 'a.b')", "pgaad.explain_event(1)"] {
            let answer = scene.cluster.try_sql(&format!("SET ROLE {role}; SELECT * FROM {call}"));
            let denied = answer.is_err_and(|answer| answer.sqlstate == "42501");
            assert_eq!(denied, !allowed, "{role}: {call}");
        }
    }
}

#[test]
fn text_of_many_megabytes_is_an_error_and_is_not_copied() {
    let scene = Scene::start();
    for sql in [
        "SELECT * FROM pgaad.explain('ann', repeat('x', 60000000))",
        "SELECT * FROM pgaad.explain(repeat('x', 60000000), 'a.b')",
    ] {
        assert_eq!(scene.cluster.try_sql(sql).expect_err(sql).sqlstate, "54000", "{sql}");
    }
}
