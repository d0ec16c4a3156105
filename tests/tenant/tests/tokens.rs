//! Tokens have the shape of Entra's and the faults they were asked to have.

mod client;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use client::{decoded, key_of, verifies};
use serde_json::{Value, json};
use tenant::{AUDIENCE, AUDIENCE_APP_ID, CONSUMER_TENANT_ID, Keys, Signer, TENANT_ID, Token, object_id};

const CLIENT: &str = "5c2b4f0e-7a31-4a43-9d8e-0c6f1d2e3b4a";

fn keys() -> Keys {
    Keys::generate("https://login.example")
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn has(token: &Token, claim: &str) -> bool {
    token.claims().get(claim).is_some()
}

fn time(token: &Token, claim: &str) -> i64 {
    token.claims()[claim].as_i64().unwrap()
}

#[test]
fn a_v1_token_verifies_against_the_key_set_and_has_v1_claims() {
    let minted = keys().token().mint();
    assert!(verifies(&minted, &keys().jwks()));
    let (header, claims) = decoded(&minted);
    assert_eq!(header["alg"], "RS256");
    assert_eq!(header["typ"], "JWT");
    assert_eq!(header["x5t"], header["kid"]);
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{TENANT_ID}/"));
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!(claims["ver"], "1.0");
    assert_eq!(claims["upn"], "alice@example.com");
    assert_eq!(claims["unique_name"], "alice@example.com");
    assert_eq!(claims["oid"], object_id("alice@example.com"));
    assert_eq!(claims["tid"], TENANT_ID);
    assert_eq!(claims["scp"], "user_impersonation");
    assert_eq!(claims["amr"], json!(["pwd"]));
    for claim in ["iat", "nbf", "exp", "acr", "aio", "appid", "appidacr", "family_name", "given_name"] {
        assert!(claims.get(claim).is_some(), "{claim}");
    }
    for claim in ["ipaddr", "name", "puid", "rh", "sub", "uti"] {
        assert!(claims.get(claim).is_some(), "{claim}");
    }
    assert!(claims.get("azp").is_none() && claims.get("groups").is_none());
}

#[test]
fn a_v2_token_verifies_against_the_key_set_and_has_v2_claims() {
    let minted = keys().token().v2().mint();
    assert!(verifies(&minted, &keys().jwks()));
    let (header, claims) = decoded(&minted);
    assert!(header.get("x5t").is_none());
    assert_eq!(claims["iss"], format!("https://login.example/{TENANT_ID}/v2.0"));
    assert_eq!(claims["aud"], AUDIENCE_APP_ID);
    assert_eq!(claims["ver"], "2.0");
    assert_eq!(claims["preferred_username"], "alice@example.com");
    for claim in ["azp", "azpacr", "name", "oid", "rh", "scp", "sub", "tid", "uti"] {
        assert!(claims.get(claim).is_some(), "{claim}");
    }
    for claim in ["appid", "upn", "unique_name", "amr", "acr"] {
        assert!(claims.get(claim).is_none(), "{claim}");
    }
}

#[test]
fn an_app_token_has_no_scope_and_no_user_names() {
    for token in [keys().token().app(CLIENT), keys().token().app(CLIENT).v2()] {
        let claims = token.claims();
        assert_eq!(claims["idtyp"], "app");
        assert_eq!(claims["oid"], object_id(CLIENT));
        assert_eq!(claims.get("appid").or(claims.get("azp")), Some(&CLIENT.into()));
        for claim in ["scp", "upn", "unique_name", "preferred_username", "name", "amr"] {
            assert!(!has(&token, claim), "{claim}");
        }
    }
    assert!(has(&keys().token().managed_identity(CLIENT), "xms_mirid"));
}

#[test]
fn a_guest_has_the_name_this_tenant_gave_and_a_personal_account_has_none() {
    let guest = keys().token().guest("carol@partner.example").claims();
    assert_eq!(guest["upn"], "carol_partner.example#EXT#@example.onmicrosoft.com");
    assert_eq!(guest["unique_name"], "carol@partner.example");
    assert_ne!(guest["idp"], guest["iss"]);
    let personal = keys().token().personal_account("dave@outlook.com");
    assert!(!has(&personal, "upn"));
    assert_eq!(personal.claims()["unique_name"], "live.com#dave@outlook.com");
}

#[test]
fn groups_are_listed_or_said_to_be_elsewhere() {
    let listed = keys().token().groups(&["one", "two"]);
    assert_eq!(listed.claims()["groups"], json!(["one", "two"]));
    let overage = listed.overage();
    assert!(!has(&overage, "groups"));
    assert_eq!(overage.claims()["_claim_names"], json!({ "groups": "src1" }));
    assert!(overage.claims()["_claim_sources"]["src1"]["endpoint"].is_string());
}

#[test]
fn an_id_token_is_v2_and_names_no_client_but_its_audience() {
    let token = keys().token().id_token();
    assert_eq!(token.claims()["ver"], "2.0");
    assert_eq!(token.claims()["aud"], tenant::USER_CLIENT_ID);
    for claim in ["azp", "appid", "scp"] {
        assert!(!has(&token, claim), "{claim}");
    }
}

#[test]
fn a_token_is_good_now_and_for_about_75_minutes() {
    let token = keys().token();
    assert!(time(&token, "nbf") <= now() && time(&token, "iat") <= now());
    assert!((4400..=4500).contains(&(time(&token, "exp") - now())));
}

#[test]
fn a_token_that_expired_was_good_once() {
    let token = keys().token().expires_in(-60);
    assert!((now() - 61..=now() - 59).contains(&time(&token, "exp")));
    assert!(time(&token, "nbf") < time(&token, "exp"));
    let later = keys().token().not_before_in(7200);
    assert!((now() + 7199..=now() + 7201).contains(&time(&later, "nbf")));
    assert!(time(&later, "exp") > time(&later, "nbf"));
}

#[test]
fn a_clone_with_one_claim_changed_differs_in_nothing_else() {
    let token = keys().token();
    let other = token.clone().claim("aud", "https://other.example").without("upn");
    let (mut one, mut two) = (token.claims(), other.claims());
    assert_eq!(two["aud"], "https://other.example");
    assert!(two.get("upn").is_none());
    for claims in [&mut one, &mut two] {
        let claims = claims.as_object_mut().unwrap();
        claims.remove("aud");
        claims.remove("upn");
    }
    assert_eq!(one, two);
    assert_eq!(token.mint(), token.mint());
}

#[test]
fn raw_parts_are_used_as_they_are_and_signed() {
    let kid = keys().kid(&Signer::Current);
    let header = format!(r#"{{"alg":"RS256", "kid":"{kid}","kid":"{kid}"}}"#);
    let minted = keys().token().raw_header(&header).raw_payload("{ }").mint();
    assert!(verifies(&minted, &keys().jwks()));
    assert!(minted.starts_with(&format!("{}.{}.", URL_SAFE_NO_PAD.encode(&header), "eyB9")));
}

#[test]
fn header_members_can_be_set_and_taken_away() {
    let (header, _) = decoded(&keys().token().header("crit", json!(["exp"])).without_header("kid").mint());
    assert_eq!(header["crit"], json!(["exp"]));
    assert!(header.get("kid").is_none() && header.get("x5t").is_some());
}

#[test]
fn another_tenant_is_another_tid_and_issuer() {
    let other = "11111111-2222-4333-8444-555555555555";
    let claims = keys().token().tenant(other).claims();
    assert_eq!(claims["tid"], other);
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{other}/"));
}

#[test]
fn each_signer_signs_as_it_says() {
    let jwks = keys().jwks();
    let by = |signer: Signer| keys().token().signed_by(signer).mint();
    let issuer = |minted: &str| key_of(minted, &jwks).map(|key| key["issuer"].clone());
    let algorithm = |minted: &str| decoded(minted).0["alg"].clone();

    for signer in [Signer::Current, Signer::Second, Signer::Consumer, Signer::OtherCloud] {
        assert!(verifies(&by(signer), &jwks));
    }
    assert_ne!(keys().kid(&Signer::Second), keys().kid(&Signer::Current));
    assert_eq!(issuer(&by(Signer::Second)), Some("https://login.example/{tenantid}/v2.0".into()));
    let consumers = format!("https://login.example/{CONSUMER_TENANT_ID}/v2.0");
    assert_eq!(issuer(&by(Signer::Consumer)), Some(consumers.into()));
    assert_eq!(issuer(&by(Signer::Unpublished)), None);

    let claimed = by(Signer::UnpublishedAs(keys().kid(&Signer::Current)));
    assert!(key_of(&claimed, &jwks).is_some() && !verifies(&claimed, &jwks));
    assert!(!verifies(&by(Signer::Broken), &jwks));
    assert!(by(Signer::None).ends_with('.'));
    let others = [Signer::None, Signer::Hs256(b"secret".to_vec()), Signer::Ps256, Signer::Rs384];
    for (signer, name) in others.into_iter().zip(["none", "HS256", "PS256", "RS384"]) {
        let minted = by(signer);
        assert_eq!(algorithm(&minted), name);
        assert!(key_of(&minted, &jwks).is_some() && !verifies(&minted, &jwks));
    }
}

#[test]
fn a_published_key_has_the_thumbprint_of_its_certificate_as_id_and_says_no_algorithm() {
    let jwks = keys().jwks();
    let published = jwks["keys"].as_array().unwrap();
    assert_eq!(published.len(), 4);
    for key in published {
        let certificate = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        assert_eq!(key["kid"], URL_SAFE_NO_PAD.encode(thumbprint));
        assert_eq!(key["x5t"], key["kid"]);
        assert_eq!(key["kty"], "RSA");
        assert_eq!(key["use"], "sig");
        assert_eq!(key["e"], "AQAB");
        assert_eq!(client::base64url(key["n"].as_str().unwrap()).len(), 256);
        for member in ["alg", "d", "p", "q", "key_ops"] {
            assert_eq!(key.get(member), None::<&Value>, "{member}");
        }
    }
}

#[test]
fn another_authority_has_other_keys_and_the_same_authority_the_same() {
    let other = Keys::generate("https://other.example");
    assert_ne!(other.kid(&Signer::Current), keys().kid(&Signer::Current));
    assert_eq!(keys().kid(&Signer::Current), keys().kid(&Signer::Current));
}
