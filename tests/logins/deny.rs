//! Shutting somebody out: at every way in, in the middle of a session, on a standby, and by whom.

use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{Outcome, Session};
use pgaad_tests::{Route, Scene, wait_until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tenant::{USER_CLIENT_ID, object_id};

const CLIENT: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";

fn set_admin(scene: &Scene, name: &str) {
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{name}', '{}', 'user')", object_id(name)));
}

fn admitted(scene: &Scene, role: &str) -> Session {
    scene.attempt(scene.route(), role).expect_admitted()
}

fn deny(role: &str) -> String {
    format!("SELECT pgaad.deny('{}')", object_id(role))
}

fn allow(role: &str) -> String {
    format!("SELECT pgaad.allow('{}')", object_id(role))
}

/// What a caller is told who may not, or who asked for what cannot be.
fn refused(session: &mut Session, sql: &str) -> (String, String) {
    let answer = session.query(sql).expect_err(sql);
    (answer.sqlstate, answer.message)
}

/// The session ends, as one whose administrator ends it.
fn expect_ended(scene: &Scene, mut session: Session) {
    wait_until("the session ends", || session.query("SELECT 1").is_err());
    let listed = "SELECT count(*) FROM pgaad.sessions WHERE pid NOT IN (SELECT pid FROM pg_stat_activity)";
    wait_until("it is listed no more", || scene.cluster.value(listed) == "0");
}

#[test]
fn who_is_denied_gets_in_by_no_way_and_loses_the_sessions_that_are_open() {
    let scene = Scene::start();
    let (alice, bob) = (scene.member(), scene.member());
    for route in scene.token_routes() {
        let session = scene.attempt(route, &alice).expect_admitted();
        let mut bystander = scene.attempt(route, &bob).expect_admitted();
        let mark = scene.cluster.log_mark();
        scene.cluster.sql(&format!("SELECT pgaad.deny('{}', reason => 'ticket 42')", object_id(&alice)));
        let changed = scene.cluster.wait_for_log(mark, "pgaad: deny list changed:");
        let wanted = format!(" action=deny claim=\"oid\" id=\"{}\" by=\"postgres\"", object_id(&alice));
        assert!(changed.ends_with(&wanted), "{changed}");
        let line = scene.attempt(route, &alice).expect_refused("denied");
        assert!(line.ends_with(" denied=oid"), "{line}");
        expect_ended(&scene, session);
        let ended = scene.cluster.wait_for_log(mark, "pgaad: session ended:");
        assert!(ended.contains("code=denied pid=") && ended.ends_with(" denied=oid"), "{ended}");
        assert_eq!(bystander.value("SELECT 1").as_deref(), Some("1"));
        scene.attempt(route, &bob).expect_admitted();

        let row = scene.cluster.sql(
            "SELECT claim, id, until, in_force, by_superuser, reason, denied_by, denied_at > now() - interval '1 min'
             FROM pgaad.denied",
        );
        let wanted = ["oid", &object_id(&alice), "infinity", "t", "t", "ticket 42", "postgres", "t"];
        assert_eq!(row, [wanted.map(|value| Some(value.to_owned()))]);
        assert_eq!(scene.cluster.value(&allow(&alice)), "t");
        assert_eq!(scene.cluster.value(&allow(&alice)), "f");
        scene.attempt(route, &alice).expect_admitted();
    }
}

#[test]
fn one_token_and_one_program_can_be_shut_out() {
    let scene = Scene::start();
    let alice = scene.member();
    let stolen = scene.token(&alice).claim("uti", "Stolen-1").mint();
    let session = scene.attempt(scene.route(), &alice).with(&stolen).expect_admitted();
    let other = scene.token(&alice).claim("uti", "Other-1").mint();
    let mut spared = scene.attempt(scene.route(), &alice).with(&other).expect_admitted();
    scene.cluster.sql("SELECT pgaad.deny_token('Stolen-1')");
    let line = scene.attempt(scene.route(), &alice).with(&stolen).expect_refused("denied");
    assert!(line.contains(" denied=uti until="), "{line}");
    expect_ended(&scene, session);
    assert_eq!(spared.value("SELECT 1").as_deref(), Some("1"));
    let until =
        "SELECT until BETWEEN now() + interval '33 hours' AND now() + interval '35 hours' FROM pgaad.denied";
    assert_eq!(scene.cluster.value(until), "t");
    assert_eq!(scene.cluster.value("SELECT pgaad.allow_token('Stolen-1')"), "t");
    scene.attempt(scene.route(), &alice).with(&stolen).expect_admitted();

    scene.cluster.sql(&format!("CREATE USER \"{CLIENT}\" IN ROLE azure_ad_user"));
    let robot = scene.tenant.token().app(CLIENT).mint();
    let session = scene.attempt(scene.route(), CLIENT).with(&robot).expect_admitted();
    scene.cluster.sql(&format!("SELECT pgaad.deny_client('{}')", CLIENT.to_uppercase()));
    scene.attempt(scene.route(), CLIENT).with(&robot).expect_refused("denied");
    expect_ended(&scene, session);
    scene.cluster.sql(&format!("SELECT pgaad.allow_client('{CLIENT}')"));
    scene.attempt(scene.route(), CLIENT).with(&robot).expect_admitted();

    // Whoever signs in with a client program that is shut out.
    scene.cluster.sql(&format!("SELECT pgaad.deny_client('{USER_CLIENT_ID}')"));
    let line = scene.attempt(scene.route(), &alice).expect_refused("denied");
    assert!(line.ends_with(" denied=appid"), "{line}");
    expect_ended(&scene, spared);
}

#[test]
fn a_denial_is_a_part_of_its_transaction_and_ends_when_it_says() {
    let scene = Scene::start();
    let alice = scene.member();
    let login = scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"");
    let Outcome::Accepted(mut superuser) = login.outcome else { panic!("{login:?}") };
    superuser.query("BEGIN").expect("a superuser");
    superuser.query(&deny(&alice)).expect("a superuser");
    let mut session = admitted(&scene, &alice);
    superuser.query("ROLLBACK").expect("a superuser");
    assert_eq!(scene.cluster.value("SELECT count(*) FROM pgaad.denied"), "0");
    assert_eq!(scene.cluster.value("SELECT count(*) FROM pgaad._denial_log"), "0");

    let (bob, carol) = (scene.member(), scene.member());
    // Two of one statement, and one beside it in another session: none is lost.
    superuser.query("BEGIN").expect("a superuser");
    superuser.query(&format!("{}, pgaad.deny('{}')", deny(&alice), object_id(&bob))).expect("a superuser");
    let notices: Vec<_> = superuser.take_notices().into_iter().map(|notice| notice.message).collect();
    assert_eq!(notices, ["1 session(s) on this server end within a second after this transaction"]);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| scene.cluster.sql(&deny(&carol)));
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND query LIKE '%pgaad.deny%'";
        wait_until("the other one waits", || scene.cluster.value(waits) == "1");
        assert_eq!(session.value("SELECT 1").as_deref(), Some("1"));
        superuser.query("COMMIT").expect("a superuser");
        other.join().expect("the other one is done");
    });
    expect_ended(&scene, session);
    for role in [&alice, &bob, &carol] {
        scene.attempt(scene.route(), role).expect_refused("denied");
    }
    let replaced = format!("SELECT pgaad.deny('{}', now() + interval '3 seconds')", object_id(&bob));
    scene.cluster.sql(&replaced);
    let line = scene.attempt(scene.route(), &bob).expect_refused("denied");
    assert!(line.contains(" denied=oid until="), "{line}");
    wait_until("the time is over", || {
        scene.cluster.value("SELECT bool_and(in_force) FROM pgaad.denied") == "f"
    });
    admitted(&scene, &bob);
    scene.attempt(scene.route(), &carol).expect_refused("denied");
}

