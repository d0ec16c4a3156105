//! Why there are no keys, by a stable code and in words.

use pgaad_core::keys::KeySetError;

use crate::file::FileError;

/// Why there are no keys. `to` is the host and port that was asked: the provider's, or the proxy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// `pgaad.ca_file` cannot be used, which is said here.
    CaFile(&'static str),
    /// `pgaad.ca_file` was not read.
    CaFileNotRead(FileError),
    /// Neither the system nor `pgaad.ca_file` has an authority.
    NoAuthorities,
    /// `pgaad.https_proxy` cannot be used.
    ProxyUnusable,
    /// The proxy answered, and made no tunnel.
    ProxyFailed {
        /// The proxy.
        to: String,
        /// What it said.
        why: String,
    },
    /// `pgaad.jwks_file` was not read.
    JwksFileNotRead(FileError),
    /// `pgaad.jwks_file` is dated in the future: its age cannot be told.
    JwksFileFromTheFuture,
    /// `pgaad.jwks_file` is a key set without a key that can be used.
    JwksFileWithoutKeys {
        /// What is wrong with its keys.
        why: String,
    },
    /// The name is not resolved.
    Name {
        /// Of which host.
        to: String,
        /// What the resolver said.
        why: String,
        /// Whether there is a proxy, and the name is its.
        is_proxy: bool,
    },
    /// No connection.
    Connection {
        /// With whom.
        to: String,
        /// What the operating system said.
        why: String,
        /// Whether the other end refused it.
        is_refused: bool,
        /// Whether there is a proxy, and it is the other end.
        is_proxy: bool,
    },
    /// A connection broke.
    Broken {
        /// With whom.
        to: String,
        /// What the operating system said.
        why: String,
    },
    /// No trust in the other end, or no common protocol.
    Tls {
        /// Who the other end should be.
        to: String,
        /// What is wrong.
        fault: TlsFault,
        /// The same in words.
        why: String,
    },
    /// No complete answer in time.
    TimedOut {
        /// Of whom.
        to: String,
        /// While what was done.
        during: &'static str,
    },
    /// A redirect; none is followed.
    Redirected {
        /// Of whom.
        to: String,
        /// Where it leads.
        location: String,
    },
    /// Any status but 200.
    Status {
        /// Of whom.
        to: String,
        /// The status.
        status: u16,
    },
    /// More than a document of this kind can have.
    TooLarge {
        /// Of whom.
        to: String,
    },
    /// Not HTTP, or more header lines than HTTP of this kind has.
    NotHttp {
        /// Of whom.
        to: String,
        /// What is wrong with it.
        why: String,
    },
    /// The metadata is not what it should be.
    MetadataMalformed {
        /// Whose it is.
        to: String,
        /// What is wrong with it.
        why: String,
    },
    /// The metadata is another tenant's or another provider's.
    WrongIssuer {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The metadata points to keys elsewhere than at the authority.
    ForeignKeysUrl {
        /// Where it points to.
        found: String,
    },
    /// The key set is none.
    Keys {
        /// Whose it is: a host and port, or `pgaad.jwks_file`.
        to: String,
        /// What is wrong with it.
        error: KeySetError,
        /// The same in words.
        why: String,
    },
    /// The fetch broke down.
    Internal,
}

/// What is wrong with the other end of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// Its certificate is not valid any more.
    Expired,
    /// Its certificate is not valid yet.
    NotYetValid,
    /// Its certificate is another host's.
    WrongName,
    /// Its certificate is from an authority that is not trusted.
    UnknownIssuer,
    /// Its certificate, or the protocol.
    Other,
}

