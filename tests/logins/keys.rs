//! Where keys come from, and what a login costs when the identity provider is away, slow, lying or flooded.

use pgaad_tests::log::LogMark;
use pgaad_tests::wire::{self, Outcome};
use pgaad_tests::{Route, Scene, run_directory, wait_until};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tenant::{Behavior, Signer};

/// A late provider's pause before each of a fetch's two answers: long enough for logins to come meanwhile,
/// short enough for two fetches within the three seconds that a login waits by default (`pgaad.key_wait`).
const LATE: Duration = Duration::from_millis(400);

/// How long some good logins took, each of which must succeed.
fn times_of_logins(scene: &Scene, role: &str, count: usize) -> Vec<Duration> {
    let attempt = scene.attempt(scene.route(), role);
    let time_of_login = |_| {
        let start = Instant::now();
        let login = attempt.login();
        assert!(matches!(login.outcome, Outcome::Accepted(_)), "{login:?}");
        start.elapsed()
    };
    (0..count).map(time_of_login).collect()
}

fn refresh(scene: &Scene) -> bool {
    scene.cluster.value("SELECT pgaad.refresh()") == "t"
}

/// Logins with known keys do not wait while the worker is stuck with a provider that behaves so; one with an unknown
/// key waits no longer than it may. `until` is what ends the fetch.
///
/// The measure is the fetch itself, which is given up after ten seconds, more than three times `pgaad.key_wait`: by
/// then all logins here are over, and would not be if one kind of them waited each time.
fn logins_go_on_while_the_provider_is(behavior: Behavior, until: &str) {
    const LOGINS: usize = 5;
    let scene = Scene::start();
    let role = scene.member();
    let unknown = scene.token(&role).signed_by(Signer::Unpublished).mint();
    let unknown = scene.attempt(scene.route(), &role).with(unknown);
    let (fetches, mark) = (scene.tenant.fetches(), scene.cluster.log_mark());
    scene.tenant.set_behavior(behavior);
    thread::scope(|threads| {
        let asked = threads.spawn(|| refresh(&scene));
        wait_until("the fetch begins", || scene.tenant.fetches() > fetches);
        times_of_logins(&scene, &role, LOGINS);
        // The first one waits; within the cool-down there is nothing to wait for.
        for _ in 0..LOGINS {
            unknown.expect_refused("key_unknown");
        }
        let log = scene.cluster.log_since(mark);
        let is_over = log.contains("key refresh failed") || log.contains("keys refreshed");
        // An answer without an end is given up as soon as it is too large: of that one, only that logins go on.
        assert!(!is_over || until == "too_large", "logins wait for the worker:\n{log}");

        scene.attempt(scene.route(), &role).expect_admitted();
        assert!(!asked.join().expect("pgaad.refresh() answers"), "a bad answer is not a good one");
    });
    scene.cluster.wait_for_log(mark, &format!("key refresh failed: code={until}"));
    scene.tenant.set_behavior(Behavior::Well);
    assert!(refresh(&scene));
}

#[test]
fn logins_go_on_while_the_provider_stalls() {
    logins_go_on_while_the_provider_is(Behavior::Stalled, "timed_out");
}

#[test]
fn logins_go_on_while_the_provider_stalls_before_tls() {
    logins_go_on_while_the_provider_is(Behavior::StalledBeforeTls, "timed_out");
}

#[test]
fn logins_go_on_while_the_provider_trickles() {
    logins_go_on_while_the_provider_is(Behavior::Slow(Duration::from_millis(200)), "timed_out");
}

#[test]
fn logins_go_on_while_the_provider_never_ends() {
    logins_go_on_while_the_provider_is(Behavior::Endless, "too_large");
}

