//! A key document of any bytes: whatever is imported keeps the documented bounds.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pgaad_core::keys::{KeySet, MAX_KEYS};
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::keys::KeyName;
use tenant::TENANT_ID;

static TENANT: LazyLock<Tenant> = LazyLock::new(|| {
    Tenant::new(TENANT_ID.parse().expect("a GUID"), Cloud::Public, "https://localhost:8443".parse().ok())
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = KeySet::import(bytes, &TENANT, Some("microsoftonline.com")) else { return };
    assert!((1..=MAX_KEYS).contains(&set.keys().len()));
    for key in set.keys() {
        assert!((2048..=8192).contains(&key.bits()));
        assert!(!key.kid().is_empty() && key.kid().len() <= 128);
        assert!(matches!(key.exponent(), [3] | [1, 0, 1]));
        let is_ours = key.signs_for(&TENANT).is_ok();
        let same = set.keys().iter().filter(|other| other.kid() == key.kid());
        assert_eq!(same.filter(|other| other.signs_for(&TENANT).is_ok() == is_ours).count(), 1);
        // A token that names it means it, or one of ours.
        let found = set.find(KeyName::Kid(key.kid()), &TENANT).expect("it is in the set");
        assert!(found == key || (!is_ours && found.signs_for(&TENANT).is_ok()));
    }
});
