//! What can be wrong with a label.

use std::fmt;

/// Which part of a label is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelError {
    /// The label does not begin with `aadauth`.
    NotAadauth,
    /// A part that the grammar does not have, white space included.
    UnknownPart(String),
    /// A part that is there twice.
    Repeated(&'static str),
    /// A part that must be there and is not.
    Missing(&'static str),
    /// A value that is not a GUID.
    NotAGuid {
        /// The part.
        part: &'static str,
        /// Its value.
        value: String,
    },
    /// A `type` that does not exist.
    UnknownType(String),
    /// A `role` that no app role has for its value, or that needs quotes.
    NotAnAppRole(String),
    /// Two parts that do not go together.
    Excluded(&'static str, &'static str),
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAadauth => f.write_str("the label must begin with \"aadauth\""),
            Self::UnknownPart(part) => write!(
                f,
                "\"{part}\" is none of oid=…, type=…, role=…, tenant=…, admin, mfa \
                 (parts are separated by commas without spaces)"
            ),
            Self::Repeated(part) => write!(f, "\"{part}\" is there twice"),
            Self::Missing(part) => write!(f, "\"{part}\" is missing"),
            Self::NotAGuid { part, value } => {
                write!(f, "{part}: \"{value}\" is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
            }
            Self::NotAnAppRole(value) => write!(
                f,
                "role: {value} is not the value of an app role, or lacks double quotes around a comma or \"=\""
            ),
            Self::Excluded(one, other) => write!(f, "\"{one}\" and \"{other}\" do not go together"),
            Self::UnknownType(kind) => write!(f, "type: \"{kind}\" is none of user, group, service"),
        }
    }
}

impl std::error::Error for LabelError {}
