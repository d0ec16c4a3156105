//! What a document is that is not the JSON it should be: saved in a wrong form, another document, or cut.

use pgaad_core::json::{self, Json, Object};
use pgaad_core::key_error::{KeyError, KeySetError};
use pgaad_core::keys::MAX_KEYS;

/// Says what is wrong with a key set, as the rest of a sentence about the document.
pub(crate) fn of_key_set(document: &[u8], error: &KeySetError) -> String {
    match error {
        KeySetError::Malformed => of_object(document).unwrap_or_else(|| of_other_object(document)),
        KeySetError::TooManyKeys => format!("has more than {MAX_KEYS} keys"),
        KeySetError::NoUsableKey(errors) if errors.is_empty() => "has no key".to_owned(),
        KeySetError::NoUsableKey(errors) => format!("has no key that can be used: {}", counted(errors)),
    }
}

/// Says why a document is not one object of JSON, as the rest of a sentence about it. `None` if it is one.
pub(crate) fn of_object(document: &[u8]) -> Option<String> {
    if Object::read(document).is_some() {
        return None;
    }
    let text = document.trim_ascii_start();
    let form = FORMS.iter().find(|(start, _)| text.starts_with(start)).map(|(_, form)| (*form).to_owned());
    Some(form.unwrap_or_else(|| match json::error_of(document) {
        _ if text.is_empty() => "is empty".to_owned(),
        _ if document.contains(&0) => "is UTF-16 or binary: save it as UTF-8".to_owned(),
        None => "is JSON, but not an object".to_owned(),
        Some(error) if error.why.starts_with("EOF") => {
            format!("ends in the middle, after {} bytes", document.len())
        }
        Some(error) => format!("is not JSON from byte {} on: {}", error.offset, error.why),
    }))
}

/// How documents begin that are taken for JSON by mistake.
const FORMS: [(&[u8], &str); 9] = [
    (b"\xef\xbb\xbf", "begins with a byte order mark: save it as UTF-8 without one"),
    (b"\xff\xfe", "is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: save it as UTF-8"),
    (b"-----BEGIN CERTIFICATE", "is a certificate in PEM"),
    (b"-----BEGIN", "is a key or something else in PEM"),
    (b"\x30\x82", "is DER, the form of certificates and keys"),
    (b"<", "is HTML or XML"),
    (b"eyJ", "is a token"),
    (b"[", "is an array and not an object"),
];

/// Says what a file without a certificate in PEM is, as the rest of a sentence about the file.
pub(crate) fn of_certificates(file: &[u8]) -> &'static str {
    let text = file.trim_ascii_start();
    let has = |marker: &[u8]| file.windows(marker.len()).any(|window| window == marker);
    if text.is_empty() {
        "is empty"
    } else if text.starts_with(b"\x30\x82") {
        "is DER; PEM is made by: openssl x509 -inform DER -in FILE -out FILE.pem"
    } else if file.contains(&0) {
        "is UTF-16 or binary: save it as text in UTF-8"
    } else if has(b"-----BEGIN CERTIFICATE-----") {
        "holds a certificate without its end"
    } else if has(b"-----BEGIN PKCS7") {
        "is PKCS#7; PEM is made by: openssl pkcs7 -print_certs -in FILE -out FILE.pem"
    } else if has(b"-----BEGIN CERTIFICATE REQUEST") {
        "holds a request for a certificate, and no certificate"
    } else if has(b"PRIVATE KEY-----") || has(b"PUBLIC KEY-----") {
        "holds a key, and no certificate"
    } else {
        "holds no certificate in PEM"
    }
}

/// What an object without an array `keys` may be.
fn of_other_object(document: &[u8]) -> String {
    let Some(object) = Object::read(document) else { return String::new() };
    let has = |member: &str| object.member(member).is_some();
    if has("kty") {
        "is a single key; a set is {\"keys\": [ … ]} with the key inside".to_owned()
    } else if has("jwks_uri") {
        "is the OpenID metadata; its jwks_uri says where the keys are".to_owned()
    } else if object.member("keys").is_some_and(|keys| keys.as_array().is_none()) {
        "has a member keys that is not an array".to_owned()
    } else {
        let names: Vec<_> = object.names().take(3).collect();
        format!("has no array keys; it begins with {names:?}")
    }
}

