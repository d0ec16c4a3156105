//! Class B: payloads that are signed, and still no claims set (RFC 8259, RFC 7519 §4).

use serde_json::json;

use crate::login::{Attack, FORGE, Forge, Login, assert_refused, token};

#[test]
fn a_payload_that_is_not_one_json_object_is_refused() {
    let claims = token().claims().to_string();
    let inner = &claims[1..claims.len() - 1];
    let forged = |payload: &[u8]| Login::with(FORGE.token(Forge::HEADER, payload)).uncapped();
    let twin = forged(claims.as_bytes());
    let member = |more: &str| format!("{{{inner},{more}}}").into_bytes();

    let mut attacks = Vec::new();
    let mut row = |name: &str, payload: Vec<u8>| {
        attacks.push(Attack::new(name, forged(&payload), twin.clone(), "payload_invalid"));
    };
    row("empty", vec![]);
    for other in ["[]", "null", "true", "0", "\"\"", "{", "}", "NaN", "\u{0}"] {
        row(other, other.into());
    }
    row("in an array", format!("[{claims}]").into());
    row("as a JSON string", json!(claims).to_string().into());
    row("a BOM before it", format!("\u{feff}{claims}").into());
    row("a NUL behind it", format!("{claims}\0").into());
    row("another object behind it", format!("{claims}{{}}").into());
    row("a comma behind the last member", format!("{{{inner},}}").into());
    row("a comma before the first member", format!("{{,{inner}}}").into());
    row("a comment", format!("{{{inner}/* */}}").into());
    row("a line comment", format!("{claims}//").into());
    row("single quotes", claims.replace('"', "'").into());
    row("a no-break space between members", claims.replacen(',', ",\u{a0}", 1).into());
    row("the last brace missing", format!("{{{inner}").into());
    row("UTF-16", claims.encode_utf16().flat_map(u16::to_le_bytes).collect());
    row("UTF-8 cut short", [b"{\"x\":\"\xe2\x82\",", inner.as_bytes(), b"}"].concat());
    row("a byte that is no UTF-8", [b"{\"x\":\"\xff\",", inner.as_bytes(), b"}"].concat());
    row("a byte that is no UTF-8 in a name", [b"{\"\xff\":1,", inner.as_bytes(), b"}"].concat());
    row("overlong UTF-8", [b"{\"x\":\"\xc0\x80\",", inner.as_bytes(), b"}"].concat());
    row("a surrogate in UTF-8", [b"{\"x\":\"\xed\xa0\x80\",", inner.as_bytes(), b"}"].concat());
    row("a lone high surrogate", member(r#""x":"\ud83d""#));
    row("a lone low surrogate", member(r#""x":"\ude00""#));
    row("surrogates in the wrong order", member(r#""x":"\ude00\ud83d""#));
    row("a lone surrogate in a name", member(r#""\ud83d":1"#));
    row("an escaped NUL", member(r#""x":"\u0000""#));
    row("an escaped NUL in a name", member(r#""\u0000":1"#));
    row("an escaped NUL deep inside", member(r#""x":[{"y":["\u0000"]}]"#));
    row("a control character", member("\"x\":\"\u{1}\""));
    row("a raw newline in a string", member("\"x\":\"\n\""));
    row("an unknown escape", member(r#""x":"\x41""#));
    row("NaN", member(r#""x":NaN"#));
    row("Infinity", member(r#""x":-Infinity"#));
    row("a number with a leading zero", member(r#""x":01"#));
    row("a number with a plus", member(r#""x":+1"#));
    row("a hexadecimal number", member(r#""x":0x10"#));
    row("a number beyond all bounds", member(r#""x":1e400"#));
    row("a million digits", member(&format!(r#""x":{}"#, "9".repeat(1_000_000))));
    row("arrays 100,000 deep", member(&format!(r#""x":{}{}"#, "[".repeat(100_000), "]".repeat(100_000))));
    row(
        "objects 100,000 deep",
        member(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000))),
    );
    row("arrays 100,000 deep and never closed", member(&format!(r#""x":{}"#, "[".repeat(100_000))));
    assert_refused("B payload", &attacks);
}

#[test]
fn a_claim_named_twice_is_refused_at_every_depth_and_however_it_is_escaped() {
    let claims = token().claims();
    let text = claims.to_string();
    let inner = &text[1..text.len() - 1];
    let forged = |payload: &str| Login::with(FORGE.token(Forge::HEADER, payload)).uncapped();
    let mut attacks = Vec::new();
    for name in ["iss", "aud", "exp", "nbf", "tid", "oid", "ver", "appid", "upn", "scp", "amr"] {
        let value = &claims[name];
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for (how, twice) in [
            ("the same", format!(r#"{{{inner},"{name}":{value}}}"#)),
            ("first", format!(r#"{{"{name}":{value},{inner}}}"#)),
            ("escaped", format!(r#"{{{inner},"{escaped}":{value}}}"#)),
            ("null", format!(r#"{{"{name}":null,{inner}}}"#)),
        ] {
            let row = format!("{name} twice, {how}");
            attacks.push(Attack::new(row, forged(&twice), forged(&text), "payload_invalid"));
        }
    }
    for (row, once, twice) in [
        ("an unknown claim", r#""x":1"#, r#""x":1,"x":1"#),
        ("inside a claim", r#""x":{"a":1,"b":1}"#, r#""x":{"a":1,"a":1}"#),
        ("three levels down", r#""x":[[{"a":1,"b":1}]]"#, r#""x":[[{"a":1,"a":1}]]"#),
        ("in _claim_names", r#""_claim_names":{"a":"s"}"#, r#""_claim_names":{"a":"s","a":"s"}"#),
        ("the empty name", r#""":1"#, r#""":1,"":1"#),
        ("an escaped slash", r#""a/b":1"#, r#""a/b":1,"a\/b":1"#),
        ("a surrogate pair", r#""😀":1"#, r#""😀":1,"\ud83d\ude00":1"#),
    ] {
        let once = forged(&format!("{{{inner},{once}}}"));
        let twice = forged(&format!("{{{inner},{twice}}}"));
        attacks.push(Attack::new(row, twice, once, "payload_invalid"));
    }
    let many = (0..100_000).map(|n| format!(r#""m{n}":0"#)).collect::<Vec<_>>().join(",");
    attacks.push(Attack::new(
        "the last of 100,000 members",
        forged(&format!("{{{inner},{many},\"m99999\":0}}")),
        forged(&format!("{{{inner},{many}}}")),
        "payload_invalid",
    ));
    assert_refused("B duplicates", &attacks);
}

#[test]
fn a_payload_that_is_only_spelt_otherwise_is_admitted() {
    let claims = token().claims();
    let text = claims.to_string();
    let inner = &text[1..text.len() - 1];
    for (how, payload) in [
        ("white space", serde_json::to_string_pretty(&claims).unwrap() + "\r\n\t "),
        ("escapes", text.replace("\"iss\"", r#""\u0069ss""#).replace("alice", r"\u0061lice")),
        ("unknown claims", format!(r#"{{"xms_x":[null,1.5,{{"a":[]}}],{inner}}}"#)),
        ("depth 100", format!(r#"{{"x":{}{},{inner}}}"#, "[".repeat(100), "]".repeat(100))),
        ("names that differ in case", format!(r#"{{"ISS":"x","Upn":"x",{inner}}}"#)),
        ("a long string", format!(r#"{{"x":"{}",{inner}}}"#, "x".repeat(1_000_000))),
    ] {
        let login = Login::with(FORGE.token(Forge::HEADER, payload)).uncapped();
        login.decide().unwrap_or_else(|reason| panic!("{how}: {reason:?}"));
    }
}