#[test]
fn an_administrator_denies_others_and_neither_administrators_nor_superusers() {
    let scene = Scene::with(|cluster| cluster.conf("pgaad.allow_superuser", "on"));
    let (alice, root) = (scene.member(), scene.member());
    scene.cluster.sql(&format!("ALTER ROLE {} SUPERUSER", quoted(&root)));
    set_admin(&scene, "boss@example.com");
    let mut boss = admitted(&scene, "boss@example.com");
    let mut plain = admitted(&scene, &alice);
    for sql in [
        deny(&alice),
        allow(&alice),
        "SELECT pgaad.deny_token('x')".to_owned(),
        format!("SELECT pgaad.deny_client('{CLIENT}')"),
        "SELECT * FROM pgaad.denied".to_owned(),
        format!("SELECT pgaad._deny('oid', '{}', NULL)", object_id(&alice)),
        "SELECT pgaad._allow('oid', 'x')".to_owned(),
        "INSERT INTO pgaad._denial_log (action, claim, tenant, id) VALUES ('deny', 'oid', gen_random_uuid(), 'x')"
            .to_owned(),
    ] {
        assert_eq!(refused(&mut plain, &sql).0, "42501", "{sql}");
    }

    let mut root_session = admitted(&scene, &root);
    for role in [alice.as_str(), &root, "boss@example.com"] {
        boss.query(&deny(role)).expect("an administrator");
    }
    expect_ended(&scene, plain);
    scene.attempt(scene.route(), &alice).expect_refused("denied");
    // The list holds two that do not count, for those who could take them off.
    admitted(&scene, &root);
    admitted(&scene, "boss@example.com");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(root_session.value("SELECT 1").as_deref(), Some("1"));
    assert_eq!(
        boss.value("SELECT count(*) FROM pgaad.denied WHERE denied_by = 'boss@example.com'").as_deref(),
        Some("3")
    );

    // A superuser's word counts for everybody, and an administrator cannot take it back or shorten it.
    scene.cluster.sql(&deny(&alice));
    for sql in
        [allow(&alice), format!("SELECT pgaad.deny('{}', now() + interval '1 second')", object_id(&alice))]
    {
        let told = refused(&mut boss, &sql);
        assert_eq!(told.1, "permission denied to change what a superuser has put on the deny list");
    }
    for (sql, wanted) in [
        ("SECURITY LABEL FOR \"pgaad-deny-00\" ON ROLE azure_ad_user IS NULL", "42501"),
        ("SECURITY LABEL FOR \"pgaad-deny-00\" ON ROLE azure_ad_user IS ''", "42501"),
        ("UPDATE pgaad._denial_log SET reason = 'x'", "42501"),
        ("DELETE FROM pgaad._denial_log", "42501"),
        (
            "INSERT INTO pgaad._denial_log (done_by, action, claim, tenant, id)
             VALUES ('postgres', 'deny', 'oid', gen_random_uuid(), 'x')",
            "42501",
        ),
    ] {
        assert_eq!(refused(&mut boss, sql).0, wanted, "{sql}");
    }
    scene.cluster.sql(&deny(&root));
    expect_ended(&scene, root_session);
    scene.attempt(scene.route(), &root).expect_refused("denied");
    scene.cluster.sql(&deny("boss@example.com"));
    expect_ended(&scene, boss);
    scene.attempt(scene.route(), "boss@example.com").expect_refused("denied");
}

