//! The directory's worker on a real server: a standby's own, one that is killed, one that meets a large group, one that
//! is lied to; and what backends do meanwhile.

use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pgaad_tests::directory::{APP, SECRET, prepare, scene_with, settings};
use pgaad_tests::process::{internet_sockets, peak_memory_kb};
use pgaad_tests::token_pieces::TokenPieces;
use pgaad_tests::wire::Outcome;
use pgaad_tests::{Cluster, Installation, Scene, preload, process, wait_until};
use tenant::Trouble;

use crate::directory::{column, group_role, refresh, scene};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

/// A group with ann in it and bob out of it, and a role for it.
fn group(scene: &Scene) -> String {
    let group = {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user(ANN);
        directory.add_user(BOB);
        directory.add_group("some", &[&ann])
    };
    group_role(scene, "some", &group);
    group
}

fn worker(cluster: &Cluster) -> u32 {
    let workers = cluster.processes("pgaad directory");
    assert_eq!(workers.len(), 1, "{workers:?}");
    workers[0]
}

fn is_admitted(scene: &Scene, user: &str) -> bool {
    let login = scene.attempt(scene.route(), "some").with(scene.token(user).mint()).login();
    matches!(login.outcome, Outcome::Accepted(_))
}

#[test]
fn without_the_setting_there_is_no_worker_no_file_and_no_row() {
    let scene = Scene::start();
    assert!(scene.cluster.processes("pgaad directory").is_empty());
    assert_eq!(column(&scene, "SELECT count(*) FROM pgaad.directory"), "0");
    assert_eq!(column(&scene, "SELECT count(*) FROM pgaad.groups"), "0");
    let group = group(&scene);
    for function in ["refresh_directory()", "group_members('some')"] {
        let answer = scene.cluster.try_sql(&format!("SELECT pgaad.{function}")).expect_err("it is off");
        assert!(answer.message.contains("pgaad.directory is off"), "{answer}");
        assert!(answer.hint.contains("ALTER SYSTEM SET pgaad.directory = on"), "{}", answer.hint);
    }
    scene.attempt(scene.route(), "some").with(scene.token(ANN).mint()).expect_refused("groups_missing");
    let listed = scene.token(ANN).groups(&[&group]).mint();
    scene.attempt(scene.route(), "some").with(listed).expect_admitted();
    assert!(!scene.cluster.data_dir().join("pgaad/groups").exists());
    // What it says can be pasted.
    scene.cluster.sql("ALTER SYSTEM SET pgaad.directory = on");
    scene.cluster.restart();
    wait_until("the worker runs", || !scene.cluster.processes("pgaad directory").is_empty());
    assert_eq!(
        column(&scene, "SELECT problem FROM pgaad.directory"),
        "pgaad.directory_credential is not set"
    );
}

#[test]
fn standby_reads_the_directory_itself() {
    let scene = scene();
    let group = group(&scene);
    assert!(refresh(&scene));
    let standby = scene.cluster.standby();
    standby.wait_until_ready();
    let attempt =
        |user: &str| scene.attempt(scene.route(), "some").at(&standby).with(scene.token(user).mint());
    wait_until("the standby has its worker", || !standby.processes("pgaad directory").is_empty());
    scene.cluster.stop();
    attempt(ANN).expect_admitted();
    attempt(BOB).expect_refused("not_in_group");
    {
        let mut directory = scene.tenant.directory();
        directory.leave(&group, &tenant::object_id(ANN));
        directory.join(&group, &tenant::object_id(BOB));
    }
    assert_eq!(standby.value("SELECT pgaad.refresh_directory()"), "t");
    attempt(ANN).expect_refused("not_in_group");
    attempt(BOB).expect_admitted();
    assert_eq!(standby.value("SELECT ready || members::text FROM pgaad.groups"), "true1");
}

#[test]
fn only_the_worker_talks_to_graph_and_logins_do_not_wait_for_it() {
    let scene = scene();
    group(&scene);
    assert!(refresh(&scene));
    let port: u16 =
        scene.tenant.authority().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let connected = || {
        let to_tenant = |pid: &u32| internet_sockets(*pid).iter().any(|socket| socket.remote_port == port);
        process::children(scene.cluster.postmaster_pid()).into_iter().filter(to_tenant).collect::<Vec<_>>()
    };
    scene.tenant.set_trouble(|_, path| path.contains("/groups/").then_some(Trouble::Stalled));
    thread::scope(|threads| {
        let run = threads.spawn(|| refresh(&scene));
        wait_until("the worker asks", || !connected().is_empty());
        for _ in 0..20 {
            scene.attempt(scene.route(), "some").with(scene.token(ANN).mint()).expect_admitted();
            scene.attempt(scene.route(), "some").with(scene.token(BOB).mint()).expect_refused("not_in_group");
            assert_eq!(connected(), [worker(&scene.cluster)]);
        }
        scene.tenant.stop();
        scene.tenant.end_trouble();
        scene.tenant.start_again();
        assert!(run.join().expect("it comes to an end"));
    });
}

