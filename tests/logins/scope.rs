//! `pgaad.scope`: what a user let the client do must include this server.

use pgaad_tests::Scene;
use pgaad_tests::scene::quoted;

const CLIENT_ID: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

#[test]
fn users_token_needs_one_of_the_accepted_scopes_and_a_programs_none() {
    let scene = Scene::start();
    let role = scene.member();
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(CLIENT_ID)));
    let token = |scp: &str| scene.token(&role).claim("scp", scp);
    for route in scene.token_routes() {
        let attempt = |scp: &str| scene.attempt(route, &role).with(token(scp).mint());
        scene.cluster.set("pgaad.scope", "");
        attempt("openid").expect_admitted();
        for list in ["user_impersonation, db.access", "user_impersonation db.access", " db.access ,openid2 "]
        {
            scene.cluster.set("pgaad.scope", list);
            attempt("db.access").expect_admitted();
            attempt("openid db.access").expect_admitted();
            let line = attempt("openid").expect_refused("wrong_scope");
            assert!(line.contains(" scp=\"openid\" wanted=\""), "{line}");
            attempt("DB.access").expect_refused("wrong_scope");
        }
        let app = scene.tenant.token().app(CLIENT_ID).mint();
        scene.attempt(route, CLIENT_ID).with(app).expect_admitted();
        // A list of nothing is no list that accepts anything.
        scene.cluster.set("pgaad.scope", ",");
        let mark = scene.cluster.log_mark();
        let attempt = scene.attempt(route, &role);
        attempt.expect_refusal(attempt.login(), mark, "setting_invalid");
    }
}

#[test]
fn explanations_have_a_step_for_the_scope() {
    let scene = Scene::start();
    scene.cluster.set("pgaad.scope", "db.access");
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_refused("wrong_scope");
    let minted = scene.token(&role).mint();
    let unsigned = minted.rsplit_once('.').expect("three parts").0;
    for call in [
        format!("pgaad.explain('{role}', '{unsigned}')"),
        "pgaad.explain_event((SELECT max(id) FROM pgaad.events))".to_owned(),
    ] {
        let row = &scene.cluster.sql(&format!("SELECT step, detail FROM {call} WHERE NOT ok"))[0];
        let detail = row[1].as_deref().unwrap_or_default();
        assert_eq!(row[0].as_deref(), Some("scope"));
        let words = ["wrong_scope:", "scp=\"user_impersonation\"", "wanted=\"db.access\""];
        assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
    }
}
