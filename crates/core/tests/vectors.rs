//! Published vector suites against the same parser, import and signature check that a login calls.
//!
//! The suites are not part of this repository: Wycheproof (JWS and JWK), the JOSE cookbook (RFC 7520) and
//! JSONTestSuite are looked for in `../shared/vectors` beside the workspace, or where `PGAAD_VECTORS` says.
//! Where they are absent each test says SKIPPED and passes, and `.ci/matrix` counts it as skipped.
//! `target/vectors.tsv` lists every case with what became of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::string_slice
)]

mod login;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use pgaad_core::Reason;
use pgaad_core::keys::{KeyError, KeySet};
use pgaad_core::token::{RawToken, SignedPayload, UnverifiedToken};
use serde_json::{Value, json};

use login::{FORGE, Forge, Login, import_bytes, this_tenant, token};

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It is good, and was taken.
    Accepted,
    /// It is bad, or the suite leaves it open, and it was refused.
    Refused,
    /// The suite calls it good and we refuse it on purpose: another algorithm, another form.
    RefusedByPolicy,
    /// The suite leaves it open, and it was taken.
    AcceptedByChoice,
}

struct Outcome {
    suite: &'static str,
    case: String,
    verdict: Verdict,
    /// The code of the refusal, or of what is wrong with the key; `-` where nothing is.
    code: String,
}

fn vectors() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = env::var_os("PGAAD_VECTORS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    // In the form that `.ci/matrix` counts, and not by `eprintln!`: the harness hides what passing tests print so.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED (no vector suites in {}, set PGAAD_VECTORS): {test}",
        folder.display()
    );
    None
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The JWS layer of a login: everything below the claims. Most vectors sign payloads that are no JSON.
fn verify_jws(jws: &str, keys: Option<&KeySet>) -> Result<SignedPayload, Reason> {
    let raw = RawToken::new(jws.as_bytes().to_vec(), usize::MAX)?;
    let token = UnverifiedToken::parse(&raw)?;
    let found = keys.and_then(|keys| keys.find(token.key_name(), &this_tenant()));
    let known = keys.map_or(0, |keys| keys.keys().len());
    let key = *found.ok_or(Reason::KeyUnknown { kid: String::new(), keys: known, age_seconds: 0 })?;
    token.verify_signature(&key)
}

/// The keys of a set that pass the import, if any, and the faults of the others.
fn import(set: &Value) -> (Option<KeySet>, Vec<KeyError>) {
    // A sound key beside them: a set without any is refused whole, and does not say why.
    let mut beside = set.clone();
    beside["keys"].as_array_mut().unwrap().push(FORGE.jwk());
    let errors = import_bytes(beside.to_string().as_bytes()).unwrap().errors().to_vec();
    (import_bytes(set.to_string().as_bytes()).ok(), errors)
}

fn totals(outcomes: &[Outcome]) -> BTreeMap<(&str, Verdict), usize> {
    let mut totals = BTreeMap::new();
    for outcome in outcomes {
        *totals.entry((outcome.suite, outcome.verdict)).or_default() += 1;
    }
    totals
}

fn count(outcomes: &[Outcome], verdict: Verdict) -> usize {
    outcomes.iter().filter(|outcome| outcome.verdict == verdict).count()
}

fn cases(outcomes: &[Outcome], verdict: Verdict) -> Vec<&str> {
    outcomes
        .iter()
        .filter(|outcome| outcome.verdict == verdict)
        .map(|outcome| outcome.case.as_str())
        .collect()
}