#[test]
fn bad_answer_never_drops_good_keys() {
    let scene = Scene::start();
    let role = scene.member();
    let keys = scene.tenant.keys();
    let body = |metadata: Value, jwks: Value| Behavior::Body {
        metadata: Some(metadata.to_string()),
        jwks: Some(jwks.to_string()),
    };
    let changed = |member: &str, value: &str| {
        let mut metadata = keys.metadata();
        metadata[member] = json!(value);
        metadata
    };
    let oct = json!({ "keys": [{ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }] });
    let many: Vec<Value> = (0..65)
        .map(|number| {
            let mut key = keys.jwks()["keys"][0].clone();
            key["kid"] = json!(format!("k{number}"));
            key
        })
        .collect();
    let authority = scene.tenant.authority();
    let bad = [
        ("html", Behavior::Html),
        ("status 500", Behavior::Status(500)),
        ("status 404", Behavior::Status(404)),
        ("redirect", Behavior::Redirect(format!("{authority}/elsewhere"))),
        ("truncated", Behavior::Truncated),
        ("empty set", Behavior::EmptySet),
        ("garbage", Behavior::Body { metadata: Some("{".into()), jwks: Some("\u{0}".into()) }),
        ("garbage keys", Behavior::Body { metadata: None, jwks: Some("[1".into()) }),
        ("foreign issuer", body(changed("issuer", "https://localhost/x/v2.0"), keys.jwks())),
        ("keys elsewhere", body(changed("jwks_uri", "https://127.0.0.2:1/keys"), keys.jwks())),
        ("keys in clear", body(changed("jwks_uri", &authority.replace("https", "http")), keys.jwks())),
        ("symmetric keys", body(keys.metadata(), oct)),
        ("too many keys", body(keys.metadata(), json!({ "keys": many }))),
    ];
    for (what, behavior) in bad {
        let mark = scene.cluster.log_mark();
        scene.tenant.set_behavior(behavior);
        assert!(!refresh(&scene), "{what}: taken for a good answer");
        scene.cluster.wait_for_log(mark, "pgaad: key refresh failed: code=");
        scene.attempt(scene.route(), &role).expect_admitted();
    }
    scene.tenant.stop();
    assert!(!refresh(&scene), "nobody listens");
    scene.attempt(scene.route(), &role).expect_admitted();
    scene.tenant.start_again();
    scene.tenant.set_behavior(Behavior::Well);
    assert!(refresh(&scene));
    scene.attempt(scene.route(), &role).expect_admitted();
}

#[test]
fn restart_and_crash_while_the_provider_is_dead_lock_nobody_out() {
    let scene = Scene::start();
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_admitted();
    scene.tenant.stop();
    let sources = "SELECT string_agg(DISTINCT source, ',') FROM pgaad.keys";

    scene.cluster.restart();
    wait_for_keys(&scene);
    scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(scene.cluster.value(sources), "disk");

    scene.cluster.kill_a_backend();
    wait_for_keys(&scene);
    scene.attempt(scene.route(), &role).expect_admitted();

    // A token that was refused before is refused from the file as well.
    let token = scene.token(&role).signed_by(Signer::Consumer).mint();
    scene.attempt(scene.route(), &role).with(token).expect_refused("key_issuer_mismatch");

    scene.tenant.start_again();
    assert!(refresh(&scene));
    assert_eq!(scene.cluster.value(sources), "network");
    scene.attempt(scene.route(), &role).expect_admitted();
}

/// The worker reads its file a moment after the server takes connections.
fn wait_for_keys(scene: &Scene) {
    wait_until("there are keys", || scene.cluster.value("SELECT count(*) FROM pgaad.keys") != "0");
}

