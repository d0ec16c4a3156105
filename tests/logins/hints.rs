//! What pgaad prints to be pasted: it can be pasted as it is, and it gives no role to a stranger.

use pgaad_tests::Scene;
use pgaad_tests::scene::quoted;
use std::sync::OnceLock;
use tenant::{Token, object_id};

const GROUP: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";
const CLIENT_ID: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";
const GUEST: &str = "bob_partner.com#EXT#@example.onmicrosoft.com";

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(Scene::start)
}

fn member(scene: &Scene, role: &str) {
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(role)));
}

/// What the log line, the event's facts and its explanation say of a refused login.
fn said(scene: &Scene, role: &str, token: &Token) -> [String; 3] {
    let line = scene.attempt(scene.route(), role).with(token.mint()).expect_refused("role_not_bound");
    let role = role.replace('\'', "''");
    let last = format!("SELECT max(id) FROM pgaad.events WHERE role = '{role}'");
    let facts =
        format!("SELECT coalesce(facts ->> 'hint', facts::text, '') FROM pgaad.events WHERE id = ({last})");
    let explained = format!("SELECT detail FROM pgaad.explain_event(({last})) WHERE NOT ok");
    [line.trim_end().to_owned(), scene.cluster.value(&facts), scene.cluster.value(&explained)]
}

/// The statement that each of the three ends with.
fn statements(said: &[String; 3]) -> Vec<&str> {
    let statement = |text: &String| text.find("SECURITY LABEL").map(|place| text.split_at(place).1.len());
    said.iter()
        .filter_map(|text| statement(text).map(|length| text.split_at(text.len() - length).1))
        .collect()
}

/// Each of the three places has the same statement; pasted, it opens the role to this token.
fn opens_by_paste(role: &str, token: &Token) {
    let scene = scene();
    member(scene, role);
    let said = said(scene, role, token);
    let statements = statements(&said);
    assert_eq!(statements.len(), 3, "{said:?}");
    for statement in &statements {
        scene.cluster.sql(statement);
    }
    scene.attempt(scene.route(), role).with(token.mint()).expect_admitted();
    let stranger = scene.token("mallory@example.com").mint();
    let attempt = scene.attempt(scene.route(), role).with(stranger);
    assert!(!matches!(attempt.login().outcome, pgaad_tests::wire::Outcome::Accepted(_)), "{role}");
}

/// None of the three has a statement, or the id of the token's holder beside one.
fn prints_none(role: &str, token: &Token) {
    let said = said(scene(), role, token);
    assert_eq!(statements(&said), [""; 0], "{role}");
    let is_hinted = |text: &String| text.contains("hint=") || text.contains("\"hint\"");
    assert!(!said.iter().any(is_hinted), "{said:?}");
}

#[test]
fn hint_for_the_role_of_ones_own_name_in_another_spelling_is_pasted_and_the_login_works() {
    let scene = scene();
    opens_by_paste("Carol@Example.com", &scene.token("carol@example.com"));
    opens_by_paste("dave@example.com", &scene.token("DAVE@EXAMPLE.COM").v2());
    opens_by_paste("o'neil_smith+x@example.com", &scene.token("O'Neil_Smith+x@example.com"));
    let guest = scene.token("").guest("bob@partner.com");
    opens_by_paste(GUEST, &guest);
    opens_by_paste("bob@partner.com", &guest);
    opens_by_paste(&CLIENT_ID.to_uppercase(), &scene.tenant.token().app(CLIENT_ID));
    // Of a group only where the role is named after its id.
    opens_by_paste(GROUP, &scene.token("erin@example.com").groups(&[GROUP]));
}

#[test]
fn strangers_token_for_a_role_prints_no_statement() {
    let scene = scene();
    member(scene, "alice@example.com");
    let bob = scene.token("bob@example.com");
    let everything = bob
        .clone()
        .groups(&[GROUP])
        .claim("email", "alice@example.com")
        .claim("unique_name", "alice@example.com")
        .claim("name", "alice@example.com");
    for token in [bob.clone(), bob.v2(), everything] {
        prints_none("alice@example.com", &token);
    }
    // A guest's names in v2 tokens, and their mail address, are what others made them.
    prints_none("alice@example.com", &scene.token("").v2().guest("alice@example.com"));
    prints_none("alice@example.com", &scene.token("").personal_account("alice@example.com"));
    prints_none("alice@example.com", &scene.tenant.token().app(CLIENT_ID).claim("upn", "alice@example.com"));
    // Two addresses have this name as guests: x_alice@example.com and x@alice_example.com.
    member(scene, "x_alice@example.com");
    let ambiguous = "x_alice_example.com#EXT#@example.onmicrosoft.com";
    prints_none("x_alice@example.com", &scene.token("").guest("x@alice_example.com").claim("upn", ambiguous));
    member(scene, "readers");
    prints_none("readers", &scene.token("bob@example.com").groups(&[GROUP]));
    prints_none("readers", &scene.token("bob@example.com").groups(&["readers"]));
}

