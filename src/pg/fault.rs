//! Faults inside the decision, for the tests that show what a fault does. Not in a release: the cargo
//! feature `fault_injection` brings it, and nothing else does.

use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags};

use super::setting::TextSetting;

static FAULT: TextSetting = TextSetting::new(c"pgaad.fault", c"none");

/// Registers `pgaad.fault`: `none`, `panic` (of Rust), `error` (of PostgreSQL), `overread` (of memory).
pub(crate) fn define() {
    FAULT.define(
        c"Fault to inject into every decision. For tests only.",
        GucContext::Sighup,
        GucFlags::empty(),
    );
}

/// Fails as the setting says.
#[allow(clippy::panic, reason = "the point of it")]
pub(crate) fn strike() {
    match FAULT.text().as_str() {
        "panic" => panic!("injected panic"),
        "error" => {
            ereport!(ERROR, PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "injected error");
        }
        "overread" => {
            let bytes: Box<[u8]> = Box::new([0; 8]);
            // SAFETY: it is not, and a sanitizer must say so (tests/logins/sanitized.rs). Elsewhere the allocation is
            // larger than what was asked for.
            std::hint::black_box(unsafe { bytes.as_ptr().wrapping_add(bytes.len()).read() });
        }
        _ => {}
    }
}
