//! One RSA key pair with the self-signed certificate that names it, as Entra rolls them.

use std::thread;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

/// An RSA-2048 key pair; its id is the base64url SHA-1 thumbprint of its certificate, as Entra's are.
pub(crate) struct SigningKey {
    kid: String,
    pkcs8: Vec<u8>,
    /// X.509, DER.
    certificate: Vec<u8>,
    pair: KeyPair,
    /// Big-endian, no leading zero.
    modulus: Vec<u8>,
    /// Big-endian, no leading zero.
    exponent: Vec<u8>,
}

impl SigningKey {
    /// Makes `count` new keys, one thread each, since making one takes a tenth of a second.
    pub(crate) fn generate(count: usize) -> Vec<Self> {
        thread::scope(|scope| {
            let makers: Vec<_> = (0..count).map(|_| scope.spawn(Self::generate_one)).collect();
            makers.into_iter().map(|maker| maker.join().expect("a key generator ends well")).collect()
        })
    }

    fn generate_one() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("RSA-2048 keys can be generated");
        let pkcs8 = AsDer::<Pkcs8V1Der>::as_der(&pair).expect("an RSA key has a PKCS#8 form");
        let certificate = certify(pkcs8.as_ref());
        Self::new(pkcs8.as_ref().to_vec(), certificate)
    }

    fn new(pkcs8: Vec<u8>, certificate: Vec<u8>) -> Self {
        let pair = KeyPair::from_pkcs8(&pkcs8).expect("a stored key is a PKCS#8 RSA key");
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        let (modulus, exponent) = rsa_public_numbers(pair.public_key().as_ref());
        Self { kid: URL_SAFE_NO_PAD.encode(thumbprint), pkcs8, certificate, pair, modulus, exponent }
    }

    /// Certificate and private key (PKCS#8), DER, and the public key (RFC 8017 §A.1.1).
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let public_key = self.pair.public_key().as_ref().to_vec();
        (self.certificate, self.pkcs8, public_key)
    }

    /// Reads what [`Self::to_json`] wrote.
    pub(crate) fn from_json(stored: &Value) -> Self {
        let bytes = |member: &str| {
            let text = stored[member].as_str().expect("a stored key has its two members");
            STANDARD.decode(text).expect("a stored key is base64")
        };
        Self::new(bytes("pkcs8"), bytes("certificate"))
    }

    /// The key with its private part, for the tenant's own file.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "pkcs8": STANDARD.encode(&self.pkcs8), "certificate": STANDARD.encode(&self.certificate) })
    }

    /// The key's id: 27 characters of base64url.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as Entra publishes it (RFC 7517 §4, RFC 7518 §6.3.1); no `alg`.
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": URL_SAFE_NO_PAD.encode(&self.modulus),
            "e": URL_SAFE_NO_PAD.encode(&self.exponent),
            "x5c": [STANDARD.encode(&self.certificate)],
        })
    }

    /// A signature over `message` with the padding and digest of `encoding`.
    pub(crate) fn sign(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(encoding, &SystemRandom::new(), message, &mut signature)
            .expect("an RSA-2048 key signs any message");
        signature
    }
}

/// A self-signed certificate under the name that Entra's signing certificates carry.
fn certify(pkcs8: &[u8]) -> Vec<u8> {
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(pkcs8),
        &rcgen::PKCS_RSA_SHA256,
    )
    .expect("a fresh key is a PKCS#8 RSA key");
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "accounts.accesscontrol.windows.net");
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
    params.self_signed(&key).expect("a certificate can be made").der().to_vec()
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 §A.1.1), big-endian, no leading zero.
fn rsa_public_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (numbers, _) = der_value(der, SEQUENCE);
    let (modulus, rest) = der_value(numbers, INTEGER);
    let (exponent, _) = der_value(rest, INTEGER);
    let unsigned = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    (unsigned(modulus), unsigned(exponent))
}

/// The contents of the DER value at the start of `der`, and what follows it (X.690 §8.1).
fn der_value(der: &[u8], tag: u8) -> (&[u8], &[u8]) {
    assert_eq!(der[0], tag, "an RSA public key is a sequence of two integers");
    let (length, start) = match der[1] {
        short @ 0..=127 => (usize::from(short), 2),
        long => {
            let end = 2 + usize::from(long & 0x7f);
            (der[2..end].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), end)
        }
    };
    der[start..].split_at(length)
}
