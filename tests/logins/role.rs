//! Roles that a good token does not open, and those that are none of our business.

use pgaad_tests::scene::quoted;
use pgaad_tests::twin::scene;
use pgaad_tests::wire::{self, Connection, Outcome, Progress};
use pgaad_tests::{Route, Scene};

#[test]
fn token_of_another_user_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let (role, other) = (scene.member(), scene.member());
        scene.attempt(route, &role).expect_admitted();
        scene.attempt(route, &role).with(scene.token(&other).mint()).expect_refused("role_not_bound");
    }
}

#[test]
fn role_that_is_no_member_is_refused_on_our_line_and_left_alone_elsewhere() {
    let scene = scene();
    let role = scene.fresh_name();
    scene.cluster.sql(&format!("CREATE USER {} PASSWORD 'hunter2'", quoted(&role)));
    for route in scene.own_routes() {
        scene.attempt(route, &role).expect_refused("role_not_member");
    }
    let login = scene.attempt(Route::Password, &role).with("hunter2").login();
    assert!(matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");
    let login = scene.attempt(Route::Trust, &role).login();
    assert!(!login.challenged && matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");

    scene.cluster.sql(&format!("GRANT azure_ad_user TO {}", quoted(&role)));
    for route in scene.token_routes() {
        scene.attempt(route, &role).expect_admitted();
    }
    scene.attempt(Route::Password, &role).with("hunter2").expect_refused("method_not_allowed");
}

#[test]
fn role_that_is_a_member_only_through_another_role_is_refused() {
    let scene = scene();
    for route in scene.own_routes() {
        let (role, between) = (scene.fresh_name(), scene.fresh_name());
        scene.cluster.sql(&format!("CREATE ROLE {} IN ROLE azure_ad_user", quoted(&between)));
        scene.cluster.sql(&format!("CREATE USER {} IN ROLE {}", quoted(&role), quoted(&between)));
        scene.attempt(route, &role).expect_refused("role_not_member");
        scene.cluster.sql(&format!("GRANT azure_ad_user TO {}", quoted(&role)));
        scene.attempt(route, &role).expect_admitted();
    }
}

#[test]
fn membership_revoked_while_the_prompt_waits_counts() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        let attempt = scene.attempt(route, &role);
        let token = scene.token(&role).mint();

        let waiting = attempt.until_asked();
        let login = wire::finish(waiting, token.as_bytes());
        assert!(matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");

        let waiting = attempt.until_asked();
        scene.cluster.sql(&format!("REVOKE azure_ad_user FROM {}", quoted(&role)));
        let mark = scene.cluster.log_mark();
        let login = wire::finish(waiting, token.as_bytes());
        attempt.expect_refusal(login, mark, "role_not_member");
    }
}

#[test]
fn membership_granted_while_the_prompt_waits_counts() {
    let scene = scene();
    for route in scene.own_routes() {
        let role = scene.fresh_name();
        scene.cluster.sql(&format!("CREATE USER {}", quoted(&role)));
        let waiting = scene.attempt(route, &role).until_asked();
        scene.cluster.sql(&format!("GRANT azure_ad_user TO {}", quoted(&role)));
        let login = wire::finish(waiting, scene.token(&role).mint().as_bytes());
        assert!(matches!(login.outcome, Outcome::Accepted(_)), "{route}: {login:?}");
    }
}

#[test]
fn role_that_does_not_exist_is_refused_as_any_other() {
    let scene = scene();
    let role = scene.fresh_name();
    for route in scene.own_routes() {
        let attempt = scene.attempt(route, &role);
        let missing = attempt.expect_turned_away(attempt.login());
        attempt.expect_refused("role_missing");
        // The answer must not tell who exists: it differs in the name only.
        let present = scene.member();
        let attempt = scene.attempt(route, &present).with("hunter2");
        let refused = attempt.expect_turned_away(attempt.login());
        assert_eq!(missing.message.replace(&role, "X"), refused.message.replace(&present, "X"));
        assert_eq!(missing.sqlstate, refused.sqlstate);
    }
    // On a trust line it is core that says so.
    let attempt = scene.attempt(Route::Trust, &role);
    let answer = attempt.expect_turned_away(attempt.login());
    assert_eq!(answer.sqlstate, "28000", "{answer:?}");
}

#[test]
fn name_in_another_case_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        scene.attempt(route, &role).expect_admitted();
        let token = scene.token(&role.to_uppercase()).mint();
        scene.attempt(route, &role).with(token).expect_refused("role_not_bound");
        let token = scene.token(&role.replacen('u', "U", 1)).mint();
        scene.attempt(route, &role).with(token).expect_refused("role_not_bound");
    }
}

