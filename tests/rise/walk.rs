//! Walks through all short sequences of statements, as one actor, on a server with pgaad.

use crate::rules::{self, Author};
use crate::state::{State, observe};
use crate::world::{World, filled, set_admin};
use pgaad_tests::wire::Session;
use std::collections::{BTreeMap, HashMap};

/// After this many steps the catalogs are cleaned of what was undone.
const STEPS_PER_VACUUM: usize = 2_000;

/// One statement of a sequence.
#[derive(Clone, Debug)]
pub struct Step {
    /// As it is shown.
    pub text: String,
    /// As it is run.
    sql: String,
    /// What an actor without pgaad would do in its place.
    without_pgaad: String,
    by_superuser: bool,
    /// Whether it may change the objects of schema `pgaad`.
    with_objects: bool,
}

impl Step {
    pub fn of_actor(statement: &str) -> Step {
        let sql = filled(statement);
        let with_objects = ["SCHEMA", "FUNCTION", "EXTENSION", "OWNED"].iter().any(|word| sql.contains(word));
        // The functions that make a role do nothing else that core knows of.
        let makes_a_role = sql.contains("pgaadauth_create_principal");
        let without_pgaad = if makes_a_role { "CREATE ROLE new LOGIN".to_owned() } else { sql.clone() };
        Step { text: sql.clone(), sql, without_pgaad, by_superuser: false, with_objects }
    }

    /// A superuser's step, after which the session is the actor's again.
    pub fn of_superuser(statement: &str, actor: &str) -> Step {
        let sql = filled(&statement.replace("{set_admin root}", &set_admin("root")));
        let text = format!("a superuser: {sql}");
        let sql = format!("RESET SESSION AUTHORIZATION; {sql}; SET SESSION AUTHORIZATION \"{actor}\"");
        Step { text, without_pgaad: "SELECT 1".to_owned(), sql, by_superuser: true, with_objects: true }
    }
}

/// A small generator of pseudo-random numbers (SplitMix64), so that a seed gives the same walk everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound.max(1)).expect("a small number");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("below a small number")
    }
}

/// How many of the statements are tried after a sequence of each length; `None` for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Breadth {
    pub depth: usize,
    pub sample_of_last: Option<usize>,
}

/// What a walk did and found.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: usize,
    pub states: usize,
    /// The shortest sequence for each broken rule.
    pub findings: BTreeMap<String, Vec<String>>,
}

/// One actor's walk.
pub struct Walk<'a> {
    world: &'a World,
    twin: &'a World,
    is_administrator: bool,
    /// What a superuser gives to the actor first.
    given: &'static str,
    steps: Vec<Step>,
    breadth: Breadth,
    random: Random,
    session: Session,
    twin_session: Session,
    cleaner: Session,
    /// The states that were seen, and how many further statements were tried from each.
    seen: HashMap<u64, usize>,
    pub report: Report,
}

