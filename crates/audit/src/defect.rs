//! What a check finds.

/// The end of a hint that changes a setting: has the server read it.
pub(crate) const RELOAD: &str = "SELECT pg_reload_conf();";

/// Something that is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// What was found.
    pub detail: String,
    /// What to do, to be pasted where it is a line or a statement.
    pub hint: String,
}

impl Defect {
    /// A defect.
    pub fn new(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { detail: detail.into(), hint: hint.into() }
    }
}
