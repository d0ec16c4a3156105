//! Class E: key documents that carry something that must not sign (RFC 7517, RFC 7518 §6.3).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::keys::{KeyError, KeySetError, MAX_KEYS};
use serde_json::{Value, json};
use tenant::{CONSUMER_TENANT_ID, Signer, TENANT_ID};

use crate::login::{Attack, Login, assert_refused, import, import_bytes, jwks, jwks_with, keys, token};

fn big(number: &[u8]) -> Value {
    URL_SAFE_NO_PAD.encode(number).into()
}

/// A number of `bits` bits, odd.
fn odd(bits: usize) -> Vec<u8> {
    let mut number = vec![0xa5; bits.div_ceil(8)];
    let high = 1 << ((bits - 1) % 8);
    number[0] = high | (0x55 & (high - 1));
    *number.last_mut().unwrap() |= 1;
    number
}

/// A modulus of 2048 bits with the ROCA fingerprint: 1 modulo each small prime, which is a power of 65537.
fn roca() -> Vec<u8> {
    let primes = (3..=167_u32).filter(|n| (2..*n).all(|d| n % d != 0));
    let mut product = vec![1_u8];
    for factor in primes {
        let mut carry = 0;
        for byte in product.iter_mut().rev() {
            carry += u32::from(*byte) * factor;
            *byte = carry.to_be_bytes()[3];
            carry >>= 8;
        }
        product.splice(0..0, carry.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
    }
    // Halved so often that the highest bit of the 256 bytes is set: shifted by whole bytes, then by bits.
    let shift = product[0].leading_zeros();
    product.push(0);
    for place in 0..product.len() - 1 {
        product[place] = (product[place] << shift) | product[place + 1].checked_shr(8 - shift).unwrap_or(0);
    }
    product.resize(256, 0);
    product[255] = 1;
    product
}

#[test]
fn a_key_that_must_not_sign_is_left_out_and_its_tokens_are_refused() {
    let second = keys().jwks()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|k| k["kid"] == *keys().kid(&Signer::Second))
        .cloned();
    let second = second.unwrap();
    let own = jwks_with(|_| ());
    let own = own["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|k| k["kid"] == *keys().kid(&Signer::Current))
        .cloned()
        .unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(own["n"].as_str().unwrap()).unwrap();
    let mut even = modulus.clone();
    even[255] &= 0xfe;

    let mut rows: Vec<(String, KeyError, Value)> = Vec::new();
    let mut row = |member: &str, value: Value, error| {
        let mut key = own.clone();
        key[member] = value.clone();
        let mut shown = value.to_string();
        shown.truncate(60);
        rows.push((format!("{member} is {shown}"), error, key));
    };
    for kty in [json!("oct"), json!("EC"), json!("OKP"), json!("rsa"), json!("RSA "), json!("")] {
        row("kty", kty, KeyError::NotRsa);
    }
    for purpose in ["enc", "", "SIG", "sig ", "sig enc"] {
        row("use", json!(purpose), KeyError::WrongPurpose);
    }
    for operations in
        [json!(["encrypt"]), json!(["sign"]), json!([]), json!(["Verify"]), json!(["wrapKey", "verify "])]
    {
        row("key_ops", operations, KeyError::WrongPurpose);
    }
    for alg in ["RS384", "RS512", "PS256", "HS256", "none", "", "rs256", "RSA-OAEP", "RSA1_5"] {
        row("alg", json!(alg), KeyError::WrongPurpose);
    }
    for part in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        row(part, json!("AQAB"), KeyError::PrivateParts);
        row(part, json!(null), KeyError::PrivateParts);
    }
    for member in ["kty", "use", "alg", "kid", "n", "e", "x5t", "issuer", "cloud_instance_name"] {
        for value in [json!(null), json!(1), json!(true), json!([]), json!({})] {
            row(member, value, KeyError::Malformed);
        }
    }
    for operations in [json!("verify"), json!(null), json!({ "verify": true }), json!(1)] {
        row("key_ops", operations, KeyError::Malformed);
    }
    row("key_ops", json!(["verify", null]), KeyError::Malformed);
    row("kid", json!(""), KeyError::NoKeyId);
    row("kid", json!("k".repeat(129)), KeyError::NoKeyId);
    row("x5t", json!("x".repeat(65)), KeyError::Malformed);
    row("issuer", json!("i".repeat(257)), KeyError::Malformed);
    row("issuer", json!(""), KeyError::Malformed);
    row("cloud_instance_name", json!("c".repeat(65)), KeyError::Malformed);
    row("cloud_instance_name", json!(""), KeyError::Malformed);
    for bits in [512, 768, 1024, 1536, 2040, 2047, 8193, 8200, 16_384] {
        row("n", big(&odd(bits)), KeyError::WeakModulus);
    }
    row("n", big(&even), KeyError::WeakModulus);
    row("n", big(&[&[0], &modulus[..]].concat()), KeyError::WeakModulus);
    row("n", big(&[0; 256]), KeyError::WeakModulus);
    row("n", big(&[]), KeyError::WeakModulus);
    row("n", json!(own["n"].as_str().unwrap().to_owned() + "=="), KeyError::WeakModulus);
    row("n", json!(format!(" {}", own["n"].as_str().unwrap())), KeyError::WeakModulus);
    row("n", big(&roca()), KeyError::Roca);
    for exponent in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[4],
        &[5],
        &[17],
        &[35],
        &[1, 0, 0],
        &[1, 0, 3],
        &[0, 3],
        &[0, 1, 0, 1],
        &[1, 0, 0, 0, 1],
        &modulus,
    ] {
        row("e", big(exponent), KeyError::WrongExponent);
    }
    row("e", json!("AQAB="), KeyError::WrongExponent);
    row("e", json!("65537"), KeyError::WrongExponent);
    for (member, error) in [
        ("kty", KeyError::NotRsa),
        ("kid", KeyError::NoKeyId),
        ("n", KeyError::WeakModulus),
        ("e", KeyError::WrongExponent),
    ] {
        let mut key = own.clone();
        key.as_object_mut().unwrap().remove(member);
        rows.push((format!("no {member}"), error, key));
    }
    for entry in [json!(null), json!(1), json!("RSA"), json!([]), json!([own])] {
        let mut shown = entry.to_string();
        shown.truncate(60);
        rows.push((format!("the entry is {shown}"), KeyError::Malformed, entry));
    }

    let sound = json!({ "keys": [own, second] });
    let mut attacks = Vec::new();
    for (name, error, key) in rows {
        let document = json!({ "keys": [key, second] });
        assert_eq!(import(&document).errors(), [error], "{name}");
        let alone = json!({ "keys": [document["keys"][0]] });
        let refused = import_bytes(alone.to_string().as_bytes()).map(|_| ());
        assert_eq!(refused, Err(KeySetError::NoUsableKey(vec![error])), "{name}");
        let sent = Login::with(token().mint());
        attacks.push(Attack::new(name, sent.clone().keys(&document), sent.keys(&sound), "key_unknown"));
    }
    assert_refused("E keys", &attacks);
}

