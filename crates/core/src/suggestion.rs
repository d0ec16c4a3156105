//! Statements for an operator to paste: the one that would bind a role, and names as SQL writes them.
//!
//! A statement that is printed is run by somebody who did not write it. So it is printed only where it is safe to
//! run, as it is: a name that cannot be written plainly gets none.

use std::fmt;

use crate::label::{Binding, Label};
use crate::role_name::MAX_NAME_BYTES;

/// The binding that a token's own name asks for.
///
/// Never made because a token comes for a role: a stranger chooses the role that they ask for. Only where this tenant
/// gave the token's holder the role's name, spelt otherwise; never for a role that has a label, is an administrator's
/// or a superuser, which somebody must bind who knows what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    role: String,
    binding: Binding,
}

impl Suggestion {
    /// The statement that binds the role `name`; `None` where the name cannot be written plainly.
    pub(crate) fn new(name: &str, binding: Binding) -> Option<Self> {
        is_plain(name).then(|| Self { role: name.to_owned(), binding })
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = Label::binding(self.binding);
        write!(f, "SECURITY LABEL FOR pgaadauth ON ROLE \"{}\" IS '{label}';", self.role)
    }
}

/// The statement that makes the role `name` a member of `azure_ad_user`; `None` where the name cannot be written
/// plainly.
pub(crate) fn membership(name: &str) -> Option<String> {
    is_plain(name).then(|| format!("GRANT azure_ad_user TO \"{name}\";"))
}

/// Whether two names are spellings of one user's: of another case, or of a guest, once by their mail address and once
/// as the tenant that invited them calls them.
pub(crate) fn is_same_user(one: &str, other: &str) -> bool {
    let mail = |name: &str| mail_of_guest(name).unwrap_or_else(|| name.to_owned());
    mail(one).eq_ignore_ascii_case(&mail(other))
}

/// `bob@partner.com` for `bob_partner.com#EXT#@example.onmicrosoft.com`. Where there is another `_`, several addresses
/// have that name, and it is nobody's.
fn mail_of_guest(name: &str) -> Option<String> {
    let at = name.to_ascii_uppercase().find("#EXT#@")?;
    let (local, _) = name.split_at_checked(at)?;
    let (user, domain) = local.split_once('_')?;
    (!user.is_empty() && !domain.is_empty() && !domain.contains('_') && !local.contains('@'))
        .then(|| format!("{user}@{domain}"))
}

/// Whether a name can stand in a statement that ends a line of the log: it needs no escape, and neither a blank nor `=`
/// is in it, so that no part of it can be taken for a fact of the line.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._-#+'!^~".contains(c);
    !name.is_empty() && name.len() < MAX_NAME_BYTES && name.chars().all(is_plain)
}

/// A role's name as an SQL identifier that can be pasted; `None` where it holds what does not show, such as control
/// characters and direction marks, or is longer than any name.
pub(crate) fn identifier(name: &str) -> Option<String> {
    let shows = |c: char| matches!(c, ' '..='~') || c.is_alphanumeric();
    (!name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(shows))
        .then(|| format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_the_same_but_for_case_and_for_the_spelling_of_a_guest() {
        let guest = "bob_partner.com#EXT#@example.onmicrosoft.com";
        for (one, other) in [
            ("Bob@Example.com", "bob@example.com"),
            (guest, "bob@partner.com"),
            (guest, "BOB@partner.com"),
            (guest, "bob_partner.com#ext#@Example.onmicrosoft.com"),
        ] {
            assert!(is_same_user(one, other) && is_same_user(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("bob@example.com", "alice@example.com"),
            // The sign of Kelvin, whose small letter is k.
            ("\u{212a}im@example.com", "kim@example.com"),
            (guest, "bob@partner.com.evil"),
            (guest, "bob_partner.com"),
            // Of x_a@b.com and of x@a_b.com.
            ("x_a_b.com#EXT#@example.onmicrosoft.com", "x_a@b.com"),
            ("x_a_b.com#EXT#@example.onmicrosoft.com", "x@a_b.com"),
            ("a@b_c.com#EXT#@example.onmicrosoft.com", "a@b@c.com"),
            ("#EXT#@example.onmicrosoft.com", "@"),
        ] {
            assert!(!is_same_user(one, other) && !is_same_user(other, one), "{one} {other}");
        }
    }

    #[test]
    fn an_identifier_doubles_quotes_and_there_is_none_for_what_does_not_show() {
        assert_eq!(identifier("a\"b c\\").as_deref(), Some("\"a\"\"b c\\\""));
        assert_eq!(identifier("zoë").as_deref(), Some("\"zoë\""));
        for name in ["", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{7f}", &"x".repeat(64)] {
            assert_eq!(identifier(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_could_be_taken_for_facts_of_a_line_is_not_plain() {
        assert!(is_plain("o'brien_partner.com#EXT#@example.com"));
        for name in ["a b", "a=b", "a\"b", "a\\b", "a;b", "zoë", "a\nb", "", &"x".repeat(63)] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
