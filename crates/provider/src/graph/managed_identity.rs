//! The identity of the machine itself: that of an Azure virtual machine, by its Instance Metadata Service, or of a
//! machine with Azure Arc's agent. Both are asked by plain HTTP on the machine, and never by a proxy.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>,
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pgaad_core::guid::ClientId;
use zeroize::Zeroizing;

use super::access_token::AccessToken;
use super::connection::Connection;
use super::error::GraphError;
use super::retry;
use crate::agent::{Agent, Limit, Reply, Request};

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: u64 = 256 * 1024;

/// Of the file with which Arc's agent has a program show that it may read it.
const MAX_KEY_BYTES: u64 = 4096;

/// How long the Instance Metadata Service may be away while it is updated (its status 410).
const UPDATE: Duration = Duration::from_secs(70);

const METADATA: (&str, &str) = ("metadata", "true");

fn resource(connection: &Connection) -> String {
    utf8_percent_encode(connection.request().graph_url.as_str(), NON_ALPHANUMERIC).to_string()
}

fn ask(connection: &Connection, url: &str, headers: &[(&'static str, &str)]) -> Result<Reply, GraphError> {
    let agent = Agent::local(Limit::Each(TIMEOUT, connection.deadline()));
    Ok(agent.send(&Request { url, headers, body: None, max_bytes: MAX_BYTES })?)
}

fn token_of(reply: Reply) -> Result<AccessToken, GraphError> {
    let document = Zeroizing::new(reply.document);
    AccessToken::read(&document)
}

/// A token of the virtual machine's identity.
///
/// # Errors
/// [`GraphError`]
pub(super) fn by_imds(
    connection: &Connection,
    identity: Option<ClientId>,
) -> Result<AccessToken, GraphError> {
    let base = &connection.request().local.imds;
    let identity = identity.map(|id| format!("&client_id={id}")).unwrap_or_default();
    let url = format!(
        "{base}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}{identity}",
        resource(connection)
    );
    let began = Instant::now();
    let mut retry = connection.retry();
    loop {
        let reply = match ask(connection, &url, &[METADATA]) {
            Ok(reply) => reply,
            Err(error) => {
                retry.wait(None, error)?;
                continue;
            }
        };
        let error = GraphError::IdentityMissing { status: reply.status };
        match reply.status {
            200 => return token_of(reply),
            // It is being updated; its documentation says for how long.
            410 if began.elapsed() < UPDATE => {
                retry = connection.retry();
                retry.wait(None, error)?;
            }
            404 | 429 | 500..=599 => {
                retry.wait(reply.header("retry-after").and_then(retry::retry_after), error)?;
            }
            _ => return Err(error),
        }
    }
}

/// A token of the identity that Arc's agent has for the machine. The agent names a file that only some may read, and
/// wants to see what is in it.
///
/// # Errors
/// [`GraphError`]
pub(super) fn by_arc(connection: &Connection) -> Result<AccessToken, GraphError> {
    let local = &connection.request().local;
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2020-06-01&resource={}",
        local.arc,
        resource(connection)
    );
    let challenge = ask(connection, &url, &[METADATA])?;
    let named = challenge.header("www-authenticate").and_then(|header| header.strip_prefix("Basic realm="));
    let Some(named) = named.filter(|_| challenge.status == 401) else {
        return Err(GraphError::IdentityMissing { status: challenge.status });
    };
    let key = read_key(Path::new(named.trim_matches('"')), &local.arc_tokens)?;
    let authorization = Zeroizing::new(format!("Basic {}", key.as_str()));
    let reply = ask(connection, &url, &[METADATA, ("authorization", &authorization)])?;
    match reply.status {
        200 => token_of(reply),
        status => Err(GraphError::IdentityMissing { status }),
    }
}

/// Reads the file that the agent names, if it is one of the agent's own: somebody else who answers on its port must not
/// have another file read out to them.
fn read_key(path: &Path, tokens: &Path) -> Result<Zeroizing<String>, GraphError> {
    let refused = |why| Err(GraphError::ArcFile(why));
    let is_key = path.extension().is_some_and(|extension| extension == "key");
    let has_dots = path.to_string_lossy().split('/').any(|part| part == "..");
    if !path.is_absolute() || has_dots || path.parent() != Some(tokens) || !is_key {
        return refused("is not in its own directory, with a name that ends with .key");
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_file() => {}
        Ok(_) => return refused("is a link, or no regular file"),
        Err(_) => return refused("cannot be read: the server's user must be in the group himds"),
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let Ok(file) = file else {
        return refused("cannot be read: the server's user must be in the group himds");
    };
    let mut key = Zeroizing::new(String::with_capacity(8 * 1024));
    let read = file.take(MAX_KEY_BYTES.saturating_add(1)).read_to_string(&mut key);
    let length = u64::try_from(key.len()).unwrap_or(u64::MAX);
    if read.is_err() || length > MAX_KEY_BYTES {
        return refused("is larger than four kilobytes, or no text");
    }
    // The value of a header (RFC 7617 §2), whatever is in it.
    let is_header = key.trim().chars().all(|c| c.is_ascii_graphic());
    if is_header { Ok(Zeroizing::new(key.trim().to_owned())) } else { refused("holds no key") }
}
