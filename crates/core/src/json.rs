//! JSON read strictly: RFC 8259, and no object may name a member twice (RFC 7515 §4, RFC 7519 §4).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value that borrows its text from the document where it can.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number written without fraction and exponent that fits; any other is `Other`.
    Integer(i64),
    /// Any other number: fractions, exponents, `-0`, beyond 64 bits signed. Nothing here wants one.
    OtherNumber,
    /// A text without U+0000.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// The members of an object, in the order of the document, no name twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Where a document is not JSON any more, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The number of the byte, from 1, at which that was clear.
    pub offset: usize,
    /// In the parser's words, which quote nothing of the document.
    pub why: String,
}

/// What keeps a document from being read as [`Json`]; `None` if nothing does.
pub fn error_of(document: &[u8]) -> Option<JsonError> {
    let error = serde_json::from_slice::<Json<'_>>(document).err()?;
    let lines = document.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let said = error.to_string();
    let why = said.split(" at line ").next().unwrap_or_default().to_owned();
    Some(JsonError { offset: before.saturating_add(error.column()), why })
}

impl<'a> Object<'a> {
    /// Reads a whole document that must be one object: UTF-8 without BOM, nothing after it but white space.
    pub fn read(document: &'a [u8]) -> Option<Self> {
        match serde_json::from_slice(document) {
            Ok(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The names of its members, in the order of the document.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }
}

impl<'a> Json<'a> {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&[Json<'a>]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members and without U+0000")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        // Only an escaped text can hold U+0000. PostgreSQL's text and jsonb cannot (jsonfuncs.c,
        // `\u0000 cannot be converted to text`), so a claim with one could never be shown.
        if text.contains('\0') {
            return Err(E::custom("U+0000 in a string"));
        }
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some(MemberName(name)) = access.next_key()? {
            members.push((name, access.next_value()?));
        }
        // Sorting references keeps the search for duplicates n·log n however many members there are.
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [one, next] if one == next)) {
            return Err(A::Error::custom("a member is named twice"));
        }
        Ok(Json::Object(Object(members)))
    }
}

/// A member's name after unescaping, so that `"a"` and `"\u0061"` are the same.
struct MemberName<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(StrictVisitor)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a member name is a string")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_named_twice_are_refused_at_every_depth_and_however_they_are_escaped() {
        assert!(Object::read(br#"{"a":1,"b":[{"c":1,"d":1}]}"#).is_some());
        assert!(Object::read(br#"{"a":1,"a":1}"#).is_none());
        assert!(Object::read(br#"{"a":1,"\u0061":1}"#).is_none());
        assert!(Object::read(br#"{"a":1,"b":[{"c":1,"c":1}]}"#).is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (document, offset, why) in [
            ("{\"a\" 1}", 6, "expected `:`"),
            ("{\n\"a\":1,\n\"b\":x}", 14, "expected value"),
            ("{\"a\":[1,2", 9, "EOF while parsing a list"),
            ("{\"a\":1,\"a\":1}", 13, "a member is named twice"),
            ("{\"a\":1} x", 9, "trailing characters"),
            ("", 0, "EOF while parsing a value"),
        ] {
            assert_eq!(
                error_of(document.as_bytes()),
                Some(JsonError { offset, why: why.to_owned() }),
                "{document}"
            );
        }
        assert_eq!(error_of(b"[{}]"), None);
    }

    #[test]
    fn a_number_that_is_not_a_plain_integer_is_not_taken_for_one() {
        for text in ["1.0", "1e3", "-0", "-0.0", "9223372036854775808"] {
            let document = format!("{{\"n\":{text}}}");
            let object = Object::read(document.as_bytes()).unwrap();
            assert_eq!(object.member("n"), Some(&Json::OtherNumber), "{text}");
        }
    }

    #[test]
    fn an_escaped_nul_is_refused() {
        assert!(Object::read(br#"{"n":"\u0001"}"#).is_some());
        assert!(Object::read(br#"{"n":"\u0000"}"#).is_none());
    }

    #[test]
    fn only_an_object_is_a_document() {
        for text in ["[]", "1", "null", "\"a\"", "", "{} {}", "\u{feff}{}"] {
            assert!(Object::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
