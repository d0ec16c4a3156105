//! GUIDs, and the three kinds of thing that Entra names with one.

use std::fmt;
use std::str::FromStr;

/// A 128-bit id in its usual text form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
///
/// Read in either case, without braces; printed in lower case as Entra prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

/// The text is not a GUID in the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAGuid;

impl fmt::Display for NotAGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a GUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
    }
}

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let mut groups = text.split('-');
        let mut digits = [0_u8; 32];
        let mut free = digits.as_mut_slice();
        for length in [8, 4, 4, 4, 12] {
            let group = groups.next().ok_or(NotAGuid)?;
            let (here, rest) = free.split_at_mut_checked(length).ok_or(NotAGuid)?;
            if group.len() != length {
                return Err(NotAGuid);
            }
            here.copy_from_slice(group.as_bytes());
            free = rest;
        }
        if groups.next().is_some() {
            return Err(NotAGuid);
        }
        let mut bytes = [0_u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(NotAGuid)?;
                *byte = (*byte << 4) | u8::try_from(value).map_err(|_| NotAGuid)?;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Guid {
    /// The bytes, in the order in which they are printed.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Defines a GUID of one kind, so that two ids that look alike cannot be mixed up.
macro_rules! guid_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Guid);

        impl $name {
            /// The id of these bytes, in the order in which they are printed.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Guid(bytes))
            }

            /// The bytes, in the order in which they are printed.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }
        }

        impl FromStr for $name {
            type Err = NotAGuid;

            fn from_str(text: &str) -> Result<Self, NotAGuid> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

guid_of! {
    /// The id of a tenant: the `tid` claim, `pgaad.tenant_id`.
    TenantId
}
guid_of! {
    /// The id of a user, group, service principal or managed identity: the `oid` claim, an entry of `groups`.
    ObjectId
}
guid_of! {
    /// The application (client) id of a program: the `appid` (v1) or `azp` (v2) claim.
    ClientId
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "123cd850-d9df-40bd-94d5-c9f07b7fa203";

    #[test]
    fn a_guid_prints_as_entra_writes_it_whatever_case_it_was_read_in() {
        assert_eq!(TEXT.to_uppercase().parse::<Guid>().unwrap().to_string(), TEXT);
    }

    #[test]
    fn anything_but_the_five_groups_of_hex_digits_is_no_guid() {
        for text in [
            "",
            "common",
            "123cd850d9df40bd94d5c9f07b7fa203",
            "{123cd850-d9df-40bd-94d5-c9f07b7fa203}",
            "123cd850-d9df-40bd-94d5-c9f07b7fa20",
            "123cd850-d9df-40bd-94d5-c9f07b7fa2033",
            "123cd850-d9df-40bd-94d5-c9f07b7fa203-",
            "123cd850-d9df-40bd-94d5-c9f07b7fa20g",
            "123cd850-d9df-40bd-94d5-c9f07b7fa20\u{e9}",
            "123cd85-0d9df-40bd-94d5-c9f07b7fa203",
            " 123cd850-d9df-40bd-94d5-c9f07b7fa203",
            "+23cd850-d9df-40bd-94d5-c9f07b7fa203",
        ] {
            assert_eq!(text.parse::<Guid>(), Err(NotAGuid), "{text}");
        }
        assert!(NotAGuid.to_string().starts_with("not a GUID of the form "));
    }
}
