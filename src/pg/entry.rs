//! How the library is loaded, and what it finds in the process that loaded it.

use std::ffi::{CStr, c_void};
use std::sync::OnceLock;

use pgrx::prelude::*;

use super::c_string::text;

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

/// `shared_preload_libraries`, which no process changes once the server runs.
pub(crate) fn preloaded() -> String {
    // SAFETY: a C string that the postmaster set before it loaded any library (miscinit.c).
    unsafe { text(pg_sys::shared_preload_libraries_string) }.unwrap_or_default()
}

/// Raises an ERROR unless this holds: the postmaster then does not start.
pub(crate) fn require(holds: bool, message: &'static str) {
    if !holds {
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, message);
    }
}

/// A function that the server may or may not have, such as that of GSSAPI: a hard reference would keep the
/// library from loading into a server built without it.
///
/// `dlsym` touches a page or two of every library of the process: 60 µs and thirty page faults in one
/// just forked. So the postmaster looks it up, and backends inherit what it found.
pub(super) struct ServerFunction<F> {
    name: &'static CStr,
    found: OnceLock<Option<F>>,
}

impl<F: Copy> ServerFunction<F> {
    /// The function of this name.
    ///
    /// # Safety
    /// `F` is a function pointer with the signature of whatever function has this name.
    pub(super) const unsafe fn named(name: &'static CStr) -> Self {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        Self { name, found: OnceLock::new() }
    }

    /// The function, if the process has it. Call once in the postmaster, so that it is known in backends.
    pub(super) fn get(&self) -> Option<F> {
        *self.found.get_or_init(|| {
            // SAFETY: dlsym only reads the name; RTLD_DEFAULT searches what is loaded and loads nothing.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, self.name.as_ptr()) };
            // SAFETY: of the same size, by the assertion above, and not null; the rest is the promise of `named`.
            (!address.is_null()).then(|| unsafe { std::mem::transmute_copy(&address) })
        })
    }
}

/// The path by which the server loaded this library.
pub(crate) fn own_path() -> String {
    static INSIDE: u8 = 0;
    library_of((&raw const INSIDE).cast()).unwrap_or_default()
}

/// The library that an address is in.
pub(super) fn library_of(address: *const c_void) -> Option<String> {
    let mut found = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr only compares the address with what is loaded, and fills the structure.
    let is_found = unsafe { libc::dladdr(address, &raw mut found) } != 0;
    // SAFETY: then the name is a C string that lives as long as the library.
    (is_found && !found.dli_fname.is_null())
        .then(|| unsafe { CStr::from_ptr(found.dli_fname) }.to_string_lossy().into_owned())
}
