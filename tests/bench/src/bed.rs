//! The clusters that are measured, and the ways into them.

use pgaad_tests::cluster::Cluster;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::Target;
use pgaad_tests::{Installation, PamService, run_directory};
use tenant::{Tenant, Token};

/// The human whose token is sent.
pub const ALICE: &str = "alice@example.com";
/// The role that has a password, or on `trust` needs none.
const PLAIN: &str = "plain";
const PASSWORD: &str = "correct horse battery staple";
/// About what a user of a middling company has.
const TOKEN_BYTES: usize = 2_000;

/// A way to log in; each has a database of its own, whose lines of `pg_hba.conf` have its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `trust` on a server that has never heard of pgaad.
    Bare,
    /// `trust`, with pgaad loaded: everything else is measured against it.
    Trust,
    /// `password`, as it is: what any method costs that asks, and so a token's floor.
    Password,
    /// `scram-sha-256`.
    Scram,
    /// `md5`.
    Md5,
    /// A token, over `trust`.
    TokenTrust,
    /// A token, over `pam`, with the PAM files that Debian has.
    TokenPam,
    /// A token, over `pam`, with a `/etc/pam.d` of the server's own, where `other` asks pgaad and loads nothing else.
    TokenLeanPam,
    /// The same on a server that may open no netlink sockets: all of what docs/install.md recommends.
    TokenLeanPamWithoutNetlink,
    /// A token, over `oauth`.
    TokenOAuth,
}

impl Way {
    /// The ways into a server with pgaad that every major has.
    pub const OF_EVERY_SERVER: [Way; 8] = [
        Way::Trust,
        Way::Password,
        Way::Md5,
        Way::Scram,
        Way::TokenTrust,
        Way::TokenPam,
        Way::TokenLeanPam,
        Way::TokenLeanPamWithoutNetlink,
    ];

    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "trust, without pgaad",
            Self::Trust => "trust",
            Self::Password => "password",
            Self::Scram => "scram-sha-256",
            Self::Md5 => "md5",
            Self::TokenTrust => "token over trust",
            Self::TokenPam => "token over pam",
            Self::TokenLeanPam => "token over pam, own `pam.d`",
            Self::TokenLeanPamWithoutNetlink => "token over pam, own `pam.d`, no netlink",
            Self::TokenOAuth => "token over oauth",
        }
    }

    fn database(self) -> &'static str {
        match self {
            Self::Bare | Self::Trust | Self::TokenTrust => "by_trust",
            Self::Password => "by_password",
            Self::Scram => "by_scram",
            Self::Md5 => "by_md5",
            Self::TokenPam | Self::TokenLeanPam | Self::TokenLeanPamWithoutNetlink => "by_pam",
            Self::TokenOAuth => "by_oauth",
        }
    }

    fn is_by_token(self) -> bool {
        use Way::{TokenLeanPam, TokenLeanPamWithoutNetlink, TokenOAuth, TokenPam, TokenTrust};
        matches!(self, TokenTrust | TokenPam | TokenLeanPam | TokenLeanPamWithoutNetlink | TokenOAuth)
    }
}

/// Whether the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP on loopback.
    Plain,
    /// The same with TLS.
    Tls,
}

/// Who logs in, where, and with what.
#[derive(Clone)]
pub struct Ticket {
    pub target: Target,
    pub user: String,
    pub secret: Vec<u8>,
}

/// The clusters, and the tenant that they trust.
pub struct Bed {
    pub tenant: Tenant,
    /// The one with pgaad, and Debian's PAM files.
    pub cluster: Cluster,
    lean: Cluster,
    lean_without_netlink: Cluster,
    bare: Cluster,
    services: [PamService; 2],
}

impl Bed {
    /// Makes and starts everything.
    pub fn make() -> Bed {
        let tenant = Tenant::start(&run_directory::fresh("tenant"));
        let installation = Installation::pgaad();
        assert!(PamService::available(), "the measurements need root: PAM service files");
        let service = PamService::new(&installation);
        let lean_service = PamService::new(&installation);
        let cluster = with_pgaad(quiet(Cluster::new(&installation)), &tenant, &service).start();
        let lean = || {
            let own = lean_service.directory_of_its_own();
            with_pgaad(quiet(Cluster::new(&installation)).with_pam_directory(own), &tenant, &lean_service)
        };
        let (lean, lean_without_netlink) = (lean().start(), lean().without_netlink().start());
        let bare = quiet(Cluster::new(&installation)).hba("host all all 127.0.0.1/32 trust").start();
        bare.sql(&format!("CREATE USER {PLAIN}"));
        bare.sql("CREATE DATABASE by_trust");
        let services = [service, lean_service];
        let bed = Bed { tenant, cluster, lean, lean_without_netlink, bare, services };
        for cluster in [&bed.cluster, &bed.lean, &bed.lean_without_netlink] {
            furnish(cluster);
        }
        bed
    }