fn wycheproof_jws(folder: &Path) -> Vec<Outcome> {
    let suite = read(&folder.join("wycheproof/json_web_signature_test.json"));
    let mut outcomes = Vec::new();
    for group in suite["testGroups"].as_array().unwrap() {
        // Groups of HMAC tokens have no public key; their secret must not pass the import.
        let key = group.get("public").or(group.get("private")).unwrap();
        let (keys, errors) = import(&json!({ "keys": [key] }));
        assert_eq!(keys.is_none(), !errors.is_empty(), "{key}");
        for test in group["tests"].as_array().unwrap() {
            let case = test["tcId"].to_string();
            let verified = verify_jws(test["jws"].as_str().unwrap(), keys.as_ref());
            let verdict = match (test["result"].as_str().unwrap(), verified.is_ok()) {
                ("valid", true) => Verdict::Accepted,
                ("valid", false) => Verdict::RefusedByPolicy,
                ("invalid", false) => Verdict::Refused,
                (result, _) => panic!("case {case} is {result} and verified: {}", test["comment"]),
            };
            let code = verified.map_or_else(|reason| reason.code(), |_| "-").to_owned();
            outcomes.push(Outcome { suite: "wycheproof-jws", case, verdict, code });
        }
    }
    outcomes
}

#[test]
fn wycheproofs_invalid_signatures_are_refused_and_its_rs256_ones_verify() {
    let Some(folder) = vectors() else { return };
    let outcomes = wycheproof_jws(&folder);
    assert_eq!(count(&outcomes, Verdict::Refused), 355);
    let accepted = cases(&outcomes, Verdict::Accepted);
    assert_eq!(accepted, ["33", "259", "260", "261", "262", "263", "345", "349"]);
    // The other valid ones: HMAC, elliptic curves, PSS, SHA-384 and SHA-512; 372 and 373 hold a
    // character that is not of the alphabet and are no valid base64url, whatever the suite says.
    assert_eq!(count(&outcomes, Verdict::RefusedByPolicy), 38);
    for outcome in &outcomes {
        let by_policy = outcome.verdict == Verdict::RefusedByPolicy;
        let expected: &[&str] = match outcome.case.as_str() {
            "372" | "373" => &["malformed_token"],
            _ => &["unsupported_algorithm"],
        };
        assert!(
            !by_policy || expected.contains(&outcome.code.as_str()),
            "{}: {}",
            outcome.case,
            outcome.code
        );
    }
}

fn wycheproof_jwk(folder: &Path) -> Vec<Outcome> {
    let suite = read(&folder.join("wycheproof/json_web_key_test.json"));
    let mut outcomes = Vec::new();
    for group in suite["testGroups"].as_array().unwrap() {
        let set = group.get("public").or(group.get("private")).unwrap();
        let (keys, errors) = import(set);
        for test in group["tests"].as_array().unwrap() {
            let case = test["tcId"].to_string();
            let verified = verify_jws(test["jws"].as_str().unwrap(), keys.as_ref());
            let verdict = match (test["result"].as_str().unwrap(), &keys) {
                ("valid", Some(_)) => Verdict::Accepted,
                ("valid", None) => Verdict::RefusedByPolicy,
                ("invalid", None) => Verdict::Refused,
                (result, Some(_)) => panic!("case {case} is {result} and imported: {}", test["comment"]),
                (result, None) => panic!("case {case} is {result}"),
            };
            assert_eq!(verified.is_ok(), verdict == Verdict::Accepted, "case {case}");
            let mut codes: Vec<String> = errors.iter().map(|error| format!("{error:?}")).collect();
            if codes.is_empty() {
                codes.push("-".to_owned());
            }
            outcomes.push(Outcome { suite: "wycheproof-jwk", case, verdict, code: codes.join("+") });
        }
    }
    outcomes
}

#[test]
fn wycheproofs_invalid_keys_are_refused_at_import() {
    let Some(folder) = vectors() else { return };
    let outcomes = wycheproof_jwk(&folder);
    assert_eq!(count(&outcomes, Verdict::Refused), 21);
    assert_eq!(cases(&outcomes, Verdict::Accepted), ["5"]);
    assert_eq!(cases(&outcomes, Verdict::RefusedByPolicy), ["2", "13", "14", "15"], "HMAC secrets");
    let code = |case: &str| outcomes.iter().find(|outcome| outcome.case == case).unwrap().code.as_str();
    assert_eq!(code("6"), "WrongPurpose");
    assert_eq!(code("7"), "Roca");
    assert_eq!(code("8"), "WeakModulus");
    assert_eq!(code("9"), "WrongExponent");
    assert_eq!(code("24"), "WrongPurpose", "an elliptic curve's numbers under kty RSA, and alg ES256");
}

