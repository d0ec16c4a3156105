//! Under `make sanitize` a fault of memory is seen, and fails the test whose server had it.

use pgaad_tests::log::LogMark;
use pgaad_tests::{Installation, Route, Scene};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_read_past_the_end_fails_the_test() {
    if !is_set("PGAAD_SANITIZED") {
        return;
    }
    let scene = Scene::on(&Installation::faulty(), |cluster| cluster);
    let role = scene.member();
    scene.cluster.set("pgaad.fault", "overread");
    let mark = scene.cluster.log_mark();
    scene.attempt(Route::Trust, &role).login();
    scene.cluster.wait_for_log(mark, "AddressSanitizer: heap-buffer-overflow");
    let ended = catch_unwind(AssertUnwindSafe(|| drop(scene))).expect_err("the report was overlooked");
    let told = ended.downcast::<String>().expect("a panic has words");
    assert!(told.contains("the server's memory or arithmetic went wrong"), "{told}");
}

/// Memory that was never written is what AddressSanitizer does not see.
#[test]
fn valgrind_reports_nothing_of_ours() {
    if !is_set("PGAAD_VALGRIND") {
        return;
    }
    let scene = Scene::with(|cluster| {
        cluster.run_by(&[
            "valgrind",
            "--quiet",
            "--trace-children=yes",
            "--error-limit=no",
            "--num-callers=40",
        ])
    });
    let role = scene.member();
    for route in scene.token_routes() {
        let mut session = scene.attempt(route, &role).expect_admitted();
        assert!(session.value("SELECT pgaad.claims() ->> 'oid'").is_some());
        scene.attempt(route, &role).with("hunter2").expect_refused("malformed_token");
    }
    for view in ["pgaad.status", "pgaad.sessions", "pgaad.events", "pgaad.stat_logins", "pgaad.check()"] {
        scene.cluster.sql(&format!("SELECT * FROM {view}"));
    }
    scene.cluster.sql("SELECT pgaad.refresh()");
    scene.cluster.sql("CREATE ROLE other IN ROLE azure_ad_user; DROP ROLE other");
    scene.cluster.stop();
    let log = scene.cluster.log().since(LogMark::START);
    let reports = log.split("\n==").filter(|line| line.contains("/pgaad.so)")).collect::<Vec<_>>();
    assert!(log.contains("pgaad: login admitted"), "{log}");
    assert!(reports.is_empty(), "{reports:#?}");
}

/// Set by `.ci/sanitize` alone.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}
