//! What most tests play in: one stand-in tenant, one cluster with pgaad, and a way in of each kind.

use crate::attempt::{Attempt, Route};
use crate::cluster::Cluster;
use crate::installation::Installation;
use crate::pam::PamService;
use crate::run_directory;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenant::{Tenant, Token};

/// A tenant, a cluster that trusts it, and its ways in, told apart by database: see [`Route::database`].
pub struct Scene {
    /// The cluster; stopped before the tenant.
    pub cluster: Cluster,
    /// The identity provider.
    pub tenant: Tenant,
    /// The PAM service, where one can be made.
    pub pam: Option<PamService>,
    roles: AtomicUsize,
}

impl Scene {
    /// The scene with the settings that the README tells an operator to make, and `trust` allowed for members.
    pub fn start() -> Scene {
        Scene::with(|cluster| cluster)
    }

    /// The scene with further settings.
    pub fn with(configure: impl FnOnce(Cluster) -> Cluster) -> Scene {
        Scene::on(&Installation::pgaad(), configure)
    }

    /// The scene on a particular installation.
    pub fn on(installation: &Installation, configure: impl FnOnce(Cluster) -> Cluster) -> Scene {
        let scene = Scene::on_before_keys(installation, configure);
        scene.cluster.wait_until_ready();
        scene
    }

    /// As [`Scene::on`], without waiting for the first keys: for a tenant that will never answer.
    pub fn on_before_keys(installation: &Installation, configure: impl FnOnce(Cluster) -> Cluster) -> Scene {
        let tenant = Tenant::start(&run_directory::fresh("tenant"));
        let pam = PamService::available().then(|| PamService::new(installation));
        let mut cluster = Cluster::new(installation)
            .conf("shared_preload_libraries", "pgaad")
            .conf("pgaad.tenant_id", tenant.tenant_id())
            .conf("pgaad.authority", tenant.authority())
            .conf("pgaad.ca_file", tenant.ca_file().display().to_string())
            .conf("pgaad.allow_trust", "on");
        for line in Scene::hba(pam.as_ref()) {
            cluster = cluster.hba(line);
        }
        if installation.major() >= 18 {
            let line = format!(
                "oauth issuer={} scope=\"api://pgaad/.default\" validator=pgaad delegate_ident_mapping=1",
                tenant.authority()
            );
            cluster = cluster.conf("oauth_validator_libraries", "pgaad");
            cluster = cluster.hba(format!("host oauth_db all 127.0.0.1/32 {line}"));
            cluster = cluster.hba(format!("local oauth_db all {line}"));
        }
        let cluster = configure(cluster).start();
        for database in ["template1", "postgres"] {
            let made = cluster.try_sql_in(database, "CREATE EXTENSION pgaad");
            made.unwrap_or_else(|answer| panic!("CREATE EXTENSION pgaad: {answer} {}", answer.detail));
        }
        for route in [Route::Pam, Route::Trust, Route::OAuth, Route::Password] {
            cluster.sql(&format!("CREATE DATABASE {}", route.database()));
        }
        Scene { cluster, tenant, pam, roles: AtomicUsize::new(1) }
    }

    /// The lines of `pg_hba.conf`: a method for each database, on loopback and the Unix socket.
    pub fn hba(pam: Option<&PamService>) -> Vec<String> {
        let mut lines = Vec::new();
        for (route, method) in [
            (Route::Pam, pam.map(|service| format!("pam pamservice={}", service.name()))),
            (Route::Trust, Some("trust".to_owned())),
            (Route::Password, Some("password".to_owned())),
        ] {
            let Some(method) = method else { continue };
            lines.push(format!("host {} all 127.0.0.1/32 {method}", route.database()));
            lines.push(format!("local {} all {method}", route.database()));
        }
        lines
    }

    /// The ways in where the token is sent as a password, that can be tried here; says so when `pam` cannot.
    pub fn routes(&self) -> Vec<Route> {
        if self.has_pam() { vec![Route::Pam, Route::Trust] } else { vec![Route::Trust] }
    }

    /// All ways in for a token that can be tried here: `oauth` too, from 18 on.
    pub fn token_routes(&self) -> Vec<Route> {
        let oauth = (self.cluster.installation().major() >= 18).then_some(Route::OAuth);
        self.routes().into_iter().chain(oauth).collect()
    }

    /// The ways in by lines of `pg_hba.conf` that are ours: all for a token but `trust`, which is core's for who is no
    /// member.
    pub fn own_routes(&self) -> Vec<Route> {
        self.token_routes().into_iter().filter(|route| *route != Route::Trust).collect()
    }

    /// The better way in of those that can be tried here.
    pub fn route(&self) -> Route {
        if self.pam.is_some() { Route::Pam } else { Route::Trust }
    }

    /// Whether the way in by `pam` can be tried here; says so when it cannot.
    pub fn has_pam(&self) -> bool {
        self.pam.is_some() || PamService::available()
    }

    /// A user name that no other test has: `user7@example.com`.
    pub fn fresh_name(&self) -> String {
        format!("user{}@example.com", self.roles.fetch_add(1, Ordering::Relaxed))
    }

    /// A new role that may log in with a token of the same name; the directory is not asked.
    pub fn member(&self) -> String {
        let name = self.fresh_name();
        let create = format!("CREATE USER {} IN ROLE azure_ad_user", quoted(&name));
        self.cluster.sql(&format!("SET aad_validate_oids_in_tenant = off; {create}"));
        name
    }

    /// A good token of the user whose name this is, to be changed or minted.
    pub fn token(&self, user: &str) -> Token {
        self.tenant.token().user(user)
    }

    /// A login to be tried, by TLS, with a good token of that name.
    pub fn attempt(&self, route: Route, role: &str) -> Attempt<'_> {
        Attempt::new(self, route, role)
    }
}

/// A name as an SQL identifier.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
