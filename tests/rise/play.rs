//! A sequence of statements by several roles, in one transaction that is undone.

use crate::rules::{self, Author};
use crate::state::{State, short};
use crate::world::{World, filled, set_admin};
use pgaad_tests::wire::{Answer, Session};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The superuser that the tests log in as.
pub const SUPERUSER: &str = "postgres";

const DENIED: &str = "42501";

/// What a statement in a hint begins with.
const VERBS: [&str; 7] = ["GRANT ", "REVOKE ", "SELECT ", "ALTER ", "CREATE ", "DROP ", "SECURITY LABEL "];

/// The world that these sequences share, one after the other.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

/// The sequence; undone when dropped, with its session.
pub struct Play<'a> {
    world: &'a World,
    session: Session,
    _turn: MutexGuard<'static, ()>,
}

impl<'a> Play<'a> {
    pub fn new(world: &'a World) -> Play<'a> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = world.superuser();
        session.query("BEGIN").expect("core's own statement");
        Play { world, session, _turn: turn }
    }

    /// Runs statements as a role, as if it had logged in. After an error they have changed nothing.
    pub fn run(&mut self, role: &str, sql: &str) -> Result<(), Answer> {
        let sql = filled(sql);
        let run =
            format!("SAVEPOINT s; SET SESSION AUTHORIZATION \"{role}\"; {sql}; RESET SESSION AUTHORIZATION");
        let result = self.session.query(&run).map(|_| ());
        if result.is_err() {
            self.session.query("ROLLBACK TO s").expect("core's own statement");
        }
        result
    }

    pub fn allows(&mut self, role: &str, sql: &str) {
        if let Err(answer) = self.run(role, sql) {
            panic!("{role}: {sql}: {}", short(&answer));
        }
    }

    /// As [`Play::allows`], and takes it back.
    pub fn allows_and_undoes(&mut self, role: &str, sql: &str) {
        self.session.query("SAVEPOINT undone").expect("core's own statement");
        self.allows(role, sql);
        self.session.query("ROLLBACK TO undone").expect("core's own statement");
    }

    /// The server process that carries the sequence out.
    pub fn backend_pid(&self) -> u32 {
        self.session.backend_pid
    }

    /// The warnings of a statement of the superuser's, which is undone.
    pub fn warnings(&mut self, sql: &str) -> Vec<Answer> {
        self.session.query("SAVEPOINT undone; SET LOCAL client_min_messages = warning").expect("core's own");
        self.session.take_notices();
        self.given(sql);
        let warnings = self.session.take_notices();
        self.session.query("ROLLBACK TO undone").expect("core's own statement");
        warnings
    }

    /// A superuser prepares something.
    pub fn given(&mut self, sql: &str) {
        self.allows(SUPERUSER, sql);
    }

    /// The superuser makes somebody the administrator, or does it again.
    pub fn set_admin(&mut self, name: &str) -> Result<(), Answer> {
        self.run(SUPERUSER, &set_admin(name))
    }

    /// The statement is refused by pgaad, which says what to do, and a superuser may do it.
    pub fn refuses(&mut self, role: &str, sql: &str) {
        let answer = self.refuses_somehow(role, sql);
        assert_ne!(answer.hint, "", "{role}: {sql}: {}", short(&answer));
        self.paste(&answer.hint);
    }

    /// As [`Play::refuses`], and not even a superuser may.
    pub fn refuses_somehow(&mut self, role: &str, sql: &str) -> Answer {
        let Err(answer) = self.run(role, sql) else { panic!("{role}: {sql}: allowed") };
        assert_eq!(answer.sqlstate, DENIED, "{role}: {sql}: {}", short(&answer));
        answer
    }

    /// The statement is refused on 15 by pgaad, and later by core, which wants the ADMIN OPTION.
    pub fn refuses_or_core_does(&mut self, role: &str, sql: &str) {
        if self.world.is_before_16() {
            self.refuses(role, sql);
        } else {
            self.refuses_somehow(role, sql);
        }
    }

    /// The statements in a hint run as they stand, but for those with words in the places of values.
    fn paste(&mut self, hint: &str) {
        self.session.query("SAVEPOINT pasted").expect("core's own statement");
        for statement in statements_in(hint) {
            if let Err(answer) = self.run(SUPERUSER, &statement) {
                let is_template = answer.sqlstate == "42703";
                assert!(is_template, "the hint cannot be pasted: {statement}: {}", short(&answer));
            }
        }
        self.session.query("ROLLBACK TO pasted").expect("core's own statement");
    }

    pub fn state(&mut self) -> State {
        self.world.state(&mut self.session)
    }

    /// Nothing that was done since then has broken a rule, no matter who did it.
    pub fn has_broken_nothing_since(&mut self, before: &State) {
        let after = self.state();
        let broken = rules::broken(before, &after, Author::Superuser);
        assert!(broken.is_empty(), "{broken:?}");
    }

    /// The only value of a query.
    pub fn value(&mut self, sql: &str) -> String {
        self.session.value(sql).unwrap_or_default()
    }

    pub fn has_members(&mut self, role: &str) -> String {
        self.value(&format!(
            "SELECT string_agg(DISTINCT member::regrole::text, ',' ORDER BY member::regrole::text)
             FROM pg_auth_members WHERE roleid = '{role}'::regrole"
        ))
    }
}

/// The statements of a hint: from a verb in capitals to the semicolon, or to the end of the sentence.
fn statements_in(hint: &str) -> Vec<String> {
    let starts = VERBS.iter().filter_map(|verb| hint.find(verb)).min();
    let Some(text) = starts.and_then(|start| hint.get(start..)) else { return Vec::new() };
    text.split(';')
        .map(|statement| statement.trim().trim_end_matches('.').to_owned())
        .filter(|statement| VERBS.iter().any(|verb| statement.starts_with(verb)))
        .collect()
}
