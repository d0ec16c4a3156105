//! The claims of a signed payload, each with its type, in Entra's words
//! (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>).

use std::str::FromStr;

use crate::guid::{ClientId, ObjectId, TenantId};
use crate::json::{Json, Object};
use crate::kind::Kind;
use crate::reason::{ClaimName, Reason};
use crate::subject::TokenSubject;
use crate::time::UnixTime;

/// The claims as they stand in the payload: types are right, nothing is compared to anything yet.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: Vec<String>,
    pub(crate) exp: UnixTime,
    pub(crate) nbf: UnixTime,
    /// `iat`; `nbf`, which Entra writes alike, where the token does not say.
    pub(crate) issued_at: UnixTime,
    pub(crate) tid: TenantId,
    pub(crate) oid: Option<ObjectId>,
    pub(crate) ver: String,
    pub(crate) idtyp: Option<String>,
    pub(crate) scp: Option<String>,
    pub(crate) appid: Option<ClientId>,
    pub(crate) azp: Option<ClientId>,
    pub(crate) upn: Option<String>,
    pub(crate) unique_name: Option<String>,
    pub(crate) preferred_username: Option<String>,
    pub(crate) uti: Option<String>,
    /// `None` when there is no such claim.
    pub(crate) groups: Option<Vec<String>>,
    pub(crate) groups_overage: bool,
    /// App roles, by their values.
    pub(crate) roles: Option<Vec<String>>,
    pub(crate) amr: Option<Vec<String>>,
    /// The identity provider that signed the user in, where the token says so.
    pub(crate) idp: Option<String>,
    /// `acct`: 0 for a member of the tenant, 1 for a guest.
    pub(crate) acct: Option<i64>,
    /// Whether an agent of Entra Agent ID acts: it is the program that the token was given to.
    pub(crate) is_agents: bool,
    /// Whether there is a `cnf`, whatever it says (RFC 7800 §3.1).
    pub(crate) has_cnf: bool,
}

impl Claims {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`Reason::PayloadInvalid`] unless it is one JSON object without duplicate members (RFC 7519 §7.2),
    /// [`Reason::ClaimMissing`] and [`Reason::ClaimInvalid`] for the first claim that is.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Reason> {
        let object = Object::read(payload).ok_or(Reason::PayloadInvalid)?;
        let claims = Reader { object: &object };
        let nbf = claims.time("nbf")?;
        let read = Self {
            iss: claims.required("iss", claims.text("iss")?)?,
            aud: claims.required("aud", claims.text_or_texts("aud")?)?,
            exp: claims.required("exp", claims.time("exp")?)?,
            nbf: claims.required("nbf", nbf)?,
            issued_at: claims.required("nbf", claims.time("iat")?.or(nbf))?,
            tid: claims.required("tid", claims.id("tid")?)?,
            oid: claims.id("oid")?,
            ver: claims.required("ver", claims.text("ver")?)?,
            idtyp: claims.text("idtyp")?,
            scp: claims.text("scp")?,
            appid: claims.id("appid")?,
            azp: claims.id("azp")?,
            upn: claims.text("upn")?,
            unique_name: claims.text("unique_name")?,
            preferred_username: claims.text("preferred_username")?,
            uti: claims.text("uti")?,
            groups: claims.texts("groups")?,
            groups_overage: claims.groups_overage()?,
            roles: claims.texts("roles")?,
            amr: claims.texts("amr")?,
            idp: claims.text("idp")?,
            acct: claims.account_status()?,
            is_agents: claims.names_an_agent(),
            has_cnf: object.member("cnf").is_some(),
        };
        // Not used in the decision, but a token that has them wrong is not one of Entra's.
        claims.text("sub")?;
        Ok(read)
    }
}

/// Who a token belongs to, and what kind of token it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) object_id: ObjectId,
    pub(crate) client_id: ClientId,
    pub(crate) kind: Kind,
    pub(crate) is_guest: bool,
    /// Of the first tenant of `pgaad.tenant_id`.
    pub(crate) is_home: bool,
}

/// `ver` of a token of version 1.
pub(crate) const V1: &str = "1.0";
/// `ver` of a token of version 2.
pub(crate) const V2: &str = "2.0";

/// What is called otherwise in each version of a token.
impl Claims {
    /// The user's name: `upn` or `preferred_username`.
    pub(crate) fn user_name(&self) -> Option<&str> {
        if self.ver == V1 { self.upn.as_deref() } else { self.preferred_username.as_deref() }
    }

    /// The application that the token was given to: `appid` or `azp`.
    pub(crate) fn client_id(&self) -> Option<ClientId> {
        if self.ver == V1 { self.appid } else { self.azp }
    }

