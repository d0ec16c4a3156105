//! A streaming standby: it decides logins as its primary does, tells of itself, writes nothing, and can be
//! promoted while people log in.

use pgaad_tests::log::LogMark;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{self, Login, Outcome, Session};
use pgaad_tests::{Attempt, Cluster, PATIENCE, Route, Scene, wait_until};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tenant::{Behavior, Signer, object_id};

/// A scene whose cluster has a standby, which trusts the same tenant.
struct Pair {
    standby: Cluster,
    scene: Scene,
}

impl Pair {
    fn start() -> Pair {
        // Without autovacuum, whose snapshots would keep back what `conflict` has removed; and with time to fetch.
        let scene = Scene::with(|cluster| cluster.conf("autovacuum", "off").conf("pgaad.key_wait", "30s"));
        let standby = scene.cluster.standby();
        standby.wait_until_ready();
        Pair { standby, scene }
    }

    /// Runs SQL on the primary, and waits until the standby has it.
    fn sql(&self, sql: &str) {
        self.scene.cluster.sql(sql);
        self.scene.cluster.wait_until_replayed_by(&self.standby);
    }

    fn label(&self, role: &str, label: &str) {
        self.sql(&label_statement(role, label));
    }

    fn member(&self) -> String {
        let role = self.scene.member();
        self.scene.cluster.wait_until_replayed_by(&self.standby);
        role
    }

    /// Makes an Entra administrator on the primary, whose token is one of the same name.
    fn admin(&self) -> String {
        let name = self.scene.fresh_name();
        self.sql(&format!("SELECT pgaad.set_admin('{name}', '{}', 'user')", object_id(&name)));
        name
    }

    /// A login to the standby, with a good token of the role's name.
    fn attempt(&self, route: Route, role: &str) -> Attempt<'_> {
        self.scene.attempt(route, role).at(&self.standby)
    }

    fn token(&self, user: &str) -> String {
        self.scene.token(user).mint()
    }

    fn routes(&self) -> Vec<Route> {
        self.scene.token_routes()
    }
}

/// The pair of the tests that leave the servers' settings alone, and log in to the standby only.
fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::start)
}

fn bound_to(user: &str) -> String {
    format!("aadauth,oid={},type=user", object_id(user))
}

fn label_statement(role: &str, label: &str) -> String {
    format!("SECURITY LABEL FOR pgaadauth ON ROLE {} IS '{label}'", quoted(role))
}

fn is_in_recovery(session: &mut Session) -> bool {
    session.value("SELECT pg_is_in_recovery()").as_deref() == Some("t")
}

// Who gets in.

#[test]
fn member_gets_in_with_a_token_of_its_own_and_with_nothing_else() {
    let pair = pair();
    for route in pair.routes() {
        let role = pair.member();
        let token = pair.scene.token(&role);
        let mut session = pair.attempt(route, &role).expect_admitted();
        assert!(is_in_recovery(&mut session));
        assert_eq!(session.value("SELECT pgaad.claims() ->> 'oid'"), Some(object_id(&role)));
        for (password, code) in [
            (pair.token("mallory@example.com"), "role_not_bound"),
            (token.clone().signed_by(Signer::Broken).mint(), "bad_signature"),
            (token.clone().expires_in(-3600).not_before_in(-8000).mint(), "expired"),
            (token.claim("aud", "api://another").mint(), "wrong_audience"),
            ("hunter2".to_owned(), "malformed_token"),
        ] {
            pair.attempt(route, &role).with(password).expect_refused(code);
        }
    }
}

#[test]
fn who_is_no_member_is_refused_and_a_member_gets_in_by_no_other_method() {
    let pair = pair();
    let stranger = pair.scene.fresh_name();
    let member = pair.member();
    pair.sql(&format!(
        "CREATE USER {}; ALTER ROLE {} PASSWORD 'hunter2'",
        quoted(&stranger),
        quoted(&member)
    ));
    // On a `trust` line from loopback, a role that is no member is core's.
    for route in pair.routes().into_iter().filter(|route| *route != Route::Trust) {
        pair.attempt(route, &stranger).expect_refused("role_not_member");
    }
    pair.attempt(Route::Password, &member).with("hunter2").expect_refused("method_not_allowed");
}

