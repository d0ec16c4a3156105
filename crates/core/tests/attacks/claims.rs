//! Class C: claims that are missing, of the wrong type, or of somebody else (RFC 7519 §4.1, RFC 8725 §3).

use pgaad_core::Reason;
use serde_json::{Value, json};
use tenant::{AUDIENCE, CONSUMER_TENANT_ID, TENANT_ID, Token, USER_CLIENT_ID};

use crate::login::{Attack, EXP, FORGE, Forge, Login, NBF, NOW, SKEW, assert_refused, keys, token};

const OTHER_TENANT: &str = "11111111-2222-4333-8444-555555555555";

/// Both versions, as logins of alice@example.com.
pub(crate) fn versions() -> [(&'static str, Token); 2] {
    [("v1", token().v1()), ("v2", token().v2())]
}

pub(crate) fn rows(rows: &mut Vec<Attack>, name: &str, hostile: Token, twin: &Token, code: &'static str) {
    rows.push(Attack::new(name, Login::with(hostile.mint()), Login::with(twin.mint()), code));
}

#[test]
fn a_token_without_a_required_claim_is_refused() {
    let mut attacks = Vec::new();
    for (version, twin) in versions() {
        for (claim, code) in [
            ("iss", "claim_missing"),
            ("aud", "claim_missing"),
            ("exp", "claim_missing"),
            ("nbf", "claim_missing"),
            ("tid", "claim_missing"),
            ("ver", "claim_missing"),
            ("oid", "no_object_id"),
            (if version == "v1" { "appid" } else { "azp" }, "not_an_access_token"),
            ("scp", "kind_unknown"),
        ] {
            let name = format!("{version} without {claim}");
            rows(&mut attacks, &name, twin.clone().without(claim), &twin, code);
        }
        let name = format!("{version} with the other version's name for the application");
        let (own, other) = if version == "v1" { ("appid", "azp") } else { ("azp", "appid") };
        let renamed = twin.clone().without(own).claim(other, USER_CLIENT_ID);
        rows(&mut attacks, &name, renamed, &twin, "not_an_access_token");
    }
    assert_refused("C missing", &attacks);

    for optional in ["iat", "sub", "uti", "amr", "unique_name", "name", "acr"] {
        let login = Login::with(token().without(optional).mint());
        login.decide().unwrap_or_else(|reason| panic!("without {optional}: {reason:?}"));
    }
}

/// Spelt as in the payload: JSON numbers have more spellings than values.
const NOT_TEXT: [&str; 9] = ["null", "true", "0", "-1", "1.5", "[]", "[\"x\"]", "{}", "{\"x\":\"x\"}"];
const NOT_TEXTS: [&str; 12] = [
    "null",
    "false",
    "0",
    "1.5",
    "\"\"",
    "\"x\"",
    "{}",
    "[null]",
    "[1]",
    "[[\"x\"]]",
    "[\"x\",{}]",
    "[\"x\",true]",
];
const NOT_A_TIME: [&str; 20] = [
    "null",
    "true",
    "\"\"",
    "\"1800000000\"",
    "[]",
    "[1800000000]",
    "{}",
    "1800000000.0",
    "1800000000.5",
    "1.8e9",
    "18E8",
    "-0",
    "-0.0",
    "-1",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e300",
    "\"2027-01-15T08:00:00Z\"",
];
const NOT_A_GUID: [&str; 16] = [
    "null",
    "true",
    "0",
    "1.5",
    "[]",
    "{}",
    "\"\"",
    "\"common\"",
    "\"alice@example.com\"",
    "[\"7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10\"]",
    "\"{7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10}\"",
    "\"7d3f3c4e7d0c4b3a9b6c0f2a5e1c9d10\"",
    "\" 7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10\"",
    "\"7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10\\n\"",
    "\"7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d1\"",
    "\"urn:uuid:7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10\"",
];

#[test]
fn a_claim_of_the_wrong_type_is_refused_and_named() {
    let classes: [(&[&'static str], &[&str]); 4] = [
        (
            &["iss", "ver", "idtyp", "scp", "upn", "unique_name", "preferred_username", "uti", "sub"],
            &NOT_TEXT,
        ),
        (&["groups", "amr", "roles"], &NOT_TEXTS),
        (&["exp", "nbf", "iat"], &NOT_A_TIME),
        (&["tid", "oid", "appid", "azp"], &NOT_A_GUID),
    ];
    let aud = ["null", "true", "0", "1.5", "{}", "[null]", "[0]", "[[]]", "[\"x\",null]", "{\"0\":\"x\"}"];
    let names = ["null", "true", "0", "\"groups\"", "[]", "[\"groups\"]"];
    let hint = ["null", "0", "1", "\"\"", "\"yes\"", "\"True\"", "[]", "{}"];
    let single: [(&[&'static str], &[&str]); 3] =
        [(&["aud"], &aud), (&["_claim_names"], &names), (&["hasgroups"], &hint)];

    let mut attacks = Vec::new();
    for (claims, values) in classes.iter().chain(&single) {
        for claim in *claims {
            let others = token().without(claim).claims().to_string();
            for value in *values {
                let payload = format!("{{\"{claim}\":{value},{}", &others[1..]);
                let hostile = Login::with(FORGE.token(Forge::HEADER, payload));
                assert_eq!(
                    hostile.decide().unwrap_err(),
                    Reason::ClaimInvalid { claim },
                    "{claim} is {value}: the refusal names the claim"
                );
                let twin = Login::with(FORGE.token(Forge::HEADER, token().claims().to_string()));
                attacks.push(Attack::new(format!("{claim} is {value}"), hostile, twin, "claim_invalid"));
            }
        }
    }
    assert_refused("C types", &attacks);
}

#[test]
fn an_issuer_that_is_not_exactly_the_tenants_is_refused() {
    let mut attacks = Vec::new();
    let v1 = keys().v1_issuer();
    let v2 = keys().v2_issuer();
    let mut wrong = vec![
        String::new(),
        "https://sts.windows.net/".into(),
        "https://sts.windows.net/common/".into(),
        "https://sts.windows.net/{tenantid}/".into(),
        format!("https://sts.windows.net/{OTHER_TENANT}/"),
        format!("https://sts.windows.net/{CONSUMER_TENANT_ID}/"),
        format!("https://sts.windows.net/{TENANT_ID}/v2.0"),
        format!("https://sts.windows.net.evil.example/{TENANT_ID}/"),
        format!("https://sts.windows.net@evil.example/{TENANT_ID}/"),
        format!("https://evil.example/{v1}"),
        format!("https://sts.wind\u{43e}ws.net/{TENANT_ID}/"),
        format!("https://sts.chinacloudapi.cn/{TENANT_ID}/"),
        format!("https://login.microsoftonline.com/{TENANT_ID}/v2.0"),
        format!("https://login.microsoftonline.com/{TENANT_ID}/"),
        "https://localhost:8443/common/v2.0".into(),
        "https://localhost:8443/organizations/v2.0".into(),
        "https://localhost:8443/consumers/v2.0".into(),
        "https://localhost:8443/{tenantid}/v2.0".into(),
        format!("https://localhost:8443/{OTHER_TENANT}/v2.0"),
        format!("https://localhost:8443/{CONSUMER_TENANT_ID}/v2.0"),
        format!("https://localhost:8443/{TENANT_ID}"),
        format!("https://localhost:8443/{TENANT_ID}/v1.0"),
        format!("https://localhost:84430/{TENANT_ID}/v2.0"),
        format!("https://localhost/{TENANT_ID}/v2.0"),
        format!("https://localhost:8443//{TENANT_ID}/v2.0"),
        format!("00000001-0000-0000-c000-000000000000@{TENANT_ID}"),
        TENANT_ID.into(),
    ];
    for good in [&v1, &v2] {
        wrong.extend([
            good.to_uppercase(),
            good.replace("https", "http"),
            good.replace("https", "HTTPS"),
            good.replace(TENANT_ID, &TENANT_ID.to_uppercase()),
            good.replace(TENANT_ID, &format!("{OTHER_TENANT}/../{TENANT_ID}")),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("{good}/"),
            format!("{good}#"),
            format!("{good}?"),
            format!("{good}\u{200b}"),
            format!("\u{202e}{good}"),
            format!("{good},{good}"),
            good[..good.len() - 1].to_owned(),
            good[1..].to_owned(),
        ]);
    }
    for (version, twin) in versions() {
        for issuer in &wrong {
            let name = format!("{version} by {issuer:?}");
            rows(&mut attacks, &name, twin.clone().claim("iss", issuer.as_str()), &twin, "issuer_unknown");
        }
        let crossed = if version == "v1" { &v2 } else { &v1 };
        let name = format!("{version} with the other version's issuer");
        rows(&mut attacks, &name, twin.clone().claim("iss", crossed.as_str()), &twin, "version_mismatch");
        for ver in ["", "1", "2", "1.0 ", "2.0\n", "3.0", "01.0", if version == "v1" { "2.0" } else { "1.0" }]
        {
            let name = format!("{version} with ver {ver:?}");
            rows(&mut attacks, &name, twin.clone().claim("ver", ver), &twin, "version_mismatch");
        }
        for tid in [OTHER_TENANT, CONSUMER_TENANT_ID, "00000000-0000-0000-0000-000000000000"] {
            let name = format!("{version} with tid {tid}");
            rows(&mut attacks, &name, twin.clone().claim("tid", tid), &twin, "wrong_tenant");
        }
        let name = format!("{version} of another tenant altogether");
        rows(&mut attacks, &name, twin.clone().tenant(OTHER_TENANT), &twin, "issuer_unknown");
    }
    assert_refused("C issuer", &attacks);
}

#[test]
fn an_audience_that_is_not_exactly_ours_is_refused() {
    let mut wrong =
        vec![json!(""), json!([]), json!([""]), json!("*"), json!("https://"), json!("/"), json!(["", "/"])];
    for text in [
        "https://graph.microsoft.com".to_owned(),
        "00000003-0000-0000-c000-000000000000".to_owned(),
        "https://ossrdbms-aad.database.windows.ne".to_owned(),
        "ossrdbms-aad.database.windows.net".to_owned(),
        "https://ossrdbms-aad.database.usgovcloudapi.net".to_owned(),
        "https://ossrdbms-aad.database.windows.net.evil.example".to_owned(),
        "https://ossrdbms-aad.database.windows.net@evil.example".to_owned(),
        "https://ossrdbms-\u{430}ad.database.windows.net".to_owned(),
        AUDIENCE.to_uppercase(),
        AUDIENCE.replace("https", "http"),
        AUDIENCE.replace("https", "HTTPS"),
        format!("{AUDIENCE}//"),
        format!("{AUDIENCE}/.default"),
        format!("{AUDIENCE}:443"),
        format!("{AUDIENCE}?"),
        format!("{AUDIENCE}#"),
        format!(" {AUDIENCE}"),
        format!("{AUDIENCE} "),
        format!("{AUDIENCE}\n"),
        format!("{AUDIENCE}\u{200b}"),
        format!("{AUDIENCE} {AUDIENCE}"),
        format!("{AUDIENCE},x"),
        format!("[\"{AUDIENCE}\"]"),
        format!("api://{AUDIENCE}"),
        "api://123cd850-d9df-40bd-94d5-c9f07b7fa203".to_owned(),
        "123cd850-d9df-40bd-94d5-c9f07b7fa203/".to_owned(),
        "123CD850-D9DF-40BD-94D5-C9F07B7FA203".to_owned(),
        "spn:123cd850-d9df-40bd-94d5-c9f07b7fa203".to_owned(),
    ] {
        wrong.extend([json!(text), json!([text]), json!([text, "other"])]);
    }
    let twin = token().claim("aud", AUDIENCE);
    let mut attacks = Vec::new();
    for aud in wrong {
        rows(
            &mut attacks,
            &format!("aud is {aud}"),
            token().claim("aud", aud.clone()),
            &twin,
            "wrong_audience",
        );
    }
    let sent = Login::with(twin.mint());
    let none = sent.clone().policy(|policy| policy.audiences.clear());
    let empty = sent.clone().policy(|policy| policy.audiences = vec![String::new()]);
    let other = sent.clone().policy(|policy| policy.audiences = vec!["https://other.example".to_owned()]);
    attacks.push(Attack::new("no audience is accepted", none, sent.clone(), "wrong_audience"));
    attacks.push(Attack::new("another audience is accepted", other, sent, "wrong_audience"));
    let unsaid =
        Login::with(token().claim("aud", "").mint()).policy(|policy| policy.audiences = vec![String::new()]);
    attacks.push(Attack::new(
        "the empty audience is accepted and sent",
        unsaid,
        Login::with(twin.mint()),
        "wrong_audience",
    ));
    attacks.push(Attack::new(
        "the empty audience is accepted",
        empty,
        Login::with(twin.mint()),
        "wrong_audience",
    ));
    assert_refused("C audience", &attacks);

    for aud in [json!(format!("{AUDIENCE}/")), json!([AUDIENCE]), json!(["other", AUDIENCE])] {
        Login::with(token().claim("aud", aud).mint())
            .decide()
            .expect("an accepted audience among others will do");
    }
}

#[test]
fn a_token_is_good_from_nbf_less_the_skew_until_exp_and_the_skew_to_the_second() {
    let sent = Login::with(token().mint());
    let at = |now: i64| sent.clone().at(now);
    let strict = sent.clone().policy(|policy| policy.clock_skew = std::time::Duration::ZERO);
    let span = |nbf: i64, exp: i64| Login::with(token().claim("nbf", nbf).claim("exp", exp).mint());
    const LONGEST: i64 = 32 * 3600;

    let mut attacks = vec![
        Attack::new("at exp + skew", at(*EXP + SKEW), at(*EXP + SKEW - 1), "expired"),
        Attack::new("one second past exp + skew", at(*EXP + SKEW + 1), at(*EXP + SKEW - 1), "expired"),
        Attack::new("long after", at(i64::MAX), at(*NOW), "expired"),
        Attack::new("at exp, no skew", strict.clone().at(*EXP), strict.clone().at(*EXP - 1), "expired"),
        Attack::new("one second before nbf − skew", at(*NBF - SKEW - 1), at(*NBF - SKEW), "not_yet_valid"),
        Attack::new(
            "one second before nbf, no skew",
            strict.clone().at(*NBF - 1),
            strict.at(*NBF),
            "not_yet_valid",
        ),
        Attack::new("at the epoch", at(0), at(*NOW), "not_yet_valid"),
        Attack::new("before the epoch", at(-1), at(*NOW), "not_yet_valid"),
        Attack::new("at the beginning of time", at(i64::MIN), at(*NOW), "not_yet_valid"),
        Attack::new("exp equals nbf", span(*NOW, *NOW), span(*NOW, *NOW + 1), "lifetime_invalid"),
        Attack::new("exp before nbf", span(*NOW, *NOW - 1), span(*NOW, *NOW + 1), "lifetime_invalid"),
        Attack::new(
            "32 hours and a second",
            span(*NOW, *NOW + LONGEST + 1),
            span(*NOW, *NOW + LONGEST),
            "lifetime_invalid",
        ),
        Attack::new("nbf at the epoch", span(0, *EXP), span(*NBF, *EXP), "lifetime_invalid"),
        Attack::new("exp at the end of time", span(*NBF, i64::MAX), span(*NBF, *EXP), "lifetime_invalid"),
        Attack::new(
            "from the epoch to the end of time",
            span(0, i64::MAX),
            span(*NBF, *EXP),
            "lifetime_invalid",
        ),
        Attack::new(
            "at the end of time only",
            span(i64::MAX - 1, i64::MAX),
            span(*NBF, *EXP),
            "not_yet_valid",
        ),
        Attack::new("at the epoch only", span(0, 1), span(*NBF, *EXP), "expired"),
    ];
    let endless = |login: Login| login.policy(|policy| policy.clock_skew = std::time::Duration::MAX);
    attacks.push(Attack::new(
        "a lifetime that no skew excuses",
        endless(span(*NOW, *NOW)),
        endless(span(*NOW, *NOW + 1)),
        "lifetime_invalid",
    ));
    assert_refused("C time", &attacks);
    assert!(span(*NOW, *NOW + 28 * 3600 + 300).decide().is_ok(), "a continuous-access token");
}

#[test]
fn every_type_of_an_unused_claim_is_let_be() {
    for value in [json!(null), json!(1.5), json!([[]]), json!({ "a": {} })] {
        let value: Value = value;
        Login::with(token().claim("xms_future", value).mint()).decide().expect("unknown claims are not ours");
    }
}