#[test]
fn damaged_or_foreign_key_file_is_not_used() {
    let scene = Scene::start();
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_admitted();
    let file = scene.cluster.data_dir().join("pgaad/keys.json");
    let good = std::fs::read_to_string(&file).expect("the worker keeps its keys");
    scene.tenant.stop();
    let other = good.replace(&scene.tenant.tenant_id(), tenant::CONSUMER_TENANT_ID);
    assert_ne!(other, good);
    for text in [&good[..good.len() / 2], "", "\u{0}", &other] {
        scene.cluster.stop();
        scene.cluster.write_as_server("pgaad/keys.json", text);
        scene.cluster.start_again().expect("a bad key file stops no server");
        scene.attempt(scene.route(), &role).expect_refused("no_keys");
    }
    scene.cluster.stop();
    scene.cluster.write_as_server("pgaad/keys.json", &good);
    scene.cluster.start_again().expect("the server starts");
    wait_for_keys(&scene);
    scene.attempt(scene.route(), &role).expect_admitted();
}

/// Where it is of no interest how long a fetch takes on a busy machine.
fn patient_scene() -> Scene {
    Scene::with(|cluster| cluster.conf("pgaad.key_wait", "30s"))
}

#[test]
fn new_signing_key_is_accepted_on_its_first_login() {
    let scene = patient_scene();
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_admitted();
    let before = scene.tenant.fetches();
    let kid = scene.tenant.rotate();
    let mark = scene.cluster.log_mark();
    scene.attempt(scene.route(), &role).with(scene.token(&role).mint()).expect_admitted();
    scene.cluster.wait_for_log(mark, &format!("kid=\"{kid}\""));
    scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(scene.tenant.fetches(), before + 1);
}

#[test]
fn logins_that_meet_a_new_key_together_cause_one_fetch_and_all_get_in() {
    let scene = patient_scene();
    let role = scene.member();
    assert!(refresh(&scene), "no fetch is under way any more");
    let before = scene.tenant.fetches();
    scene.tenant.rotate();
    // Slow enough for all of them to come while the fetch is under way.
    scene.tenant.set_behavior(Behavior::Late(LATE));
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| scene.attempt(scene.route(), &role).expect_admitted());
        }
    });
    assert_eq!(scene.tenant.fetches(), before + 1);
}

/// A fetch that began before the rotation cannot bring the key, so a caller that joined it needs the next one.
#[test]
fn logins_that_joined_a_fetch_from_before_the_new_key_all_get_in_with_the_next_one() {
    let scene = patient_scene();
    let role = scene.member();
    let (fetches, key_sets) = (scene.tenant.fetches(), scene.tenant.key_sets());
    scene.tenant.set_behavior(Behavior::Late(LATE));
    thread::scope(|threads| {
        threads.spawn(|| assert!(refresh(&scene)));
        wait_until("a fetch is answered", || scene.tenant.key_sets() > key_sets);
        scene.tenant.rotate();
        for _ in 0..8 {
            threads.spawn(|| scene.attempt(scene.route(), &role).expect_admitted());
        }
    });
    assert_eq!(scene.tenant.fetches(), fetches + 2);
}

/// An operator who takes an authority away must not find its keys published by the fetch that was on its way.
#[test]
fn keys_that_arrive_when_their_authority_is_not_trusted_any_more_are_not_taken() {
    let scene = Scene::start();
    let stranger = tenant::Tenant::start(&run_directory::fresh("tenant"));
    assert!(refresh(&scene), "no fetch is under way any more");
    let (fetches, mark) = (scene.tenant.fetches(), scene.cluster.log_mark());
    scene.tenant.set_behavior(Behavior::Late(8 * LATE));
    thread::scope(|threads| {
        let asked = threads.spawn(|| refresh(&scene));
        wait_until("the fetch begins", || scene.tenant.fetches() > fetches);
        scene.cluster.append_conf(&format!("pgaad.ca_file = '{}'", stranger.ca_file().display()));
        scene.cluster.reload();
        assert!(!asked.join().expect("pgaad.refresh() answers"), "keys from somebody who is not trusted");
    });
    scene.cluster.wait_for_log(mark, "key refresh failed: code=tls_unknown_issuer");
    // What was fetched at the beginning may be logged after it was answered.
    let log = scene.cluster.log_since(mark);
    let (_, since_reload) = log.split_once("received SIGHUP").expect("the reload is logged");
    assert!(!since_reload.contains("keys refreshed"), "{log}");
}

