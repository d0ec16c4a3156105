//! The last good key set as it is kept on disk, so that a restart while the provider is away locks nobody out.

use serde::{Deserialize, Serialize};

use crate::keys::{KeySet, KeySetError};
use crate::tenant::Tenant;
use crate::time::UnixTime;

/// A key set document with its origin and age. Public keys only; nothing in it is secret, but
/// anybody who can write it decides which keys are trusted, so it lives in the data directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    authority: String,
    tenant: String,
    fetched_at: i64,
    /// `cloud_instance_name` of the metadata, where that has one; files written before 0.2.0 do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cloud: Option<String>,
    /// The provider's document as it came; imported again with all checks when it is read.
    jwks: String,
}

/// Why a snapshot cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Not the JSON this module writes.
    Malformed,
    /// Taken for another authority or tenant.
    OtherTenant,
    /// Dated in the future: its age cannot be told.
    FromTheFuture,
    /// The document inside is no usable key set.
    Keys(KeySetError),
}

impl Snapshot {
    /// The document `jwks`, fetched for `tenant` at `fetched_at`; `cloud` is the metadata's `cloud_instance_name`.
    pub fn new(tenant: &Tenant, fetched_at: UnixTime, cloud: Option<String>, jwks: String) -> Self {
        Self {
            authority: tenant.authority().as_str().to_owned(),
            tenant: tenant.id().to_string(),
            fetched_at: fetched_at.seconds(),
            cloud,
            jwks,
        }
    }

    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads the file's content back for `tenant`.
    ///
    /// # Errors
    /// [`SnapshotError`] when the file is damaged or was not made for this tenant.
    pub fn read(content: &[u8], tenant: &Tenant, now: UnixTime) -> Result<(KeySet, UnixTime), SnapshotError> {
        let snapshot: Self = serde_json::from_slice(content).map_err(|_| SnapshotError::Malformed)?;
        if snapshot.authority != tenant.authority().as_str() || snapshot.tenant != tenant.id().to_string() {
            return Err(SnapshotError::OtherTenant);
        }
        let fetched_at = UnixTime::new(snapshot.fetched_at);
        if fetched_at > now {
            return Err(SnapshotError::FromTheFuture);
        }
        let keys = KeySet::import(snapshot.jwks.as_bytes(), tenant, snapshot.cloud.as_deref())
            .map_err(SnapshotError::Keys)?;
        Ok((keys, fetched_at))
    }
}
