//! The HTTPS agent: no redirect is followed, no environment variable is read, and each answer is bounded in time and
//! size.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use pgaad_core::time::UnixTime;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::AsSendBody;
use ureq::config::Config;
use ureq::http::header::{HeaderMap, HeaderValue};
use ureq::http::{self, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use crate::connect::{NamingResolver, RacingConnector};
use crate::error::FetchError;
use crate::file;
use crate::misfit;
use crate::peer::Peer;
use crate::tls::TlsConnector;

/// For the TCP connection and the TLS handshake each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one document; Entra's have some kilobytes.
pub(crate) const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// Of `pgaad.ca_file`; the system's own authorities together have 220 kB.
const MAX_CA_BYTES: u64 = 8 * 1024 * 1024;

/// By which way the provider is reached, and whom to trust there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `pgaad.ca_file`: authorities beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// `pgaad.https_proxy`.
    pub https_proxy: Option<String>,
}

/// Whether a text is a URL of a proxy that can be used: one that is asked by HTTP for a tunnel.
pub fn is_proxy(url: &str) -> bool {
    url.starts_with("http://") && ureq::Proxy::new(url).is_ok_and(|proxy| !proxy.host().is_empty())
}

/// A document of the provider's.
pub(crate) struct Answer {
    pub(crate) document: Vec<u8>,
    /// The provider's clock, where it said.
    pub(crate) date: Option<UnixTime>,
}

/// How long requests may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// All requests of an agent together.
    Until(Instant),
    /// Each for itself, and all together until then.
    Each(Duration, Instant),
}

impl Limit {
    /// For all that is done from now on.
    pub(crate) fn together(span: Duration) -> Self {
        Self::Until(Instant::now() + span)
    }

    /// What is left for the next request; never nothing, which would mean for ever.
    fn left(self) -> Duration {
        let until = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let left = match self {
            Self::Until(deadline) => until(deadline),
            Self::Each(span, deadline) => span.min(until(deadline)),
        };
        left.max(Duration::from_millis(1))
    }
}

/// What is asked for. A request with a body is a POST.
pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    /// Beside those of every request. They may hold a secret.
    pub(crate) headers: &'a [(&'static str, &'a str)],
    /// Its type, and its bytes, which may hold a secret.
    pub(crate) body: Option<(&'static str, &'a [u8])>,
    /// Longest document that is read.
    pub(crate) max_bytes: u64,
}

/// What came back, whatever its status.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) document: Vec<u8>,
    headers: HeaderMap,
}

impl Reply {
    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The other end's clock, where it said (RFC 9110 §6.6.1).
    pub(crate) fn date(&self) -> Option<UnixTime> {
        self.header("date").and_then(unix_time)
    }
}

/// An agent for one refresh, or one run.
pub(crate) struct Agent {
    agent: ureq::Agent,
    limit: Limit,
    /// Host and port of the proxy, if there is one.
    proxy: Option<String>,
}

impl Agent {
    /// An agent that goes by `route` and speaks https only.
    ///
    /// # Errors
    /// [`FetchError::ProxyUnusable`], [`FetchError::CaFile`], [`FetchError::CaFileNotRead`],
    /// [`FetchError::NoAuthorities`]
    pub(crate) fn new(route: &Route, limit: Limit) -> Result<Self, FetchError> {
        let proxy = match route.https_proxy.as_deref() {
            Some(url) if is_proxy(url) => Some(ureq::Proxy::new(url).map_err(|_| FetchError::ProxyUnusable)?),
            Some(_) => return Err(FetchError::ProxyUnusable),
            None => None,
        };
        let host_of_proxy = proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let tls = TlsConnector::new(authorities(route.ca_file.as_deref())?)?;
        let config = config(true, proxy);
        // The agent's own connector tries one address after the other.
        let connector = ConnectProxyConnector::default().chain(RacingConnector::default()).chain(tls);
        let agent = ureq::Agent::with_parts(config, connector, NamingResolver::default());
        Ok(Self { agent, limit, proxy: host_of_proxy })
    }