#[test]
fn name_of_63_bytes_is_never_matched_by_name() {
    let scene = scene();
    for route in scene.token_routes() {
        let stem = scene.fresh_name();
        let name = |bytes: usize| format!("{}{stem}", "x".repeat(bytes - stem.len()));
        for bytes in [62, 63] {
            scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(&name(bytes))));
        }
        scene.attempt(route, &name(62)).expect_admitted();
        scene.attempt(route, &name(63)).expect_refused("name_too_long");

        // Core cuts the longer name to the role of 63 bytes; the token is that of the longer name, or of the cut one.
        let long = format!("{}y", name(63));
        for token in [scene.token(&long).mint(), scene.token(&name(63)).mint()] {
            let mark = scene.cluster.log_mark();
            let attempt = scene.attempt(route, &long).with(token);
            let answer = attempt.expect_turned_away(attempt.login());
            assert!(["28P01", "28000"].contains(&answer.sqlstate.as_str()), "{answer:?}");
            scene.cluster.wait_for_log(mark, "code=name_too_long");
        }
    }
}

#[test]
fn role_past_its_valid_until_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        scene.cluster.sql(&format!("ALTER ROLE {} VALID UNTIL '2100-01-01'", quoted(&role)));
        scene.attempt(route, &role).expect_admitted();
        scene.cluster.sql(&format!("ALTER ROLE {} VALID UNTIL 'infinity'", quoted(&role)));
        scene.attempt(route, &role).expect_admitted();
        for past in ["2020-01-01", "-infinity"] {
            scene.cluster.sql(&format!("ALTER ROLE {} VALID UNTIL '{past}'", quoted(&role)));
            scene.attempt(route, &role).expect_refused("role_expired");
        }
    }
}

#[test]
fn superuser_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        scene.attempt(route, &role).expect_admitted();
        scene.cluster.sql(&format!("ALTER ROLE {} SUPERUSER", quoted(&role)));
        scene.attempt(route, &role).expect_refused("role_superuser");
    }
}

#[test]
fn superuser_that_is_no_member_is_not_taken_for_one() {
    let scene = scene();
    let role = scene.fresh_name();
    scene.cluster.sql(&format!("CREATE USER {} SUPERUSER PASSWORD 'hunter2'", quoted(&role)));
    let login = scene.attempt(Route::Password, &role).with("hunter2").login();
    assert!(matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");
    for route in scene.own_routes() {
        scene.attempt(route, &role).expect_refused("role_not_member");
    }
}

#[test]
fn role_that_may_not_log_in_is_refused() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        scene.attempt(route, &role).expect_admitted();
        scene.cluster.sql(&format!("ALTER ROLE {} NOLOGIN", quoted(&role)));
        scene.attempt(route, &role).expect_refused("role_nologin");
    }
}

#[test]
fn group_name_does_not_admit_by_default() {
    let scene = scene();
    for route in scene.token_routes() {
        let role = scene.member();
        scene.attempt(route, &role).expect_admitted();
        let other = scene.fresh_name();
        let token = scene.token(&other).groups(&[role.as_str()]).mint();
        scene.attempt(route, &role).with(token).expect_refused("role_not_bound");
    }
}

#[test]
fn role_name_cannot_forge_a_log_line() {
    let scene = scene();
    for route in scene.own_routes() {
        role_name_forges_no_line_by(scene, route);
    }
}

