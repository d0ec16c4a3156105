//! Strings of C.

use std::ffi::{CStr, c_char};

/// A string of C; `None` for null.
///
/// # Safety
/// `pointer` is null, or a NUL-terminated string that lives, unchanged, as long as the caller says.
pub(super) unsafe fn c_str<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the promise of the caller.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}
