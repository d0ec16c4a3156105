//! Two majors on one host: each has its own library, its own PAM service and its own keys of the same
//! tenant, and what one of them grants says nothing at the other.

use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{self, Login, Outcome, Session};
use pgaad_tests::{Cluster, Installation, account, run_directory, skipped};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tenant::Tenant;

/// Both servers, of whom the first is the one under test, and the tenant that both trust.
struct Host {
    servers: [Cluster; 2],
    tenant: Tenant,
}

impl Host {
    /// The host as docs/install.md has it: `pamservice=pgaad-15` here, `pgaad-18` there.
    fn start() -> Option<Host> {
        if !account::is_root() {
            skipped("needs root: a mount namespace for the PAM service files");
            return None;
        }
        if !Installation::is_built_with("pam") {
            skipped("needs a PostgreSQL built with PAM");
            return None;
        }
        let Some(neighbour) = Installation::neighbour() else {
            skipped("needs pgaad built for a second major, which `make matrix` does");
            return None;
        };
        let installations = [Installation::pgaad(), neighbour];
        let services = run_directory::fresh("pam.d");
        write(&services, "other", "auth required pam_deny.so\naccount required pam_deny.so\n");
        for installation in &installations {
            let library = installation.library();
            let library = library.display();
            let text = format!("auth required {library}\naccount required {library}\n");
            write(&services, &service(installation.major()), &text);
        }
        let tenant = Tenant::start(&run_directory::fresh("tenant"));
        let servers = installations.map(|installation| {
            let major = installation.major();
            let cluster = Cluster::new(&installation)
                .conf("shared_preload_libraries", "pgaad")
                .conf("pgaad.tenant_id", tenant.tenant_id())
                .conf("pgaad.authority", tenant.authority())
                .conf("pgaad.ca_file", tenant.ca_file().display().to_string())
                .hba(hba(&service(major)))
                .with_pam_directory(services.clone())
                .start();
            cluster.sql("CREATE EXTENSION pgaad");
            cluster.wait_until_ready();
            cluster
        });
        Some(Host { servers, tenant })
    }

    fn member_of(&self, server: &Cluster, name: &str) {
        server.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(name)));
    }

    fn login(&self, server: &Cluster, name: &str) -> Login {
        let token = self.tenant.token().user(name).mint();
        wire::login(&server.tls("postgres"), name, token.as_bytes())
    }
}

fn service(major: u32) -> String {
    format!("pgaad-{major}")
}

fn hba(service: &str) -> String {
    format!("hostssl all all 127.0.0.1/32 pam pamservice={service}")
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(directory).expect("our own directory");
    let file = directory.join(name);
    std::fs::write(&file, text).expect("our own file");
    for path in [directory, &file] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
    }
}

/// The session of a login with a good token of this name.
fn session(host: &Host, server: &Cluster, name: &str) -> Session {
    let mark = server.log_mark();
    let login = host.login(server, name);
    assert!(login.challenged, "{login:?}");
    let Outcome::Accepted(session) = login.outcome else { panic!("{login:?}\n{}", server.log_since(mark)) };
    session
}

#[test]
fn two_majors_serve_one_tenant_at_once() {
    let Some(host) = Host::start() else { return };
    let [here, there] = &host.servers;
    assert_ne!(here.installation().major(), there.installation().major());
    for server in &host.servers {
        host.member_of(server, "both@example.com");
    }
    // The sessions of each stay open while the other is logged in to.
    let mut sessions = Vec::new();
    for server in [here, there].repeat(5) {
        let mut session = session(&host, server, "both@example.com");
        let version = session.value("SELECT current_setting('server_version_num')::int / 10000");
        assert_eq!(version, Some(server.installation().major().to_string()));
        sessions.push(session);
    }
    for mut session in sessions {
        assert_eq!(session.value("SELECT current_user").as_deref(), Some("both@example.com"));
    }

    // A new key reaches both, each by a fetch of its own.
    host.tenant.rotate();
    for server in &host.servers {
        let mark = server.log_mark();
        session(&host, server, "both@example.com");
        server.wait_for_log(mark, "pgaad: keys refreshed");
    }
}

#[test]
fn a_member_of_one_is_nobody_at_the_other() {
    let Some(host) = Host::start() else { return };
    let [here, there] = &host.servers;
    host.member_of(here, "here@example.com");
    there.sql("CREATE ROLE \"here@example.com\" LOGIN");
    session(&host, here, "here@example.com");
    let mark = there.log_mark();
    let login = host.login(there, "here@example.com");
    assert!(matches!(login.outcome, Outcome::Refused(_)), "{login:?}");
    there.wait_for_log(mark, "pgaad: login refused: code=role_not_member");
}

#[test]
fn the_neighbours_library_admits_nobody_here() {
    let Some(host) = Host::start() else { return };
    let [here, there] = &host.servers;
    for (server, other) in [(here, there), (there, here)] {
        host.member_of(server, "ann@example.com");
        session(&host, server, "ann@example.com");
        // As `pg_hba.conf` copied from the other cluster has it: only the service differs.
        server.write_hba(&[hba(&service(other.installation().major()))]);
        server.reload();
        let mark = server.log_mark();
        let login = host.login(server, "ann@example.com");
        assert!(matches!(login.outcome, Outcome::Refused(_)), "{login:?}");
        assert!(!server.log_since(mark).contains("login admitted"), "{}", server.log_since(mark));
        let found = server.value("SELECT string_agg(detail, ' ') FROM pgaad.check() WHERE item = 'pam_file'");
        assert!(found.contains("and not the library of this server"), "{found}");

        server.write_hba(&[hba(&service(server.installation().major()))]);
        server.reload();
        session(&host, server, "ann@example.com");
    }
}
