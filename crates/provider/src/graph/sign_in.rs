//! Signing in to Graph: the client credentials flow
//! (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>), or the machine's identity.

use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pgaad_core::settings::directory::Credential;
use zeroize::Zeroizing;

use super::access_token::AccessToken;
use super::assertion;
use super::connection::Connection;
use super::error::{self, GraphError};
use super::managed_identity;
use super::retry;
use crate::agent::Request;
use crate::clock;
use crate::secret_file;

/// Of the token endpoint's answer; Entra's have some kilobytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The kind of every assertion (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Gets a token by the credential of the settings.
///
/// # Errors
/// [`GraphError`]
pub(super) fn sign_in(connection: &Connection) -> Result<AccessToken, GraphError> {
    let request = connection.request();
    let credential =
        request.credential.as_ref().ok_or(GraphError::NotConfigured("pgaad.directory_credential"))?;
    let read = |path: &Path| secret_file::read(path, &request.data_directory);
    match credential {
        Credential::SecretFile(path) => {
            let secret = read(path)?;
            let secret = text_of(&secret)?;
            by_form(connection, &[("client_secret", secret)])
        }
        Credential::Certificate(path) => {
            let pem = read(path)?;
            let client_id = client_id(connection)?;
            let assertion = assertion::sign(&pem, &client_id, &token_endpoint(connection), clock::now())?;
            by_form(
                connection,
                &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)],
            )
        }
        Credential::Federated(path) => {
            let token = read(path)?;
            let token = text_of(&token)?;
            by_form(connection, &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", token)])
        }
        Credential::Imds(identity) => managed_identity::by_imds(connection, *identity),
        Credential::Arc => managed_identity::by_arc(connection),
    }
}

/// A secret as text, without the line break that an editor leaves behind.
fn text_of(secret: &[u8]) -> Result<&str, GraphError> {
    let text = std::str::from_utf8(secret.trim_ascii());
    text.map_err(|_| GraphError::Credential("is no text of UTF-8"))
}

fn client_id(connection: &Connection) -> Result<String, GraphError> {
    let id = connection.request().client_id.map(|id| id.to_string());
    id.ok_or(GraphError::NotConfigured("pgaad.directory_client_id"))
}

fn token_endpoint(connection: &Connection) -> String {
    let tenant = &connection.request().tenant;
    format!("{}/{}/oauth2/v2.0/token", tenant.authority().as_str(), tenant.id())
}

/// Asks the token endpoint (RFC 6749 §4.4.2), with what shows who asks.
fn by_form(connection: &Connection, proof: &[(&str, &str)]) -> Result<AccessToken, GraphError> {
    let client_id = client_id(connection)?;
    let scope = format!("{}/.default", connection.request().graph_url.as_str());
    let fields = [("grant_type", "client_credentials"), ("client_id", &client_id), ("scope", &scope)];
    let mut form = Zeroizing::new(String::with_capacity(16 * 1024));
    for (name, value) in fields.iter().chain(proof) {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        form.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    let url = token_endpoint(connection);
    let body = Some(("application/x-www-form-urlencoded", form.as_bytes()));
    let asked = Request { url: &url, headers: &[], body, max_bytes: MAX_BYTES };
    let mut retry = connection.retry();
    loop {
        match connection.agent()?.send(&asked) {
            Ok(reply) if reply.status == 200 => {
                let document = Zeroizing::new(reply.document);
                return AccessToken::read(&document);
            }
            Ok(reply) if matches!(reply.status, 429 | 500..=599) => {
                let asked_for = reply.header("retry-after").and_then(retry::retry_after);
                retry.wait(asked_for, error::of_token_endpoint(reply.status, &reply.document))?;
            }
            Ok(reply) => return Err(error::of_token_endpoint(reply.status, &reply.document)),
            Err(error) => retry.wait(None, error.into())?,
        }
    }
}
