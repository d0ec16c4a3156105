//! Fetching the tenant's keys: the v2 OpenID metadata, then the key set it points to.
//!
//! Runs on a thread of the worker, never in a backend, and calls nothing of PostgreSQL's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pgaad_core::keys::{KeySet, KeySetError};
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;

use crate::agent::{Agent, Limit, MAX_BODY_BYTES, Route};
use crate::error::FetchError;
use crate::file;
use crate::metadata::Metadata;
use crate::misfit;

/// For metadata and keys together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where to fetch from, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Whose keys.
    pub tenant: Tenant,
    /// The way to its authority.
    pub route: Route,
    /// `pgaad.jwks_file`: the keys are read from there, and the network is not used.
    pub jwks_file: Option<PathBuf>,
}

/// What came back: the keys, and the document they were read from.
#[derive(Debug)]
pub struct Fetched {
    /// Those that can be used, and what was wrong with the others.
    pub keys: KeySet,
    /// The key set as it came.
    pub document: String,
    /// The metadata's `cloud_instance_name`.
    pub cloud: Option<String>,
    /// The provider's clock, where it said.
    pub provider_time: Option<UnixTime>,
    /// When the file was last modified that they were read from; `None` for keys of the provider's.
    pub modified: Option<UnixTime>,
}

/// Fetches the tenant's keys, or reads them from the operator's file.
///
/// Takes ten seconds at the most, unless a file system does not answer.
///
/// # Errors
/// [`FetchError`], the first thing that went wrong.
pub fn fetch(request: &FetchRequest) -> Result<Fetched, FetchError> {
    request
        .jwks_file
        .as_deref()
        .map_or_else(|| download_keys(request), |path| read_keys(path, &request.tenant))
}

fn download_keys(request: &FetchRequest) -> Result<Fetched, FetchError> {
    let agent = Agent::new(&request.route, Limit::together(TIMEOUT))?;
    let metadata = Metadata::read(&agent.get(&request.tenant.metadata_url())?.document, &request.tenant)?;
    let answer = agent.get(metadata.jwks_uri())?;
    let cloud = metadata.cloud().map(str::to_owned);
    let fetched = import(request.tenant.authority().as_str(), answer.document, &request.tenant, cloud)?;
    Ok(Fetched { provider_time: answer.date, ..fetched })
}

/// Reads the keys from a file that the operator provides.
fn read_keys(path: &Path, tenant: &Tenant) -> Result<Fetched, FetchError> {
    let file = file::read(path, MAX_BODY_BYTES).map_err(FetchError::JwksFileNotRead)?;
    // A key set without keys is meant so. What is no key set was put there by mistake, or is half of a copy that is
    // under way.
    let fetched = import("pgaad.jwks_file", file.bytes, tenant, None).map_err(|error| match error {
        FetchError::Keys { error: KeySetError::NoUsableKey(_), why, .. } => {
            FetchError::JwksFileWithoutKeys { why }
        }
        error => error,
    })?;
    Ok(Fetched { modified: Some(file.modified), ..fetched })
}

/// `from` is where the document is from.
fn import(
    from: &str,
    document: Vec<u8>,
    tenant: &Tenant,
    cloud: Option<String>,
) -> Result<Fetched, FetchError> {
    let refused = |document: &[u8], error| {
        let why = misfit::of_key_set(document, &error);
        FetchError::Keys { to: from.to_owned(), error, why }
    };
    let keys =
        KeySet::import(&document, tenant, cloud.as_deref()).map_err(|error| refused(&document, error))?;
    let document =
        String::from_utf8(document).map_err(|error| refused(error.as_bytes(), KeySetError::Malformed))?;
    Ok(Fetched { keys, document, cloud, provider_time: None, modified: None })
}
