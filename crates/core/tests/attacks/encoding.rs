//! Class B: how a token is written down (RFC 7515 §7.1, RFC 4648 §5), and the bytes of its signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::login::{Attack, FORGE, Forge, Login, assert_refused, token};

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// The token in all ways with one part changed; the signature is made over what is sent where that is possible.
fn with_each_part(change: impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
    let [header, payload, _] = parts(&signed_by_forge());
    let resealed = |header: &str, payload: &str| FORGE.seal(&format!("{header}.{payload}"));
    let [same_header, same_payload, signature] = parts(&signed_by_forge());
    vec![
        ("header", resealed(&change(&header), &payload)),
        ("payload", resealed(&header, &change(&payload))),
        ("signature", format!("{same_header}.{same_payload}.{}", change(&signature))),
    ]
}

/// Header and payload are one byte longer than a multiple of three, so that each part's last character has unused bits.
fn signed_by_forge() -> String {
    let claims = token().claims().to_string();
    FORGE.token(fill(Forge::HEADER), fill(&claims))
}

fn fill(json: &str) -> String {
    json.to_owned() + &" ".repeat((4 - json.len() % 3) % 3)
}

/// A name, and what it does to one part.
type Change<'a> = (&'a str, &'a dyn Fn(&str) -> String);

