//! How the tenant answers: well, or in one of the ways in which an identity provider can fail.

use std::time::Duration;

use serde_json::json;

use crate::page::{self, Page, Response};

/// How the server answers requests. It applies to metadata and keys alike unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behavior {
    /// As Entra does.
    #[default]
    Well,
    /// Accepts the connection and TLS, reads the request and never answers.
    Stalled,
    /// Accepts the connection and says nothing, not even to a TLS greeting.
    StalledBeforeTls,
    /// 200 with a page of HTML, as captive portals and proxies do.
    Html,
    /// This status with a short JSON error.
    Status(u16),
    /// 302 to this location.
    Redirect(String),
    /// Promises the whole length, sends half of the body and closes.
    Truncated,
    /// Metadata is well, key sets are `{"keys":[]}`.
    EmptySet,
    /// The right answer, one byte at a time with this pause after each, headers too.
    Slow(Duration),
    /// The right answer as of the request, after this pause.
    Late(Duration),
    /// The right answer, by a clock that is so many seconds ahead (or, negative, behind).
    Clock(i64),
    /// 200 and a JSON document that never ends.
    Endless,
    /// 200 with exactly these bodies; `None` is the right one.
    Body {
        /// In place of the metadata, v1 and v2.
        metadata: Option<String>,
        /// In place of the key set, v1 and v2.
        jwks: Option<String>,
    },
    /// These bytes in place of a response, head and all, then others again and again without end
    /// (none: the end).
    Raw {
        /// The beginning.
        first: Vec<u8>,
        /// What is repeated.
        then: Vec<u8>,
    },
}

impl Behavior {
    /// A whole answer, but for the empty line between its head and its body.
    pub fn framed(head: &str, body: &[u8]) -> Self {
        Self::Raw { first: [head.as_bytes(), b"\r\n", body].concat(), then: Vec::new() }
    }

    /// An answer that begins so, and then goes on with the same for ever.
    pub fn without_end(first: &str, then: &[u8]) -> Self {
        Self::Raw { first: first.as_bytes().to_vec(), then: then.to_vec() }
    }
}

/// What is done with a connection once its request was read.
pub(crate) enum Answer {
    /// The response as it is.
    Whole(Response),
    /// The response after a pause.
    Late(Response, Duration),
    /// What is no response, or not one whole.
    Broken(Broken),
}

/// What no library for HTTP sends.
pub(crate) enum Broken {
    /// These bytes, then the second ones until the client goes; not at all when there are none.
    Bytes(Vec<u8>, Vec<u8>),
    /// These bytes, with a pause after each.
    Bytewise(Vec<u8>, Duration),
    /// Nothing, until the client goes.
    Silence,
}

impl Behavior {
    /// The answer to a request for `page`, for which `right` is the right response.
    pub(crate) fn answer(&self, page: Page, right: Response) -> Answer {
        match self {
            Self::Well => Answer::Whole(right),
            Self::Stalled | Self::StalledBeforeTls => Answer::Broken(Broken::Silence),
            Self::Html => {
                Answer::Whole(page::html_response("<!DOCTYPE html><title>Sign in to the network</title>"))
            }
            Self::Status(status) => {
                let error = json!({ "error": "temporarily_unavailable", "error_codes": [90033] });
                Answer::Whole(page::json_response(*status, error.to_string()))
            }
            Self::Redirect(location) => Answer::Whole(page::redirect_response(location)),
            Self::Truncated => {
                let half = right.body().len() / 2;
                let sent = page::head(&right) + &right.body()[..half];
                Answer::Broken(Broken::Bytes(sent.into(), Vec::new()))
            }
            Self::EmptySet if page.is_key_set() => {
                Answer::Whole(page::json_response(200, json!({ "keys": [] }).to_string()))
            }
            Self::EmptySet => Answer::Whole(right),
            Self::Late(pause) => Answer::Late(right, *pause),
            Self::Slow(pause) => {
                let sent = page::head(&right) + right.body();
                Answer::Broken(Broken::Bytewise(sent.into(), *pause))
            }
            Self::Clock(ahead) => Answer::Whole(page::by_a_clock_ahead(right, *ahead)),
            Self::Endless => Answer::Broken(Broken::endless()),
            Self::Raw { first, then } => Answer::Broken(Broken::Bytes(first.clone(), then.clone())),
            Self::Body { metadata, jwks } => {
                let body = if page.is_key_set() { jwks } else { metadata };
                Answer::Whole(body.clone().map_or(right, |body| page::json_response(200, body)))
            }
        }
    }
}

impl Broken {
    /// Chunks of a JSON string (RFC 9112 §7.1) until the client has enough.
    fn endless() -> Self {
        let first = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
                     Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nc\r\n{\"keys\": [\"x\r\n";
        let chunk = format!("{:x}\r\n{}\r\n", 4096, "x".repeat(4096));
        Self::Bytes(first.into(), chunk.into())
    }
}