#[test]
fn label_and_revocation_on_the_primary_count_once_replayed() {
    let pair = pair();
    let [ann, bob] = ["ann@example.com", "bob@example.com"];
    for route in pair.routes() {
        let role = format!("role of {}", pair.scene.fresh_name());
        pair.sql(&format!("CREATE ROLE {} LOGIN", quoted(&role)));
        let attempt = pair.attempt(route, &role);
        for (owner, other) in [(ann, bob), (bob, ann)] {
            pair.label(&role, &bound_to(owner));
            attempt.clone().with(pair.token(owner)).expect_admitted();
            attempt.clone().with(pair.token(other)).expect_refused("principal_mismatch");
        }
        pair.label(&role, &format!("{},mfa", bound_to(ann)));
        let by_password = pair.scene.token(ann).claim("amr", vec!["pwd"]).mint();
        attempt.clone().with(&by_password).expect_refused("mfa_missing");
        pair.label(&role, &bound_to(ann));
        let attempt = attempt.with(by_password);
        attempt.expect_admitted();

        // Also what is replayed while the client is asked for its token.
        let waiting = attempt.until_asked();
        pair.sql(&format!("REVOKE azure_ad_user FROM {}", quoted(&role)));
        let mark = pair.standby.log_mark();
        let login = wire::finish(waiting, pair.token(ann).as_bytes());
        attempt.expect_refusal(login, mark, "role_not_member");
        if route != Route::Trust {
            attempt.expect_refused("role_not_member");
        }
    }
}

// What it tells.

/// Who is revoked on the primary gets in until the standby has replayed it, and `check()` says so.
#[test]
fn standby_that_does_not_replay_is_named() {
    let pair = Pair::start();
    let role = pair.member();
    let lag = "SELECT ok || ' ' || detail FROM pgaad.check() WHERE item = 'standby_lag'";
    assert!(pair.scene.cluster.value(lag).starts_with("true "));
    assert!(pair.standby.value(lag).starts_with("true "), "{}", pair.standby.value(lag));
    pair.standby.sql("SELECT pg_wal_replay_pause()");
    let paused = "SELECT pg_get_wal_replay_pause_state()";
    wait_until("replay is paused", || pair.standby.value(paused) == "paused");
    pair.scene.cluster.sql(&format!("REVOKE azure_ad_user FROM {}", quoted(&role)));
    pair.attempt(pair.scene.route(), &role).expect_admitted();
    let said = pair.standby.value(lag);
    assert!(said.starts_with("false replay is paused: who was revoked on the primary"), "{said}");
    let cure = pair.standby.value("SELECT hint FROM pgaad.check() WHERE item = 'standby_lag'");
    pair.standby.sql(&cure);
    pair.scene.cluster.wait_until_replayed_by(&pair.standby);
    assert!(pair.standby.value(lag).starts_with("true "));
    let route = pair.scene.route();
    if route != Route::Trust {
        pair.attempt(route, &role).expect_refused("role_not_member");
    }
}

#[test]
fn views_and_functions_tell_of_the_standby_itself() {
    let pair = pair();
    let (role, primary, standby) = (pair.member(), &pair.scene.cluster, &pair.standby);
    let admissions = || -> usize {
        let count = "SELECT coalesce(sum(count), 0) FROM pgaad.stat_logins WHERE code = 'admitted'";
        standby.value(count).parse().expect("a number")
    };
    let before = admissions();
    for route in pair.routes() {
        pair.attempt(route, &role).expect_admitted();
        pair.attempt(route, &role).with("hunter2").expect_refused("malformed_token");
    }
    let events = format!("SELECT count(*) FROM pgaad.events WHERE role = '{role}'");
    assert_eq!(standby.value(&events), (2 * pair.routes().len()).to_string());
    assert!(admissions() >= before + pair.routes().len());
    assert_eq!(primary.value("SELECT count(*) FROM pgaad.events"), "0");
    assert_eq!(primary.value("SELECT sum(count) FROM pgaad.stat_logins"), "0");

    assert_eq!(standby.value("SELECT configured AND ready AND problem IS NULL FROM pgaad.status"), "t");
    let worker = standby.value("SELECT worker_pid FROM pgaad.status").parse().expect("a process id");
    assert!(standby.processes("pgaad").contains(&worker), "{worker}");
    let keys = "SELECT string_agg(kid, ' ' ORDER BY kid) FROM pgaad.keys";
    assert_eq!(standby.value(keys), primary.value(keys));
    let fetches = pair.scene.tenant.fetches();
    assert_eq!(standby.value("SELECT pgaad.refresh()"), "t");
    assert!(pair.scene.tenant.fetches() > fetches);

    let token = pair.token(&role);
    let (unsigned, _) = token.rsplit_once('.').expect("a token has a signature");
    let explained = format!("SELECT count(*), bool_and(ok) FROM pgaad.explain('{role}', '{unsigned}')");
    assert_eq!(standby.sql(&explained), [[Some("12".to_owned()), Some("t".to_owned())]]);
    let explained = format!(
        "SELECT step FROM pgaad.explain_event((SELECT max(id) FROM pgaad.events WHERE role = '{role}')) WHERE NOT ok"
    );
    assert_eq!(standby.value(&explained), "header");
}

