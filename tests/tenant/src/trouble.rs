//! In which ways Graph and the token endpoint can fail.

use std::time::Duration;

use serde_json::{Value, json};

use crate::behavior::{Answer, Broken};
use crate::page::{self, Response};

/// How one question is answered, in the place of the right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This status, and `Retry-After` where there is one.
    Status(u16, Option<String>),
    /// 200 with a page of HTML.
    Html,
    /// Promises the whole length, sends half of the body and closes.
    Truncated,
    /// Closes the connection instead of an answer.
    Reset,
    /// No answer at all.
    Stalled,
    /// The right answer, one byte at a time with this pause after each.
    Slow(Duration),
    /// The right answer, with this link to the next page.
    NextPage(String),
    /// An empty page, and the link of the right one; where that is the last, it has none.
    Empty,
    /// The right answer, with every entry twice.
    Twice,
    /// The right answer, by a clock that is so many seconds ahead (or, negative, behind).
    Clock(i64),
    /// 302 to this location.
    Redirect(String),
    /// This body, with this status.
    Body(u16, String),
    /// 401, and this as `WWW-Authenticate`.
    Challenge(String),
    /// The answer of a copy of the directory that is behind: see [`crate::Directory::keep_replica`].
    OldReplica,
    /// What the client sent, its token and its form, sent back with this status: as an error's code and message,
    /// and in every header.
    Echo(u16),
}

impl Trouble {
    /// The answer, where `right` is the right one, and `asked` what the client sent.
    pub(crate) fn answer(&self, right: Response, asked: &str) -> Answer {
        match self {
            Self::Status(status, retry_after) => {
                let error = json!({ "error": { "code": "UnknownError", "message": "try again" } });
                let mut response = page::json_response(*status, error.to_string());
                if let Some(pause) = retry_after {
                    let pause = pause.parse().expect("it is a header's value");
                    response.headers_mut().insert("retry-after", pause);
                }
                Answer::Whole(response)
            }
            Self::Html => {
                Answer::Whole(page::html_response("<!DOCTYPE html><title>Service Unavailable</title>"))
            }
            Self::Truncated => {
                let half = right.body().len() / 2;
                let sent = page::head(&right) + &right.body()[..half];
                Answer::Broken(Broken::Bytes(sent.into(), Vec::new()))
            }
            Self::Reset => Answer::Broken(Broken::Bytes(Vec::new(), Vec::new())),
            Self::Stalled => Answer::Broken(Broken::Silence),
            Self::Slow(pause) => {
                let sent = page::head(&right) + right.body();
                Answer::Broken(Broken::Bytewise(sent.into(), *pause))
            }
            Self::NextPage(link) => changed(&right, |body| body["@odata.nextLink"] = json!(link)),
            Self::Empty => changed(&right, |body| body["value"] = json!([])),
            Self::Twice => changed(&right, |body| {
                let value = body["value"].as_array().cloned().unwrap_or_default();
                body["value"] = json!([value.clone(), value].concat());
            }),
            Self::Clock(ahead) => Answer::Whole(page::by_a_clock_ahead(right, *ahead)),
            Self::Redirect(location) => Answer::Whole(page::redirect_response(location)),
            Self::Challenge(challenge) => {
                let mut response = page::json_response(401, "{}".to_owned());
                let challenge = challenge.parse().expect("it is a header's value");
                response.headers_mut().insert("www-authenticate", challenge);
                Answer::Whole(response)
            }
            // Already the replica's.
            Self::OldReplica => Answer::Whole(right),
            Self::Body(status, body) => Answer::Whole(page::json_response(*status, body.clone())),
            Self::Echo(status) => {
                let error = json!({
                    "error": { "code": asked, "message": asked },
                    "error_description": asked, "error_codes": [asked], "value": [{ "id": asked }],
                    "@odata.nextLink": asked,
                });
                let mut response = page::json_response(*status, error.to_string());
                for header in ["location", "retry-after", "www-authenticate", "date"] {
                    if let Ok(value) = asked.parse() {
                        response.headers_mut().insert(header, value);
                    }
                }
                Answer::Whole(response)
            }
        }
    }
}

fn changed(right: &Response, change: impl FnOnce(&mut Value)) -> Answer {
    let mut body: Value = serde_json::from_str(right.body()).unwrap_or_default();
    change(&mut body);
    Answer::Whole(page::json_response(right.status().as_u16(), body.to_string()))
}
