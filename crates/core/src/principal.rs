//! Who a verified token belongs to.

use crate::claims::{Claims, Identity};
use crate::deny::{DeniedBy, Mark};
use crate::guid::{ClientId, ObjectId, TenantId};
use crate::kind::Kind;
use crate::subject::TokenSubject;
use crate::time::UnixTime;
use crate::verify::VerifiedClaims;

/// What a token says of its holder's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// Nothing: there is no `groups` claim.
    Unsaid,
    /// Object ids, each entry one.
    Ids(Vec<ObjectId>),
    /// Names: at least one entry is no GUID, so the tenant is set to emit names. A name that reads as a GUID is
    /// no id: names are free, and somebody who may create a group could give it the id of another one as its name.
    Names(Vec<String>),
}

impl Groups {
    fn read(claim: Option<Vec<String>>) -> Self {
        let Some(entries) = claim else { return Self::Unsaid };
        match entries.iter().map(|entry| entry.parse().ok()).collect() {
            Some(ids) => Self::Ids(ids),
            None => Self::Names(entries),
        }
    }
}

/// The holder of a verified token, as the rules of admission see it.
#[derive(Clone, Debug)]
pub struct Principal {
    kind: Kind,
    tenant: TenantId,
    object_id: ObjectId,
    client_id: ClientId,
    agent: Option<ClientId>,
    issued_at: UnixTime,
    audience: String,
    user_name: Option<String>,
    upn: Option<String>,
    is_guest: bool,
    is_home: bool,
    groups: Groups,
    groups_overage: bool,
    roles: Vec<String>,
    amr: Option<Vec<String>>,
    key_id: String,
    token_id: Option<String>,
}

impl From<VerifiedClaims> for Principal {
    fn from(VerifiedClaims { claims, identity, key_id, .. }: VerifiedClaims) -> Self {
        Self::new(claims, identity, key_id)
    }
}

impl Principal {
    pub(crate) fn new(claims: Claims, identity: Identity, key_id: String) -> Self {
        Self {
            kind: identity.kind,
            tenant: claims.tid,
            object_id: identity.object_id,
            client_id: identity.client_id,
            agent: claims.agent(),
            issued_at: claims.issued_at,
            audience: claims.aud.join(" "),
            user_name: claims.user_name().map(str::to_owned).filter(|_| identity.kind == Kind::User),
            upn: claims.upn.filter(|_| identity.kind == Kind::User),
            is_guest: identity.is_guest,
            is_home: identity.is_home,
            groups: Groups::read(claims.groups),
            groups_overage: claims.groups_overage,
            roles: claims.roles.unwrap_or_default(),
            amr: claims.amr,
            key_id,
            token_id: claims.uti,
        }
    }

    /// What the deny list knows the holder by.
    pub(crate) fn marks(&self) -> Vec<(DeniedBy, Mark)> {
        let mut marks = vec![
            self.mark(DeniedBy::ObjectId, &self.object_id.to_string()),
            self.mark(DeniedBy::ClientId, &self.client_id.to_string()),
        ];
        marks.extend(self.agent.map(|agent| self.mark(DeniedBy::ClientId, &agent.to_string())));
        marks.extend(self.token_id.as_ref().map(|token| self.mark(DeniedBy::TokenId, token)));
        marks
    }

    fn mark(&self, by: DeniedBy, id: &str) -> (DeniedBy, Mark) {
        (by, Mark::new(by, self.tenant, id))
    }

    /// User or program.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The id of the user, service principal or managed identity.
    pub fn object_id(&self) -> ObjectId {
        self.object_id
    }

    /// The application the token was given to: for a program, itself; for a user, the client program.
    pub fn client_id(&self) -> ClientId {
        self.client_id
    }

    /// `upn` (v1) or `preferred_username` (v2) of a user. Personal accounts have none in v1 tokens.
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// Whether the holder is a guest of the tenant: their name in the token is what others gave them.
    pub fn is_guest(&self) -> bool {
        self.is_guest
    }

    /// The user's name that the first of the tenants itself gave them. That of a guest is in `upn` only
    /// (`bob_partner.com#EXT#@example.onmicrosoft.com`): their `preferred_username` is their home's to choose. So are
    /// all names of a user of another tenant.
    pub(crate) fn name_given_here(&self) -> Option<&str> {
        let name = if self.is_guest { self.upn.as_deref() } else { self.user_name() };
        name.filter(|_| self.is_home)
    }

    /// Whether the tenant is the first of `pgaad.tenant_id`, whose names count.
    pub(crate) fn is_home(&self) -> bool {
        self.is_home
    }

    /// What `SYSTEM_USER` shows: the human's name, or the object id where the first tenant gave them none. Policies
    /// compare it, so it must not be a name that a guest's home, or another tenant, chose.
    pub fn identity(&self) -> String {
        self.name_given_here().map_or_else(|| self.object_id.to_string(), str::to_owned)
    }

    /// When the token was issued, which Entra writes up to five minutes early.
    pub fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// `groups`.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Whether the token says that its groups did not fit.
    pub(crate) fn groups_overage(&self) -> bool {
        self.groups_overage
    }

    /// `roles`: the app roles that the holder has been assigned, by their values.
    pub(crate) fn app_roles(&self) -> &[String] {
        &self.roles
    }

    /// `amr`: how the user signed in; v2 tokens do not say.
    pub(crate) fn amr(&self) -> Option<&[String]> {
        self.amr.as_deref()
    }
}

impl From<&Principal> for TokenSubject {
    fn from(principal: &Principal) -> Self {
        Self {
            kind: Some(principal.kind.to_string()),
            tid: principal.tenant.to_string(),
            oid: Some(principal.object_id.to_string()),
            upn: principal.user_name.clone(),
            appid: Some(principal.client_id.to_string()),
            agent: principal.agent.map(|id| id.to_string()),
            aud: principal.audience.clone(),
            kid: principal.key_id.clone(),
            uti: principal.token_id.clone(),
        }
    }
}