/// Whatever would write is an error there, so a check that answers has written nothing.
#[test]
fn check_says_of_a_standby_what_it_says_of_its_primary() {
    // Its own: no other test makes a role between the two answers.
    let pair = Pair::start();
    pair.member();
    let rows = |cluster: &Cluster| cluster.sql("SELECT item, ok, detail, hint FROM pgaad.check()");
    let said = rows(&pair.standby);
    assert!(said.len() >= 23, "{said:?}");
    assert_eq!(said, rows(&pair.scene.cluster));
}

#[test]
fn statements_that_would_write_are_refused_as_read_only_and_do_no_harm() {
    const READ_ONLY_SQL_TRANSACTION: &str = "25006";
    let pair = pair();
    let (role, admin) = (pair.member(), pair.admin());
    let (name, id) = (quoted(&role), object_id(&role));
    let of_administrators = [
        label_statement(&role, &bound_to(&role)),
        format!("SECURITY LABEL FOR pgaadauth ON ROLE {name} IS NULL"),
        "CREATE ROLE eve LOGIN IN ROLE azure_ad_user".to_owned(),
        format!("GRANT azure_ad_mfa, azure_ad_user TO {name}"),
        format!("REVOKE azure_ad_user FROM {name}"),
        format!("ALTER GROUP azure_ad_user DROP USER {name}"),
        format!("DROP ROLE {name}"),
        "SELECT pgaadauth_create_principal('eve', false, false)".to_owned(),
        format!("SELECT pgaadauth_create_principal_with_oid('eve', '{id}', 'user', false, false)"),
        format!("SELECT pgaadauth_update_principal_with_oid('{role}', '{id}', 'user', false, false)"),
    ];
    let of_superusers = [
        format!("SELECT pgaad.set_admin('{role}', '{id}', 'user')"),
        "SELECT pgaad.guard_roles(true)".to_owned(),
    ];
    for route in pair.routes() {
        let mut session = pair.attempt(route, &admin).expect_admitted();
        for statement in &of_administrators {
            let answer = session.query(statement).expect_err(statement);
            assert_eq!(answer.sqlstate, READ_ONLY_SQL_TRANSACTION, "{statement}: {answer}");
            assert!(answer.message.ends_with(" in a read-only transaction"), "{statement}: {answer}");
            // Nothing is announced that was not done.
            assert_eq!(session.take_notices(), [], "{statement}");
        }
        assert!(is_in_recovery(&mut session));
    }
    for statement in of_administrators.iter().chain(&of_superusers) {
        let answer = pair.standby.try_sql(statement).expect_err(statement);
        assert_eq!(answer.sqlstate, READ_ONLY_SQL_TRANSACTION, "{statement}: {answer}");
    }
    for route in pair.routes() {
        pair.attempt(route, &role).expect_admitted();
    }
}

// Its keys.

#[test]
fn new_signing_key_is_accepted_on_its_first_login_to_the_standby() {
    let pair = Pair::start();
    let role = pair.member();
    let kid = pair.scene.tenant.rotate();
    for route in pair.routes() {
        pair.attempt(route, &role).expect_admitted();
    }
    // Each server fetches its own.
    let known = format!("SELECT count(*) FROM pgaad.keys WHERE kid = '{kid}'");
    assert_eq!(pair.standby.value(&known), "1");
    assert_eq!(pair.scene.cluster.value(&known), "0");
    pair.scene.attempt(pair.scene.route(), &role).expect_admitted();
    assert_eq!(pair.scene.cluster.value(&known), "1");
}

