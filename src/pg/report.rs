//! Log lines, and the FATAL that ends a login.

use std::any::Any;

use pgaad_core::refusal::PublicAnswer;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

/// Writes one line to the server's log and to no client: before the login is over, a LOG could
/// reach a client that asked for it in its start-up packet (`client_min_messages`).
pub(crate) fn log(line: &str) {
    report(PgLogLevel::LOG_SERVER_ONLY, line);
}

/// As [`log`], as a WARNING where the operator should act. Only for processes without a client.
pub(crate) fn warn(line: &str) {
    report(PgLogLevel::WARNING, line);
}

fn report(level: PgLogLevel, line: &str) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, line.to_owned(), "pgaad").report(level);
}

/// Ends the process with the answer a stranger may have. `role` is what the client itself sent.
///
/// The process exits inside and no destructor runs: callers let go of every secret first.
pub(crate) fn fatal(answer: PublicAnswer, role: &str) {
    let (code, message) = match answer {
        PublicAnswer::Failed => (
            PgSqlErrorCode::ERRCODE_INVALID_PASSWORD,
            format!("token authentication failed for user \"{role}\""),
        ),
        PublicAnswer::EncryptionRequired => (
            PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            "token authentication requires an encrypted connection".to_owned(),
        ),
    };
    ErrorReport::new(code, message, "pgaad").report(PgLogLevel::FATAL);
}

/// What may be logged of a caught panic: the message of an error of PostgreSQL's, but not that of
/// a Rust panic, which could quote the data it stumbled over.
pub(super) fn cause(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<CaughtError>() {
        Some(CaughtError::PostgresError(error) | CaughtError::ErrorReport(error)) => {
            error.message().to_owned()
        }
        _ => "panic".to_owned(),
    }
}
