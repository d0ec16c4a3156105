//! What is documented of a refusal's code.

use crate::steps::Step;

/// What is documented of a code.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The code itself.
    pub name: &'static str,
    /// The step that it belongs to.
    pub step: Step,
    /// What it means; begins with a space.
    pub meaning: &'static str,
    /// What to do.
    pub advice: &'static str,
}
