//! What a decision is told with: the line that matched, the audience, and what differs between role and token.

use pgaad_tests::scene::quoted;
use pgaad_tests::{PamService, Route, Scene};
use tenant::{Signer, object_id};

fn last(scene: &Scene, columns: &str) -> Vec<Option<String>> {
    let rows = scene.cluster.sql(&format!("SELECT {columns} FROM pgaad.events ORDER BY id DESC LIMIT 1"));
    rows.into_iter().next().expect("an event")
}

/// The text of a line of a file, by what an event or the log says of it.
fn line_of_file(file: &str, number: &str) -> String {
    let text = std::fs::read_to_string(file).expect("the server's own file");
    let number: usize = number.parse().expect("a number");
    text.lines().nth(number - 1).expect("a line of the file").to_owned()
}

#[test]
fn every_decision_names_the_line_that_matched_and_the_audience() {
    let scene = Scene::start();
    let role = scene.member();
    for route in scene.token_routes() {
        let attempt = scene.attempt(route, &role);
        let expired = scene.token(&role).expires_in(-3600).not_before_in(-8000).mint();
        let mark = scene.cluster.log_mark();
        attempt.expect_admitted();
        let admitted = scene.cluster.wait_for_log(mark, "pgaad: login admitted:");
        let event = last(&scene, "hba_file, hba_line, aud");
        let refused = attempt.clone().with(expired).expect_refused("expired");
        assert_eq!(last(&scene, "hba_file, hba_line, aud"), event, "{route}");
        let [Some(file), Some(line), Some(aud)] = event.as_slice() else { panic!("{event:?}") };
        let text = line_of_file(file, line);
        assert!(text.contains(route.database()) && text.contains(&route.to_string()), "{route}: {text}");
        for said in [&admitted, &refused] {
            assert!(said.contains(&format!(" hba=\"{file}:{line}\" ")), "{said}");
            assert!(said.contains(&format!(" aud=\"{aud}\" ")), "{said}");
        }
    }
    // A token that nobody vouches for has no audience.
    scene
        .attempt(scene.route(), &role)
        .with(scene.token(&role).signed_by(Signer::Broken).mint())
        .expect_refused("bad_signature");
    let [aud, line] = last(&scene, "aud, hba_line").try_into().expect("two columns");
    assert!(aud.is_none() && line.is_some());
}

#[test]
fn the_log_has_cores_detail_of_the_line_and_the_client_has_not() {
    let scene = Scene::start();
    let role = scene.member();
    scene.cluster.sql(&format!("ALTER ROLE {} PASSWORD 'hunter2'", quoted(&role)));
    for route in [scene.route(), Route::Password] {
        let (password, code) = if route == Route::Password {
            ("hunter2", "method_not_allowed")
        } else {
            ("hunter2", "malformed_token")
        };
        let mark = scene.cluster.log_mark();
        // The client's answer is compared there, field by field.
        scene.attempt(route, &role).with(password).expect_refused(code);
        let detail = scene.cluster.wait_for_log(mark, "DETAIL:  Connection matched ");
        let method = if route == Route::Password { "password".to_owned() } else { route.to_string() };
        assert!(detail.contains(route.database()) && detail.contains(&method), "{detail}");
    }
}

#[test]
fn a_role_that_is_not_a_member_is_granted_by_pasting_where_it_is_the_holders_own() {
    let scene = Scene::start();
    let route = scene.route();
    for (role, prepare) in [
        ("ann@example.com", String::new()),
        (
            "bob",
            format!(
                "SECURITY LABEL FOR pgaadauth ON ROLE bob IS 'aadauth,oid={},type=user'; \
                 REVOKE azure_ad_user FROM bob",
                object_id("bob@example.com")
            ),
        ),
    ] {
        scene.cluster.sql(&format!("CREATE ROLE {} LOGIN; {prepare}", quoted(role)));
        let owner = if role == "bob" { "bob@example.com" } else { role };
        let own = scene.attempt(route, role).with(scene.token(owner).mint());
        // Somebody else's token comes for the role: pasting would not be about them, so there is nothing to paste.
        let other = scene.attempt(route, role).with(scene.token("mallory@example.com").mint());
        let line = other.expect_refused("role_not_member");
        assert!(!line.contains("hint="), "{line}");
        let line = own.expect_refused("role_not_member");
        let hint = format!("GRANT azure_ad_user TO {};", quoted(role));
        assert!(line.ends_with(&format!(" hint={hint}")), "{line}");
        assert_eq!(last(&scene, "facts ->> 'hint'"), [Some(hint.clone())]);
        scene.cluster.sql(&hint);
        own.expect_admitted();
        other.expect_refused(if role == "bob" { "principal_mismatch" } else { "role_not_bound" });
    }
    // Superusers are made members by somebody who knows what they do.
    scene.cluster.sql("CREATE ROLE \"root@example.com\" LOGIN SUPERUSER");
    let line = scene.attempt(route, "root@example.com").expect_refused("role_not_member");
    assert!(!line.contains("hint="), "{line}");
}