#[test]
fn what_cannot_be_meant_is_an_error_that_says_what_can() {
    let scene = Scene::start();
    for (sql, sqlstate, told) in [
        ("SELECT pgaad.deny(NULL)", "22004", "must not be NULL"),
        ("SELECT pgaad.allow(NULL)", "22004", "must not be NULL"),
        ("SELECT pgaad.deny(gen_random_uuid(), NULL)", "22004", "must not be NULL"),
        ("SELECT pgaad.deny(gen_random_uuid(), now())", "22023", "is past"),
        ("SELECT pgaad.deny(gen_random_uuid(), '-infinity')", "22023", "is past"),
        ("SELECT pgaad.deny('alice@example.com')", "22P02", "uuid"),
        ("SELECT pgaad.deny_token('')", "22023", "is no id of a token"),
        ("SELECT pgaad.deny_token('a b')", "22023", "is no id of a token"),
        ("SELECT pgaad.deny_token(repeat('a', 257))", "22023", "is no id of a token"),
        (
            "SECURITY LABEL FOR \"pgaad-deny-00\" ON ROLE azure_ad_user IS 'x'",
            "22023",
            "not a part of the deny list",
        ),
        (
            "SECURITY LABEL FOR \"pgaad-deny-00\" ON ROLE postgres IS NULL",
            "22023",
            "not a part of the deny list",
        ),
        ("SECURITY LABEL FOR \"pgaad-deny-32\" ON ROLE azure_ad_user IS NULL", "22023", "is not loaded"),
    ] {
        let answer = scene.cluster.try_sql(sql).expect_err(sql);
        assert!(answer.sqlstate == sqlstate && answer.message.contains(told), "{sql}: {answer}");
    }
    scene.cluster.set("pgaad.tenant_id", "");
    let answer = scene.cluster.try_sql("SELECT pgaad.deny(gen_random_uuid())").expect_err("no tenant");
    assert!(answer.hint.contains("pgaad.tenant_id"), "{answer}");
}

/// The list is full long before a label would be stored where it cannot be read without a database.
#[test]
fn a_full_list_is_read_by_every_login_and_takes_no_more() {
    let scene = Scene::start();
    let role = scene.member();
    let fill = "DO $$ BEGIN FOR n IN 1..1792 LOOP PERFORM pgaad.deny_token('t' || n); END LOOP; END $$";
    scene.cluster.sql(fill);
    let answer = scene.cluster.try_sql("SELECT pgaad.deny_token('one more')").expect_err("it is full");
    assert!(answer.message.contains("no id of a token"), "{answer}");
    let answer = scene.cluster.try_sql("SELECT pgaad.deny_token('one-more')").expect_err("it is full");
    assert!(answer.message.contains("has no room for another entry"), "{answer}");
    let largest = "SELECT max(octet_length(label)) FROM pg_shseclabel WHERE provider LIKE 'pgaad-deny-%'";
    assert_eq!(scene.cluster.value(largest), "1792");
    for route in scene.token_routes() {
        scene.attempt(route, &role).expect_admitted();
    }
    let last = scene.token(&role).claim("uti", "t1792").mint();
    scene.attempt(scene.route(), &role).with(last).expect_refused("denied");
}

