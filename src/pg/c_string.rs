//! Strings of C.

use std::ffi::{CStr, c_char};

use pgaad_core::role_name;

/// A string of C; `None` for null.
///
/// # Safety
/// `pointer` is null, or a NUL-terminated string that lives, unchanged, as long as the caller says.
pub(super) unsafe fn c_str<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the promise of the caller.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// Text of the file, which may hold role names: see [`role_name`].
///
/// # Safety
/// A NUL-terminated string, or null.
pub(super) unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: as above.
    unsafe { c_str(pointer) }.map(|text| role_name::from_bytes(text.to_bytes()))
}
