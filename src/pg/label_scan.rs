//! The labels of roles in the shared catalog, row by row. Readable before there is a database, and by a worker that has
//! none (seclabel.c, `GetSharedSecurityLabel`).

use std::ptr;

use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum};

use super::libpq;

/// A label of a role.
pub(super) struct LabelRow {
    pub(super) role: pg_sys::Oid,
    pub(super) label: String,
}

/// The labels of a role, or of all roles, whose provider is one of these. Others' are not read: one that is stored out
/// of line cannot be, before there is a database.
pub(super) fn labels(role: Option<pg_sys::Oid>, is_ours: impl Fn(&[u8]) -> bool) -> Vec<LabelRow> {
    let key = |column: u32, oid: pg_sys::Oid| {
        let mut key = pg_sys::ScanKeyData::default();
        let column = i16::try_from(column).unwrap_or_default();
        let equals = u16::try_from(pg_sys::BTEqualStrategyNumber).unwrap_or_default();
        let oid = oid.into_datum().unwrap_or(pg_sys::Datum::from(0_usize));
        // SAFETY: initializes a key of ours.
        unsafe { pg_sys::ScanKeyInit(&raw mut key, column, equals, pg_sys::Oid::from(pg_sys::F_OIDEQ), oid) };
        key
    };
    let of_role = role.map(|role| key(libpq::Anum_pg_shseclabel_objoid, role));
    let of_class = key(libpq::Anum_pg_shseclabel_classoid, pg_sys::AuthIdRelationId);
    let mut keys: Vec<_> = of_role.into_iter().chain([of_class]).collect();
    let mut rows = Vec::new();
    // SAFETY: the scan and the table are closed below; the texts are copied out of a tuple before the next one is asked
    // for.
    unsafe {
        let mode = pg_sys::AccessShareLock.cast_signed();
        let table = pg_sys::table_open(pg_sys::Oid::from(libpq::SharedSecLabelRelationId), mode);
        let index = pg_sys::Oid::from(libpq::SharedSecLabelObjectIndexId);
        // The index begins with the role.
        let use_index = role.is_some() && pg_sys::criticalSharedRelcachesBuilt;
        let count = i32::try_from(keys.len()).unwrap_or_default();
        let scan =
            pg_sys::systable_beginscan(table, index, use_index, ptr::null_mut(), count, keys.as_mut_ptr());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            rows.extend(row_in(tuple, (*table).rd_att, &is_ours));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(table, mode);
    }
    rows
}

/// The label of a row, if its provider is one of ours.
///
/// # Safety
/// A tuple of `pg_shseclabel` and its descriptor.
unsafe fn row_in(
    tuple: pg_sys::HeapTuple,
    columns: pg_sys::TupleDesc,
    is_ours: &impl Fn(&[u8]) -> bool,
) -> Option<LabelRow> {
    // SAFETY: as above; as many values as there are columns. Both columns are of type text.
    unsafe {
        let count = usize::try_from((*columns).natts).ok()?;
        let (mut values, mut nulls) = (vec![pg_sys::Datum::from(0_usize); count], vec![true; count]);
        pg_sys::heap_deform_tuple(tuple, columns, values.as_mut_ptr(), nulls.as_mut_ptr());
        let value = |column: u32| {
            let at = usize::try_from(column).ok()?.checked_sub(1)?;
            Some((*values.get(at)?, *nulls.get(at)?))
        };
        let text =
            |column: u32| value(column).and_then(|(text, is_null)| Vec::<u8>::from_datum(text, is_null));
        let is_ours = is_ours(&text(libpq::Anum_pg_shseclabel_provider)?);
        let label = is_ours.then(|| text(libpq::Anum_pg_shseclabel_label))??;
        let (role, is_null) = value(libpq::Anum_pg_shseclabel_objoid)?;
        let role = pg_sys::Oid::from_datum(role, is_null)?;
        Some(LabelRow { role, label: String::from_utf8_lossy(&label).into_owned() })
    }
}
