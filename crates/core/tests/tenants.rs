//! Several tenants: whatever of one is put beside something of another opens nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod login;

use std::time::Duration;

use login::{FORGE, Forge, NOW, OTHER_FORGE, alice, token};
use pgaad_core::Reason;
use pgaad_core::admit::AdmitPolicy;
use pgaad_core::decide::{Admission, Policy, Surroundings, decide};
use pgaad_core::deny::DenyList;
use pgaad_core::directory::DirectoryFacts;
use pgaad_core::explain::{Context, explain, measure};
use pgaad_core::guid::TenantId;
use pgaad_core::keys::{KeyName, KeySet, SigningKey};
use pgaad_core::label::Binding;
use pgaad_core::principal::Principal;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::steps::Step;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use serde_json::json;
use tenant::{AUDIENCE, TENANT_ID, object_id};

const AUTHORITY: &str = "https://localhost:8443";
const OTHER_ID: &str = "0d4f2c6b-5f0e-4a3c-9b8d-7e6f5a4b3c2d";
const STRANGE_ID: &str = "1e5a3d7c-6a1f-4b4d-8c9e-8f7a6b5c4d3e";
const ALICE: &str = "alice@example.com";

fn tenant_of(id: &str) -> Tenant {
    Tenant::new(id.parse().unwrap(), Cloud::Public, Some(AUTHORITY.parse().unwrap()))
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        tenant: tenant_of(TENANT_ID),
        others: vec![tenant_of(OTHER_ID)],
        is_home: true,
        audiences: vec![AUDIENCE.to_owned()],
        scopes: Vec::new(),
        line_scopes: Vec::new(),
        clock_skew: Duration::ZERO,
    }
}

const ADMIT: AdmitPolicy =
    AdmitPolicy { name_match: true, group_name_match: true, app_roles: true, ..AdmitPolicy::STRICT };

/// The keys of each tenant: one each, of the same name.
struct Keys {
    role: RoleFacts,
}

/// The tenant's own key set. `issuer` is what its key says of whom it signs for.
fn key_set(tenant: &Tenant, issuer: &str) -> KeySet {
    let forge = if tenant.id() == TENANT_ID.parse().unwrap() { &FORGE } else { &OTHER_FORGE };
    let mut key = forge.jwk();
    key["issuer"] = issuer.into();
    KeySet::import(json!({ "keys": [key] }).to_string().as_bytes(), tenant, None).unwrap()
}

impl Surroundings for Keys {
    fn key(&mut self, name: KeyName<'_>, tenant: &Tenant) -> Result<SigningKey, Reason> {
        Ok(*key_set(tenant, tenant.v2_issuer()).find(name, tenant).unwrap())
    }

    fn role(&mut self) -> Result<Option<RoleFacts>, Reason> {
        Ok(Some(self.role.clone()))
    }

    fn directory(&mut self, _: &Principal, _: &RoleFacts) -> DirectoryFacts {
        DirectoryFacts::default()
    }

    fn denied(&mut self) -> DenyList {
        DenyList::default()
    }

    fn now(&mut self) -> UnixTime {
        UnixTime::new(*NOW)
    }
}

/// A token of these parts: who signed it, whose issuer it names, whose tenant.
fn minted(signer: &Forge, iss: &str, tid: &str, v2: bool) -> String {
    let token = if v2 { token().v2() } else { token() };
    let mut claims = token.claims();
    let issuer = claims["iss"].as_str().unwrap().replace(TENANT_ID, iss);
    (claims["iss"], claims["tid"], claims["aud"]) = (issuer.into(), tid.into(), AUDIENCE.into());
    signer.token(Forge::HEADER, claims.to_string())
}

fn decided(token: &str, role: RoleFacts) -> Result<Admission, &'static str> {
    let policy = policy();
    let policy = Policy { max_bytes: 65_535, token: &policy, admit: ADMIT };
    decide(token.as_bytes().to_vec(), &policy, &mut Keys { role }).map_err(|refusal| refusal.reason.code())
}

fn role(binding: Binding, label_tenant: Option<&str>) -> RoleFacts {
    let is_labelled = binding != Binding::Name;
    RoleFacts { binding, is_labelled, label_tenant: label_tenant.map(|id| id.parse().unwrap()), ..alice() }
}

#[test]
fn keys_issuers_tenants_and_labels_of_two_tenants_open_nothing_in_any_mixture() {
    let by_id = Binding::User(object_id(ALICE).parse().unwrap());
    let mut admitted = 0;
    for (signer_of, signer) in [(TENANT_ID, &*FORGE), (OTHER_ID, &*OTHER_FORGE)] {
        for iss in [TENANT_ID, OTHER_ID, STRANGE_ID] {
            for tid in [TENANT_ID, OTHER_ID, STRANGE_ID] {
                for v2 in [false, true] {
                    let token = minted(signer, iss, tid, v2);
                    for label in [None, Some(TENANT_ID), Some(OTHER_ID), Some(STRANGE_ID)] {
                        let outcome = decided(&token, role(by_id, label));
                        let is_one = signer_of == iss && iss == tid;
                        let case = format!("signed by {signer_of}, iss {iss}, tid {tid}, label {label:?}");
                        if is_one && label.unwrap_or(TENANT_ID) == tid {
                            let admission = outcome.unwrap_or_else(|code| panic!("{case}: {code}"));
                            assert_eq!(admission.principal().tenant(), tid.parse::<TenantId>().unwrap());
                            admitted += 1;
                        } else {
                            let code = outcome.expect_err(&case);
                            assert!(!is_one || code == "tenant_mismatch", "{case}: {code}");
                        }
                    }
                }
            }
        }
    }
    assert_eq!(admitted, 6, "home by its label and without one, the other by its label; v1 and v2");
}

