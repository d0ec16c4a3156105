//! The way to Graph: whom to ask, as whom, and how.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use once_cell::unsync::OnceCell;
use pgaad_core::graph_url::GraphUrl;
use pgaad_core::guid::ClientId;
use pgaad_core::settings::directory::Credential;
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;

use super::assertion;
use super::error::GraphError;
use super::retry::Retry;
use crate::agent::{Agent, Limit, Route};
use crate::secret_file;

/// For one question: connection, question and answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the machine's own services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalServices {
    /// The Instance Metadata Service.
    pub imds: String,
    /// Azure Arc's agent.
    pub arc: String,
    /// The directory of the files that Arc's agent names.
    pub arc_tokens: PathBuf,
}

impl Default for LocalServices {
    fn default() -> Self {
        Self {
            imds: "http://169.254.169.254".to_owned(),
            arc: "http://localhost:40342".to_owned(),
            arc_tokens: PathBuf::from("/var/opt/azcmagent/tokens"),
        }
    }
}

/// Whom to ask, as whom, and how.
#[derive(Clone, Debug)]
pub struct GraphRequest {
    /// Whose directory.
    pub tenant: Tenant,
    /// The way to Graph and to the tenant's authority.
    pub route: Route,
    /// Where Graph is.
    pub graph_url: GraphUrl,
    /// By what pgaad shows itself.
    pub credential: Option<Credential>,
    /// The registration that the credential is of.
    pub client_id: Option<ClientId>,
    /// The server's data directory, outside of which the credential's file must be.
    pub data_directory: PathBuf,
    /// Where the machine's own services are.
    pub local: LocalServices,
    /// For everything that is asked.
    pub time: Duration,
    /// Between two tries of one question, and twice as long each time.
    pub pause: Duration,
}

impl GraphRequest {
    /// When the credential expires, where it is a certificate that can be read.
    pub fn credential_expires(&self) -> Option<UnixTime> {
        let Some(Credential::Certificate(path)) = &self.credential else { return None };
        assertion::expiry(&secret_file::read(path, &self.data_directory).ok()?)
    }
}

/// The way, for one run.
pub(super) struct Connection {
    request: GraphRequest,
    deadline: Instant,
    agent: OnceCell<Agent>,
}

impl Connection {
    pub(super) fn new(request: GraphRequest) -> Self {
        Self { deadline: Instant::now() + request.time, request, agent: OnceCell::new() }
    }

    pub(super) fn request(&self) -> &GraphRequest {
        &self.request
    }

    /// When all must be over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The tries of one question.
    pub(super) fn retry(&self) -> Retry {
        Retry::until(self.deadline, self.request.pause)
    }

    /// The agent, which reads the authorities once.
    ///
    /// # Errors
    /// [`GraphError::Fetch`]
    pub(super) fn agent(&self) -> Result<&Agent, GraphError> {
        let agent = || Agent::new(&self.request.route, Limit::Each(TIMEOUT, self.deadline));
        self.agent.get_or_try_init(agent).map_err(GraphError::from)
    }
}
