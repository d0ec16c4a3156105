//! Why a key, or a whole key set, does not count.

use std::fmt;

/// Why one key of a set does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The entry is no JSON object, or a member has the wrong type or too many bytes.
    Malformed,
    /// No `kid`, an empty one, or one of more than 128 bytes.
    NoKeyId,
    /// `kty` is not `RSA`; `oct` and elliptic curves among others.
    NotRsa,
    /// The entry carries private or symmetric parts (`d`, `p`, `k`, …): a leaked key must not be used.
    PrivateParts,
    /// `use`, `key_ops` or `alg` say that it is not for verifying RS256.
    WrongPurpose,
    /// The modulus is even, has a leading zero, or not 2048 to 8192 bits.
    WeakModulus,
    /// The exponent is neither 3 nor 65537.
    WrongExponent,
    /// The modulus has the ROCA fingerprint (CVE-2017-15361): its private key can be computed.
    Roca,
    /// Another key of the set that could sign for the same tenant has the same `kid` or `x5t` and different numbers:
    /// neither counts.
    Ambiguous,
}

impl fmt::Display for KeyError {
    /// The end of a sentence about the entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "has a member of the wrong type or length",
            Self::NoKeyId => "has no kid, or one of more than 128 bytes",
            Self::NotRsa => "is not RSA",
            Self::PrivateParts => "holds private parts, which must not be published",
            Self::WrongPurpose => "is not for verifying RS256 (use, key_ops, alg)",
            Self::WeakModulus => {
                "has a modulus n that is not of 2048 to 8192 bits in base64url without padding"
            }
            Self::WrongExponent => "has an exponent e that is neither 3 nor 65537",
            Self::Roca => "has the ROCA weakness (CVE-2017-15361)",
            Self::Ambiguous => "shares its kid or x5t with another key",
        })
    }
}

/// Why a whole document is no usable key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`, or a member named twice anywhere.
    Malformed,
    /// More entries than a set may have.
    TooManyKeys,
    /// A key set without entries, or with none that passed the checks: what is wrong with each.
    NoUsableKey(Vec<KeyError>),
}

impl KeySetError {
    /// A stable name for logs and `pgaad.status`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "keys_malformed",
            Self::TooManyKeys => "keys_too_many",
            Self::NoUsableKey(_) => "keys_unusable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_ends_a_sentence_about_the_entry_in_its_own_words() {
        use KeyError::*;
        let errors = [
            Malformed,
            NoKeyId,
            NotRsa,
            PrivateParts,
            WrongPurpose,
            WeakModulus,
            WrongExponent,
            Roca,
            Ambiguous,
        ];
        let mut words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let is_verb =
            |text: &String| ["has ", "is ", "holds ", "shares "].iter().any(|verb| text.starts_with(verb));
        assert!(words.iter().all(is_verb), "{words:?}");
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), errors.len());
    }
}