/// A worker that slept on after a fetch, with another one asked for meanwhile, would let every login
/// with an unknown key wait in vain until the next regular fetch.
#[test]
fn refresh_asked_for_during_a_fetch_is_not_forgotten() {
    let scene = patient_scene();
    scene.tenant.set_behavior(Behavior::Late(LATE));
    thread::scope(|threads| {
        let asked: Vec<_> = (0..3)
            .map(|number| {
                let scene = &scene;
                threads.spawn(move || {
                    thread::sleep(Duration::from_millis(200) * number);
                    refresh(scene)
                })
            })
            .collect();
        for thread in asked {
            assert!(thread.join().expect("pgaad.refresh() answers"), "not served");
        }
    });
}

/// Waits until so many sessions wait in `pgaad.refresh()`.
fn wait_for_requests(scene: &Scene, count: usize) {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE query LIKE '%pgaad.refresh()' AND wait_event_type = 'Extension'";
    wait_until("sessions wait for the worker", || scene.cluster.value(waiting) == count.to_string());
}

/// Who joins a fetch that was asked for during a long one waits for it as long as for any other.
#[test]
fn login_joins_a_fetch_that_was_asked_for_long_ago_and_begins_now() {
    // As long as the worker's ten seconds allow.
    const KEY_WAIT: Duration = Duration::from_secs(5);
    let scene = Scene::with(|cluster| cluster.conf("pgaad.key_wait", "5s"));
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    let (fetches, key_sets) = (scene.tenant.fetches(), scene.tenant.key_sets());
    // The first fetch lasts twice as long, and a half more than a login waits.
    scene.tenant.set_behavior(Behavior::Late(KEY_WAIT * 3 / 4));
    thread::scope(|threads| {
        let first = threads.spawn(|| refresh(&scene));
        wait_until("a fetch begins", || scene.tenant.fetches() > fetches);
        let second = threads.spawn(|| refresh(&scene));
        wait_for_requests(&scene, 2);
        wait_until("a fetch is answered", || scene.tenant.key_sets() > key_sets);
        scene.tenant.set_behavior(Behavior::Late(LATE));
        scene.cluster.wait_for_log(mark, "keys refreshed");
        // What was asked for meanwhile begins now.
        scene.tenant.rotate();
        scene.attempt(scene.route(), &role).expect_admitted();
        for asked in [first, second] {
            assert!(asked.join().expect("pgaad.refresh() answers"));
        }
    });
}

/// A worker that is busy when the configuration is reloaded must not answer the session that reloaded it by what was
/// there before.
#[test]
fn refresh_asked_for_after_a_reload_is_of_what_was_reloaded() {
    let scene = Scene::start();
    let file = run_directory::fresh("jwks");
    std::fs::write(&file, scene.tenant.keys().jwks().to_string()).expect("our own file");
    let fetches = scene.tenant.fetches();
    scene.tenant.set_behavior(Behavior::Late(Duration::from_secs(1)));
    thread::scope(|threads| {
        let busy = threads.spawn(|| refresh(&scene));
        wait_until("a fetch begins", || scene.tenant.fetches() > fetches);
        scene.cluster.set("pgaad.jwks_file", &file.display().to_string());
        assert!(refresh(&scene), "answered by the old settings");
        assert_eq!(scene.cluster.value("SELECT DISTINCT source FROM pgaad.keys"), "file");
        assert!(busy.join().expect("pgaad.refresh() answers"));
    });
}