fn assert_each_refused(class: &str, changes: &[Change<'_>]) {
    let twin = Login::with(signed_by_forge());
    let mut attacks = Vec::new();
    for (name, change) in changes {
        for (part, token) in with_each_part(change) {
            attacks.push(Attack::new(
                format!("{name} in the {part}"),
                Login::with(token),
                twin.clone(),
                "malformed_token",
            ));
        }
    }
    assert_refused(class, &attacks);
}

/// The last character replaced by the next one of the alphabet: the same bytes to a careless decoder.
fn next_last(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = text.split_at(text.len() - 1);
    let place = ALPHABET.iter().position(|c| [*c] == last.as_bytes()).unwrap();
    format!("{rest}{}", char::from(ALPHABET[place + 1]))
}

fn insert(text: &str, piece: &str) -> String {
    let (one, two) = text.split_at(text.len() / 2);
    format!("{one}{piece}{two}")
}

#[test]
fn a_part_that_is_not_strict_base64url_is_refused() {
    assert_each_refused(
        "B base64url",
        &[
            ("padding", &|t| format!("{t}==")),
            ("half the padding", &|t| format!("{t}=")),
            ("padding by four", &|t| format!("{t}====")),
            ("padding inside", &|t| insert(t, "==")),
            ("a last character with unused bits", &|t| next_last(t)),
            ("one character too many", &|t| format!("{t}AAA")),
            ("a space before", &|t| format!(" {t}")),
            ("a space behind", &|t| format!("{t} ")),
            ("a space inside", &|t| insert(t, " ")),
            ("a newline inside", &|t| insert(t, "\n")),
            ("CRLF inside", &|t| insert(t, "\r\n")),
            ("a newline behind", &|t| format!("{t}\n")),
            ("a tab inside", &|t| insert(t, "\t")),
            ("lines of 32 characters", &|t| {
                t.as_bytes()
                    .chunks(32)
                    .map(|l| std::str::from_utf8(l).unwrap())
                    .collect::<Vec<_>>()
                    .join("\n")
            }),
            ("a NUL inside", &|t| insert(t, "\0")),
            ("a NUL behind", &|t| format!("{t}\0")),
            ("a plus of the other alphabet", &|t| insert(t, "++++")),
            ("a slash of the other alphabet", &|t| insert(t, "////")),
            ("a question mark", &|t| insert(t, "?")),
            ("a tilde", &|t| insert(t, "~~~~")),
            ("a percent escape", &|t| insert(t, "%41")),
            ("a letter outside ASCII", &|t| insert(t, "é")),
            ("a full-width letter", &|t| insert(t, "Ａ")),
            ("a zero-width space", &|t| insert(t, "\u{200b}")),
            ("quotes around it", &|t| format!("\"{t}\"")),
        ],
    );
}

#[test]
fn the_other_base64_alphabet_is_refused() {
    // Pieces of text whose base64url has the two characters that differ.
    let claims = token().claim("x", "~~~???>>>ÿÿÿ").claims().to_string();
    let sent = FORGE.token(Forge::HEADER, &claims);
    let twin = Login::with(sent.clone());
    let [header, payload, _] = parts(&sent);
    let plain = payload.replace('-', "+").replace('_', "/");
    assert_ne!(payload, plain, "the payload has such characters");
    let resealed = FORGE.seal(&format!("{header}.{plain}"));
    assert_refused(
        "B alphabet",
        &[Attack::new("the payload in base64", Login::with(resealed), twin, "malformed_token")],
    );
}

#[test]
fn a_token_that_is_not_exactly_three_parts_is_refused() {
    let sent = token().mint();
    let [header, payload, signature] = parts(&sent);
    let tokens = [
        ("one part", header.clone()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{sent}.{signature}")),
        ("five parts", format!("{sent}.{payload}.{signature}")),
        ("a thousand parts", format!("{sent}{}", ".AAAA".repeat(997))),
        ("only dots", "..".to_owned()),
        ("one dot", ".".to_owned()),
        ("thirty thousand dots", ".".repeat(30_000)),
        ("a dot before", format!(".{sent}")),
        ("a dot behind", format!("{sent}.")),
        ("two dots between header and payload", format!("{header}..{payload}.{signature}")),
        ("two dots between payload and signature", format!("{header}.{payload}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("parts without dots", format!("{header}{payload}{signature}")),
        ("header and payload exchanged", format!("{payload}.{header}.{signature}")),
        ("payload and signature exchanged", format!("{header}.{signature}.{payload}")),
        ("spaces for dots", sent.replace('.', " ")),
        ("full-width dots", sent.replace('.', "．")),
        ("one-dot leaders", sent.replace('.', "․")),
        ("escaped dots", sent.replace('.', "%2E")),
        ("the token twice", format!("{sent}{sent}")),
        ("the token twice with a dot", format!("{sent}.{sent}")),
        ("the token twice with a newline", format!("{sent}\n{sent}")),
    ];
    let mut attacks: Vec<Attack> = tokens
        .into_iter()
        .map(|(name, token)| {
            // These two are three parts of base64url, so later checks speak.
            let code = match name {
                "header and payload exchanged" => "forbidden_header",
                "payload and signature exchanged" => "signature_length",
                _ => "malformed_token",
            };
            Attack::by(name, token, code)
        })
        .collect();
    attacks.push(Attack::by("no payload", format!("{header}..{signature}"), "bad_signature"));
    assert_refused("B parts", &attacks);
}

#[test]
fn a_password_that_is_something_else_around_a_token_is_refused() {
    let sent = token().mint();
    let [header, payload, signature] = parts(&sent);
    let flat = json!({ "protected": header, "payload": payload, "signature": signature });
    let general =
        json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] });
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| sent.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("Bearer before it", format!("Bearer {sent}").into()),
        ("bearer= before it", format!("bearer={sent}").into()),
        ("quotes around it", format!("\"{sent}\"").into()),
        ("a space before it", format!(" {sent}").into()),
        ("a newline behind it", format!("{sent}\n").into()),
        ("CRLF behind it", format!("{sent}\r\n").into()),
        ("a NUL before it", format!("\0{sent}").into()),
        ("a NUL behind it", format!("{sent}\0").into()),
        ("a BOM before it", format!("\u{feff}{sent}").into()),
        ("UTF-16, little end first", utf16(u16::to_le_bytes)),
        ("UTF-16, big end first", utf16(u16::to_be_bytes)),
        ("a byte that is no UTF-8 before it", [b"\xff", sent.as_bytes()].concat()),
        ("a byte that is no UTF-8 behind it", [sent.as_bytes(), b"\xff"].concat()),
        ("one bit of each byte set", sent.bytes().map(|byte| byte | 0x80).collect()),
        ("in lower case", sent.to_lowercase().into()),
        ("in upper case", sent.to_uppercase().into()),
        ("backwards", sent.bytes().rev().collect()),
        ("in base64url once more", URL_SAFE_NO_PAD.encode(&sent).into()),
        ("JWS in flattened JSON", flat.to_string().into()),
        ("JWS in general JSON", general.to_string().into()),
        ("the claims alone", token().claims().to_string().into()),
        ("a password", b"correct horse battery staple".to_vec()),
        ("a password with two dots", b"pass.word.1".to_vec()),
        ("an MD5 verifier", b"md53175bce1d3201d16594cebf9d7eb3f9d".to_vec()),
    ];
    let attacks: Vec<Attack> =
        rows.into_iter().map(|(name, bytes)| Attack::by(name, bytes, "malformed_token")).collect();
    assert_refused("B wrapping", &attacks);
}

