//! Header and claims of any shape behind a good signature: `header NUL payload`, signed on the fly.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pgaad_core::admit::AdmitPolicy;
use pgaad_core::decide::{Known, Policy, decide};
use pgaad_core::deny::DenyList;
use pgaad_core::directory::DirectoryFacts;
use pgaad_core::keys::KeySet;
use pgaad_core::label::Binding;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use tenant::{AUDIENCE, Keys, TENANT_ID};

const AUTHORITY: &str = "https://localhost:8443";

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::generate(AUTHORITY));
static SET: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::import(KEYS.jwks().to_string().as_bytes(), &POLICY.tenant, None).expect("the stand-in's own keys")
});
static POLICY: LazyLock<TokenPolicy> = LazyLock::new(|| TokenPolicy {
    tenant: Tenant::new(TENANT_ID.parse().expect("a GUID"), Cloud::Public, AUTHORITY.parse().ok()),
    others: Vec::new(),
    is_home: true,
    audiences: vec![AUDIENCE.to_owned()],
    scopes: Vec::new(),
    line_scopes: Vec::new(),
    clock_skew: std::time::Duration::from_secs(300),
});

static ROLE: LazyLock<RoleFacts> = LazyLock::new(|| RoleFacts {
    oid: 16_384,
    name: "alice@example.com".to_owned(),
    binding: Binding::Name,
    is_labelled: false,
    label_tenant: None,
    is_member: true,
    is_admin: false,
    needs_mfa: false,
    can_login: true,
    is_superuser: false,
    valid_until: None,
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (header, payload) = text.split_once('\0').unwrap_or(("", text));
    let mut token = KEYS.token().raw_payload(payload);
    if !header.is_empty() {
        token = token.raw_header(header);
    }
    let now = UnixTime::new(1_800_000_000);
    let admit = AdmitPolicy { name_match: true, group_name_match: true, app_roles: true, ..AdmitPolicy::STRICT };
    let policy = Policy { max_bytes: 1 << 20, token: &POLICY, admit };
    let directory = DirectoryFacts::default();
    let denied = DenyList::default();
    let mut known = Known { keys: &SET, role: Some(&*ROLE), directory: &directory, denied: &denied, now };
    let Ok(admission) = decide(token.mint().into_bytes(), &policy, &mut known) else { return };
    // Whatever is admitted is of our tenant, in time, and the role's.
    assert!(now < admission.expires_at().plus(POLICY.clock_skew));
    assert!(admission.claims().contains(TENANT_ID) || admission.claims().contains("\\u"));
    assert_eq!(admission.principal().tenant().to_string(), TENANT_ID);
    assert_eq!(admission.role_oid(), ROLE.oid);
});
