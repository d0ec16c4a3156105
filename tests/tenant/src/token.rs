//! A token being made: what Entra would put into it, and every way to get it wrong.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::claims::{ClaimSet, Groups, Subject, Version};
use crate::keys::Keys;

/// A token being made. Each method takes it and gives it back; the order matters only where two of them set
/// the same thing: the later one wins.
///
/// Claims that depend on each other (`iss` and `ver`, `oid` and the name, `exp` and `nbf`) are filled in when
/// the token is minted, changes by [`Self::claim`], [`Self::without`] and their like last. The time of issue
/// and the `uti` are those of the builder: clones that differ in one claim differ in nothing else, and one
/// that is minted twice gives the same bytes (except [`Signer::Ps256`], whose signatures are salted).
#[derive(Clone)]
pub struct Token {
    keys: Keys,
    content: ClaimSet,
    claim_changes: Vec<(String, Option<Value>)>,
    header_changes: Vec<(String, Option<Value>)>,
    raw_header: Option<String>,
    raw_payload: Option<String>,
    signer: Signer,
}

/// Who signs a token, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The newest enterprise key, as RS256.
    Current,
    /// Another published enterprise key. Minting panics when there is none.
    Second,
    /// A published key whose issuer is the consumer tenant's.
    Consumer,
    /// A published key of another Microsoft cloud, under the issuer of this one.
    OtherCloud,
    /// A sound key under its own id that nobody published.
    Unpublished,
    /// The same key under the id given.
    UnpublishedAs(String),
    /// `alg` is `none`, the signature empty (RFC 7519 §6).
    None,
    /// HMAC with SHA-256 and this secret under the id of the current key. With its public key as the
    /// secret this is the classical confusion of algorithms.
    Hs256(Vec<u8>),
    /// The current key, RSASSA-PSS with SHA-256.
    Ps256,
    /// The current key, PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// The current key, RS256, one bit of the signature flipped.
    Broken,
}

impl Signer {
    /// `alg` of the header (RFC 7518 §3.1).
    fn algorithm(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hs256(_) => "HS256",
            Self::Ps256 => "PS256",
            Self::Rs384 => "RS384",
            _ => "RS256",
        }
    }
}

impl Token {
    pub(crate) fn new(keys: Keys) -> Self {
        Self {
            keys,
            content: ClaimSet::of_alice(),
            claim_changes: Vec::new(),
            header_changes: Vec::new(),
            raw_header: None,
            raw_payload: None,
            signer: Signer::Current,
        }
    }

    /// A v1 token: `ver` 1.0, `iss` of sts.windows.net, `appid`, `upn`, `amr`. This is the default.
    pub fn v1(mut self) -> Self {
        self.content.version = Version::V1;
        self
    }

    /// A v2 token: `ver` 2.0, `iss` of the authority, `azp`, `preferred_username`, and the application id
    /// as `aud`, as Entra has it.
    pub fn v2(mut self) -> Self {
        self.content.version = Version::V2;
        self
    }

    /// A token of the user whose sign-in name is `name`. `oid` is [`object_id(name)`](crate::object_id).
    pub fn user(mut self, name: &str) -> Self {
        self.content.subject = Subject::User(name.to_owned());
        self
    }

    /// A token of an application by itself (client credentials): `idtyp` is `app`, no `scp`, no user names.
    /// `client_id` is a GUID; `oid` is [`object_id(client_id)`](crate::object_id), the service principal's.
    pub fn app(mut self, client_id: &str) -> Self {
        self.content.subject = Subject::App(client_id.to_owned());
        self
    }

    /// As [`Self::app`], of a user-assigned managed identity: `xms_mirid` names its resource.
    pub fn managed_identity(mut self, client_id: &str) -> Self {
        self.content.subject = Subject::ManagedIdentity(client_id.to_owned());
        self
    }

    /// A token of a guest from another organisation: `upn` is the name that this tenant gave them
    /// (`carol_partner.example#EXT#@example.onmicrosoft.com`), `unique_name`, `email` and, in v2,
    /// `preferred_username` are `mail`; `idp` is their home tenant. `oid` is `object_id(mail)`.
    pub fn guest(mut self, mail: &str) -> Self {
        self.content.subject = Subject::Guest(mail.to_owned());
        self
    }

    /// A token of a guest who signed in with a personal account: no `upn`, `idp` is `live.com` and
    /// `unique_name` is `live.com#mail`. `oid` is `object_id(mail)`.
    pub fn personal_account(mut self, mail: &str) -> Self {
        self.content.subject = Subject::PersonalAccount(mail.to_owned());
        self
    }