fn role_name_forges_no_line_by(scene: &Scene, route: Route) {
    let mark = scene.cluster.log_mark();
    let forged = "x\" code=none\n[1] LOG:  pgaad: login admitted: route=pam role=\"forged@example.com\" ";
    let attempt = scene.attempt(route, forged);
    attempt.expect_turned_away(attempt.login());
    scene.cluster.wait_for_log(mark, "pgaad: login refused:");
    let log = scene.cluster.log_since(mark);
    // What a line is, its beginning says; the name may stand inside, in quotes.
    let head = |line: &&str| {
        line.split_once("LOG:  ").is_some_and(|(_, text)| text.starts_with("pgaad: login admitted"))
    };
    let forged = |line: &&str| head(line) && line.contains("forged@");
    assert!(!log.lines().any(|line| forged(&line)), "{log}");
    assert!(log.lines().any(|line| line.contains(r#" upn="x\" code=none\u{a}[1] LOG:"#)), "{log}");
}

#[test]
fn name_with_the_servers_suffix_means_the_role_without_it() {
    let scene = Scene::with(|cluster| cluster.conf("pgaad.server_name", "myserver"));
    let role = scene.member();
    let token = scene.token(&role).mint();
    for route in scene.token_routes() {
        let attempt = scene.attempt(route, &format!("{role}@myserver")).with(&token);
        let Outcome::Accepted(mut session) = attempt.login().outcome else { panic!("refused") };
        let users = "SELECT current_user || ' ' || session_user";
        assert_eq!(session.value(users), Some(format!("{role} {role}")));

        scene.attempt(route, &role).with(&token).expect_admitted();
        // A role that has the whole name is meant before any other.
        let whole = scene.fresh_name();
        scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(&whole)));
        scene
            .cluster
            .sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(&format!("{whole}@myserver"))));
        let attempt = scene.attempt(route, &format!("{whole}@myserver")).with(scene.token(&whole).mint());
        attempt.expect_refused("role_not_bound");
    }
    for route in scene.own_routes() {
        let other = scene.attempt(route, &format!("{role}@otherserver")).with(&token);
        other.expect_refused("role_missing");
    }
    // A method that knows nothing of tokens knows nothing of suffixes.
    scene.cluster.sql("CREATE ROLE suffixed LOGIN PASSWORD 'hunter2'");
    let attempt = scene.attempt(Route::Password, "suffixed@myserver").with("hunter2");
    assert!(matches!(attempt.login().outcome, Outcome::Refused(_)));
}

#[test]
fn role_whose_name_is_no_utf8_is_a_member_all_the_same_and_opens_by_its_id_only() {
    const NAME: &[u8] = b"j\xfcrgen";
    let scene = Scene::start();
    scene.cluster.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let socket = scene.cluster.socket_dir();
    let connection = format!("host={} dbname=latin user=postgres client_encoding=UTF8", socket.display());
    let bound = format!("'aadauth,oid={},type=user'", tenant::object_id("ann@example.com"));
    let make = |sql: &str| {
        let output = scene.cluster.psql(&connection, None, sql);
        assert!(output.status.success(), "{output:?}");
    };
    make("CREATE USER \"j\u{fc}rgen\" PASSWORD 'hunter2' IN ROLE azure_ad_user");

    let login = |route: Route, password: &str| {
        let target = scene.cluster.tcp(route.database());
        let mut connection = Connection::connect(&target).expect("the server listens");
        let database = route.database().as_bytes();
        let body = [&[0, 3, 0, 0], &b"user\0"[..], NAME, b"\0database\0", database, b"\0\0"].concat();
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        connection.send_raw(&[&length[..], &body].concat()).expect("the server reads");
        let Progress::Challenged(connection) = connection.read_login() else { panic!("not asked") };
        matches!(wire::finish(connection, password.as_bytes()).outcome, Outcome::Accepted(_))
    };
    let mark = scene.cluster.log_mark();
    assert!(!login(Route::Password, "hunter2"), "a member must not get in by a password");
    scene.cluster.wait_for_log(mark, "code=method_not_allowed");

    let token = scene.token("ann@example.com").mint();
    for route in scene.token_routes() {
        assert!(!login(route, &token));
        // Not even a token with the very name that the bytes are shown as.
        assert!(!login(route, &scene.token("j\u{fffd}rgen").mint()));
    }
    make(&format!("SECURITY LABEL FOR pgaadauth ON ROLE \"j\u{fc}rgen\" IS {bound}"));
    for route in scene.token_routes() {
        assert!(login(route, &token));
    }
}
