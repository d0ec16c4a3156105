//! A key document of any bytes: whatever is imported keeps the documented bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgaad_core::keys::{KeySet, MAX_KEYS};

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = KeySet::import(bytes) else { return };
    assert!((1..=MAX_KEYS).contains(&set.keys().len()));
    for key in set.keys() {
        assert!((2048..=8192).contains(&key.bits()));
        assert!(!key.kid().is_empty() && key.kid().len() <= 128);
        assert!(matches!(key.exponent(), [3] | [1, 0, 1]));
        assert_eq!(set.keys().iter().filter(|other| other.kid() == key.kid()).count(), 1);
    }
});
