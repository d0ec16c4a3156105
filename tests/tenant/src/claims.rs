//! The claims that Entra puts into a token, by version and kind of subject
//! (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>).

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::keys::Keys;
use crate::{AUDIENCE, AUDIENCE_APP_ID, TENANT_ID, USER_CLIENT_ID};

/// Entra dates its tokens five minutes back, for clocks that are slow.
const BACKDATED_S: i64 = 300;
/// How long a token is good from now on; Entra draws 60 to 90 minutes.
const LIFETIME_S: i64 = 75 * 60;
/// A guest's home tenant.
const PARTNER_TENANT_ID: &str = "3f9c1a52-6d0e-4b7f-8a14-c25e9d70b631";

/// Which of the two token formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// Whom the token speaks for, with the name or client id it was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    User(String),
    Guest(String),
    PersonalAccount(String),
    App(String),
    ManagedIdentity(String),
}

/// What the token says about groups.
#[derive(Clone, Debug)]
pub(crate) enum Groups {
    Unsaid,
    Listed(Vec<String>),
    /// There are too many: the token says where to ask.
    Elsewhere,
}

/// What is known of a token's contents before the claims are written.
#[derive(Clone, Debug)]
pub(crate) struct ClaimSet {
    pub(crate) version: Version,
    pub(crate) subject: Subject,
    pub(crate) groups: Groups,
    pub(crate) is_id_token: bool,
    pub(crate) tenant_id: String,
    /// Seconds since the epoch, as all times here.
    issued: i64,
    pub(crate) not_before: Option<i64>,
    pub(crate) expires: Option<i64>,
    /// The token's unique id.
    uti: String,
}

impl ClaimSet {
    /// A v1 access token of alice@example.com, issued now.
    pub(crate) fn of_alice() -> Self {
        let mut uti = [0; 16];
        rand::fill(&mut uti).expect("the system has random bytes");
        Self {
            version: Version::V1,
            subject: Subject::User("alice@example.com".to_owned()),
            groups: Groups::Unsaid,
            is_id_token: false,
            tenant_id: TENANT_ID.to_owned(),
            issued: now(),
            not_before: None,
            expires: None,
            uti: URL_SAFE_NO_PAD.encode(uti),
        }
    }

    /// The version; an ID token is always a v2 one here.
    pub(crate) fn version(&self) -> Version {
        if self.is_id_token { Version::V2 } else { self.version }
    }

    /// Writes the claims out.
    pub(crate) fn write(&self, keys: &Keys) -> Map<String, Value> {
        let mut claims = Map::new();
        self.write_frame(keys, &mut claims);
        self.write_subject(&mut claims);
        self.write_client(&mut claims);
        self.write_groups(&mut claims);
        claims
    }

    /// `nbf` and `exp`. Where only one was asked for, the other one keeps the lifetime usual.
    fn validity(&self) -> (i64, i64) {
        let usual = (self.issued - BACKDATED_S, self.issued + LIFETIME_S);
        match (self.not_before, self.expires) {
            (None, None) => usual,
            (Some(not_before), None) => (not_before, usual.1.max(not_before + LIFETIME_S)),
            (None, Some(expires)) => (usual.0.min(expires - LIFETIME_S), expires),
            (Some(not_before), Some(expires)) => (not_before, expires),
        }
    }

    /// The claims that every token has.
    fn write_frame(&self, keys: &Keys, claims: &mut Map<String, Value>) {
        let (not_before, expires) = self.validity();
        let (issuer, audience, version) = match self.version() {
            Version::V1 => (keys.v1_issuer(), AUDIENCE, "1.0"),
            Version::V2 => (keys.v2_issuer(), AUDIENCE_APP_ID, "2.0"),
        };
        let frame = json!({
            "aud": if self.is_id_token { USER_CLIENT_ID } else { audience },
            "iss": issuer.replace(TENANT_ID, &self.tenant_id),
            "iat": not_before.min(self.issued - BACKDATED_S),
            "nbf": not_before,
            "exp": expires,
            "aio": opaque("aio", &self.uti),
            "rh": format!("1.{}.", opaque("rh", self.subject_name())),
            "tid": self.tenant_id,
            "uti": self.uti,
            "ver": version,
        });
        extend(claims, frame);
    }

    fn subject_name(&self) -> &str {
        match &self.subject {
            Subject::User(name)
            | Subject::Guest(name)
            | Subject::PersonalAccount(name)
            | Subject::App(name)
            | Subject::ManagedIdentity(name) => name,
        }
    }

    fn is_app(&self) -> bool {
        matches!(self.subject, Subject::App(_) | Subject::ManagedIdentity(_))
    }

