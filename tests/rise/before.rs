//! Names that were there before the extension: what somebody prepares, and a superuser then creates and uses.

use crate::rules;
use crate::state::{State, observe, short};
use crate::statements::BEFORE_THE_EXTENSION;
use crate::world::{World, filled, set_admin};
use pgaad_tests::wire::Session;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Who could prepare something: on 15 a CREATEROLE makes memberships, the owner of the database makes schemas.
const ACTORS: [&str; 3] = ["plain", "maker", "dbowner"];

/// Makes its author's friend a superuser, if a superuser calls it.
const EVIL: &str = "BEGIN ALTER ROLE plain SUPERUSER; END";

/// One actor's walk. The statements run on a server that does not load pgaad, as before its installation; each
/// state that they lead to is made again on a server that does, where a superuser creates the extension.
struct Preparation<'a> {
    bare: &'a World,
    bare_session: Session,
    /// The state that all began with.
    beginning: State,
    world: &'a World,
    session: Session,
    actor: &'static str,
    seen: HashSet<u64>,
    steps: usize,
    refused: usize,
    findings: BTreeMap<String, Vec<String>>,
}

impl<'a> Preparation<'a> {
    fn new(bare: &'a World, world: &'a World, actor: &'static str) -> Preparation<'a> {
        let (mut bare_session, mut session) = (bare.session(actor), world.superuser());
        let beginning = bare.state(&mut bare_session);
        for session in [&mut bare_session, &mut session] {
            session.query("BEGIN").expect("core's own statement");
        }
        let seen = HashSet::from([beginning.key()]);
        let (steps, refused, findings) = (0, 0, BTreeMap::new());
        Preparation { bare, bare_session, beginning, world, session, actor, seen, steps, refused, findings }
    }

    /// Tries all sequences of at most `left` further statements, and an installation after each.
    fn visit(&mut self, path: &mut Vec<&'static str>, left: usize) {
        let level = path.len();
        self.bare_session.query(&format!("SAVEPOINT s{level}")).expect("core's own statement");
        for statement in BEFORE_THE_EXTENSION {
            self.steps += 1;
            let sql = format!("ROLLBACK TO s{level}; {}; {}", concrete(statement), observe(true));
            let Ok(rows) = self.bare_session.query(&sql) else { continue };
            let text = rows.last().and_then(|row| row[0].clone()).expect("an observation");
            let state = State::parse(&text, &self.bare.origin);
            if !self.seen.insert(state.key()) {
                continue;
            }
            path.push(statement);
            for rule in self.install(&state, path) {
                let sequence: Vec<String> = path.iter().map(ToString::to_string).collect();
                let shortest = self.findings.entry(rule).or_insert_with(|| sequence.clone());
                if sequence.len() < shortest.len() {
                    *shortest = sequence;
                }
            }
            if left > 1 {
                self.visit(path, left - 1);
            }
            path.pop();
        }
        self.bare_session.query(&format!("ROLLBACK TO s{level}")).expect("core's own statement");
    }

    /// Makes the state on the server that loads pgaad: the roles by a superuser's hand, the objects by the actor's.
    fn make_again(&mut self, state: &State, path: &[&str]) {
        for sql in role_statements(&self.beginning, state, self.bare.is_before_16()) {
            self.run(&sql);
        }
        self.run(&format!("SET SESSION AUTHORIZATION {}", self.actor));
        for statement in
            path.iter().filter(|statement| statement.contains(" SCHEMA ") || statement.contains(" FUNCTION "))
        {
            self.run(&concrete(statement));
        }
        self.run("RESET SESSION AUTHORIZATION");
    }

    fn run(&mut self, sql: &str) {
        self.session.query(sql).unwrap_or_else(|answer| panic!("{sql}: {}", short(&answer)));
    }

    /// A superuser creates the extension and an administrator, which is undone. The rules that it broke.
    fn install(&mut self, state: &State, path: &[&str]) -> Vec<String> {
        self.run("SAVEPOINT installation");
        self.make_again(state, path);
        self.run("SET LOCAL client_min_messages = notice");
        let before = self.world.state(&mut self.session);
        self.session.take_notices();
        let mut broken = Vec::new();
        match self.session.query("CREATE EXTENSION pgaad") {
            Err(answer) => {
                self.refused += 1;
                if answer.hint.is_empty() && answer.detail.is_empty() {
                    broken.push(format!("nothing says what to do: {}", short(&answer)));
                }
            }
            Ok(_) => {
                let warnings = self.session.take_notices();
                let said = |role: &str| {
                    warnings
                        .iter()
                        .any(|said| said.severity == "WARNING" && format!("{said:?}").contains(role))
                };
                let created = self.world.state(&mut self.session);
                let admins = created.edges.iter().filter(|edge| edge.role == "azure_ad_admin");
                let quiet = admins.filter(|edge| !said(&created.roles[&edge.member].name));
                broken
                    .extend(quiet.map(|edge| format!("no warning names the administrator {}", edge.member)));
                broken.extend(self.use_it(&before, &created));
            }
        }
        self.run("ROLLBACK TO installation; RELEASE installation");
        broken
    }

    /// What is wrong with the extension that was created, and after a superuser's first use.
    fn use_it(&mut self, before: &State, created: &State) -> Vec<String> {
        let mut broken: Vec<String> = rules::standing(created).into_iter().collect();
        broken.extend(
            created
                .objects
                .iter()
                .filter(|object| !is_sound(object))
                .map(|object| format!("the extension holds what is not a superuser's: {object}")),
        );
        let administrator = set_admin("root");
        let admins: BTreeSet<String> = names(created, &created.who_reaches("azure_ad_admin"));
        if self.session.query(&format!("SAVEPOINT use; {administrator}")).is_ok() {
            let after = self.world.state(&mut self.session);
            let mut new = names(&after, &after.who_reaches("azure_ad_admin"));
            new.retain(|name| !admins.contains(name) && name != "root");
            broken.extend(new.iter().map(|name| format!("{name} is an administrator, too")));
            // A superuser is warned of who holds the ADMIN OPTION alone.
            let warnings = self.session.take_notices();
            let said =
                |id: &str| warnings.iter().any(|said| said.message.contains(&format!("role {id} can alter")));
            let mut standing = rules::standing(&after);
            standing.retain(|rule| {
                !(rule.starts_with("rule 3")
                    && after.roles.keys().any(|id| rule.contains(id.as_str()) && said(id)))
            });
            broken.extend(standing);
            let risen = after.roles.iter().filter(|(id, role)| role.is('s') && !before.is_superuser(id));
            broken.extend(risen.map(|(id, _)| format!("{id} is a superuser")));
        } else {
            self.run("ROLLBACK TO use");
        }
        broken.into_iter().map(|rule| created.shown(&rule)).collect()
    }
}

/// Roles by the names that they have now.
fn names(state: &State, roles: &BTreeSet<&str>) -> BTreeSet<String> {
    roles.iter().map(|id| state.roles[*id].name.clone()).collect()
}

/// Whether an object of the extension's belongs to the installing superuser, and nobody else may create beside it.
fn is_sound(object: &str) -> bool {
    let others_create = object.starts_with("schema")
        && object
            .split(['{', ',', '}', ' '])
            .filter(|entry| !entry.starts_with("postgres="))
            .filter_map(|entry| entry.split_once('=')?.1.split_once('/'))
            .any(|(rights, _)| rights.contains('C'));
    object.contains(" of postgres") && !others_create
}

/// A statement of [`BEFORE_THE_EXTENSION`] as it is run.
fn concrete(statement: &str) -> String {
    filled(statement).replace("{evil}", EVIL)
}

/// The statements by which a superuser makes the roles and memberships that a state has more than its beginning.
fn role_statements(beginning: &State, state: &State, is_before_16: bool) -> Vec<String> {
    let words =
        [('r', "CREATEROLE"), ('d', "CREATEDB"), ('l', "LOGIN"), ('p', "REPLICATION"), ('b', "BYPASSRLS")];
    let new = state.roles.iter().filter(|(id, _)| !beginning.roles.contains_key(*id));
    let mut sql: Vec<String> = new
        .map(|(_, role)| {
            let options = words.iter().filter(|(letter, _)| role.is(*letter)).map(|(_, word)| *word);
            let password = role.rest.split(' ').next().filter(|password| !password.is_empty());
            let password = password.map_or_else(String::new, |password| format!(" PASSWORD '{password}'"));
            format!("CREATE ROLE \"{}\" {}{password}", role.name, options.collect::<Vec<_>>().join(" "))
        })
        .collect();
    sql.extend(state.edges.difference(&beginning.edges).map(|edge| {
        let (role, member) = (&state.roles[&edge.role].name, &state.roles[&edge.member].name);
        let options = match (is_before_16, edge.admin) {
            (true, true) => "WITH ADMIN OPTION".to_owned(),
            (true, false) => String::new(),
            (false, _) => format!("WITH ADMIN {}, INHERIT {}, SET {}", edge.admin, edge.inherit, edge.set),
        };
        format!("GRANT \"{role}\" TO \"{member}\" {options}")
    }));
    sql
}

/// Tries all preparations of this length, as every actor.
fn search(depth: usize) {
    let (bare, world) = (World::before_the_extension(false), World::before_the_extension(true));
    let mut found = Vec::new();
    for actor in ACTORS {
        let mut preparation = Preparation::new(&bare, &world, actor);
        preparation.visit(&mut Vec::new(), depth);
        let Preparation { seen, steps, refused, findings, .. } = preparation;
        let states = seen.len();
        crate::search::say(&format!(
            "rise before the extension: {actor}: {steps} steps, {states} states, {refused} installations refused"
        ));
        if !findings.is_empty() {
            found.push(crate::walk::shown(actor, &findings));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nobody_prepares_the_extension_by_two_statements() {
    search(2);
}

#[test]
#[ignore = "takes minutes: make torture"]
fn nobody_prepares_the_extension_by_three_statements() {
    search(3);
}

/// Creates the extension after an actor's statements where pgaad is not loaded; the error.
fn installed_after(bare: &World, world: &World, actor: &'static str, path: &[&str]) -> Result<(), String> {
    let mut preparation = Preparation::new(bare, world, actor);
    for statement in path {
        let sql = concrete(statement);
        let done = preparation.bare_session.query(&sql);
        done.unwrap_or_else(|answer| panic!("{sql}: {}", short(&answer)));
    }
    let state = bare.state(&mut preparation.bare_session);
    preparation.make_again(&state, path);
    let created = preparation.session.query("CREATE EXTENSION pgaad");
    created.map(|_| ()).map_err(|answer| {
        assert!(!answer.hint.is_empty() || !answer.detail.is_empty(), "{}", short(&answer));
        short(&answer)
    })
}

#[test]
fn extension_is_not_created_over_a_schema_or_marker_roles_that_somebody_prepared() {
    let (bare, world) = (World::before_the_extension(false), World::before_the_extension(true));
    for (actor, path) in [
        ("dbowner", &["CREATE SCHEMA pgaad"][..]),
        ("postgres", &["CREATE SCHEMA pgaad", "GRANT CREATE ON SCHEMA pgaad TO plain"]),
        (
            "postgres",
            &["CREATE SCHEMA pgaad", "CREATE FUNCTION pgaad.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
        ),
        ("postgres", &["CREATE SCHEMA pgaad AUTHORIZATION plain"]),
        ("maker", &["CREATE ROLE azure_ad_user LOGIN"]),
        ("maker", &["CREATE ROLE azure_ad_mfa PASSWORD '{verifier}'"]),
        ("maker", &["CREATE ROLE azure_ad_mfa CREATEDB"]),
        ("maker", &["CREATE ROLE azure_ad_user ADMIN plain"]),
        ("maker", &["CREATE ROLE azure_ad_admin ADMIN plain"]),
        ("postgres", &["CREATE ROLE azure_ad_user IN ROLE plain"]),
    ] {
        let Err(error) = installed_after(&bare, &world, actor, path) else {
            panic!("{actor}: {path:?}: created")
        };
        assert!(!error.starts_with("XX000"), "{error}");
    }
    for path in [
        &[][..],
        &["CREATE SCHEMA pgaad"],
        &["CREATE ROLE azure_ad_user ROLE plain"],
        &["CREATE ROLE azure_ad_admin ROLE plain", "CREATE ROLE azure_ad_mfa"],
    ] {
        installed_after(&bare, &world, "postgres", path).expect("a superuser's own preparations");
    }
}