#[test]
fn role_that_has_a_label_or_is_an_administrators_or_a_superuser_gets_no_statement() {
    let scene =
        Scene::with(|cluster| cluster.conf("pgaad.allow_superuser", "on").conf("pgaad.name_match", "off"));
    let said_of = |make: &str| {
        let name = scene.fresh_name();
        member(&scene, &name);
        scene.cluster.sql(&make.replace("NAME", &quoted(&name)));
        said(&scene, &name, &scene.token(&name))
    };
    assert_eq!(statements(&said_of("SELECT 'nothing, the twin'")).len(), 3);
    for make in [
        "SECURITY LABEL FOR pgaadauth ON ROLE NAME IS 'aadauth'",
        "SECURITY LABEL FOR pgaadauth ON ROLE NAME IS 'aadauth,mfa'",
        "SECURITY LABEL FOR pgaadauth ON ROLE NAME IS 'aadauth,admin'",
        "GRANT azure_ad_admin TO NAME",
        "ALTER ROLE NAME SUPERUSER",
    ] {
        assert_eq!(statements(&said_of(make)), [""; 0], "{make}");
    }
}

#[test]
fn name_that_cannot_be_written_plainly_gets_no_statement_and_forges_no_fact() {
    // Of its own, so that the log's next refusal is the one that is meant.
    let scene = Scene::start();
    for (role, name) in [
        ("A b@example.com", "a b@example.com"),
        ("A\" code=admitted x=\"", "a\" code=admitted x=\""),
        ("A\\@example.com", "a\\@example.com"),
        ("A\n@example.com", "a\n@example.com"),
        ("Ab@ex\u{e4}mple.com", "ab@ex\u{e4}mple.com"),
        ("A\u{202e}@example.com", "a\u{202e}@example.com"),
        ("A';@example.com", "a';@example.com"),
    ] {
        member(&scene, role);
        let attempt = scene.attempt(scene.route(), role).with(scene.token(name).mint());
        let mark = scene.cluster.log_mark();
        assert!(!matches!(attempt.login().outcome, pgaad_tests::wire::Outcome::Accepted(_)), "{role:?}");
        let needle = "pgaad: login refused: code=role_not_bound";
        let log = scene.cluster.wait_for_log(mark, needle);
        let line = log.lines().find(|line| line.contains(needle)).expect("it is there");
        assert!(!line.contains("SECURITY LABEL") && !line.contains(" code=admitted x=\" "), "{line}");
    }
}

#[test]
fn what_explain_says_to_do_about_a_role_is_pasted_and_works() {
    let scene = scene();
    for name in ["plain", "two words \" and 'quotes' \\", "zo\u{eb}@example.com"] {
        scene.cluster.sql(&format!("CREATE ROLE {} VALID UNTIL '2001-01-01'", quoted(name)));
        let token = scene.token(name).mint();
        let unsigned = token.rsplit_once('.').expect("three parts").0;
        let role = name.replace('\'', "''");
        let explain = format!(
            "SELECT detail FROM pgaad.explain('{role}', '{unsigned}') WHERE step = 'role' AND NOT ok"
        );
        for code in ["role_not_member", "role_nologin", "role_expired"] {
            let detail = scene.cluster.value(&explain);
            let (found, statement) = detail.rsplit_once("; ").expect("a statement comes last");
            assert!(found.starts_with(&format!("{code}:")), "{detail}");
            scene.cluster.sql(statement);
        }
        assert_eq!(scene.cluster.sql(&explain).len(), 0, "nothing is left to do");
    }
    let answer =
        scene.cluster.value("SELECT detail FROM pgaad.explain(E'no\\nrole', 'e30.e30') WHERE step = 'role'");
    assert!(answer.starts_with("role_missing:"), "{answer}");
    scene.cluster.sql("CREATE ROLE U&\"a\\200B\"");
    let hidden =
        scene.cluster.value("SELECT detail FROM pgaad.explain(U&'a\\200B', 'e30.e30') WHERE step = 'role'");
    assert!(hidden.starts_with("role_not_member:") && !hidden.contains("GRANT azure_ad_user TO"), "{hidden}");
}

#[test]
fn codes_advise_in_words_and_print_no_statement_with_gaps() {
    let scene = scene();
    let role = scene.fresh_name();
    scene.cluster.sql(&format!("CREATE USER {}", quoted(&role)));
    scene.attempt(scene.route(), &role).expect_refused("role_not_member");
    let detail = scene.cluster.value(&format!(
        "SELECT detail FROM pgaad.explain_event((SELECT max(id) FROM pgaad.events WHERE role = '{role}')) WHERE NOT ok"
    ));
    assert!(!detail.contains('…') && !detail.contains(&object_id(&role)), "{detail}");
}