    /// Who it is: `oid`, `sub` and the names.
    fn write_subject(&self, claims: &mut Map<String, Value>) {
        let name = self.subject_name();
        claims.insert("oid".to_owned(), object_id(name).into());
        if self.is_app() {
            claims.insert("sub".to_owned(), object_id(name).into());
            return;
        }
        // Pairwise: another one for each application (OpenID Connect Core 1.0 §8.1).
        claims.insert("sub".to_owned(), opaque("sub", name).into());
        let given = given_name(name);
        claims.insert("name".to_owned(), format!("{given} Example").into());
        match self.version() {
            Version::V1 => extend(
                claims,
                json!({
                    "acr": "1", "amr": ["pwd"], "family_name": "Example", "given_name": given,
                    "ipaddr": "203.0.113.7", "puid": puid(name), "unique_name": name, "upn": name,
                }),
            ),
            Version::V2 => extend(claims, json!({ "preferred_username": name })),
        }
        match &self.subject {
            Subject::Guest(mail) => {
                let home = format!("https://sts.windows.net/{PARTNER_TENANT_ID}/");
                extend(claims, json!({ "email": mail, "idp": home }));
                if self.version() == Version::V1 {
                    let local = format!("{}#EXT#@example.onmicrosoft.com", mail.replace('@', "_"));
                    claims.insert("upn".to_owned(), local.into());
                }
            }
            Subject::PersonalAccount(mail) => {
                extend(claims, json!({ "email": mail, "idp": "live.com" }));
                if self.version() == Version::V1 {
                    claims.insert("unique_name".to_owned(), format!("live.com#{mail}").into());
                    claims.remove("upn");
                }
            }
            Subject::User(_) | Subject::App(_) | Subject::ManagedIdentity(_) => {}
        }
    }

    /// Which application asked, and for what: the claims that make it an access token.
    fn write_client(&self, claims: &mut Map<String, Value>) {
        if self.is_id_token {
            return;
        }
        // How the client proved itself: 0 not at all, 1 with a secret, 2 with a certificate.
        let (client_id, proof) = match &self.subject {
            Subject::App(client_id) => (client_id.as_str(), "1"),
            Subject::ManagedIdentity(client_id) => (client_id.as_str(), "2"),
            _ => (USER_CLIENT_ID, "0"),
        };
        match self.version() {
            Version::V1 => extend(claims, json!({ "appid": client_id, "appidacr": proof })),
            Version::V2 => extend(claims, json!({ "azp": client_id, "azpacr": proof })),
        }
        if !self.is_app() {
            claims.insert("scp".to_owned(), "user_impersonation".into());
            return;
        }
        claims.insert("idtyp".to_owned(), "app".into());
        let issuer = claims["iss"].clone();
        claims.insert("idp".to_owned(), issuer);
        if let Subject::ManagedIdentity(client_id) = &self.subject {
            let resource = format!(
                "/subscriptions/{}/resourcegroups/example/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{client_id}",
                object_id("subscription")
            );
            claims.insert("xms_mirid".to_owned(), resource.into());
        }
    }

    fn write_groups(&self, claims: &mut Map<String, Value>) {
        match &self.groups {
            Groups::Unsaid => {}
            Groups::Listed(groups) => extend(claims, json!({ "groups": groups })),
            Groups::Elsewhere => {
                let endpoint = format!(
                    "https://graph.windows.net/{}/users/{}/getMemberObjects",
                    self.tenant_id,
                    object_id(self.subject_name())
                );
                let sources = json!({ "src1": { "endpoint": endpoint } });
                extend(claims, json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": sources }));
            }
        }
    }
}

/// The object id that the tenant gives to the holder of this name: a GUID, always the same for the same name.
pub fn object_id(name: &str) -> String {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    // Version 8, vendor's own (RFC 9562 §5.8).
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The time, in seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("the clock is before the year 292 billion")
}

/// Looks like the claims that only Entra can read: base64url, 43 characters, the same for the same input.
fn opaque(claim: &str, of: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, format!("{claim} {of}").as_bytes()))
}

/// Looks like a Passport id: sixteen hexadecimal digits.
fn puid(name: &str) -> String {
    format!("1003{}", object_id(name).replace('-', "")[..12].to_uppercase())
}

/// `alice@example.com` is Alice.
fn given_name(name: &str) -> String {
    let local = name.split(['@', '.', '_']).next().unwrap_or_default();
    let mut letters = local.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn extend(claims: &mut Map<String, Value>, more: Value) {
    claims.extend(more.as_object().expect("claims are an object").clone());
}
