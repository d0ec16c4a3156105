//! App roles: what an application's owner assigns to users, groups and programs, and tokens carry in `roles`
//! (<https://learn.microsoft.com/entra/identity-platform/howto-add-app-roles-in-apps>).

use std::fmt;
use std::str::FromStr;

use crate::guid::ClientId;
use crate::inline::Inline;
use crate::tenant::Cloud;

/// Most bytes of a value (Microsoft Graph, `appRole`, `value`: "must not exceed 120 characters").
const MAX_BYTES: usize = 120;

/// The `value` of an app role: printable ASCII without blanks, quotes and backslashes: Entra allows none in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppRole(Inline<MAX_BYTES>);

/// A text that no app role has for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAppRole;

impl FromStr for AppRole {
    type Err = NotAnAppRole;

    fn from_str(text: &str) -> Result<Self, NotAnAppRole> {
        let is_allowed = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        let value = Inline::new(text.as_bytes()).filter(|_| !text.is_empty() && text.chars().all(is_allowed));
        value.map(Self).ok_or(NotAnAppRole)
    }
}

impl AppRole {
    /// The value.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for AppRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether all these audiences are names of one application, and not one that Azure and other servers share: only then
/// are the app roles of a token those that the application's owner has assigned.
pub fn are_of_one_application(audiences: &[String]) -> bool {
    let mut names = audiences.iter().map(|audience| application(audience));
    let Some(first) = names.next() else { return false };
    audiences.iter().all(|audience| Cloud::of_default_audience(audience).is_none())
        && names.all(|name| name == first)
}

/// The application that an audience names: its client id and `api://` with it are the same one.
fn application(audience: &str) -> String {
    let bare = audience.trim_end_matches('/');
    let id = bare.strip_prefix("api://").unwrap_or(bare);
    id.parse::<ClientId>().map_or_else(|_| bare.to_owned(), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_entra_lets_one_be() {
        for value in ["Reader", "db.read:all", "a=b,c", &"r".repeat(120)] {
            assert_eq!(value.parse::<AppRole>().unwrap().as_str(), value);
        }
        for text in ["", "two words", "\"quoted\"", "back\\slash", "zoë", "tab\t", &"r".repeat(121)] {
            assert_eq!(text.parse::<AppRole>(), Err(NotAnAppRole), "{text}");
        }
    }

    #[test]
    fn an_application_has_a_client_id_and_uris_and_azures_own_is_nobodys() {
        const ID: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
        const OTHER: &str = "6a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
        let are = |audiences: &[&str]| {
            let audiences =
                audiences.iter().map(|audience| audience.replace("ID", ID).replace("OTHER", OTHER));
            are_of_one_application(&audiences.collect::<Vec<_>>())
        };
        for one in [
            &["ID"][..],
            &["api://ID"],
            &["api://ID", "ID"],
            &["api://ID/", "ID", "api://ID"],
            &["api://pgaad"],
        ] {
            assert!(are(one), "{one:?}");
        }
        for several in [
            &[][..],
            &["ID", "OTHER"],
            &["api://ID", "OTHER"],
            &["api://pgaad", "ID"],
            &["https://ossrdbms-aad.database.windows.net"],
            &["123cd850-d9df-40bd-94d5-c9f07b7fa203"],
            &["ID", "https://ossrdbms-aad.database.windows.net/"],
            &["https://ossrdbms-aad.database.chinacloudapi.cn"],
        ] {
            assert!(!are(several), "{several:?}");
        }
    }
}
