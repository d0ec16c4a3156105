//! Two sessions at the same time, each with one half of what is forbidden as a whole.

use crate::rules::{self, Author};
use crate::search::{say, seed};
use crate::state::{State, short};
use crate::walk::Random;
use crate::world::{World, filled};
use pgaad_tests::wire::{Answer, Session};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a server says of two sessions that wait for each other.
const DEADLOCK: &str = "40P01";

/// How many pairs of random transactions are run.
const PAIRS: usize = 120;

/// The world of these tests, whose transactions are committed: one test after the other.
fn world() -> (&'static World, MutexGuard<'static, ()>) {
    static WORLD: OnceLock<World> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (WORLD.get_or_init(World::new), turn)
}

/// Roles that no other pair has: `{o}` and `{p}` are local roles, `{e}` and `{f}` Entra roles bound by their names.
struct Cast(usize);

impl Cast {
    fn new(world: &World) -> Cast {
        static NEXT: AtomicUsize = AtomicUsize::new(100);
        let cast = Cast(NEXT.fetch_add(1, Ordering::Relaxed));
        world.cluster.sql(&cast.fill(
            "CREATE ROLE {o}; CREATE ROLE {p} LOGIN;
             CREATE ROLE {e} LOGIN IN ROLE azure_ad_user; CREATE ROLE {f} LOGIN IN ROLE azure_ad_user",
        ));
        if !world.is_before_16() {
            // CREATEROLE does not reach other people's roles there.
            let admin = "SET client_min_messages = error; GRANT {o}, {p}, {e}, {f} TO root WITH ADMIN OPTION";
            world.cluster.sql(&cast.fill(admin));
        }
        cast
    }

    fn fill(&self, sql: &str) -> String {
        let sql = ["o", "p", "e", "f"].iter().fold(sql.to_owned(), |sql, name| {
            sql.replace(&format!("{{{name}}}"), &format!("{name}{}", self.0))
        });
        filled(&sql)
    }
}

/// A transaction of one role.
#[derive(Clone, Debug)]
struct Half {
    role: &'static str,
    statements: Vec<String>,
}

impl Half {
    fn run(&self, session: &mut Session) -> Result<(), Answer> {
        self.statements.iter().try_for_each(|statement| session.query(statement).map(|_| ()))
    }
}

/// Ends a transaction as its statements went.
fn end(session: &mut Session, result: Result<(), Answer>) -> Result<(), Answer> {
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    result.and(session.query(end).map(|_| ()))
}

/// Runs the second half while the first one's transaction is open, commits both, and returns how each went.
fn interleave(world: &World, first: &Half, second: &Half) -> [Result<(), Answer>; 2] {
    let (mut one, mut other) = (world.session(first.role), world.session(second.role));
    let mut observer = world.superuser();
    one.query("BEGIN").expect("core's own statement");
    other.query("BEGIN").expect("core's own statement");
    let done = first.run(&mut one);
    std::thread::scope(|scope| {
        let pid = other.backend_pid;
        let waiting = scope.spawn(move || {
            let result = second.run(&mut other);
            end(&mut other, result)
        });
        let is_blocked = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
        while !waiting.is_finished() && observer.value(&is_blocked).as_deref() == Some("0") {
            std::thread::yield_now();
        }
        let first = end(&mut one, done);
        [first, waiting.join().expect("no panic")]
    })
}

/// Runs both halves at once.
fn race(world: &World, halves: &[Half; 2]) -> [Result<(), Answer>; 2] {
    let run = |half: &Half| {
        let mut session = world.session(half.role);
        session.query("BEGIN").expect("core's own statement");
        let result = half.run(&mut session);
        end(&mut session, result)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(&halves[1]));
        [run(&halves[0]), other.join().expect("no panic")]
    })
}

