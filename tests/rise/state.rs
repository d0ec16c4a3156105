//! The roles, memberships and labels of a server at one moment, as its catalogs have them.

use pgaad_tests::wire::Answer;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// A role whatever its name is at the moment: the name that it had when the world was made, or `+` and its oid
/// for a role that was made since.
pub type Id = String;

/// The marker roles.
pub const MARKERS: [&str; 3] = ["azure_ad_user", "azure_ad_admin", "azure_ad_mfa"];

/// The direct membership of one role in another, by one grantor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    pub member: Id,
    pub role: Id,
    pub grantor: Id,
    pub admin: bool,
    pub inherit: bool,
    pub set: bool,
}

impl Edge {
    /// Whether the member has the use of the role's rights; on 15 every membership gives it.
    pub fn gives_rights(&self) -> bool {
        self.inherit || self.set
    }
}

/// A row of `pg_authid`. The names of what a role may do are letters: see [`OBSERVER`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    pub name: String,
    /// `s` superuser, `r` CREATEROLE, `d` CREATEDB, `l` LOGIN, `p` REPLICATION, `b` BYPASSRLS, `i` INHERIT.
    pub attributes: String,
    /// The stored password, the connection limit, the end and the settings of the role.
    pub rest: String,
}

impl Role {
    pub fn is(&self, attribute: char) -> bool {
        self.attributes.contains(attribute)
    }
}

/// What the statements of a sequence have left behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub roles: BTreeMap<Id, Role>,
    pub edges: BTreeSet<Edge>,
    /// The label of a role by each provider.
    pub labels: BTreeMap<(Id, String), String>,
    /// The objects of schema `pgaad`: owners, rights and bodies.
    pub objects: BTreeSet<String>,
    /// The current role of the session, and its settings that change what statements do.
    pub session: String,
    /// Found in the edges: the direct members of `azure_ad_user`, and the roles whose rights each member has.
    entra: BTreeSet<Id>,
    above: BTreeMap<Id, Vec<Id>>,
}

/// The function that reads a state, no matter who calls it: one line for each row, the fields apart by U+001F.
///
/// The extension's objects are read only when asked for, since they change seldom and are many.
pub const OBSERVER: &str = r"
    CREATE SCHEMA observer;
    GRANT USAGE ON SCHEMA observer TO PUBLIC;
    CREATE FUNCTION observer.objects() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN coalesce((
        SELECT string_agg(concat_ws(chr(31), 'O', line), chr(10)) FROM (
            SELECT concat('schema ', nspname, ' of ', nspowner::regrole, ' ', nspacl) AS line
            FROM pg_namespace WHERE nspname = 'pgaad'
            UNION ALL
            SELECT concat('function ', oid::regprocedure, ' of ', proowner::regrole, ' ', proacl, ' ', md5(prosrc))
            FROM pg_proc WHERE pronamespace = to_regnamespace('pgaad') OR proname LIKE 'pgaadauth\_%'
            UNION ALL
            SELECT concat('extension of ', extowner::regrole) FROM pg_extension WHERE extname = 'pgaad') found), '');
    END $$;
    CREATE FUNCTION observer.roles(me name, with_objects boolean) RETURNS text LANGUAGE plpgsql STABLE
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN concat_ws(chr(10),
        concat_ws(chr(31), 'C', me, current_setting('createrole_self_grant', true)),
        (SELECT string_agg(concat_ws(chr(31), 'R', a.oid, rolname,
            concat(CASE WHEN rolsuper THEN 's' END, CASE WHEN rolcreaterole THEN 'r' END,
                   CASE WHEN rolcreatedb THEN 'd' END, CASE WHEN rolcanlogin THEN 'l' END,
                   CASE WHEN rolreplication THEN 'p' END, CASE WHEN rolbypassrls THEN 'b' END,
                   CASE WHEN rolinherit THEN 'i' END),
            concat(rolpassword, ' ', rolconnlimit, ' ', rolvaliduntil, ' ', setconfig)), chr(10))
         FROM pg_authid a LEFT JOIN pg_db_role_setting ON setrole = a.oid AND setdatabase = 0),
        (SELECT string_agg(concat_ws(chr(31), 'M', member, roleid, grantor, admin_option, {options}), chr(10))
         FROM pg_auth_members),
        (SELECT string_agg(concat_ws(chr(31), 'L', objoid, provider, label), chr(10))
         FROM pg_shseclabel WHERE classoid = 'pg_authid'::regclass),
        CASE WHEN with_objects THEN observer.objects() END);
    END $$;";

/// [`OBSERVER`] for a major.
pub fn observer(major: u32) -> String {
    OBSERVER.replace("{options}", if major < 16 { "true, true" } else { "inherit_option, set_option" })
}

/// The call of [`OBSERVER`].
pub fn observe(with_objects: bool) -> String {
    format!("SELECT observer.roles(current_user, {with_objects})")
}

/// The names that the roles of the world have from its beginning, by their oids.
pub type Origin = BTreeMap<String, String>;

