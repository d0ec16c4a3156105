//! Security labels that bind roles: their providers, and reading what the catalog holds.

use std::ffi::{CStr, c_char};

use pgrx::prelude::*;

use super::c_string::c_str;

/// A provider of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// `pgaadauth`: what people write.
    Public,
    /// `pgaadauth-int`: what Azure writes beside it; accepted so that roles dumped there restore.
    Internal,
}

impl Provider {
    const ALL: [Self; 2] = [Self::Public, Self::Internal];

    /// Its name.
    pub(super) const fn name(self) -> &'static CStr {
        match self {
            Self::Public => c"pgaadauth",
            Self::Internal => c"pgaadauth-int",
        }
    }

    /// Whether this is the name of one of these.
    pub(super) fn has_name(name: &[u8]) -> bool {
        Self::ALL.iter().any(|provider| provider.name().to_bytes() == name)
    }

    /// Whether a statement names one of these; null where it names none.
    ///
    /// # Safety
    /// Null or a NUL-terminated string.
    pub(super) unsafe fn is_named(name: *const c_char) -> bool {
        // SAFETY: as above.
        let name = unsafe { c_str(name) };
        Self::ALL.iter().any(|provider| Some(provider.name()) == name)
    }
}

/// The label of a role in the shared catalog, where there is one. Readable before there is a database.
pub(super) fn label_of(role: pg_sys::Oid, provider: Provider) -> Option<String> {
    let object = pg_sys::ObjectAddress { classId: pg_sys::AuthIdRelationId, objectId: role, objectSubId: 0 };
    // SAFETY: both arguments live through the call; the result is null or a palloc'd string.
    unsafe {
        let label = pg_sys::GetSecurityLabel(&raw const object, provider.name().as_ptr());
        c_str(label).map(|label| label.to_string_lossy().into_owned())
    }
}
