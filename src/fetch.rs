//! Fetching the tenant's keys: the v2 OpenID metadata, then the key set it points to.
//!
//! Runs on a thread of the worker, never in a backend, and calls nothing of PostgreSQL's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use pgaad_core::keys::{KeySet, KeySetError};
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;
use serde::Deserialize;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::file::{self, FileError};

/// For the TCP connection and the TLS handshake each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of one document; Entra's have some kilobytes.
const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// Of `pgaad.ca_file`; the system's own authorities together have 220 kB.
const MAX_CA_BYTES: u64 = 8 * 1024 * 1024;

/// Where to fetch from, and how.
#[derive(Clone, Debug)]
pub(crate) struct FetchRequest {
    pub(crate) tenant: Tenant,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) https_proxy: Option<String>,
    /// `pgaad.jwks_file`: the keys are read from there, and the network is not used.
    pub(crate) jwks_file: Option<PathBuf>,
}

/// What came back: the keys, and the document they were read from.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) keys: KeySet,
    pub(crate) document: String,
    /// The metadata's `cloud_instance_name`.
    pub(crate) cloud: Option<String>,
    /// The provider's clock, where it said.
    pub(crate) provider_time: Option<UnixTime>,
    /// When the file was last modified that they were read from; `None` for keys of the provider's.
    pub(crate) modified: Option<UnixTime>,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// `pgaad.ca_file` holds no certificate, or something that is none.
    CaFile,
    /// `pgaad.ca_file` was not read.
    CaFileNotRead(FileError),
    /// `pgaad.https_proxy` cannot be used.
    Proxy,
    /// `pgaad.jwks_file` was not read.
    JwksFileNotRead(FileError),
    /// `pgaad.jwks_file` is dated in the future: its age cannot be told.
    JwksFileFromTheFuture,
    /// `pgaad.jwks_file` is a complete document that says that there are no keys which can be used.
    JwksFileWithoutKeys(KeySetError),
    /// The name cannot be resolved.
    NameUnknown,
    /// No connection, or it broke.
    Unreachable,
    /// No trust in the other end, or no common protocol.
    Tls,
    /// No complete answer in time.
    TimedOut,
    /// A redirect; none is followed.
    Redirected,
    /// Any status but 200.
    Status(u16),
    /// More than a document of this kind can have.
    TooLarge,
    /// Not HTTP, or more header lines than HTTP of this kind has.
    NotHttp,
    /// The metadata is not what it should be.
    MetadataMalformed,
    /// The metadata is another tenant's or another provider's.
    WrongIssuer,
    /// The metadata points to keys elsewhere than at the authority.
    ForeignKeysUrl,
    /// The key set is none.
    Keys(KeySetError),
    /// The fetch broke down.
    Internal,
}

impl FetchError {
    /// A stable name for logs and `pgaad.status`.
    pub(crate) fn code(self) -> String {
        match self {
            Self::CaFile => "ca_file_unusable",
            Self::CaFileNotRead(FileError::NotRegular(_)) => "ca_file_not_regular",
            Self::CaFileNotRead(FileError::TooLarge) => "ca_file_too_large",
            Self::CaFileNotRead(FileError::TimedOut) => "ca_file_timed_out",
            Self::CaFileNotRead(FileError::Missing | FileError::Refused(_)) => "ca_file_unusable",
            Self::Proxy => "proxy_unusable",
            Self::JwksFileNotRead(FileError::NotRegular(_)) => "jwks_file_not_regular",
            Self::JwksFileNotRead(FileError::TooLarge) => "jwks_file_too_large",
            Self::JwksFileNotRead(FileError::TimedOut) => "jwks_file_timed_out",
            Self::JwksFileNotRead(FileError::Missing | FileError::Refused(_)) => "jwks_file_unreadable",
            Self::JwksFileFromTheFuture => "jwks_file_from_the_future",
            Self::NameUnknown => "name_unknown",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls_failed",
            Self::TimedOut => "timed_out",
            Self::Redirected => "redirected",
            Self::Status(status) => return format!("http_status_{status}"),
            Self::TooLarge => "too_large",
            Self::NotHttp => "not_http",
            Self::MetadataMalformed => "metadata_malformed",
            Self::WrongIssuer => "metadata_wrong_issuer",
            Self::ForeignKeysUrl => "metadata_foreign_keys_url",
            Self::Keys(error) | Self::JwksFileWithoutKeys(error) => error.code(),
            Self::Internal => "internal_error",
        }
        .to_owned()
    }

    /// The same in words, where the code leaves something open.
    pub(crate) fn words(self) -> Option<String> {
        match self {
            Self::CaFile => Some("pgaad.ca_file holds no certificate, or something that is none".to_owned()),
            Self::CaFileNotRead(error) => Some(format!("pgaad.ca_file {error}")),
            Self::JwksFileNotRead(error) => Some(format!("pgaad.jwks_file {error}")),
            Self::JwksFileFromTheFuture => {
                Some("pgaad.jwks_file is dated in the future, so its age cannot be told".to_owned())
            }
            Self::JwksFileWithoutKeys(_) => {
                Some("pgaad.jwks_file says that there are no keys; those from before are dropped".to_owned())
            }
            _ => None,
        }
    }
}

