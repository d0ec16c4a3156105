//! Whether users are there, enabled, and since when their sessions are valid.

use std::collections::BTreeMap;

use pgaad_core::directory::AccountState;
use pgaad_core::guid::ObjectId;
use pgaad_core::json::{Json, Object};
use pgaad_core::time::UnixTime;
use serde_json::json;
use x509_cert::der::DateTime;

use super::client::Graph;
use super::error::GraphError;

/// Most questions of one batch (<https://learn.microsoft.com/graph/json-batching>).
const BATCH: usize = 20;

/// Most users that are asked for in one run: five hundred batches.
pub const MAX_ACCOUNTS: usize = 10_000;

impl Graph {
    /// Asks for users by their ids. A user that Graph does not know is [`AccountState::Gone`]: the caller, who knows
    /// what was known before, makes of the first time what it is.
    ///
    /// # Errors
    /// [`GraphError`], where any of them cannot be told.
    pub fn read_accounts(&self, users: &[ObjectId]) -> Result<Vec<(ObjectId, AccountState)>, GraphError> {
        let mut accounts = Vec::with_capacity(users.len());
        for batch in users.chunks(BATCH) {
            accounts.extend(self.read_batch(batch)?);
        }
        Ok(accounts)
    }

    fn read_batch(&self, users: &[ObjectId]) -> Result<Vec<(ObjectId, AccountState)>, GraphError> {
        let malformed = GraphError::PageMalformed;
        let question = |(number, user): (usize, &ObjectId)| {
            let select = "id,accountEnabled,signInSessionsValidFromDateTime";
            json!({ "id": number.to_string(), "method": "GET", "url": format!("/users/{user}?$select={select}") })
        };
        let questions: Vec<_> = users.iter().enumerate().map(question).collect();
        let url = self.url("v1.0/$batch");
        let answer = self.post(&url, &json!({ "requests": questions }).to_string())?;
        let object = Object::read(&answer.document).ok_or(malformed("is not JSON"))?;
        let responses =
            object.member("responses").and_then(Json::as_array).ok_or(malformed("has no responses"))?;
        let mut by_number = BTreeMap::new();
        for response in responses {
            let response = response.as_object().ok_or(malformed("has a response that is none"))?;
            let number: Option<usize> =
                response.member("id").and_then(Json::as_text).and_then(|id| id.parse().ok());
            if by_number.insert(number, response).is_some() {
                return Err(malformed("answers a question twice"));
            }
        }
        let state_of = |(number, user): (usize, &ObjectId)| {
            let response = by_number.get(&Some(number)).ok_or(malformed("leaves a question out"))?;
            Ok((*user, state_of(*user, response)?))
        };
        users.iter().enumerate().map(state_of).collect()
    }
}

fn state_of(user: ObjectId, response: &Object<'_>) -> Result<AccountState, GraphError> {
    let malformed = GraphError::PageMalformed;
    match response.member("status") {
        Some(Json::Integer(200)) => {}
        Some(Json::Integer(404)) => return Ok(AccountState::Gone),
        Some(Json::Integer(403)) => return Err(GraphError::PermissionMissing),
        Some(Json::Integer(429)) => return Err(GraphError::Throttled),
        Some(Json::Integer(status)) => {
            let status = u16::try_from(*status).unwrap_or_default();
            return Err(GraphError::Status { status, code: None });
        }
        _ => return Err(malformed("has a response without status")),
    }
    let body =
        response.member("body").and_then(Json::as_object).ok_or(malformed("has a response without body"))?;
    let id: Option<ObjectId> = body.member("id").and_then(Json::as_text).and_then(|id| id.parse().ok());
    if id != Some(user) {
        return Err(malformed("is about another user"));
    }
    let valid_from = match body.member("signInSessionsValidFromDateTime") {
        None | Some(Json::Null) => UnixTime::new(0),
        Some(Json::Text(time)) => date_time(time).ok_or(malformed("has a time that is none"))?,
        Some(_) => return Err(malformed("has a time that is none")),
    };
    match body.member("accountEnabled") {
        Some(Json::Bool(true)) => Ok(AccountState::Enabled { valid_from }),
        Some(Json::Bool(false)) => Ok(AccountState::Disabled),
        // Without User.Read.All Graph leaves it out, or says null.
        _ => Err(GraphError::PermissionMissing),
    }
}

/// A time as OData writes it, in UTC: `2026-11-28T05:19:23Z`, or with a fraction, which is rounded up so that no
/// token of the second before counts.
fn date_time(text: &str) -> Option<UnixTime> {
    let (seconds, fraction) = match text.strip_suffix('Z')?.split_once('.') {
        Some((seconds, fraction)) => (seconds, fraction),
        None => (text.strip_suffix('Z')?, ""),
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let time: DateTime = format!("{seconds}Z").parse().ok()?;
    let up = i64::from(fraction.bytes().any(|byte| byte != b'0'));
    let seconds = i64::try_from(time.unix_duration().as_secs()).ok()?;
    Some(UnixTime::new(seconds.saturating_add(up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_second_and_fractions_rounded_up() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-28T05:19:23Z", Some(1_795_843_163)),
            ("2026-11-28T05:19:23.0000000Z", Some(1_795_843_163)),
            ("2026-11-28T05:19:23.0000001Z", Some(1_795_843_164)),
            ("2026-11-28T05:19:23", None),
            ("2026-11-28T05:19:23+01:00", None),
            ("2026-11-28T05:19:23.xZ", None),
            ("2026-13-28T05:19:23Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(date_time(text).map(UnixTime::seconds), expected, "{text}");
        }
    }
}
