//! The pages that the tenant serves, and HTTP responses.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION};
use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::keys::Keys;
use crate::{SECOND_TENANT_ID, TENANT_ID};

/// A document at one of Entra's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Metadata,
    V1Metadata,
    Keys,
    V1Keys,
}

impl Page {
    /// The page that a request is for, and the tenant.
    ///
    /// # Errors
    /// The response that refuses it: 405 unless it is a GET, 400 for another tenant, as Entra answers, 404.
    pub(crate) fn requested(method: &Method, target: &Uri) -> Result<(Self, &'static str), Box<Response>> {
        if method != Method::GET {
            return Err(json_response(405, json!({ "error": "invalid_request" }).to_string()).into());
        }
        let (tenant, rest) = target.path().trim_start_matches('/').split_once('/').unwrap_or_default();
        let page = match rest {
            "v2.0/.well-known/openid-configuration" => Self::Metadata,
            ".well-known/openid-configuration" => Self::V1Metadata,
            "discovery/v2.0/keys" => Self::Keys,
            "discovery/keys" => Self::V1Keys,
            _ => return Err(json_response(404, json!({ "error": "not_found" }).to_string()).into()),
        };
        // Keys are the same for all tenants.
        let known = [TENANT_ID, SECOND_TENANT_ID].into_iter().find(|known| *known == tenant);
        let common = (tenant == "common" && page.is_key_set()).then_some(TENANT_ID);
        if let Some(tenant) = known.or(common) {
            return Ok((page, tenant));
        }
        let error = json!({
            "error": "invalid_tenant",
            "error_description": "AADSTS90002: Tenant not found.",
            "error_codes": [90002],
        });
        Err(json_response(400, error.to_string()).into())
    }

    /// A key set, not metadata.
    pub(crate) fn is_key_set(self) -> bool {
        matches!(self, Self::Keys | Self::V1Keys)
    }

    /// The right response.
    pub(crate) fn response(self, keys: &Keys, tenant: &str) -> Response {
        let document: Value = match self {
            Self::Metadata => keys.metadata(),
            Self::V1Metadata => keys.v1_metadata(),
            Self::Keys => keys.jwks(),
            Self::V1Keys => keys.v1_jwks(),
        };
        json_response(200, document.to_string().replace(TENANT_ID, tenant))
    }
}

/// A response; the connection closes after it.
pub(crate) type Response = hyper::Response<String>;

/// JSON, as Entra sends it.
pub(crate) fn json_response(status: u16, body: String) -> Response {
    with_type(status, "application/json; charset=utf-8", body)
}

/// What a device is told that asks for a code (RFC 8628 §3.2), in the words of Entra's.
pub(crate) fn device_code() -> Response {
    let code = json!({
        "device_code": "GAQABIQEAAADnfolhJpSnRYB1SVj",
        "user_code": "CVGDR5KD6",
        "verification_uri": "https://microsoft.com/devicelogin",
        "expires_in": 900,
        "interval": 1,
        "message": "To sign in, open https://microsoft.com/devicelogin and enter the code CVGDR5KD6.",
    });
    json_response(200, code.to_string())
}

/// What the token endpoint says to that device (RFC 8628 §3.5): to ask again, or the token.
pub(crate) fn token(signed_in: Option<String>) -> Response {
    match signed_in {
        None => json_response(400, json!({ "error": "authorization_pending" }).to_string()),
        Some(token) => {
            let token = json!({ "token_type": "Bearer", "scope": "openid", "expires_in": 3599, "access_token": token });
            json_response(200, token.to_string())
        }
    }
}

/// The fields of a form, or of a query (WHATWG URL, application/x-www-form-urlencoded).
pub(crate) fn form(text: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let fields = text.split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// 200 and HTML.
pub(crate) fn html_response(body: &str) -> Response {
    with_type(200, "text/html", body.to_owned())
}

/// 302 to `location`.
pub(crate) fn redirect_response(location: &str) -> Response {
    let mut response = with_type(302, "text/plain", String::new());
    response.headers_mut().insert(LOCATION, location.parse().expect("the location is a URL"));
    response
}

/// The same, by a clock that is `seconds` ahead (or, negative, behind).
pub(crate) fn by_a_clock_ahead(mut response: Response, seconds: i64) -> Response {
    let (now, span) = (SystemTime::now(), Duration::from_secs(seconds.unsigned_abs()));
    let time = if seconds < 0 { now - span } else { now + span };
    let date = httpdate::fmt_http_date(time).parse().expect("a date is a header's value");
    response.headers_mut().insert(DATE, date);
    response
}

fn with_type(status: u16, content_type: &str, body: String) -> Response {
    let response = hyper::Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "max-age=86400, private")
        .body(body);
    response.expect("the status is one, and the headers are")
}

/// The head of a response that is sent by hand: status line and headers, with the blank line that ends them.
pub(crate) fn head(response: &Response) -> String {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        let value = value.to_str().expect("our headers are text");
        head += &format!("{name}: {value}\r\n");
    }
    head + &format!("{CONTENT_LENGTH}: {}\r\n{CONNECTION}: close\r\n\r\n", response.body().len())
}
