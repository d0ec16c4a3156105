//! The body of a password message: everything before its one NUL, or nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgaad_core::packet;

fuzz_target!(|body: &[u8]| {
    match packet::password(body) {
        Some(password) => assert_eq!([password, &[0]].concat(), body),
        None => assert!(body.iter().filter(|byte| **byte == 0).count() != 1 || body.last() != Some(&0)),
    }
});
