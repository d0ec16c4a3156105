//! `ClientAuthentication_hook` (auth.c): called once for every login, after the method of the
//! matched line has spoken and before the client hears of it.
//!
//! `status` comes by value: a hook can refuse a login, never rescue one.

use std::ffi::c_void;
use std::sync::OnceLock;

use pgaad_core::Refusal;
use pgaad_core::refusal::PublicAnswer;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::entry::library_of;
use super::libpq;
use super::port::{self, Port};
use super::report;

/// What the method of the matched line said (libpq.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// `STATUS_OK`.
    Ok,
    /// `STATUS_ERROR`, or anything unknown.
    Failed,
    /// `STATUS_EOF`: the client hung up, as psql does when it is asked for a password it has not got.
    Gone,
}

/// What becomes of the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Core goes on with what it had decided.
    LeaveToCore,
    /// The login ends with this answer.
    Refuse(PublicAnswer),
    /// The client is gone; the process ends without a word, as core's does.
    HangUp,
}

/// Judges a login.
pub(crate) type Gate = fn(Port, Status) -> Verdict;

static GATE: OnceLock<Gate> = OnceLock::new();
static PREVIOUS: OnceLock<libpq::ClientAuthentication_hook_type> = OnceLock::new();

/// Puts `gate` behind every login. Call once, from `_PG_init`.
pub(crate) fn install(gate: Gate) {
    port::find_functions();
    // SAFETY: libraries are loaded by the postmaster's only thread, before any login.
    let previous = unsafe { libpq::ClientAuthentication_hook };
    if GATE.set(gate).is_ok() && PREVIOUS.set(previous).is_ok() {
        // SAFETY: as above.
        unsafe { libpq::ClientAuthentication_hook = Some(client_authentication) };
    }
}

/// The library that is asked before this one, if another has put itself there.
pub(crate) fn outer_library() -> Option<String> {
    type Hook = unsafe extern "C-unwind" fn(*mut libpq::Port, i32);
    // SAFETY: a plain global, written while libraries are loaded.
    let outer = unsafe { libpq::ClientAuthentication_hook }?;
    let own: Hook = client_authentication;
    (!std::ptr::fn_addr_eq(outer, own)).then(|| {
        #[allow(clippy::as_conversions, reason = "the one way from a function to its address")]
        let address = outer as *const c_void;
        library_of(address).unwrap_or_else(|| "another library".to_owned())
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn client_authentication(port: *mut libpq::Port, status: i32) {
    if let Some(Some(previous)) = PREVIOUS.get() {
        // SAFETY: the arguments are core's own, passed on as they came.
        unsafe { pg_guard_ffi_boundary(|| previous(port, status)) };
    }
    let status = match status {
        0 => Status::Ok,
        -2 => Status::Gone,
        _ => Status::Failed,
    };
    // SAFETY: the argument of this very hook.
    let port = unsafe { Port::new(port) };
    end(port, judge(port, status));
}

/// Asks the gate. Whatever goes wrong inside refuses the login.
fn judge(port: Port, status: Status) -> Verdict {
    let Some(gate) = GATE.get() else { return Verdict::Refuse(PublicAnswer::Failed) };
    report::contain(|| Ok(gate(port, status)))
        .unwrap_or_else(|refusal: Refusal| Verdict::Refuse(refusal.public_answer()))
}

/// Carries the verdict out. All that the login held was dropped before.
fn end(port: Port, verdict: Verdict) {
    match verdict {
        Verdict::LeaveToCore => {}
        Verdict::Refuse(answer) => report::fatal(answer, &port.role_name()),
        // SAFETY: the process' own end, as in auth.c, `auth_failed`: "if (status == STATUS_EOF) proc_exit(0);".
        Verdict::HangUp => unsafe { pg_sys::proc_exit(0) },
    }
}
