//! Class E: genuine keys that are not this tenant's, alone and beside its own (the class of Storm-0558).

use std::time::Duration;

use pgaad_core::Reason;
use pgaad_core::admit::AdmitPolicy;
use pgaad_core::decide::{Known, Policy, Surroundings, decide};
use pgaad_core::deny::DenyList;
use pgaad_core::directory::DirectoryFacts;
use pgaad_core::keys::{KeyError, KeyName, KeySet, SigningKey, find};
use pgaad_core::log_line::LogLine;
use pgaad_core::principal::Principal;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::snapshot::Snapshot;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::verify::TokenPolicy;
use serde_json::{Value, json};
use tenant::{CONSUMER_TENANT_ID, Signer, TENANT_ID};

use crate::login::{
    Attack, FORGE, Login, NOW, alice, assert_refused, import, jwks, jwks_with, keys, this_tenant, token,
};

/// [`jwks`], with a changed copy of the key that signs [`token`] behind it or, `first`, before it.
fn with_twin(first: bool, change: impl FnOnce(&mut Value)) -> Value {
    let kid = keys().kid(&Signer::Current);
    let mut document = jwks();
    let entries = document["keys"].as_array_mut().unwrap();
    let mut copy = entries.iter().find(|key| key["kid"] == *kid).unwrap().clone();
    change(&mut copy);
    entries.insert(if first { 0 } else { entries.len() }, copy);
    document
}

fn without(key: &mut Value, member: &str) {
    key.as_object_mut().unwrap().remove(member);
}

#[test]
fn two_keys_of_one_name_that_both_could_sign_here_and_differ_count_both_for_nothing() {
    let sent = Login::with(token().mint());
    let twice = sent.clone().keys(&with_twin(false, |_| ()));
    let other = FORGE.jwk()["n"].clone();
    let mut attacks = Vec::new();
    let mut row = |name: &str, change: &dyn Fn(&mut Value)| {
        for first in [true, false] {
            let document = with_twin(first, change);
            assert_eq!(import(&document).errors(), [KeyError::Ambiguous; 2], "{name}");
            attacks.push(Attack::new(name, sent.clone().keys(&document), twice.clone(), "key_unknown"));
        }
    };
    row("another modulus", &|key| key["n"] = other.clone());
    row("another exponent", &|key| key["e"] = json!("Aw"));
    row("another modulus of no issuer", &|key| {
        key["n"] = other.clone();
        without(key, "issuer");
    });
    row("another modulus of this tenant alone", &|key| {
        key["n"] = other.clone();
        key["issuer"] = format!("https://localhost:8443/{TENANT_ID}/v2.0").into();
    });
    row("the x5t of another key", &|key| {
        key["n"] = other.clone();
        key["kid"] = json!("another");
    });
    assert_refused("E ambiguous", &attacks);
}

/// What makes a twin of a key.
type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;

