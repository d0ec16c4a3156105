//! The labels that hold the deny list: those of `azure_ad_user` by providers of their own.

use std::ffi::{CStr, CString};
use std::ptr;

use pgaad_core::deny::{DenyList, LABELS};
use pgrx::prelude::*;

use super::catalog::{self, Marker};
use super::label_scan::labels;

const PREFIX: &str = "pgaad-deny-";

/// Their names, `pgaad-deny-00` and on.
pub(super) fn providers() -> impl Iterator<Item = CString> {
    (0..LABELS).filter_map(|number| CString::new(format!("{PREFIX}{number:02}")).ok())
}

/// Whether this is the name of one of them.
pub(super) fn is_provider(name: &CStr) -> bool {
    name.to_bytes().starts_with(PREFIX.as_bytes()) && providers().any(|provider| *provider == *name)
}

/// Whether this role's labels hold the list.
pub(super) fn is_holder(role: pg_sys::Oid) -> bool {
    holder() == Some(role)
}

fn holder() -> Option<pg_sys::Oid> {
    catalog::oid_of(Marker::User.name()).map(pg_sys::Oid::from)
}

/// The list as the catalog has it now. Where there is no `azure_ad_user` nobody is a member of it, and none is needed.
pub(crate) fn read() -> DenyList {
    DenyList::read(holder().into_iter().flat_map(labels_of))
}

/// Has the list changed: locks it until the transaction ends, so that no change of somebody else's is lost, and writes
/// what `change` makes of it.
///
/// # Errors
/// What `change` says; then nothing is written. `None` where there is no `azure_ad_user`.
pub(crate) fn change<E>(
    command: &CStr,
    change: impl FnOnce(&mut DenyList) -> Result<(), E>,
) -> Option<Result<(), E>> {
    // SAFETY: in a transaction of a session that has logged in; the name is core's own word for the error.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(command.as_ptr());
        pg_sys::PreventCommandDuringRecovery(command.as_ptr());
    }
    let holder = holder()?;
    // SAFETY: as above. It conflicts with itself, and with nothing that reads (lockdefs.h).
    unsafe {
        let mode = pg_sys::ShareUpdateExclusiveLock.cast_signed();
        pg_sys::LockSharedObject(pg_sys::AuthIdRelationId, holder, 0, mode);
    }
    let before = read();
    let mut after = before.clone();
    Some(change(&mut after).map(|()| write(holder, &before, &after)))
}

fn write(holder: pg_sys::Oid, before: &DenyList, after: &DenyList) {
    let object =
        pg_sys::ObjectAddress { classId: pg_sys::AuthIdRelationId, objectId: holder, objectSubId: 0 };
    let labels = before.labels().into_iter().zip(after.labels());
    for (provider, (_, label)) in providers().zip(labels).filter(|(_, (old, new))| old != new) {
        let label = label.and_then(|label| CString::new(label).ok());
        let text = label.as_ref().map_or(ptr::null(), |label| label.as_ptr());
        // SAFETY: all three live through the call; null takes the label away. Who may do this was seen by the caller.
        unsafe { pg_sys::SetSecurityLabel(&raw const object, provider.as_ptr(), text) };
    }
    // SAFETY: in a transaction. A second change of the same statement's must see the first one.
    unsafe { pg_sys::CommandCounterIncrement() };
}

fn labels_of(role: pg_sys::Oid) -> impl Iterator<Item = String> {
    let is_ours = |provider: &[u8]| provider.starts_with(PREFIX.as_bytes());
    labels(Some(role), is_ours).into_iter().map(|row| row.label)
}
