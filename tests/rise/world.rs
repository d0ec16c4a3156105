//! A small world of roles, the same on a server with pgaad and on one whose hooks are off.

use crate::state::{Origin, State, observe, observer};
use pgaad_tests::wire::{self, Outcome, Session};
use pgaad_tests::{Cluster, Installation};
use tenant::object_id;

/// Who tries to rise, each logged in as the role of that name.
pub const ACTORS: [(&str, &str); 8] = [
    ("a plain role", "plain"),
    ("a CREATEROLE", "maker"),
    ("a holder of the ADMIN OPTION", "holder"),
    ("the owner of the database", "dbowner"),
    ("a monitoring role", "monitor"),
    ("an Entra user", "ann"),
    ("the Entra administrator", "root"),
    ("a replaced administrator", "former"),
];

/// A verifier that no password fits, stored as it is: no statement here logs in, and hashing is slow.
pub const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\
    :AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The roles, made by a superuser before and after the administrators. `holder` may hand on `app`, `o1` and `heir`;
/// `made` is the creation of `maker`, `groundwork` that of `former` while they were administrator.
const ROLES: &str = r#"
    CREATE ROLE su SUPERUSER LOGIN; CREATE ROLE dbagroup; CREATE ROLE su2 SUPERUSER LOGIN IN ROLE dbagroup;
    CREATE ROLE plain LOGIN PASSWORD '{verifier}'; CREATE ROLE maker LOGIN CREATEROLE CREATEDB;
    CREATE ROLE holder LOGIN; CREATE ROLE dbowner LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
    CREATE ROLE app; CREATE ROLE o1; CREATE ROLE heir LOGIN; CREATE ROLE owner_of_things;
    CREATE ROLE repl LOGIN REPLICATION; CREATE ROLE bypass LOGIN BYPASSRLS;
    CREATE ROLE backup IN ROLE pg_write_server_files;
    CREATE TABLE things (); ALTER TABLE things OWNER TO owner_of_things;
    GRANT app, o1, heir TO holder WITH ADMIN OPTION; GRANT app TO maker WITH ADMIN OPTION;
    CREATE ROLE ann LOGIN; SECURITY LABEL FOR pgaadauth ON ROLE ann IS 'aadauth,oid={ann},type=user,mfa';
    CREATE ROLE team LOGIN; SECURITY LABEL FOR pgaadauth ON ROLE team IS 'aadauth,oid={team},type=group';
    CREATE ROLE "bob@example.com" LOGIN IN ROLE azure_ad_user;
    CREATE ROLE "mallory@example.com" LOGIN IN ROLE azure_ad_user;
    GRANT app TO ann; GRANT team TO ann;
    ALTER DATABASE postgres OWNER TO dbowner;"#;

const AFTERWARDS: &str = r"
    CREATE ROLE office IN ROLE azure_ad_admin; CREATE ROLE localdba LOGIN IN ROLE office;
    SET SESSION AUTHORIZATION maker; CREATE ROLE made; RESET SESSION AUTHORIZATION;";

/// What a superuser has given to `holder` when they try to rise. Before 16 the ADMIN OPTION has all rights of the role.
pub const OF_THE_HOLDER_FROM_16_ON: &str =
    "GRANT ann, root TO holder WITH ADMIN TRUE, INHERIT FALSE, SET FALSE";

/// A server with the world on it, and what its roles were called when it was made.
pub struct World {
    pub cluster: Cluster,
    pub origin: Origin,
}

impl World {
    /// The world on a server that has pgaad preloaded.
    pub fn new() -> World {
        let cluster = cluster();
        cluster.sql("CREATE EXTENSION pgaad");
        cluster.sql(&filled(ROLES));
        cluster.sql(&set_admin("former"));
        cluster.sql("SET SESSION AUTHORIZATION former; CREATE ROLE groundwork");
        cluster.sql(&set_admin("root"));
        cluster.sql(AFTERWARDS);
        World::observed(cluster)
    }

    /// The world made with pgaad, on a server that does not load it any more.
    pub fn without_hooks() -> World {
        let world = World::new();
        world.cluster.append_conf("shared_preload_libraries = ''");
        world.cluster.restart();
        world
    }

    /// The roles that have nothing to do with Entra, on a server where pgaad is not created, and perhaps preloaded.
    pub fn before_the_extension(is_preloaded: bool) -> World {
        let cluster = cluster();
        if !is_preloaded {
            cluster.append_conf("shared_preload_libraries = ''");
            cluster.restart();
        }
        cluster.sql(
            "CREATE ROLE plain LOGIN; CREATE ROLE maker LOGIN CREATEROLE CREATEDB; CREATE ROLE dbowner LOGIN;
             ALTER DATABASE postgres OWNER TO dbowner",
        );
        World::observed(cluster)
    }

    fn observed(cluster: Cluster) -> World {
        cluster.sql(&observer(cluster.installation().major()));
        let origin = State::origin(&cluster.value(&observe(false)));
        World { cluster, origin }
    }

    pub fn is_before_16(&self) -> bool {
        self.cluster.installation().major() < 16
    }

    /// A session as a superuser, who hears of errors only.
    pub fn superuser(&self) -> Session {
        let Outcome::Accepted(mut session) =
            wire::login(&self.cluster.unix("postgres"), "postgres", b"").outcome
        else {
            panic!("a superuser gets in")
        };
        session.query("SET client_min_messages = error").expect("core's own statement");
        session
    }

    /// A session as if this role had logged in.
    pub fn session(&self, role: &str) -> Session {
        let mut session = self.superuser();
        session.query(&format!("SET SESSION AUTHORIZATION \"{role}\"")).expect("core's own statement");
        session
    }

    /// The state as a session sees it, with what its transaction has done.
    pub fn state(&self, session: &mut Session) -> State {
        let text = session.value(&observe(true)).expect("an observation");
        State::parse(&text, &self.origin)
    }

    /// Removes what statements that were undone have left in the catalogs, which else grow without end.
    pub fn vacuum(&self, session: &mut Session) {
        for catalog in ["pg_authid", "pg_auth_members", "pg_shseclabel", "pg_shdepend", "pg_db_role_setting"]
        {
            session.query(&format!("VACUUM (TRUNCATE false) {catalog}")).expect("a superuser may");
        }
    }
}

fn cluster() -> Cluster {
    Cluster::new(&Installation::pgaad())
        .conf("shared_preload_libraries", "pgaad")
        .conf("autovacuum", "off")
        .conf("log_min_messages", "fatal")
        .conf("log_min_error_statement", "panic")
        .start()
}

/// The call that makes somebody the Entra administrator.
pub fn set_admin(name: &str) -> String {
    format!("SELECT pgaad.set_admin('{name}', '{}', 'user')", object_id(name))
}

/// SQL with the object ids and the verifier in the places of their names in braces.
pub fn filled(sql: &str) -> String {
    let sql = sql.replace("{verifier}", VERIFIER);
    ["ann", "team", "mallory", "plain", "eve"].iter().fold(sql, |sql, name| {
        sql.replace(&format!("{{{name}}}"), &object_id(&format!("{name}@example.com")))
    })
}