/// As when both are asked for in one breath: the server reads its files after the fetch has begun.
#[test]
fn refresh_is_over_when_what_was_reloaded_meanwhile_was_fetched() {
    // Shorter than the first fetch lasts, so that who joins the second one must not count from the first.
    let scene = Scene::with(|cluster| cluster.conf("pgaad.key_wait", "8s"));
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    scene.tenant.set_behavior(Behavior::Stalled);
    let fetches = scene.tenant.fetches();
    thread::scope(|threads| {
        let asked = threads.spawn(|| refresh(&scene));
        while scene.tenant.fetches() == fetches {
            assert!(!asked.is_finished(), "no fetch");
            thread::sleep(Duration::from_millis(10));
        }
        // For the next one: this one is stalled, and fails after ten seconds.
        scene.tenant.set_behavior(Behavior::Late(LATE));
        scene.tenant.rotate();
        scene.cluster.reload();
        scene.cluster.wait_for_log(mark, "key refresh failed: code=timed_out");
        scene.attempt(scene.route(), &role).expect_admitted();
        assert!(asked.join().expect("pgaad.refresh() answers"), "answered by the old settings");
    });
}

/// The key of a login that was admitted after `mark`.
fn key_of_login(scene: &Scene, mark: LogMark) -> String {
    let line = scene.cluster.wait_for_log(mark, "pgaad: login admitted:");
    let (_, kid) = line.split_once("kid=\"").expect("the line names the key");
    let (kid, _) = kid.split_once('"').expect("the value ends");
    kid.to_owned()
}

/// Genuine key sets flicker: what one answer lacks, the next may hold.
#[test]
fn key_that_is_missing_from_an_answer_is_good_for_a_while_and_is_looked_for() {
    let scene = Scene::start();
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    let old = scene.attempt(scene.route(), &role);
    old.expect_admitted();
    let kid = key_of_login(&scene, mark);
    scene.tenant.rotate();
    scene.tenant.retire(&kid);
    // A login with the new key has the set fetched that lacks the old one.
    scene.attempt(scene.route(), &role).with(scene.token(&role).mint()).expect_admitted();
    old.expect_admitted();
    assert_eq!(scene.cluster.value(&format!("SELECT count(*) FROM pgaad.keys WHERE kid = '{kid}'")), "1");
    // It is fetched again before the grace is over, however long the interval is.
    let soon = "SELECT next_refresh <= now() + '1 min' FROM pgaad.status";
    wait_until("the next fetch is set", || scene.cluster.value(soon) == "t");
}

#[test]
fn withdrawn_key_dies_when_an_operator_asks() {
    let scene = Scene::start();
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    let old = scene.attempt(scene.route(), &role);
    old.expect_admitted();
    let kid = key_of_login(&scene, mark);
    scene.tenant.rotate();
    scene.tenant.retire(&kid);
    // Until the worker hears of it, the key is good.
    old.expect_admitted();
    assert!(refresh(&scene));
    old.expect_refused("key_unknown");
    scene.attempt(scene.route(), &role).with(scene.token(&role).mint()).expect_admitted();
}

#[test]
fn ten_thousand_random_key_ids_cause_at_most_three_fetches_a_minute() {
    const THREADS: usize = 4;
    const LOGINS: usize = 10_000;
    let scene = Scene::start();
    let role = scene.member();
    let fetches = scene.tenant.fetches();
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let (flood, valid) = thread::scope(|threads| {
        let flood: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (scene, role) = (&scene, &role);
                threads.spawn(move || {
                    let mut times = Vec::new();
                    for number in 0..LOGINS / THREADS {
                        let token =
                            scene.token(role).header("kid", format!("random-{thread}-{number}")).mint();
                        let target = scene.cluster.unix(Route::Trust.database());
                        let start = Instant::now();
                        let login = wire::login(&target, role, token.as_bytes());
                        times.push(start.elapsed());
                        assert!(
                            login.challenged && matches!(login.outcome, Outcome::Refused(_)),
                            "{login:?}"
                        );
                    }
                    times
                })
            })
            .collect();
        let valid = threads.spawn(|| {
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) {
                times.extend(times_of_logins(&scene, &role, 15));
                thread::sleep(Duration::from_millis(200));
            }
            times
        });
        let flood: Vec<_> =
            flood.into_iter().flat_map(|thread| thread.join().expect("the flood flows")).collect();
        over.store(true, Ordering::Relaxed);
        (flood, valid.join().expect("valid logins go on"))
    });
    let elapsed = start.elapsed();
    let fetched = scene.tenant.fetches() - fetches;
    let minutes = usize::try_from(elapsed.as_secs() / 60).expect("a short while") + 1;
    assert!((1..=3 * minutes).contains(&fetched), "{fetched} fetches in {elapsed:?}");
    // What matters is that nobody waits for a fetch: a valid login, by TLS, takes a few times as long as one of the
    // flood, by the Unix socket, on a machine that is equally busy for both.
    let (flood, valid) = (median(flood), median(valid));
    assert!(valid < flood * 30, "a valid login takes {valid:?}, one of the flood {flood:?}");
    eprintln!(
        "{LOGINS} logins in {elapsed:?}, {fetched} fetches; a valid login {valid:?}, one of the flood {flood:?}"
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().expect("there were some")
}

