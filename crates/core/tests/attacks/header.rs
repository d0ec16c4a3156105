//! Class A: what a header can say (RFC 7515 §4, RFC 8725 §2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tenant::{Signer, Token};

use crate::login::{Attack, FORGE, Forge, Login, assert_refused, jwks, keys, token};

/// Values of every JSON type but text.
pub(crate) fn not_texts() -> [Value; 7] {
    [json!(null), json!(true), json!(0), json!(1.5), json!([]), json!(["RS256"]), json!({ "a": "RS256" })]
}

#[test]
fn a_kid_that_is_not_exactly_that_of_the_signing_key_is_refused() {
    let kid = keys().kid(&Signer::Current);
    let with = |kid: &str| token().header("kid", kid).mint();
    // v1 tokens carry `x5t` too, which names the key only where there is no `kid`.
    let unnamed = token().without_header("kid").without_header("x5t");
    let named = Login::with(token().without_header("kid").mint());
    let swapped: String = kid
        .chars()
        .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();

    let mut attacks = vec![
        Attack::new(
            "neither kid nor x5t",
            Login::with(unnamed.clone().mint()),
            named.clone(),
            "header_invalid",
        ),
        Attack::new(
            "no kid, empty x5t",
            Login::with(unnamed.clone().header("x5t", "").mint()),
            named.clone(),
            "header_invalid",
        ),
        Attack::new(
            "no kid, unknown x5t",
            Login::with(unnamed.clone().header("x5t", "A").mint()),
            named.clone(),
            "key_unknown",
        ),
        Attack::new(
            "no kid, x5t of another case",
            Login::with(unnamed.header("x5t", swapped.as_str()).mint()),
            named,
            "key_unknown",
        ),
        Attack::by("empty kid beside a good x5t", with(""), "header_invalid"),
        Attack::by("64 KiB of kid", with(&"k".repeat(65_536)), "key_unknown"),
        Attack::by("NUL in kid", with("\0"), "malformed_token"),
        Attack::by("kid with a NUL behind it", with(&format!("{kid}\0")), "malformed_token"),
        Attack::by("kid is a prefix", with(&kid[..kid.len() - 1]), "key_unknown"),
        Attack::by("kid is longer by one character", with(&format!("{kid}A")), "key_unknown"),
        Attack::by("kid in lower case", with(&kid.to_lowercase()), "key_unknown"),
        Attack::by("kid in upper case", with(&kid.to_uppercase()), "key_unknown"),
        Attack::by("kid with a space before it", with(&format!(" {kid}")), "key_unknown"),
        Attack::by("kid with a newline behind it", with(&format!("{kid}\n")), "key_unknown"),
        Attack::by("kid with padding", with(&format!("{kid}=")), "key_unknown"),
        Attack::by("kid with a zero-width space", with(&format!("{kid}\u{200b}")), "key_unknown"),
        Attack::by("kid of another published key", with(&keys().kid(&Signer::Second)), "bad_signature"),
        Attack::by("kid of the consumer key", with(&keys().kid(&Signer::Consumer)), "bad_signature"),
        Attack::by(
            "signed by the consumer key",
            token().signed_by(Signer::Consumer).mint(),
            "key_issuer_mismatch",
        ),
        Attack::by(
            "signed by an unpublished key",
            token().signed_by(Signer::Unpublished).mint(),
            "key_unknown",
        ),
        Attack::by(
            "signed by an unpublished key under a published kid",
            token().signed_by(Signer::UnpublishedAs(kid.clone())).mint(),
            "bad_signature",
        ),
        Attack::by(
            "one bit of the signature flipped",
            token().signed_by(Signer::Broken).mint(),
            "bad_signature",
        ),
    ];
    for kid in [
        "../../../../../../dev/null",
        "/dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "..\\..\\windows\\win.ini",
        "file:///dev/null",
        "https://evil.example/keys.json",
        "x' UNION SELECT 'secret",
        "|id",
        "$(id)",
        "%s%n",
        "*",
        ".",
        "0",
        "null",
        "[object Object]",
        "__proto__",
    ] {
        attacks.push(Attack::by(format!("kid {kid:?}"), with(kid), "key_unknown"));
    }
    for kid in not_texts() {
        let signed = token().header("kid", kid.clone()).mint();
        attacks.push(Attack::by(format!("kid is {kid}"), signed, "header_invalid"));
        let signed = token().header("x5t", kid.clone()).mint();
        attacks.push(Attack::by(format!("x5t is {kid}"), signed, "header_invalid"));
        let signed = token().header("nonce", kid.clone()).mint();
        attacks.push(Attack::by(format!("nonce is {kid}"), signed, "header_invalid"));
    }
    assert_refused("A kid", &attacks);
}