    /// The agent that acts, for itself or for the user whose token it is.
    pub(crate) fn agent(&self) -> Option<ClientId> {
        self.client_id().filter(|_| self.is_agents)
    }

    /// A user's token or a program's: decided by `idtyp` where it is, by what the token carries where it is not.
    pub(crate) fn kind(&self) -> Result<Kind, Reason> {
        let names_a_user =
            [&self.upn, &self.unique_name, &self.preferred_username].iter().any(|n| n.is_some());
        let delegated = self.scp.as_ref().is_some_and(|scp| !scp.trim().is_empty());
        match self.idtyp.as_deref() {
            Some("app") if !delegated => Ok(Kind::Service),
            Some("user") | None if delegated => Ok(Kind::User),
            None if self.scp.is_none() && !names_a_user => Ok(Kind::Service),
            _ => Err(Reason::KindUnknown),
        }
    }

    /// Whom the token names, for the log: `kid` is the id of the key that signed it.
    pub(crate) fn subject(&self, kid: &str) -> TokenSubject {
        TokenSubject {
            kind: self.kind().ok().map(|kind| kind.to_string()),
            tid: self.tid.to_string(),
            oid: self.oid.map(|oid| oid.to_string()),
            upn: self.user_name().map(str::to_owned),
            appid: self.client_id().map(|id| id.to_string()),
            agent: self.agent().map(|id| id.to_string()),
            aud: self.aud.join(" "),
            kid: kid.to_owned(),
            uti: self.uti.clone(),
        }
    }
}

struct Reader<'a> {
    object: &'a Object<'a>,
}

impl Reader<'_> {
    fn required<T>(&self, claim: ClaimName, value: Option<T>) -> Result<T, Reason> {
        value.ok_or(Reason::ClaimMissing { claim })
    }

    fn text(&self, claim: ClaimName) -> Result<Option<String>, Reason> {
        self.read(claim, |value| value.as_text().map(str::to_owned))
    }

    fn id<T: FromStr>(&self, claim: ClaimName) -> Result<Option<T>, Reason> {
        self.read(claim, |value| value.as_text()?.parse().ok())
    }

    /// A NumericDate in whole seconds, as Entra writes it; fractions and exponents are refused.
    fn time(&self, claim: ClaimName) -> Result<Option<UnixTime>, Reason> {
        self.read(claim, |value| match value {
            Json::Integer(seconds) if *seconds >= 0 => Some(UnixTime::new(*seconds)),
            _ => None,
        })
    }

    fn texts(&self, claim: ClaimName) -> Result<Option<Vec<String>>, Reason> {
        self.read(claim, |value| {
            value.as_array()?.iter().map(|item| item.as_text().map(str::to_owned)).collect()
        })
    }

    /// `aud` is one string or an array of strings (RFC 7519 §4.1.3).
    fn text_or_texts(&self, claim: ClaimName) -> Result<Option<Vec<String>>, Reason> {
        match self.object.member(claim) {
            Some(Json::Text(text)) => Ok(Some(vec![text.clone().into_owned()])),
            _ => self.texts(claim),
        }
    }

    /// `xms_act_fct`, facets of who acts, separated by blanks: 11 is an agent identity
    /// (<https://learn.microsoft.com/entra/agent-id/identity-platform/agent-token-claims>). It is shown and decides
    /// nothing, so a claim of another form says nothing.
    fn names_an_agent(&self) -> bool {
        let facets = self.object.member("xms_act_fct").and_then(Json::as_text).unwrap_or_default();
        facets.split_whitespace().any(|facet| facet == "11")
    }

    /// `acct`, which Entra writes as a number and some claims mappings as text.
    fn account_status(&self) -> Result<Option<i64>, Reason> {
        self.read("acct", |value| match value {
            Json::Integer(status) => Some(*status),
            Json::Text(status) => status.parse().ok(),
            _ => None,
        })
    }

    /// Group overage: the groups did not fit and are to be asked for elsewhere. Said by
    /// `_claim_names.groups`, or by `hasgroups` in tokens of the implicit flow.
    fn groups_overage(&self) -> Result<bool, Reason> {
        let named = self.read("_claim_names", |value| Some(value.as_object()?.member("groups").is_some()))?;
        let hinted = self.read("hasgroups", |value| match value {
            Json::Bool(hint) => Some(*hint),
            Json::Text(text) => text.parse().ok(),
            _ => None,
        })?;
        Ok(named == Some(true) || hinted == Some(true))
    }

    fn read<T>(
        &self,
        claim: ClaimName,
        typed: impl FnOnce(&Json<'_>) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        match self.object.member(claim) {
            None => Ok(None),
            Some(value) => typed(value).map(Some).ok_or(Reason::ClaimInvalid { claim }),
        }
    }
}