impl<'a> Walk<'a> {
    /// `twin` is the same world on a server whose hooks are off.
    pub fn new(
        world: &'a World,
        twin: &'a World,
        actor: &str,
        steps: Vec<Step>,
        breadth: Breadth,
        seed: u64,
    ) -> Walk<'a> {
        let mut session = world.session(actor);
        let before = world.state(&mut session);
        Walk {
            world,
            twin,
            given: "",
            is_administrator: before.reached_by(actor).contains("azure_ad_admin"),
            steps,
            breadth,
            random: Random::new(seed),
            session,
            twin_session: twin.session(actor),
            cleaner: world.superuser(),
            seen: HashMap::new(),
            report: Report::default(),
        }
    }

    /// The actor has what this statement of a superuser's gives, before all steps.
    #[must_use]
    pub fn given(mut self, sql: &'static str) -> Walk<'a> {
        self.given = sql;
        self
    }

    /// Begins a transaction of the actor's.
    fn begin(session: &mut Session, given: &str) {
        let actor = session.value("SELECT quote_ident(session_user)").expect("a name");
        let sql = format!("BEGIN; RESET SESSION AUTHORIZATION; {given}; SET SESSION AUTHORIZATION {actor}");
        session.query(&sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"));
    }

    /// Walks, and returns what was found.
    pub fn run(mut self) -> Report {
        Self::begin(&mut self.session, self.given);
        let before = self.world.state(&mut self.session);
        self.visit(&before, &mut Vec::new());
        self.session.query("ROLLBACK").expect("core's own statement");
        self.report
    }

    /// Tries the statements that may follow this sequence.
    fn visit(&mut self, before: &State, path: &mut Vec<usize>) {
        let level = path.len();
        self.session.query(&format!("SAVEPOINT s{level}")).expect("core's own statement");
        let before_text = self.session.value(&observe(false)).expect("an observation");
        for next in self.selection(level) {
            let step = self.steps[next].clone();
            self.report.steps += 1;
            if self.report.steps.is_multiple_of(STEPS_PER_VACUUM) {
                self.world.vacuum(&mut self.cleaner);
            }
            let sql = format!("ROLLBACK TO s{level}; {}; {}", step.sql, observe(step.with_objects));
            let Ok(rows) = self.session.query(&sql) else { continue };
            // The statement's own rows come first.
            let text = rows.last().and_then(|row| row[0].clone()).expect("an observation");
            if text == before_text {
                continue;
            }
            let mut after = State::parse(&text, &self.world.origin);
            if after.objects.is_empty() && !step.with_objects {
                after.objects.clone_from(&before.objects);
            }
            path.push(next);
            let is_sound = after == *before || self.judge(before, &after, &step, path);
            if is_sound && self.is_new(&after, self.breadth.depth - path.len()) {
                self.visit(&after, path);
            }
            path.pop();
        }
        self.session.query(&format!("ROLLBACK TO s{level}; RELEASE s{level}")).expect("core's own statement");
    }

    /// The statements to try after a sequence of this length.
    fn selection(&mut self, level: usize) -> Vec<usize> {
        let all = self.steps.len();
        match self.breadth.sample_of_last {
            Some(count) if level + 1 == self.breadth.depth => {
                (0..count).map(|_| self.random.below(all)).collect()
            }
            _ => (0..all).collect(),
        }
    }

    /// Whether there is more to try from this state than was tried.
    fn is_new(&mut self, state: &State, left: usize) -> bool {
        let tried = self.seen.entry(state.key()).or_insert_with(|| {
            self.report.states += 1;
            0
        });
        let is_new = *tried < left;
        *tried = left.max(*tried);
        is_new
    }

    /// Whether a step has broken no rule.
    fn judge(&mut self, before: &State, after: &State, step: &Step, path: &[usize]) -> bool {
        let author = match (step.by_superuser, self.is_administrator) {
            (true, _) => Author::Superuser,
            (false, true) => Author::Administrator,
            (false, false) => Author::Anybody,
        };
        let mut broken = rules::broken(before, after, author);
        let reached: Vec<_> = rules::reach(after).difference(&rules::reach(before)).cloned().collect();
        if !reached.is_empty() {
            let without = self.without_pgaad(path);
            let new = reached.iter().filter(|pair| !rules::has_rights_too(after, &without, pair));
            broken.extend(
                new.map(|(source, target)| format!("without pgaad {source} could not reach {target}")),
            );
        }
        let is_sound = broken.is_empty();
        for rule in broken {
            let sequence: Vec<String> = path.iter().map(|step| self.steps[*step].text.clone()).collect();
            let shortest = self.report.findings.entry(after.shown(&rule)).or_insert_with(|| sequence.clone());
            if sequence.len() < shortest.len() {
                *shortest = sequence;
            }
        }
        is_sound
    }

    /// The state after the same sequence where the hooks are off, each statement as far as it works there.
    fn without_pgaad(&mut self, path: &[usize]) -> State {
        Self::begin(&mut self.twin_session, self.given);
        for step in path {
            let sql = &self.steps[*step].without_pgaad;
            let run = self.twin_session.query(&format!("SAVEPOINT s; {sql}; RELEASE s"));
            if run.is_err() {
                self.twin_session.query("ROLLBACK TO s").expect("core's own statement");
            }
        }
        let state = self.twin.state(&mut self.twin_session);
        self.twin_session.query("ROLLBACK").expect("core's own statement");
        state
    }
}

/// What is shown of findings.
pub fn shown(actor: &str, findings: &BTreeMap<String, Vec<String>>) -> String {
    let lines =
        findings.iter().map(|(rule, sequence)| format!("  {rule}\n      {}", sequence.join("\n      ")));
    format!("{actor}:\n{}", lines.collect::<Vec<_>>().join("\n"))
}