#[test]
fn what_was_read_too_long_ago_lets_nobody_in_and_keeps_others_out() {
    // Graph, and so the age of a set, has the clock of this machine; the server's is a day ahead.
    const AHEAD: i64 = 86_400 + 1_200;
    let scene = Scene::on(&Installation::pgaad(), |cluster| {
        settings(cluster.with_preload(preload::clock_ahead(AHEAD)))
    });
    prepare(&scene);
    let group = group(&scene);
    assert!(refresh(&scene));
    let attempt = |token: tenant::Token| {
        let issued =
            SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + AHEAD.unsigned_abs() - 300;
        let token = token.not_before_in(AHEAD - 300).expires_in(AHEAD + 3_600).claim("iat", issued).mint();
        scene.attempt(scene.route(), "some").with(token)
    };
    let line = attempt(scene.token(ANN)).expect_refused("groups_stale");
    assert!(line.contains("directory_age_s=87"), "{line}");
    attempt(scene.token(BOB)).expect_refused("not_in_group");
    // A token that is newer than what says no.
    attempt(scene.token(BOB).groups(&[&group])).expect_admitted();
    attempt(scene.token(ANN).groups(&[&group])).expect_admitted();
    assert_eq!(column(&scene, "SELECT ready FROM pgaad.groups"), "f");
    scene.cluster.set("pgaad.directory_max_stale", "2d");
    attempt(scene.token(ANN)).expect_admitted();
}

