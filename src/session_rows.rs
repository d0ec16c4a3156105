//! `pgaad.sessions`: who is behind each connection.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use pgaad_core::admit::Rule;
use pgaad_core::deny::{DeniedBy, Mark};
use pgaad_core::directory::SessionFacts;
use pgaad_core::event::Event;
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::kind::Kind;
use pgaad_core::subject::TokenSubject;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;

use crate::pg::session_board;
use crate::pg::text::{NameToSql, TextToSql};
use crate::sql_api::timestamp;

/// Keeps of this session what its admission says, and when its token was issued and expires.
pub(crate) fn keep(admission: &Event, issued_at: UnixTime, expires_at: UnixTime) {
    let [issued_at, expires_at] = [issued_at, expires_at].map(|time| time.seconds().to_be_bytes());
    // The event is cut where it is too long, and with it the id of the token.
    let token = admission.subject.as_ref().and_then(token_mark).map_or([0; 16], Mark::to_bytes);
    let head = [&issued_at[..], &expires_at, &token].concat();
    if let Some(event) = admission.encode(session_board::MAX_RECORD.saturating_sub(head.len())) {
        session_board::keep(&[&head, &event[..]].concat());
    }
}

/// What is kept of a session.
struct Record {
    issued_at: UnixTime,
    expires_at: UnixTime,
    token: Mark,
    event: Event,
}

fn read(record: &[u8]) -> Option<Record> {
    let (issued_at, rest) = record.split_first_chunk()?;
    let (expires_at, rest) = rest.split_first_chunk()?;
    let (token, event) = rest.split_first_chunk()?;
    let [issued_at, expires_at] =
        [issued_at, expires_at].map(|time| UnixTime::new(i64::from_be_bytes(*time)));
    Some(Record { issued_at, expires_at, token: Mark::from_bytes(*token), event: Event::decode(event)? })
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
            let Record { token, event, .. } = read(&record)?;
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

/// One session, as the directory sees it.
pub(crate) struct Login {
    pub(crate) pid: i32,
    /// The role that the client logged in as, text as [`pgaad_core::role_name`] makes it of bytes.
    pub(crate) role: String,
    pub(crate) tenant: TenantId,
    pub(crate) object_id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) facts: SessionFacts,
}

/// The sessions that logged in with a token, as far as their events are whole.
pub(crate) fn logins() -> Vec<Login> {
    session_board::records()
        .into_iter()
        .filter_map(|(pid, record)| {
            let Record { issued_at, event, .. } = read(&record)?;
            let subject = event.subject.as_ref()?;
            let is_by_token = event.rule == Some(Rule::Group.to_string());
            Some(Login {
                pid,
                tenant: subject.tid.parse().ok()?,
                object_id: subject.oid.as_ref()?.parse().ok()?,
                kind: if subject.kind == Some(Kind::User.to_string()) { Kind::User } else { Kind::Service },
                facts: SessionFacts { is_by_token, issued_at },
                role: event.role,
            })
        })
        .collect()
}

/// The user whose token it was; `None` of a program's.
pub(crate) fn user_of(subject: &TokenSubject) -> Option<(TenantId, ObjectId)> {
    let is_user = subject.kind == Some(Kind::User.to_string());
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
        let Record { expires_at, event, .. } = read(&record)?;
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
