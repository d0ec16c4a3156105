//! `keys.json`: only what was kept for this very tenant and authority, and is dated, comes back from the disk.

use pgaad_core::snapshot::{Snapshot, SnapshotError};
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use tenant::{Keys, TENANT_ID};

const FETCHED_AT: UnixTime = UnixTime::new(1_800_000_000);

fn ours(authority: &str) -> Option<Tenant> {
    Some(Tenant::new(TENANT_ID.parse().ok()?, Cloud::Public, Some(authority.parse().ok()?)))
}

#[test]
fn snapshot_comes_back_for_the_tenant_and_authority_it_was_made_for_and_no_other() {
    let authority = "https://localhost:8443";
    let tenant = ours(authority);
    let keys = Keys::generate(authority);
    let written = |jwks: &str| {
        let snapshot = Snapshot::new(tenant.as_ref()?, FETCHED_AT, None, jwks.to_owned());
        Some(snapshot.to_json())
    };
    let content = written(&keys.jwks().to_string()).unwrap_or_default();
    let read = |tenant: Option<Tenant>| {
        let read = Snapshot::read(&content, &tenant?, FETCHED_AT);
        Some(read.map(|(keys, fetched_at)| (keys.keys().len(), fetched_at)))
    };
    let all = keys.jwks()["keys"].as_array().map(Vec::len).unwrap_or_default();
    assert_eq!(read(ours(authority)), Some(Ok((all, FETCHED_AT))), "at the very second that it was made");

    // Anyone who could stand in for the authority once must not be trusted as another one's.
    let elsewhere = ours("https://localhost:8444");
    assert_eq!(read(elsewhere), Some(Err(SnapshotError::OtherTenant)));
    let other = "11111111-2222-4333-8444-555555555555".parse().ok();
    let other = other.and_then(|id| Some(Tenant::new(id, Cloud::Public, Some(authority.parse().ok()?))));
    assert_eq!(read(other), Some(Err(SnapshotError::OtherTenant)));

    let before = UnixTime::new(FETCHED_AT.seconds() - 1);
    let early = tenant.as_ref().map(|tenant| Snapshot::read(&content, tenant, before).map(|_| ()));
    assert_eq!(early, Some(Err(SnapshotError::FromTheFuture)));
    let damaged = tenant.as_ref().map(|tenant| Snapshot::read(b"{}", tenant, FETCHED_AT).map(|_| ()));
    assert_eq!(damaged, Some(Err(SnapshotError::Malformed)));
}
