//! Every "no" this extension can say: a stable code, the facts for the log, and the little the client may know.

use std::fmt;

use crate::event::LogLine;
use crate::guid::{ClientId, ObjectId, TenantId};
use crate::principal::Kind;
use crate::time::UnixTime;

/// What a client that is turned away is told.
///
/// Kept very small on purpose: a new way to tell a stranger something has to be a new variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicAnswer {
    /// SQLSTATE 28P01, the same for every token and every role: it failed, but not why (as
    /// PostgreSQL's own `auth_failed` in `auth.c`).
    Failed,
    /// SQLSTATE 28P01, with the reason: the token is a genuine one of this tenant's and has expired.
    /// Whoever holds one can read the same in it.
    TokenExpired,
    /// SQLSTATE 28P01, with the reason: the token is a genuine one of this tenant's for another resource.
    TokenForAnotherResource,
    /// SQLSTATE 28000: the connection is not encrypted. Said before a token is asked for, and to
    /// everybody, so it tells nothing about a role.
    EncryptionRequired,
}

/// A claim as it is named in the token, for the log.
pub type ClaimName = &'static str;

macro_rules! refusals {
    ($( $(#[doc = $doc:literal])+ $variant:ident $({ $($(#[$field_doc:meta])* $field:ident : $type:ty),+ $(,)? })? => $code:literal; )+) => {
        /// Why a login was refused. Carries typed facts, never a piece of a token's text; claims only of tokens
        /// whose signature was good.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Refusal {
            $( $(#[doc = $doc])+ $variant $({ $($(#[$field_doc])* $field: $type),+ })?, )+
        }

        impl Refusal {
            /// The stable name of the refusal, for logs, views and documents. Never renamed.
            pub const fn code(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $code, )+ }
            }

            /// All codes with their meaning, in the order of the straight line: the source of the
            /// table in the README.
            pub const CODES: &'static [(&'static str, &'static str)] =
                &[ $( ($code, concat!($($doc),+)), )+ ];
        }
    };
}

refusals! {
    /// a setting that every decision needs is empty: `pgaad.tenant_id`
    NotConfigured => "not_configured";
    /// a setting has a value that cannot be used; the log and `pgaad.status` name it
    SettingInvalid {
        /// The setting's full name.
        setting: &'static str,
    } => "setting_invalid";
    /// the connection is neither encrypted nor local, and `pgaad.require_tls` is on; said before the token is asked for
    EncryptionRequired => "tls_required";
    /// the client sent an empty password
    NoToken => "no_token";
    /// the password is longer than `pgaad.max_token_bytes`
    TokenTooLarge {
        /// Bytes received.
        bytes: usize,
    } => "token_too_large";
    /// the password is not three base64url parts whose first is a JSON object (RFC 7515 §7.1)
    Malformed => "malformed_token";
    /// a header member is missing, has the wrong type or an unusable value (RFC 7515 §4.1)
    HeaderInvalid {
        /// The member.
        member: &'static str,
    } => "header_invalid";
    /// the header names an extension that must be understood, and none is (RFC 7515 §4.1.11)
    CriticalHeader => "critical_header";
    /// the header has a member that no Entra access token needs: embedded or linked keys, compression, nesting, unknown ones
    ForbiddenHeader {
        /// The member, when it is one we know; `other` otherwise.
        member: &'static str,
    } => "forbidden_header";
    /// the header's `alg` is not RS256
    UnsupportedAlgorithm => "unsupported_algorithm";
    /// there are no keys yet: the provider has not answered and there is no usable `keys.json`
    NoKeys => "no_keys";
    /// the keys are older than `pgaad.max_stale`
    KeysStale {
        /// Their age.
        age_seconds: i64,
    } => "keys_stale";
    /// no key of the tenant has the token's key id, also after a fetch where one was allowed
    KeyUnknown {
        /// Number of keys known.
        keys: usize,
        /// Their age.
        age_seconds: i64,
    } => "key_unknown";
    /// the signature is not the key's (RFC 7515 §5.2)
    BadSignature => "bad_signature";
    /// the payload is not a JSON object without duplicates
    PayloadInvalid => "payload_invalid";
    /// a required claim is missing
    ClaimMissing {
        /// The claim.
        claim: ClaimName,
    } => "claim_missing";
    /// a claim has the wrong type or cannot be read
    ClaimInvalid {
        /// The claim.
        claim: ClaimName,
    } => "claim_invalid";
    /// `iss` is none of the tenant's two issuers
    IssuerUnknown {
        /// The token's.
        iss: String,
    } => "issuer_unknown";
    /// `ver` does not belong to the issuer
    VersionMismatch => "version_mismatch";
    /// `tid` is not `pgaad.tenant_id`
    WrongTenant {
        /// The token's.
        tid: TenantId,
    } => "wrong_tenant";
    /// the key that signed belongs to another issuer, such as that of consumer accounts
    KeyIssuerMismatch => "key_issuer_mismatch";
    /// `aud` holds no accepted audience
    WrongAudience {
        /// The token's, separated by spaces.
        aud: String,
    } => "wrong_audience";
    /// `exp` is past by more than `pgaad.clock_skew`
    Expired {
        /// The claim.
        exp: UnixTime,
        /// The server's clock.
        now: UnixTime,
    } => "expired";
    /// `nbf` is ahead by more than `pgaad.clock_skew`
    NotYetValid {
        /// The claim.
        nbf: UnixTime,
        /// The server's clock.
        now: UnixTime,
    } => "not_yet_valid";
    /// `exp` is not after `nbf`, or more than 32 hours after it
    LifetimeInvalid {
        /// `exp` − `nbf`.
        seconds: i64,
    } => "lifetime_invalid";
    /// the token has no `oid`
    NoObjectId => "no_object_id";
    /// the token names no application (`appid`, `azp`): an ID token or another thing that is no access token
    NotAnAccessToken => "not_an_access_token";
    /// the token is neither clearly a user's nor clearly a program's
    KindUnknown => "kind_unknown";
    /// the role's name cannot be compared: it is not UTF-8, or as long as PostgreSQL cuts names, so that it may be a piece of another one
    NameTooLong => "name_too_long";
    /// the role does not exist
    RoleMissing => "role_missing";
    /// the role is not a direct member of `azure_ad_user`
    RoleNotMember => "role_not_member";
    /// the role may not log in (`NOLOGIN`)
    RoleNologin => "role_nologin";
    /// the role's `VALID UNTIL` is past
    RoleExpired => "role_expired";
    /// the role is a superuser and `pgaad.allow_superuser` is off
    RoleSuperuser => "role_superuser";
    /// the role's security label cannot be read, or names another tenant
    LabelUnusable => "label_unusable";
    /// the role is bound to another object id
    PrincipalMismatch {
        /// The token's.
        oid: ObjectId,
    } => "principal_mismatch";
    /// the role is bound to the other kind: a user's token for a service, or the reverse
    KindMismatch {
        /// The token's.
        kind: Kind,
    } => "kind_mismatch";
    /// the token's groups do not hold the role's group
    NotInGroup {
        /// The role's group.
        group: ObjectId,
    } => "not_in_group";
    /// the token says that its groups did not fit, so membership cannot be told (group overage)
    GroupsOverage => "groups_overage";
    /// no rule binds this role to this token: the names differ, or matching by name does not apply
    RoleNotBound {
        /// The token's, for the statement that would bind the role.
        oid: ObjectId,
        /// The token's application.
        client_id: ClientId,
        /// The token's.
        kind: Kind,
        /// The token's group, when it names one and no more.
        group: Option<ObjectId>,
    } => "role_not_bound";
    /// the role demands multi-factor authentication and the token's `amr` does not say `mfa`
    MfaMissing => "mfa_missing";
    /// the role demands multi-factor authentication and the token carries no `amr`, as v2 tokens never do
    MfaUnknown => "mfa_unknown";
    /// the role is a member of `azure_ad_user` and its `pg_hba.conf` line is `trust` while `pgaad.allow_trust` is off
    TrustNotAllowed => "trust_not_allowed";
    /// the role is a member of `azure_ad_user` and its `pg_hba.conf` line asks for no token
    MethodNotAllowed => "method_not_allowed";
    /// the role is not a member of `azure_ad_user` and came over a `trust` line from another machine (`pgaad.guard_trust`)
    TrustLineGuard => "trust_line_guard";
    /// the PAM service let the client in without asking pgaad for this very role; its file must name `pgaad.so` in `auth` and `account`
    NotDecided => "not_decided";
    /// `pgaad.session_end` is `token`, and there are too many sessions to watch over
    SessionsFull => "sessions_full";
    /// the decision did not come to an end; the server's log has the cause
    InternalError => "internal_error";
}

impl Refusal {
    /// What the client is told.
    pub const fn public_answer(&self) -> PublicAnswer {
        match self {
            Self::EncryptionRequired => PublicAnswer::EncryptionRequired,
            // Both are checked after the signature, the issuer and the tenant, and before the role.
            Self::Expired { .. } => PublicAnswer::TokenExpired,
            Self::WrongAudience { .. } => PublicAnswer::TokenForAnotherResource,
            _ => PublicAnswer::Failed,
        }
    }

    /// Adds the facts to a log line, but for those that the token's bearer has anyway.
    #[must_use]
    pub fn facts(&self, line: LogLine) -> LogLine {
        match self {
            Self::SettingInvalid { setting } => line.fact("setting", setting),
            Self::TokenTooLarge { bytes } => line.fact("bytes", bytes),
            Self::HeaderInvalid { member } | Self::ForbiddenHeader { member } => line.fact("member", member),
            Self::KeysStale { age_seconds } => line.fact("key_age_s", age_seconds),
            Self::KeyUnknown { keys, age_seconds } => line.fact("keys", keys).fact("key_age_s", age_seconds),
            Self::ClaimMissing { claim } | Self::ClaimInvalid { claim } => line.fact("claim", claim),
            Self::IssuerUnknown { iss } => line.quoted("iss", iss),
            Self::WrongAudience { aud } => line.quoted("aud", aud),
            Self::Expired { exp, now } => {
                line.fact("exp", exp).fact("now", now).fact("ago_s", now.since(*exp))
            }
            Self::NotYetValid { nbf, now } => {
                line.fact("nbf", nbf).fact("now", now).fact("ahead_s", nbf.since(*now))
            }
            Self::LifetimeInvalid { seconds } => line.fact("lifetime_s", seconds),
            Self::NotInGroup { group } => line.fact("group", group),
            _ => line,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_snake_case() {
        let mut codes: Vec<_> = Refusal::CODES.iter().map(|(code, _)| *code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn the_readme_lists_every_code_with_its_meaning_and_no_other() {
        let readme = include_str!("../../README.md");
        let rows = Refusal::CODES.iter().map(|(code, meaning)| format!("| `{code}` |{meaning} |\n"));
        let table = format!("| code | meaning |\n|---|---|\n{}\n", rows.collect::<String>());
        assert!(readme.contains(&table), "the README should hold this table:\n{table}");
    }

    #[test]
    fn strangers_are_told_of_the_missing_encryption_only_and_holders_of_genuine_tokens_a_little_more() {
        let time = UnixTime::new(0);
        let expired = Refusal::Expired { exp: time, now: time };
        assert_eq!(expired.public_answer(), PublicAnswer::TokenExpired);
        let told = |refusal: &Refusal| refusal.public_answer() != PublicAnswer::Failed;
        assert!(told(&Refusal::WrongAudience { aud: String::new() }));
        assert!(!told(&Refusal::NotYetValid { nbf: time, now: time }));
        assert!(!told(&Refusal::IssuerUnknown { iss: String::new() }));
        assert_eq!(Refusal::EncryptionRequired.public_answer(), PublicAnswer::EncryptionRequired);
        assert_eq!(Refusal::RoleMissing.public_answer(), PublicAnswer::Failed);
        assert_eq!(Refusal::BadSignature.public_answer(), PublicAnswer::Failed);
    }
}
