//! Log lines, and what people who run SQL are told.
//!
//! Log lines are UTF-8, whatever the database: a login has none yet, and the log has an encoding of its own. What goes
//! to a client is in the database's encoding, from which core converts it to the client's.

use std::any::Any;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pgaad_core::Reason;
use pgaad_core::log_line::LogLine;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

use super::{encoding, libpq};

/// Writes one line to the server's log and to no client: before the login is over, a LOG could
/// reach a client that asked for it in its start-up packet (`client_min_messages`).
pub(crate) fn log(line: &str) {
    report(PgLogLevel::LOG_SERVER_ONLY, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, line);
}

/// As [`log()`], as a WARNING where the operator should act. Only for processes without a client.
pub(crate) fn warn(line: &str) {
    report(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, line);
}

/// Runs `work` and turns whatever it raises, a panic or an ERROR of PostgreSQL's, into a refusal:
/// its text would otherwise go to a client that has not logged in.
pub(crate) fn catch_errors<T, E: From<Reason>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        log(&LogLine::new("pgaad: internal error:").quoted("cause", &cause(&*payload)).into_text());
        Err(Reason::InternalError.into())
    })
}

fn report(level: PgLogLevel, code: PgSqlErrorCode, line: &str) {
    ErrorReport::new(code, line.to_owned(), "pgaad").report(level);
}

/// What may be logged of a caught panic: the message of an error of PostgreSQL's, but not that of
/// a Rust panic, which could quote the data it stumbled over.
fn cause(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<CaughtError>() {
        Some(CaughtError::PostgresError(error) | CaughtError::ErrorReport(error)) => {
            error.message().to_owned()
        }
        _ => "panic".to_owned(),
    }
}

/// An error for somebody who runs SQL. Its texts are UTF-8.
#[derive(Debug)]
pub(crate) struct SqlError {
    /// The SQLSTATE.
    pub(crate) code: PgSqlErrorCode,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Cow<'static, str>,
}

impl SqlError {
    /// Raises it as an ERROR.
    pub(crate) fn raise(self) -> ! {
        let Self { code, message, hint } = self;
        if !(message.is_ascii() && hint.is_ascii()) {
            words::replace_those_of_the_next(code, &encoded(&message), &encoded(&hint));
        }
        ErrorReport::new(code, message, "pgaad").set_hint(hint.into_owned()).report(PgLogLevel::ERROR);
        unreachable_after_error()
    }
}

/// An error's texts in the database's encoding.
///
/// An error of ours unwinds as a Rust panic up to pgrx's guard, which raises it in PostgreSQL, and takes its texts on
/// the way only as a `String`, which is UTF-8. So they wait here, and are put in as the error passes core's own
/// callbacks for the context of errors (elog.c, `errfinish`).
mod words {
    use super::{CStr, PgSqlErrorCode, c_char, c_void, error_number, libpq, pg_sys, ptr};

    /// The one error that is on its way, in a process of one thread.
    struct Words {
        code: i32,
        message: *mut c_char,
        hint: *mut c_char,
    }

    static mut WORDS: Words = Words { code: 0, message: ptr::null_mut(), hint: ptr::null_mut() };

    static mut CALLBACK: pg_sys::ErrorContextCallback = pg_sys::ErrorContextCallback {
        previous: ptr::null_mut(),
        callback: Some(put_in),
        arg: ptr::null_mut(),
    };

    /// Has the error that is raised next say this.
    pub(super) fn replace_those_of_the_next(code: PgSqlErrorCode, message: &CStr, hint: &CStr) {
        // SAFETY: a process of one thread. The callback and what it reads are never moved or freed while they are on
        // core's stack of callbacks: it is taken off before it is put there once more.
        unsafe {
            forget();
            let copy = |text: &CStr| pg_sys::MemoryContextStrdup(pg_sys::TopMemoryContext, text.as_ptr());
            WORDS = Words { code: error_number(code), message: copy(message), hint: copy(hint) };
            CALLBACK.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut CALLBACK;
        }
    }

