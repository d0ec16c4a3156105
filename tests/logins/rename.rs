//! Roles that are renamed while they log in: a session is never somebody else's.
//!
//! The gate judges a role by its name, and core looks the name up again. A superuser exchanges the names of two roles
//! without a pause, while many log in by one of the names. Every session that comes to be is asked whose it is, by the
//! id that the server keeps of it, which no renaming changes.

use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{Connection, Login, Outcome, Progress, Session, Target, finish};
use pgaad_tests::{Cluster, Route, Scene, Transport};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tenant::object_id;

/// Logins of each kind: few, unless `make torture` asks for more.
fn logins() -> usize {
    std::env::var("PGAAD_TORTURE_LOGINS").ok().and_then(|number| number.parse().ok()).unwrap_or(300)
}

/// A few are caught in a hundred; a run that has caught none goes on for this long.
const PATIENCE: Duration = Duration::from_secs(60);

const PASSWORD: &str = "the password of the role that is no member";

/// What the client asks to be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Session,
    LogicalWalsender,
    PhysicalWalsender,
}

impl Kind {
    fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Session => &[],
            Self::LogicalWalsender => &[("replication", "database")],
            Self::PhysicalWalsender => &[("replication", "true")],
        }
    }
}

/// Somebody who logs in by a name with a secret, and whose session must have this role and no other.
struct Client {
    name: String,
    secret: Vec<u8>,
    role_oid: String,
    kind: Kind,
}

impl Client {
    fn login(&self, target: &Target) -> Login {
        let mut connection = Connection::connect(target).expect("the server listens");
        let _ = connection.startup(&self.name, &target.database, self.kind.parameters());
        match connection.read_login() {
            Progress::Challenged(connection) => finish(connection, &self.secret),
            Progress::Accepted(session) => Login { challenged: false, outcome: Outcome::Accepted(session) },
            Progress::Refused(answers) => Login { challenged: false, outcome: Outcome::Refused(answers) },
        }
    }
}

/// What became of the logins.
#[derive(Debug, Default)]
struct Tally {
    own: AtomicUsize,
    refused: AtomicUsize,
    somebody_elses: AtomicUsize,
}

fn superuser(cluster: &Cluster) -> Session {
    let target = cluster.unix("postgres");
    let mut connection = Connection::connect(&target).expect("the server listens");
    connection.startup("postgres", "postgres", &[]).expect("the server reads");
    match connection.read_login() {
        Progress::Accepted(session) => session,
        _ => panic!("the superuser is not let in"),
    }
}

/// Exchanges the names of two roles until `stop`, then gives each its own.
fn exchange_names(cluster: &Cluster, one: &str, other: &str, stop: &AtomicBool) {
    let rename = |from: &str, to: &str| format!("ALTER ROLE {} RENAME TO {};", quoted(from), quoted(to));
    let exchange =
        ["BEGIN;".into(), rename(one, "tmp"), rename(other, one), rename("tmp", other), "COMMIT".into()]
            .concat();
    let mut session = superuser(cluster);
    session.query("SET client_min_messages = error").expect("anybody may");
    let mut turn = 0_usize;
    while !stop.load(Ordering::Relaxed) || !turn.is_multiple_of(2) {
        session.query(&exchange).expect("a superuser may");
        turn += 1;
        if turn.is_multiple_of(500) {
            // The catalog is full of dead names, which every login has to pass.
            session.query("VACUUM pg_authid").expect("a superuser may");
        }
    }
}

/// Whose session it is.
fn role_of(observer: &mut Session, session: &Session) -> Option<String> {
    let sql = format!("SELECT usesysid FROM pg_stat_activity WHERE pid = {}", session.backend_pid);
    observer.query(&sql).ok()?.into_iter().next()?.into_iter().next()?
}