#[test]
fn a_key_within_the_bounds_is_kept() {
    let kept = |member: &str, value: Value| {
        let document = jwks_with(|key| key[member] = value.clone());
        assert_eq!(import(&document).errors(), [], "{member} is {value}");
    };
    kept("kid", json!("k".repeat(128)));
    kept("x5t", json!("x".repeat(64)));
    kept("issuer", json!("i".repeat(256)));
    kept("key_ops", json!(["verify"]));
    kept("key_ops", json!(["sign", "verify"]));
    kept("alg", json!("RS256"));
    kept("e", big(&[3]));
    for bits in [2048, 2049, 3072, 4096, 8192] {
        kept("n", big(&odd(bits)));
    }
    kept("x5c", json!([null]));
    kept("cloud_instance_name", json!("c".repeat(64)));
}

#[test]
fn a_key_of_another_issuer_signs_for_nobody_here() {
    let sent = Login::with(token().mint());
    let of = |issuer: &str| sent.clone().keys(&jwks_with(|key| key["issuer"] = issuer.into()));
    let twin = of("https://localhost:8443/{tenantid}/v2.0");
    let mut attacks = Vec::new();
    for issuer in [
        format!("https://localhost:8443/{CONSUMER_TENANT_ID}/v2.0"),
        "https://localhost:8443/common/v2.0".into(),
        "https://localhost:8443/{tenantId}/v2.0".into(),
        "https://localhost:8443/{tenantid}/v2.0/".into(),
        "https://localhost:8443/{tenantid}/".into(),
        "https://localhost:8443/{tenantid}".into(),
        "https://localhost:8443/{tenantid}{tenantid}/v2.0".into(),
        "http://localhost:8443/{tenantid}/v2.0".into(),
        "https://LOCALHOST:8443/{tenantid}/v2.0".into(),
        "https://localhost/{tenantid}/v2.0".into(),
        "https://login.microsoftonline.com/{tenantid}/v2.0".into(),
        "https://sts.windows.net/{tenantid}/".into(),
        format!("https://sts.windows.net/{TENANT_ID}/"),
        format!("https://localhost:8443/{}/v2.0", TENANT_ID.to_uppercase()),
        "{tenantid}".into(),
        " ".into(),
    ] {
        attacks.push(Attack::new(
            format!("key of {issuer}"),
            of(&issuer),
            twin.clone(),
            "key_issuer_mismatch",
        ));
    }
    let v2 =
        |issuer: &str| Login::with(token().v2().mint()).keys(&jwks_with(|key| key["issuer"] = issuer.into()));
    attacks.push(Attack::new(
        "a consumer key under a v2 token",
        v2(&format!("https://localhost:8443/{CONSUMER_TENANT_ID}/v2.0")),
        v2(&format!("https://localhost:8443/{TENANT_ID}/v2.0")),
        "key_issuer_mismatch",
    ));
    assert_refused("E issuer", &attacks);

    let unsaid = jwks_with(|key| drop(key.as_object_mut().unwrap().remove("issuer")));
    sent.keys(&unsaid).decide().expect("v1 key documents say no issuer");
}

