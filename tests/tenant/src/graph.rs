//! Microsoft Graph over the directory: what pgaad asks of it, in the shape of v1.0 and of beta.

use std::collections::BTreeMap;

use hyper::http::request::Parts;
use serde_json::{Value, json};

use crate::directory::{Directory, Kind};
use crate::page::{self, Response};

/// The largest `$top` (<https://learn.microsoft.com/graph/api/group-list-transitivemembers>).
const MAX_TOP: usize = 999;
/// Entries of a page that asks for none.
const DEFAULT_TOP: usize = 100;

/// Least permissions, and those that hold them.
const READ_GROUPS: [&str; 3] = ["GroupMember.Read.All", "Group.Read.All", "Directory.Read.All"];
const READ_USERS: [&str; 2] = ["User.Read.All", "Directory.Read.All"];
const READ_PROGRAMS: [&str; 2] = ["Application.Read.All", "Directory.Read.All"];

/// A question, and what it is asked of.
pub(crate) struct Question<'a> {
    pub(crate) base: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) token: &'a str,
    pub(crate) is_eventual: bool,
    pub(crate) body: &'a [u8],
    /// Largest page that is given, whatever is asked for.
    pub(crate) page_size: Option<usize>,
}

impl<'a> Question<'a> {
    /// `None` where the path is not Graph's.
    pub(crate) fn read(
        base: &'a str,
        parts: &'a Parts,
        body: &'a [u8],
        page_size: Option<usize>,
    ) -> Option<Self> {
        let path = parts.uri.path();
        if !path.starts_with("/v1.0/") && !path.starts_with("/beta/") {
            return None;
        }
        let header =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Some(Self {
            base,
            path,
            query: page::form(parts.uri.query().unwrap_or_default()),
            token: header("authorization").strip_prefix("Bearer ").unwrap_or_default(),
            is_eventual: header("consistencylevel").eq_ignore_ascii_case("eventual"),
            body,
            page_size,
        })
    }
}

/// The answer.
pub(crate) fn answer(directory: &mut Directory, question: &Question<'_>) -> Response {
    let (status, body) = status_and_body(directory, question);
    page::json_response(status, body.to_string())
}

fn status_and_body(directory: &mut Directory, question: &Question<'_>) -> (u16, Value) {
    let path: Vec<&str> = question.path.split('/').skip(1).collect();
    let permissions: &[&str] = match path.get(1) {
        Some(&"groups") => &READ_GROUPS,
        Some(&"users") => &READ_USERS,
        Some(&"servicePrincipals") => &READ_PROGRAMS,
        _ => &[],
    };
    match directory.may(question.token, permissions) {
        None => {
            return error(401, "InvalidAuthenticationToken", "Access token is empty, expired or unknown.");
        }
        Some(false) if !permissions.is_empty() => {
            return error(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges to complete the operation.",
            );
        }
        Some(_) => {}
    }
    match path[..] {
        [_, "$batch"] => batch(directory, question),
        [_, "groups", id] => group(directory, id),
        [version, "groups", id, relation @ ("members" | "transitiveMembers")] => {
            let shows = |kind| kind != Kind::Program || version == "beta";
            members(directory, question, id, relation, &shows)
        }
        [
            _,
            "groups",
            id,
            relation @ ("members" | "transitiveMembers"),
            "microsoft.graph.servicePrincipal",
        ] => {
            let is_advanced =
                question.is_eventual && question.query.get("$count").is_some_and(|count| count == "true");
            members(directory, question, id, relation, &|kind| is_advanced && kind == Kind::Program)
        }
        [_, "users", id] => user(directory, id),
        [_, collection @ ("users" | "groups" | "servicePrincipals")] => {
            search(directory, question, collection)
        }
        _ => error(400, "BadRequest", "Resource not found for the segment."),
    }
}

fn error(status: u16, code: &str, message: &str) -> (u16, Value) {
    (status, json!({ "error": { "code": code, "message": message, "innerError": {} } }))
}

fn not_found(id: &str) -> (u16, Value) {
    let message = format!(
        "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
    );
    error(404, "Request_ResourceNotFound", &message)
}

fn group(directory: &Directory, id: &str) -> (u16, Value) {
    match directory.groups().get(id) {
        None => not_found(id),
        Some(group) => {
            let security = group.is_security;
            (200, json!({ "id": id, "displayName": group.name, "securityEnabled": security }))
        }
    }
}