/// The public part of a key of the cookbook, which prints whole key pairs.
fn public(key: &Value) -> Value {
    let mut key = key.clone();
    for part in ["d", "p", "q", "dp", "dq", "qi"] {
        key.as_object_mut().unwrap().remove(part);
    }
    key
}

fn cookbook_files(folder: &Path, part: &str) -> Vec<(String, Value)> {
    let mut files: Vec<_> = fs::read_dir(folder.join("jose-cookbook").join(part))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (format!("{part}/{}", path.file_stem().unwrap().display()), path))
        .filter(|(name, _)| name.starts_with("jw") || name.contains("jws") || name.starts_with("rfc7797"))
        .map(|(name, path)| (name, read(&path)))
        .collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files
}

fn cookbook(folder: &Path) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let files = ["jws", "rfc7797", "curve25519"].iter().flat_map(|part| cookbook_files(folder, part));
    for (name, file) in files {
        let key = &file["input"]["key"];
        let entries: Vec<Value> = key.as_array().map_or_else(|| vec![key.clone()], Clone::clone);
        let set = json!({ "keys": entries.iter().map(public).collect::<Vec<_>>() });
        let (keys, _) = import(&set);

        let output = file["output"].as_object().unwrap();
        let mut forms: Vec<(String, String)> = output
            .iter()
            .map(|(form, value)| {
                (form.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect();
        // What a careless reader would make of the JSON forms: the three parts put together.
        for (index, signature) in output["json"]["signatures"].as_array().into_iter().flatten().enumerate() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let parts =
                [&signature["protected"], &output["json"]["payload"], &signature["signature"]].map(text);
            if !output.contains_key("compact") || index > 0 {
                forms.push((format!("signatures[{index}] put together"), parts.join(".")));
            } else {
                forms.push(("detached".to_owned(), format!("{}..{}", parts[0], parts[2])));
            }
        }
        for (form, jws) in forms {
            let verified = verify_jws(&jws, keys.as_ref());
            let detached = form == "detached";
            let (verdict, code) = match verified {
                Ok(payload) => {
                    assert_eq!(payload.as_bytes(), file["input"]["payload"].as_str().unwrap().as_bytes());
                    (Verdict::Accepted, "-")
                }
                Err(reason) if detached => (Verdict::Refused, reason.code()),
                Err(reason) => (Verdict::RefusedByPolicy, reason.code()),
            };
            let case = format!("{name} {form}");
            outcomes.push(Outcome { suite: "jose-cookbook", case, verdict, code: code.to_owned() });
        }
    }
    for (name, key) in cookbook_files(folder, "jwk") {
        let (keys, errors) = import(&json!({ "keys": [key] }));
        let verdict = if keys.is_some() { Verdict::Accepted } else { Verdict::RefusedByPolicy };
        let code = errors.first().map_or_else(|| "-".to_owned(), |error| format!("{error:?}"));
        outcomes.push(Outcome { suite: "jose-cookbook", case: name, verdict, code });
    }
    outcomes
}

#[test]
fn of_the_jose_cookbook_only_the_compact_rs256_token_and_the_public_rsa_key_are_taken() {
    let Some(folder) = vectors() else { return };
    let outcomes = cookbook(&folder);
    let accepted = cases(&outcomes, Verdict::Accepted);
    assert_eq!(accepted, ["jws/4_1.rsa_v15_signature compact", "jwk/3_3.rsa_public_key"]);
    let code = |part: &str| {
        let mut found = outcomes.iter().filter(|outcome| outcome.case.contains(part));
        found.next().unwrap_or_else(|| panic!("{part}")).code.as_str()
    };
    assert_eq!(code("4_1.rsa_v15_signature detached"), "bad_signature");
    assert_eq!(code("4_1.rsa_v15_signature json"), "malformed_token");
    assert_eq!(code("4_5.signature_with_detached_content compact"), "unsupported_algorithm");
    assert_eq!(code("4_8.multiple_signatures json"), "malformed_token");
    assert_eq!(code("4_8.multiple_signatures signatures[0]"), "header_invalid", "its kid is not protected");
    assert_eq!(code("3_4.rsa_private_key"), "PrivateParts");
    for outcome in outcomes.iter().filter(|outcome| outcome.case.contains("b64_false")) {
        assert_ne!(outcome.verdict, Verdict::Accepted, "{}", outcome.case);
    }
}

fn json_test_suite(folder: &Path) -> Vec<Outcome> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder.join("JSONTestSuite/test_parsing"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let claims = token().claims().to_string();
    let payload_of = |payload: &[u8]| Login::with(FORGE.token(Forge::HEADER, payload)).uncapped().decide();
    let mut outcomes = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read(&path).unwrap();
        let as_header = Login::with(FORGE.token(&text, &claims)).uncapped().decide();
        let as_payload = payload_of(&text);
        let claim = [&claims.as_bytes()[..claims.len() - 1], b",\"x\":", &text, b"}"].concat();
        let as_claim = payload_of(&claim);
        let code = |decided: Result<_, Reason>| decided.map_or_else(|reason| reason.code(), |_| "-");
        let as_keys = import_bytes(&text).map_or_else(|error| error.code(), |_| "-");
        for (place, code, not_json) in [
            ("header", code(as_header), "malformed_token"),
            ("payload", code(as_payload), "payload_invalid"),
            ("claim", code(as_claim), "payload_invalid"),
            ("key set", as_keys, "keys_malformed"),
        ] {
            let verdict = match (name.as_bytes()[0], code) {
                (b'n', code) => {
                    assert_eq!(code, not_json, "{name} as {place}");
                    Verdict::Refused
                }
                // No document of the suite is a header, a payload or a key set.
                (_, code) if place != "claim" => {
                    assert_ne!(code, "-", "{name} as {place}");
                    Verdict::Refused
                }
                (b'y', "-") => Verdict::Accepted,
                (b'y', _) => Verdict::RefusedByPolicy,
                (_, "-") => Verdict::AcceptedByChoice,
                (_, _) => Verdict::Refused,
            };
            let case = format!("{name} as {place}");
            outcomes.push(Outcome { suite: "JSONTestSuite", case, verdict, code: code.to_owned() });
        }
    }
    outcomes
}

