//! The documented reasons of refusals.

use pgaad_core::Reason;
use pgaad_core::reason::{Code, PublicAnswer};
use pgaad_core::time::UnixTime;

#[test]
fn codes_are_unique_and_snake_case() {
    let mut codes: Vec<_> = Reason::CODES.iter().map(|code| code.name).collect();
    assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all);
}

/// `PGAAD_WRITE_DOCS=1 cargo test -p pgaad-core --test reasons` writes the table again.
#[test]
fn the_document_lists_every_code_and_no_other() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/codes.md");
    let told = |code: &str| match code {
        "tls_required" => "28000, before a token is asked for: the connection must be encrypted",
        "method_not_allowed" => "what PostgreSQL answers to a wrong secret by that method",
        "pam_failed" => "what PostgreSQL answers when PAM says no",
        "role_changed" => {
            "28P01; by a method that asks for no token, what PostgreSQL answers to a wrong secret by it"
        }
        "expired" => "28P01, and that the token has expired",
        "wrong_audience" => "28P01, and that the token is for another resource",
        _ => "28P01",
    };
    let rows = Reason::CODES.iter().map(|Code { name, meaning, advice, .. }| {
        format!("| `{name}` |{meaning} | {} | {advice} |\n", told(name))
    });
    let table = format!(
        "| code | meaning | the client is told | what to do |\n|---|---|---|---|\n{}",
        rows.collect::<String>()
    );
    let text = std::fs::read_to_string(document).unwrap();
    let (head, _) = text.split_once("| code |").unwrap();
    if std::env::var_os("PGAAD_WRITE_DOCS").is_some() {
        std::fs::write(document, format!("{head}{table}")).unwrap();
    }
    assert!(std::fs::read_to_string(document).unwrap().ends_with(&table), "see above how to write it anew");
}

/// The keys that the sources of a log line write: the first literal of each call that adds a fact.
fn keys_of(source: &str) -> Vec<&str> {
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    [".fact(", ".quoted(", ".fact_if(", "some(line, "]
        .iter()
        .flat_map(|call| product.split(call).skip(1))
        .filter_map(|rest| rest.split(')').next()?.split('"').nth(1))
        .collect()
}

#[test]
fn the_document_of_the_log_has_every_fact() {
    let document = include_str!("../../../docs/monitoring.md");
    let (_, table) = document.split_once("### The facts of a line").expect("the table of facts");
    let sources = [
        include_str!("../src/reason.rs"),
        include_str!("../src/rule.rs"),
        include_str!("../src/event.rs"),
        include_str!("../src/shape.rs"),
    ];
    let keys: Vec<_> = sources.into_iter().flat_map(keys_of).collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        let rows = || table.lines().filter(|line| line.starts_with("| "));
        let has = |row: &str| row.split(" | ").next().is_some_and(|head| head.contains(&format!("`{key}`")));
        assert!(rows().any(has), "{key}");
    }
}

#[test]
fn strangers_are_told_of_the_missing_encryption_only_and_holders_of_genuine_tokens_a_little_more() {
    let time = UnixTime::new(0);
    let expired = Reason::Expired { exp: time, now: time };
    assert_eq!(expired.public_answer(), PublicAnswer::TokenExpired);
    let told = |reason: &Reason| reason.public_answer() != PublicAnswer::Failed;
    assert!(told(&Reason::WrongAudience { aud: String::new() }));
    assert!(!told(&Reason::NotYetValid { nbf: time, now: time }));
    assert!(!told(&Reason::IssuerUnknown { iss: String::new() }));
    assert_eq!(Reason::EncryptionRequired.public_answer(), PublicAnswer::EncryptionRequired);
    assert_eq!(Reason::RoleMissing.public_answer(), PublicAnswer::Failed);
    assert_eq!(Reason::BadSignature.public_answer(), PublicAnswer::Failed);
}

#[test]
fn a_reason_is_written_as_its_code_and_found_by_it() {
    assert_eq!(Reason::RoleMissing.to_string(), "role_missing");
    assert_eq!(UnixTime::new(1_700_000_000).to_string(), "1700000000");
    for code in Reason::CODES {
        assert_eq!(Code::named(code.name).map(|found| found.meaning), Some(code.meaning));
    }
    assert!(Code::named("no_such_code").is_none());
}