/// The members of the metadata that count (OpenID Connect Discovery 1.0 §3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    /// Entra's extension: which Microsoft cloud the provider is of.
    cloud_instance_name: Option<String>,
}

/// Fetches the tenant's keys, or reads them from the operator's file.
///
/// Takes ten seconds at the most, unless a file system does not answer.
///
/// # Errors
/// [`FetchError`], the first thing that went wrong.
pub(crate) fn fetch(request: &FetchRequest) -> Result<Fetched, FetchError> {
    request
        .jwks_file
        .as_deref()
        .map_or_else(|| download_keys(request), |path| read_keys(path, &request.tenant))
}

fn download_keys(request: &FetchRequest) -> Result<Fetched, FetchError> {
    let deadline = Instant::now() + TIMEOUT;
    let agent = agent(request)?;

    let (metadata, _) = download(&agent, &request.tenant.metadata_url(), deadline)?;
    let metadata: Metadata = serde_json::from_slice(&metadata).map_err(|_| FetchError::MetadataMalformed)?;
    if metadata.issuer != request.tenant.v2_issuer() {
        return Err(FetchError::WrongIssuer);
    }
    if !request.tenant.authority().is_origin_of(&metadata.jwks_uri) {
        return Err(FetchError::ForeignKeysUrl);
    }
    let (document, date) = download(&agent, &metadata.jwks_uri, deadline)?;
    let cloud = metadata.cloud_instance_name.filter(|name| !name.is_empty());
    Ok(Fetched { provider_time: date, ..import(document, &request.tenant, cloud)? })
}

/// Reads the keys from a file that the operator provides.
fn read_keys(path: &Path, tenant: &Tenant) -> Result<Fetched, FetchError> {
    let file = file::read(path, MAX_BODY_BYTES).map_err(FetchError::JwksFileNotRead)?;
    // Half a file is a copy that is under way, or a full disk. A whole document is meant.
    let is_complete = serde_json::from_slice::<serde::de::IgnoredAny>(&file.bytes).is_ok();
    let fetched = import(file.bytes, tenant, None).map_err(|error| match error {
        FetchError::Keys(error) if is_complete => FetchError::JwksFileWithoutKeys(error),
        error => error,
    })?;
    Ok(Fetched { modified: Some(file.modified), ..fetched })
}

fn import(document: Vec<u8>, tenant: &Tenant, cloud: Option<String>) -> Result<Fetched, FetchError> {
    let keys = KeySet::import(&document, tenant, cloud.as_deref()).map_err(FetchError::Keys)?;
    let document = String::from_utf8(document).map_err(|_| FetchError::Keys(KeySetError::Malformed))?;
    Ok(Fetched { keys, document, cloud, provider_time: None, modified: None })
}

fn agent(request: &FetchRequest) -> Result<Agent, FetchError> {
    let proxy =
        request.https_proxy.as_deref().map(ureq::Proxy::new).transpose().map_err(|_| FetchError::Proxy)?;
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(root_certificates(request.ca_file.as_deref())?)))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        // Set in any case: unset means that environment variables decide.
        .proxy(proxy)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("pgaad/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .build();
    Ok(config.new_agent())
}

/// The system's authorities and those of `ca_file`.
fn root_certificates(ca_file: Option<&Path>) -> Result<Vec<Certificate<'static>>, FetchError> {
    let system = rustls_native_certs::load_native_certs().certs;
    let mut roots: Vec<_> = system.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    if let Some(path) = ca_file {
        let pem = file::read(path, MAX_CA_BYTES).map_err(FetchError::CaFileNotRead)?.bytes;
        let before = roots.len();
        for item in ureq::tls::parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|_| FetchError::CaFile)? {
                roots.push(certificate);
            }
        }
        if roots.len() == before {
            return Err(FetchError::CaFile);
        }
    }
    Ok(roots)
}

fn download(agent: &Agent, url: &str, deadline: Instant) -> Result<(Vec<u8>, Option<UnixTime>), FetchError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut response = agent
        .get(url)
        .config()
        .timeout_global(Some(left.max(Duration::from_millis(1))))
        .build()
        .call()
        .map_err(|error| error_of(&error))?;
    match response.status().as_u16() {
        200 => {}
        300..=399 => return Err(FetchError::Redirected),
        status => return Err(FetchError::Status(status)),
    }
    let date = response.headers().get("date").and_then(|date| unix_time(date.to_str().ok()?));
    let body = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec();
    Ok((body.map_err(|error| error_of(&error))?, date))
}

/// The `Date` of an answer (RFC 9110 §6.6.1).
fn unix_time(date: &str) -> Option<UnixTime> {
    let time = httpdate::parse_http_date(date).ok()?;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok().map(UnixTime::new)
}

fn error_of(error: &ureq::Error) -> FetchError {
    match error {
        ureq::Error::Timeout(_) => FetchError::TimedOut,
        ureq::Error::HostNotFound => FetchError::NameUnknown,
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => FetchError::TooLarge,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => FetchError::Tls,
        // rustls reports a certificate it does not trust through the stream it wraps.
        ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            FetchError::Tls
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => FetchError::TimedOut,
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => FetchError::Unreachable,
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => FetchError::NotHttp,
        ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => FetchError::Proxy,
        ureq::Error::Pem(_) => FetchError::CaFile,
        _ => FetchError::Internal,
    }
}
