//! Log lines, and errors of SQL.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pgaad_core::Refusal;
use pgaad_core::event::LogLine;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

/// Writes one line to the server's log and to no client: before the login is over, a LOG could
/// reach a client that asked for it in its start-up packet (`client_min_messages`).
pub(crate) fn log(line: &str) {
    report(PgLogLevel::LOG_SERVER_ONLY, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, line);
}

/// As [`log`], as a WARNING where the operator should act. Only for processes without a client.
pub(crate) fn warn(line: &str) {
    report(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, line);
}

/// Runs `work` and turns whatever it raises, a panic or an ERROR of PostgreSQL's, into a refusal:
/// its text would otherwise go to a client that has not logged in.
pub(crate) fn contain<T, E: From<Refusal>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        log(&LogLine::new("pgaad: internal error:").quoted("cause", &cause(&*payload)).into_text());
        Err(Refusal::InternalError.into())
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

/// An error for somebody who runs SQL.
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
        ErrorReport::new(self.code, self.message, "pgaad")
            .set_hint(self.hint.into_owned())
            .report(PgLogLevel::ERROR);
        unreachable_after_error()
    }
}

/// Keeps the statement that is running out of the log, where it would stand beside its error.
pub(crate) fn hide_statement() {
    // SAFETY: core's own pointer for this purpose (postgres.c); null means that there is none to log
    // (elog.c, `check_log_of_query`), and the next statement sets it again.
    unsafe { pg_sys::debug_query_string = std::ptr::null() };
}

/// Warns somebody who runs SQL, and says what to do.
pub(crate) fn caution(message: String, hint: impl Into<String>) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "pgaad")
        .set_hint(hint)
        .report(PgLogLevel::WARNING);
}

/// Tells somebody who runs SQL something that is no error, and says what to do about it.
pub(crate) fn advice(message: String, hint: impl Into<String>) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "pgaad")
        .set_hint(hint)
        .report(PgLogLevel::NOTICE);
}

/// Tells somebody who runs SQL something that is no error.
pub(crate) fn notice(message: String) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "pgaad")
        .report(PgLogLevel::NOTICE);
}

/// An ERROR never comes back; should it, the process must not go on as if nothing had been wrong.
fn unreachable_after_error() -> ! {
    std::process::abort()
}
