//! Tokens that are not quite right: a good one gets in, and its twin with one change does not.

use pgaad_tests::twin::{refuses, refuses_from, scene};
use serde_json::{Value, json};
use tenant::{Signer, Token};

// The header.

#[test]
fn token_whose_alg_is_none_is_refused() {
    refuses("unsupported_algorithm", |token| token.signed_by(Signer::None));
}

#[test]
fn token_whose_alg_is_hs256_with_the_public_key_as_secret_is_refused() {
    let keys = scene().tenant.keys().jwks();
    let modulus = keys["keys"][0]["n"].as_str().expect("an RSA key has n").as_bytes().to_vec();
    refuses("unsupported_algorithm", |token| token.signed_by(Signer::Hs256(modulus.clone())));
}

#[test]
fn token_whose_alg_is_ps256_is_refused() {
    refuses("unsupported_algorithm", |token| token.signed_by(Signer::Ps256));
}

#[test]
fn token_whose_alg_is_rs384_is_refused() {
    refuses("unsupported_algorithm", |token| token.signed_by(Signer::Rs384));
}

#[test]
fn token_with_a_crit_header_is_refused() {
    refuses("critical_header", |token| token.header("crit", json!(["exp"])));
    refuses("critical_header", |token| token.header("crit", json!([])));
}

#[test]
fn token_with_a_forbidden_header_is_refused() {
    for name in ["b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "cty"] {
        for line in refuses("forbidden_header", |token| token.header(name, json!("x"))) {
            assert!(line.contains(&format!("member={name}")), "{line}");
        }
    }
}

#[test]
fn token_without_typ_or_with_another_is_refused() {
    refuses("header_invalid", |token| token.without_header("typ"));
    refuses("header_invalid", |token| token.header("typ", "JWE"));
    refuses("header_invalid", |token| token.header("typ", 7));
}

#[test]
fn token_without_any_key_id_is_refused() {
    refuses("header_invalid", |token| token.without_header("kid").without_header("x5t"));
}

// The key and the signature.

#[test]
fn token_by_a_key_nobody_published_is_refused() {
    refuses("key_unknown", |token| token.signed_by(Signer::Unpublished));
}

#[test]
fn token_by_another_key_under_a_published_key_id_is_refused() {
    let keys = scene().tenant.keys().jwks();
    let kid = keys["keys"][0]["kid"].as_str().expect("a key has an id").to_owned();
    refuses("bad_signature", |token| token.signed_by(Signer::UnpublishedAs(kid.clone())));
}

#[test]
fn token_with_one_bit_of_its_signature_flipped_is_refused() {
    refuses("bad_signature", |token| token.signed_by(Signer::Broken));
}

#[test]
fn token_by_the_consumer_tenants_key_is_refused() {
    refuses("key_issuer_mismatch", |token| token.signed_by(Signer::Consumer));
    refuses("key_issuer_mismatch", |token| token.signed_by(Signer::OtherCloud));
    refuses("key_issuer_mismatch", |token| token.v2().signed_by(Signer::OtherCloud));
}

// The claims.

#[test]
fn expired_token_is_refused_beyond_the_skew_only() {
    let born = |token: Token| token.not_before_in(-4000);
    refuses_from(|token| born(token).expires_in(-240), "expired", |token| token.expires_in(-301));
}

#[test]
fn token_of_the_future_is_refused_beyond_the_skew_only() {
    refuses_from(|token| token.not_before_in(240), "not_yet_valid", |token| token.not_before_in(360));
}

#[test]
fn token_with_an_impossible_lifetime_is_refused() {
    refuses("lifetime_invalid", |token| token.not_before_in(60).expires_in(30));
    let day = 24 * 3600;
    refuses_from(
        |token| token.not_before_in(-60).expires_in(28 * 3600 + 300),
        "lifetime_invalid",
        |token| token.not_before_in(-60).expires_in(2 * day),
    );
}

#[test]
fn token_for_another_audience_is_refused() {
    for aud in [
        json!("https://graph.microsoft.com"),
        json!([]),
        json!(""),
        json!("ossrdbms-aad.database.windows.net"),
    ] {
        refuses("wrong_audience", |token| token.claim("aud", aud.clone()));
    }
}

#[test]
fn token_of_another_tenant_is_refused() {
    let other = "11111111-2222-4333-8444-555555555555";
    refuses("issuer_unknown", |token| {
        token.claim("tid", other).claim("iss", format!("https://sts.windows.net/{other}/"))
    });
    refuses("issuer_unknown", |token| token.claim("iss", format!("https://sts.windows.net/{other}/")));
}

#[test]
fn token_whose_tid_is_not_that_of_its_issuer_is_refused() {
    refuses("wrong_tenant", |token| token.claim("tid", "11111111-2222-4333-8444-555555555555"));
    refuses("wrong_tenant", |token| token.claim("tid", tenant::CONSUMER_TENANT_ID));
}

