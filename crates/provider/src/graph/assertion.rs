//! An assertion signed by a certificate's key, in the place of a secret (RFC 7523 §2.2, and
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>).

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::time::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use x509_cert::der::Decode;
use zeroize::{Zeroize, Zeroizing};

use super::error::GraphError;

/// How long an assertion is valid; Entra takes ten minutes at the most.
const LIFETIME: i64 = 600;

/// By how much the clocks of Entra and this server may differ.
const EARLY: i64 = 60;

/// Signs an assertion of `client_id` for the token endpoint `audience`, by the first certificate and the private key
/// of `pem`: PS256, the certificate named by its SHA-256 (RFC 7515 §4.1.8).
///
/// # Errors
/// [`GraphError::Credential`], where there is no certificate, or no RSA key of it that can be read.
pub(super) fn sign(
    pem: &[u8],
    client_id: &str,
    audience: &str,
    now: UnixTime,
) -> Result<Zeroizing<String>, GraphError> {
    let certificate = CertificateDer::pem_slice_iter(pem).next().and_then(Result::ok);
    let certificate = certificate.ok_or(GraphError::Credential("holds no certificate (PEM)"))?;
    let key = key_of(pem)?;
    if public_key_of(&certificate).as_deref() != Some(key.public_key().as_ref()) {
        // Entra would say no more than that the signature is wrong.
        return Err(GraphError::Credential("holds a private key that is not the first certificate's"));
    }
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate));
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let seconds = now.seconds();
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": token_id()?,
        "iat": seconds, "nbf": seconds.saturating_sub(EARLY), "exp": seconds.saturating_add(LIFETIME - EARLY),
    });
    let encoded = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let mut assertion = Zeroizing::new(format!("{}.{}", encoded(&header), encoded(&claims)));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), assertion.as_bytes(), &mut signature)
        .map_err(|_| GraphError::Credential("holds a key that does not sign"))?;
    let _ = write!(assertion, ".{}", URL_SAFE_NO_PAD.encode(&signature));
    Ok(assertion)
}

/// The key of a certificate, as RFC 8017 §A.1.1 writes one.
fn public_key_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let key = &certificate.tbs_certificate().subject_public_key_info().subject_public_key;
    key.as_bytes().map(<[u8]>::to_vec)
}

/// The private key, without encryption.
fn key_of(pem: &[u8]) -> Result<KeyPair, GraphError> {
    let mut key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| GraphError::Credential("holds no private key (PEM, not encrypted)"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(GraphError::Credential("holds a private key that is not RSA")),
    };
    key.zeroize();
    pair.map_err(|_| GraphError::Credential("holds a private key that is not RSA"))
}

/// An id that no other assertion has, in the form of a GUID.
fn token_id() -> Result<String, GraphError> {
    let mut bytes = [0; 16];
    fill(&mut bytes).map_err(|_| GraphError::Credential("cannot be used without random numbers"))?;
    Ok(pgaad_core::guid::ObjectId::from_bytes(bytes).to_string())
}

/// When the first certificate of `pem` expires; `None` where there is none that can be read.
pub(super) fn expiry(pem: &[u8]) -> Option<UnixTime> {
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let certificate = x509_cert::Certificate::from_der(&certificate).ok()?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    i64::try_from(end).ok().map(UnixTime::new)
}
