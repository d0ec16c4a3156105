//! By which rule a role belongs to the holder of a token.

use std::fmt;

use crate::log_line::{Fact, LogLine};
use crate::time::UnixTime;

/// The rule that bound the token to the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The label's object (or client) id.
    Id,
    /// The label's group id, found in the token's `groups`.
    Group,
    /// The label's group id, of whose members the directory knows the principal as one.
    Directory {
        /// When the run began that found it.
        began_at: UnixTime,
    },
    /// The label's app role, found in the token's `roles`.
    AppRole,
    /// The role's name.
    Name,
    /// The role's name, found in the token's `groups`.
    GroupName,
}

impl Rule {
    /// What the log says of the rule beyond its name.
    pub(crate) fn facts(self, now: UnixTime) -> Vec<Fact> {
        let line = LogLine::new("");
        let line = match self {
            Self::Directory { began_at } => line.fact("directory_age_s", now.since(began_at)),
            _ => line,
        };
        line.into_facts()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "id",
            Self::Group => "group",
            Self::Directory { .. } => "directory",
            Self::AppRole => "app_role",
            Self::Name => "name",
            Self::GroupName => "group_name",
        })
    }
}