#[test]
fn a_foreign_twin_of_a_key_takes_nothing_from_ours() {
    let other = FORGE.jwk()["n"].clone();
    let sent = Login::with(token().mint());
    let by_x5t =
        Login::with(token().without_header("kid").header("x5t", keys().kid(&Signer::Current)).mint());
    let evil = format!("https://localhost:8443/{CONSUMER_TENANT_ID}/v2.0");
    let mut twins: Vec<(&str, Change<'_>)> = Vec::new();
    let foreign = |key: &mut Value| key["issuer"] = evil.as_str().into();
    let of_another_cloud = |key: &mut Value| key["cloud_instance_name"] = "microsoftonline.us".into();
    twins.push(("of another issuer", Box::new(foreign)));
    twins.push(("of another issuer with other numbers", {
        let other = other.clone();
        Box::new(move |key| {
            foreign(key);
            key["n"] = other.clone();
        })
    }));
    twins.push(("of another cloud", Box::new(of_another_cloud)));
    twins.push(("of another cloud with other numbers", {
        Box::new(move |key| {
            of_another_cloud(key);
            key["n"] = other.clone();
        })
    }));
    // The same key, as the v1 document has it.
    twins.push(("without issuer", Box::new(|key| without(key, "issuer"))));
    twins.push(("without cloud", Box::new(|key| without(key, "cloud_instance_name"))));
    for (name, change) in twins {
        for first in [true, false] {
            let document = with_twin(first, &change);
            for sent in [&sent, &by_x5t] {
                let decided = sent.clone().keys_of_cloud(&document, "microsoftonline.com").decide();
                decided.unwrap_or_else(|reason| panic!("a twin {name}, first {first}: {reason:?}"));
            }
        }
    }
}

#[test]
fn a_foreign_key_is_found_only_where_none_of_ours_has_the_name() {
    let foreign = |key: &mut Value| key["issuer"] = "https://localhost:8443/other/v2.0".into();
    let kid = keys().kid(&Signer::Current);
    let found = |set: &KeySet, backwards: bool| {
        let all = set.keys().iter();
        let name = KeyName::Kid(&kid);
        let key =
            if backwards { find(all.rev(), name, &this_tenant()) } else { find(all, name, &this_tenant()) };
        key.unwrap().signs_for(&this_tenant()).is_ok()
    };
    for backwards in [true, false] {
        assert!(found(&import(&with_twin(false, foreign)), backwards));
        assert!(!found(&import(&jwks_with(foreign)), backwards), "so that the refusal can say whose it is");
    }
}

#[test]
fn a_key_that_is_listed_with_and_without_issuer_is_bound_to_the_issuer() {
    let sent = Login::with(token().mint());
    let mut attacks = Vec::new();
    for first in [true, false] {
        let with = |issuer: &str| {
            let mut document = with_twin(first, |key| without(key, "issuer"));
            let kid = keys().kid(&Signer::Current);
            for key in document["keys"].as_array_mut().unwrap() {
                if key["kid"] == *kid && key.get("issuer").is_some() {
                    key["issuer"] = issuer.into();
                }
            }
            assert_eq!(import(&document).keys().iter().filter(|key| key.kid() == kid).count(), 1);
            sent.clone().keys(&document)
        };
        attacks.push(Attack::new(
            format!("the one without first: {first}"),
            with(&format!("https://localhost:8443/{CONSUMER_TENANT_ID}/v2.0")),
            with("https://localhost:8443/{tenantid}/v2.0"),
            "key_issuer_mismatch",
        ));
    }
    assert_refused("E merged", &attacks);
}

#[test]
fn what_another_entry_says_is_taken_from_the_same_key_only() {
    let sent = Login::with(token().mint());
    let kid = keys().kid(&Signer::Current);
    let evil = format!("https://localhost:8443/{CONSUMER_TENANT_ID}/v2.0");
    let other = FORGE.jwk()["n"].clone();
    // Ours says neither issuer nor cloud; the entry beside it says both, and that it is another's.
    let beside = |change: &dyn Fn(&mut Value)| {
        let mut document = with_twin(false, |key| {
            key["issuer"] = evil.as_str().into();
            key["cloud_instance_name"] = "microsoftonline.us".into();
            change(key);
        });
        let ours =
            document["keys"].as_array_mut().unwrap().iter_mut().find(|key| key["kid"] == *kid).unwrap();
        for member in ["issuer", "cloud_instance_name"] {
            without(ours, member);
        }
        sent.clone().keys_of_cloud(&document, "microsoftonline.com")
    };
    let same_name = beside(&|key| key["n"] = other.clone());
    let same_numbers = beside(&|key| {
        key["kid"] = "elsewhere".into();
        without(key, "x5t");
    });
    for (name, login) in [("the same name", same_name), ("the same numbers", same_numbers)] {
        login.decide().unwrap_or_else(|reason| panic!("an entry of {name}: {reason:?}"));
    }
    let same_key = beside(&|_| ());
    assert_eq!(same_key.decide().unwrap_err().code(), "key_issuer_mismatch");
    let cloud_alone = beside(&|key| without(key, "issuer"));
    assert_eq!(cloud_alone.decide().unwrap_err().code(), "key_issuer_mismatch", "of another cloud");
}

#[test]
fn a_key_of_another_cloud_signs_for_nobody_here() {
    let of = |login: &Login, key: &str, set: &str| {
        let document = jwks_with(|jwk| jwk["cloud_instance_name"] = key.into());
        login.clone().keys_of_cloud(&document, set)
    };
    let mut attacks = Vec::new();
    for (version, token) in [("v1", token()), ("v2", token().v2())] {
        let sent = Login::with(token.mint());
        for (key, set) in [
            ("microsoftonline.us", "microsoftonline.com"),
            ("microsoftonline.com", "microsoftonline.us"),
            ("partner.microsoftonline.cn", "microsoftonline.com"),
            ("microsoftonline.com ", "microsoftonline.com"),
            ("Microsoftonline.com", "microsoftonline.com"),
            (" ", "microsoftonline.com"),
        ] {
            attacks.push(Attack::new(
                format!("{version}: a key of {key:?} in a set of {set:?}"),
                of(&sent, key, set),
                of(&sent, set, set),
                "key_issuer_mismatch",
            ));
        }
    }
    assert_refused("E cloud", &attacks);

    let unsaid = jwks_with(|key| without(key, "cloud_instance_name"));
    let sent = Login::with(token().mint());
    sent.clone().keys_of_cloud(&unsaid, "microsoftonline.com").decide().expect("v1 documents say no cloud");
    // An authority set by hand whose metadata says nothing: there is nothing to compare with.
    let foreign = jwks_with(|key| key["cloud_instance_name"] = "private.example".into());
    sent.clone().keys(&foreign).decide().expect("a private cloud");
    let reason = of(&sent, "microsoftonline.us", "microsoftonline.com").decide().unwrap_err();
    let line = reason.facts(LogLine::new("")).into_text();
    assert_eq!(
        line,
        " member=cloud_instance_name found=\"microsoftonline.us\" wanted=\"microsoftonline.com\""
    );
}

#[test]
fn a_preset_cloud_is_its_keys_cloud_where_the_metadata_names_none() {
    let import = |cloud: Cloud, authority: Option<&str>, key: &str| {
        let tenant =
            Tenant::new(TENANT_ID.parse().unwrap(), cloud, authority.map(|url| url.parse().unwrap()));
        let mut jwk = FORGE.jwk();
        jwk["issuer"] = tenant.v2_issuer().into();
        jwk["cloud_instance_name"] = key.into();
        let set = KeySet::import(json!({ "keys": [jwk] }).to_string().as_bytes(), &tenant, None).unwrap();
        set.keys()[0].signs_for(&tenant).map_err(|foreign| foreign.wanted)
    };
    let clouds = [
        (Cloud::Public, "microsoftonline.com"),
        (Cloud::UsGov, "microsoftonline.us"),
        (Cloud::China, "partner.microsoftonline.cn"),
    ];
    for (cloud, name) in clouds {
        assert_eq!(import(cloud, None, name), Ok(()));
        assert_eq!(import(cloud, None, "elsewhere"), Err(name.to_owned()));
        // The same provider, written out.
        assert_eq!(
            import(cloud, Some(&format!("{}/", cloud.authority())), "elsewhere"),
            Err(name.to_owned())
        );
        assert_eq!(import(cloud, Some("https://login.private.example"), "elsewhere"), Ok(()));
    }
}

#[test]
fn a_snapshot_keeps_the_cloud_of_its_key_set_and_old_ones_are_read() {
    let tenant = this_tenant();
    let now = UnixTime::new(*NOW);
    let document = jwks_with(|key| key["cloud_instance_name"] = "microsoftonline.us".into()).to_string();
    let kid = keys().kid(&Signer::Current);
    let is_ours = |content: &[u8]| {
        let (set, _) = Snapshot::read(content, &tenant, now).unwrap();
        set.find(KeyName::Kid(&kid), &tenant).unwrap().signs_for(&tenant).is_ok()
    };
    let of = |cloud: Option<&str>| {
        Snapshot::new(&tenant, now, cloud.map(str::to_owned), document.clone()).to_json()
    };
    assert!(!is_ours(&of(Some("microsoftonline.com"))));
    assert!(is_ours(&of(Some("microsoftonline.us"))));
    // As they were written before there was a cloud in them.
    let old = of(None);
    assert!(!String::from_utf8_lossy(&old).contains("\"cloud\"") && is_ours(&old));
}

#[test]
fn a_signature_counts_by_the_key_that_the_header_names_only() {
    let policy = TokenPolicy {
        tenant: this_tenant(),
        others: Vec::new(),
        is_home: true,
        audiences: vec![tenant::AUDIENCE.to_owned()],
        scopes: Vec::new(),
        line_scopes: Vec::new(),
        clock_skew: Duration::from_secs(300),
    };
    let set = import(&jwks());
    let role = alice();
    let verified = |minted: String, by: &Signer| {
        let key = *set.find(KeyName::Kid(&keys().kid(by)), &policy.tenant).unwrap();
        let denied = DenyList::default();
        let known = Known {
            keys: &set,
            role: Some(&role),
            directory: &DirectoryFacts::default(),
            denied: &denied,
            now: UnixTime::new(*NOW),
        };
        let admit = AdmitPolicy { name_match: true, app_roles: true, ..AdmitPolicy::STRICT };
        let policy = Policy { max_bytes: usize::MAX, token: &policy, admit };
        decide(minted.into_bytes(), &policy, &mut WrongKey { key, known })
            .map(|_| ())
            .map_err(|refusal| refusal.reason.code())
    };
    let own = token().signed_by(Signer::Second);
    assert_eq!(verified(own.mint(), &Signer::Second), Ok(()));
    // Signed by the very key it is verified with, under another published key's name.
    let renamed = own.header("kid", keys().kid(&Signer::Current));
    assert_eq!(verified(renamed.mint(), &Signer::Second), Err("bad_signature"));
}

/// Surroundings that answer with one key, whatever the token names.
struct WrongKey<'a> {
    key: SigningKey,
    known: Known<'a>,
}

impl Surroundings for WrongKey<'_> {
    fn key(&mut self, _: KeyName<'_>, _: &Tenant) -> Result<SigningKey, Reason> {
        Ok(self.key)
    }

    fn role(&mut self) -> Result<Option<RoleFacts>, Reason> {
        self.known.role()
    }

    fn directory(&mut self, principal: &Principal, role: &RoleFacts) -> DirectoryFacts {
        self.known.directory(principal, role)
    }

    fn denied(&mut self) -> DenyList {
        self.known.denied()
    }

    fn now(&mut self) -> UnixTime {
        self.known.now()
    }
}
