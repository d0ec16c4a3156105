//! `Port`, `HbaLine` and the functions of libpq's backend side, as bindgen read them from the server's headers.

#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, unreachable_pub)]
#![allow(clippy::all, clippy::restriction, clippy::pedantic, unsafe_op_in_unsafe_fn, dead_code)]

include!(concat!(env!("OUT_DIR"), "/libpq.rs"));