    /// The groups in the token: object ids, or names where the tenant is set so. An earlier
    /// [`Self::overage`] is forgotten.
    pub fn groups(mut self, groups: &[&str]) -> Self {
        self.content.groups = Groups::Listed(groups.iter().map(|group| (*group).to_owned()).collect());
        self
    }

    /// The user has more groups than fit: no `groups`, but `_claim_names` and `_claim_sources`.
    pub fn overage(mut self) -> Self {
        self.content.groups = Groups::Elsewhere;
        self
    }

    /// An ID token instead of an access token: always v2; `aud` is the client's id, no `azp`, `appid` or `scp`.
    pub fn id_token(mut self) -> Self {
        self.content.is_id_token = true;
        self
    }

    /// Another tenant in `tid` and `iss`, signed by the keys of this one.
    pub fn tenant(mut self, tenant_id: &str) -> Self {
        self.content.tenant_id = tenant_id.to_owned();
        self
    }

    /// `exp` is `secs` seconds from now, in the past if negative. Unless [`Self::not_before_in`] says
    /// otherwise, `nbf` and `iat` move back with it, so that the token is one that was good once.
    pub fn expires_in(mut self, secs: i64) -> Self {
        self.content.expires = Some(crate::claims::now() + secs);
        self
    }

    /// `nbf` is `secs` seconds from now. Unless [`Self::expires_in`] says otherwise, `exp` moves with it.
    pub fn not_before_in(mut self, secs: i64) -> Self {
        self.content.not_before = Some(crate::claims::now() + secs);
        self
    }

    /// Sets or replaces a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claim_changes.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Takes a claim away.
    pub fn without(mut self, name: &str) -> Self {
        self.claim_changes.push((name.to_owned(), None));
        self
    }

    /// Sets or replaces a member of the header.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header_changes.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Takes a member of the header away.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header_changes.push((name.to_owned(), None));
        self
    }

    /// The header's bytes before base64url, used as they are and signed.
    pub fn raw_header(mut self, json: &str) -> Self {
        self.raw_header = Some(json.to_owned());
        self
    }

    /// The payload's bytes before base64url, used as they are and signed.
    pub fn raw_payload(mut self, json: &str) -> Self {
        self.raw_payload = Some(json.to_owned());
        self
    }

    /// Who signs the token; [`Signer::Current`] unless said.
    pub fn signed_by(mut self, signer: Signer) -> Self {
        self.signer = signer;
        self
    }

    /// The claims as they will be minted: a JSON object. [`Self::raw_payload`] does not show here.
    pub fn claims(&self) -> Value {
        Value::Object(changed(self.content.write(&self.keys), &self.claim_changes))
    }

    /// The header as it will be minted, [`Self::raw_header`] apart. v1 tokens carry `x5t` beside `kid`.
    fn header_members(&self) -> Map<String, Value> {
        let kid = self.keys.kid(&self.signer);
        let mut header = Map::new();
        header.insert("typ".to_owned(), "JWT".into());
        header.insert("alg".to_owned(), self.signer.algorithm().into());
        header.insert("kid".to_owned(), kid.as_str().into());
        if self.content.version() == Version::V1 {
            header.insert("x5t".to_owned(), kid.into());
        }
        changed(header, &self.header_changes)
    }

    /// The token in compact form (RFC 7515 §7.1).
    pub fn mint(&self) -> String {
        let header =
            self.raw_header.clone().unwrap_or_else(|| Value::Object(self.header_members()).to_string());
        let payload = self.raw_payload.clone().unwrap_or_else(|| self.claims().to_string());
        let signing_input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.sign(signing_input.as_bytes());
        format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, input: &[u8]) -> Vec<u8> {
        let key = self.keys.signing_key(&self.signer);
        match &self.signer {
            Signer::None => Vec::new(),
            Signer::Hs256(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input).as_ref().to_vec()
            }
            Signer::Ps256 => key.sign(&RSA_PSS_SHA256, input),
            Signer::Rs384 => key.sign(&RSA_PKCS1_SHA384, input),
            Signer::Broken => {
                let mut signature = key.sign(&RSA_PKCS1_SHA256, input);
                signature[128] ^= 1;
                signature
            }
            _ => key.sign(&RSA_PKCS1_SHA256, input),
        }
    }
}

fn changed(mut members: Map<String, Value>, changes: &[(String, Option<Value>)]) -> Map<String, Value> {
    for (name, value) in changes {
        match value {
            Some(value) => members.insert(name.clone(), value.clone()),
            None => members.remove(name),
        };
    }
    members
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", json!({ "claims": self.claims(), "signer": format!("{:?}", self.signer) }))
    }
}
