//! By what an application shows itself: the token endpoint's side of it.

use std::collections::BTreeMap;
use std::fmt::Write;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::directory::{Application, Directory};
use crate::keys::Keys;
use crate::page::{self, Response};
use crate::signing_key::SigningKey;

/// Longest life of an assertion, in seconds.
const MAX_LIFETIME: i64 = 600;

/// A certificate of an application, and its private key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    certificate: Vec<u8>,
    pkcs8: Vec<u8>,
    public_key: Vec<u8>,
}

impl ClientCertificate {
    /// A new one: RSA-2048, signed by itself.
    pub fn generate() -> Self {
        let key = SigningKey::generate(1).pop().expect("one was made");
        let (certificate, pkcs8, public_key) = key.into_parts();
        Self { certificate, pkcs8, public_key }
    }

    /// Certificate and private key, PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate) + &pem("PRIVATE KEY", &self.pkcs8)
    }

    /// The certificate alone, PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The private key alone, PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// `x5t` (RFC 7515 §4.1.7).
    fn thumbprint_sha1(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.certificate))
    }

    /// `x5t#S256` (RFC 7515 §4.1.8).
    fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.certificate))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text + &format!("-----END {label}-----\n")
}

/// The answer of the token endpoint `url` to a form of the client credentials flow.
pub(crate) fn client_credentials(
    directory: &mut Directory,
    keys: &Keys,
    url: &str,
    form: &BTreeMap<String, String>,
) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let graph = format!("{}/.default", keys.authority());
    if field("scope") != graph {
        return refusal(400, "invalid_scope", 70_011, "the scope is not Graph's");
    }
    let client_id = field("client_id").to_owned();
    let Some(application) = directory.applications.get(&client_id).cloned() else {
        return refusal(400, "unauthorized_client", 700_016, "there is no such application");
    };
    let proven = if form.contains_key("client_assertion") {
        if field("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            return refusal(400, "invalid_request", 900_144, "the assertion has no type");
        }
        let assertion = field("client_assertion");
        if application.federated.iter().any(|token| token == assertion) {
            Ok(())
        } else {
            check_assertion(directory, &application, &client_id, url, assertion)
        }
    } else if application.secrets.iter().any(|secret| secret == field("client_secret")) {
        Ok(())
    } else {
        Err((7_000_215, "the secret is wrong"))
    };
    match proven {
        Ok(()) => token(directory, keys, &client_id, &application),
        Err((number, why)) => refusal(401, "invalid_client", number, why),
    }
}

/// A token for Graph, in the form of the token endpoint.
fn token(directory: &mut Directory, keys: &Keys, client_id: &str, application: &Application) -> Response {
    let token = issue(directory, keys, client_id, application);
    page::json_response(
        200,
        json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": token }).to_string(),
    )
}

/// A token for Graph.
pub(crate) fn issue(
    directory: &mut Directory,
    keys: &Keys,
    client_id: &str,
    application: &Application,
) -> String {
    let permissions: Vec<_> = application.permissions.iter().collect();
    let token =
        keys.token().app(client_id).claim("aud", keys.authority()).claim("roles", json!(permissions)).mint();
    directory.tokens.insert(token.clone(), client_id.to_owned());
    token
}

/// Whether an assertion is one of the application's (RFC 7523 §3); else Entra's number of the error, and why.
fn check_assertion(
    directory: &mut Directory,
    application: &Application,
    client_id: &str,
    url: &str,
    assertion: &str,
) -> Result<(), (u32, &'static str)> {
    let malformed = (50_027, "the assertion is no JWT");
    let (signed, signature) = assertion.rsplit_once('.').ok_or(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(malformed)?;
    let read = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed)?;
        serde_json::from_slice::<Value>(&bytes).map_err(|_| malformed)
    };
    let (header, claims) = (read(header)?, read(payload)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?;
    // Microsoft's own libraries pad what RFC 7515 §2 has without.
    let named = |member: &str| header[member].as_str().map(|thumbprint| thumbprint.trim_end_matches('='));
    let is_named = |one: &&ClientCertificate| {
        named("x5t#S256") == Some(&one.thumbprint()) || named("x5t") == Some(&one.thumbprint_sha1())
    };
    let certificate = application.certificates.iter().find(is_named);
    let certificate = certificate.ok_or((700_027, "no certificate has this thumbprint"))?;
    let algorithm: &'static dyn VerificationAlgorithm = match header["alg"].as_str() {
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err((700_027, "the algorithm is neither PS256 nor RS256")),
    };
    let key = UnparsedPublicKey::new(algorithm, &certificate.public_key);
    key.verify(signed.as_bytes(), &signature).map_err(|_| (700_027, "the signature is wrong"))?;
    if claims["iss"] != client_id || claims["sub"] != client_id {
        return Err((700_021, "the assertion is somebody else's"));
    }
    if claims["aud"] != url {
        return Err((700_023, "the audience is not the token endpoint"));
    }
    // A NumericDate may have a fraction (RFC 7519 §2), as Microsoft's own libraries write it.
    let time = |name: &str| claims[name].as_f64().map(|time| time as i64).ok_or(malformed);
    let (now, nbf, exp) = (crate::claims::now(), time("nbf").or_else(|_| time("iat"))?, time("exp")?);
    if nbf > now || exp <= now || exp - nbf > MAX_LIFETIME {
        return Err((700_024, "the assertion is not within its valid time range"));
    }
    let id = claims["jti"].as_str().filter(|id| !id.is_empty()).ok_or(malformed)?;
    if !directory.used_assertions.insert(id.to_owned()) {
        return Err((700_024, "the assertion was used before"));
    }
    Ok(())
}

fn refusal(status: u16, error: &str, number: u32, why: &str) -> Response {
    let document = json!({
        "error": error,
        "error_description": format!("AADSTS{number}: {why}."),
        "error_codes": [number],
    });
    page::json_response(status, document.to_string())
}
