//! `pgaad.sessions`: who is behind each connection.

#![allow(unsafe_code, reason = "the macros export each function under its C name")]

use pgaad_core::event::Event;
use pgaad_core::time::UnixTime;
use pgrx::prelude::*;

use crate::pg::session_board;
use crate::pg::text::{NameToSql, TextToSql};
use crate::sql_api::timestamp;

/// Keeps of this session what its admission says, and when its token expires.
pub(crate) fn keep(admission: &Event, expires_at: UnixTime) {
    let expires_at = expires_at.seconds().to_be_bytes();
    if let Some(event) = admission.encode(session_board::MAX_RECORD.saturating_sub(expires_at.len())) {
        session_board::keep(&[&expires_at, &event[..]].concat());
    }
}

fn read(record: &[u8]) -> Option<(UnixTime, Event)> {
    let (expires_at, event) = record.split_first_chunk()?;
    Some((UnixTime::new(i64::from_be_bytes(*expires_at)), Event::decode(event)?))
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
        let (expires_at, event) = read(&record)?;
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
