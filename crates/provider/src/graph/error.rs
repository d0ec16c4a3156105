//! Why the directory was not read, by a stable code and in words.
//!
//! Whoever answers in Graph's place has the secret that it was asked with, and may send it back. So nothing that it
//! says is repeated: only numbers, and words that Microsoft documents.

use std::fmt;

use pgaad_core::json::{Json, Object};

use crate::error::FetchError;
use crate::secret_file::SecretFileError;

/// Why something of the directory was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphError {
    /// A setting is still missing: which.
    NotConfigured(&'static str),
    /// No answer came, of whichever service.
    Fetch(FetchError),
    /// The file of the credential was not read.
    SecretFile(SecretFileError),
    /// The file of the credential is not what its kind must be: the end of a sentence that begins with its name.
    Credential(&'static str),
    /// The identity provider refused the credential.
    TokenRefused {
        /// The status.
        status: u16,
        /// The `error` of RFC 6749 §5.2, where it is a documented one.
        error: Option<&'static str>,
        /// The number of Entra's error, such as 7000215 for a wrong secret.
        number: Option<u32>,
    },
    /// The identity provider's answer is none.
    TokenMalformed,
    /// The machine has no managed identity, or not the one that is named.
    IdentityMissing {
        /// The status.
        status: u16,
    },
    /// Azure Arc's agent names a file that it must not name.
    ArcFile(&'static str),
    /// Graph refuses: the registration has not the permission.
    PermissionMissing,
    /// Graph knows no such group.
    GroupGone,
    /// Graph is asked too much, and says so still after several tries.
    Throttled,
    /// Any other status.
    Status {
        /// The status.
        status: u16,
        /// Graph's code, where it is a documented one.
        code: Option<&'static str>,
    },
    /// A page of the answer is none: what is wrong with it.
    PageMalformed(&'static str),
    /// The next page is said to be elsewhere than at Graph.
    ForeignPage,
    /// The next page is one that was read before.
    RepeatedPage,
    /// The answer has more pages than a group can have.
    TooManyPages,
    /// The group has more members than can be kept.
    TooManyMembers,
    /// All together took too long.
    TimedOut,
}

impl GraphError {
    /// A stable name for logs and `pgaad.directory`.
    pub fn code(&self) -> String {
        match self {
            Self::NotConfigured(_) => "not_configured",
            Self::Fetch(error) => return error.code(),
            Self::SecretFile(_) | Self::Credential(_) => "credential_unusable",
            Self::TokenRefused { .. } => "token_refused",
            Self::TokenMalformed => "token_malformed",
            Self::IdentityMissing { .. } => "identity_missing",
            Self::ArcFile(_) => "arc_file_refused",
            Self::PermissionMissing => "permission_missing",
            Self::GroupGone => "group_gone",
            Self::Throttled => "throttled",
            Self::Status { status, .. } => return format!("http_status_{status}"),
            Self::PageMalformed(_) => "page_malformed",
            Self::ForeignPage => "page_elsewhere",
            Self::RepeatedPage => "page_repeated",
            Self::TooManyPages => "too_many_pages",
            Self::TooManyMembers => "too_many_members",
            Self::TimedOut => "timed_out",
        }
        .to_owned()
    }

    /// The facts in words, where there are some.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::NotConfigured(setting) => format!("{setting} is not set"),
            Self::Fetch(error) => return error.words(),
            Self::SecretFile(error) => format!("the file of pgaad.directory_credential {error}"),
            Self::Credential(why) => format!("the file of pgaad.directory_credential {why}"),
            Self::TokenRefused { status, error, number } => {
                let number = number.map(|number| format!(", AADSTS{number}")).unwrap_or_default();
                format!("the identity provider answered {status} {}{number}", error.unwrap_or_default())
            }
            Self::IdentityMissing { status } => {
                format!("the machine's identity service answered {status}: is an identity assigned to it?")
            }
            Self::ArcFile(why) => format!("Azure Arc's agent names a file that {why}"),
            Self::PermissionMissing => {
                "the registration has not the permission, or no admin consent".to_owned()
            }
            Self::Status { status, code: Some(code) } => format!("Graph answered {status} {code}"),
            Self::PageMalformed(why) => format!("a page {why}"),
            Self::TokenMalformed
            | Self::GroupGone
            | Self::Throttled
            | Self::Status { .. }
            | Self::ForeignPage
            | Self::RepeatedPage
            | Self::TooManyPages
            | Self::TooManyMembers
            | Self::TimedOut => return None,
        })
    }

    /// Whether every other question would end alike: it is not worth asking.
    pub fn is_of_all(&self) -> bool {
        match self {
            Self::NotConfigured(_)
            | Self::Fetch(_)
            | Self::SecretFile(_)
            | Self::Credential(_)
            | Self::TokenRefused { .. }
            | Self::TokenMalformed
            | Self::IdentityMissing { .. }
            | Self::ArcFile(_)
            | Self::Throttled
            | Self::TimedOut => true,
            Self::PermissionMissing
            | Self::GroupGone
            | Self::Status { .. }
            | Self::PageMalformed(_)
            | Self::ForeignPage
            | Self::RepeatedPage
            | Self::TooManyPages
            | Self::TooManyMembers => false,
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code())
    }
}

impl std::error::Error for GraphError {}

impl From<FetchError> for GraphError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl From<SecretFileError> for GraphError {
    fn from(error: SecretFileError) -> Self {
        Self::SecretFile(error)
    }
}

/// The codes of RFC 6749 §5.2 and of Entra
/// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes>).
const OAUTH_ERRORS: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_resource",
    "temporarily_unavailable",
    "server_error",
];

/// Codes of Graph (<https://learn.microsoft.com/graph/errors>).
const GRAPH_CODES: [&str; 9] = [
    "Authorization_RequestDenied",
    "Authentication_Unauthorized",
    "InvalidAuthenticationToken",
    "Request_BadRequest",
    "Request_ResourceNotFound",
    "Request_UnsupportedQuery",
    "ServiceNotAvailable",
    "TooManyRequests",
    "UnknownError",
];

/// What a refusal of the token endpoint says.
pub(super) fn of_token_endpoint(status: u16, document: &[u8]) -> GraphError {
    let object = Object::read(document).unwrap_or_default();
    let said = object.member("error").and_then(Json::as_text);
    let error = OAUTH_ERRORS.into_iter().find(|known| said == Some(known));
    let numbers = object.member("error_codes").and_then(Json::as_array).unwrap_or_default();
    let number = match numbers.first() {
        // Entra's have five to seven digits.
        Some(Json::Integer(number)) => u32::try_from(*number).ok().filter(|number| *number < 100_000_000),
        _ => None,
    };
    GraphError::TokenRefused { status, error, number }
}

/// What a refusal of Graph's says.
pub(super) fn of_graph(status: u16, document: &[u8]) -> GraphError {
    let object = Object::read(document).unwrap_or_default();
    let error = object.member("error").and_then(Json::as_object);
    let said = error.and_then(|error| error.member("code")).and_then(Json::as_text);
    match status {
        403 => GraphError::PermissionMissing,
        429 => GraphError::Throttled,
        _ => GraphError::Status { status, code: GRAPH_CODES.into_iter().find(|known| said == Some(known)) },
    }
}

/// A group that Graph does not know is gone; any other error stays.
pub(super) fn of_group(error: GraphError) -> GraphError {
    match error {
        GraphError::Status { status: 404 | 410, .. } => GraphError::GroupGone,
        error => error,
    }
}
