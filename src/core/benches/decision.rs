//! What a decision costs, as a multiple of the one RSA verification that it cannot do without.
//!
//! `make bench` runs this and prints the ratios; both sides are measured in one run, so that the
//! machine's mood cancels. With `PGAAD_BENCH_CHECK` set it fails when a target is missed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::Criterion;
use pgaad_core::admit::{AdmitPolicy, RoleFacts, admit};
use pgaad_core::keys::KeySet;
use pgaad_core::label::Binding;
use pgaad_core::principal::Principal;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use pgaad_core::token::{RawToken, UnverifiedToken};
use pgaad_core::verify::{TokenPolicy, verify};
use pgaad_core::{Refusal, admit::Admission};
use serde_json::{Value, json};
use tenant::{AUDIENCE, Keys, Signer, TENANT_ID, Token};

const AUTHORITY: &str = "https://localhost:8443";
const NOW: i64 = 1_800_000_000;
const ALICE: &str = "alice@example.com";

/// Everything that a decision depends on, but the token.
struct Server {
    keys: KeySet,
    policy: TokenPolicy,
    role: RoleFacts,
}

impl Server {
    fn with_keys(count: usize) -> Self {
        let own = signing_key();
        // The key that is looked for comes last.
        let mut entries: Vec<Value> = (1..count)
            .map(|number| {
                let mut other = own.clone();
                other["kid"] = json!(format!("another-key-{number}"));
                other["x5t"] = json!(format!("another-key-{number}"));
                other
            })
            .collect();
        entries.push(own);
        Self {
            keys: KeySet::import(json!({ "keys": entries }).to_string().as_bytes()).unwrap(),
            policy: TokenPolicy {
                tenant: Tenant::new(
                    TENANT_ID.parse().unwrap(),
                    Cloud::Public,
                    Some(AUTHORITY.parse().unwrap()),
                ),
                audiences: vec![AUDIENCE.to_owned()],
                clock_skew: Duration::from_secs(300),
            },
            role: RoleFacts {
                oid: 16_384,
                name: ALICE.to_owned(),
                binding: Binding::Name,
                label_tenant: None,
                is_member: true,
                is_admin: false,
                needs_mfa: false,
                can_login: true,
                is_superuser: false,
                valid_until: None,
            },
        }
    }

    /// The straight line, as the extension walks it.
    fn decide(&self, password: &[u8]) -> Result<Admission, Refusal> {
        let now = UnixTime::new(NOW);
        let raw = RawToken::new(password.to_vec(), 65_535)?;
        let token = UnverifiedToken::parse(&raw)?;
        let unknown = Refusal::KeyUnknown { keys: self.keys.keys().len(), age_seconds: 0 };
        let key = *self.keys.find(token.key_name()).ok_or(unknown)?;
        let verified = verify(token, &key, &self.policy, now)?;
        // The session keeps them.
        black_box(verified.json().to_owned());
        let policy = AdmitPolicy { name_match: true, group_name_match: false, allow_superuser: false };
        Ok(admit(Principal::from(verified), Some(&self.role), policy, now)?)
    }
}

fn token() -> Token {
    Keys::generate(AUTHORITY)
        .token()
        .claim("nbf", NOW - 300)
        .claim("iat", NOW - 300)
        .claim("exp", NOW + 4_500)
}

/// The tenant's current key, as a JWK.
fn signing_key() -> Value {
    let keys = Keys::generate(AUTHORITY);
    let kid = keys.kid(&Signer::Current);
    let jwks = keys.jwks();
    jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *kid).unwrap().clone()
}

/// A token of about this many bytes: with as many groups as it takes, as Entra's large tokens have.
fn token_of(bytes: usize) -> String {
    let groups = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("0c7c1f3e-52a1-4e0b-8f5e-{number:012x}")).collect()
    };
    (0..)
        .map(|count| token().claim("groups", groups(count)).mint())
        .find(|token| token.len() >= bytes)
        .unwrap()
}

/// The signature's check alone, of the same bytes by the same library.
fn bare(password: &str) {
    static KEY: std::sync::LazyLock<(Vec<u8>, Vec<u8>)> = std::sync::LazyLock::new(|| {
        let key = signing_key();
        let decode = |part: &Value| URL_SAFE_NO_PAD.decode(part.as_str().unwrap()).unwrap();
        (decode(&key["n"]), decode(&key["e"]))
    });
    let (input, signature) = password.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = RsaPublicKeyComponents { n: &KEY.0, e: &KEY.1 };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).unwrap();
}

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let sizes = [1_300, 2_000, 7_000, 16_000];
    let mut rows = Vec::new();
    for size in sizes {
        let token = token_of(size);
        let base = format!("bare/{size}");
        criterion.bench_function(&base, |b| b.iter(|| bare(black_box(&token))));
        for keys in [1, 8, 64] {
            let server = Server::with_keys(keys);
            assert!(server.decide(token.as_bytes()).is_ok());
            let name = format!("decision/{size}-{keys}");
            criterion.bench_function(&name, |b| b.iter(|| server.decide(black_box(token.as_bytes()))));
            rows.push((format!("decision, {size} B, {keys} keys"), name, base.clone()));
        }
    }
    let server = Server::with_keys(8);
    let refusals = [
        ("garbage", "x".repeat(2_000)),
        ("unknown_kid", token().header("kid", "nobody").mint()),
        ("expired", token().claim("exp", NOW - 1_000).claim("nbf", NOW - 4_000).mint()),
        ("bad_signature", token().signed_by(Signer::Broken).mint()),
    ];
    for (case, password) in refusals {
        assert!(server.decide(password.as_bytes()).is_err());
        let name = format!("refusal/{case}");
        criterion.bench_function(&name, |b| b.iter(|| server.decide(black_box(password.as_bytes()))));
        rows.push((format!("refused: {case}"), name, "bare/2000".to_owned()));
    }
    criterion.final_summary();
    report(&rows);
    let met = targets();
    if !met && std::env::var_os("PGAAD_BENCH_CHECK").is_some() {
        std::process::exit(1);
    }
}

/// The bounds of a decision; whether it keeps them.
fn targets() -> bool {
    let at = |name: &str| median(name).unwrap_or(f64::INFINITY);
    let bounds = [
        ("decision / bare verification, 2 kB, 8 keys", at("decision/2000-8") / at("bare/2000"), 1.35),
        ("64 keys / 1 key, 2 kB", at("decision/2000-64") / at("decision/2000-1"), 1.1),
        ("garbage refused, µs", at("refusal/garbage") / 1e3, 5.0),
    ];
    println!("\n| target | at most | measured | met |\n|---|--:|--:|--:|");
    for (what, measured, bound) in bounds {
        println!("| {what} | {bound} | {measured:.2} | {} |", if measured <= bound { "yes" } else { "no" });
    }
    bounds.iter().all(|(_, measured, bound)| measured <= bound)
}

/// The medians, and what they are in multiples of the bare verification.
fn report(rows: &[(String, String, String)]) {
    println!("\n| what | median | bare verification | ratio |\n|---|---|---|---|");
    for (what, name, base) in rows {
        let (Some(median), Some(bare)) = (median(name), median(base)) else { continue };
        println!("| {what} | {:.1} µs | {:.1} µs | {:.2} |", median / 1e3, bare / 1e3, median / bare);
    }
}

/// Criterion's estimate, nanoseconds.
fn median(name: &str) -> Option<f64> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into());
    let file = Path::new(&target).join("criterion").join(name.replace('/', "_")).join("new/estimates.json");
    let estimates: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