#[test]
fn keys_are_fetched_and_logins_decided_on_a_standby_too() {
    let scene = Scene::start();
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_admitted();
    scene.cluster.stop();
    std::fs::remove_file(scene.cluster.data_dir().join("pgaad/keys.json"))
        .expect("the worker keeps its keys");
    scene.cluster.write_as_server("standby.signal", "");
    let mark = scene.cluster.log_mark();
    scene.cluster.start_again().expect("a standby starts");
    scene.cluster.wait_for_log(mark, "pgaad: keys refreshed");
    let mut session = scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(session.value("SELECT pg_is_in_recovery()").as_deref(), Some("t"));
    scene.attempt(scene.route(), &role).with("hunter2").expect_refused("malformed_token");
}

#[test]
fn static_key_file_serves_without_any_network() {
    let scene = Scene::start();
    let role = scene.member();
    scene.tenant.stop();
    let file = run_directory::fresh("jwks");
    std::fs::write(&file, scene.tenant.keys().jwks().to_string()).expect("our own file");
    scene.cluster.stop();
    std::fs::remove_file(scene.cluster.data_dir().join("pgaad/keys.json"))
        .expect("the worker keeps its keys");
    scene.cluster.append_conf(&format!("pgaad.jwks_file = '{}'", file.display()));
    scene.cluster.start_again().expect("the server starts");
    wait_for_keys(&scene);
    scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(scene.cluster.value("SELECT DISTINCT source FROM pgaad.keys"), "file");
}

#[test]
fn keys_older_than_max_stale_are_not_used() {
    let scene = Scene::with(|cluster| cluster.conf("pgaad.max_stale", "1h"));
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_admitted();
    let file = scene.cluster.data_dir().join("pgaad/keys.json");
    let text = std::fs::read_to_string(&file).expect("the worker keeps its keys");
    let mut snapshot: Value = serde_json::from_str(&text).expect("keys.json is JSON");
    let fetched_at = snapshot["fetched_at"].as_i64().expect("the file says how old it is");
    scene.tenant.stop();
    for (age, admitted) in [(1_800, true), (5_400, false), (-7_200, false)] {
        scene.cluster.stop();
        snapshot["fetched_at"] = json!(fetched_at - age);
        scene.cluster.write_as_server("pgaad/keys.json", &snapshot.to_string());
        scene.cluster.start_again().expect("the server starts");
        if age > 0 {
            wait_for_keys(&scene);
        }
        if admitted {
            scene.attempt(scene.route(), &role).expect_admitted();
        } else {
            // What is dated in the future has no age, and is as good as none.
            let code = if age > 0 { "keys_stale" } else { "no_keys" };
            scene.attempt(scene.route(), &role).expect_refused(code);
        }
    }
    scene.tenant.start_again();
    assert!(refresh(&scene));
    scene.attempt(scene.route(), &role).expect_admitted();
}
