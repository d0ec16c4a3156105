//! Our providers of security labels, as core knows them: registered when they are needed, and asked about each label.

use std::ffi::c_char;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pgaad_core::deny::{DenyList, MAX_LABEL_BYTES};
use pgrx::prelude::*;

use super::c_string::c_str;
use super::seclabel::Provider;
use super::{deny_labels, encoding, report};

/// Judges a label that somebody wants to put on a role; `None` takes the label away.
pub(crate) type Judge = fn(Provider, pg_sys::Oid, Option<&str>) -> Result<(), report::SqlError>;

static JUDGE: OnceLock<Judge> = OnceLock::new();

/// Keeps the judge of labels. Call once, from `_PG_init`.
pub(crate) fn install(judge: Judge) {
    // A second call changes nothing: the first function stays.
    let _ = JUDGE.set(judge);
}

/// Whether a statement names a provider of ours: one that binds roles, or one of the [deny list](deny_labels).
///
/// # Safety
/// Null or a NUL-terminated string.
pub(super) unsafe fn is_ours(name: *const c_char) -> bool {
    // SAFETY: as above.
    unsafe { Provider::is_named(name) || c_str(name).is_some_and(deny_labels::is_provider) }
}

/// Registers our providers with core, in this process, when a statement names one for the first time.
///
/// Not in the postmaster, for all: a `SECURITY LABEL` without `FOR` means the only provider there is, and an error
/// where there is none or more than one (seclabel.c, `ExecSecLabelStmt`), so providers of ours would be noticed by
/// those who use another one, or none.
pub(super) fn register() {
    static IS_REGISTERED: AtomicBool = AtomicBool::new(false);
    if !IS_REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: constant names, which seclabel.c copies into memory that lives as long as the process.
        unsafe {
            pg_sys::register_label_provider(Provider::Public.name().as_ptr(), Some(relabel_public));
            pg_sys::register_label_provider(Provider::Internal.name().as_ptr(), Some(relabel_internal));
            for provider in deny_labels::providers() {
                pg_sys::register_label_provider(provider.as_ptr(), Some(relabel_denied));
            }
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relabel_public(object: *const pg_sys::ObjectAddress, label: *const c_char) {
    // SAFETY: core's own arguments.
    unsafe { relabel(Provider::Public, object, label) };
}

#[pg_guard]
unsafe extern "C-unwind" fn relabel_internal(object: *const pg_sys::ObjectAddress, label: *const c_char) {
    // SAFETY: core's own arguments.
    unsafe { relabel(Provider::Internal, object, label) };
}

/// The deny list is written by [`deny_labels`]. A superuser who restores a dump writes it, too.
#[pg_guard]
unsafe extern "C-unwind" fn relabel_denied(object: *const pg_sys::ObjectAddress, label: *const c_char) {
    // SAFETY: core's own arguments.
    let (object, label) = unsafe { (*object, c_str(label)) };
    let is_list = object.classId == pg_sys::AuthIdRelationId && deny_labels::is_holder(object.objectId);
    let label = label.map(|label| label.to_string_lossy().into_owned());
    // SAFETY: in a transaction of a session that has logged in.
    let is_superuser = unsafe { pg_sys::superuser() };
    let error = |code, message: &str| report::SqlError {
        code,
        message: message.to_owned(),
        hint: "Call pgaad.deny and pgaad.allow.".into(),
    };
    if !is_superuser {
        error(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied to write the deny list as a label",
        )
        .raise();
    }
    if !is_list || DenyList::read(label).is_damaged() {
        error(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "this label is not a part of the deny list")
            .raise();
    }
}

/// Called by `SECURITY LABEL` (seclabel.c, `ExecSecLabelStmt`) after core's own rule, ownership, was satisfied.
///
/// # Safety
/// An address, and null or a NUL-terminated string.
unsafe fn relabel(provider: Provider, object: *const pg_sys::ObjectAddress, label: *const c_char) {
    // SAFETY: as above.
    let object = unsafe { *object };
    // SAFETY: as above.
    let label = unsafe { c_str(label) }.map(|label| encoding::decode(label.to_bytes()));
    let judged = match JUDGE.get() {
        _ if label.as_ref().is_some_and(|label| label.len() > MAX_LABEL_BYTES) => Err(report::SqlError {
            code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            message: format!("an Entra label has at most {MAX_LABEL_BYTES} bytes"),
            hint: "A longer one could not be read at a login.".into(),
        }),
        Some(judge) if object.classId == pg_sys::AuthIdRelationId => {
            judge(provider, object.objectId, label.as_deref())
        }
        _ => Err(report::SqlError {
            code: PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            message: "Entra labels are for roles only".to_owned(),
            hint: "Label the role instead.".into(),
        }),
    };
    if let Err(error) = judged {
        error.raise();
    }
}
