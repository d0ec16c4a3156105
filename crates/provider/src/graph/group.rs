//! The members of a group.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use pgaad_core::directory::members::MAX_MEMBERS;
use pgaad_core::guid::ObjectId;
use pgaad_core::json::{Json, Object};
use pgaad_core::settings::directory::Programs;
use pgaad_core::time::UnixTime;

use super::client::Graph;
use super::error::{self, GraphError};
use super::page::Page;

/// Most pages of one answer: those of the largest group, and as many empty ones.
const MAX_PAGES: usize = 8_000;

/// Longest display name that is kept, in characters: that of Entra.
const MAX_NAME: usize = 256;

/// A group, as a complete run has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRead {
    /// `displayName`.
    pub name: String,
    /// `securityEnabled`: whether tokens hold it among their `groups`. Of any other group, its owners decide who
    /// is a member, and where it is public, everybody for themselves.
    pub is_security: bool,
    /// When the run began, by Graph's own clock.
    pub began_at: UnixTime,
    /// Users and programs, in no order, some of them twice.
    pub members: Vec<ObjectId>,
}

impl Graph {
    /// Reads a group whole, or not at all.
    ///
    /// # Errors
    /// [`GraphError`]
    pub fn read_group(
        &self,
        group: ObjectId,
        nested: bool,
        programs: Programs,
    ) -> Result<GroupRead, GraphError> {
        let about = self
            .get(&self.url(&format!("v1.0/groups/{group}?$select=id,displayName,securityEnabled")), &[])
            .map_err(error::of_group)?;
        let object = Object::read(&about.document).ok_or(GraphError::PageMalformed("is not JSON"))?;
        let id = object.member("id").and_then(Json::as_text).and_then(|id| id.parse().ok());
        if id != Some(group) {
            return Err(GraphError::PageMalformed("is of another group"));
        }
        let name = object.member("displayName").and_then(Json::as_text).unwrap_or_default();
        let is_security = matches!(object.member("securityEnabled"), Some(Json::Bool(true)));
        let relation = if nested { "transitiveMembers" } else { "members" };
        let version = if programs == Programs::Beta { "beta" } else { "v1.0" };
        let all = format!("{version}/groups/{group}/{relation}");
        let mut members = self.read_pages(&format!("{all}?$select=id&$top=999"), &[])?;
        if programs == Programs::Cast {
            let cast = format!("{all}/microsoft.graph.servicePrincipal?$select=id&$count=true&$top=999");
            members.extend(self.read_pages(&cast, &[("consistencylevel", "eventual")])?);
        }
        if members.len() > MAX_MEMBERS {
            return Err(GraphError::TooManyMembers);
        }
        let name = name.chars().take(MAX_NAME).collect();
        Ok(GroupRead { name, is_security, began_at: about.at, members })
    }

    /// Reads a collection to its last page.
    fn read_pages(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Vec<ObjectId>, GraphError> {
        let mut members = Vec::new();
        let (mut seen, hasher) = (HashSet::new(), RandomState::new());
        let mut url = self.url(path);
        loop {
            let answer = self.get(&url, headers).map_err(error::of_group)?;
            let page = Page::read(&answer.document)?;
            members.extend(page.members);
            if members.len() > MAX_MEMBERS {
                return Err(GraphError::TooManyMembers);
            }
            let Some(next) = page.next else { return Ok(members) };
            if seen.len() >= MAX_PAGES {
                return Err(GraphError::TooManyPages);
            }
            // Links can be long, and there can be many.
            if !seen.insert(hasher.hash_one(std::mem::replace(&mut url, next)))
                || seen.contains(&hasher.hash_one(&url))
            {
                return Err(GraphError::RepeatedPage);
            }
        }
    }
}