#[test]
fn a_document_that_is_no_key_set_is_refused_whole() {
    let sound = jwks().to_string();
    let entry = jwks()["keys"][0].to_string();
    import_bytes(sound.as_bytes()).expect("the twin of all rows");
    let many = |count: usize| {
        let numbered = |n: usize| entry.replacen("\"kid\":\"", &format!("\"kid\":\"{n}"), 1);
        format!("{{\"keys\":[{}]}}", (0..count).map(numbered).collect::<Vec<_>>().join(","))
    };
    import_bytes(many(MAX_KEYS).as_bytes()).expect("as many keys as there may be");
    let mut rows: Vec<(&str, KeySetError, Vec<u8>)> = vec![
        ("65 keys", KeySetError::TooManyKeys, many(MAX_KEYS + 1).into()),
        ("10,000 keys", KeySetError::TooManyKeys, many(10_000).into()),
        (
            "10,000 entries that are none",
            KeySetError::TooManyKeys,
            format!("{{\"keys\":[{}0]}}", "0,".repeat(9_999)).into(),
        ),
        ("an empty set", KeySetError::NoUsableKey(vec![]), b"{\"keys\":[]}".to_vec()),
        ("a set of null", KeySetError::NoUsableKey(vec![KeyError::Malformed]), b"{\"keys\":[null]}".to_vec()),
    ];
    let mut malformed =
        |name: &'static str, document: Vec<u8>| rows.push((name, KeySetError::Malformed, document));
    malformed("nothing", vec![]);
    malformed("HTML", b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec());
    malformed("a BOM", format!("\u{feff}{sound}").into());
    malformed("cut short", sound.as_bytes()[..sound.len() - 1].to_vec());
    malformed("cut in the middle", sound.as_bytes()[..sound.len() / 2].to_vec());
    malformed("more behind it", format!("{sound}x").into());
    malformed("the set twice", format!("{sound}{sound}").into());
    malformed("a bare key", entry.clone().into());
    malformed("a bare array", format!("[{entry}]").into());
    malformed("keys in an object", format!("{{\"keys\":{{\"0\":{entry}}}}}").into());
    malformed("keys in a text", json!({ "keys": entry }).to_string().into());
    malformed("keys null", b"{\"keys\":null}".to_vec());
    malformed("no keys", b"{}".to_vec());
    malformed("Keys", sound.replace("\"keys\"", "\"Keys\"").into());
    malformed("keys named twice", format!("{{\"keys\":[{entry}],\"keys\":[{entry}]}}").into());
    malformed("keys named twice, escaped", format!("{{\"keys\":[{entry}],\"key\\u0073\":[{entry}]}}").into());
    malformed(
        "a member of a key named twice",
        sound.replacen("\"kid\":", "\"kid\":\"x\",\"kid\":", 1).into(),
    );
    malformed("a lone surrogate", sound.replacen("\"kid\":\"", "\"kid\":\"\\ud800", 1).into());
    malformed("an escaped NUL", sound.replacen("\"kid\":\"", "\"kid\":\"\\u0000", 1).into());
    malformed("a byte that is no UTF-8", [b"{\"x\":\"\xff\",", &sound.as_bytes()[1..]].concat());
    malformed("a number beyond all bounds", format!("{{\"x\":1e999,{}", &sound[1..]).into());
    malformed(
        "depth 100,000",
        format!("{{\"x\":{}{},{}", "[".repeat(100_000), "]".repeat(100_000), &sound[1..]).into(),
    );
    for (name, error, document) in rows {
        assert_eq!(import_bytes(&document).map(|_| ()), Err(error), "{name}");
    }
}
