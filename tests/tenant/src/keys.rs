//! The tenant's keys, and the two documents that publish them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::signing_key::SigningKey;
use crate::token::{Signer, Token};
use crate::{CONSUMER_TENANT_ID, TENANT_ID};

/// The keys of a tenant at one moment, and the authority whose name its tokens carry.
///
/// Enough to mint tokens and to publish the keys without a server. A clone is cheap, and neither it nor the
/// tokens made from it hear of a later rotation: a token can still be signed by a key that was withdrawn.
#[derive(Clone)]
pub struct Keys {
    authority: Arc<str>,
    /// Oldest first; the last one signs.
    enterprise: Vec<Arc<SigningKey>>,
    consumer: Arc<SigningKey>,
    /// Of another Microsoft cloud, published under the issuer of this one, as Entra does.
    other_cloud: Arc<SigningKey>,
    unpublished: Arc<SigningKey>,
    /// Ids of keys that are no longer published.
    withdrawn: BTreeSet<String>,
}

impl Keys {
    /// Keys for tests that need no server: two enterprise keys, a consumer key, one of another cloud and an unpublished
    /// one, RSA-2048.
    ///
    /// `authority` is a URL without trailing slash. They are made once per process and authority, since that
    /// takes a few tenths of a second: a second call for the same authority gives the same keys, a call for
    /// another authority gives other keys.
    pub fn generate(authority: &str) -> Self {
        static MADE: Mutex<BTreeMap<String, Keys>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().expect("key generation does not panic");
        made.entry(authority.to_owned()).or_insert_with(|| Self::fresh(authority)).clone()
    }

    /// New keys, whatever was made before.
    pub(crate) fn fresh(authority: &str) -> Self {
        let mut keys = SigningKey::generate(5).into_iter().map(Arc::new);
        let mut next = || keys.next().expect("five keys were made");
        Self {
            authority: authority.into(),
            enterprise: vec![next(), next()],
            consumer: next(),
            other_cloud: next(),
            unpublished: next(),
            withdrawn: BTreeSet::new(),
        }
    }

    /// The same keys with a new enterprise key, which signs from now on, and its id.
    pub(crate) fn rotated(&self) -> (Self, String) {
        let new = SigningKey::generate(1).pop().expect("one key was made");
        let kid = new.kid().to_owned();
        let mut keys = self.clone();
        keys.enterprise.push(Arc::new(new));
        (keys, kid)
    }

    /// The same keys, `kid` no longer published. It panics unless `kid` is a published key.
    pub(crate) fn retired(&self, kid: &str) -> Self {
        assert!(self.published().any(|key| key.kid() == kid), "no published key has the id {kid}");
        let mut keys = self.clone();
        keys.withdrawn.insert(kid.to_owned());
        keys
    }

    /// The same keys under another authority.
    pub(crate) fn of_authority(&self, authority: &str) -> Self {
        Self { authority: authority.into(), ..self.clone() }
    }

