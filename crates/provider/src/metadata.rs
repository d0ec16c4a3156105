//! The OpenID metadata of a tenant (OpenID Connect Discovery 1.0 §3): where its keys are.

use pgaad_core::json::{Json, Object};
use pgaad_core::tenant::Tenant;

use crate::error::FetchError;
use crate::misfit;

/// Longest text of a member that counts; Entra's have less than a hundred bytes.
const MAX_TEXT_BYTES: usize = 2048;

/// The members of the metadata that count. Only [`Metadata::read`] makes one, so they are the tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    jwks_uri: String,
    cloud: Option<String>,
}

impl Metadata {
    /// Reads a document: strictly, so no member stands there twice.
    ///
    /// # Errors
    /// [`FetchError::MetadataMalformed`] for anything but one JSON object with `issuer` and `jwks_uri`;
    /// [`FetchError::WrongIssuer`] unless the issuer is the tenant's v2 issuer;
    /// [`FetchError::ForeignKeysUrl`] for keys elsewhere than at the tenant's authority or, where that is the cloud's,
    /// at the cloud's other hosts.
    pub fn read(document: &[u8], tenant: &Tenant) -> Result<Self, FetchError> {
        let malformed =
            |why| FetchError::MetadataMalformed { to: tenant.authority().as_str().to_owned(), why };
        let Some(object) = Object::read(document) else {
            return Err(malformed(misfit::of_object(document).unwrap_or_default()));
        };
        let required = |member| required(&object, member).map_err(malformed);
        let (issuer, jwks_uri) = (required("issuer")?, required("jwks_uri")?);
        // Entra's extension.
        let cloud = match object.member("cloud_instance_name") {
            None | Some(Json::Null) => None,
            Some(_) => Some(required("cloud_instance_name")?).filter(|name| !name.is_empty()),
        };
        if issuer != tenant.v2_issuer() {
            return Err(FetchError::WrongIssuer {
                found: issuer.to_owned(),
                expected: tenant.v2_issuer().to_owned(),
            });
        }
        if !tenant.may_have_keys_at(jwks_uri) {
            return Err(FetchError::ForeignKeysUrl { found: jwks_uri.to_owned() });
        }
        Ok(Self { jwks_uri: jwks_uri.to_owned(), cloud: cloud.map(str::to_owned) })
    }

    /// Where the keys are: an https URL at the tenant's authority.
    pub fn jwks_uri(&self) -> &str {
        &self.jwks_uri
    }

    /// `cloud_instance_name`: which Microsoft cloud the provider is of.
    pub fn cloud(&self) -> Option<&str> {
        self.cloud.as_deref()
    }
}

/// A member that must be there; else what is wrong.
fn required<'a>(object: &'a Object<'_>, member: &str) -> Result<&'a str, String> {
    object
        .member(member)
        .and_then(Json::as_text)
        .filter(|text| text.len() <= MAX_TEXT_BYTES)
        .ok_or_else(|| misfit::of_member(object, member))
}

#[cfg(test)]
mod tests {
    use pgaad_core::tenant::Cloud;

    use super::*;

    const ID: &str = "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10";

    fn tenant() -> Tenant {
        Tenant::new(ID.parse().unwrap(), Cloud::Public, None)
    }

    fn read(members: &str) -> Result<Metadata, FetchError> {
        let issuer = format!(r#""issuer":"https://login.microsoftonline.com/{ID}/v2.0""#);
        let uri = r#""jwks_uri":"https://login.microsoftonline.com/keys""#;
        let members = members.replace("ISSUER", &issuer).replace("URI", uri);
        Metadata::read(format!("{{{members}}}").as_bytes(), &tenant())
    }

    #[test]
    fn what_counts_is_read_and_the_rest_is_not_asked_for() {
        let metadata = read(r#"ISSUER,URI,"cloud_instance_name":"microsoftonline.com","scopes":["openid"]"#);
        let metadata = metadata.unwrap();
        assert_eq!(metadata.jwks_uri(), "https://login.microsoftonline.com/keys");
        assert_eq!(metadata.cloud(), Some("microsoftonline.com"));
        for absent in ["", r#","cloud_instance_name":null"#, r#","cloud_instance_name":"""#] {
            assert_eq!(read(&format!("ISSUER,URI{absent}")).unwrap().cloud(), None, "{absent}");
        }
    }

    #[test]
    fn anything_else_than_one_object_with_both_as_texts_is_malformed() {
        let long = format!(r#"ISSUER,"jwks_uri":"https://login.microsoftonline.com/{}""#, "k".repeat(2048));
        for members in [
            "",
            "ISSUER",
            "URI",
            r#"ISSUER,"jwks_uri":["https://login.microsoftonline.com/keys"]"#,
            r#""issuer":null,URI"#,
            r#"ISSUER,URI,"cloud_instance_name":1"#,
            // Which of the two would count? RFC 8259 §4 leaves it open, so an attacker could choose.
            "ISSUER,URI,URI",
            "ISSUER,ISSUER,URI",
            r#"ISSUER,URI,"a":{"b":1,"b":2}"#,
            &long,
        ] {
            let error = read(members).expect_err(members);
            assert!(matches!(error, FetchError::MetadataMalformed { .. }), "{members}: {error:?}");
        }
        for document in [&b""[..], b"[]", b"\xef\xbb\xbf{}", b"<html>", b"\"issuer\""] {
            let error = Metadata::read(document, &tenant()).expect_err("no object");
            assert!(matches!(error, FetchError::MetadataMalformed { .. }), "{error:?}");
        }
    }

    #[test]
    fn longest_text_is_still_one() {
        let longest = format!("https://login.microsoftonline.com/{}", "k".repeat(2048 - 34));
        assert_eq!(longest.len(), 2048);
        let metadata = read(&format!(r#"ISSUER,"jwks_uri":"{longest}""#)).unwrap();
        assert_eq!(metadata.jwks_uri(), longest);
    }

    #[test]
    fn another_issuer_and_keys_elsewhere_are_refused() {
        let other =
            r#""issuer":"https://login.microsoftonline.com/11111111-2222-4333-8444-555555555555/v2.0",URI"#;
        let words = read(other).unwrap_err().words().unwrap();
        assert!(words.contains("11111111-2222-4333-8444-555555555555/v2.0 and not https://"), "{words}");
        for uri in
            ["http://login.microsoftonline.com/keys", "https://login.microsoftonline.com.evil/keys", "keys"]
        {
            assert_eq!(
                read(&format!(r#"ISSUER,"jwks_uri":"{uri}""#)),
                Err(FetchError::ForeignKeysUrl { found: uri.to_owned() }),
                "{uri}"
            );
        }
    }
}
