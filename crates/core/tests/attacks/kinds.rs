//! Class C: tokens of other kinds than an access token of a user or a program.

use serde_json::json;
use tenant::{AUDIENCE, TENANT_ID};

use crate::claims::{rows, versions};
use crate::login::{ALICE, Attack, Login, assert_refused, token};

#[test]
fn a_token_that_is_no_access_token_of_one_kind_is_refused() {
    let mut attacks = Vec::new();
    let id_token = token().id_token().claim("aud", AUDIENCE);
    let twin = token().v2().claim("aud", AUDIENCE);
    rows(&mut attacks, "an ID token for our audience", id_token.clone(), &twin, "not_an_access_token");
    rows(&mut attacks, "an ID token for its own client", token().id_token(), &twin, "wrong_audience");
    let scoped = id_token.clone().claim("scp", "openid");
    rows(&mut attacks, "an ID token with a scope", scoped, &twin, "not_an_access_token");
    let nameless = id_token.without("preferred_username").claim("idtyp", "app");
    rows(
        &mut attacks,
        "an ID token that says it is an application's",
        nameless,
        &twin,
        "not_an_access_token",
    );

    for (version, twin) in versions() {
        for idtyp in
            ["", "User", "USER", "APP", "App", "device", "user ", "app,user", "deviceid", "\u{200b}user"]
        {
            let name = format!("{version} with idtyp {idtyp:?}");
            rows(&mut attacks, &name, twin.clone().claim("idtyp", idtyp), &twin, "kind_unknown");
        }
        for (name, hostile) in [
            ("an application with a user's scope", twin.clone().claim("idtyp", "app")),
            ("a user without a scope", twin.clone().claim("idtyp", "user").without("scp")),
            ("a user with an empty scope", twin.clone().claim("scp", "")),
            (
                "a user by declaration with an empty scope",
                twin.clone().claim("idtyp", "user").claim("scp", ""),
            ),
            (
                "a user with roles for a scope",
                twin.clone().without("scp").claim("roles", json!(["user_impersonation"])),
            ),
        ] {
            rows(&mut attacks, &format!("{version}: {name}"), hostile, &twin, "kind_unknown");
        }
    }
    assert_refused("C kind", &attacks);
    Login::with(token().claim("idtyp", "user").mint()).decide().expect("a user who says so");
}

#[test]
fn an_actor_token_is_refused_however_it_names_its_tenant() {
    // Tokens of service to service: issued by the access control service, not by the tenant, and
    // able to speak for any user (`nameid`) where they are believed (CVE-2025-55241).
    let acs = format!("00000001-0000-0000-c000-000000000000@{TENANT_ID}");
    let actor = token()
        .claim("iss", acs.as_str())
        .claim("nameid", format!("00000003-0000-0ff1-ce00-000000000000@{TENANT_ID}"))
        .claim("trustedfordelegation", "true");
    let carried = token().claim("actortoken", actor.mint());
    let unsigned = carried.clone().signed_by(tenant::Signer::None);
    let mut attacks = vec![
        Attack::by("issued by the access control service", actor.mint(), "issuer_unknown"),
        Attack::by("issued by it in v1 form", actor.clone().claim("ver", "1.0").mint(), "issuer_unknown"),
        Attack::by("its issuer in an array", actor.claim("iss", json!([acs])).mint(), "claim_invalid"),
    ];
    let twin = Login::with(carried.mint());
    attacks.push(Attack::new(
        "unsigned, with a signed actor token inside",
        Login::with(unsigned.mint()),
        twin,
        "unsupported_algorithm",
    ));
    let subject_only = token().without("oid").without("upn").claim("nameid", ALICE);
    attacks.push(Attack::by("a user by nameid only", subject_only.mint(), "no_object_id"));
    assert_refused("C actor", &attacks);
}

#[test]
fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let mut attacks = Vec::new();
    for (version, twin) in versions() {
        for cnf in [
            json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
            json!({ "kid": "key" }),
            json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
            json!({}),
            json!(null),
            json!(""),
            json!([]),
            json!(false),
        ] {
            let name = format!("{version} with cnf {cnf}");
            rows(&mut attacks, &name, twin.clone().claim("cnf", cnf), &twin, "proof_of_possession");
        }
    }
    assert_refused("C proof of possession", &attacks);
    // Only the claim itself counts: `xms_cnf` and its like bind nothing.
    Login::with(token().claim("xms_cnf", "x").claim("req_cnf", "x").mint()).decide().expect("no cnf");
}
