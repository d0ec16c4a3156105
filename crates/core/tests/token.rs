//! What is said of a token whose header is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::Reason;
use pgaad_core::token::{RawToken, UnverifiedToken};

#[test]
fn a_forbidden_member_is_named_only_where_an_rfc_names_it() {
    let refused = |member: &str| {
        let header = format!(r#"{{"alg":"RS256","kid":"k","{member}":"x"}}"#);
        let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        let raw = RawToken::new(token.into_bytes(), 1000).expect("a short token");
        UnverifiedToken::parse(&raw).map(drop)
    };
    for member in ["b64", "jwk", "jku", "x5u", "x5c", "x5t#S256", "zip", "enc", "cty", "epk"] {
        assert_eq!(refused(member), Err(Reason::ForbiddenHeader { member }));
    }
    for member in ["JKU", "jku2", "password=secret", ""] {
        assert_eq!(refused(member), Err(Reason::ForbiddenHeader { member: "other" }));
    }
    assert_eq!(refused("nonce"), Ok(()));
}
