//! Roles that are bound to an app role: `aadauth,role=…`.

use pgaad_tests::scene::quoted;
use pgaad_tests::{Attempt, Scene};
use serde_json::json;
use tenant::Token;

const OWN: &str = "api://5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const PROGRAM: &str = "6b1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";

fn scene() -> Scene {
    Scene::with(|cluster| cluster.conf("pgaad.audience", OWN))
}

fn label(scene: &Scene, role: &str, label: &str) {
    let statement = format!("SECURITY LABEL FOR pgaadauth ON ROLE {} IS '{label}'", quoted(role));
    scene.cluster.sql(&statement);
}

/// A token for this server's own application.
fn own(token: Token, roles: &[&str]) -> Token {
    token.claim("aud", OWN).claim("roles", json!(roles))
}

fn attempt<'a>(scene: &'a Scene, role: &str, token: Token) -> Attempt<'a> {
    scene.attempt(scene.route(), role).with(token.mint())
}

#[test]
fn users_and_programs_get_in_by_their_app_role() {
    let scene = scene();
    scene.cluster.sql("CREATE ROLE readers LOGIN; CREATE ROLE odd LOGIN");
    label(&scene, "readers", "aadauth,role=db.reader");
    label(&scene, "odd", "aadauth,role=\"a=b,c\"");
    let user = scene.token("ann@example.com");
    let program = scene.tenant.token().app(PROGRAM);
    for route in scene.token_routes() {
        let of = |token: Token| scene.attempt(route, "readers").with(token.mint());
        of(own(user.clone(), &["db.reader"])).expect_admitted();
        of(own(program.clone(), &["db.writer", "db.reader"])).expect_admitted();
        let line = of(own(user.clone(), &["db.writer"])).expect_refused("not_in_app_role");
        assert!(line.contains(" app_role=\"db.reader\""), "{line}");
        of(user.clone().claim("aud", OWN)).expect_refused("not_in_app_role");
    }
    attempt(&scene, "odd", own(user.clone(), &["a=b,c"])).expect_admitted();
    attempt(&scene, "odd", own(user.clone(), &["a=b"])).expect_refused("not_in_app_role");
    let listed = "SELECT principaltype FROM pgaadauth_list_principals(false) WHERE rolename = 'readers'";
    assert_eq!(scene.cluster.value(listed), "role");
    // With a second factor as well.
    label(&scene, "readers", "aadauth,role=db.reader,mfa");
    attempt(&scene, "readers", own(user.clone(), &["db.reader"])).expect_refused("mfa_missing");
    attempt(&scene, "readers", own(user, &["db.reader"]).claim("amr", json!(["mfa"]))).expect_admitted();
}

#[test]
fn app_roles_that_others_assign_open_nothing() {
    let scene = scene();
    scene.cluster.sql("CREATE ROLE readers LOGIN");
    label(&scene, "readers", "aadauth,role=db.reader");
    let user = scene.token("ann@example.com");
    let good = own(user.clone(), &["db.reader"]);
    attempt(&scene, "readers", good.clone()).expect_admitted();
    let wrong = "SELECT count(*) FROM pgaad.check() WHERE item = 'members_app_role' AND NOT ok";
    assert_eq!(scene.cluster.value(wrong), "0");
    // The audience of Azure's own databases beside it, alone, or that of another application.
    for audience in
        [&format!("{OWN}, https://ossrdbms-aad.database.windows.net"), "", &format!("{OWN}, api://other")]
    {
        scene.cluster.set("pgaad.audience", audience);
        let token = if audience.is_empty() {
            user.clone().claim("roles", json!(["db.reader"]))
        } else {
            good.clone()
        };
        let line = attempt(&scene, "readers", token).expect_refused("app_roles_shared");
        assert!(line.contains(" app_role=\"db.reader\""), "{line}");
        assert_eq!(scene.cluster.value(wrong), "1", "{audience}");
    }
    // Both names of the one application.
    scene.cluster.set("pgaad.audience", &format!("{OWN}, {}", OWN.trim_start_matches("api://")));
    attempt(&scene, "readers", good).expect_admitted();
    assert_eq!(scene.cluster.value(wrong), "0");
}

#[test]
fn a_label_says_what_it_may_not_be() {
    let scene = scene();
    scene.cluster.sql("CREATE ROLE readers LOGIN");
    for (text, says) in [
        ("aadauth,role=", "is not the value of an app role"),
        ("aadauth,role=two words", "is not the value of an app role"),
        ("aadauth,role=a=b", "lacks double quotes"),
        ("aadauth,role=a,admin", "\"role\" and \"admin\" do not go together"),
        ("aadauth,role=a,oid=5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9,type=user", "do not go together"),
    ] {
        let statement = format!("SECURITY LABEL FOR pgaadauth ON ROLE readers IS '{text}'");
        let answer = scene.cluster.try_sql(&statement).expect_err(text);
        assert_eq!(answer.sqlstate, "22023", "{answer}");
        assert!(answer.message.contains(says), "{text}: {answer}");
    }
    // What is no administrator's may not become one by the marker role either.
    label(&scene, "readers", "aadauth,role=db.reader");
    scene.cluster.sql("GRANT azure_ad_admin TO readers");
    let token = own(scene.token("ann@example.com"), &["db.reader"]);
    attempt(&scene, "readers", token).expect_refused("role_not_bound");
}

#[test]
fn an_explanation_shows_both_sides() {
    let scene = scene();
    scene.cluster.sql("CREATE ROLE readers LOGIN");
    label(&scene, "readers", "aadauth,role=db.reader");
    attempt(&scene, "readers", own(scene.token("ann@example.com"), &["db.writer"]))
        .expect_refused("not_in_app_role");
    let event = scene.cluster.value("SELECT max(id) FROM pgaad.events");
    let said = scene.cluster.value(&format!(
        "SELECT string_agg(to_jsonb(told)::text, ' ') FROM pgaad.explain_event({event}) told"
    ));
    assert!(said.contains("not_in_app_role") && said.contains("db.reader"), "{said}");
    let token = own(scene.token("ann@example.com"), &["db.writer"]).mint();
    let unsigned = token.rsplit_once('.').expect("three parts").0;
    let said = scene.cluster.value(&format!(
        "SELECT string_agg(to_jsonb(told)::text, ' ') FROM pgaad.explain('readers', '{unsigned}') told"
    ));
    assert!(said.contains("db.writer") && said.contains("those with the app role"), "{said}");
}