#[test]
fn worker_and_server_that_are_killed_in_a_run_leave_what_was_read() {
    let scene = scene();
    let group = group(&scene);
    assert!(refresh(&scene));
    let kills = std::env::var("PGAAD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4_usize);
    for kill in 0..kills {
        // The worker and the server by turns, after each of a run's four questions.
        let (number, of_server) = (kill % 4, (kill + kill / 4) % 2 == 1);
        scene.tenant.directory().add_known(&tenant::crowd_member("more", 0));
        scene.tenant.set_trouble(move |count, path| {
            (path.contains("/groups/") && count > number).then_some(Trouble::Slow(Duration::from_millis(20)))
        });
        let connection = scene.cluster.unix("postgres");
        thread::scope(|threads| {
            let run = threads.spawn(|| {
                if let Outcome::Accepted(mut session) =
                    scene.cluster.login(&connection, "postgres", b"").outcome
                {
                    let _ = session.query("SELECT pgaad.refresh_directory()");
                }
            });
            wait_until("the run has begun", || scene.tenant.questions() > number);
            if of_server {
                scene.cluster.crash();
            } else {
                scene.cluster.kill(worker(&scene.cluster));
            }
            run.join().expect("its session ends");
        });
        scene.tenant.set_trouble(|_, _| Some(Trouble::Status(503, None)));
        if of_server {
            scene.cluster.start_again().unwrap_or_else(|log| panic!("{log}"));
        }
        // As it was: ann gets in, bob does not, and neither by a token from before.
        wait_until("logins work again", || is_admitted(&scene, ANN));
        scene.attempt(scene.route(), "some").with(scene.token(BOB).mint()).expect_refused("not_in_group");
        let listed = scene.token(BOB).groups(&[&group]).mint();
        scene.attempt(scene.route(), "some").with(listed).expect_refused("not_in_group");
        scene.tenant.end_trouble();
        wait_until("the worker runs again", || !scene.cluster.processes("pgaad directory").is_empty());
        assert!(refresh(&scene));
    }
}

#[test]
fn hundred_thousand_members_take_the_worker_little_memory() {
    let scene = scene();
    let group = scene.tenant.directory().add_crowd("crowd", 100_000);
    group_role(&scene, "crowd", &group);
    assert!(refresh(&scene));
    assert_eq!(column(&scene, "SELECT members FROM pgaad.groups"), "100000");
    let of_crowd = |number: u32| scene.tenant.token().claim("oid", tenant::crowd_member("crowd", number));
    for number in [0, 77_777, 99_999] {
        scene.attempt(scene.route(), "crowd").with(of_crowd(number).mint()).expect_admitted();
    }
    scene.attempt(scene.route(), "crowd").with(of_crowd(100_000).mint()).expect_refused("not_in_group");
    assert_eq!(column(&scene, "SELECT count(*) FROM pgaad.group_members('crowd')"), "100000");
    let peak = peak_memory_kb(worker(&scene.cluster));
    assert!(peak < 64 * 1024, "{peak} kB");
}

/// Whoever answers in Graph's place sends back what it was asked with. No piece of the secret and of Graph's token is
/// written down.
#[test]
fn no_piece_of_the_secret_and_of_graphs_token_is_written_down_anywhere() {
    let scene = scene_with(|cluster| {
        cluster
            .conf("log_min_messages", "debug5")
            .conf("log_min_error_statement", "debug5")
            .conf("log_error_verbosity", "verbose")
            .conf("log_statement", "all")
            .conf("pgaad.directory_accounts", "on")
    });
    group(&scene);
    assert!(refresh(&scene));
    // From now on there is an account to ask for.
    scene.attempt(scene.route(), "some").with(scene.token(ANN).mint()).expect_admitted();
    for place in ["oauth2", "/v1.0/groups", "transitiveMembers", "batch"] {
        // Those that are asked again are in crates/provider/tests/directory.rs, where that takes no time.
        for status in [200, 302, 400, 403] {
            scene.tenant.set_trouble(move |_, path| path.contains(place).then_some(Trouble::Echo(status)));
            assert!(!refresh(&scene), "{place} {status}");
        }
    }
    scene.tenant.end_trouble();
    assert!(refresh(&scene));
    let mut used = TokenPieces::new();
    used.add(SECRET.as_bytes());
    for token in scene.tenant.directory().issued_tokens() {
        // The header and the permissions are Graph's; the rest is what must not be known.
        let mut parts = token.split('.');
        let (payload, signature) = (parts.nth(1).expect("three parts"), parts.next().expect("three parts"));
        used.add(payload.as_bytes());
        used.add(signature.as_bytes());
    }
    assert!(used.count() > 1_000, "{}", used.count());
    let visible: String = ["directory", "groups", "status", "events", "check()"]
        .iter()
        .flat_map(|view| scene.cluster.sql(&format!("SELECT v::text FROM pgaad.{view} v")))
        .flatten()
        .flatten()
        .collect();
    assert!(visible.contains("some") && used.place_in(visible.as_bytes()).is_none(), "{visible}");
    let log = fs::read(scene.cluster.log().path()).expect("the log");
    assert!(log.len() > 10_000 && used.place_in(&log).is_none());
    scene.cluster.stop();
    assert_eq!(used.files_with_pieces(&scene.cluster.data_dir()), Vec::<std::path::PathBuf>::new());
    // The scan finds what is there.
    scene.cluster.write_as_server("planted", SECRET);
    assert_eq!(used.files_with_pieces(&scene.cluster.data_dir()).len(), 1);
    assert!(scene.tenant.directory().applications.contains_key(APP));
}

#[test]
#[ignore = "a measurement of some minutes"]
fn changes_in_the_directory_act_within_the_interval() {
    const INTERVAL: Duration = Duration::from_secs(60);
    let scene = scene_with(|cluster| {
        cluster
            .conf("pgaad.directory_interval", "60s")
            .conf("pgaad.directory_accounts", "on")
            .conf("pgaad.session_end", "directory")
    });
    let group = group(&scene);
    let (ann, bob) = (tenant::object_id(ANN), tenant::object_id(BOB));
    assert!(refresh(&scene));
    let mut session = scene.attempt(scene.route(), "some").with(scene.token(ANN).mint()).expect_admitted();
    let measure = |what: &str, is_done: &mut dyn FnMut() -> bool| {
        let began = Instant::now();
        while !is_done() {
            assert!(began.elapsed() < 2 * INTERVAL, "{what}");
            thread::sleep(Duration::from_millis(200));
        }
        println!("{what}: {:.1} s, of {} s and one", began.elapsed().as_secs_f64(), INTERVAL.as_secs());
    };
    scene.tenant.directory().join(&group, &bob);
    measure("an added member gets in", &mut || is_admitted(&scene, BOB));
    scene.tenant.directory().leave(&group, &ann);
    measure("a removed member is refused", &mut || !is_admitted(&scene, ANN));
    measure("and their session ends", &mut || session.query("SELECT 1").is_err());
    scene.tenant.directory().user(&bob).enabled = false;
    measure("a disabled user is refused", &mut || !is_admitted(&scene, BOB));
}
