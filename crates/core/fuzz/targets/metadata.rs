//! OpenID metadata of any bytes: whatever is accepted sends the worker nowhere but to the authority.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_provider::Metadata;
use tenant::TENANT_ID;

static TENANT: LazyLock<Tenant> = LazyLock::new(|| {
    Tenant::new(TENANT_ID.parse().expect("a GUID"), Cloud::Public, "https://localhost:8443".parse().ok())
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(metadata) = Metadata::read(bytes, &TENANT) else { return };
    assert!(metadata.jwks_uri().len() <= 2048);
    assert!(TENANT.may_have_keys_at(metadata.jwks_uri()));
    assert!(metadata.cloud().is_none_or(|cloud| (1..=2048).contains(&cloud.len())));
    let text = std::str::from_utf8(bytes).expect("JSON is UTF-8");
    // The issuer may be spelt with escapes, and then not stand there as it is.
    assert!(text.contains(&TENANT.v2_issuer()) || text.contains('\\'));
});
