//! A page of a collection, as OData writes one (OData JSON Format 4.01 §11): read strictly.

use pgaad_core::guid::ObjectId;
use pgaad_core::json::{Json, Object};

use super::error::GraphError;

/// Longest link that is followed; Graph's have about a thousand bytes.
const MAX_LINK_BYTES: usize = 16 * 1024;

/// Kinds of members that no token can be of.
const NO_PRINCIPALS: [&str; 4] = [
    "#microsoft.graph.group",
    "#microsoft.graph.device",
    "#microsoft.graph.orgContact",
    "#microsoft.graph.administrativeUnit",
];

/// The users and programs that one page names, and where the next page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Object ids, in the order of the page.
    pub members: Vec<ObjectId>,
    /// `@odata.nextLink`; `None` on the last page.
    pub next: Option<String>,
}

impl Page {
    /// Reads a page of `members` or `transitiveMembers`.
    ///
    /// # Errors
    /// [`GraphError::PageMalformed`] for anything but an object whose `value` is an array of objects with an id each.
    pub fn read(document: &[u8]) -> Result<Self, GraphError> {
        let malformed = GraphError::PageMalformed;
        let object = Object::read(document).ok_or(malformed("is not JSON"))?;
        let value = object.member("value").and_then(Json::as_array).ok_or(malformed("has no value"))?;
        let mut members = Vec::with_capacity(value.len());
        for entry in value {
            let entry = entry.as_object().ok_or(malformed("has an entry that is none"))?;
            let id = entry.member("id").and_then(Json::as_text).and_then(|id| id.parse().ok());
            let id: ObjectId = id.ok_or(malformed("has an entry without id"))?;
            let kind = entry.member("@odata.type").and_then(Json::as_text);
            if !kind.is_some_and(|kind| NO_PRINCIPALS.contains(&kind)) {
                members.push(id);
            }
        }
        let next = match object.member("@odata.nextLink") {
            None | Some(Json::Null) => None,
            Some(Json::Text(link)) if link.len() <= MAX_LINK_BYTES => Some(link.clone().into_owned()),
            Some(_) => return Err(malformed("has a link that is none")),
        };
        Ok(Self { members, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c0ffee00-1234-4abc-9def-0123456789ab";

    fn read(text: &str) -> Result<Page, GraphError> {
        Page::read(text.replace("ID", ID).as_bytes())
    }

    #[test]
    fn users_and_programs_are_members_and_what_no_token_can_be_of_is_not() {
        let page = read(
            r##"{"@odata.context":"x","@odata.nextLink":"https://graph/next","value":[
                {"@odata.type":"#microsoft.graph.user","id":"ID"},
                {"id":"ID"},
                {"@odata.type":"#microsoft.graph.servicePrincipal","id":"ID","displayName":null},
                {"@odata.type":"#microsoft.graph.agentIdentity","id":"ID"},
                {"@odata.type":"#microsoft.graph.group","id":"ID"},
                {"@odata.type":"#microsoft.graph.device","id":"ID"},
                {"@odata.type":"#microsoft.graph.orgContact","id":"ID"}]}"##,
        )
        .expect("a page");
        assert_eq!(page.members.len(), 4);
        assert_eq!(page.next.as_deref(), Some("https://graph/next"));
        let last = Page { members: Vec::new(), next: None };
        assert_eq!(read(r#"{"value":[]}"#), Ok(last.clone()));
        assert_eq!(read(r#"{"value":[],"@odata.nextLink":null}"#), Ok(last));
    }

    #[test]
    fn anything_else_is_no_page() {
        let long = format!(r#"{{"value":[],"@odata.nextLink":"https://{}"}}"#, "a".repeat(16 * 1024));
        for text in [
            "",
            "[]",
            "<html>",
            "{}",
            r#"{"value":null}"#,
            r#"{"value":{}}"#,
            r#"{"value":["ID"]}"#,
            r#"{"value":[{}]}"#,
            r#"{"value":[{"id":null}]}"#,
            r#"{"value":[{"id":"me"}]}"#,
            r#"{"value":[{"id":"ID"}],"value":[]}"#,
            r#"{"value":[{"id":"ID","id":"ID"}]}"#,
            r#"{"value":[{"id":"ID"}"#,
            r#"{"value":[],"@odata.nextLink":7}"#,
            r#"{"value":[],"@odata.nextLink":["https://graph/next"]}"#,
            &long,
        ] {
            assert!(matches!(read(text), Err(GraphError::PageMalformed(_))), "{text}");
        }
    }
}