/// Both halves are allowed alone, and together they break a rule: so the second one waits and fails.
fn only_one_is_done(first: (&'static str, &str), second: (&'static str, &str)) {
    let (world, _turn) = world();
    for is_reversed in [false, true] {
        let cast = Cast::new(world);
        let half = |(role, sql): (&'static str, &str)| Half { role, statements: vec![cast.fill(sql)] };
        let (mut first, mut second) = (half(first), half(second));
        if is_reversed {
            std::mem::swap(&mut first, &mut second);
        }
        if second.role == "postgres" {
            continue; // A superuser, who comes last, may.
        }
        alone(world, &first);
        alone(world, &second);
        let before = world.state(&mut world.superuser());
        let [one, other] = interleave(world, &first, &second);
        let after = world.state(&mut world.superuser());
        let context = format!("{first:?} {one:?}\n{second:?} {other:?}");
        assert!(one.is_ok(), "{context}");
        let answer = other.expect_err(&context);
        assert_ne!(answer.sqlstate, DEADLOCK, "{}", short(&answer));
        let new: Vec<_> = rules::standing(&after).difference(&rules::standing(&before)).cloned().collect();
        assert!(new.is_empty(), "{context}: {new:?}");
    }
}

/// Each half alone is allowed.
fn alone(world: &World, half: &Half) {
    let mut session = world.session(half.role);
    session.query("BEGIN").expect("core's own statement");
    half.run(&mut session).unwrap_or_else(|answer| panic!("{half:?}: {}", short(&answer)));
}

#[test]
fn halves_of_a_forbidden_path_are_not_both_committed() {
    only_one_is_done(("root", "GRANT {o} TO {p}"), ("root", "GRANT azure_ad_user TO {o}"));
    only_one_is_done(("root", "CREATE ROLE {o}x IN ROLE {o}"), ("root", "GRANT azure_ad_user TO {o}"));
}

#[test]
fn role_that_is_taken_out_loses_what_another_session_has_just_granted_to_it() {
    let (world, _turn) = world();
    for is_reversed in [false, true] {
        let cast = Cast::new(world);
        let half = |sql: &str| Half { role: "root", statements: vec![cast.fill(sql)] };
        let (grant, revoke) = (half("GRANT {e} TO {f}"), half("REVOKE azure_ad_user FROM {f}"));
        let before = world.state(&mut world.superuser());
        let ends =
            if is_reversed { interleave(world, &revoke, &grant) } else { interleave(world, &grant, &revoke) };
        let after = world.state(&mut world.superuser());
        assert_eq!(ends[1].is_ok(), !is_reversed, "{ends:?}");
        let new: Vec<_> = rules::standing(&after).difference(&rules::standing(&before)).cloned().collect();
        assert!(new.is_empty(), "{ends:?}: {new:?}");
    }
}

#[test]
fn superusers_half_of_a_forbidden_path_counts_for_who_comes_after() {
    only_one_is_done(("postgres", "GRANT {o} TO {p}"), ("root", "GRANT azure_ad_user TO {o}"));
    only_one_is_done(("postgres", "GRANT {o} TO su2"), ("root", "GRANT azure_ad_user TO {o}"));
    only_one_is_done(("postgres", "ALTER ROLE {o} REPLICATION"), ("root", "GRANT azure_ad_user TO {o}"));
    only_one_is_done(
        ("postgres", "ALTER ROLE {o} SUPERUSER"),
        ("root", "ALTER GROUP azure_ad_user ADD USER {o}"),
    );
    only_one_is_done(("postgres", "GRANT azure_ad_admin TO {o}"), ("root", "GRANT {o} TO {p}"));
    only_one_is_done(("postgres", "GRANT azure_ad_user TO {o}"), ("root", "GRANT {o} TO {p}"));
}

#[test]
fn label_counts_for_a_name_that_is_changed_meanwhile() {
    let (world, _turn) = world();
    if !world.is_before_16() {
        return; // Who may rename a role there may label it, or was given the ADMIN OPTION by a superuser.
    }
    drop(_turn);
    only_one_is_done(("postgres", "GRANT azure_ad_user TO {o}"), ("maker", "ALTER ROLE {o} RENAME TO {o}x"));
    only_one_is_done(
        ("postgres", "SECURITY LABEL FOR pgaadauth ON ROLE {o} IS 'aadauth'"),
        ("maker", "ALTER ROLE {o} RENAME TO {o}x"),
    );
}

/// What random transactions are made of.
const STATEMENTS: [&str; 18] = [
    "GRANT {o} TO {p}",
    "GRANT {p} TO {o}",
    "GRANT {o} TO {e}",
    "GRANT {e} TO {f}",
    "GRANT {f} TO {e}",
    "GRANT {e} TO {p}",
    "GRANT azure_ad_user TO {o}",
    "GRANT azure_ad_user, {p} TO {o}",
    "REVOKE azure_ad_user FROM {e}",
    "REVOKE {o} FROM {p}",
    "ALTER ROLE {p} RENAME TO {p}x",
    "ALTER ROLE {e} RENAME TO {e}x",
    "SECURITY LABEL FOR pgaadauth ON ROLE {o} IS 'aadauth'",
    "SECURITY LABEL FOR pgaadauth ON ROLE {e} IS 'aadauth,oid={ann},type=user'",
    "SECURITY LABEL FOR pgaadauth ON ROLE {e} IS NULL",
    "SELECT pgaadauth_update_principal_with_oid('{p}', '{ann}', 'user', false, true)",
    "CREATE ROLE {o}x IN ROLE {o}",
    "DROP ROLE {f}",
];

#[test]
fn random_pairs_of_transactions_break_no_rule_and_never_deadlock() {
    let (world, _turn) = world();
    let (seed, mut observer) = (seed(), world.superuser());
    let mut random = Random::new(seed);
    let mut both = 0;
    for _ in 0..PAIRS {
        let cast = Cast::new(world);
        let roles = ["root", "maker", "root", "former"];
        let mut half = || Half {
            role: roles[random.below(roles.len())],
            // Each in order, so that core's own locks on roles have one, too.
            statements: vec![cast.fill(STATEMENTS[random.below(STATEMENTS.len())])],
        };
        let halves = [half(), half()];
        let before = world.state(&mut observer);
        let ends = race(world, &halves);
        let after: State = world.state(&mut observer);
        both += usize::from(ends.iter().all(Result::is_ok));
        for answer in ends.iter().filter_map(|end| end.as_ref().err()) {
            assert_ne!(answer.sqlstate, DEADLOCK, "PGAAD_SEED={seed}: {halves:?}: {}", short(answer));
        }
        let broken = rules::broken(&before, &after, Author::Administrator);
        assert!(broken.is_empty(), "PGAAD_SEED={seed}: {halves:?}: {ends:?}: {broken:?}");
    }
    say(&format!("rise by two sessions: {PAIRS} pairs, both committed in {both}, PGAAD_SEED={seed}"));
}
