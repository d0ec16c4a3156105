//! Every token of the core's table of attacks, sent to a live server by every way in: the core's own
//! tests, with another `assert_refused`. What is hostile on the server's side, keys and roles, stays there.

#![allow(clippy::as_conversions)]

#[path = "../crates/core/tests/attacks/algorithm.rs"]
mod algorithm;
#[path = "../crates/core/tests/attacks/claims.rs"]
mod claims;
#[path = "../crates/core/tests/login/mod.rs"]
mod core_login;
#[path = "../crates/core/tests/attacks/encoding.rs"]
mod encoding;
#[path = "../crates/core/tests/attacks/header.rs"]
mod header;
#[path = "../crates/core/tests/attacks/kinds.rs"]
mod kinds;
#[path = "../crates/core/tests/attacks/names.rs"]
mod names;
#[path = "../crates/core/tests/attacks/payload.rs"]
mod payload;

/// The core's login, tried on a server.
mod login {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use pgaad_tests::scene::quoted;
    use pgaad_tests::wire::Outcome;
    use pgaad_tests::{Installation, PATIENCE, Route, Scene, run_directory};

    pub(crate) use crate::core_login::*;

    /// Longest message that core reads before a login is over, its length and closing NUL included
    /// (`PG_MAX_AUTH_TOKEN_LENGTH`).
    const LONGEST_MESSAGE: usize = 65_535;

    /// A server with the core tests' keys, from a file, and nobody to fetch others from.
    fn scene() -> &'static Scene {
        static SCENE: OnceLock<Scene> = OnceLock::new();
        SCENE.get_or_init(|| {
            let file = run_directory::fresh("jwks");
            std::fs::write(&file, jwks().to_string()).expect("the run's directory is writable");
            Scene::on(&Installation::pgaad(), |cluster| {
                cluster
                    .conf("pgaad.authority", keys().authority())
                    .conf("pgaad.jwks_file", file.display().to_string())
                    .conf("pgaad.max_token_bytes", "65535")
            })
        })
    }

    /// Whether core hands a password of these bytes to anybody: it answers an empty one on `pam` itself,
    /// and one that does not fit into a message, or ends early, everywhere.
    fn arrives(token: &[u8], route: Route) -> bool {
        let fits = token.len() + 5 <= LONGEST_MESSAGE && !token.contains(&0);
        match route {
            Route::Pam => fits && !token.is_empty(),
            // Core itself refuses what is no b64token (RFC 6750 §2.1), in a message with some words around it.
            Route::OAuth => {
                let is_b64token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
                let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
                let (bearer, _) = token.split_at(token.len() - padding);
                token.len() + 100 <= LONGEST_MESSAGE && !bearer.is_empty() && bearer.iter().all(is_b64token)
            }
            _ => fits,
        }
    }

    fn refuse(scene: &Scene, route: Route, attack: &Attack, token: &[u8], role: &str) {
        let mark = scene.cluster.log_mark();
        let outcome = scene.attempt(route, role).with(token).login().outcome;
        let Outcome::Refused(answers) = outcome else { panic!("{}: let in by {route}", attack.name) };
        if arrives(token, route) {
            let codes: Vec<_> = answers.iter().map(|answer| answer.sqlstate.as_str()).collect();
            assert_eq!(codes, ["28P01"], "{}: {answers:?}", attack.name);
            let line = format!("pgaad: login refused: code={} route={route} ", attack.code);
            let found = scene.cluster.log().wait_for_line(mark, &[&line], PATIENCE);
            found.unwrap_or_else(|log| panic!("{}: no line with {line} in\n{log}", attack.name));
        }
    }

    /// Of each class, how many rows we do not decide on a server: by a password, and by `oauth`. Such a row differs
    /// from its twin in more than what a client sends, or core refuses its token before anybody is asked. Of all other
    /// classes every row is sent, and decided by us.
    const NOT_DECIDED: [(&str, usize, usize); 11] = [
        ("A JSON", 4, 4),
        ("A kid", 1, 1),
        ("B base64url", 6, 57),
        ("B duplicates", 1, 1),
        ("B parts", 0, 5),
        ("B payload", 4, 4),
        ("B signature", 1, 1),
        ("B size", 4, 4),
        ("B wrapping", 4, 18),
        ("C audience", 4, 4),
        ("C time", 10, 10),
    ];

    /// Sees that a server admits each twin and refuses each hostile token with its code, by every way in.
    pub(crate) fn assert_refused(class: &str, attacks: &[Attack]) {
        // One class at a time, so that the log's next line is the answer to the last token.
        static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let scene = scene();
        let routes = scene.token_routes();
        let mut twins = BTreeSet::new();
        let mut decided = vec![0; routes.len()];
        for attack in attacks {
            let (Some(hostile), Some(twin)) = (attack.hostile.sent(), attack.twin.sent()) else { continue };
            for role in [hostile.1, twin.1] {
                if made.insert(role.to_owned()) {
                    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(role)));
                }
            }
            for (route, decided) in routes.iter().copied().zip(&mut decided) {
                if arrives(twin.0, route) && twins.insert((route.database(), twin)) {
                    let outcome = scene.attempt(route, twin.1).with(twin.0).login().outcome;
                    assert!(matches!(outcome, Outcome::Accepted(_)), "{}: {outcome:?}", attack.name);
                }
                if route == Route::OAuth && hostile.0.starts_with(b" ") {
                    continue; // Spaces before a bearer token are none of it (RFC 7628 §3.1).
                }
                refuse(scene, route, attack, hostile.0, hostile.1);
                *decided += usize::from(arrives(hostile.0, route));
            }
        }
        drop(made);
        let (_, by_password, by_oauth) =
            NOT_DECIDED.into_iter().find(|(name, ..)| *name == class).unwrap_or((class, 0, 0));
        for (route, decided) in routes.into_iter().zip(decided) {
            let not_decided = if route == Route::OAuth { by_oauth } else { by_password };
            assert_eq!(decided + not_decided, attacks.len(), "{class}: rows decided by {route}");
        }
        assert!(!twins.is_empty() || by_password == attacks.len(), "{class}: no twin was tried");
    }
}