#[test]
fn standby_made_while_the_provider_is_dead_begins_with_its_primarys_keys() {
    let scene = Scene::start();
    let role = scene.member();
    scene.tenant.stop();
    let standby = scene.cluster.standby();
    standby.wait_for_log(LogMark::START, "pgaad: keys restored:");
    let sources = "SELECT DISTINCT source FROM pgaad.keys";
    assert_eq!(standby.value(sources), "disk");
    for route in scene.token_routes() {
        scene.attempt(route, &role).at(&standby).expect_admitted();
        scene.attempt(route, &role).at(&standby).with("hunter2").expect_refused("malformed_token");
    }
    scene.tenant.start_again();
    assert_eq!(standby.value("SELECT pgaad.refresh()"), "t");
    assert_eq!(standby.value(sources), "network");
}

// Recovery conflicts.

/// Has the primary remove a row version of `pg_authid` that a login at the standby, begun before, might see.
///
/// The standby waits with the replay until that login ends.
fn conflict(pair: &Pair) {
    let primary = &pair.scene.cluster;
    for statement in
        ["CREATE ROLE gone", "ALTER ROLE gone CONNECTION LIMIT 1", "DROP ROLE gone", "VACUUM pg_authid"]
    {
        primary.sql(statement);
    }
}

fn pair_with_conflicts() -> Pair {
    let pair = Pair::start();
    let mark = pair.standby.log_mark();
    // The log tells of a conflict after `deadlock_timeout`.
    pair.standby.append_conf(
        "max_standby_streaming_delay = 0\nlog_recovery_conflict_waits = on\ndeadlock_timeout = 10ms\n\
         pgaad.key_wait = 60s",
    );
    pair.standby.reload();
    // The worker fetches at a reload: from here on it is idle.
    pair.standby.wait_for_log(mark, "pgaad: keys refreshed");
    pair
}

const CONFLICT: &str = "recovery still waiting after";

/// What core does with the login when it goes on: it ends it, before or after our decision.
#[track_caller]
fn expect_cancelled(login: &Login) {
    let Outcome::Refused(answers) = &login.outcome else { panic!("let in: {login:?}") };
    let states: Vec<_> = answers.iter().map(|answer| answer.sqlstate.as_str()).collect();
    assert!(states == ["40001"] || states == ["28P01"], "{login:?}");
}

#[test]
fn login_at_its_prompt_that_stands_in_the_way_of_replay_holds_up_no_other() {
    let pair = pair_with_conflicts();
    let role = pair.member();
    // The last is core's own method, where it is just so.
    for route in pair.routes().into_iter().chain([Route::Password]) {
        let attempt = pair.attempt(route, &role);
        for leaves in [false, true] {
            let waiting = attempt.until_asked();
            let mark = pair.standby.log_mark();
            conflict(&pair);
            pair.standby.wait_for_log(mark, CONFLICT);
            for route in pair.routes() {
                pair.attempt(route, &role).expect_admitted();
                pair.attempt(route, &role).with("hunter2").expect_refused("malformed_token");
            }
            if leaves {
                drop(waiting);
            } else {
                expect_cancelled(&wire::finish(waiting, pair.token(&role).as_bytes()));
            }
            pair.scene.cluster.wait_until_replayed_by(&pair.standby);
        }
    }
}

#[test]
fn login_that_waits_for_a_key_makes_way_for_replay_at_once() {
    let pair = pair_with_conflicts();
    let role = pair.member();
    let route = pair.scene.route();
    pair.attempt(route, &role).expect_admitted();
    pair.scene.tenant.set_behavior(Behavior::Stalled);
    let token = pair.scene.token(&role).signed_by(Signer::Unpublished).mint();
    let attempt = pair.attempt(route, &role).with(token);
    let fetches = pair.scene.tenant.fetches();
    let mark = pair.standby.log_mark();
    thread::scope(|threads| {
        let login = threads.spawn(|| attempt.login());
        wait_until("a fetch begins", || pair.scene.tenant.fetches() > fetches);
        conflict(&pair);
        pair.scene.cluster.wait_until_replayed_by(&pair.standby);
        attempt.expect_refusal(login.join().expect("the login ends"), mark, "internal_error");
        // The login would have had a minute, and the provider ten seconds, which are not over.
        let log = pair.standby.log_since(mark);
        assert!(!log.contains("key refresh failed"), "{log}");
    });
    let cause = "cause=\"canceling statement due to conflict with recovery\"";
    pair.standby.wait_for_log(mark, cause);
    pair.attempt(route, &role).expect_admitted();
}