    /// An agent for services of the machine itself, which are reached by plain HTTP and never by a proxy.
    pub(crate) fn local(limit: Limit) -> Self {
        let connector = ().chain(RacingConnector::default());
        let agent = ureq::Agent::with_parts(config(false, None), connector, NamingResolver::default());
        Self { agent, limit, proxy: None }
    }

    /// Asks, and takes whatever answer comes; no redirect is followed.
    ///
    /// # Errors
    /// [`FetchError`], where none comes, or none that ends.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Reply, FetchError> {
        let peer = self.peer(request.url);
        let mut head = http::Request::builder().uri(request.url);
        for &(name, value) in request.headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| FetchError::Internal)?;
            value.set_sensitive(true);
            head = head.header(name, value);
        }
        let sent = match request.body {
            None => head.method("GET").body(()).map(|request| self.run(request)),
            Some((content_type, bytes)) => {
                head = head.method("POST").header("content-type", content_type);
                head.body(bytes).map(|request| self.run(request))
            }
        };
        let mut response = sent.map_err(|_| FetchError::Internal)?.map_err(|error| peer.error(&error))?;
        let document = response.body_mut().with_config().limit(request.max_bytes).read_to_vec();
        let document = match document {
            Err(error) if response.status() == 200 => return Err(peer.error(&error)),
            // Of anything else the status says enough.
            document => document.unwrap_or_default(),
        };
        Ok(Reply {
            status: response.status().as_u16(),
            document,
            headers: std::mem::take(response.headers_mut()),
        })
    }

    fn run(
        &self,
        request: http::Request<impl AsSendBody>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let request = self.agent.configure_request(request).timeout_global(Some(self.limit.left())).build();
        self.agent.run(request)
    }

    /// Fetches a document.
    ///
    /// # Errors
    /// [`FetchError`], whatever went wrong on the way.
    pub(crate) fn get(&self, url: &str) -> Result<Answer, FetchError> {
        let reply = self.send(&Request { url, headers: &[], body: None, max_bytes: MAX_BODY_BYTES })?;
        let to = || self.peer(url).host;
        match reply.status {
            200 => {}
            300..=399 => {
                let location = reply.headers.get("location").map(|location| location.as_bytes());
                let location = String::from_utf8_lossy(location.unwrap_or_default()).into_owned();
                return Err(FetchError::Redirected { to: to(), location });
            }
            status => return Err(FetchError::Status { to: to(), status }),
        }
        Ok(Answer { date: reply.date(), document: reply.document })
    }

    fn peer(&self, url: &str) -> Peer {
        let uri = url.parse::<Uri>().unwrap_or_default();
        let host = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        Peer { host, proxy: self.proxy.clone() }
    }
}

fn config(https_only: bool, proxy: Option<ureq::Proxy>) -> Config {
    ureq::Agent::config_builder()
        .https_only(https_only)
        // Set in any case: unset means that environment variables decide.
        .proxy(proxy)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("pgaad/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .build()
}

/// The system's authorities, as far as they can be read, and those of `ca_file`, of which each must be readable.
fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, FetchError> {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let pem = file::read(path, MAX_CA_BYTES).map_err(FetchError::CaFileNotRead)?.bytes;
        let mut count = 0_usize;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.ok().and_then(|certificate| authorities.add(certificate).ok());
            added.ok_or(FetchError::CaFile("holds a certificate that is damaged"))?;
            count = count.saturating_add(1);
        }
        if count == 0 {
            return Err(FetchError::CaFile(misfit::of_certificates(&pem)));
        }
    }
    if authorities.is_empty() {
        return Err(FetchError::NoAuthorities);
    }
    Ok(authorities)
}

/// The `Date` of an answer (RFC 9110 §6.6.1).
fn unix_time(date: &str) -> Option<UnixTime> {
    let time = httpdate::parse_http_date(date).ok()?;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok().map(UnixTime::new)
}
