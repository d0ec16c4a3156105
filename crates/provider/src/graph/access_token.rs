//! A token for Graph.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::json::{Json, Object};
use zeroize::Zeroizing;

use super::error::GraphError;

/// A token for Graph, wiped when it is dropped.
pub(super) struct AccessToken(Zeroizing<String>);

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

impl AccessToken {
    /// Reads the answer of a token endpoint (RFC 6749 §5.1), or of a managed identity's.
    ///
    /// # Errors
    /// [`GraphError::TokenMalformed`] unless it is an object with an `access_token` that can be a header's.
    pub(super) fn read(document: &[u8]) -> Result<Self, GraphError> {
        let object = Object::read(document).ok_or(GraphError::TokenMalformed)?;
        let token =
            object.member("access_token").and_then(Json::as_text).ok_or(GraphError::TokenMalformed)?;
        // RFC 6750 §2.1: what a bearer token may be made of.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_token) {
            return Err(GraphError::TokenMalformed);
        }
        let mut bearer = Zeroizing::new(String::with_capacity(token.len().saturating_add(7)));
        bearer.push_str("Bearer ");
        bearer.push_str(token);
        Ok(Self(bearer))
    }

    /// The value of `Authorization`.
    pub(super) fn bearer(&self) -> &str {
        &self.0
    }

    /// The app roles that the token names. It is Graph's own and opaque to others: nothing is decided by it.
    pub(super) fn permissions(&self) -> Option<Vec<String>> {
        let payload = self.0.split('.').nth(1)?;
        let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        let object = Object::read(&payload)?;
        let roles = object.member("roles").and_then(Json::as_array).unwrap_or_default();
        // Names of permissions, and nothing else of the token's.
        let is_name = |name: &&str| {
            name.len() <= 64
                && name.ends_with(".All")
                && name.chars().all(|c| c.is_ascii_alphabetic() || c == '.')
        };
        Some(roles.iter().filter_map(Json::as_text).filter(is_name).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_read_whole_and_never_printed() {
        let token = AccessToken::read(br#"{"token_type":"Bearer","access_token":"a.b-c_d~e+f/g="}"#);
        let token = token.expect("a token");
        assert_eq!(token.bearer(), "Bearer a.b-c_d~e+f/g=");
        assert_eq!(format!("{token:?}"), "AccessToken(…)");
        for document in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"access_token":""}"#,
            br#"{"access_token":7}"#,
            br#"{"access_token":"a\r\nb"}"#,
        ] {
            assert_eq!(AccessToken::read(document).expect_err("none"), GraphError::TokenMalformed);
        }
    }

    #[test]
    fn permissions_are_names_and_nothing_else_of_the_token() {
        let permissions = |payload: &str| {
            let payload = URL_SAFE_NO_PAD.encode(payload);
            let document = format!(r#"{{"access_token":"h.{payload}.s"}}"#);
            AccessToken::read(document.as_bytes()).expect("a token").permissions()
        };
        let some = permissions(r#"{"roles":["GroupMember.Read.All","User.Read.All","eyJ0.All",7,"s3cret"]}"#);
        assert_eq!(some, Some(vec!["GroupMember.Read.All".to_owned(), "User.Read.All".to_owned()]));
        assert_eq!(permissions("{}"), Some(Vec::new()));
        assert_eq!(permissions("no JSON"), None);
        let opaque = AccessToken::read(br#"{"access_token":"opaque"}"#).expect("a token");
        assert_eq!(opaque.permissions(), None);
    }
}
