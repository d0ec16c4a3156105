//! `pgaad.session_end = token`: the session ends when its token does, whatever it is doing.

use pgaad_tests::wire::{Answer, Session};
use pgaad_tests::{Scene, wait_until};
use std::time::{Duration, Instant};
use tenant::Behavior;

/// Long enough for a login on a loaded machine.
const LIFE: i64 = 12;

fn scene(end: &str) -> Scene {
    Scene::with(|cluster| cluster.conf("pgaad.session_end", end).conf("pgaad.clock_skew", "0"))
}

/// A session whose token ends in `seconds`.
fn session(scene: &Scene, role: &str, seconds: i64) -> Session {
    let token = scene.token(role).not_before_in(-600).expires_in(seconds).mint();
    scene.attempt(scene.route(), role).with(token).expect_admitted()
}

fn expect_ended(answer: Answer, doing: &str) {
    assert_eq!(
        (answer.severity.as_str(), answer.sqlstate.as_str()),
        ("FATAL", "57P01"),
        "{doing}: {answer:?}"
    );
}

#[test]
fn session_ends_with_its_token_idle_busy_in_a_transaction_and_after_errors() {
    let scene = scene("token");
    let role = scene.member();
    let began = Instant::now();
    let mark = scene.cluster.log_mark();
    std::thread::scope(|scope| {
        for (doing, before, then) in [
            ("idle", "SELECT 1", ""),
            ("asleep", "SELECT 1", "SELECT pg_sleep(60)"),
            ("busy", "SELECT 1", "SELECT count(*) FROM generate_series(1, 1000000000000)"),
            ("in a transaction", "BEGIN; SELECT 1", ""),
            ("in a failed transaction", "BEGIN; SELECT 1/0", ""),
            ("after errors", "SELECT 1/0", ""),
            (
                "in a function that catches errors",
                "SELECT 1",
                "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(0.1); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$",
            ),
        ] {
            let (scene, role) = (&scene, &role);
            scope.spawn(move || {
                let mut session = session(scene, role, LIFE);
                let _ = session.query(before);
                if then.is_empty() {
                    let ended = format!("code=token_ended pid={}", session.backend_pid);
                    scene.cluster.wait_for_log(mark, &ended);
                }
                let answer = session.query(if then.is_empty() { "SELECT 1" } else { then });
                expect_ended(answer.expect_err(doing), doing);
                assert!(began.elapsed() >= Duration::from_secs(LIFE.unsigned_abs() - 1), "{doing}: too soon");
            });
        }
        // The twins: a token that lives on, and a session without one.
        let mut longer = session(&scene, &role, 3_600);
        longer.query(&format!("SELECT pg_sleep({})", LIFE + 6)).expect("its token is good");
        let left = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user";
        wait_until("nobody else is left", || longer.value(left).as_deref() == Some("1"));
    });
    // The worker tells of an end after it.
    let count = || scene.cluster.log_since(mark).matches("code=token_ended").count();
    wait_until("the worker tells of seven ends", || count() >= 7);
    assert_eq!(count(), 7);
}

#[test]
fn session_ends_with_its_token_while_the_worker_waits_for_the_provider() {
    let scene = scene("token");
    let role = scene.member();
    // It ends while the worker waits, which gives up after ten seconds.
    let mut session = session(&scene, &role, 6);
    let mark = scene.cluster.log_mark();
    scene.tenant.set_behavior(Behavior::Stalled);
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "f");
    let failed = "key refresh failed: code=timed_out";
    scene.cluster.wait_for_log(mark, failed);
    let log = scene.cluster.log_since(mark);
    let (before, _) = log.split_once(failed).expect("it is there");
    assert!(before.contains("code=token_ended"), "{log}");
    expect_ended(session.query("SELECT 1").expect_err("its token has ended"), "idle");
}

#[test]
fn skew_counts_and_a_place_is_free_again_when_its_session_ends() {
    let scene =
        Scene::with(|cluster| cluster.conf("pgaad.session_end", "token").conf("pgaad.clock_skew", "1h"));
    let role = scene.member();
    for _ in 0..30 {
        session(&scene, &role, -60);
    }
    let mut last = session(&scene, &role, -60);
    let mark = scene.cluster.log_mark();
    assert_eq!(last.value("SELECT pg_sleep(2)::text || 'alive'").as_deref(), Some("alive"));
    assert!(!scene.cluster.log_since(mark).contains("token_ended"));
}

#[test]
fn session_lives_on_where_the_setting_is_never_and_where_it_is_taken_back() {
    let scene = scene("never");
    let role = scene.member();
    let mut unwatched = session(&scene, &role, LIFE);
    scene.cluster.set("pgaad.session_end", "token");
    let mut watched = session(&scene, &role, LIFE);
    scene.cluster.set("pgaad.session_end", "never");
    std::thread::sleep(Duration::from_secs(LIFE.unsigned_abs() + 2));
    for session in [&mut unwatched, &mut watched] {
        assert_eq!(session.value("SELECT 1").as_deref(), Some("1"));
    }
    // Put in force again, it holds for those that were watched.
    let mark = scene.cluster.log_mark();
    scene.cluster.set("pgaad.session_end", "token");
    scene.cluster.wait_for_log(mark, "code=token_ended");
    expect_ended(watched.query("SELECT 1").expect_err("its token has ended"), "watched");
    assert_eq!(unwatched.value("SELECT 1").as_deref(), Some("1"));
}
