//! A stand-in for one Microsoft Entra tenant, for tests and the demo.
//!
//! It serves OpenID metadata and signing keys over HTTPS on the loopback interface, mints tokens of every
//! kind that Entra issues and many that it would not, rolls its keys, and can be slow, dead or hostile.
//! Documents and tokens have the shape of Entra's public ones. Its keys are made on the spot and prove
//! nothing to anybody.
//!
//! [`Keys`] mints without a server; [`Tenant`] is the running server.

mod behavior;
mod certificate;
mod claims;
mod credentials;
mod directory;
mod graph;
mod keys;
mod machine;
mod page;
mod server;
mod signing_key;
mod state;
mod token;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::ServerConfig;

use crate::server::{Server, Service};

pub use crate::behavior::Behavior;
pub use crate::claims::object_id;
pub use crate::credentials::ClientCertificate;
pub use crate::directory::{Application, Directory, Group, Kind, User, crowd_member};
pub use crate::keys::Keys;
pub use crate::state::State;
pub use crate::token::{Signer, Token};
pub use crate::trouble::Trouble;

/// The tenant's id.
pub const TENANT_ID: &str = "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10";
/// Another tenant of the same provider. Its keys are the same, as Entra's are.
pub const SECOND_TENANT_ID: &str = "2c8b1d5e-9f40-4d7a-8e61-5b3a0c7f2d94";
/// `aud` of v1 tokens: the resource of Azure's open-source databases.
pub const AUDIENCE: &str = "https://ossrdbms-aad.database.windows.net";
/// `aud` of v2 tokens: the application id of the same resource.
pub const AUDIENCE_APP_ID: &str = "123cd850-d9df-40bd-94d5-c9f07b7fa203";
/// The tenant of personal accounts.
pub const CONSUMER_TENANT_ID: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// The client that users sign in with, in `appid` or `azp`: the Azure CLI.
pub const USER_CLIENT_ID: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

/// How a tenant is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The port to listen on, kept for later starts; otherwise the port of the last start, or a free one.
    pub port: Option<u16>,
}

/// A running stand-in tenant: HTTPS on 127.0.0.1, its threads ended and its port closed when it is dropped.
///
/// Its methods panic on what a test cannot go on from: a directory that cannot be written, a port in use.
pub struct Tenant {
    service: Arc<Service>,
    tls: Arc<ServerConfig>,
    port: u16,
    running: Mutex<Option<Server>>,
    machine: Mutex<Option<Server>>,
}

