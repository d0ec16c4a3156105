//! Names that a statement binds roles by: the worker of the directory is asked which id they have, and waited for.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use std::time::Duration;

use pgaad_core::directory::{NameQuestion, Named};
use pgaad_core::log_line::LogLine;
use pgrx::prelude::*;

use crate::pg::clock;
use crate::pg::lookup_board::{self, LookupAnswer};
use crate::pg::report::SqlError;
use crate::pg::role_principal::{Directory, Found, Newcomer};
use crate::pg::text::{TextFromSql, TextToSql};
use crate::pg::worker::{self, WorkerId};
use crate::settings;

/// How long a statement waits, in milliseconds.
const WAIT: u64 = 10_000;

/// What makes of a hint for a user one for a program.
const OF_PROGRAM: &str = " Or type=service, if it is a program's.";

/// Whether names can be looked up: `pgaad.directory` is on.
#[pg_extern(name = "_has_directory", stable, parallel_safe)]
fn has_directory() -> bool {
    settings::has_directory()
}

/// How a statement that puts roles into `azure_ad_user` asks.
pub(crate) const OF_STATEMENTS: Directory = Directory { question, look_up: look_up_newcomer };

/// What has a name in the directory: its type, its object id and its tenant. One row, or an error that says why not.
#[pg_extern(name = "_find_principal", volatile, strict, parallel_restricted)]
fn find_principal(
    name: TextFromSql,
) -> TableIterator<'static, (name!(type, TextToSql), name!(object_id, TextToSql), name!(tenant_id, TextToSql))>
{
    let asked = Asked { question: NameQuestion::Anything, name: &name.text(), role: None };
    let Found { named, tenant } = asked.look_up().unwrap_or_else(|error| error.raise());
    TableIterator::once((
        named.kind.to_string().into(),
        named.id.to_string().into(),
        tenant.to_string().into(),
    ))
}

/// What is asked about a role without a label that becomes a member of `azure_ad_user`: by its name a user alone, since
/// anybody may register a group or an application and call it as they like. An id that was given for a password is
/// taken for a program's where nobody is asked, as Azure does it, unless the role is named as a user.
fn question(newcomer: &Newcomer) -> Result<Option<NameQuestion>, SqlError> {
    let is_named_as_user = newcomer.name().contains('@');
    let asks = settings::has_directory();
    Ok(match newcomer.given {
        Some(_) if is_named_as_user && !asks => return Err(cannot_tell(newcomer)),
        Some(_) if is_named_as_user || settings::validates_oids() => asks.then_some(NameQuestion::Id),
        None if is_named_as_user && settings::validates_oids() => {
            asks.then_some(NameQuestion::UserPrincipalName)
        }
        _ => None,
    })
}

fn look_up_newcomer(newcomer: &Newcomer, question: NameQuestion) -> Result<Found, SqlError> {
    let name = newcomer.given.map_or_else(|| newcomer.name(), |id| id.to_string());
    Asked { question, name: &name, role: Some(newcomer) }.look_up()
}

fn cannot_tell(newcomer: &Newcomer) -> SqlError {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        message: format!(
            "role \"{}\" is named as a user, and without pgaad.directory nobody can tell whether the id is theirs or a \
             program's",
            newcomer.name()
        ),
        hint: format!("{}{OF_PROGRAM}", newcomer.statements()).into(),
    }
}

/// A name, and what is asked about it.
struct Asked<'a> {
    question: NameQuestion,
    name: &'a str,
    /// The role that a statement has named.
    role: Option<&'a Newcomer>,
}

impl Asked<'_> {
    /// Asks the worker. A statement that is cancelled leaves its place, which is free again in time.
    ///
    /// # Errors
    /// What the user should read: nothing has the name, several have it, or the directory cannot be asked.
    fn look_up(&self) -> Result<Found, SqlError> {
        let began = clock::monotonic();
        let Some(number) = lookup_board::ask(self.question, self.name, began) else {
            return Err(self.failed("busy", "too many statements ask it at this moment"));
        };
        worker::wake(WorkerId::Directory);
        let answer = loop {
            if let Some(answer) = lookup_board::answer_to(number) {
                break answer;
            }
            if clock::monotonic().saturating_sub(began) >= WAIT {
                lookup_board::give_up(number);
                return Err(self.failed("timed_out", "no answer within 10 s"));
            }
            worker::wait(Duration::from_millis(10));
        };
        let named = self.judge(&answer)?;
        let tenant = settings::read().ok().and_then(|settings| Some(settings.token?.tenant.id()));
        tenant
            .map(|tenant| Found { named, tenant })
            .ok_or_else(|| self.failed("not_configured", "pgaad.tenant_id is not set"))
    }

    fn judge(&self, answer: &LookupAnswer) -> Result<Named, SqlError> {
        if !answer.code.is_empty() {
            return Err(self.failed(answer.code.as_str(), answer.words.as_str()));
        }
        let found: Vec<Named> = answer.found.iter().flatten().copied().collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(self.not_found()),
            _ => {
                let ids: Vec<_> = found.iter().map(|named| format!("{} {}", named.kind, named.id)).collect();
                Err(SqlError {
                    code: PgSqlErrorCode::ERRCODE_AMBIGUOUS_ALIAS,
                    message: format!("the name \"{}\" is that of several: {}", self.name, ids.join(", ")),
                    hint: format!("Choose one of them: {}", self.ways_by_id()).into(),
                })
            }
        }
    }

    /// As Azure says it.
    fn not_found(&self) -> SqlError {
        let name = self.role.map_or_else(|| self.name.to_owned(), Newcomer::name);
        let why = if self.question == NameQuestion::Id {
            format!(
                "its object id {} is not found in the tenant, nor is a program with this client id.",
                self.name
            )
        } else {
            "its name is not found in the tenant.".to_owned()
        };
        SqlError {
            code: PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            message: format!("Could not validate AAD user \"{name}\" because {why}"),
            hint: format!("Correct it, or bind the role by object id: {}", self.ways_by_id()).into(),
        }
    }

    /// The directory cannot be asked.
    fn failed(&self, code: &str, words: &str) -> SqlError {
        let what = format!("the directory does not say what \"{}\" is:", self.name);
        let line = LogLine::new(&what).fact("code", code);
        let line = if words.is_empty() { line } else { line.quoted("cause", words) };
        SqlError {
            code: PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
            message: line.into_text(),
            hint: format!(
                "docs/directory.md says what the code means. Meanwhile bind the role by object id: {}",
                self.ways_by_id()
            )
            .into(),
        }
    }

    /// How a role is bound without asking.
    fn ways_by_id(&self) -> String {
        let Some(role) = self.role else { return "pgaadauth_create_principal_with_oid.".to_owned() };
        let other = match self.question {
            NameQuestion::UserPrincipalName => {
                " Or to its name: SET aad_validate_oids_in_tenant = off; and then this statement."
            }
            NameQuestion::Id => OF_PROGRAM,
            NameQuestion::Anything => "",
        };
        format!("{}{other}", role.statements())
    }
}
