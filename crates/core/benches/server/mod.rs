//! A server's side of a decision, and the tokens that are sent to it.

use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::Reason;
use pgaad_core::admit::AdmitPolicy;
use pgaad_core::decide::{Admission, Known, Policy, decide};
use pgaad_core::deny::DenyList;
use pgaad_core::directory::DirectoryFacts;
use pgaad_core::keys::KeySet;
use pgaad_core::label::Binding;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use serde_json::Value;
use tenant::{AUDIENCE, Keys, Signer, TENANT_ID, Token};

const AUTHORITY: &str = "https://localhost:8443";
/// When everything happens.
pub(crate) const NOW: i64 = 1_800_000_000;
const ALICE: &str = "alice@example.com";

/// Everything that a decision depends on, but the token.
pub(crate) struct Server {
    keys: KeySet,
    policy: TokenPolicy,
    role: RoleFacts,
}

impl Server {
    /// A server that knows the keys of this document.
    pub(crate) fn with_jwks(document: &str) -> Self {
        let tenant = Tenant::new(TENANT_ID.parse().unwrap(), Cloud::Public, Some(AUTHORITY.parse().unwrap()));
        Self {
            keys: KeySet::import(document.as_bytes(), &tenant, None).unwrap(),
            policy: TokenPolicy {
                tenant,
                others: Vec::new(),
                is_home: true,
                audiences: vec![AUDIENCE.to_owned()],
                scopes: Vec::new(),
                line_scopes: Vec::new(),
                clock_skew: Duration::from_secs(300),
            },
            role: RoleFacts {
                oid: 16_384,
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
            },
        }
    }

    /// Decides about a token.
    pub(crate) fn decide(&self, password: &[u8]) -> Result<Admission, Reason> {
        let admit = AdmitPolicy { name_match: true, app_roles: true, ..AdmitPolicy::STRICT };
        let policy = Policy { max_bytes: 65_535, token: &self.policy, admit };
        let mut known = Known {
            keys: &self.keys,
            role: Some(&self.role),
            directory: &DirectoryFacts::default(),
            denied: &DenyList::default(),
            now: UnixTime::new(NOW),
        };
        Ok(decide(password.to_vec(), &policy, &mut known)?)
    }
}

/// A token of alice's, to be changed.
pub(crate) fn token() -> Token {
    Keys::generate(AUTHORITY)
        .token()
        .claim("nbf", NOW - 300)
        .claim("iat", NOW - 300)
        .claim("exp", NOW + 4_500)
}

/// The tenant's current key, as a JWK.
pub(crate) fn signing_key() -> Value {
    let keys = Keys::generate(AUTHORITY);
    let kid = keys.kid(&Signer::Current);
    let jwks = keys.jwks();
    jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *kid).unwrap().clone()
}

/// A token of about this many bytes: with as many groups as it takes, as Entra's large tokens have.
pub(crate) fn token_of(bytes: usize) -> String {
    let groups = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("0c7c1f3e-52a1-4e0b-8f5e-{number:012x}")).collect()
    };
    (0..)
        .map(|count| token().claim("groups", groups(count)).mint())
        .find(|token| token.len() >= bytes)
        .unwrap()
}

/// The signature's check alone, of the same bytes by the same library.
pub(crate) struct Bare {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Bare {
    /// By a JWK.
    pub(crate) fn by(key: &Value) -> Self {
        let decode = |part: &Value| URL_SAFE_NO_PAD.decode(part.as_str().unwrap()).unwrap();
        Self { modulus: decode(&key["n"]), exponent: decode(&key["e"]) }
    }

    /// Checks a token's signature.
    pub(crate) fn verify(&self, password: &str) {
        let (input, signature) = password.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).unwrap();
    }
}