// Promotion.

/// How many good logins there were while the server was a standby, and after.
#[derive(Debug, Default)]
struct Tally {
    as_standby: usize,
    as_primary: usize,
}

/// Logs in until it is `over`: every good token gets in, no other ever does.
fn log_in(pair: &Pair, route: Route, role: &str, rounds: &AtomicUsize, over: &AtomicBool) -> Tally {
    let good = pair.attempt(route, role);
    let bad: Vec<_> = [
        pair.token("mallory@example.com"),
        pair.scene.token(role).signed_by(Signer::Broken).mint(),
        "hunter2".to_owned(),
    ]
    .into_iter()
    .map(|password| good.clone().with(password))
    .collect();
    let mut tally = Tally::default();
    while !over.load(Ordering::Relaxed) {
        let login = good.login();
        let Outcome::Accepted(mut session) = login.outcome else { panic!("{good:?}: {login:?}") };
        assert_eq!(session.value("SELECT pgaad.claims() ->> 'oid'"), Some(object_id(role)));
        if is_in_recovery(&mut session) {
            tally.as_standby += 1;
        } else {
            tally.as_primary += 1;
        }
        for attempt in &bad {
            let login = attempt.login();
            assert!(login.challenged, "{attempt:?}: {login:?}");
            assert_eq!(attempt.expect_turned_away(login).sqlstate, "28P01");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

#[test]
fn promotion_in_the_middle_of_logins_loses_no_good_one_and_admits_no_bad_one() {
    const THREADS_EACH: usize = 2;
    const ROUNDS: usize = 40;
    let pair = Pair::start();
    let (role, admin, standby) = (pair.member(), pair.admin(), &pair.standby);
    let worker = "SELECT worker_pid FROM pgaad.status";
    let worker_before = standby.value(worker);
    let mut session = pair.attempt(pair.scene.route(), &admin).expect_admitted();

    let (rounds, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let wait_for_rounds = |more: usize| {
        let (wanted, start) = (rounds.load(Ordering::Relaxed) + more, Instant::now());
        while rounds.load(Ordering::Relaxed) < wanted && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
    };
    let tallies: Vec<_> = thread::scope(|threads| {
        let logins: Vec<_> = pair
            .routes()
            .into_iter()
            .flat_map(|route| [route; THREADS_EACH])
            .map(|route| {
                threads.spawn({
                    let (pair, role, rounds, over) = (&pair, &role, &rounds, &over);
                    move || log_in(pair, route, role, rounds, over)
                })
            })
            .collect();
        wait_for_rounds(ROUNDS);
        assert_eq!(standby.value("SELECT pg_promote()"), "t");
        wait_for_rounds(ROUNDS);
        over.store(true, Ordering::Relaxed);
        logins.into_iter().map(|thread| thread.join().expect("logins go on")).collect()
    });
    for tally in &tallies {
        assert!(tally.as_standby > 0 && tally.as_primary > 0, "{tallies:?}");
    }
    assert_eq!(standby.value(worker), worker_before, "the worker goes on");
    let refused = "SELECT count(*) FROM pgaad.events WHERE code IN ('internal_error', 'not_decided')";
    assert_eq!(standby.value(refused), "0");

    // A session that was open before writes now, and what it writes counts.
    for route in pair.routes() {
        session.query(&label_statement(&role, &bound_to("ann@example.com"))).expect("no standby any more");
        pair.attempt(route, &role).with(pair.token("ann@example.com")).expect_admitted();
        pair.attempt(route, &role).expect_refused("principal_mismatch");
        session.query(&label_statement(&role, &bound_to(&role))).expect("no standby any more");
        pair.attempt(route, &role).expect_admitted();
    }
    standby.sql(&format!("REVOKE azure_ad_user FROM {}", quoted(&role)));
    for route in pair.routes().into_iter().filter(|route| *route != Route::Trust) {
        pair.attempt(route, &role).expect_refused("role_not_member");
    }
}
