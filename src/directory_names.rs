//! Names that a statement binds roles by: the worker of the directory is asked which id they have, and waited for.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::borrow::Cow;
use std::time::Duration;

use pgaad_core::directory::{NameQuestion, Named};
use pgaad_core::log_line::LogLine;
use pgrx::prelude::*;

use crate::pg::clock;
use crate::pg::lookup_board::{self, LookupAnswer};
use crate::pg::report::SqlError;
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::worker::{self, WorkerId};
use crate::settings;

/// How long a statement waits, in milliseconds.
const WAIT: u64 = 10_000;

/// Whether names can be looked up: `pgaad.directory` is on.
#[pg_extern(name = "_has_directory", stable, parallel_safe)]
fn has_directory() -> bool {
    settings::has_directory()
}

/// What has a name in the directory: its type, its object id and its tenant. One row, or an error that says why not.
#[pg_extern(name = "_find_principal", volatile, strict, parallel_restricted)]
fn find_principal(
    name: TextFromSql,
) -> TableIterator<'static, (name!(type, TextToSql), name!(object_id, TextToSql), name!(tenant_id, TextToSql))>
{
    let name = name.text();
    let tenant = settings::read().ok().and_then(|settings| Some(settings.token?.tenant.id()));
    let found = look_up(NameQuestion::Anything, &name);
    match (found, tenant) {
        (Ok(Named { kind, id }), Some(tenant)) => {
            TableIterator::once((kind.to_string().into(), id.to_string().into(), tenant.to_string().into()))
        }
        (Ok(_), None) => failed(&name, "not_configured", "pgaad.tenant_id is not set").raise(),
        (Err(error), _) => error.raise(),
    }
}

/// Asks the worker. A statement that is cancelled leaves its place, which is free again in time.
///
/// # Errors
/// What the user should read: nothing has the name, several have it, or the directory cannot be asked.
pub(crate) fn look_up(question: NameQuestion, name: &str) -> Result<Named, SqlError> {
    let began = clock::monotonic();
    let Some(number) = lookup_board::ask(question, name, began) else {
        return Err(failed(name, "busy", "too many statements ask it at this moment"));
    };
    worker::wake(WorkerId::Directory);
    let answer = loop {
        if let Some(answer) = lookup_board::answer_to(number) {
            break answer;
        }
        if clock::monotonic().saturating_sub(began) >= WAIT {
            lookup_board::give_up(number);
            return Err(failed(name, "timed_out", "no answer within 10 s"));
        }
        worker::wait(Duration::from_millis(10));
    };
    judge(name, &answer)
}

fn judge(name: &str, answer: &LookupAnswer) -> Result<Named, SqlError> {
    if !answer.code.is_empty() {
        return Err(failed(name, answer.code.as_str(), answer.words.as_str()));
    }
    let found: Vec<Named> = answer.found.iter().flatten().copied().collect();
    match found[..] {
        [one] => Ok(one),
        // As Azure says it.
        [] => Err(SqlError {
            code: PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            message: format!(
                "Could not validate AAD user \"{name}\" because its name is not found in the tenant."
            ),
            hint: Cow::Borrowed(
                "Correct the name, or bind the role by object id: pgaadauth_create_principal_with_oid.",
            ),
        }),
        _ => {
            let ids: Vec<_> = found.iter().map(|named| format!("{} {}", named.kind, named.id)).collect();
            Err(SqlError {
                code: PgSqlErrorCode::ERRCODE_AMBIGUOUS_ALIAS,
                message: format!("the name \"{name}\" is that of several: {}", ids.join(", ")),
                hint: Cow::Borrowed("Choose one of them: pgaadauth_create_principal_with_oid."),
            })
        }
    }
}

/// The directory cannot be asked.
fn failed(name: &str, code: &str, words: &str) -> SqlError {
    let line = LogLine::new(&format!("the directory does not say what \"{name}\" is:")).fact("code", code);
    let line = if words.is_empty() { line } else { line.quoted("cause", words) };
    SqlError {
        code: PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
        message: line.into_text(),
        hint: Cow::Borrowed(
            "docs/directory.md says what the code means. Meanwhile bind the role by object id: \
             pgaadauth_create_principal_with_oid.",
        ),
    }
}
