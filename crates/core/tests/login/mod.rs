//! One login as the core sees it, to be changed in one thing, and the table of attacks on it.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::Reason;
use pgaad_core::admit::AdmitPolicy;
use pgaad_core::decide::{Admission, Known, Policy, decide};
use pgaad_core::deny::DenyList;
use pgaad_core::directory::DirectoryFacts;
use pgaad_core::event::ADMITTED;
use pgaad_core::explain::{Context, Finding, NotExplained, explain};
use pgaad_core::keys::{KeySet, KeySetError};
use pgaad_core::label::Binding;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use serde_json::{Value, json};
use tenant::{AUDIENCE, AUDIENCE_APP_ID, Keys, TENANT_ID, Token};

/// The time of every login that does not say otherwise: that of the first, so that a server, which
/// has its own clock, can be asked the same.
pub(crate) static NOW: LazyLock<i64> =
    LazyLock::new(|| i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap());
pub(crate) static NBF: LazyLock<i64> = LazyLock::new(|| *NOW - 300);
pub(crate) static EXP: LazyLock<i64> = LazyLock::new(|| *NOW + 4500);
pub(crate) const SKEW: i64 = 300;
pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const ROLE_OID: u32 = 16_384;
/// Default of `pgaad.max_token_bytes`.
const MAX_TOKEN_BYTES: usize = 32 * 1024;
const AUTHORITY: &str = "https://localhost:8443";

/// The stand-in tenant's keys.
pub(crate) fn keys() -> Keys {
    Keys::generate(AUTHORITY)
}

/// A valid v1 access token of alice@example.com, the same at every call.
pub(crate) fn token() -> Token {
    static TOKEN: LazyLock<Token> =
        LazyLock::new(|| keys().token().claim("iat", *NBF).claim("nbf", *NBF).claim("exp", *EXP));
    TOKEN.clone()
}

/// The tenant's key document and [`FORGE`]'s key.
pub(crate) fn jwks() -> Value {
    let mut jwks = keys().jwks();
    jwks["keys"].as_array_mut().unwrap().push(FORGE.jwk());
    jwks
}

/// [`jwks`], with the key that signs [`token`] changed.
pub(crate) fn jwks_with(change: impl FnOnce(&mut Value)) -> Value {
    let kid = keys().kid(&tenant::Signer::Current);
    let mut jwks = jwks();
    let entries = jwks["keys"].as_array_mut().unwrap();
    change(entries.iter_mut().find(|jwk| jwk["kid"] == *kid).unwrap());
    jwks
}

pub(crate) fn import(jwks: &Value) -> KeySet {
    import_bytes(jwks.to_string().as_bytes()).unwrap()
}

/// As [`import`]: a document of [`this_tenant`]'s, whose metadata names no cloud.
pub(crate) fn import_bytes(document: &[u8]) -> Result<KeySet, KeySetError> {
    KeySet::import(document, &this_tenant(), None)
}

/// The tenant of every login that does not say otherwise.
pub(crate) fn this_tenant() -> Tenant {
    Tenant::new(TENANT_ID.parse().unwrap(), Cloud::Public, Some(AUTHORITY.parse().unwrap()))
}

/// A published key of the tenant that signs bytes of any kind.
pub(crate) static FORGE: LazyLock<Forge> =
    LazyLock::new(|| Forge { pair: KeyPair::generate(KeySize::Rsa2048).unwrap() });

/// Another, of the same name.
pub(crate) static OTHER_FORGE: LazyLock<Forge> =
    LazyLock::new(|| Forge { pair: KeyPair::generate(KeySize::Rsa2048).unwrap() });

pub(crate) struct Forge {
    pair: KeyPair,
}

impl Forge {
    pub(crate) const HEADER: &str = r#"{"typ":"JWT","alg":"RS256","kid":"forge"}"#;

    pub(crate) fn jwk(&self) -> Value {
        // RSAPublicKey in DER (RFC 8017 §A.1.1): of 2048 bits, the modulus is at a fixed place.
        let modulus = &self.pair.public_key().as_ref()[9..265];
        json!({ "kty": "RSA", "use": "sig", "kid": "forge", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB",
            "issuer": format!("{AUTHORITY}/{{tenantid}}/v2.0") })
    }