#[test]
fn a_header_member_that_entra_does_not_write_is_refused() {
    let jwks = jwks();
    let own_key = || jwks["keys"][0].clone();
    let stranger = |member: &str, value: Value| {
        let kid = keys().kid(&Signer::Current);
        token().signed_by(Signer::UnpublishedAs(kid)).header(member, value).mint()
    };
    let mut attacks = Vec::new();
    for (member, value) in [
        ("jwk", own_key()),
        ("jwk", json!(null)),
        ("jku", json!("https://localhost:8443/keys")),
        ("jku", json!("https://localhost:8443@evil.example/keys")),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("x5c", own_key()["x5c"].clone()),
        ("x5c", json!([])),
        ("x5t#S256", json!("2zJbPXq7pRpvJ3nFhVGm_ZKxQO5IhPpJzUq4OjTDhG8")),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("cty", json!("jwt")),
        ("epk", json!({ "kty": "EC" })),
        ("apu", json!("QWxpY2U")),
        ("apv", json!("Qm9i")),
        ("iv", json!("AAAA")),
        ("tag", json!("AAAA")),
        ("p2c", json!(2_147_483_647)),
        ("p2s", json!("AAAA")),
        ("url", json!("https://localhost:8443")),
        ("iss", json!("https://sts.windows.net/")),
        ("exp", json!(9_999_999_999_i64)),
        ("ppt", json!("shaken")),
        ("svt", json!([])),
        ("Alg", json!("none")),
        ("ALG", json!("RS256")),
        ("alg ", json!("RS256")),
        ("alg\u{200b}", json!("RS256")),
        ("", json!("")),
        ("__proto__", json!({})),
        ("CRIT", json!([])),
    ] {
        let name = format!("{member:?} is {value}");
        attacks.push(Attack::by(&name, token().header(member, value.clone()).mint(), "forbidden_header"));
        attacks.push(Attack::by(
            format!("{name}, signed by a stranger"),
            stranger(member, value),
            "forbidden_header",
        ));
    }
    for crit in [
        json!(["b64"]),
        json!(["exp"]),
        json!(["alg"]),
        json!(["typ", "kid"]),
        json!([]),
        json!(["", null]),
        json!("exp"),
        json!(null),
        json!(false),
        json!({}),
    ] {
        let name = format!("crit is {crit}");
        attacks.push(Attack::by(&name, token().header("crit", crit.clone()).mint(), "critical_header"));
        attacks.push(Attack::by(
            format!("{name}, and b64 false"),
            token().header("crit", crit).header("b64", false).mint(),
            "critical_header",
        ));
    }
    assert_refused("A members", &attacks);
}

#[test]
fn a_token_that_is_not_typed_as_a_jwt_is_refused() {
    let mut attacks = vec![Attack::by("typ absent", token().without_header("typ").mint(), "header_invalid")];
    for typ in [
        "",
        "jwt",
        "Jwt",
        "JWT ",
        "JWS",
        "JWE",
        "JOSE",
        "JOSE+JSON",
        "application/jwt",
        "application/at+jwt",
        "AT+JWT",
        "id+jwt",
        "rt+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "vc+jwt",
        "pop",
        "kb+jwt",
        "token-introspection+jwt",
        "JWT\u{200b}",
    ] {
        let token = token().header("typ", typ).mint();
        attacks.push(Attack::by(format!("typ {typ:?}"), token, "header_invalid"));
    }
    for typ in not_texts() {
        let token = token().header("typ", typ.clone()).mint();
        attacks.push(Attack::by(format!("typ is {typ}"), token, "header_invalid"));
    }
    assert_refused("A typ", &attacks);
    Login::with(token().header("typ", "at+jwt").mint()).decide().unwrap();
}

