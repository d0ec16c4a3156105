//! Text on its way to SQL and from SQL.
//!
//! Inside this library text is UTF-8. Between PostgreSQL and its database everything is in the database's encoding,
//! and core does not look at the bytes that a function returns or raises: UTF-8 in a database of another encoding is
//! corruption. So functions for SQL return [`TextToSql`], [`NameToSql`] and [`JsonToSql`] and take [`TextFromSql`],
//! never `String` or `&str`, and what `report` raises is converted, too.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use pgaad_core::role_name::{self, raw_char};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, UnboxDatum};
use pgrx::nullable::Nullable;
use pgrx::prelude::*;
use pgrx::{
    FromDatum, IntoDatum, direct_function_call_as_datum, impl_sql_translatable, rust_byte_slice_to_bytea,
};
use serde_json::{Map, Value};

use super::encoding::{decode, encode, encode_exactly, is_valid};
use super::report::SqlError;

/// Text for SQL: UTF-8 until it is handed over, then in the database's encoding. What that
/// cannot hold is replaced visibly.
#[derive(Clone, Debug)]
pub(crate) struct TextToSql(String);

impl From<String> for TextToSql {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for TextToSql {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl IntoDatum for TextToSql {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        text_datum(&encode(&self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

/// A role name for SQL: the bytes that the catalog has, so that it equals `pg_roles.rolname` in every database. Where
/// these are no text in the database's encoding, those that are not ASCII are written as `\xfc`.
#[derive(Clone, Debug)]
pub(crate) struct NameToSql(Vec<u8>);

impl NameToSql {
    /// A name that [`role_name::from_bytes`] made text of.
    pub(crate) fn new(name: &str) -> Self {
        Self(role_name::to_bytes(name))
    }
}

impl From<TextFromSql> for NameToSql {
    fn from(text: TextFromSql) -> Self {
        Self(text.0)
    }
}

impl IntoDatum for NameToSql {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        if is_valid(&self.0) {
            return text_datum(&self.0);
        }
        let ascii: String = self
            .0
            .iter()
            .map(|&byte| if byte.is_ascii() { char::from(byte) } else { raw_char(byte) })
            .collect();
        TextToSql(ascii).into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

/// Bytes that are text in the database's encoding, as a `text` in the current memory context.
fn text_datum(bytes: &[u8]) -> Option<pg_sys::Datum> {
    // A `text` and a `bytea` are alike: a length and bytes (c.h).
    rust_byte_slice_to_bytea(bytes).into_datum()
}

/// A JSON object for SQL, in the database's encoding: JSON text that [`json_object`] made.
#[derive(Debug)]
pub(crate) struct JsonToSql(Cow<'static, CStr>);

impl From<&'static CStr> for JsonToSql {
    fn from(json: &'static CStr) -> Self {
        Self(json.into())
    }
}

impl From<CString> for JsonToSql {
    fn from(json: CString) -> Self {
        Self(json.into())
    }
}

impl IntoDatum for JsonToSql {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: jsonb_in reads a NUL-terminated string.
        unsafe { direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(self.0.as_ptr().into())]) }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

/// An object of those members that the database's encoding can hold, name and value, as JSON text in that encoding.
pub(crate) fn json_object(members: Map<String, Value>) -> Option<CString> {
    let encoded: Vec<_> = members
        .into_iter()
        .filter(|(_, value)| !holds_nul(value))
        .filter_map(|(name, value)| {
            let (name, value) = (serde_json::to_string(&name).ok()?, serde_json::to_string(&value).ok()?);
            encode_exactly(&format!("{name}:{value}"))
        })
        .collect();
    CString::new([b"{".as_slice(), &encoded.join(&b','), b"}"].concat()).ok()
}

/// Whether a value holds U+0000, which jsonb cannot (jsonfuncs.c, `\u0000 cannot be converted to text`).
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Most bytes that a function of ours takes: names and tokens are much shorter. Rust ends the process, and with it all
/// sessions of the server, where there is no memory for a copy.
const MAX_BYTES: usize = 1024 * 1024;

/// Text from SQL, in the database's encoding, at most [`MAX_BYTES`].
#[derive(Clone, Debug)]
pub(crate) struct TextFromSql(Vec<u8>);

impl TextFromSql {
    /// As UTF-8, see [`decode`].
    pub(crate) fn text(&self) -> String {
        decode(&self.0)
    }

    /// The bytes as they are: a role name for the catalog.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromDatum for TextFromSql {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        type_oid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: a `text`, as declared, whose size can be told wherever it is stored.
        if !is_null && unsafe { pg_sys::toast_raw_datum_size(datum) } > MAX_BYTES {
            SqlError {
                code: PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                message: "the text is too long".to_owned(),
                hint: "A role name or a token is far shorter than 1 MB.".into(),
            }
            .raise();
        }
        // SAFETY: as above; pgrx takes it out of line and copies its bytes, whatever they are.
        unsafe { Vec::<u8>::from_polymorphic_datum(datum, is_null, type_oid) }.map(Self)
    }
}

// SAFETY: a copy, which borrows nothing from the datum.
unsafe impl UnboxDatum for TextFromSql {
    type As<'src> = Self;

    unsafe fn unbox<'src>(datum: Datum<'src>) -> Self
    where
        Self: 'src,
    {
        // SAFETY: an element of an array of `text`, never null: pgrx does not ask for those that are.
        let text = unsafe { Self::from_datum(datum.sans_lifetime(), false) };
        text.unwrap_or_else(|| Self(Vec::new()))
    }
}

// SAFETY: the argument is a `text`, as the generated SQL declares it.
unsafe impl<'fcx> ArgAbi<'fcx> for TextFromSql {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above. Functions with such an argument are strict, so it is never null.
        let text = unsafe { arg.unbox_arg_using_from_datum() };
        text.unwrap_or_else(|| Self(Vec::new()))
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

macro_rules! returned_to_sql {
    ($($type:ty),*) => {
        $(
            // SAFETY: a datum of the type that the generated SQL declares, in the memory context of the caller.
            unsafe impl BoxRet for $type {
                unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                    match self.into_datum() {
                        // SAFETY: as above.
                        Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                        None => fcinfo.return_null(),
                    }
                }
            }
        )*
    };
}

returned_to_sql!(TextToSql, NameToSql, JsonToSql);

impl_sql_translatable!(TextToSql, "TEXT");
impl_sql_translatable!(NameToSql, "TEXT");
impl_sql_translatable!(JsonToSql, "jsonb");
impl_sql_translatable!(TextFromSql, "TEXT");