impl Tenant {
    /// Starts the tenant that is kept in `dir`, or a new one on a free port.
    ///
    /// `dir` is made if need be, readable by everyone apart from the private keys: PostgreSQL runs as another
    /// user and reads `ca.pem`. (The directories above it are left alone.) A second start with the same `dir`
    /// has the same keys, CA and port.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, Options::default())
    }

    /// As [`Self::start`], with options.
    pub fn start_with(dir: &Path, options: Options) -> Self {
        let state = State::open_or_create(dir, options.port);
        let tls = state.certificate_authority().server_tls();
        let port = state.port();
        let service = Arc::new(Service {
            state,
            behavior: Mutex::default(),
            behavior_of_second: Mutex::default(),
            fetches: AtomicUsize::new(0),
            key_sets: AtomicUsize::new(0),
            signed_in: Mutex::default(),
            directory: Mutex::default(),
            graph: Mutex::default(),
        });
        let tenant = Self { service, tls, port, running: Mutex::default(), machine: Mutex::default() };
        tenant.start_again();
        tenant
    }

    /// Base URL of the identity provider, for `pgaad.authority`: `https://localhost:PORT`. The server's
    /// certificate is good for localhost, 127.0.0.1 and ::1.
    pub fn authority(&self) -> String {
        self.keys().authority().to_owned()
    }

    /// The CA certificate, PEM, for `pgaad.ca_file`.
    pub fn ca_file(&self) -> PathBuf {
        self.service.state.ca_file()
    }

    /// The tenant's id, for `pgaad.tenant_id`: [`TENANT_ID`].
    pub fn tenant_id(&self) -> String {
        TENANT_ID.to_owned()
    }

    /// The keys as they are now; what is returned does not follow a later rotation.
    pub fn keys(&self) -> Keys {
        self.service.state.keys()
    }

    /// A valid v1 access token of alice@example.com, to be changed and minted with the keys as they are now.
    pub fn token(&self) -> Token {
        self.keys().token()
    }

    /// How requests are answered from now on. A connection that stalls already goes on stalling.
    pub fn set_behavior(&self, behavior: Behavior) {
        *self.service.behavior.lock().expect("no holder of the lock panics") = behavior;
    }

    /// As [`Self::set_behavior`], for what is asked about [`SECOND_TENANT_ID`], which answers well until then.
    pub fn set_behavior_of_second(&self, behavior: Behavior) {
        *self.service.behavior_of_second.lock().expect("no holder of the lock panics") = behavior;
    }

    /// Publishes a new enterprise key, which signs from now on, and gives its id.
    pub fn rotate(&self) -> String {
        self.service.state.rotate()
    }

    /// Withdraws a key from the published set. [`Signer::Current`] goes on using it, if it is the current one.
    /// Panics unless `kid` is published.
    pub fn retire(&self, kid: &str) {
        self.service.state.retire(kid);
    }

    /// Has somebody sign in for the devices that have asked for a code: from now on they get this token.
    pub fn sign_in(&self, token: &str) {
        *self.service.signed_in.lock().expect("no holder of the lock panics") = Some(token.to_owned());
    }

    /// What the directory holds. Graph answers from it, at the authority's own host and port.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        self.service.directory.lock().expect("no holder of the lock panics")
    }

    /// In which way Graph and the token endpoint fail: asked for each question, with its number from 1 on (counted
    /// anew from here) and its path with the query. `None` is answered well.
    pub fn set_trouble(&self, trouble: impl FnMut(usize, &str) -> Option<Trouble> + Send + 'static) {
        let mut graph = self.service.graph.lock().expect("no holder of the lock panics");
        graph.trouble = Some(Box::new(trouble));
        graph.questions = 0;
    }

    /// Graph and the token endpoint answer well again.
    pub fn end_trouble(&self) {
        self.service.graph.lock().expect("no holder of the lock panics").trouble = None;
    }

    /// Largest page that Graph gives from now on, whatever is asked for.
    pub fn set_page_size(&self, size: Option<usize>) {
        self.service.graph.lock().expect("no holder of the lock panics").page_size = size;
    }

    /// How many questions Graph and the token endpoint were asked since [`Self::set_trouble`], or the start.
    pub fn questions(&self) -> usize {
        self.service.graph.lock().expect("no holder of the lock panics").questions
    }

    /// Starts the services of a machine, Azure's Instance Metadata Service and Arc's agent, on a free port of
    /// 127.0.0.1; gives their base URL, plain HTTP. Arc's files are in `arc` of the tenant's directory.
    pub fn start_machine(&self) -> String {
        let port = crate::state::free_port();
        let server = Server::start(port, None, Arc::clone(&self.service));
        *self.machine.lock().expect("no holder of the lock panics") = Some(server);
        format!("http://127.0.0.1:{port}")
    }

    /// Where Arc's agent puts its files.
    pub fn arc_tokens(&self) -> PathBuf {
        self.service.state.arc_tokens()
    }

    /// How many times metadata was asked for so far, answered or not, and over all starts and stops;
    /// a connection stalled before TLS counts as one. Key sets do not count.
    pub fn fetches(&self) -> usize {
        self.service.fetches.load(Ordering::SeqCst)
    }

    /// How many key sets were asked for so far. A rotation changes none of their answers any more.
    pub fn key_sets(&self) -> usize {
        self.service.key_sets.load(Ordering::SeqCst)
    }

    /// Closes the port and every connection; connecting is refused from now on.
    pub fn stop(&self) {
        drop(self.running().take());
    }

    /// Listens on the same port again. Does nothing while it runs.
    pub fn start_again(&self) {
        let mut running = self.running();
        if running.is_none() {
            *running = Some(Server::start(self.port, Some(Arc::clone(&self.tls)), Arc::clone(&self.service)));
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Server>> {
        self.running.lock().expect("starting and stopping do not panic")
    }
}
