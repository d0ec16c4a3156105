//! Which id a name has: users, groups and programs, by the names that Entra shows.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pgaad_core::directory::{NameQuestion, Named, NamedKind};
use pgaad_core::guid::ClientId;
use pgaad_core::json::{Json, Object};

use super::client::Graph;
use super::error::GraphError;

/// Most of one name that are told apart; of more it is enough to know that there are several.
const MOST: usize = 5;

impl Graph {
    /// All that the question means by this name, which may be nothing. Of anything: a user by their user principal
    /// name, which a guest has too, or else by their mail; a group by its display name; a program by its display name
    /// or its application (client) id.
    ///
    /// # Errors
    /// [`GraphError`]. Programs need a permission of their own (`Application.Read.All`): without it they are left out,
    /// unless nothing else has the name.
    pub fn find(&self, question: NameQuestion, name: &str) -> Result<Vec<Named>, GraphError> {
        let user_by = match question {
            NameQuestion::UserPrincipalName | NameQuestion::Anything => "userPrincipalName",
            NameQuestion::Id => "id",
        };
        let mut found = self.search("users", user_by, NamedKind::User, name)?;
        match question {
            NameQuestion::UserPrincipalName => return Ok(found),
            NameQuestion::Id if found.is_empty() => {
                return self.search("servicePrincipals", "appId", NamedKind::Service, name);
            }
            NameQuestion::Id => return Ok(found),
            NameQuestion::Anything => {}
        }
        if found.is_empty() && name.contains('@') {
            found = self.search("users", "mail", NamedKind::User, name)?;
        }
        found.extend(self.search("groups", "displayName", NamedKind::Group, name)?);
        let property = if name.parse::<ClientId>().is_ok() { "appId" } else { "displayName" };
        match self.search("servicePrincipals", property, NamedKind::Service, name) {
            Ok(programs) => found.extend(programs),
            Err(GraphError::PermissionMissing) if !found.is_empty() => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    fn search(
        &self,
        collection: &str,
        property: &str,
        kind: NamedKind,
        name: &str,
    ) -> Result<Vec<Named>, GraphError> {
        let malformed = GraphError::PageMalformed;
        // OData doubles a quote inside a text (OData URL Conventions 4.01 §5.1.1.14.1).
        let filter = format!("{property} eq '{}'", name.replace('\'', "''"));
        let filter = utf8_percent_encode(&filter, NON_ALPHANUMERIC);
        let selected = if property == "id" { "id" } else { &format!("id,{property}") };
        let url = self.url(&format!("v1.0/{collection}?$select={selected}&$top={MOST}&$filter={filter}"));
        let answer = self.get(&url, &[])?;
        let object = Object::read(&answer.document).ok_or(malformed("is not JSON"))?;
        let value = object.member("value").and_then(Json::as_array).ok_or(malformed("has no value"))?;
        let mut found = Vec::new();
        for entry in value.iter().take(MOST) {
            let text = |member: &str| entry.as_object()?.member(member)?.as_text();
            let id = text("id").and_then(|id| id.parse().ok()).ok_or(malformed("has an entry without id"))?;
            // Graph compares without regard to case.
            if text(property).is_none_or(|found| found.to_lowercase() != name.to_lowercase()) {
                return Err(malformed("is of another name"));
            }
            found.push(Named { kind, id });
        }
        Ok(found)
    }
}