#[test]
fn the_list_holds_in_every_database_on_a_standby_and_after_a_restore() {
    let scene = Scene::start();
    let standby = scene.cluster.standby();
    standby.wait_until_ready();
    let alice = scene.member();
    scene.cluster.wait_until_replayed_by(&standby);
    let there = scene.attempt(scene.route(), &alice).at(&standby).expect_admitted();
    scene.cluster.sql(&deny(&alice));
    scene.cluster.wait_until_replayed_by(&standby);
    scene.attempt(scene.route(), &alice).at(&standby).expect_refused("denied");
    let mut there = there;
    wait_until("the standby ends the session", || there.query("SELECT 1").is_err());
    let answer = standby.try_sql(&allow(&alice)).expect_err("a standby");
    assert!(answer.message.contains("cannot execute"), "{answer}");
    assert_eq!(standby.value("SELECT claim || in_force FROM pgaad.denied"), "oidtrue");

    scene.cluster.sql("CREATE DATABASE other");
    let run =
        |sql: &str| scene.cluster.try_sql_in("other", sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"));
    assert_eq!(run("SELECT id FROM pgaad.denied"), [[None]], "another database knows who it is");
    scene.attempt(Route::Trust, &alice).expect_refused("denied");
    let dump = "SELECT string_agg(format('SECURITY LABEL FOR %I ON ROLE azure_ad_user IS %L;', provider, label), ' ')
                FROM pg_shseclabel WHERE provider LIKE 'pgaad-deny-%'";
    let restore = scene.cluster.value(dump);
    run(&allow(&alice));
    admitted(&scene, &alice);
    scene.cluster.sql(&restore);
    scene.attempt(scene.route(), &alice).expect_refused("denied");
}

/// Logins around the moment of the commit: who comes after it is not admitted. `make torture` does it for long.
#[test]
fn a_denial_outlives_a_restart_and_a_crash_of_a_process_and_of_the_server() {
    let scene = Scene::start();
    let (alice, bob) = (scene.member(), scene.member());
    scene.cluster.sql(&deny(&alice));
    let restarts: [fn(&Scene); 3] = [
        |scene| scene.cluster.restart(),
        |scene| scene.cluster.kill_a_backend(),
        |scene| {
            scene.cluster.crash();
            scene.cluster.start_again().expect("it recovers");
        },
    ];
    for restart in restarts {
        // Of what is not in the catalogs nothing is left.
        let session = scene.attempt(scene.route(), &bob).expect_admitted();
        restart(&scene);
        drop(session);
        scene.cluster.wait_until_ready();
        scene.attempt(scene.route(), &alice).expect_refused("denied");
        let mut session = scene.attempt(scene.route(), &bob).expect_admitted();
        // The worker ends sessions again.
        scene.cluster.sql(&deny(&bob));
        wait_until("the session ends", || session.query("SELECT 1").is_err());
        scene.cluster.sql(&allow(&bob));
    }
}

#[test]
fn nobody_is_admitted_who_comes_after_the_commit() {
    let wanted =
        std::env::var("PGAAD_TORTURE_LOGINS").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    let scene = Scene::start();
    let alice = scene.member();
    let token = scene.token(&alice).expires_in(80_000).mint();
    let (mut logins, mut admitted, mut refused) = (0_usize, 0_usize, 0_usize);
    for round in 0.. {
        if logins >= wanted {
            break;
        }
        let is_over = AtomicBool::new(false);
        let (committed, seen) = std::thread::scope(|scope| {
            let knock = || {
                let mut seen = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let login = scene.attempt(scene.route(), &alice).with(&token).login();
                    seen.push((began, matches!(login.outcome, Outcome::Accepted(_))));
                }
                seen
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(knock)).collect();
            std::thread::sleep(Duration::from_millis(10 + round % 40));
            scene.cluster.sql(&deny(&alice));
            let committed = Instant::now();
            std::thread::sleep(Duration::from_millis(30));
            is_over.store(true, Ordering::Relaxed);
            let seen: Vec<_> =
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
            (committed, seen)
        });
        logins += seen.len();
        admitted += seen.iter().filter(|(_, is_in)| *is_in).count();
        refused += seen.iter().filter(|(_, is_in)| !is_in).count();
        let late = seen.iter().filter(|(began, is_in)| *began > committed && *is_in).count();
        assert_eq!(late, 0, "in round {round}");
        scene.cluster.sql(&allow(&alice));
    }
    println!("{logins} logins, {admitted} admitted before, {refused} refused");
    assert!(admitted > wanted / 20 && refused > wanted / 20, "{admitted} {refused}");
}
