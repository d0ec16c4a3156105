//! What was decided lately: the log line of each decision, and the record behind the views.

use pgaad_core::Reason;
use pgaad_core::event::{ADMITTED, Event};
use pgaad_core::settings::LogLogins;
use pgaad_core::time::UnixTime;

use crate::pg::port::Port;
use crate::pg::{event_buffer, report};
use crate::settings;

/// Logs a decision, as far as `pgaad.log_logins` says, and keeps it for the views in any case.
pub(crate) fn note(port: Port, event: &Event) {
    if is_logged(port, event) {
        report::log(&event.line());
    }
    if let Some(record) = event.encode(event_buffer::MAX_RECORD) {
        event_buffer::push(&record, counter(&event.code), UnixTime::new(event.at));
    }
}

/// The last decisions, the oldest first.
pub(crate) fn last() -> Vec<(u64, Event)> {
    event_buffer::records()
        .into_iter()
        .filter_map(|(id, record)| Some((id, Event::decode(&record)?)))
        .collect()
}

/// How often each code came up, and when last: all codes, so that a count begins at zero and not at its first time.
pub(crate) fn counts() -> impl Iterator<Item = (&'static str, u64, Option<UnixTime>)> {
    codes().enumerate().map(|(counter, code)| {
        let (count, last) = event_buffer::count(counter);
        (code, count, (count > 0).then_some(last))
    })
}

/// All codes, each at the place of its counter.
fn codes() -> impl Iterator<Item = &'static str> {
    std::iter::once(ADMITTED).chain(Reason::CODES.iter().map(|code| code.name))
}

fn counter(code: &str) -> usize {
    codes().position(|other| other == code).unwrap_or(usize::MAX)
}

/// While the settings cannot be read, everything is logged.
fn is_logged(port: Port, event: &Event) -> bool {
    match settings::of_login(port).map(|settings| settings.log_logins) {
        Ok(LogLogins::None) => false,
        Ok(LogLogins::Refused) => !event.is_admission(),
        Ok(LogLogins::All) | Err(_) => true,
    }
}
