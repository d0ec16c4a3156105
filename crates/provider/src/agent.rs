//! The HTTPS agent: no redirect is followed, no environment variable is read, and each answer is bounded in time and
//! size.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use pgaad_core::time::UnixTime;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::http::Uri;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use crate::connect::{NamingResolver, RacingConnector};
use crate::error::FetchError;
use crate::file;
use crate::misfit;
use crate::peer::Peer;
use crate::tls::TlsConnector;

/// For the TCP connection and the TLS handshake each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything that one agent does.
const TIMEOUT: Duration = Duration::from_secs(10);
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

/// An agent for one refresh, which takes ten seconds at the most.
pub(crate) struct Agent {
    agent: ureq::Agent,
    deadline: Instant,
    /// Host and port of the proxy, if there is one.
    proxy: Option<String>,
}

impl Agent {
    /// An agent whose time begins now.
    ///
    /// # Errors
    /// [`FetchError::ProxyUnusable`], [`FetchError::CaFile`], [`FetchError::CaFileNotRead`],
    /// [`FetchError::NoAuthorities`]
    pub(crate) fn new(route: &Route) -> Result<Self, FetchError> {
        let deadline = Instant::now() + TIMEOUT;
        let proxy = match route.https_proxy.as_deref() {
            Some(url) if is_proxy(url) => Some(ureq::Proxy::new(url).map_err(|_| FetchError::ProxyUnusable)?),
            Some(_) => return Err(FetchError::ProxyUnusable),
            None => None,
        };
        let host_of_proxy = proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let tls = TlsConnector::new(authorities(route.ca_file.as_deref())?)?;
        let config = ureq::Agent::config_builder()
            .https_only(true)
            // Set in any case: unset means that environment variables decide.
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("pgaad/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build();
        // The agent's own connector tries one address after the other.
        let connector = ConnectProxyConnector::default().chain(RacingConnector::default()).chain(tls);
        let agent = ureq::Agent::with_parts(config, connector, NamingResolver::default());
        Ok(Self { agent, deadline, proxy: host_of_proxy })
    }

    /// Fetches a document.
    ///
    /// # Errors
    /// [`FetchError`], whatever went wrong on the way.
    pub(crate) fn get(&self, url: &str) -> Result<Answer, FetchError> {
        let peer = self.peer(url);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut response = self
            .agent
            .get(url)
            .config()
            .timeout_global(Some(left.max(Duration::from_millis(1))))
            .build()
            .call()
            .map_err(|error| peer.error(&error))?;
        match response.status().as_u16() {
            200 => {}
            300..=399 => {
                let location = response.headers().get("location").map(|location| location.as_bytes());
                let location = String::from_utf8_lossy(location.unwrap_or_default()).into_owned();
                return Err(FetchError::Redirected { to: peer.host, location });
            }
            status => return Err(FetchError::Status { to: peer.host, status }),
        }
        let date = response.headers().get("date").and_then(|date| unix_time(date.to_str().ok()?));
        let document = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec();
        Ok(Answer { document: document.map_err(|error| peer.error(&error))?, date })
    }

    fn peer(&self, url: &str) -> Peer {
        let uri = url.parse::<Uri>().unwrap_or_default();
        let host = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        Peer { host, proxy: self.proxy.clone() }
    }
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
