//! Settings as PostgreSQL stores them: text, read with core's own parsers.

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgaad_core::settings::table::{self, Setting, TABLE};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// One setting of `postgresql.conf`, kept as text whatever its type.
///
/// Core answers a value that a typed setting cannot hold with a message and the *default*, and goes
/// on (guc.c, `define_custom_variable`). A typing error would so put a weaker value in force than
/// the operator wrote. As text the value arrives here as written, and who reads it can refuse.
pub(crate) struct TextSetting {
    name: &'static CStr,
    value: GucSetting<Option<CString>>,
}

impl TextSetting {
    /// A setting with its default.
    pub(crate) const fn new(name: &'static CStr, default: &'static CStr) -> Self {
        Self { name, value: GucSetting::<Option<CString>>::new(Some(default)) }
    }

    /// Registers the setting with PostgreSQL. Call once, from `_PG_init`.
    pub(crate) fn define(&'static self, description: &'static CStr, context: GucContext, flags: GucFlags) {
        GucRegistry::define_string_guc(self.name, description, c"", &self.value, context, flags);
    }

    /// The value in force, as written.
    pub(crate) fn text(&self) -> String {
        self.value.get().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The settings of [`TABLE`], in its order.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static TEXTS: [TextSetting; table::COUNT] = {
    let mut texts = [const { TextSetting::new(c"", c"") }; table::COUNT];
    let mut at = 0;
    while at < table::COUNT {
        texts[at] = TextSetting::new(TABLE[at].c_name(), TABLE[at].default_value());
        at += 1;
    }
    texts
};

/// Registers the settings of [`TABLE`]. Call once, from `_PG_init`.
pub(crate) fn define_all() {
    for (setting, text) in TABLE.into_iter().zip(&TEXTS) {
        let flags = if setting.is_hidden() { GucFlags::SUPERUSER_ONLY } else { GucFlags::empty() };
        let context = if setting.needs_restart() { GucContext::Postmaster } else { GucContext::Sighup };
        text.define(setting.description(), context, flags);
    }
}

/// The value in force, as written.
pub(crate) fn text(setting: &'static Setting) -> String {
    TEXTS.iter().find(|text| text.name == setting.c_name()).map(TextSetting::text).unwrap_or_default()
}

/// The values in force of all settings of [`TABLE`].
pub(crate) fn texts() -> Vec<String> {
    TEXTS.iter().map(TextSetting::text).collect()
}

/// Registers a boolean that every user may set and that has no effect of its own.
pub(crate) fn define_user_bool(
    setting: &'static GucSetting<bool>,
    name: &'static CStr,
    description: &'static CStr,
) {
    GucRegistry::define_bool_guc(name, description, c"", setting, GucContext::Userset, GucFlags::default());
}

/// Registers a boolean that is shown, and that nobody can change.
pub(crate) fn define_fixed_bool(
    setting: &'static GucSetting<bool>,
    name: &'static CStr,
    description: &'static CStr,
) {
    GucRegistry::define_bool_guc(name, description, c"", setting, GucContext::Internal, GucFlags::default());
}

/// Makes unknown settings under `pgaad.` an error when they are set, and drops those from the file with a WARNING.
pub(crate) fn reserve_prefix() {
    // SAFETY: a constant C string; called by the postmaster's only thread while it loads libraries.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"pgaad".as_ptr()) };
}

/// A boolean as core reads one (`bool.c`, `parse_bool`).
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let text = CString::new(text).ok()?;
    let mut value = false;
    // SAFETY: both pointers are to live values of ours, the text is NUL-terminated.
    unsafe { pg_sys::parse_bool(text.as_ptr(), &raw mut value) }.then_some(value)
}

/// A span as core reads one: a number of seconds, or with a unit (`guc.c`, `parse_int` with `GUC_UNIT_S`).
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse_int(text, pg_sys::GUC_UNIT_S).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

/// A size as core reads one: a number of bytes, or with a unit (`guc.c`, `parse_int` with `GUC_UNIT_BYTE`).
pub(crate) fn parse_bytes(text: &str) -> Option<usize> {
    parse_int(text, pg_sys::GUC_UNIT_BYTE).and_then(|bytes| usize::try_from(bytes).ok())
}

fn parse_int(text: &str, unit: u32) -> Option<u32> {
    let text = CString::new(text).ok()?;
    let mut value = 0;
    // SAFETY: the pointers are to live values of ours, the text is NUL-terminated, a null hint is allowed.
    let read = unsafe {
        pg_sys::parse_int(text.as_ptr(), &raw mut value, i32::try_from(unit).ok()?, std::ptr::null_mut())
    };
    if read { u32::try_from(value).ok() } else { None }
}
