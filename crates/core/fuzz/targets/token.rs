//! A password of any bytes, through the whole straight line. Nobody but the holder of a signed token gets in.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pgaad_core::keys::KeySet;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::token::{RawToken, UnverifiedToken};
use tenant::{Keys, TENANT_ID};

const AUTHORITY: &str = "https://localhost:8443";

static TENANT: LazyLock<Tenant> =
    LazyLock::new(|| Tenant::new(TENANT_ID.parse().expect("a GUID"), Cloud::Public, AUTHORITY.parse().ok()));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let document = Keys::generate(AUTHORITY).jwks().to_string();
    KeySet::import(document.as_bytes(), &TENANT, None).expect("the stand-in's own keys")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = RawToken::new(bytes.to_vec(), 32 * 1024) else { return };
    let Ok(token) = UnverifiedToken::parse(&raw) else { return };
    // The corpus has no signature of these keys, which are new in every run.
    let key = KEYS.find(token.key_name(), &TENANT).unwrap_or(&KEYS.keys()[0]);
    assert!(token.verify_signature(key).is_err());
});
