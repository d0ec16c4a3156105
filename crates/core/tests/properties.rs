//! Properties of the straight line: no mutation of a valid token is admitted, and no key document
//! makes the import panic or lets a key through that must not sign.
//!
//! `PGAAD_TORTURE_CASES` sets the number of mutations; the other properties, which are slower, get a
//! hundredth of it. The defaults keep a debug build within seconds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::string_slice
)]

mod login;
#[path = "properties/mutation.rs"]
mod mutation;

use std::env;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::guid::Guid;
use pgaad_core::keys::{KeySet, MAX_KEYS, SigningKey};
use pgaad_core::label::{Binding, Label};
use pgaad_core::token::{RawToken, UnverifiedToken};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use login::{FORGE, Forge, Login, import_bytes, jwks, token};
use mutation::{TOKENS, mutate, mutation, parts};

/// `default` cases, or `PGAAD_TORTURE_CASES` divided by `share` where that is more.
fn config(default: u32, share: u32) -> ProptestConfig {
    let asked: u32 =
        env::var("PGAAD_TORTURE_CASES").map_or(0, |text| text.parse().expect("a number of cases"));
    // Nothing is written beside the sources: a failure prints its smallest case.
    ProptestConfig {
        cases: default.max(asked / share),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The token that is mutated: alice's own, admitted as it is.
fn alices() -> &'static str {
    static CHECKED: LazyLock<&str> = LazyLock::new(|| {
        Login::with(TOKENS[0].as_str()).decide().expect("unchanged it is admitted");
        &TOKENS[0]
    });
    *CHECKED
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn assert_not_admitted(mutated: Vec<u8>) -> TestCaseResult {
    // Some mutations change nothing: a byte set to itself, an exchange of equal bytes. Some make a whole
    // other valid token. Neither is forged.
    let same = TOKENS.iter().any(|token| token.as_bytes() == mutated);
    let decided = Login::with(mutated.clone()).uncapped().decide();
    if !same {
        prop_assert!(decided.is_err(), "ADMITTED: {}", String::from_utf8_lossy(&mutated));
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(2_000, 1))]

    #[test]
    fn no_mutation_of_a_valid_token_is_admitted(mutations in vec(mutation(), 1..4)) {
        let mut bytes = alices().as_bytes().to_vec();
        for mutation in &mutations {
            bytes = mutate(&bytes, mutation);
        }
        assert_not_admitted(bytes)?;
    }
}

proptest! {
    #![proptest_config(config(250, 100))]

    #[test]
    fn no_arbitrary_bytes_are_admitted(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(Login::with(bytes).decide().is_err());
    }

    #[test]
    fn no_arbitrary_parts_are_admitted(
        header in prop_oneof![Just(decoded(parts(alices())[0])), vec(any::<u8>(), 0..60)],
        payload in prop_oneof![Just(decoded(parts(alices())[1])), vec(any::<u8>(), 0..60)],
        signature in vec(any::<u8>(), 0..300),
    ) {
        let text = [header, payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(Login::with(text).decide().is_err());
    }

    /// Signed, so that the claims are reached: whatever replaces a claim's value, the decision comes to an end,
    /// and it is only "yes" where what must hold of a token still holds.
    #[test]
    fn a_signed_token_with_any_json_in_a_claim_is_decided(
        claim in prop::sample::select(vec![
            "iss", "aud", "exp", "nbf", "iat", "tid", "oid", "ver", "appid", "scp", "upn", "idtyp", "groups", "amr",
            "hasgroups", "_claim_names", "uti", "sub", "roles", "idp", "acct", "cnf", "x",
        ]),
        value in json_value(),
    ) {
        let original = token().claims();
        let mut claims = original.clone();
        claims[claim] = value.clone();
        let decided = Login::with(FORGE.token(Forge::HEADER, claims.to_string())).uncapped().decide();
        if let Ok(admission) = decided {
            prop_assert_eq!(admission.principal().user_name(), Some(login::ALICE));
            for bound in ["iss", "tid", "ver", "upn"] {
                prop_assert_eq!(&claims[bound], &original[bound], "{} is changed and the token admitted", bound);
            }
            prop_assert!(claims.get("cnf").is_none(), "a token that is bound to a key is admitted");
            prop_assert!(claims.get("idp").is_none_or(|idp| *idp == original["iss"]), "a guest is admitted by name");
            let aud = &claims["aud"];
            let names = aud.as_array().map_or_else(|| vec![aud], |list| list.iter().collect());
            let ours = |name: &&Value| {
                let name = name.as_str().unwrap_or_default().trim_end_matches('/');
                [tenant::AUDIENCE, tenant::AUDIENCE_APP_ID].contains(&name)
            };
            prop_assert!(names.iter().any(ours), "another aud, and the token is admitted: {aud}");
        }
    }

    #[test]
    fn what_the_parser_takes_names_a_key(bytes in vec(any::<u8>(), 1..200), header in json_value()) {
        for text in [bytes, FORGE.token(header.to_string(), "{}").into_bytes()] {
            let raw = RawToken::new(text, usize::MAX).unwrap();
            if let Ok(token) = UnverifiedToken::parse(&raw) {
                let name = format!("{:?}", token.key_name());
                prop_assert!(!name.contains("\"\""), "{}", name);
            }
        }
    }

    #[test]
    fn importing_arbitrary_bytes_never_panics(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(import_bytes(&bytes).is_err());
    }

    #[test]
    fn importing_arbitrary_json_never_panics(value in json_value(), entries in vec(json_value(), 0..70)) {
        let _ = import_bytes(value.to_string().as_bytes());
        let _ = import_bytes(json!({ "keys": value }).to_string().as_bytes());
        let _ = import_bytes(json!({ "keys": entries }).to_string().as_bytes());
    }

    /// Near-valid documents: a member of a key replaced, the text cut and its bits flipped.
    #[test]
    fn importing_a_spoilt_key_set_never_panics_and_keeps_only_sound_keys(
        key in any::<Index>(),
        member in prop::sample::select(vec![
            "kty", "use", "kid", "x5t", "n", "e", "issuer", "cloud_instance_name", "alg", "key_ops", "d", "k", "x5c",
            "keys",
        ]),
        value in key_value(),
        flips in vec(any::<Index>(), 0..4),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let mut document = jwks();
        let entries = document["keys"].as_array_mut().unwrap();
        let place = key.index(entries.len());
        entries[place][member] = value;
        let mut bytes = document.to_string().into_bytes();
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(keys) = import_bytes(&bytes) {
            assert_sound(&keys)?;
        }
    }

    #[test]
    fn a_guid_reads_back_as_it_was_printed(bytes in any::<[u8; 16]>(), noise in "[0-9a-fA-F-]{30,40}") {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let printed = text.parse::<Guid>().unwrap().to_string();
        prop_assert_eq!(&printed, &text.to_lowercase());
        prop_assert_eq!(printed.parse::<Guid>(), text.parse::<Guid>());
        if let Ok(guid) = noise.parse::<Guid>() {
            prop_assert_eq!(guid.to_string(), noise.to_lowercase());
        }
    }
}

fn assert_sound(keys: &KeySet) -> TestCaseResult {
    prop_assert!((1..=MAX_KEYS).contains(&keys.keys().len()));
    for key in keys.keys() {
        let (modulus, exponent) = (SigningKey::modulus(key), key.exponent());
        prop_assert!((2048..=8192).contains(&key.bits()));
        prop_assert!(modulus[0] != 0 && modulus.last().unwrap() % 2 == 1);
        prop_assert!(exponent == [3] || exponent == [1, 0, 1]);
        prop_assert!(!key.kid().is_empty());
    }
    Ok(())
}

/// Any JSON, some of it with the words that matter.
fn json_value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "RS256",
        "none",
        "JWT",
        "at+jwt",
        "forge",
        "alg",
        "kid",
        "typ",
        "x5t",
        "groups",
        "user",
        "app",
        "mfa",
        "RSA",
        "",
        login::ALICE,
        tenant::TENANT_ID,
        tenant::AUDIENCE,
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (*login::NOW - 200_000..*login::NOW + 200_000).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        let name = prop_oneof![any::<String>(), word.clone().prop_map(str::to_owned)];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Values for a member of a key: any JSON, numbers in base64url of any size, words of the RFCs.
fn key_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => json_value(),
        3 => vec(any::<u8>(), 0..1100).prop_map(|number| URL_SAFE_NO_PAD.encode(number).into()),
        2 => vec(any::<u8>(), 256).prop_map(|number| URL_SAFE_NO_PAD.encode(number).into()),
        1 => prop::sample::select(vec!["RSA", "EC", "oct", "sig", "enc", "RS256", "AQAB", "Aw", "AQ", "forge"])
            .prop_map(Value::from),
        1 => "[ -~]{120,300}".prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(config(512, 100))]

    #[test]
    fn a_label_is_read_back_as_it_was_printed(
        oid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        kind in 0..4,
        admin: bool,
        mfa: bool,
        of_another: bool,
    ) {
        let tenant = (of_another && kind > 0).then(|| oid.parse().unwrap());
        let binding = match kind {
            0 => Binding::Name,
            1 => Binding::User(oid.parse().unwrap()),
            2 => Binding::Group(oid.parse().unwrap()),
            _ => Binding::Service { object_id: oid.parse().unwrap(), client_id: oid.parse().unwrap() },
        };
        let label = Label { binding, admin, mfa, tenant };
        prop_assert_eq!(label.to_string().parse::<Label>(), Ok(label));
    }

    #[test]
    fn a_label_that_is_read_is_printed_as_one_that_reads_the_same(
        text in "aadauth(,(admin|mfa|oid=123cd850-d9df-40bd-94d5-c9f07b7fa203|type=(user|group|service)|tenant=123cd850-d9df-40bd-94d5-c9f07b7fa203|.{0,3})){0,5}",
    ) {
        if let Ok(label) = text.parse::<Label>() {
            prop_assert_eq!(label.to_string().parse::<Label>(), Ok(label));
        }
    }
}
