//! The labels that hold the deny list: those of `azure_ad_user` by providers of their own.

use std::ffi::{CStr, CString};
use std::ptr;

use pgaad_core::deny::{DenyList, LABELS};
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum};

use super::catalog::{self, Marker};
use super::libpq;

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

/// The labels of ours in the shared catalog, by one scan of its index. Readable before there is a database
/// (seclabel.c, `GetSharedSecurityLabel`).
fn labels_of(role: pg_sys::Oid) -> Vec<String> {
    let key = |keys: &mut pg_sys::ScanKeyData, column: u32, oid: pg_sys::Oid| {
        let column = i16::try_from(column).unwrap_or_default();
        let equals = u16::try_from(pg_sys::BTEqualStrategyNumber).unwrap_or_default();
        let oid = oid.into_datum().unwrap_or(pg_sys::Datum::from(0_usize));
        // SAFETY: initializes a key of ours.
        unsafe { pg_sys::ScanKeyInit(keys, column, equals, pg_sys::Oid::from(pg_sys::F_OIDEQ), oid) };
    };
    let mut keys = [pg_sys::ScanKeyData::default(); 2];
    let [object, class] = &mut keys;
    key(object, libpq::Anum_pg_shseclabel_objoid, role);
    key(class, libpq::Anum_pg_shseclabel_classoid, pg_sys::AuthIdRelationId);
    let mut labels = Vec::new();
    // SAFETY: the scan and the table are closed below; the texts are copied out of a tuple before the next one is asked
    // for.
    unsafe {
        let mode = pg_sys::AccessShareLock.cast_signed();
        let table = pg_sys::table_open(pg_sys::Oid::from(libpq::SharedSecLabelRelationId), mode);
        let index = pg_sys::Oid::from(libpq::SharedSecLabelObjectIndexId);
        let use_index = pg_sys::criticalSharedRelcachesBuilt;
        let scan = pg_sys::systable_beginscan(table, index, use_index, ptr::null_mut(), 2, keys.as_mut_ptr());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            labels.extend(label_in(tuple, (*table).rd_att));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(table, mode);
    }
    labels
}

/// The label of a row, if its provider is one of ours. Others' labels are not read: one that is stored out of line
/// cannot be, before there is a database.
///
/// # Safety
/// A tuple of `pg_shseclabel` and its descriptor.
unsafe fn label_in(tuple: pg_sys::HeapTuple, columns: pg_sys::TupleDesc) -> Option<String> {
    // SAFETY: as above; as many values as there are columns. Both columns are of type text.
    unsafe {
        let count = usize::try_from((*columns).natts).ok()?;
        let (mut values, mut nulls) = (vec![pg_sys::Datum::from(0_usize); count], vec![true; count]);
        pg_sys::heap_deform_tuple(tuple, columns, values.as_mut_ptr(), nulls.as_mut_ptr());
        let text = |column: u32| {
            let at = usize::try_from(column).ok()?.checked_sub(1)?;
            Vec::<u8>::from_datum(*values.get(at)?, *nulls.get(at)?)
        };
        let is_ours = text(libpq::Anum_pg_shseclabel_provider)?.starts_with(PREFIX.as_bytes());
        let label = is_ours.then(|| text(libpq::Anum_pg_shseclabel_label))??;
        Some(String::from_utf8_lossy(&label).into_owned())
    }
}
