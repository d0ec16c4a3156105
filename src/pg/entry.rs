//! How the library is loaded, and what it finds in the process that loaded it.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use pgrx::prelude::*;

/// Raises an ERROR unless the library is being loaded by `shared_preload_libraries`.
///
/// ERROR and not FATAL: a `LOAD` fails and its session lives on, and core makes it FATAL where a
/// session starts (`session_preload_libraries`), which is what keeps a role with that setting out.
pub(crate) fn require_preload() {
    // SAFETY: a plain flag of core's (miscinit.c), set once by the postmaster, read by its only thread.
    let preloading = unsafe { pg_sys::process_shared_preload_libraries_in_progress };
    if !preloading {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pgaad must be loaded via shared_preload_libraries",
            "Add pgaad to shared_preload_libraries in postgresql.conf and restart the server."
        );
    }
}

/// The address of a function that the process may or may not have, such as those of libpam: a hard
/// reference would keep the library from loading into a server built without it.
pub(super) fn server_symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: dlsym only reads the name; RTLD_DEFAULT searches what is loaded and loads nothing.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}
