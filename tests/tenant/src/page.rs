//! The pages that the tenant serves, and HTTP responses.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::TENANT_ID;
use crate::keys::Keys;

/// A document at one of Entra's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Metadata,
    V1Metadata,
    Keys,
    V1Keys,
}

impl Page {
    /// The page that a request is for.
    ///
    /// # Errors
    /// The response that refuses it: 405 unless it is a GET, 400 for another tenant, as Entra answers, 404.
    pub(crate) fn requested(request_line: &str) -> Result<Self, Response> {
        let mut words = request_line.split(' ');
        if words.next() != Some("GET") {
            return Err(Response::json(405, json!({ "error": "invalid_request" }).to_string()));
        }
        let target = words.next().unwrap_or_default();
        let (path, _) = target.split_once('?').unwrap_or((target, ""));
        let (tenant, rest) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let page = match rest {
            "v2.0/.well-known/openid-configuration" => Self::Metadata,
            ".well-known/openid-configuration" => Self::V1Metadata,
            "discovery/v2.0/keys" => Self::Keys,
            "discovery/keys" => Self::V1Keys,
            _ => return Err(Response::json(404, json!({ "error": "not_found" }).to_string())),
        };
        // Keys are the same for all tenants.
        if tenant == TENANT_ID || (tenant == "common" && page.is_key_set()) {
            return Ok(page);
        }
        let error = json!({
            "error": "invalid_tenant",
            "error_description": "AADSTS90002: Tenant not found.",
            "error_codes": [90002],
        });
        Err(Response::json(400, error.to_string()))
    }

    /// A key set, not metadata.
    pub(crate) fn is_key_set(self) -> bool {
        matches!(self, Self::Keys | Self::V1Keys)
    }

    /// The right response.
    pub(crate) fn response(self, keys: &Keys) -> Response {
        let document: Value = match self {
            Self::Metadata => keys.metadata(),
            Self::V1Metadata => keys.v1_metadata(),
            Self::Keys => keys.jwks(),
            Self::V1Keys => keys.v1_jwks(),
        };
        Response::json(200, document.to_string())
    }
}

/// An HTTP/1.1 response; the connection closes after it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    status: u16,
    content_type: &'static str,
    location: Option<String>,
    date: SystemTime,
    body: String,
}

impl Response {
    /// JSON, as Entra sends it.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self {
            status,
            content_type: "application/json; charset=utf-8",
            location: None,
            date: SystemTime::now(),
            body,
        }
    }

    /// 200 and HTML.
    pub(crate) fn html(body: &str) -> Self {
        Self {
            status: 200,
            content_type: "text/html",
            location: None,
            date: SystemTime::now(),
            body: body.to_owned(),
        }
    }

    /// 302 to `location`.
    pub(crate) fn redirect(location: &str) -> Self {
        Self {
            status: 302,
            content_type: "text/plain",
            location: Some(location.to_owned()),
            date: SystemTime::now(),
            body: String::new(),
        }
    }

    /// The same, by a clock that is `seconds` ahead (or, negative, behind).
    pub(crate) fn by_a_clock_ahead(mut self, seconds: i64) -> Self {
        let span = Duration::from_secs(seconds.unsigned_abs());
        self.date = if seconds < 0 { self.date - span } else { self.date + span };
        self
    }

    /// Status line and headers, with the blank line that ends them.
    pub(crate) fn head(&self) -> String {
        let reason = match self.status {
            200 => "OK",
            302 => "Found",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            503 => "Service Unavailable",
            _ => "Unspecified",
        };
        let location = self.location.as_ref().map_or_else(String::new, |url| format!("Location: {url}\r\n"));
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nDate: {}\r\n{location}\
             Cache-Control: max-age=86400, private\r\nConnection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len(),
            httpdate::fmt_http_date(self.date)
        )
    }

    /// The body's bytes.
    pub(crate) fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }
}
