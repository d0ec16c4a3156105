//! `ClientAuthentication_hook` (auth.c): called once for every login, after the method of the
//! matched line has answered and before the client is told.
//!
//! `status` comes by value: a hook can refuse a login, never rescue one.

use std::ffi::c_void;
use std::sync::OnceLock;

use pgaad_core::Reason;
use pgaad_core::gate::Answer;
use pgaad_core::reason::PublicAnswer;

use super::entry::library_of;
use super::libpq;
use super::port::{self, Port};
use super::{auth_failed, report, version};

/// `STATUS_OK`, `STATUS_EOF` (c.h).
const STATUS_OK: i32 = 0;
const STATUS_EOF: i32 = -2;

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
pub(crate) type Gate = fn(Port, Answer) -> Verdict;

type Hook = unsafe extern "C-unwind" fn(*mut libpq::Port, i32);

static GATE: OnceLock<Gate> = OnceLock::new();

/// The hook that was there before ours: preset, so that it is called without a question.
static mut PREVIOUS: Hook = nothing;

unsafe extern "C-unwind" fn nothing(_port: *mut libpq::Port, _status: i32) {}

/// Puts `gate` behind every login. Call once, from `_PG_init`.
pub(crate) fn install(gate: Gate) {
    port::find_functions();
    if GATE.set(gate).is_ok() {
        // SAFETY: libraries are loaded by the postmaster's only thread, before any login.
        unsafe {
            PREVIOUS = libpq::ClientAuthentication_hook.unwrap_or(nothing);
            libpq::ClientAuthentication_hook = Some(client_authentication);
        }
    }
}

/// The library that is asked before this one, if another has put itself there.
pub(crate) fn outer_library() -> Option<String> {
    // SAFETY: a plain global, written while libraries are loaded.
    let outer = unsafe { libpq::ClientAuthentication_hook }?;
    let own: Hook = client_authentication;
    (!std::ptr::fn_addr_eq(outer, own)).then(|| {
        #[allow(clippy::as_conversions, reason = "the one way from a function to its address")]
        let address = outer as *const c_void;
        library_of(address).unwrap_or_else(|| "another library".to_owned())
    })
}

/// A plain frame: no `#[pg_guard]`, nothing with a destructor. An error of the previous hook passes through it as if it
/// were not there; pgrx's guard would rebuild it and lose most of its fields.
unsafe extern "C-unwind" fn client_authentication(port: *mut libpq::Port, status: i32) {
    // SAFETY: set by `install` before any login; the arguments are core's own, passed on as they came.
    unsafe { PREVIOUS(port, status) };
    // SAFETY: the argument of this very hook.
    let port = unsafe { Port::new(port) };
    end(port, judge(port, status));
}

/// Asks the gate. Whatever goes wrong inside refuses the login.
fn judge(port: Port, status: i32) -> Verdict {
    let core = match status {
        STATUS_OK => Answer::Yes,
        STATUS_EOF => Answer::ClientGone,
        _ => Answer::No,
    };
    let Some(gate) = GATE.get() else { return Verdict::Refuse(PublicAnswer::Failed) };
    let verdict = report::catch_errors(|| Ok(gate(port, core)))
        .unwrap_or_else(|reason: Reason| Verdict::Refuse(reason.public_answer()));
    if core == Answer::No && verdict == Verdict::LeaveToCore {
        auth_failed::see_line();
    }
    verdict
}

/// Carries the verdict out. All that the login held was dropped before.
pub(super) fn end(port: Port, verdict: Verdict) {
    match verdict {
        Verdict::LeaveToCore => {}
        Verdict::Refuse(answer) => auth_failed::fatal(answer, port),
        Verdict::HangUp => version::exit(0),
    }
}

/// Ends the login of a client that hung up while this library asked for its password, as core ends one: the hooks are
/// told, and the log is not. Call from a plain frame.
pub(super) fn hang_up(port: Port) -> ! {
    // auth.c, `ClientAuthentication`:
    //   if (ClientAuthentication_hook)
    //       (*ClientAuthentication_hook) (port, status);
    // SAFETY: a plain global, written while libraries are loaded; the arguments are those that core would pass.
    unsafe {
        if let Some(hook) = libpq::ClientAuthentication_hook {
            hook(port.as_ptr(), STATUS_EOF);
        }
    }
    // auth.c, `auth_failed`: "if (status == STATUS_EOF) proc_exit(0);".
    version::exit(0)
}
