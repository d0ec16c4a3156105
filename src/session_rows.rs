//! `pgaad.sessions`: who is behind each connection.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use pgaad_core::deny::{DeniedBy, Mark};
use pgaad_core::event::Event;
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::subject::TokenSubject;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;

use crate::pg::session_board;
use crate::pg::text::{NameToSql, TextToSql};
use crate::sql_api::timestamp;

/// Keeps of this session what its admission says, and when its token expires.
pub(crate) fn keep(admission: &Event, expires_at: UnixTime) {
    let expires_at = expires_at.seconds().to_be_bytes();
    // The event is cut where it is too long, and with it the id of the token.
    let token = admission.subject.as_ref().and_then(token_mark).map_or([0; 16], Mark::to_bytes);
    let head = [&expires_at[..], &token].concat();
    if let Some(event) = admission.encode(session_board::MAX_RECORD.saturating_sub(head.len())) {
        session_board::keep(&[&head, &event[..]].concat());
    }
}

fn read(record: &[u8]) -> Option<(UnixTime, Mark, Event)> {
    let (expires_at, rest) = record.split_first_chunk()?;
    let (token, event) = rest.split_first_chunk()?;
    let expires_at = UnixTime::new(i64::from_be_bytes(*expires_at));
    Some((expires_at, Mark::from_bytes(*token), Event::decode(event)?))
}

fn token_mark(subject: &TokenSubject) -> Option<Mark> {
    Some(Mark::new(DeniedBy::TokenId, subject.tid.parse().ok()?, subject.uti.as_ref()?))
}

/// One session, as the deny list sees it.
pub(crate) struct Session {
    pub(crate) pid: i32,
    /// The role that the client logged in as, text as [`pgaad_core::role_name`] makes it of bytes.
    pub(crate) role: String,
    pub(crate) marks: Vec<(DeniedBy, Mark)>,
}

/// The sessions that logged in with a token.
pub(crate) fn sessions() -> Vec<Session> {
    session_board::records()
        .into_iter()
        .filter_map(|(pid, record)| {
            let (_, token, event) = read(&record)?;
            let subject = event.subject?;
            let tenant = subject.tid.parse().ok()?;
            let mark = |by, id: &String| (by, Mark::new(by, tenant, id));
            let mut marks = vec![(DeniedBy::TokenId, token)];
            marks.extend(subject.oid.iter().map(|id| mark(DeniedBy::ObjectId, id)));
            marks.extend(subject.appid.iter().chain(&subject.agent).map(|id| mark(DeniedBy::ClientId, id)));
            Some(Session { pid, role: event.role, marks })
        })
        .collect()
}

/// The users who logged in with a token and are connected, each with their tenant.
pub(crate) fn users() -> Vec<(TenantId, ObjectId)> {
    let records = session_board::records();
    let events = records.iter().filter_map(|(_, record)| read(record).map(|(_, _, event)| event));
    events.filter_map(|event| user_of(event.subject.as_ref()?)).collect()
}

/// The user whose token it was; `None` of a program's.
pub(crate) fn user_of(subject: &TokenSubject) -> Option<(TenantId, ObjectId)> {
    let is_user = subject.kind.as_deref() == Some("user");
    is_user.then(|| Some((subject.tid.parse().ok()?, subject.oid.as_ref()?.parse().ok()?)))?
}

/// The rows of `pgaad.sessions`.
#[pg_extern(name = "_session_rows", volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "the columns of the view")]
fn session_rows() -> TableIterator<
    'static,
    (
        name!(pid, i32),
        name!(since, TimestampWithTimeZone),
        name!(role, NameToSql),
        name!(kind, Option<TextToSql>),
        name!(upn, Option<TextToSql>),
        name!(oid, Option<TextToSql>),
        name!(tid, Option<TextToSql>),
        name!(appid, Option<TextToSql>),
        name!(agent, Option<TextToSql>),
        name!(uti, Option<TextToSql>),
        name!(rule, Option<TextToSql>),
        name!(route, TextToSql),
        name!(client, TextToSql),
        name!(expires_at, TimestampWithTimeZone),
    ),
> {
    TableIterator::new(session_board::records().into_iter().filter_map(|(pid, record)| {
        let (expires_at, _, event) = read(&record)?;
        let subject = event.subject?;
        Some((
            pid,
            timestamp(UnixTime::new(event.at)),
            NameToSql::new(&event.role),
            subject.kind.map(TextToSql::from),
            subject.upn.map(TextToSql::from),
            subject.oid.map(TextToSql::from),
            Some(subject.tid.into()),
            subject.appid.map(TextToSql::from),
            subject.agent.map(TextToSql::from),
            subject.uti.map(TextToSql::from),
            event.rule.map(TextToSql::from),
            event.route.into(),
            event.client.into(),
            timestamp(expires_at),
        ))
    }))
}