#[test]
fn a_header_that_is_not_one_json_object_is_refused() {
    let payload = token().claims().to_string();
    let forged = |header: &[u8]| Login::with(FORGE.token(header, &payload)).uncapped();
    let twin = forged(Forge::HEADER.as_bytes());
    let inner = &Forge::HEADER[1..Forge::HEADER.len() - 1];
    let member = |more: &str| format!("{{{inner},{more}}}").into_bytes();

    let mut attacks = Vec::new();
    let mut row = |name: &str, header: Vec<u8>, code| {
        attacks.push(Attack::new(name, forged(&header), twin.clone(), code));
    };
    row("empty", vec![], "malformed_token");
    for other in ["[]", "{}{}", "null", "1", "\"RS256\"", "{", "}", "{]", "NaN"] {
        row(other, other.into(), "malformed_token");
    }
    row("no members", b"{}".to_vec(), "header_invalid");
    row("in an array", format!("[{}]", Forge::HEADER).into(), "malformed_token");
    row("as a JSON string", json!(Forge::HEADER).to_string().into(), "malformed_token");
    row("a BOM before it", format!("\u{feff}{}", Forge::HEADER).into(), "malformed_token");
    row("a NUL behind it", format!("{}\0", Forge::HEADER).into(), "malformed_token");
    row("another object behind it", format!("{0}{0}", Forge::HEADER).into(), "malformed_token");
    row("a comma behind the last member", format!("{{{inner},}}").into(), "malformed_token");
    row("a comment", format!("{{{inner}/**/}}").into(), "malformed_token");
    row("single quotes", Forge::HEADER.replace('"', "'").into(), "malformed_token");
    row("a vertical tab between members", Forge::HEADER.replace(',', ",\u{b}").into(), "malformed_token");
    row("UTF-16", Forge::HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect(), "malformed_token");
    row(
        "invalid UTF-8",
        [&member("\"nonce\":\"")[..inner.len() + 11], b"\xff\"}"].concat(),
        "malformed_token",
    );
    row(
        "overlong UTF-8",
        [&member("\"nonce\":\"")[..inner.len() + 11], b"\xc0\xaf\"}"].concat(),
        "malformed_token",
    );
    row("a lone surrogate", member(r#""nonce":"\ud800""#), "malformed_token");
    row("a lone surrogate in a name", member(r#""\udc00":1"#), "malformed_token");
    row("an escaped NUL", member(r#""nonce":"\u0000""#), "malformed_token");
    row("a number beyond all bounds", member(r#""nonce":1e400"#), "malformed_token");
    row("a negative zero", member(r#""nonce":-0"#), "header_invalid");
    row(
        "a number of a million digits",
        member(&format!(r#""nonce":{}"#, "9".repeat(1_000_000))),
        "malformed_token",
    );
    row(
        "depth 100,000",
        member(&format!(r#""nonce":{}{}"#, "[".repeat(100_000), "]".repeat(100_000))),
        "malformed_token",
    );
    let many: Vec<String> = (0..100_000).map(|n| format!(r#""m{n}":0"#)).collect();
    row("100,000 members", member(&many.join(",")), "forbidden_header");
    row(
        "100,000 members, the last two alike",
        member(&format!("{},\"m0\":0", many.join(","))),
        "malformed_token",
    );
    for (name, twice) in [
        ("alg twice", r#""alg":"RS256""#),
        ("alg twice, then none", r#""alg":"none""#),
        ("alg twice, escaped", r#""al\u0067":"none""#),
        ("kid twice", r#""kid":"forge""#),
        ("kid twice, another one", r#""kid":"other""#),
        ("kid twice, escaped", r#""\u006bid":"other""#),
        ("typ twice", r#""typ":"JWT""#),
        ("an unknown member twice", r#""x":1,"x":1"#),
        ("crit twice", r#""crit":[],"crit":[]"#),
        ("a member twice inside a member", r#""nonce":{"a":1,"a":2}"#),
    ] {
        row(name, member(twice), "malformed_token");
    }
    row("crit, escaped", member(r#""\u0063rit":["exp"]"#), "critical_header");
    row(
        "alg in a nested object only",
        br#"{"typ":"JWT","kid":"forge","nonce":{"alg":"RS256"}}"#.to_vec(),
        "header_invalid",
    );
    assert_refused("A JSON", &attacks);

    let escaped = Forge::HEADER.replace("alg", "al\\u0067").replace("forge", "\\u0066orge");
    forged(escaped.as_bytes()).decide().expect("escapes are a matter of spelling");
}

#[test]
fn an_encrypted_or_nested_token_is_refused() {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwe_header = json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT", "kid": "forge" }).to_string();
    let jwe = format!(
        "{}.{}.{}.{}.{}",
        part(jwe_header.as_bytes()),
        part(&[1; 256]),
        part(&[2; 12]),
        part(token().mint().as_bytes()),
        part(&[3; 16])
    );
    let wrapped = FORGE.token(Forge::HEADER, token().mint());
    let quoted = FORGE.token(Forge::HEADER, json!(token().mint()).to_string());
    let dir = Token::raw_header(token(), r#"{"alg":"dir","enc":"A128GCM"}"#).mint();
    let attacks = [
        Attack::by("JWE in five parts", jwe, "malformed_token"),
        Attack::by("JWE header on three parts", dir, "forbidden_header"),
        Attack::by("a token inside a signature", wrapped, "payload_invalid"),
        Attack::by("a token as a JSON string inside a signature", quoted, "payload_invalid"),
        Attack::by("a token said to hold a token", token().header("cty", "JWT").mint(), "forbidden_header"),
    ];
    assert_refused("A nesting", &attacks);
}
