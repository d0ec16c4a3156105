//! What is wrong with the server around the decision: found in its files and settings.

/// Something that is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Which check found it; stable.
    pub item: &'static str,
    /// What was found.
    pub detail: String,
    /// What to do, to be pasted where it is a line or a statement.
    pub hint: String,
}

impl Defect {
    /// A defect.
    pub fn new(item: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { item, detail: detail.into(), hint: hint.into() }
    }
}
