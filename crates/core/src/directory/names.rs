//! Names, and what has them in the directory.

use std::fmt;

use crate::guid::ObjectId;

/// What is asked of the directory about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameQuestion {
    /// Which user has it as their user principal name: nobody gives that to themselves.
    UserPrincipalName,
    /// Which user has it as their object id, or which program as its application (client) id.
    Id,
    /// What has it at all: any user may register an application or a group and call it as they like.
    Anything,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A program.
    Service,
}

impl fmt::Display for NamedKind {
    /// As labels and Azure's functions call it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Service => "service",
        })
    }
}

/// Something that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is.
    pub kind: NamedKind,
    /// Its object id.
    pub id: ObjectId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_called_as_in_labels() {
        let words = [NamedKind::User, NamedKind::Group, NamedKind::Service].map(|kind| kind.to_string());
        assert_eq!(words, ["user", "group", "service"]);
    }
}
