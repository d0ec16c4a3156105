//! The rows of `pgaad.events`.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use pgaad_core::event::Event;
use pgaad_core::subject::TokenSubject;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;
use serde_json::{Map, Value};

use crate::events;
use crate::pg::text::{JsonToSql, NameToSql, TextToSql, json_object};
use crate::sql_api::timestamp;

/// The rows of `pgaad.events`.
#[pg_extern(name = "_event_rows", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn event_records() -> TableIterator<
    'static,
    (
        name!(id, i64),
        name!(at, TimestampWithTimeZone),
        name!(code, TextToSql),
        name!(route, TextToSql),
        name!(role, NameToSql),
        name!(client, TextToSql),
        name!(hba_file, Option<TextToSql>),
        name!(hba_line, Option<i32>),
        name!(rule, Option<TextToSql>),
        name!(kind, Option<TextToSql>),
        name!(tid, Option<TextToSql>),
        name!(oid, Option<TextToSql>),
        name!(upn, Option<TextToSql>),
        name!(appid, Option<TextToSql>),
        name!(agent, Option<TextToSql>),
        name!(aud, Option<TextToSql>),
        name!(kid, Option<TextToSql>),
        name!(uti, Option<TextToSql>),
        name!(facts, Option<JsonToSql>),
    ),
> {
    TableIterator::new(events::last().into_iter().map(|(id, event)| {
        let row = Row::new(id, event);
        let (file, line) = (row.hba_file, row.hba_line);
        let facts = row.facts.and_then(|facts| json_object(facts).map(JsonToSql::from));
        let token = row.token;
        (
            row.id,
            row.at,
            row.code,
            row.route,
            row.role,
            row.client,
            file,
            line,
            row.rule,
            token.kind,
            token.tid,
            token.oid,
            token.upn,
            token.appid,
            token.agent,
            token.aud,
            token.kid,
            token.uti,
            facts,
        )
    }))
}

/// `pgaad.event_rows` of 0.1.0, whose facts are text, for databases whose extension has not been updated: a function
/// must not return another type than it was declared with.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn event_rows() -> TableIterator<
    'static,
    (
        name!(id, i64),
        name!(at, TimestampWithTimeZone),
        name!(code, TextToSql),
        name!(route, TextToSql),
        name!(role, NameToSql),
        name!(client, TextToSql),
        name!(rule, Option<TextToSql>),
        name!(kind, Option<TextToSql>),
        name!(tid, Option<TextToSql>),
        name!(oid, Option<TextToSql>),
        name!(upn, Option<TextToSql>),
        name!(appid, Option<TextToSql>),
        name!(kid, Option<TextToSql>),
        name!(uti, Option<TextToSql>),
        name!(facts, Option<TextToSql>),
    ),
> {
    TableIterator::new(events::last().into_iter().map(|(id, event)| {
        let row = Row::new(id, event);
        let facts = row.facts.and_then(|facts| serde_json::to_string(&facts).ok().map(TextToSql::from));
        let token = row.token;
        (
            row.id,
            row.at,
            row.code,
            row.route,
            row.role,
            row.client,
            row.rule,
            token.kind,
            token.tid,
            token.oid,
            token.upn,
            token.appid,
            token.kid,
            token.uti,
            facts,
        )
    }))
}

/// An event as SQL has it.
struct Row {
    id: i64,
    at: TimestampWithTimeZone,
    code: TextToSql,
    route: TextToSql,
    role: NameToSql,
    client: TextToSql,
    hba_file: Option<TextToSql>,
    hba_line: Option<i32>,
    rule: Option<TextToSql>,
    token: TokenColumns,
    facts: Option<Map<String, Value>>,
}

/// What is known of the token.
#[derive(Default)]
struct TokenColumns {
    kind: Option<TextToSql>,
    tid: Option<TextToSql>,
    oid: Option<TextToSql>,
    upn: Option<TextToSql>,
    appid: Option<TextToSql>,
    agent: Option<TextToSql>,
    aud: Option<TextToSql>,
    kid: Option<TextToSql>,
    uti: Option<TextToSql>,
}

impl Row {
    fn new(id: u64, event: Event) -> Self {
        let facts = Some(event.facts_and_hint()).filter(|facts| !facts.is_empty());
        let place = event.hba;
        Self {
            id: i64::try_from(id).unwrap_or(i64::MAX),
            at: timestamp(UnixTime::new(event.at)),
            code: event.code.into(),
            route: event.route.into(),
            role: NameToSql::new(&event.role),
            client: event.client.into(),
            hba_line: place.as_ref().and_then(|place| i32::try_from(place.line).ok()),
            hba_file: place.map(|place| place.file.into()),
            rule: event.rule.map(TextToSql::from),
            token: event.subject.map(TokenColumns::from).unwrap_or_default(),
            facts,
        }
    }
}

impl From<TokenSubject> for TokenColumns {
    fn from(subject: TokenSubject) -> Self {
        Self {
            kind: subject.kind.map(TextToSql::from),
            tid: Some(subject.tid.into()),
            oid: subject.oid.map(TextToSql::from),
            upn: subject.upn.map(TextToSql::from),
            appid: subject.appid.map(TextToSql::from),
            agent: subject.agent.map(TextToSql::from),
            aud: Some(subject.aud.into()),
            kid: Some(subject.kid.into()),
            uti: subject.uti.map(TextToSql::from),
        }
    }
}
