//! The checks of an access token, in the order of the specification: the signature, then every claim.

use std::borrow::Cow;
use std::iter;
use std::time::Duration;

use crate::claims::{self, Claims, Identity};
use crate::guid::ClientId;
use crate::keys::{ForeignKey, SigningKey};
use crate::kind::Kind;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::steps::Step;
use crate::tenant::Tenant;
use crate::time::UnixTime;
use crate::token::{SignedPayload, UnverifiedToken};

/// Longest time between `nbf` and `exp`. A sanity bound only: continuous-access tokens live 28 hours and five minutes.
const MAX_LIFETIME: i64 = 32 * 60 * 60;

/// What a token is measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// The tenant whose tokens are accepted: the first of `pgaad.tenant_id`, or the one that a token chose.
    pub tenant: Tenant,
    /// Further tenants whose tokens are accepted, each by the same rules.
    pub others: Vec<Tenant>,
    /// Whether the tenant is the first of `pgaad.tenant_id`: names count of that one only.
    pub is_home: bool,
    /// The accepted audiences; none accepts nothing.
    pub audiences: Vec<String>,
    /// The accepted scopes of a user's token, one of which it must have; none accepts any (`pgaad.scope`).
    pub scopes: Vec<String>,
    /// The scopes that the matched line of `pg_hba.conf` asks for, all of which a user's token must have.
    pub line_scopes: Vec<String>,
    /// By how much the clocks of Entra and this server may differ.
    pub clock_skew: Duration,
}

impl TokenPolicy {
    /// All tenants whose tokens are accepted, the first one first.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        iter::once(&self.tenant).chain(&self.others)
    }

    /// The policy of one of the tenants.
    pub fn of(&self, tenant: &Tenant) -> Cow<'_, Self> {
        if *tenant == self.tenant {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { tenant: tenant.clone(), others: Vec::new(), is_home: false, ..self.clone() })
    }

    /// The policy by which a token is measured: that of the tenant which it says it is of, or else the first one's.
    ///
    /// Nobody vouches for what it says. It only chooses: every check is made against the chosen tenant.
    pub(crate) fn for_token(&self, token: &UnverifiedToken<'_>) -> Cow<'_, Self> {
        let named = || token.unverified_tenant();
        let chosen = if self.others.is_empty() { None } else { named() }
            .and_then(|named| self.others.iter().find(|tenant| tenant.id() == named));
        self.of(chosen.unwrap_or(&self.tenant))
    }
}

/// The claims of a token that passed every check. [`verify`] is the only maker.
#[derive(Debug)]
pub(crate) struct VerifiedClaims {
    pub(crate) claims: Claims,
    pub(crate) identity: Identity,
    pub(crate) key_id: String,
    payload: SignedPayload,
}

impl VerifiedClaims {
    /// The payload as JSON text, for `pgaad.claims()`: an object, no member named twice, no U+0000 in a string.
    pub(crate) fn json(&self) -> &str {
        std::str::from_utf8(self.payload.as_bytes()).unwrap_or_default()
    }

    /// When the token ends, skew not added.
    pub(crate) fn expires_at(&self) -> UnixTime {
        self.claims.exp
    }
}

/// Verifies a token: that `key` signed it, and that it is an access token of the policy's tenant, for
/// one of its audiences, valid at `now`.
///
/// # Errors
/// The first check that fails: first the signature, then the checks of the table.
pub(crate) fn verify(
    token: UnverifiedToken<'_>,
    key: &SigningKey,
    policy: &TokenPolicy,
    now: UnixTime,
) -> Result<VerifiedClaims, Refusal> {
    // 0. The signature, by the very key the header names (RFC 7515 §5.2).
    if !key.matches(token.key_name()) {
        return Err(Reason::BadSignature.into());
    }
    let payload = token.verify_signature(key)?;
    if !payload.is_typed() {
        return Err(Reason::HeaderInvalid { member: "typ" }.into());
    }
    let claims = Claims::read(payload.as_bytes())?;

    let case = TokenCase { claims: &claims, key: Ok(key), policy, now };
    let passed = CHECKS.iter().try_for_each(|(_, check)| check(&case));
    match passed.and_then(|()| identify(&claims, policy)) {
        Ok(identity) => Ok(VerifiedClaims { identity, key_id: key.kid().to_owned(), claims, payload }),
        Err(reason) => Err(Refusal { reason, subject: Some(Box::new(claims.subject(key.kid()))) }),
    }
}