    /// Another server with pgaad, with further settings.
    pub fn another(&self, configure: impl FnOnce(Cluster) -> Cluster) -> Cluster {
        let cluster = quiet(Cluster::new(&Installation::pgaad()));
        let cluster = configure(with_pgaad(cluster, &self.tenant, &self.services[0])).start();
        furnish(&cluster);
        cluster
    }

    /// The ways in that this PostgreSQL has.
    pub fn ways(&self) -> Vec<Way> {
        let mut ways = vec![Way::Bare];
        ways.extend(Way::OF_EVERY_SERVER);
        if self.major() >= 18 {
            ways.push(Way::TokenOAuth);
        }
        ways
    }

    /// The major version that is measured.
    pub fn major(&self) -> u32 {
        self.cluster.installation().major()
    }

    /// The cluster that a way leads into.
    pub fn cluster_of(&self, way: Way) -> &Cluster {
        match way {
            Way::Bare => &self.bare,
            Way::TokenLeanPam => &self.lean,
            Way::TokenLeanPamWithoutNetlink => &self.lean_without_netlink,
            _ => &self.cluster,
        }
    }

    /// What it takes to log in this way, with a token of about 2 kB where one is asked for.
    pub fn ticket(&self, way: Way, transport: Transport) -> Ticket {
        let secret = if way.is_by_token() { self.token_of(TOKEN_BYTES) } else { PASSWORD.to_owned() };
        let user = match way {
            _ if way.is_by_token() => ALICE,
            // `password` checks whatever is stored; md5 as well, so that it is the asking that counts.
            Way::Md5 | Way::Password => "plain_md5",
            _ => PLAIN,
        };
        self.ticket_with(way, transport, user, secret.as_bytes())
    }

    /// As [`Self::ticket`], as somebody else or with another secret.
    pub fn ticket_with(&self, way: Way, transport: Transport, user: &str, secret: &[u8]) -> Ticket {
        let cluster = self.cluster_of(way);
        let target = match transport {
            Transport::Plain => cluster.plain(way.database()),
            Transport::Tls => cluster.tls(way.database()),
        };
        Ticket { target, user: user.to_owned(), secret: secret.to_vec() }
    }

    /// A token of alice's, to be changed.
    pub fn token(&self) -> Token {
        self.tenant.token().user(ALICE)
    }

    /// A token of alice's of about this many bytes: with as many groups as it takes.
    fn token_of(&self, bytes: usize) -> String {
        (0..)
            .map(|count| self.token().claim("groups", groups(count)).mint())
            .find(|token| token.len() >= bytes)
            .expect("groups make a token longer")
    }
}

/// So many ids of groups.
pub fn groups(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("0c7c1f3e-52a1-4e0b-8f5e-{number:012x}")).collect()
}

/// Nothing of its own accord, so that what is counted is logins.
fn quiet(cluster: Cluster) -> Cluster {
    cluster
        .conf("autovacuum", "off")
        .conf("max_connections", "620")
        .conf("superuser_reserved_connections", "10")
        .conf("max_wal_senders", "0")
}

fn with_pgaad(cluster: Cluster, tenant: &Tenant, service: &PamService) -> Cluster {
    let mut cluster = cluster
        .conf("shared_preload_libraries", "pgaad")
        .conf("pgaad.tenant_id", tenant.tenant_id())
        .conf("pgaad.authority", tenant.authority())
        .conf("pgaad.ca_file", tenant.ca_file().display().to_string())
        .conf("pgaad.allow_trust", "on")
        .hba("host by_trust all 127.0.0.1/32 trust")
        .hba("host by_password all 127.0.0.1/32 password")
        .hba("host by_scram all 127.0.0.1/32 scram-sha-256")
        .hba("host by_md5 all 127.0.0.1/32 md5")
        .hba(format!("host by_pam all 127.0.0.1/32 pam pamservice={}", service.name()));
    if cluster.installation().major() >= 18 {
        cluster = cluster.conf("oauth_validator_libraries", "pgaad").hba(format!(
            "host by_oauth all 127.0.0.1/32 oauth issuer={} scope=x validator=pgaad delegate_ident_mapping=1",
            tenant.authority()
        ));
    }
    cluster
}

fn furnish(cluster: &Cluster) {
    cluster.wait_until_ready();
    cluster.sql("CREATE EXTENSION pgaad");
    for database in ["by_trust", "by_password", "by_scram", "by_md5", "by_pam", "by_oauth"] {
        cluster.sql(&format!("CREATE DATABASE {database}"));
    }
    cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(ALICE)));
    cluster.sql(&format!("CREATE USER {PLAIN} PASSWORD '{PASSWORD}'"));
    cluster.sql(&format!("SET password_encryption = md5; CREATE USER plain_md5 PASSWORD '{PASSWORD}'"));
}
