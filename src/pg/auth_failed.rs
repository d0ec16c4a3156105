//! The FATAL that ends a refused login.
//!
//! On a line that asks for a token, the answer is ours. On any other line it is the one that core gives for a wrong
//! secret by that line's method, in every field: otherwise a client could tell a right password from a wrong one.

use std::ffi::CStr;
use std::sync::atomic::{AtomicI32, Ordering};

use pgaad_core::gate::{Method, OtherMethod};
use pgaad_core::reason::PublicAnswer;
use pgrx::prelude::*;
use pgrx::{PgAtomic, pg_shmem_init};

use super::libpq;
use super::port::Port;
use super::version;

/// The line as core itself has told it since the server started, `0` before it has: other minor versions may differ.
// SAFETY: a name of ours, used once.
static SEEN_LINE: PgAtomic<AtomicI32> = unsafe { PgAtomic::new(c"pgaad_auth_failed_line") };

static mut PREVIOUS_LOG_HOOK: pg_sys::emit_log_hook_type = None;

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(SEEN_LINE);
}

/// Has the line seen of the failure that core is about to report. Until one was seen, every failed login looks for it.
pub(super) fn see_line() {
    if SEEN_LINE.get().load(Ordering::Relaxed) == 0 {
        // SAFETY: plain globals of this process, which has one thread; the process is about to end.
        unsafe {
            PREVIOUS_LOG_HOOK = pg_sys::emit_log_hook;
            pg_sys::emit_log_hook = Some(at_log);
        }
    }
}

/// A plain frame, as that of `ClientAuthentication_hook`.
unsafe extern "C-unwind" fn at_log(error: *mut pg_sys::ErrorData) {
    // SAFETY: the argument of this very hook (elog.c, `EmitErrorReport`); its names are null or C strings.
    unsafe {
        if !(*error).funcname.is_null() && CStr::from_ptr((*error).funcname) == c"auth_failed" {
            SEEN_LINE.get().store((*error).lineno, Ordering::Relaxed);
        }
        if let Some(previous) = PREVIOUS_LOG_HOOK {
            previous(error);
        }
    }
}

/// The line to tell.
fn line_of_auth_failed() -> i32 {
    match SEEN_LINE.get().load(Ordering::Relaxed) {
        0 => version::AUTH_FAILED_LINE,
        seen => seen,
    }
}

/// A FATAL as a client is told it.
struct Failure {
    code: PgSqlErrorCode,
    /// With one `%s`, for the name that the client sent.
    message: &'static CStr,
    detail: Option<&'static CStr>,
    file: &'static CStr,
    line: i32,
    function: &'static CStr,
}

/// Ends the process with the answer a stranger may have.
///
/// The process exits inside and no destructor runs: callers let go of every secret first.
pub(super) fn fatal(answer: PublicAnswer, port: Port) -> ! {
    let failure = match port.method() {
        Method::Other(Some(method)) => of_core(method),
        _ => own(answer),
    };
    // What `ereport(FATAL, …)` expands to (elog.h), without pgrx's guard.
    // SAFETY: C strings; each message has one `%s`, and the name is a C string that lives as long as the Port.
    // FATAL ends the process inside `errfinish`.
    unsafe {
        libpq::errstart(FATAL.cast_signed(), std::ptr::null());
        libpq::errcode(sqlstate(failure.code));
        libpq::errmsg(failure.message.as_ptr(), port.role_name().as_ptr());
        if let Some(detail) = failure.detail {
            libpq::errdetail(detail.as_ptr());
        }
        port.log_matched_line();
        libpq::errfinish(failure.file.as_ptr(), failure.line, failure.function.as_ptr());
    }
    // Should it come back, the client must not get in.
    std::process::abort()
}

fn own(answer: PublicAnswer) -> Failure {
    let failed = |detail| Failure {
        code: PgSqlErrorCode::ERRCODE_INVALID_PASSWORD,
        message: c"token authentication failed for user \"%s\"",
        detail,
        file: c"auth_failed.rs",
        line: 0,
        function: c"pgaad",
    };
    match answer {
        PublicAnswer::Failed => failed(None),
        PublicAnswer::TokenExpired => failed(Some(c"The token has expired.")),
        PublicAnswer::TokenForAnotherResource => failed(Some(c"The token is for another resource.")),
        PublicAnswer::EncryptionRequired => Failure {
            code: PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            message: c"token authentication requires an encrypted connection",
            ..failed(None)
        },
    }
}

/// auth.c, `auth_failed`:
/// "errcode_return = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION; switch (port->hba->auth_method) …". The messages
/// are those of core's catalog, so they are translated as core's are.
fn of_core(method: OtherMethod) -> Failure {
    let message = match method {
        OtherMethod::Ident => c"Ident authentication failed for user \"%s\"",
        OtherMethod::Peer => c"Peer authentication failed for user \"%s\"",
        OtherMethod::Password | OtherMethod::Md5 | OtherMethod::Scram => {
            c"password authentication failed for user \"%s\""
        }
        OtherMethod::Gss => c"GSSAPI authentication failed for user \"%s\"",
        OtherMethod::Sspi => c"SSPI authentication failed for user \"%s\"",
        OtherMethod::Pam => c"PAM authentication failed for user \"%s\"",
        OtherMethod::Bsd => c"BSD authentication failed for user \"%s\"",
        OtherMethod::Ldap => c"LDAP authentication failed for user \"%s\"",
        OtherMethod::Cert => c"certificate authentication failed for user \"%s\"",
        OtherMethod::Radius => c"RADIUS authentication failed for user \"%s\"",
        OtherMethod::OAuth => c"OAuth bearer authentication failed for user \"%s\"",
    };
    let code = match method {
        OtherMethod::Password | OtherMethod::Md5 | OtherMethod::Scram => {
            PgSqlErrorCode::ERRCODE_INVALID_PASSWORD
        }
        _ => PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
    };
    Failure {
        code,
        message,
        detail: None,
        file: c"auth.c",
        line: line_of_auth_failed(),
        function: c"auth_failed",
    }
}

#[allow(clippy::as_conversions, reason = "the discriminant of an enum is core's number")]
const fn sqlstate(code: PgSqlErrorCode) -> i32 {
    code as i32
}
