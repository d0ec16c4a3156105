//! Transactions that have read the catalogs before a superuser takes something away: what they see is old, and what
//! they may do is not.

use crate::world::{World, filled, set_admin};
use pgaad_tests::wire::{Answer, Session};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const DENIED: &str = "42501";

const BEGINNINGS: [&str; 2] = ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"];

/// Fills the caches, and takes the locks under which core takes in no news.
const READ: &str = "SELECT count(*) FROM pg_auth_members WHERE roleid > 0 AND member > 0;
    SELECT count(*) FROM pg_roles WHERE rolname > ''; SELECT count(*) FROM pg_shseclabel;
    SELECT pg_has_role(CURRENT_USER, 'azure_ad_admin', 'MEMBER')";

/// The world of these tests, whose transactions are committed: one test after the other.
fn world() -> (&'static World, MutexGuard<'static, ()>) {
    static WORLD: OnceLock<World> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (WORLD.get_or_init(World::new), turn)
}

/// A statement in a transaction that has read the catalogs, and what a superuser does in the meantime.
struct Stale<'a> {
    world: &'a World,
    /// Run by the superuser before.
    given: &'a str,
    /// Who runs the statement.
    actor: &'a str,
    statement: &'a str,
    /// Run by the superuser when it is all over.
    undo: &'a str,
}

impl Stale<'_> {
    /// The statement is refused once a superuser has done this in the meantime, and allowed without.
    fn is_refused_after(&self, meanwhile: &str) {
        self.is_refused_after_the_end_of(meanwhile);
        for begin in BEGINNINGS {
            let result = self.around(|session| self.while_it_is_open(session, begin, &filled(meanwhile)));
            self.is_denied(&format!("{begin}, open"), result);
        }
    }

    /// As above, for a statement that does not wait for the superuser's transaction.
    fn is_refused_after_the_end_of(&self, meanwhile: &str) {
        self.is_allowed_after("SELECT 1");
        for (way, result) in self.results(meanwhile) {
            self.is_denied(&way, result);
        }
    }

    fn is_denied(&self, way: &str, result: Result<(), Answer>) {
        let Err(answer) = result else { panic!("{way}: {}: allowed", self.statement) };
        assert_eq!(answer.sqlstate, DENIED, "{way}: {}: {answer}", self.statement);
    }

    /// The statement is allowed whatever a superuser has done in the meantime.
    fn is_allowed_after(&self, meanwhile: &str) {
        for (way, result) in self.results(meanwhile) {
            result.unwrap_or_else(|answer| panic!("{way}: {}: {answer} {}", self.statement, answer.hint));
        }
    }

    /// How the statement goes in each way of being late, each in the same world.
    fn results(&self, meanwhile: &str) -> Vec<(String, Result<(), Answer>)> {
        let meanwhile = filled(meanwhile);
        let mut results = Vec::new();
        for begin in BEGINNINGS {
            let after = self.around(|session| self.after_it_is_committed(session, begin, &meanwhile));
            results.push((format!("{begin}, committed"), after));
        }
        results.push(("DO".to_owned(), self.around(|session| self.in_a_function(session, &meanwhile))));
        results
    }

    fn around(&self, run: impl FnOnce(&mut Session) -> Result<(), Answer>) -> Result<(), Answer> {
        let mut superuser = self.world.superuser();
        superuser.query(&filled(self.given)).expect("a superuser may");
        let mut session = self.world.session(self.actor);
        // What a first statement about roles reads is read.
        session.query("BEGIN; GRANT nosuch TO nobody").expect_err("no such roles");
        session.query("ROLLBACK").expect("core's own statement");
        let result = run(&mut session);
        drop(session);
        superuser.query(&filled(self.undo)).expect("a superuser may");
        result
    }

    fn after_it_is_committed(
        &self,
        session: &mut Session,
        begin: &str,
        meanwhile: &str,
    ) -> Result<(), Answer> {
        session.query(begin).and_then(|_| session.query(READ)).expect("core's own statements");
        self.world.superuser().query(meanwhile).expect("a superuser may");
        let result = session.query(&filled(self.statement)).map(|_| ());
        session.query("COMMIT").expect("core's own statement");
        result
    }

    /// The statement waits for the superuser's transaction.
    fn while_it_is_open(&self, session: &mut Session, begin: &str, meanwhile: &str) -> Result<(), Answer> {
        let mut superuser = self.world.superuser();
        session.query(begin).and_then(|_| session.query(READ)).expect("core's own statements");
        superuser.query(&format!("BEGIN; {meanwhile}")).expect("a superuser may");
        let result = when_blocked(session, &filled(self.statement), &mut superuser, &["COMMIT"]);
        session.query("COMMIT").expect("core's own statement");
        result
    }

    /// All in one DO, which waits for the superuser before the statement.
    fn in_a_function(&self, session: &mut Session, meanwhile: &str) -> Result<(), Answer> {
        let mut superuser = self.world.superuser();
        superuser.query("SELECT pg_advisory_lock(16)").expect("a free lock");
        let body = format!("{READ}; SELECT pg_advisory_xact_lock(16); {}", filled(self.statement));
        let body = body.replace("SELECT ", "PERFORM ");
        let run = format!("DO $do$ BEGIN {body}; END $do$");
        // Two queries: one would release the lock before it commits.
        when_blocked(session, &run, &mut superuser, &[meanwhile, "SELECT pg_advisory_unlock(16)"])
    }
}