/// Has the client log in at `at` while names are exchanged at `primary`, until enough logins were seen and some were
/// caught. The codes of the log's lines about the client's name.
fn storm(
    primary: &Cluster,
    at: &Cluster,
    target: &Target,
    client: &Client,
    other: &str,
) -> BTreeMap<String, usize> {
    let (stop, tally) = (AtomicBool::new(false), Tally::default());
    let mark = at.log_mark();
    let began = Instant::now();
    let caught = || codes(at, mark, &client.name).get("role_changed").copied().unwrap_or(0);
    thread::scope(|threads| {
        threads.spawn(|| exchange_names(primary, &client.name, other, &stop));
        for _ in 0..4 {
            threads.spawn(|| {
                let mut observer = superuser(at);
                while !stop.load(Ordering::Relaxed) {
                    match client.login(target).outcome {
                        Outcome::Accepted(session) => match role_of(&mut observer, &session) {
                            Some(oid) if oid == client.role_oid => tally.own.fetch_add(1, Ordering::Relaxed),
                            _ => tally.somebody_elses.fetch_add(1, Ordering::Relaxed),
                        },
                        Outcome::Refused(_) => tally.refused.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
        loop {
            thread::sleep(Duration::from_millis(100));
            let seen = tally.own.load(Ordering::Relaxed) + tally.refused.load(Ordering::Relaxed);
            let is_enough = seen >= logins() && tally.own.load(Ordering::Relaxed) > 0 && caught() > 0;
            if is_enough || (began.elapsed() > PATIENCE && seen >= logins()) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let codes = codes(at, mark, &client.name);
    println!("{:?} by {:?}: {tally:?} {codes:?}", client.kind, target.database);
    assert_eq!(tally.somebody_elses.load(Ordering::Relaxed), 0, "{tally:?} {codes:?}");
    assert!(tally.own.load(Ordering::Relaxed) > 0, "nobody got in at all: {tally:?} {codes:?}");
    codes
}

/// How often the log has each code for this name.
fn codes(cluster: &Cluster, mark: pgaad_tests::log::LogMark, name: &str) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for line in cluster.log_since(mark).lines().filter(|line| line.contains(&format!("role=\"{name}\""))) {
        if let Some((_, rest)) = line.split_once(" code=") {
            *codes.entry(rest.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    codes
}

struct Roles {
    scene: Scene,
    owner: String,
    other: String,
    plain: String,
}

/// Two members, each bound to its owner's id, and one role that is none. All may replicate.
fn roles() -> Roles {
    let scene = Scene::with(|cluster| {
        // Where the client comes from tells the method: the socket asks for a token, loopback for a password.
        cluster
            .conf("pgaad.log_logins", "all")
            .conf("max_wal_senders", "20")
            .hba("local replication all trust")
            .hba("host replication all 127.0.0.1/32 password")
    });
    let (owner, other, plain) = (scene.fresh_name(), scene.fresh_name(), scene.fresh_name());
    for name in [&owner, &other] {
        scene.cluster.sql(&format!(
            "SELECT pgaadauth_create_principal_with_oid('{name}', '{}', 'user', false, false)",
            object_id(name)
        ));
    }
    scene.cluster.sql(&format!("CREATE ROLE {} LOGIN PASSWORD '{PASSWORD}'", quoted(&plain)));
    for name in [&owner, &other, &plain] {
        scene.cluster.sql(&format!("ALTER ROLE {} REPLICATION", quoted(name)));
    }
    Roles { scene, owner, other, plain }
}

impl Roles {
    fn role_oid(&self, name: &str) -> String {
        self.scene.cluster.value(&format!("SELECT oid FROM pg_roles WHERE rolname = '{name}'"))
    }

    /// The owner, with their own token.
    fn by_token(&self, kind: Kind) -> Client {
        let token = self.scene.token(&self.owner).expires_in(3 * 3600).mint();
        let role_oid = self.role_oid(&self.owner);
        Client { name: self.owner.clone(), secret: token.into_bytes(), role_oid, kind }
    }

    /// The role that is no member, with its password.
    fn by_password(&self, kind: Kind) -> Client {
        let role_oid = self.role_oid(&self.plain);
        Client { name: self.plain.clone(), secret: PASSWORD.into(), role_oid, kind }
    }
}

fn expect_caught(codes: &BTreeMap<String, usize>) {
    assert!(codes.contains_key("role_changed"), "none was caught at the commit: {codes:?}");
}

#[test]
fn owner_of_a_token_never_becomes_somebody_else_by_any_way_in() {
    let roles = roles();
    let cluster = &roles.scene.cluster;
    for route in roles.scene.token_routes() {
        let client = roles.by_token(Kind::Session);
        expect_caught(&storm(cluster, cluster, &cluster.plain(route.database()), &client, &roles.other));
    }
}

#[test]
fn role_with_a_password_never_becomes_a_member() {
    let roles = roles();
    let cluster = &roles.scene.cluster;
    let target = cluster.plain(Route::Password.database());
    expect_caught(&storm(cluster, cluster, &target, &roles.by_password(Kind::Session), &roles.owner));
}

#[test]
fn walsenders_of_both_kinds_never_become_somebody_else() {
    let roles = roles();
    let cluster = &roles.scene.cluster;
    for kind in [Kind::LogicalWalsender, Kind::PhysicalWalsender] {
        // The lines of physical replication have no database: the socket asks for a token here.
        let target = cluster.unix(Route::Trust.database());
        expect_caught(&storm(cluster, cluster, &target, &roles.by_token(kind), &roles.other));
        let target = cluster.plain(Route::Password.database());
        expect_caught(&storm(cluster, cluster, &target, &roles.by_password(kind), &roles.owner));
    }
}

#[test]
fn sessions_of_a_standby_that_replays_the_renaming_are_never_somebody_elses() {
    let roles = roles();
    let primary = &roles.scene.cluster;
    let standby = primary.standby();
    standby.wait_until_ready();
    let target = standby.plain(roles.scene.route().database());
    let codes = storm(primary, &standby, &target, &roles.by_token(Kind::Session), &roles.other);
    expect_caught(&codes);
    let target = standby.plain(Route::Password.database());
    storm(primary, &standby, &target, &roles.by_password(Kind::Session), &roles.owner);
}

/// What was seen at the commit is told as any refusal is, and the login that was not disturbed leaves its event.
#[test]
fn nobody_is_disturbed_who_is_not_renamed() {
    let roles = roles();
    let scene = &roles.scene;
    for route in scene.token_routes() {
        for transport in Transport::all() {
            let token = scene.token(&roles.owner).mint();
            let mut session =
                scene.attempt(route, &roles.owner).over(transport).with(token).expect_admitted();
            assert_eq!(session.value("SELECT pgaad.claims()->>'oid'"), Some(object_id(&roles.owner)));
        }
    }
    let changed =
        scene.cluster.sql("SELECT 1 FROM pgaad.stat_logins WHERE code = 'role_changed' AND count > 0");
    assert_eq!(changed, Vec::<Vec<Option<String>>>::new());
}