#[test]
fn what_differs_between_the_label_and_the_token_is_shown() {
    let scene = Scene::start();
    let (route, role) = (scene.route(), scene.member());
    let (own, other) = (object_id(&role), object_id("somebody@example.com"));
    let label = |id: &str, kind: &str| {
        scene.cluster.sql(&format!(
            "SECURITY LABEL FOR pgaadauth ON ROLE {} IS 'aadauth,oid={id},type={kind}'",
            quoted(&role)
        ))
    };
    label(&other, "user");
    let line = scene.attempt(route, &role).expect_refused("principal_mismatch");
    assert!(line.ends_with(&format!(" label_oid={other} token_oid={own}")), "{line}");
    label(&own, "service");
    let line = scene.attempt(route, &role).expect_refused("kind_mismatch");
    assert!(line.ends_with(" label_kind=service token_kind=user"), "{line}");
    label(&own, "user");
    scene.attempt(route, &role).expect_admitted();
}

#[test]
fn the_name_of_a_key_that_nobody_has_is_logged_and_forges_nothing() {
    let scene = Scene::start();
    let role = scene.member();
    let token = scene.token(&role).header("kid", "no\"such code=ok\nkey").mint();
    let line = scene.attempt(scene.route(), &role).with(token).expect_refused("key_unknown");
    assert!(line.contains(r#" kid="no\"such code=ok\u{a}key" keys="#), "{line}");
    assert_eq!(last(&scene, "kid, facts ->> 'kid'"), [None, Some("no\"such code=ok\nkey".to_owned())]);
}

#[test]
fn a_login_that_pam_refuses_without_asking_us_leaves_an_event() {
    if !PamService::available() {
        return;
    }
    let scene = Scene::start();
    let role = scene.member();
    scene.attempt(Route::Pam, &role).expect_admitted();
    let library = scene.cluster.installation().library();
    let library = library.display();
    for (text, pgaad) in [
        ("auth required /nowhere/pgaad.so\naccount required /nowhere/pgaad.so\n".to_owned(), "not_asked"),
        (
            format!("auth requisite pam_deny.so\nauth required {library}\naccount required {library}\n"),
            "not_asked",
        ),
        (
            format!("auth required {library}\nauth required pam_deny.so\naccount required {library}\n"),
            "admitted",
        ),
        (format!("auth required {library}\naccount required pam_deny.so\n"), "admitted"),
    ] {
        let service = PamService::with_text(&text);
        scene.cluster.write_hba(&Scene::hba(Some(&service)));
        scene.cluster.reload();
        let mark = scene.cluster.log_mark();
        let attempt = scene.attempt(Route::Pam, &role);
        attempt.expect_turned_away(attempt.login());
        let line = scene.cluster.wait_for_log(mark, "pgaad: login refused: code=pam_failed route=pam");
        assert!(line.ends_with(&format!(" service=\"{}\" pgaad={pgaad}", service.name())), "{line}");
        let event = last(&scene, "code, facts ->> 'pgaad', hba_line IS NOT NULL, role");
        let known = ["pam_failed", pgaad, "t", &role].map(|value| Some(value.to_owned()));
        assert_eq!(event, known, "{text}");
    }
    // Services of others are nobody's business.
    let lines = [format!("host {} all 127.0.0.1/32 pam pamservice=other", Route::Pam.database())];
    scene.cluster.write_hba(&lines);
    scene.cluster.reload();
    let before = last(&scene, "id");
    let attempt = scene.attempt(Route::Pam, &role);
    attempt.expect_turned_away(attempt.login());
    assert_eq!(last(&scene, "id"), before);
}