#[test]
fn token_whose_version_is_not_that_of_its_issuer_is_refused() {
    refuses("version_mismatch", |token| token.claim("ver", "2.0"));
    refuses("version_mismatch", |token| token.claim("ver", "1"));
}

#[test]
fn id_token_is_refused_even_for_the_right_audience() {
    refuses("wrong_audience", Token::id_token);
    refuses("not_an_access_token", |token| token.id_token().claim("aud", tenant::AUDIENCE));
}

#[test]
fn token_without_a_required_claim_is_refused() {
    for version in [Token::v1, Token::v2] {
        for claim in ["iss", "aud", "exp", "nbf", "tid", "ver"] {
            for line in refuses_from(version, "claim_missing", |token| token.without(claim)) {
                assert!(line.contains(&format!("claim={claim}")), "{line}");
            }
        }
        refuses_from(version, "no_object_id", |token| token.without("oid"));
        refuses_from(version, "kind_unknown", |token| token.without("scp"));
    }
    refuses_from(Token::v1, "not_an_access_token", |token| token.without("appid"));
    refuses_from(Token::v2, "not_an_access_token", |token| token.without("azp"));
    refuses_from(Token::v1, "role_not_bound", |token| token.without("upn"));
    refuses_from(Token::v2, "role_not_bound", |token| token.without("preferred_username"));
}

#[test]
fn token_with_a_claim_of_the_wrong_type_is_refused() {
    let wrong: [(&str, Value); 24] = [
        ("iss", json!(["https://sts.windows.net/"])),
        ("iss", Value::Null),
        ("aud", json!(7)),
        ("aud", json!([7])),
        ("aud", json!({ "aud": tenant::AUDIENCE })),
        ("exp", json!("4102444800")),
        ("exp", json!(4_102_444_800.5)),
        ("exp", json!(true)),
        ("nbf", json!("0")),
        ("nbf", json!(-1)),
        ("iat", json!("0")),
        ("tid", json!(7)),
        ("tid", json!("not a guid")),
        ("oid", json!(["11111111-2222-4333-8444-555555555555"])),
        ("oid", json!("alice")),
        ("ver", json!(1.0)),
        ("idtyp", json!(1)),
        ("scp", json!(["user_impersonation"])),
        ("sub", json!(1)),
        ("appid", json!(1)),
        ("upn", json!(["alice@example.com"])),
        ("groups", json!("11111111-2222-4333-8444-555555555555")),
        ("roles", json!({})),
        ("amr", json!("mfa")),
    ];
    for (claim, value) in wrong {
        for line in refuses("claim_invalid", |token| token.claim(claim, value.clone())) {
            assert!(line.contains(&format!("claim={claim}")), "{line}");
        }
    }
    refuses_from(Token::v2, "claim_invalid", |token| token.claim("preferred_username", 1));
    refuses_from(Token::v2, "claim_invalid", |token| token.claim("azp", "not a guid"));
}

#[test]
fn token_whose_payload_is_no_object_or_names_a_claim_twice_is_refused() {
    let scene = scene();
    for route in scene.routes() {
        let role = scene.member();
        let token = scene.token(&role);
        let good = token.claims().to_string();
        scene.attempt(route, &role).with(token.clone().raw_payload(&good).mint()).expect_admitted();
        let twice = good.replacen('{', &format!("{{\"upn\":\"{role}\","), 1);
        for payload in ["[]", "null", "", "{", &format!("{good} x"), &twice] {
            let token = token.clone().raw_payload(payload).mint();
            scene.attempt(route, &role).with(token).expect_refused("payload_invalid");
        }
    }
}

#[test]
fn token_of_an_unknown_kind_is_refused() {
    for idtyp in ["device", "", "User"] {
        refuses("kind_unknown", |token| token.claim("idtyp", idtyp));
    }
    refuses("kind_unknown", |token| token.claim("idtyp", "app"));
}

#[test]
fn token_that_is_bound_to_a_key_is_refused() {
    for cnf in [json!({ "kid": "key" }), json!({}), Value::Null] {
        refuses("proof_of_possession", |token| token.claim("cnf", cnf.clone()));
        refuses_from(Token::v2, "proof_of_possession", |token| token.claim("cnf", cnf.clone()));
    }
}

#[test]
fn guests_token_is_refused_by_name_in_both_versions() {
    for version in [Token::v1, Token::v2] {
        for (claim, value) in [("idp", json!("live.com")), ("acct", json!(1)), ("acct", json!("1"))] {
            for line in refuses_from(version, "role_not_bound", |token| token.claim(claim, value.clone())) {
                assert!(line.contains(" guest=yes"), "{line}");
            }
        }
    }
    let own = scene().tenant.keys().v2_issuer();
    refuses_from(
        |token| token.v2().claim("idp", own.clone()).claim("acct", 0),
        "role_not_bound",
        |token| token.claim("idp", "https://sts.windows.net/3f9c1a52-6d0e-4b7f-8a14-c25e9d70b631/"),
    );
}