    /// # Safety
    /// In the process' only thread.
    unsafe fn forget() {
        // SAFETY: the texts are copies of ours, freed once. Core takes a callback off that it does not know of any
        // more by restoring the stack as it was at its PG_TRY (elog.h), so ours is there at the top or not at all.
        unsafe {
            if pg_sys::error_context_stack == &raw mut CALLBACK {
                pg_sys::error_context_stack = CALLBACK.previous;
            }
            for text in [WORDS.message, WORDS.hint] {
                if !text.is_null() {
                    pg_sys::pfree(text.cast());
                }
            }
            WORDS = Words { code: 0, message: ptr::null_mut(), hint: ptr::null_mut() };
        }
    }

    /// Called by core between errstart and the end of errfinish, where the error may still be given other texts. A
    /// plain frame: what core raises here passes through it.
    unsafe extern "C-unwind" fn put_in(_: *mut c_void) {
        // SAFETY: `geterrcode` may be called by such a callback (elog.c); the texts are NUL-terminated, and core
        // copies them. What is no error of ours, a message while it unwinds, is left alone.
        unsafe {
            if WORDS.message.is_null() || pg_sys::geterrcode() != WORDS.code {
                return;
            }
            libpq::errmsg(c"%s".as_ptr(), WORDS.message);
            libpq::errhint(c"%s".as_ptr(), WORDS.hint);
            forget();
        }
    }
}

/// Keeps the statement that is running out of the log, where it would stand beside its error.
pub(crate) fn hide_statement() {
    // SAFETY: core's own pointer for this purpose (postgres.c); null means that there is no text to log
    // (elog.c, `check_log_of_query`), and the next statement sets it again.
    unsafe { pg_sys::debug_query_string = ptr::null() };
}

/// Warns somebody who runs SQL, and says what to do.
pub(crate) fn caution(message: String, hint: impl Into<String>) {
    let (message, hint) = (encoded(&message), encoded(&hint.into()));
    emit(pg_sys::WARNING, PgSqlErrorCode::ERRCODE_WARNING, &message, None, Some(&hint));
}

/// Tells somebody who runs SQL something that is no error, and says what to do about it.
pub(crate) fn advice(message: String, hint: impl Into<String>) {
    let (message, hint) = (encoded(&message), encoded(&hint.into()));
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    emit(pg_sys::NOTICE, code, &message, None, Some(&hint));
}

/// Tells somebody who runs SQL something that is no error.
pub(crate) fn notice(message: String) {
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    emit(pg_sys::NOTICE, code, &encoded(&message), None, None);
}

/// Reports at a level that comes back, or never does: not for ERROR, which has frames of ours to unwind.
///
/// # Errors
/// A cancellation that has come meanwhile is raised.
fn emit(level: u32, code: PgSqlErrorCode, message: &CStr, detail: Option<&CStr>, hint: Option<&CStr>) {
    let Ok(level) = i32::try_from(level) else { return };
    // SAFETY: the calls that ereport is made of (elog.h), in their order. The texts are NUL-terminated and live through
    // them; the names of file and function, to which core keeps pointers, are constants. The closure holds nothing with
    // a destructor, so what errfinish raises (CHECK_FOR_INTERRUPTS) may pass through it.
    unsafe {
        pg_guard_ffi_boundary(|| {
            if libpq::errstart(level, ptr::null()) {
                libpq::errcode(error_number(code));
                libpq::errmsg(c"%s".as_ptr(), message.as_ptr());
                if let Some(detail) = detail {
                    libpq::errdetail(c"%s".as_ptr(), detail.as_ptr());
                }
                if let Some(hint) = hint {
                    libpq::errhint(c"%s".as_ptr(), hint.as_ptr());
                }
                libpq::errfinish(c"report.rs".as_ptr(), 0, c"pgaad".as_ptr());
            }
        });
    }
}

/// UTF-8 in the database's encoding.
fn encoded(text: &str) -> CString {
    terminated(encoding::encode(text))
}

/// Text for C. None of ours holds a NUL.
fn terminated(mut text: Vec<u8>) -> CString {
    text.retain(|byte| *byte != 0);
    CString::new(text).unwrap_or_default()
}

/// The SQLSTATE as core packs it (elog.h, `MAKE_SQLSTATE`).
#[allow(clippy::as_conversions, reason = "the one way from an enum of pgrx's to its number")]
fn error_number(code: PgSqlErrorCode) -> i32 {
    code as i32
}

/// An ERROR never comes back; should it, the process must not go on as if nothing had been wrong.
fn unreachable_after_error() -> ! {
    std::process::abort()
}