/// Runs a statement, and others in another session as soon as the first one waits for a lock or is done.
fn when_blocked(session: &mut Session, sql: &str, other: &mut Session, then: &[&str]) -> Result<(), Answer> {
    let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {} AND NOT granted", session.backend_pid);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || session.query(sql).map(|_| ()));
        while !waiting.is_finished() && other.value(&waits).as_deref() == Some("0") {
            std::thread::yield_now();
        }
        then.iter().for_each(|sql| _ = other.query(sql).expect("a superuser may"));
        waiting.join().expect("no panic")
    })
}

/// Makes `root` the administrator again, as in the beginning.
fn root_again() -> String {
    format!("{}; GRANT azure_ad_admin TO office", set_admin("root"))
}

/// The ADMIN OPTION that CREATEROLE does not need before 16.
fn given_to_maker(world: &World, role: &str) -> String {
    if world.is_before_16() {
        return String::new();
    }
    format!("; GRANT {role} TO maker WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
}

#[test]
fn role_that_has_become_the_administrator_meanwhile_is_not_granted() {
    let (world, _turn) = world();
    let given = format!("CREATE ROLE root8 LOGIN{}", given_to_maker(world, "root8"));
    let undo = format!("{}; DROP ROLE root8", root_again());
    for statement in ["GRANT root8 TO CURRENT_USER", "GRANT app, root8 TO plain"] {
        let stale = Stale { world, given: &given, actor: "maker", statement, undo: &undo };
        stale.is_refused_after(&set_admin("root8"));
    }
}

#[test]
fn office_that_is_revoked_meanwhile_does_not_come_back() {
    let (world, _turn) = world();
    for (role, statement) in
        [("root", "GRANT root TO CURRENT_USER"), ("localdba", "GRANT app, localdba TO CURRENT_USER")]
    {
        Stale {
            world,
            given: &format!("GRANT {role} TO maker WITH ADMIN OPTION"),
            actor: "maker",
            statement,
            undo: &format!("REVOKE {role} FROM maker CASCADE"),
        }
        .is_refused_after(&format!("REVOKE {role} FROM maker CASCADE"));
    }
}

#[test]
fn role_that_has_become_the_administrator_meanwhile_is_not_altered() {
    let (world, _turn) = world();
    let given = format!("CREATE ROLE root8 LOGIN{}", given_to_maker(world, "root8"));
    let undo = format!("{}; DROP ROLE root8", root_again());
    for statement in ["ALTER ROLE root8 PASSWORD 'x'", "ALTER ROLE root8 SET search_path = evil"] {
        let stale = Stale { world, given: &given, actor: "maker", statement, undo: &undo };
        stale.is_refused_after_the_end_of(&set_admin("root8"));
    }
}

#[test]
fn server_role_is_not_granted_by_an_admin_option_that_is_revoked_meanwhile() {
    let (world, _turn) = world();
    Stale {
        world,
        given: "GRANT pg_execute_server_program TO maker WITH ADMIN OPTION",
        actor: "maker",
        statement: "GRANT pg_execute_server_program TO plain",
        undo: "REVOKE pg_execute_server_program FROM plain GRANTED BY CURRENT_USER;
               REVOKE pg_execute_server_program FROM maker CASCADE;
               REVOKE pg_execute_server_program FROM plain",
    }
    .is_refused_after("REVOKE pg_execute_server_program FROM maker CASCADE");
}

#[test]
fn server_role_that_is_revoked_meanwhile_does_not_come_back() {
    let (world, _turn) = world();
    Stale {
        world,
        given: "CREATE ROLE etl; GRANT pg_execute_server_program TO etl WITH ADMIN OPTION; GRANT etl TO maker",
        actor: "maker",
        statement: "GRANT pg_execute_server_program TO CURRENT_USER",
        undo: "REVOKE pg_execute_server_program FROM etl CASCADE; REVOKE pg_execute_server_program FROM maker;
               DROP ROLE etl",
    }
    .is_refused_after("REVOKE etl FROM maker");
}

#[test]
fn administrator_who_is_replaced_meanwhile_changes_no_members_and_no_labels() {
    let (world, _turn) = world();
    let undo = format!(
        "REVOKE azure_ad_user FROM plain CASCADE;
         SECURITY LABEL FOR pgaadauth ON ROLE \"bob@example.com\" IS NULL;
         GRANT azure_ad_user TO \"bob@example.com\"; {}; DROP ROLE root9",
        root_again()
    );
    for statement in [
        "GRANT azure_ad_user TO plain",
        "GRANT azure_ad_user TO plain WITH ADMIN OPTION",
        "SECURITY LABEL FOR pgaadauth ON ROLE \"bob@example.com\" IS 'aadauth,oid={mallory},type=user'",
        "SELECT pgaadauth_update_principal_with_oid('bob@example.com', '{mallory}', 'user', false, false)",
    ] {
        let stale = Stale { world, given: "CREATE ROLE root9 LOGIN", actor: "root", statement, undo: &undo };
        stale.is_refused_after(&set_admin("root9"));
    }
}

#[test]
fn superuser_who_is_demoted_meanwhile_gives_nobody_the_office() {
    let (world, _turn) = world();
    for statement in [
        "GRANT azure_ad_admin, azure_ad_user TO CURRENT_USER",
        "GRANT azure_ad_user TO CURRENT_USER",
        "GRANT pg_execute_server_program TO CURRENT_USER",
        "SECURITY LABEL FOR pgaadauth ON ROLE plain IS 'aadauth,oid={mallory},type=user,admin'",
    ] {
        Stale {
            world,
            given: "CREATE ROLE chief SUPERUSER LOGIN",
            actor: "chief",
            statement,
            undo: "DROP ROLE chief; SECURITY LABEL FOR pgaadauth ON ROLE plain IS NULL",
        }
        .is_refused_after("ALTER ROLE chief NOSUPERUSER");
    }
}

#[test]
fn innocent_statement_does_not_answer_for_what_others_do_meanwhile() {
    let (world, _turn) = world();
    let undo =
        format!("REVOKE o1, team, azure_ad_user FROM plain CASCADE; {}; DROP ROLE lp_1, root7", root_again());
    let given = "SET SESSION AUTHORIZATION maker; CREATE ROLE lp_1 LOGIN; RESET SESSION AUTHORIZATION;
                 CREATE ROLE root7 LOGIN";
    for statement in ["ALTER ROLE lp_1 NOLOGIN", "GRANT app TO lp_1", "ALTER ROLE lp_1 RENAME TO lp_2"] {
        let undo = if statement.contains("RENAME") { undo.replace("lp_1", "lp_2") } else { undo.clone() };
        let stale = Stale { world, given, actor: "maker", statement, undo: &undo };
        stale.is_allowed_after("SELECT 1");
        stale.is_allowed_after(&set_admin("root7"));
        stale.is_allowed_after("GRANT azure_ad_user TO plain; GRANT o1 TO plain; GRANT team TO plain");
    }
}

#[test]
fn administrator_is_not_made_of_a_role_that_is_being_granted() {
    let (world, _turn) = world();
    for end in ["COMMIT", "ROLLBACK"] {
        let (mut maker, mut superuser) = (world.session("maker"), world.superuser());
        // Without a former administrator, whose office would be taken first.
        superuser.query("REVOKE azure_ad_admin FROM root, office").expect("a superuser may");
        maker.query("CREATE ROLE root2 LOGIN").expect("a CREATEROLE may");
        maker
            .query("BEGIN")
            .and_then(|_| maker.query("GRANT root2 TO CURRENT_USER"))
            .expect("their own role");
        let pid = superuser.backend_pid;
        let result = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| superuser.query(&set_admin("root2")).map(|_| ()));
            let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
            let mut observer = world.superuser();
            while !waiting.is_finished() && observer.value(&waits).as_deref() == Some("0") {
                std::thread::yield_now();
            }
            assert!(!waiting.is_finished(), "the administrator is set while the grant is open");
            maker.query(end).expect("core's own statement");
            waiting.join().expect("no panic")
        });
        let state = world.state(&mut superuser);
        assert!(!state.who_reaches("azure_ad_admin").contains("maker"), "{end}: {result:?}");
        match result {
            Ok(()) => assert_eq!(end, "ROLLBACK", "the grant was committed"),
            Err(answer) => assert_eq!((end, &*answer.sqlstate), ("COMMIT", "55000"), "{answer}"),
        }
        superuser.query(&format!("{}; DROP ROLE root2", root_again())).expect("a superuser may");
    }
}
