//! The FATAL that ends a refused login.
//!
//! On a line that asks for a token, the answer is ours. On any other line it is the one that core gives for a wrong secret by
//! that line's method, in every field: otherwise a client could tell a right password from a wrong one.

use std::ffi::CStr;

use pgaad_core::gate::{Method, OtherMethod};
use pgaad_core::refusal::PublicAnswer;
use pgrx::prelude::*;

use super::libpq;
use super::port::Port;

/// Where core's `auth_failed` raises its FATAL, which clients are told: auth.c of 15.18 and 18.6, the last versions before
/// this was written, and of all minor versions in which the lines before it are the same.
const LINE_OF_AUTH_FAILED: i32 = if cfg!(feature = "pg15") { 334 } else { 317 };

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
/// "errcode_return = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION; switch (port->hba->auth_method) …". The messages are those of
/// core's catalog, so they are translated as core's are.
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
        line: LINE_OF_AUTH_FAILED,
        function: c"auth_failed",
    }
}

#[allow(clippy::as_conversions, reason = "the discriminant of an enum is core's number")]
const fn sqlstate(code: PgSqlErrorCode) -> i32 {
    code as i32
}
