//! What a check finds.

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