    /// A token of these bytes, signed.
    pub(crate) fn token(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.seal(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)))
    }

    /// A token whose first two parts are these, signed as they are.
    pub(crate) fn seal(&self, input: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The role of the token's user.
pub(crate) fn alice() -> RoleFacts {
    RoleFacts {
        oid: ROLE_OID,
        name: ALICE.to_owned(),
        binding: Binding::Name,
        is_labelled: false,
        label_tenant: None,
        is_member: true,
        is_admin: false,
        needs_mfa: false,
        can_login: true,
        is_superuser: false,
        valid_until: None,
    }
}

/// Everything that a decision depends on.
#[derive(Clone)]
pub(crate) struct Login {
    token: Vec<u8>,
    max_bytes: usize,
    keys: Arc<KeySet>,
    policy: TokenPolicy,
    now: i64,
    role: Option<RoleFacts>,
    directory: DirectoryFacts,
    denied: DenyList,
    admit: AdmitPolicy,
}

impl Login {
    /// As alice@example.com with `token`: everything but the token is as it should be.
    pub(crate) fn with(token: impl Into<Vec<u8>>) -> Self {
        static KEYS: LazyLock<Arc<KeySet>> = LazyLock::new(|| Arc::new(import(&jwks())));
        Self {
            token: token.into(),
            max_bytes: MAX_TOKEN_BYTES,
            keys: Arc::clone(&KEYS),
            policy: TokenPolicy {
                tenant: this_tenant(),
                others: Vec::new(),
                is_home: true,
                audiences: vec![AUDIENCE.to_owned(), AUDIENCE_APP_ID.to_owned()],
                scopes: Vec::new(),
                line_scopes: Vec::new(),
                clock_skew: Duration::from_secs(SKEW.unsigned_abs()),
            },
            now: *NOW,
            role: Some(alice()),
            directory: DirectoryFacts::default(),
            denied: DenyList::default(),
            admit: AdmitPolicy {
                name_match: true,
                app_roles: true,
                directory_max_stale: Duration::from_secs(86_400),
                clock_skew: Duration::from_secs(SKEW.unsigned_abs()),
                ..AdmitPolicy::STRICT
            },
        }
    }

    pub(crate) fn keys(mut self, jwks: &Value) -> Self {
        self.keys = Arc::new(import(jwks));
        self
    }

    /// With a key set as its metadata's `cloud_instance_name` has it.
    pub(crate) fn keys_of_cloud(mut self, jwks: &Value, cloud: &str) -> Self {
        let set = KeySet::import(jwks.to_string().as_bytes(), &self.policy.tenant, Some(cloud));
        self.keys = Arc::new(set.unwrap());
        self
    }

    pub(crate) fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The size cap out of the way, so that the check that is meant is the one that speaks.
    pub(crate) fn uncapped(self) -> Self {
        self.max_bytes(usize::MAX)
    }

    pub(crate) fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn policy(mut self, change: impl FnOnce(&mut TokenPolicy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(crate) fn admit_policy(mut self, change: impl FnOnce(&mut AdmitPolicy)) -> Self {
        change(&mut self.admit);
        self
    }

    pub(crate) fn role(mut self, change: impl FnOnce(&mut RoleFacts)) -> Self {
        change(self.role.as_mut().unwrap());
        self
    }

    pub(crate) fn directory(mut self, directory: DirectoryFacts) -> Self {
        self.directory = directory;
        self
    }

    pub(crate) fn denied(mut self, denied: DenyList) -> Self {
        self.denied = denied;
        self
    }

    pub(crate) fn named(self, name: &str) -> Self {
        self.role(|role| role.name = name.to_owned())
    }

    pub(crate) fn bound(self, binding: Binding) -> Self {
        self.role(|role| (role.binding, role.is_labelled) = (binding, true))
    }

    pub(crate) fn without_role(mut self) -> Self {
        self.role = None;
        self
    }

    /// The token and the role's name, when nothing else is out of the ordinary: what a server can be sent.
    pub(crate) fn sent(&self) -> Option<(&[u8], &str)> {
        let ordinary = Self::with([]);
        let role = self.role.as_ref()?;
        let named = ordinary.role.map(|alice| RoleFacts { name: role.name.clone(), ..alice });
        let is_below_cap = self.max_bytes == usize::MAX
            || (self.max_bytes == MAX_TOKEN_BYTES && self.token.len() <= MAX_TOKEN_BYTES);
        let is_ordinary = is_below_cap
            && Arc::ptr_eq(&self.keys, &ordinary.keys)
            && self.policy == ordinary.policy
            && self.now == ordinary.now
            && self.admit == ordinary.admit
            && self.directory == ordinary.directory
            && self.denied == ordinary.denied
            && self.role == named;
        is_ordinary.then_some((&self.token, &role.name))
    }

    /// What is said of the token without its signature; nothing, if it has not three parts.
    pub(crate) fn explain(&self) -> Option<Vec<Finding>> {
        let (unsigned, _) = std::str::from_utf8(&self.token).ok()?.rsplit_once('.')?;
        self.explain_text(unsigned).ok()
    }

    /// What is said of a text that should be `header.payload`.
    pub(crate) fn explain_text(&self, unsigned: &str) -> Result<Vec<Finding>, NotExplained> {
        let context = Context {
            max_bytes: self.max_bytes,
            keys: Ok(self.keys.keys().to_vec()),
            policy: &self.policy,
            admit: self.admit,
            now: UnixTime::new(self.now),
            role_name: self.role.as_ref().map_or("nobody", |role| &role.name),
            role: self.role.as_ref(),
            directory: &self.directory,
            denied: &self.denied,
        };
        explain(unsigned, &context)
    }

    pub(crate) fn decide(&self) -> Result<Admission, Reason> {
        let policy = Policy { max_bytes: self.max_bytes, token: &self.policy, admit: self.admit };
        let mut known = Known {
            keys: &self.keys,
            role: self.role.as_ref(),
            directory: &self.directory,
            denied: &self.denied,
            now: UnixTime::new(self.now),
        };
        Ok(decide(self.token.clone(), &policy, &mut known)?)
    }
}

/// One row: a hostile login, its twin that differs in the one thing the name says, and the code of the refusal.
pub(crate) struct Attack {
    pub(crate) name: String,
    pub(crate) hostile: Login,
    pub(crate) twin: Login,
    pub(crate) code: &'static str,
}

impl Attack {
    pub(crate) fn new(name: impl Into<String>, hostile: Login, twin: Login, code: &'static str) -> Self {
        Self { name: name.into(), hostile, twin, code }
    }

    /// A token whose twin is [`token`].
    pub(crate) fn by(name: impl Into<String>, hostile: impl Into<Vec<u8>>, code: &'static str) -> Self {
        Self::new(name, Login::with(hostile).uncapped(), Login::with(token().mint()).uncapped(), code)
    }
}

/// Sees that each twin is admitted and each hostile login refused with its code; all failures are told at once.
pub(crate) fn assert_refused(class: &str, attacks: &[Attack]) {
    let mut failures = Vec::new();
    for Attack { name, hostile, twin, code } in attacks {
        if let Err(reason) = twin.decide() {
            failures.push(format!("{class}: {name}: the twin is refused: {reason:?}"));
        }
        failures.extend(explanation_fault(hostile, code).map(|error| format!("{class}: {name}: {error}")));
        failures
            .extend(explanation_fault(twin, ADMITTED).map(|error| format!("{class}: {name}: twin: {error}")));
        match hostile.decide() {
            Ok(_) => failures.push(format!("{class}: {name}: ADMITTED, expected {code}")),
            Err(reason) if reason.code() != *code => {
                failures.push(format!("{class}: {name}: {reason:?}, expected {code}"));
            }
            Err(_) => {}
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), attacks.len(), failures.join("\n"));
    println!("{class}: {} attacks refused, as many twins admitted", attacks.len());
}

/// The explanation of an admitted token finds no fault; that of a refused one names the code that the decision names.
fn explanation_fault(login: &Login, code: &str) -> Option<String> {
    // What only the signature or the whole password can show.
    if ["malformed_token", "bad_signature", "signature_length", "no_token", "token_too_large"].contains(&code)
    {
        return None;
    }
    let errors: Vec<_> = login.explain()?.into_iter().filter(|finding| finding.ok != Some(true)).collect();
    let is_right = if code == ADMITTED {
        errors.is_empty()
    } else {
        errors.iter().any(|error| error.detail.starts_with(&format!("{code}:")))
    };
    (!is_right).then(|| format!("expected {code}, explained as {errors:?}"))
}
