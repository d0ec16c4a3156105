//! `pgaad.guard_roles`: the second lock for `trust` lines.

use pgaad_tests::scene::quoted;
use pgaad_tests::wire::Outcome;
use pgaad_tests::{Route, Scene};

fn setting_of(scene: &Scene, role: &str) -> String {
    scene.cluster.value(&format!(
        "SELECT coalesce((SELECT array_to_string(setconfig, ';') FROM pg_db_role_setting
                          WHERE setrole = '{}'::regrole AND setdatabase = 0), 'none')",
        quoted(role)
    ))
}

#[test]
fn guarded_role_is_locked_out_of_a_trust_line_when_the_preload_is_lost() {
    let scene = Scene::start();
    let role = scene.member();
    scene.cluster.sql("SELECT pgaad.guard_roles(true)");
    assert_eq!(setting_of(&scene, &role), "session_preload_libraries=pgaad");
    scene.attempt(Route::Trust, &role).expect_admitted();

    scene.cluster.append_conf("shared_preload_libraries = ''");
    scene.cluster.restart();
    let login = scene.attempt(Route::Trust, &role).login();
    let Outcome::Refused(answers) = login.outcome else { panic!("let in without a token") };
    assert!(answers[0].message.contains("must be loaded via shared_preload_libraries"), "{answers:?}");

    // This is what the guard is for: without it core lets anybody in.
    scene.cluster.sql(&format!("ALTER ROLE {} RESET session_preload_libraries", quoted(&role)));
    let login = scene.attempt(Route::Trust, &role).login();
    assert!(matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");
}

#[test]
fn guard_keeps_what_else_is_loaded_and_can_be_taken_away() {
    let scene = Scene::start();
    let (plain, loaded, stranger) = (scene.member(), scene.member(), scene.fresh_name());
    scene.cluster.sql(&format!("CREATE ROLE {} LOGIN", quoted(&stranger)));
    let set = format!(
        "ALTER ROLE {} SET session_preload_libraries = 'auto_explain', 'passwordcheck'",
        quoted(&loaded)
    );
    scene.cluster.sql(&set);
    let before = setting_of(&scene, &loaded);
    for _ in 0..2 {
        scene.cluster.sql("SELECT pgaad.guard_roles(true)");
        assert_eq!(setting_of(&scene, &plain), "session_preload_libraries=pgaad");
        assert_eq!(setting_of(&scene, &loaded), format!("{before}, pgaad"));
        assert_eq!(setting_of(&scene, &stranger), "none");
    }
    scene.cluster.sql("SELECT pgaad.guard_roles(false)");
    assert_eq!(setting_of(&scene, &plain), "none");
    assert_eq!(setting_of(&scene, &loaded), before);
}

#[test]
fn library_loaded_into_a_session_without_preload_is_an_error_the_session_survives() {
    let scene = Scene::start();
    scene.cluster.append_conf("shared_preload_libraries = ''");
    scene.cluster.restart();
    let answer = scene.cluster.try_sql("LOAD 'pgaad'").expect_err("it was not preloaded");
    assert_eq!((answer.severity.as_str(), answer.sqlstate.as_str()), ("ERROR", "55000"), "{answer:?}");
}