    /// All keys with their private parts, for the tenant's own file.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "authority": *self.authority,
            "enterprise": self.enterprise.iter().map(|key| key.to_json()).collect::<Vec<_>>(),
            "consumer": self.consumer.to_json(),
            "other_cloud": self.other_cloud.to_json(),
            "unpublished": self.unpublished.to_json(),
            "withdrawn": self.withdrawn,
        })
    }

    /// Reads what [`Self::to_json`] wrote.
    pub(crate) fn from_json(stored: &Value) -> Self {
        let key = |stored: &Value| Arc::new(SigningKey::from_json(stored));
        let list = |member: &str| stored[member].as_array().expect("stored keys have their lists").iter();
        Self {
            authority: stored["authority"].as_str().expect("stored keys name their authority").into(),
            enterprise: list("enterprise").map(key).collect(),
            consumer: key(&stored["consumer"]),
            other_cloud: key(&stored["other_cloud"]),
            unpublished: key(&stored["unpublished"]),
            withdrawn: list("withdrawn").filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// A valid v1 access token of the user alice@example.com, to be changed and minted.
    pub fn token(&self) -> Token {
        Token::new(self.clone())
    }

    /// Base URL of the identity provider, without trailing slash.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `iss` of v2 tokens: `{authority}/{tid}/v2.0`.
    pub fn v2_issuer(&self) -> String {
        self.v2_issuer_of(TENANT_ID)
    }

    /// `iss` of v1 tokens: `https://sts.windows.net/{tid}/`, whatever the authority.
    pub fn v1_issuer(&self) -> String {
        format!("https://sts.windows.net/{TENANT_ID}/")
    }

    fn v2_issuer_of(&self, tenant_id: &str) -> String {
        format!("{}/{tenant_id}/v2.0", self.authority)
    }

    /// The id in the header of a token that `signer` signs; for [`Signer::UnpublishedAs`] the id it claims.
    pub fn kid(&self, signer: &Signer) -> String {
        match signer {
            Signer::UnpublishedAs(kid) => kid.clone(),
            _ => self.signing_key(signer).kid().to_owned(),
        }
    }

    /// The key that `signer` signs with; the current one where it signs with none of them.
    pub(crate) fn signing_key(&self, signer: &Signer) -> &SigningKey {
        match signer {
            Signer::Second => self.second(),
            Signer::Consumer => &self.consumer,
            Signer::OtherCloud => &self.other_cloud,
            Signer::Unpublished | Signer::UnpublishedAs(_) => &self.unpublished,
            _ => self.current(),
        }
    }

    fn current(&self) -> &SigningKey {
        self.enterprise.last().expect("there is always an enterprise key")
    }

    /// The newest published enterprise key that is not the current one.
    fn second(&self) -> &SigningKey {
        let older = self.enterprise.iter().rev().skip(1);
        older
            .map(Arc::as_ref)
            .find(|key| !self.withdrawn.contains(key.kid()))
            .expect("a second enterprise key is published")
    }

    fn published(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        let keys = self.enterprise.iter().chain([&self.consumer, &self.other_cloud]);
        keys.filter(|key| !self.withdrawn.contains(key.kid()))
    }

    /// The tenant's v2 key document: enterprise keys, oldest first, then the consumer key and that of another cloud.
    ///
    /// Each key says who issues tokens with it: `{authority}/{tenantid}/v2.0` with the literal `{tenantid}`
    /// for enterprise keys, the consumer tenant's v2 issuer for the consumer key. The key of the other cloud says the
    /// same as an enterprise key except its `cloud_instance_name`, `microsoftonline.us`.
    pub fn jwks(&self) -> Value {
        let entry = |key: &Arc<SigningKey>| {
            let tenant = if Arc::ptr_eq(key, &self.consumer) { CONSUMER_TENANT_ID } else { "{tenantid}" };
            let mut jwk = key.jwk();
            let is_of_this_cloud = !Arc::ptr_eq(key, &self.other_cloud);
            jwk["cloud_instance_name"] =
                if is_of_this_cloud { "microsoftonline.com" } else { "microsoftonline.us" }.into();
            jwk["issuer"] = self.v2_issuer_of(tenant).into();
            jwk
        };
        json!({ "keys": self.published().map(entry).collect::<Vec<_>>() })
    }

    /// The tenant's v1 key document: enterprise keys only, without `issuer`.
    pub fn v1_jwks(&self) -> Value {
        let others = [&self.consumer, &self.other_cloud];
        let enterprise = self.published().filter(|key| !others.iter().any(|other| Arc::ptr_eq(key, other)));
        json!({ "keys": enterprise.map(|key| key.jwk()).collect::<Vec<_>>() })
    }

    /// The tenant's v2 OpenID metadata (OpenID Connect Discovery 1.0 §3), with Entra's extensions.
    pub fn metadata(&self) -> Value {
        let tenant = format!("{}/{TENANT_ID}", self.authority);
        self.with_common_metadata(json!({
            "issuer": self.v2_issuer(),
            "jwks_uri": format!("{tenant}/discovery/v2.0/keys"),
            "authorization_endpoint": format!("{tenant}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{tenant}/oauth2/v2.0/token"),
            "device_authorization_endpoint": format!("{tenant}/oauth2/v2.0/devicecode"),
            "end_session_endpoint": format!("{tenant}/oauth2/v2.0/logout"),
            "kerberos_endpoint": format!("{tenant}/kerberos"),
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "claims_supported": [
                "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
                "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username",
                "name", "tid", "ver", "at_hash", "c_hash", "email",
            ],
        }))
    }

    /// The tenant's v1 OpenID metadata. Its issuer is the v1 issuer, and its keys are those of all tenants.
    pub fn v1_metadata(&self) -> Value {
        let tenant = format!("{}/{TENANT_ID}", self.authority);
        self.with_common_metadata(json!({
            "issuer": self.v1_issuer(),
            "jwks_uri": format!("{}/common/discovery/keys", self.authority),
            "authorization_endpoint": format!("{tenant}/oauth2/authorize"),
            "token_endpoint": format!("{tenant}/oauth2/token"),
            "device_authorization_endpoint": format!("{tenant}/oauth2/devicecode"),
            "end_session_endpoint": format!("{tenant}/oauth2/logout"),
            "userinfo_endpoint": format!("{tenant}/openid/userinfo"),
            "check_session_iframe": format!("{tenant}/oauth2/checksession"),
            "microsoft_multi_refresh_token": true,
            "response_types_supported": ["code", "id_token", "code id_token", "token id_token", "token"],
            "scopes_supported": ["openid"],
            "claims_supported": [
                "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
                "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "email",
                "given_name", "family_name", "nickname",
            ],
        }))
    }

    fn with_common_metadata(&self, mut document: Value) -> Value {
        let common = json!({
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "request_uri_parameter_supported": false,
            "http_logout_supported": true,
            "frontchannel_logout_supported": true,
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
            "rbac_url": "https://pas.windows.net",
        });
        let members = document.as_object_mut().expect("metadata is an object");
        members.extend(common.as_object().expect("metadata is an object").clone());
        document
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published: Vec<_> = self.published().map(|key| key.kid()).collect();
        f.debug_struct("Keys")
            .field("authority", &self.authority)
            .field("signing", &self.current().kid())
            .field("published", &published)
            .finish_non_exhaustive()
    }
}
