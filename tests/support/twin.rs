//! A negative test proves first that its twin is admitted, so that it cannot pass for the wrong reason.

use crate::scene::Scene;
use std::sync::OnceLock;
use tenant::Token;

/// The scene that the tests of one file share; they keep apart by their roles and leave its settings alone.
pub fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(Scene::start)
}

/// A good token is admitted; the same token with one change is refused with `code`, by every way in.
/// Returns the log lines of the refusals.
pub fn refuses(code: &str, change: impl Fn(Token) -> Token) -> Vec<String> {
    refuses_from(|good| good, code, change)
}

/// As [`refuses`], when the good token is not quite the default one.
pub fn refuses_from(
    good: impl Fn(Token) -> Token,
    code: &str,
    change: impl Fn(Token) -> Token,
) -> Vec<String> {
    let scene = scene();
    let attempt = |route| {
        let role = scene.member();
        let twin = good(scene.token(&role));
        scene.attempt(route, &role).with(twin.clone().mint()).expect_admitted();
        scene.attempt(route, &role).with(change(twin).mint()).expect_refused(code)
    };
    scene.token_routes().into_iter().map(attempt).collect()
}

/// A good token is admitted; these bytes in its place are refused with `code`.
pub fn refuses_password(code: &str, password: &[u8]) {
    let scene = scene();
    for route in scene.routes() {
        let role = scene.member();
        scene.attempt(route, &role).expect_admitted();
        scene.attempt(route, &role).with(password).expect_refused(code);
    }
}
