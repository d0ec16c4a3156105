//! Security labels on roles: the providers, and reading what the catalog holds.

use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use pgaad_core::guid::ObjectId;
use pgrx::prelude::*;

use super::report;

/// Who keeps labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// `pgaadauth`: what people write.
    Public,
    /// `pgaadauth-int`: what Azure writes beside it; accepted so that roles dumped there restore.
    Internal,
}

impl Provider {
    const fn name(self) -> &'static CStr {
        match self {
            Self::Public => c"pgaadauth",
            Self::Internal => c"pgaadauth-int",
        }
    }
}

/// Judges a label that somebody wants to put on a role; `None` takes the label away.
pub(crate) type Judge = fn(Provider, pg_sys::Oid, Option<&str>) -> Result<(), report::SqlError>;

static JUDGE: OnceLock<Judge> = OnceLock::new();

/// Registers both providers. Call once, from `_PG_init`.
pub(crate) fn register(judge: Judge) {
    if JUDGE.set(judge).is_ok() {
        // SAFETY: constant names; seclabel.c copies them. Called while libraries are loaded.
        unsafe {
            pg_sys::register_label_provider(Provider::Public.name().as_ptr(), Some(relabel_public));
            pg_sys::register_label_provider(Provider::Internal.name().as_ptr(), Some(relabel_internal));
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relabel_public(object: *const pg_sys::ObjectAddress, label: *const c_char) {
    relabel(Provider::Public, object, label);
}

#[pg_guard]
unsafe extern "C-unwind" fn relabel_internal(object: *const pg_sys::ObjectAddress, label: *const c_char) {
    relabel(Provider::Internal, object, label);
}

/// Called by `SECURITY LABEL` (seclabel.c, `ExecSecLabelStmt`) after core's own rule, ownership, was satisfied.
fn relabel(provider: Provider, object: *const pg_sys::ObjectAddress, label: *const c_char) {
    // SAFETY: core's own argument, never null.
    let object = unsafe { *object };
    // SAFETY: null or a NUL-terminated string of the statement.
    let label = (!label.is_null()).then(|| unsafe { CStr::from_ptr(label) }.to_string_lossy());
    let judged = match JUDGE.get() {
        Some(judge) if object.classId == pg_sys::AuthIdRelationId => {
            judge(provider, object.objectId, label.as_deref())
        }
        _ => Err(report::SqlError {
            code: PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            message: "Entra labels are for roles only".to_owned(),
            hint: "Use SECURITY LABEL … ON ROLE.",
        }),
    };
    if let Err(error) = judged {
        error.raise();
    }
}

/// Binds a role to a program and tells who runs the SQL. What [`Judge`] asks was asked before.
pub(super) fn bind_to_service(role: &CStr, id: ObjectId) {
    let label = format!("aadauth,oid={id},type=service");
    // SAFETY: both names are NUL-terminated; a role that is gone is an ERROR; seclabel.c copies the label.
    unsafe {
        let object = pg_sys::ObjectAddress {
            classId: pg_sys::AuthIdRelationId,
            objectId: pg_sys::get_role_oid(role.as_ptr(), false),
            objectSubId: 0,
        };
        let Ok(label) = CString::new(label) else { return };
        pg_sys::SetSecurityLabel(&raw const object, Provider::Public.name().as_ptr(), label.as_ptr());
    }
    report::notice(format!(
        "role \"{}\" is bound to the program with client id {id}, and has no password",
        role.to_string_lossy()
    ));
}

/// The label of a role in the shared catalog, where there is one. Readable before there is a database.
pub(super) fn label_of(role: pg_sys::Oid, provider: Provider) -> Option<String> {
    let object = pg_sys::ObjectAddress { classId: pg_sys::AuthIdRelationId, objectId: role, objectSubId: 0 };
    // SAFETY: both arguments live through the call; the result is null or a palloc'd string.
    unsafe {
        let label = pg_sys::GetSecurityLabel(&raw const object, provider.name().as_ptr());
        (!label.is_null()).then(|| CStr::from_ptr(label).to_string_lossy().into_owned())
    }
}