fn members(
    directory: &mut Directory,
    question: &Question<'_>,
    id: &str,
    relation: &str,
    shows: &dyn Fn(Kind) -> bool,
) -> (u16, Value) {
    if !directory.groups().contains_key(id) {
        return not_found(id);
    }
    let all = directory.members(id, relation == "transitiveMembers");
    let number = |name: &str| question.query.get(name).map(|number| number.parse::<usize>());
    let top = match number("$top") {
        None => DEFAULT_TOP,
        Some(Ok(top @ 1..=MAX_TOP)) => top,
        Some(_) => return error(400, "Request_BadRequest", "Invalid page size specified."),
    };
    let Ok(skip) = number("$skiptoken").unwrap_or(Ok(0)) else {
        return error(400, "Directory_ExpiredPageToken", "The specified page token has expired.");
    };
    let top = question.page_size.unwrap_or(top).min(top);
    let mut shown = all.iter().filter(|(_, kind)| shows(*kind));
    let value: Vec<_> = shown
        .clone()
        .skip(skip)
        .take(top)
        .map(|(id, kind)| json!({ "@odata.type": kind.odata_type(), "id": id }))
        .collect();
    let mut body = json!({
        "@odata.context": format!("{}/v1.0/$metadata#directoryObjects(id)", question.base),
        "value": value,
    });
    if all.len() > skip + top && shown.nth(skip + top).is_some() {
        let kept = question.query.iter().filter(|(name, _)| *name != "$skiptoken");
        let kept: Vec<_> = kept.map(|(name, value)| format!("{name}={value}")).collect();
        let link = format!("{}{}?{}&$skiptoken={}", question.base, question.path, kept.join("&"), skip + top);
        body["@odata.nextLink"] = json!(link);
    }
    (200, body)
}

fn user(directory: &Directory, id: &str) -> (u16, Value) {
    let is_it =
        |(own, user): &(&String, &crate::directory::User)| *own == id || user.upn.eq_ignore_ascii_case(id);
    match directory.users().iter().find(is_it) {
        None => not_found(id),
        Some((id, user)) => (200, shown_user(id, user)),
    }
}

fn shown_user(id: &str, user: &crate::directory::User) -> Value {
    json!({
        "id": id,
        "userPrincipalName": user.upn,
        "mail": user.mail,
        "accountEnabled": user.enabled,
        "signInSessionsValidFromDateTime": user.valid_from,
    })
}

/// `$filter=NAME eq 'VALUE'`, with quotes doubled inside.
fn search(directory: &Directory, question: &Question<'_>, collection: &str) -> (u16, Value) {
    let filter = question.query.get("$filter").map(String::as_str).unwrap_or_default();
    let wanted = filter.split_once(" eq '").and_then(|(name, rest)| Some((name, rest.strip_suffix('\'')?)));
    let Some((name, text)) = wanted.filter(|(_, text)| !text.replace("''", "").contains('\'')) else {
        return error(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.");
    };
    let text = text.replace("''", "'");
    let is_it = |value: &str| value.eq_ignore_ascii_case(&text);
    let value: Vec<Value> = match (collection, name) {
        ("users", "mail") => {
            let is_it = |user: &crate::directory::User| user.mail.as_deref().is_some_and(is_it);
            directory
                .users()
                .iter()
                .filter(|(_, user)| is_it(user))
                .map(|(id, user)| shown_user(id, user))
                .collect()
        }
        ("users", "id") => {
            let found = directory.users().iter().filter(|(id, _)| is_it(id));
            found.map(|(id, user)| shown_user(id, user)).collect()
        }
        ("users", "userPrincipalName") => {
            let found = directory.users().iter().filter(|(_, user)| is_it(&user.upn));
            found.map(|(id, user)| shown_user(id, user)).collect()
        }
        ("groups", "displayName") => {
            let found = directory.groups().iter().filter(|(_, group)| is_it(&group.name));
            found.map(|(id, group)| json!({ "id": id, "displayName": group.name })).collect()
        }
        ("servicePrincipals", "displayName" | "appId") => {
            let of = |(client_id, shown): &(String, String)| {
                is_it(if name == "appId" { client_id } else { shown })
            };
            let found = directory.programs().iter().filter(|(_, program)| of(program));
            found.map(|(id, (app, name))| json!({ "id": id, "appId": app, "displayName": name })).collect()
        }
        _ => return error(400, "Request_UnsupportedQuery", "Unsupported property filter clause."),
    };
    (200, json!({ "value": value }))
}

/// At most twenty questions at once (<https://learn.microsoft.com/graph/json-batching>); the answers come in another
/// order than the questions.
fn batch(directory: &mut Directory, question: &Question<'_>) -> (u16, Value) {
    let document: Value = serde_json::from_slice(question.body).unwrap_or_default();
    let questions = document["requests"].as_array().cloned().unwrap_or_default();
    if questions.is_empty() || questions.len() > 20 {
        return error(400, "BadRequest", "The number of requests in a batch must be between 1 and 20.");
    }
    let mut responses = Vec::new();
    for inner in questions.iter().rev() {
        let url = inner["url"].as_str().unwrap_or_default();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let path = format!("/v1.0{path}");
        let asked = Question { path: &path, query: page::form(query), body: &[], ..*question };
        let (status, body) = status_and_body(directory, &asked);
        responses.push(json!({ "id": inner["id"], "status": status, "headers": {}, "body": body }));
    }
    (200, json!({ "responses": responses }))
}
