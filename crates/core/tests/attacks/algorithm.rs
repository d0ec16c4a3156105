//! Class A: the algorithm, and everything public that could pass for a secret (RFC 8725 §2.1).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use tenant::Signer;

use crate::header::not_texts;
use crate::login::{Attack, assert_refused, keys, token};

#[test]
fn a_token_whose_alg_is_not_rs256_is_refused() {
    let mut attacks = vec![
        Attack::by("alg none, no signature", token().signed_by(Signer::None).mint(), "unsupported_algorithm"),
        Attack::by("alg absent", token().without_header("alg").mint(), "header_invalid"),
        Attack::by("PS256, honestly made", token().signed_by(Signer::Ps256).mint(), "unsupported_algorithm"),
        Attack::by("RS384, honestly made", token().signed_by(Signer::Rs384).mint(), "unsupported_algorithm"),
        Attack::by(
            "PS256 that says RS256",
            token().signed_by(Signer::Ps256).header("alg", "RS256").mint(),
            "bad_signature",
        ),
        Attack::by(
            "RS384 that says RS256",
            token().signed_by(Signer::Rs384).header("alg", "RS256").mint(),
            "bad_signature",
        ),
    ];
    for alg in ["None", "NONE", "nOnE", "none ", " none", ""] {
        let unsigned = token().signed_by(Signer::None).header("alg", alg).mint();
        attacks.push(Attack::by(format!("alg {alg:?}, no signature"), unsigned, "unsupported_algorithm"));
    }
    for alg in [
        "none",
        "HS256",
        "HS384",
        "HS512",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES256K",
        "ES384",
        "ES512",
        "EdDSA",
        "Ed25519",
        "RS1",
        "RSA1_5",
        "RSA-OAEP",
        "dir",
        "rs256",
        "Rs256",
        "RS256 ",
        "RS-256",
        "ＲＳ256",
        "SHA256withRSA",
        "",
    ] {
        let signed = token().header("alg", alg).mint();
        attacks.push(Attack::by(format!("alg {alg:?}, signed as RS256"), signed, "unsupported_algorithm"));
    }
    for alg in not_texts() {
        let signed = token().header("alg", alg.clone()).mint();
        attacks.push(Attack::by(format!("alg is {alg}"), signed, "header_invalid"));
    }
    let nul = token().header("alg", "RS256\0").mint();
    attacks.push(Attack::by("alg with a NUL behind it", nul, "malformed_token"));
    assert_refused("A alg", &attacks);
}

/// A DER value (X.690 §8.1), of up to 65,535 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut value = match content.len() {
        0..=127 => vec![tag, length[7]],
        128..=255 => vec![tag, 0x81, length[7]],
        _ => vec![tag, 0x82, length[6], length[7]],
    };
    value.extend(content);
    value
}

fn pem(kind: &str, der: &[u8], width: usize) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(width).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----", lines.join("\n"))
}

/// Everything public that a careless verifier could take for an HMAC secret.
fn public_secrets() -> Vec<(&'static str, Vec<u8>)> {
    let kid = keys().kid(&Signer::Current);
    let document = keys().jwks();
    let jwk = document["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == *kid).unwrap();
    let text = |member: &str| jwk[member].as_str().unwrap();
    let n = URL_SAFE_NO_PAD.decode(text("n")).unwrap();
    let e = URL_SAFE_NO_PAD.decode(text("e")).unwrap();
    let certificate = STANDARD.decode(jwk["x5c"][0].as_str().unwrap()).unwrap();

    let positive = |number: &[u8]| der(0x02, &[&[0], number].concat());
    let pkcs1 = der(0x30, &[positive(&n), der(0x02, &e)].concat());
    let rsa_encryption = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let spki = der(0x30, &[&rsa_encryption[..], &der(0x03, &[&[0], &pkcs1[..]].concat())].concat());
    let bare = json!({ "e": jwk["e"], "kty": "RSA", "n": jwk["n"] });
    vec![
        ("nothing", Vec::new()),
        ("one zero byte", vec![0]),
        ("the modulus", n.clone()),
        ("modulus and exponent", [&n[..], &e].concat()),
        ("exponent and modulus", [&e[..], &n].concat()),
        ("the modulus as base64url text", text("n").into()),
        ("n and e as base64url text", [text("n"), text("e")].concat().into()),
        ("the key id", kid.into()),
        ("the key in DER (PKCS#1)", pkcs1.clone()),
        ("the key in DER (SubjectPublicKeyInfo)", spki.clone()),
        ("the key in PEM (PKCS#1)", pem("RSA PUBLIC KEY", &pkcs1, 64).into()),
        ("the key in PEM (PKCS#1) with a final newline", (pem("RSA PUBLIC KEY", &pkcs1, 64) + "\n").into()),
        ("the key in PEM", pem("PUBLIC KEY", &spki, 64).into()),
        ("the key in PEM with a final newline", (pem("PUBLIC KEY", &spki, 64) + "\n").into()),
        ("the key in PEM with CRLF", (pem("PUBLIC KEY", &spki, 64) + "\n").replace('\n', "\r\n").into()),
        ("the key in PEM on one line", pem("PUBLIC KEY", &spki, 4096).into()),
        ("the certificate in DER", certificate.clone()),
        ("the certificate in PEM", pem("CERTIFICATE", &certificate, 64).into()),
        ("the certificate as base64 text", jwk["x5c"][0].as_str().unwrap().into()),
        ("the JWK text", jwk.to_string().into()),
        ("the JWK text, its required members only (RFC 7638)", bare.to_string().into()),
        ("the JWK set's text", document.to_string().into()),
    ]
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let mut attacks = Vec::new();
    for (secret, bytes) in public_secrets() {
        let forged = token().signed_by(Signer::Hs256(bytes));
        attacks.push(Attack::by(
            format!("HS256 keyed with {secret}"),
            forged.clone().mint(),
            "unsupported_algorithm",
        ));
        attacks.push(Attack::by(
            format!("HS256 keyed with {secret} that says RS256"),
            forged.header("alg", "RS256").mint(),
            "signature_length",
        ));
    }
    for (name, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        for (secret, bytes) in public_secrets() {
            let signed = token().header("alg", name).mint();
            let (input, _) = signed.rsplit_once('.').unwrap();
            let mac = hmac::sign(&hmac::Key::new(algorithm, &bytes), input.as_bytes());
            attacks.push(Attack::by(
                format!("{name} keyed with {secret}"),
                format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac)),
                "unsupported_algorithm",
            ));
        }
    }
    assert_refused("A confusion", &attacks);
}
