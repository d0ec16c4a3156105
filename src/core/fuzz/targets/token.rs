//! A password of any bytes, through the whole straight line. Nobody but the holder of a signed token gets in.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pgaad_core::keys::KeySet;
use pgaad_core::token::{RawToken, UnverifiedToken};
use tenant::Keys;

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let document = Keys::generate("https://localhost:8443").jwks().to_string();
    KeySet::import(document.as_bytes()).expect("the stand-in's own keys")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = RawToken::new(bytes.to_vec(), 32 * 1024) else { return };
    let Ok(token) = UnverifiedToken::parse(&raw) else { return };
    // The corpus has no signature of these keys, which are new in every run.
    let key = KEYS.find(token.key_name()).unwrap_or(&KEYS.keys()[0]);
    assert!(token.verify_signature(key).is_err());
});