impl State {
    /// Reads what [`OBSERVER`] returns.
    pub fn parse(text: &str, origin: &Origin) -> State {
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\u{1f}').collect()).collect();
        let of = |kind: &'static str| rows.iter().filter(move |row| row[0] == kind).map(|row| &row[1..]);
        let ids: BTreeMap<&str, Id> = of("R")
            .map(|row| (row[0], origin.get(row[0]).cloned().unwrap_or_else(|| new_id(row, origin))))
            .collect();
        let id = |oid: &str| ids.get(oid).cloned().unwrap_or_else(|| format!("gone {oid}"));
        let edges: BTreeSet<Edge> = of("M")
            .map(|row| Edge {
                member: id(row[0]),
                role: id(row[1]),
                grantor: id(row[2]),
                admin: row[3] == "t",
                inherit: row[4] == "t",
                set: row[5] == "t",
            })
            .collect();
        let mut above: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
        for edge in edges.iter().filter(|edge| edge.gives_rights()) {
            above.entry(edge.member.clone()).or_default().push(edge.role.clone());
        }
        let members = edges.iter().filter(|edge| edge.role == "azure_ad_user");
        State {
            entra: members.map(|edge| edge.member.clone()).collect(),
            above,
            roles: of("R")
                .map(|row| {
                    let role = Role { name: row[1].into(), attributes: row[2].into(), rest: row[3].into() };
                    (id(row[0]), role)
                })
                .collect(),
            edges,
            labels: of("L").map(|row| ((id(row[0]), row[1].to_owned()), row[2].to_owned())).collect(),
            objects: of("O").map(|row| row.join(" ")).collect(),
            session: of("C").map(|row| row.join(" ")).collect(),
        }
    }

    /// The oids of the roles in an observation, with their names.
    pub fn origin(text: &str) -> Origin {
        let roles = text.lines().filter_map(|line| line.strip_prefix("R\u{1f}"));
        let fields = roles.map(|line| line.split('\u{1f}').take(2).map(str::to_owned).collect::<Vec<_>>());
        fields.map(|row| (row[0].clone(), row[1].clone())).collect()
    }

    /// A number that two states share when they differ in nothing but the oids of new roles.
    pub fn key(&self) -> u64 {
        let named = |id: &Id| self.shown(id);
        let edges = self.edges.iter().map(|edge| Edge {
            member: named(&edge.member),
            role: named(&edge.role),
            grantor: named(&edge.grantor),
            ..edge.clone()
        });
        let state = State {
            entra: BTreeSet::new(),
            above: BTreeMap::new(),
            roles: self.roles.iter().map(|(id, role)| (named(id), role.clone())).collect(),
            edges: edges.collect(),
            labels: self
                .labels
                .iter()
                .map(|((id, by), label)| ((named(id), by.clone()), label.clone()))
                .collect(),
            objects: self.objects.clone(),
            session: self.session.clone(),
        };
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    }

    /// A text with the names of new roles in the places of their ids.
    pub fn shown(&self, text: &str) -> String {
        let new = self.roles.iter().filter(|(id, _)| id.starts_with('+'));
        new.fold(text.to_owned(), |text, (id, role)| text.replace(id.as_str(), &format!("+{}", role.name)))
    }

    /// The role of another server's state that is this one here.
    pub fn counterpart(&self, id: &Id, there: &State) -> Option<Id> {
        if !id.starts_with('+') {
            return there.roles.contains_key(id).then(|| id.clone());
        }
        let name = &self.roles.get(id)?.name;
        let same = there.roles.iter().find(|(id, role)| id.starts_with('+') && role.name == *name);
        same.map(|(id, _)| id.clone())
    }

    /// Whether the role is an Entra role: a direct member of `azure_ad_user`.
    pub fn is_entra(&self, role: &str) -> bool {
        self.entra.contains(role)
    }

    pub fn is_superuser(&self, role: &str) -> bool {
        self.roles.get(role).is_some_and(|role| role.is('s'))
    }

    /// All roles whose rights this one has, directly or through others, without the role itself.
    pub fn reached_by<'a>(&'a self, source: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = vec![source];
        while let Some(at) = next.pop() {
            let above = self.above.get(at).into_iter().flatten().map(String::as_str);
            next.extend(above.filter(|role| *role != source && reached.insert(*role)));
        }
        reached
    }

    /// The roles that are no superusers and have this role's rights.
    pub fn who_reaches(&self, target: &str) -> BTreeSet<&str> {
        let others = self.roles.iter().filter(|(_, role)| !role.is('s')).map(|(id, _)| id.as_str());
        others.filter(|role| self.reached_by(role).contains(target)).collect()
    }
}

/// The id of a role that was made since the world was: a marker role is one by its name.
fn new_id(row: &[&str], origin: &Origin) -> Id {
    let is_marker = MARKERS.contains(&row[1]) && !origin.values().any(|name| name == row[1]);
    if is_marker { row[1].to_owned() } else { format!("+{}", row[0]) }
}

/// What is shown of an error.
pub fn short(answer: &Answer) -> String {
    format!("{} {} / {}", answer.sqlstate, answer.message, answer.hint)
}
