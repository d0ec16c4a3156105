//! The settings of the directory. They are read apart from the others: logins that do not need the directory go on
//! whatever is written here.

use std::path::PathBuf;
use std::time::Duration;

use super::table;
use super::values::{DAY, Source, Value, absolute_path};
use crate::graph_url::{GraphUrl, NotAGraphUrl};
use crate::guid::ClientId;
use crate::reason::Reason;
use crate::tenant::Cloud;

/// By what pgaad shows itself to Microsoft Graph (`pgaad.directory_credential`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `secret_file:/path`: a file with a client secret.
    SecretFile(PathBuf),
    /// `certificate:/path`: a PEM file with a certificate and its private key.
    Certificate(PathBuf),
    /// `federated:/path`: a file with a token of another identity provider, such as Kubernetes projects one.
    Federated(PathBuf),
    /// `imds` or `imds:CLIENT-ID`: the managed identity of an Azure virtual machine; the id of a user-assigned one.
    Imds(Option<ClientId>),
    /// `arc`: the managed identity of a machine with Azure Arc's agent.
    Arc,
}

impl Credential {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) =
            text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest.trim())));
        let path = || rest.and_then(absolute_path);
        match (kind.trim(), rest) {
            ("secret_file", _) => path().map(Self::SecretFile),
            ("certificate", _) => path().map(Self::Certificate),
            ("federated", _) => path().map(Self::Federated),
            ("imds", None) => Some(Self::Imds(None)),
            ("imds", Some(id)) => id.parse().ok().map(|id| Self::Imds(Some(id))),
            ("arc", None) => Some(Self::Arc),
            _ => None,
        }
    }

    /// The file that must be kept from others, where there is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::SecretFile(path) | Self::Certificate(path) | Self::Federated(path) => Some(path),
            Self::Imds(_) | Self::Arc => None,
        }
    }

    /// Whether `pgaad.directory_client_id` must say whose credential it is.
    pub fn needs_client_id(&self) -> bool {
        self.file().is_some()
    }
}

/// How programs among the members of a group are read (`pgaad.directory_programs`).
///
/// `transitiveMembers` of Graph v1.0 leaves service principals out, and says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// By a second query of v1.0, cast to `microsoft.graph.servicePrincipal`, with `ConsistencyLevel: eventual` and
    /// `$count`: it answers from an index that may lag behind.
    Cast,
    /// By Graph's beta version, which lists them among the others and comes without a promise of Microsoft's.
    Beta,
    /// Not at all.
    Off,
}

/// The settings of the directory, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// `pgaad.graph_url`; the cloud's where it is not set.
    pub graph_url: GraphUrl,
    /// `pgaad.directory_credential`; `None` while it is not set.
    pub credential: Option<Credential>,
    /// `pgaad.directory_client_id`.
    pub client_id: Option<ClientId>,
    /// `pgaad.directory_interval`.
    pub interval: Duration,
    /// `pgaad.directory_max_stale`.
    pub max_stale: Duration,
    /// `pgaad.directory_nested`.
    pub nested: bool,
    /// `pgaad.directory_programs`.
    pub programs: Programs,
    /// `pgaad.directory_accounts`.
    pub accounts: bool,
}

/// `pgaad.directory`.
///
/// # Errors
/// [`Reason::SettingInvalid`].
pub fn is_on(source: &impl Source) -> Result<bool, Reason> {
    Value::new(source, &table::DIRECTORY).bool()
}

impl DirectorySettings {
    /// Reads the values in force.
    ///
    /// # Errors
    /// [`Reason::SettingInvalid`] names the first setting whose value cannot be used.
    pub fn read(source: &impl Source) -> Result<Self, Reason> {
        let value = |setting| Value::new(source, setting);
        let cloud = value(&table::CLOUD).one_of(&Cloud::ALL.map(|cloud| (cloud.name(), cloud)))?;
        is_on(source)?;
        let graph_url =
            value(&table::GRAPH_URL).optional(&NotAGraphUrl.to_string(), |text| text.parse().ok())?;
        let credential = value(&table::DIRECTORY_CREDENTIAL).optional(SOME_CREDENTIALS, Credential::parse)?;
        let client_id = value(&table::DIRECTORY_CLIENT_ID)
            .optional("the application (client) id of the registration, a GUID", |text| text.parse().ok())?;
        Ok(Self {
            graph_url: graph_url.unwrap_or_else(|| GraphUrl::of(cloud)),
            credential,
            client_id,
            interval: value(&table::DIRECTORY_INTERVAL).duration(Duration::from_secs(60), DAY)?,
            max_stale: value(&table::DIRECTORY_MAX_STALE).duration(Duration::from_secs(60), 30 * DAY)?,
            nested: value(&table::DIRECTORY_NESTED).bool()?,
            programs: value(&table::DIRECTORY_PROGRAMS).one_of(&[
                ("cast", Programs::Cast),
                ("beta", Programs::Beta),
                ("off", Programs::Off),
            ])?,
            accounts: value(&table::DIRECTORY_ACCOUNTS).bool()?,
        })
    }

    /// The setting that is still missing, where one is.
    pub fn missing(&self) -> Option<&'static str> {
        match &self.credential {
            None => Some(table::DIRECTORY_CREDENTIAL.name()),
            Some(credential) if credential.needs_client_id() && self.client_id.is_none() => {
                Some(table::DIRECTORY_CLIENT_ID.name())
            }
            Some(_) => None,
        }
    }
}

const SOME_CREDENTIALS: &str =
    "secret_file:/PATH, certificate:/PATH, federated:/PATH, imds, imds:CLIENT-ID, or arc";