#[test]
fn what_is_no_json_is_refused_as_header_payload_claim_and_key_set() {
    let Some(folder) = vectors() else { return };
    let outcomes = json_test_suite(&folder);
    assert_eq!(outcomes.len(), 4 * 318);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.case.starts_with("n_")).count(), 4 * 188);
    // Duplicates (RFC 7519 §4) and U+0000, which PostgreSQL cannot store.
    let stricter = [
        "y_object_duplicated_key as claim",
        "y_object_duplicated_key_and_value as claim",
        "y_object_escaped_null_in_key as claim",
        "y_string_null_escape as claim",
    ];
    assert_eq!(cases(&outcomes, Verdict::RefusedByPolicy), stricter);
}

#[test]
fn every_case_is_listed_in_the_table() {
    let Some(folder) = vectors() else { return };
    let suites = [wycheproof_jws, wycheproof_jwk, cookbook, json_test_suite];
    let outcomes: Vec<Outcome> = suites.iter().flat_map(|suite| suite(&folder)).collect();
    let mut table = String::from("suite\tcase\tverdict\tcode\n");
    for Outcome { suite, case, verdict, code } in &outcomes {
        writeln!(table, "{suite}\t{case}\t{verdict:?}\t{code}").unwrap();
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from);
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("vectors.tsv"), table).unwrap();
    for ((suite, verdict), count) in totals(&outcomes) {
        println!("{suite}: {verdict:?}: {count}");
    }
}
