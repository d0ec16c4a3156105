//! Who is asked, and what an error of the agent's says of them.

use std::io;

use rustls::CertificateError;

use crate::connect::NotResolved;
use crate::error::{FetchError, TlsFault};
use crate::tls::RefusedCertificate;

/// Whom a request is for. Both with their ports.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) host: String,
    /// By whom the way leads.
    pub(crate) proxy: Option<String>,
}

impl Peer {
    /// What an error of the agent's means.
    pub(crate) fn error(&self, error: &ureq::Error) -> FetchError {
        let to = self.host.clone();
        match error {
            ureq::Error::Timeout(during) => FetchError::TimedOut { to: self.first(), during: doing(*during) },
            ureq::Error::HostNotFound => self.not_resolved("it has no address".to_owned()),
            ureq::Error::Other(error) if error.is::<NotResolved>() => self.not_resolved(error.to_string()),
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
                FetchError::TooLarge { to }
            }
            ureq::Error::Io(error) => self.io_error(error),
            ureq::Error::ConnectionFailed => {
                FetchError::Broken { to: self.first(), why: "it failed".to_owned() }
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                FetchError::NotHttp { to, why: error.to_string() }
            }
            ureq::Error::InvalidProxyUrl => FetchError::ProxyUnusable,
            ureq::Error::ConnectProxyFailed(why) => {
                FetchError::ProxyFailed { to: self.first(), why: why.clone() }
            }
            _ => FetchError::Internal,
        }
    }

    /// Whom a connection is made with.
    fn first(&self) -> String {
        self.proxy.clone().unwrap_or_else(|| self.host.clone())
    }

    fn not_resolved(&self, why: String) -> FetchError {
        FetchError::Name { to: self.first(), why, is_proxy: self.proxy.is_some() }
    }

    fn io_error(&self, error: &io::Error) -> FetchError {
        // rustls reports a certificate that it does not trust through the stream that it wraps.
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return self.tls_error(error);
        }
        let (to, why) = (self.first(), error.to_string());
        match error.kind() {
            io::ErrorKind::TimedOut => {
                FetchError::TimedOut { to, during: "while the operating system waited" }
            }
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => FetchError::Broken { to: self.host.clone(), why },
            kind => FetchError::Connection {
                to,
                why,
                is_refused: kind == io::ErrorKind::ConnectionRefused,
                is_proxy: self.proxy.is_some(),
            },
        }
    }

    fn tls_error(&self, error: &rustls::Error) -> FetchError {
        let to = self.host.clone();
        let refused = match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<RefusedCertificate>()
            }
            _ => None,
        };
        match refused {
            Some(refused) => {
                FetchError::Tls { to, fault: fault_of(&refused.error), why: refused.to_string() }
            }
            None => FetchError::Tls { to, fault: TlsFault::Other, why: error.to_string() },
        }
    }
}

fn fault_of(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongName
        }
        // The second is an authority that has the name of one that is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownIssuer,
        _ => TlsFault::Other,
    }
}

/// The end of a sentence.
fn doing(during: ureq::Timeout) -> &'static str {
    match during {
        ureq::Timeout::Resolve => "while the name was resolved",
        ureq::Timeout::Connect => "while a connection or the TLS handshake was made",
        ureq::Timeout::RecvResponse | ureq::Timeout::RecvBody => "while an answer was read",
        _ => "for all that was to be done",
    }
}
