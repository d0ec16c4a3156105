//! Why there are no keys, by a stable code and in words.

use pgaad_core::keys::KeySetError;

use crate::file::FileError;

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
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
    pub fn code(self) -> String {
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
    pub fn words(self) -> Option<String> {
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