/// What the checks of a token look at.
pub(crate) struct TokenCase<'a> {
    pub(crate) claims: &'a Claims,
    /// The key that signed, or why it is not known: only an explanation goes on without one.
    pub(crate) key: Result<&'a SigningKey, Reason>,
    pub(crate) policy: &'a TokenPolicy,
    pub(crate) now: UnixTime,
}

/// One check: the step that it is a part of, and the function.
pub(crate) type TokenCheck = (Step, fn(&TokenCase<'_>) -> Result<(), Reason>);

/// The checks of a token whose signature is good and whose claims can be read, in the order of a login.
pub(crate) const CHECKS: [TokenCheck; 8] = [
    (Step::Issuer, check_issuer),
    (Step::Tenant, check_tenant),
    (Step::Key, check_key_issuer),
    (Step::Audience, check_audience),
    (Step::Time, check_time),
    (Step::Kind, check_identity),
    (Step::Kind, check_bearer),
    (Step::Scope, check_scope),
];

/// `iss` is one of the tenant's two issuers, and `ver` the version that goes with it.
fn check_issuer(TokenCase { claims, policy, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    let version = match claims.iss.as_str() {
        iss if iss == policy.tenant.v1_issuer() => claims::V1,
        iss if iss == policy.tenant.v2_issuer() => claims::V2,
        _ => return Err(Reason::IssuerUnknown { iss: claims.iss.clone() }),
    };
    if claims.ver == version { Ok(()) } else { Err(Reason::VersionMismatch) }
}

/// `tid` is the tenant; the one inside `iss` was compared with it.
fn check_tenant(TokenCase { claims, policy, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    if claims.tid == policy.tenant.id() { Ok(()) } else { Err(Reason::WrongTenant) }
}

/// The key's own issuer is the tenant's, v2 whatever the token's version, and the key is one of the tenant's cloud.
fn check_key_issuer(TokenCase { key, policy, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    key_signs_for(key.clone()?, &policy.tenant)
}

/// Whether `key` may sign for `tenant`, see [`SigningKey::signs_for`].
pub(crate) fn key_signs_for(key: &SigningKey, tenant: &Tenant) -> Result<(), Reason> {
    key.signs_for(tenant).map_err(|ForeignKey { member, found, wanted }| Reason::KeyIssuerMismatch {
        member,
        found,
        wanted,
    })
}

/// One of the audiences is accepted (RFC 7519 §4.1.3).
fn check_audience(TokenCase { claims, policy, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    if audience_allows(&claims.aud, &policy.audiences) {
        return Ok(());
    }
    Err(Reason::WrongAudience { aud: claims.aud.join(" ") })
}

/// The token is valid now (RFC 7519 §4.1.4, §4.1.5), and not for longer than Entra's tokens are.
fn check_time(TokenCase { claims, policy, now, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    let now = *now;
    let lifetime = claims.exp.since(claims.nbf);
    if !(1..=MAX_LIFETIME).contains(&lifetime) {
        return Err(Reason::LifetimeInvalid { seconds: lifetime });
    }
    if now < claims.nbf.minus(policy.clock_skew) {
        return Err(Reason::NotYetValid { nbf: claims.nbf, now });
    }
    if now >= claims.exp.plus(policy.clock_skew) {
        return Err(Reason::Expired { exp: claims.exp, now });
    }
    Ok(())
}

/// The token is an access token of one kind, issued for somebody.
fn check_identity(TokenCase { claims, policy, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    identify(claims, policy).map(drop)
}

/// Whom the token was issued for.
pub(crate) fn identify(claims: &Claims, policy: &TokenPolicy) -> Result<Identity, Reason> {
    let object_id = claims.oid.ok_or(Reason::NoObjectId)?;
    let client_id = claims.client_id().ok_or(Reason::NotAnAccessToken)?;
    let kind = claims.kind()?;
    let is_guest = is_guest(claims, policy);
    Ok(Identity { object_id, client_id, kind, is_guest, is_home: policy.is_home })
}

/// Whether the holder is a guest: signed in by another identity provider, or said to be one (`acct`).
fn is_guest(claims: &Claims, policy: &TokenPolicy) -> bool {
    let is_foreign = |idp: &String| !policy.tenant.is_own_identity_provider(idp);
    claims.idp.as_ref().is_some_and(is_foreign) || claims.acct.is_some_and(|status| status != 0)
}

/// The token is a bearer token.
///
/// One that is bound to a key (`cnf`, RFC 7800) is worth nothing without a proof of that key, for which there is no
/// room in a password; to take it as a bearer token is forbidden (RFC 9449 §7.2).
fn check_bearer(TokenCase { claims, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    if claims.has_cnf { Err(Reason::ProofOfPossession) } else { Ok(()) }
}

/// A user's token has an accepted scope: what the user let the client do (RFC 9068 §2.2.3). A program's has none.
fn check_scope(TokenCase { claims, policy, .. }: &TokenCase<'_>) -> Result<(), Reason> {
    let scp = claims.scp.as_deref().unwrap_or_default();
    let has = |wanted: &String| scp.split_whitespace().any(|scope| scope == wanted);
    let is_accepted = policy.scopes.is_empty() || policy.scopes.iter().any(has);
    if claims.kind()? == Kind::Service || (is_accepted && policy.line_scopes.iter().all(has)) {
        return Ok(());
    }
    let wanted = if is_accepted { &policy.line_scopes } else { &policy.scopes };
    Err(Reason::WrongScope { scp: scp.to_owned(), wanted: wanted.join(" ") })
}

/// The scopes of this server's own application among those that an `oauth` line of `pg_hba.conf` asks for:
/// `api://<client id>/db.access` names one for the audiences `api://<client id>` and `<client id>`. `/.default` stands
/// for whatever the client was granted and names none; `openid` and its like are of no application.
pub fn scopes_of_line(scope: &str, audiences: &[String]) -> Vec<String> {
    let named = |entry| audiences.iter().find_map(|audience| scope_of(bare(audience), entry));
    scope.split_whitespace().filter_map(named).map(str::to_owned).collect()
}

/// The scope of the application `audience` that `entry` names.
fn scope_of<'a>(audience: &str, entry: &'a str) -> Option<&'a str> {
    let own = entry.strip_prefix(audience).or_else(|| behind_client_id(audience, entry))?;
    // Entra repeats the slash that may end an audience.
    let scope = own.strip_prefix('/')?.trim_start_matches('/');
    (!scope.is_empty() && scope != ".default").then_some(scope)
}

/// What follows the client id `audience`; the id and its `api://` form are one application.
fn behind_client_id<'a>(audience: &str, entry: &'a str) -> Option<&'a str> {
    let id = audience.strip_prefix("api://").unwrap_or(audience);
    id.parse::<ClientId>().ok()?;
    let (head, rest) = entry.strip_prefix("api://").unwrap_or(entry).split_at_checked(id.len())?;
    head.eq_ignore_ascii_case(id).then_some(rest)
}

/// Whether one of the token's audiences is accepted. Exact, except for one trailing slash of a
/// resource URI, which Entra repeats or leaves out as the client asked for it.
fn audience_allows(found: &[String], accepted: &[String]) -> bool {
    found.iter().any(|audience| {
        !audience.is_empty() && accepted.iter().any(|accepted| bare(accepted) == bare(audience))
    })
}

/// An audience without the slash that may end a resource URI.
fn bare(audience: &str) -> &str {
    audience.strip_suffix('/').filter(|uri| uri.contains("://")).unwrap_or(audience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_scopes_of_the_accepted_audiences_only() {
        const ID: &str = "123cd850-d9df-40bd-94d5-c9f07b7fa203";
        let named = |scope: &str, audience: &str| {
            scopes_of_line(&scope.replace("ID", ID), &[audience.replace("ID", ID)])
        };
        for audience in ["ID", "api://ID", "api://ID/"] {
            assert_eq!(named("api://ID/db.access", audience), ["db.access"], "{audience}");
            assert_eq!(named("ID/db.access", audience), ["db.access"], "{audience}");
        }
        assert_eq!(
            named("https://db.example//user_impersonation", "https://db.example/"),
            ["user_impersonation"]
        );
        assert_eq!(named("openid api://pgaad/a api://pgaad/b email", "api://pgaad"), ["a", "b"]);
        for none in
            ["api://ID/.default", "ID/.default", "ID", "api://ID", "ID/", "openid", "db.access", "", "IDx/a"]
        {
            assert_eq!(named(none, "ID"), [""; 0], "{none}");
        }
        assert_eq!(named("api://other/db.access", "api://pgaad"), [""; 0]);
        assert_eq!(named("pgaad/db.access", "api://pgaad"), [""; 0], "free names are compared as they are");
    }
}