#[test]
fn names_count_of_the_first_tenant_only() {
    let (ours, theirs) =
        (minted(&FORGE, TENANT_ID, TENANT_ID, false), minted(&OTHER_FORGE, OTHER_ID, OTHER_ID, false));
    assert!(decided(&ours, role(Binding::Name, None)).is_ok());
    assert_eq!(decided(&theirs, role(Binding::Name, None)).unwrap_err(), "tenant_mismatch");
    // No label says this; were one to, the name would still not count.
    assert_eq!(decided(&theirs, role(Binding::Name, Some(OTHER_ID))).unwrap_err(), "role_not_bound");
}

#[test]
fn who_is_of_another_tenant_is_shown_by_an_id_and_suggested_for_no_membership() {
    let by_id = Binding::User(object_id(ALICE).parse().unwrap());
    let theirs = minted(&OTHER_FORGE, OTHER_ID, OTHER_ID, false);
    let identity = |admission: Admission| admission.principal().identity();
    assert_eq!(identity(decided(&theirs, role(by_id, Some(OTHER_ID))).unwrap()), object_id(ALICE));
    let ours = minted(&FORGE, TENANT_ID, TENANT_ID, false);
    assert_eq!(identity(decided(&ours, role(by_id, None)).unwrap()), ALICE);
    // A role that is not a member yet: the statement is printed for its own tenant's users alone.
    let hint = |token: &str, label| {
        let policy = policy();
        let policy = Policy { max_bytes: 65_535, token: &policy, admit: ADMIT };
        let role = RoleFacts { is_member: false, ..role(by_id, label) };
        decide(token.as_bytes().to_vec(), &policy, &mut Keys { role }).unwrap_err().reason.hint()
    };
    assert!(hint(&ours, None).is_some_and(|hint| hint.starts_with("GRANT azure_ad_user TO ")));
    assert!(hint(&theirs, Some(OTHER_ID)).is_some());
    assert_eq!((hint(&theirs, None), hint(&ours, Some(OTHER_ID))), (None, None));
}

#[test]
fn a_token_that_names_its_tenant_twice_or_otherwise_than_as_text_is_measured_by_the_first() {
    let claims = token().claims().to_string();
    for tid in [
        format!("\"tid\":\"{OTHER_ID}\",\"tid\":\"{OTHER_ID}\""),
        "\"tid\":7".to_owned(),
        "\"tid\":\"contoso.com\"".to_owned(),
    ] {
        let payload = claims.replace(&format!("\"tid\":\"{TENANT_ID}\""), &tid);
        assert_ne!(payload, claims);
        // Signed by the other tenant's key, which is not the one that is looked for.
        let token = OTHER_FORGE.token(Forge::HEADER, payload);
        assert_eq!(decided(&token, alice()).unwrap_err(), "bad_signature", "{tid}");
    }
}

#[test]
fn an_explanation_measures_by_the_tenant_that_the_token_names() {
    let policy = policy();
    let by_id = role(Binding::User(object_id(ALICE).parse().unwrap()), Some(OTHER_ID));
    let explained = |token: &str| {
        let unsigned = token.rsplit_once('.').unwrap().0;
        let measure = measure(&policy, unsigned, 65_535);
        let context = Context {
            max_bytes: 65_535,
            keys: Ok(key_set(&measure.tenant, measure.tenant.v2_issuer()).keys().to_vec()),
            policy: &measure,
            admit: ADMIT,
            now: UnixTime::new(*NOW),
            role_name: ALICE,
            role: Some(&by_id),
            directory: &DirectoryFacts::default(),
            denied: &DenyList::default(),
        };
        let wrong =
            explain(unsigned, &context).unwrap().into_iter().filter(|finding| finding.ok == Some(false));
        wrong.map(|finding| (finding.step, finding.detail)).collect::<Vec<_>>()
    };
    assert_eq!(explained(&minted(&OTHER_FORGE, OTHER_ID, OTHER_ID, false)), []);
    let ours = explained(&minted(&FORGE, TENANT_ID, TENANT_ID, false));
    assert!(
        ours.len() == 1 && ours[0].0 == Step::Binding && ours[0].1.contains("tenant_mismatch"),
        "{ours:?}"
    );
    let strange = explained(&minted(&FORGE, STRANGE_ID, STRANGE_ID, false));
    let tenants = format!("tid is {STRANGE_ID}; pgaad.tenant_id is {TENANT_ID}, {OTHER_ID}");
    assert!(
        strange.iter().any(|(step, detail)| *step == Step::Tenant && detail.ends_with(&tenants)),
        "{strange:?}"
    );
}
