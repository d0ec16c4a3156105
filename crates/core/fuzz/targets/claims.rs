//! Header and claims of any shape behind a good signature: `header NUL payload`, signed on the fly.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pgaad_core::keys::KeySet;
use pgaad_core::principal::Principal;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::token::{RawToken, UnverifiedToken};
use pgaad_core::verify::{TokenPolicy, verify};
use tenant::{AUDIENCE, Keys, TENANT_ID};

const AUTHORITY: &str = "https://localhost:8443";

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::generate(AUTHORITY));
static SET: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::import(KEYS.jwks().to_string().as_bytes(), &POLICY.tenant, None).expect("the stand-in's own keys")
});
static POLICY: LazyLock<TokenPolicy> = LazyLock::new(|| TokenPolicy {
    tenant: Tenant::new(TENANT_ID.parse().expect("a GUID"), Cloud::Public, AUTHORITY.parse().ok()),
    audiences: vec![AUDIENCE.to_owned()],
    scopes: Vec::new(),
    line_scopes: Vec::new(),
    clock_skew: std::time::Duration::from_secs(300),
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (header, payload) = text.split_once('\0').unwrap_or(("", text));
    let mut token = KEYS.token().raw_payload(payload);
    if !header.is_empty() {
        token = token.raw_header(header);
    }
    let Ok(raw) = RawToken::new(token.mint().into_bytes(), 1 << 20) else { return };
    let Ok(token) = UnverifiedToken::parse(&raw) else { return };
    let Some(key) = SET.find(token.key_name(), &POLICY.tenant) else { return };
    let now = UnixTime::new(1_800_000_000);
    let Ok(verified) = verify(token, key, &POLICY, now) else { return };
    // Whatever is admitted is of our tenant and in time.
    assert!(now < verified.expires_at().plus(POLICY.clock_skew));
    assert!(verified.json().contains(TENANT_ID) || verified.json().contains("\\u"));
    assert_eq!(Principal::from(verified).tenant().to_string(), TENANT_ID);
});
