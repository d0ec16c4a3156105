//! The services of a machine: the Instance Metadata Service of Azure's, and the agent of Azure Arc. Plain HTTP.

use std::fs;
use std::path::Path;

use hyper::http::request::Parts;
use serde_json::json;

use crate::credentials::issue;
use crate::directory::Directory;
use crate::keys::Keys;
use crate::page::{self, Response};

const PATH: &str = "/metadata/identity/oauth2/token";

/// The answer to a request that is about the machine's identity. `tokens` is where Arc's agent puts its files.
pub(crate) fn answer(
    directory: &mut Directory,
    keys: &Keys,
    parts: &Parts,
    tokens: &Path,
) -> Option<Response> {
    if parts.uri.path() != PATH {
        return None;
    }
    let query = page::form(parts.uri.query().unwrap_or_default());
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |error: &str| Some(page::json_response(400, json!({ "error": error }).to_string()));
    if header("metadata") != "true" {
        return refused("bad_request_102");
    }
    if field("resource") != keys.authority() {
        return refused("invalid_resource");
    }
    let machine = directory.machine.clone();
    let identity = machine.filter(|own| query.get("client_id").is_none_or(|asked| asked == own));
    let Some(client_id) = identity else { return refused("invalid_request") };
    let application = directory.applications.get(&client_id).cloned().unwrap_or_default();
    match field("api-version") {
        "2018-02-01" => {}
        "2020-06-01" => {
            // What a program must show that it may read.
            let key = "c2VjcmV0IG9mIHRoZSBhZ2VudA==";
            if header("authorization") != format!("Basic {key}") {
                let file = tokens.join("challenge.key");
                fs::write(&file, key).expect("the agent's directory is ours");
                let mut response =
                    page::json_response(401, json!({ "error": "unauthorized_client" }).to_string());
                let realm = format!("Basic realm={}", file.display());
                response
                    .headers_mut()
                    .insert("www-authenticate", realm.parse().expect("a path is a header's value"));
                return Some(response);
            }
        }
        _ => return refused("invalid_request"),
    }
    let token = issue(directory, keys, &client_id, &application);
    // All numbers are strings here.
    let document = json!({
        "access_token": token, "client_id": client_id, "expires_in": "86399", "expires_on": "1900000000",
        "ext_expires_in": "86399", "not_before": "1800000000", "resource": field("resource"), "token_type": "Bearer",
    });
    Some(page::json_response(200, document.to_string()))
}