/// Each error once, with how many keys have it.
fn counted(errors: &[KeyError]) -> String {
    let mut counts: Vec<(KeyError, usize)> = Vec::new();
    for error in errors {
        match counts.iter_mut().find(|(known, _)| known == error) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((*error, 1)),
        }
    }
    let each = counts.iter().map(|(error, count)| match count {
        1 => format!("one {error}"),
        count => format!("each of {count} {error}"),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// What a member of an object is that should be a text.
pub(crate) fn of_member(object: &Object<'_>, member: &str) -> String {
    match object.member(member) {
        None => format!("has no member {member}"),
        Some(Json::Text(_)) => format!("has a member {member} that is too long"),
        Some(_) => format!("has a member {member} that is not a text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_document_that_is_no_key_set_has_words_of_its_own() {
        let utf16: Vec<u8> = "{\"keys\":[]}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (document, words) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            ("\u{feff}{\"keys\":[]}".as_bytes(), "byte order mark"),
            (&[&b"\xff\xfe"[..], &utf16].concat(), "is UTF-16: save"),
            (&utf16, "is UTF-16 or binary"),
            (b"-----BEGIN CERTIFICATE-----\n", "is a certificate in PEM"),
            (b"-----BEGIN PUBLIC KEY-----\n", "in PEM"),
            (b"\x30\x82\x01\x0a", "is DER"),
            (b"<!doctype html>", "is HTML"),
            (b"eyJhbGciOiJSUzI1NiJ9.e30.x", "is a token"),
            (b"[{\"kty\":\"RSA\"}]", "is an array"),
            (b"3", "is JSON, but not an object"),
            (b"{\"keys\":[{\"kty\":", "ends in the middle, after 16 bytes"),
            (b"{\"keys\":[],}", "is not JSON from byte 12 on: trailing comma"),
            (b"{\"keys\":[],\"keys\":[]}", "a member is named twice"),
            (b"{\"kty\":\"RSA\"}", "is a single key"),
            (b"{\"jwks_uri\":\"https://x\"}", "is the OpenID metadata"),
            (b"{\"keys\":{}}", "keys that is not an array"),
            (b"{\"value\":[]}", "has no array keys; it begins with [\"value\"]"),
        ] {
            let said = of_key_set(document, &KeySetError::Malformed);
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn each_form_of_a_file_without_a_certificate_has_words_of_its_own() {
        for (file, words) in [
            (&b" \n"[..], "is empty"),
            (b"\x30\x82\x03\x00", "is DER; "),
            (b"-\0-\0", "is UTF-16"),
            (b"-----BEGIN CERTIFICATE-----\nMII", "without its end"),
            (b"-----BEGIN PKCS7-----", "is PKCS#7"),
            (b"-----BEGIN CERTIFICATE REQUEST-----", "a request"),
            (b"-----BEGIN EC PRIVATE KEY-----", "holds a key"),
            (b"-----BEGIN PUBLIC KEY-----", "holds a key"),
            (b"a text", "holds no certificate in PEM"),
        ] {
            assert!(of_certificates(file).contains(words), "{words}: {}", of_certificates(file));
        }
    }

    #[test]
    fn keys_that_do_not_count_are_counted_by_what_is_wrong() {
        let errors = vec![KeyError::NotRsa, KeyError::PrivateParts, KeyError::NotRsa];
        let said = of_key_set(b"", &KeySetError::NoUsableKey(errors));
        assert_eq!(
            said,
            "has no key that can be used: each of 2 is not RSA; one holds private parts, which must not be published"
        );
        assert_eq!(of_key_set(b"", &KeySetError::NoUsableKey(vec![])), "has no key");
    }
}