#[test]
fn a_token_above_the_size_cap_is_refused_by_the_byte() {
    let sent = token().mint();
    let whole = Login::with(sent.clone()).max_bytes(sent.len());
    let long = |bytes: usize| {
        let short = token().claim("x", "").mint().len();
        let token = token().claim("x", "x".repeat((bytes - short) / 4 * 3)).mint();
        assert!(token.len() <= bytes && token.len() > bytes - 8);
        token
    };
    assert_refused(
        "B size",
        &[
            Attack::new("nothing", Login::with(""), whole.clone(), "no_token"),
            Attack::new(
                "one byte above the cap",
                Login::with(sent.clone()).max_bytes(sent.len() - 1),
                whole,
                "token_too_large",
            ),
            Attack::new(
                "above 32 KiB",
                Login::with(long(32 * 1024 + 8)),
                Login::with(long(32 * 1024)),
                "token_too_large",
            ),
            Attack::new(
                "64 MiB",
                Login::with("A".repeat(64 << 20)),
                Login::with(token().mint()),
                "token_too_large",
            ),
        ],
    );
}

#[test]
fn a_signature_that_the_key_did_not_make_over_these_bytes_is_refused() {
    let sent = token().mint();
    let [header, payload, signature] = parts(&sent);
    let other = token().user("bob@example.com").mint();
    let [_, other_payload, other_signature] = parts(&other);
    let bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    let with = |signature: &[u8]| format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature));
    let [resigned_header, resigned_payload, foreign] = parts(&signed_by_forge());

    let mut attacks = vec![
        Attack::by(
            "another token's signature",
            format!("{header}.{payload}.{other_signature}"),
            "bad_signature",
        ),
        Attack::by(
            "another token's payload",
            format!("{header}.{other_payload}.{signature}"),
            "bad_signature",
        ),
        Attack::by("another key's signature", format!("{header}.{payload}.{foreign}"), "bad_signature"),
        Attack::by(
            "another token's header",
            format!("{resigned_header}.{payload}.{signature}"),
            "bad_signature",
        ),
        Attack::by(
            "another key's token under this header",
            format!("{header}.{resigned_payload}.{foreign}"),
            "bad_signature",
        ),
        Attack::by("a zero byte before", with(&[&[0], &bytes[..]].concat()), "signature_length"),
        Attack::by("a zero byte behind", with(&[&bytes[..], &[0]].concat()), "signature_length"),
        Attack::by("the last byte missing", with(&bytes[..255]), "signature_length"),
        Attack::by("the first byte missing", with(&bytes[1..]), "signature_length"),
        Attack::by("twice", with(&bytes.repeat(2)), "signature_length"),
        Attack::by("backwards", with(&bytes.iter().rev().copied().collect::<Vec<_>>()), "bad_signature"),
        Attack::by("one byte", with(&[1]), "signature_length"),
        Attack::by("a megabyte", with(&vec![7; 1 << 20]), "signature_length"),
    ];
    for (name, fill) in [("zero", 0_u8), ("0xff", 0xff)] {
        attacks.push(Attack::by(format!("256 bytes of {name}"), with(&[fill; 256]), "bad_signature"));
    }
    let mut one = [0; 256];
    one[255] = 1;
    attacks.push(Attack::by("the number one", with(&one), "bad_signature"));
    for bit in (0..2048).step_by(97).chain([2047]) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        attacks.push(Attack::by(format!("bit {bit} flipped"), with(&flipped), "bad_signature"));
    }
    assert_refused("B signature", &attacks);
}