impl FetchError {
    /// A stable name for logs and `pgaad.status`.
    pub fn code(&self) -> String {
        match self {
            Self::CaFile(_) => "ca_file_unusable",
            Self::CaFileNotRead(FileError::NotRegular(_)) => "ca_file_not_regular",
            Self::CaFileNotRead(FileError::TooLarge) => "ca_file_too_large",
            Self::CaFileNotRead(FileError::TimedOut) => "ca_file_timed_out",
            Self::CaFileNotRead(FileError::Missing | FileError::Refused(_)) => "ca_file_unusable",
            Self::NoAuthorities => "no_authorities",
            Self::ProxyUnusable => "proxy_unusable",
            Self::ProxyFailed { .. } => "proxy_failed",
            Self::JwksFileNotRead(FileError::NotRegular(_)) => "jwks_file_not_regular",
            Self::JwksFileNotRead(FileError::TooLarge) => "jwks_file_too_large",
            Self::JwksFileNotRead(FileError::TimedOut) => "jwks_file_timed_out",
            Self::JwksFileNotRead(FileError::Missing | FileError::Refused(_)) => "jwks_file_unreadable",
            Self::JwksFileFromTheFuture => "jwks_file_from_the_future",
            Self::Name { is_proxy: false, .. } => "name_unknown",
            Self::Name { is_proxy: true, .. } => "proxy_name_unknown",
            Self::Connection { is_refused: true, is_proxy: false, .. } => "connection_refused",
            Self::Connection { is_refused: false, is_proxy: false, .. } => "unreachable",
            Self::Connection { is_refused: true, is_proxy: true, .. } => "proxy_connection_refused",
            Self::Connection { is_refused: false, is_proxy: true, .. } => "proxy_unreachable",
            Self::Broken { .. } => "connection_broken",
            Self::Tls { fault, .. } => fault.code(),
            Self::TimedOut { .. } => "timed_out",
            Self::Redirected { .. } => "redirected",
            Self::Status { status, .. } => return format!("http_status_{status}"),
            Self::TooLarge { .. } => "too_large",
            Self::NotHttp { .. } => "not_http",
            Self::MetadataMalformed { .. } => "metadata_malformed",
            Self::WrongIssuer { .. } => "metadata_wrong_issuer",
            Self::ForeignKeysUrl { .. } => "metadata_foreign_keys_url",
            Self::JwksFileWithoutKeys { .. } => "keys_unusable",
            Self::Keys { error, .. } => error.code(),
            Self::Internal => "internal_error",
        }
        .to_owned()
    }

    /// The facts in words, where there are some. May hold what the other end says.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::CaFile(why) => format!("pgaad.ca_file {why}"),
            Self::CaFileNotRead(error) => format!("pgaad.ca_file {error}"),
            Self::NoAuthorities => {
                "this machine has no certificate authorities: install ca-certificates, or set \
                 pgaad.ca_file"
                    .to_owned()
            }
            Self::JwksFileNotRead(error) => format!("pgaad.jwks_file {error}"),
            Self::JwksFileFromTheFuture => {
                "pgaad.jwks_file is dated in the future, so its age cannot be told".to_owned()
            }
            Self::JwksFileWithoutKeys { why } => {
                format!("pgaad.jwks_file {why}; the keys from before are dropped")
            }
            Self::MetadataMalformed { to, why } => format!("{to}: the OpenID metadata {why}"),
            Self::Keys { to, why, .. } => format!("{to}: the key set {why}"),
            Self::Name { to, why, .. }
            | Self::Connection { to, why, .. }
            | Self::Broken { to, why }
            | Self::ProxyFailed { to, why }
            | Self::Tls { to, why, .. }
            | Self::NotHttp { to, why } => format!("{to}: {why}"),
            Self::TimedOut { to, during } => format!("{to}: no answer in time {during}"),
            Self::Redirected { to, location } => format!("{to}: redirected to {location}"),
            Self::Status { to, .. } | Self::TooLarge { to } => to.clone(),
            Self::WrongIssuer { found, expected } => format!("{found} and not {expected}"),
            Self::ForeignKeysUrl { found } => found.clone(),
            Self::ProxyUnusable | Self::Internal => return None,
        })
    }
}

impl TlsFault {
    const fn code(self) -> &'static str {
        match self {
            Self::Expired => "tls_certificate_expired",
            Self::NotYetValid => "tls_certificate_not_yet_valid",
            Self::WrongName => "tls_wrong_name",
            Self::UnknownIssuer => "tls_unknown_issuer",
            Self::Other => "tls_failed",
        }
    }
}
