//! What a row of the table of reasons makes.

/// The facts of a variant that has some; the line as it is for one that has none.
macro_rules! with_facts {
    ($line:ident) => {
        $line
    };
    ($line:ident, $name:ident, $facts:expr) => {{
        let $name = $line;
        $facts
    }};
}

/// One row for each reason: what it means, its fields, the step that it belongs to, its code, what to do, and how its
/// fields are written to the log. A field that is not written there does not compile.
macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $variant:ident $({ $($(#[$field_doc:meta])* $field:ident : $type:ty),+ $(,)? })?
        => $step:expr, $code:literal, $advice:literal $(, |$line:ident| $facts:expr)?; )+) => {
        /// Why a login was refused. Carries typed facts, never a piece of a token's text; claims only of tokens
        /// whose signature was good, and of others the name of the key.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Reason {
            $( $(#[doc = $doc])+ $variant $({ $($(#[$field_doc])* $field: $type),+ })?, )+
        }

        impl Reason {
            /// The stable name of the refusal, for logs, views and documents. Never renamed.
            pub const fn code(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $code, )+ }
            }

            /// The step of the straight line that it belongs to.
            pub const fn step(&self) -> Step {
                match self { $( Self::$variant { .. } => $step, )+ }
            }

            /// Adds the facts to a log line, except those that the token's subject has anyway.
            #[must_use]
            #[deny(unused_variables)]
            pub fn facts(&self, line: LogLine) -> LogLine {
                match self {
                    $( Self::$variant { $($($field),+)? } => with_facts!(line $(, $line, $facts)?), )+
                }
            }

            /// All codes with their meaning and what to do, in the order of the straight line: the
            /// source of `docs/codes.md`.
            pub const CODES: &'static [Code] = &[
                $( Code { name: $code, step: $step, meaning: concat!($($doc),+), advice: $advice }, )+
            ];
        }
    };
}

pub(super) use {reasons, with_facts};
