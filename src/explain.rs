//! `pgaad.explain` and `pgaad.explain_event`: why a login was, or would be, refused.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::ffi::CString;

use pgaad_core::explain::{
    Context, Finding, NotExplained, explain as explain_token, explain_event as explain_decision, measure,
};
use pgaad_core::log_line::LogLine;
use pgaad_core::role_name;
use pgrx::prelude::*;

use crate::directory::Directory;
use crate::pg::catalog::Role;
use crate::pg::report::{self, SqlError};
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::{clock, deny_labels, encoding, event_buffer};
use crate::settings;
use crate::{events, key_cache};

/// Runs the straight line on `header.payload` of a token, for a role, and shows each step's answer.
///
/// A live token is a password and must not become SQL text, so it is taken without its signature,
/// and what is said of it proves nothing.
#[pg_extern(volatile, strict, parallel_restricted)]
fn explain(
    role: TextFromSql,
    unsigned_token: TextFromSql,
) -> TableIterator<'static, (name!(step, TextToSql), name!(ok, Option<bool>), name!(detail, TextToSql))> {
    match try_explain(&role, &unsigned_token.text()) {
        Ok(findings) => rows(findings),
        Err(error) => {
            // The statement may hold a token, and would be logged beside the error.
            report::hide_statement();
            error.raise()
        }
    }
}

/// Explains a row of `pgaad.events`, where the signature was really checked.
#[pg_extern(volatile, strict, parallel_restricted)]
fn explain_event(
    id: i64,
) -> TableIterator<'static, (name!(step, TextToSql), name!(ok, Option<bool>), name!(detail, TextToSql))> {
    let event = events::last().into_iter().find(|(other, _)| i64::try_from(*other) == Ok(id));
    match event {
        Some((_, event)) => {
            // The name as it reads in this database, as everywhere in it.
            let role = encoding::decode(&role_name::to_bytes(&event.role));
            rows(explain_decision(&event.spelt(role)))
        }
        None => SqlError {
            code: PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            message: format!("there is no event {id}"),
            hint: format!("The last {} are in pgaad.events.", event_buffer::SLOTS).into(),
        }
        .raise(),
    }
}

fn try_explain(role: &TextFromSql, unsigned_token: &str) -> Result<Vec<Finding>, SqlError> {
    let settings = settings::read().map_err(|reason| SqlError {
        code: PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        message: reason.facts(LogLine::new("a setting has a value that cannot be used:")).into_text(),
        hint:
            "Every token login is refused until it is corrected in postgresql.conf and the server reloaded."
                .into(),
    })?;
    let policy = settings.token.as_ref().ok_or(SqlError {
        code: PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        message: "pgaad.tenant_id is not set".to_owned(),
        hint: "Set it in postgresql.conf to the tenant's id and reload the server.".into(),
    })?;
    // Looked up by its bytes, as at a login.
    let facts = CString::new(role.bytes()).ok().and_then(|name| Role::find(&name)).map(|role| role.facts());
    let policy = measure(policy, unsigned_token, settings.max_token_bytes);
    let context = Context {
        max_bytes: settings.max_token_bytes,
        keys: key_cache::all(&policy.tenant, &settings),
        policy: &policy,
        admit: settings.admit,
        now: clock::now(),
        role_name: &role.text(),
        role: facts.as_ref(),
        directory: &Directory(&settings),
        denied: &deny_labels::read(),
    };
    explain_token(unsigned_token, &context).map_err(|error| match error {
        NotExplained::WholeToken => SqlError {
            code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            message: "a token with its signature is a password and must not become SQL text".to_owned(),
            hint: "Pass it without its last part, in a shell ${TOKEN%.*}, and let this one expire unused."
                .into(),
        },
        NotExplained::NotTwoParts => SqlError {
            code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            message: "this is not the header and the payload of a token".to_owned(),
            hint: "Pass the token without its last part: in a shell ${TOKEN%.*}.".into(),
        },
    })
}

fn rows(
    findings: Vec<Finding>,
) -> TableIterator<'static, (name!(step, TextToSql), name!(ok, Option<bool>), name!(detail, TextToSql))> {
    TableIterator::new(
        findings.into_iter().map(|Finding { step, ok, detail }| (step.name().into(), ok, detail.into())),
    )
}
