//! The running tenant: documents, rotation, restarts, a second process.

mod client;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use client::{Directory, decoded, fetch, metadata_url, published, verifies};
use serde_json::Value;
use tenant::{Options, Signer, Tenant};

fn program(dir: &Path, verb: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tenant"))
        .args([verb, "--dir"])
        .arg(dir)
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn a_token_verifies_with_the_keys_that_the_metadata_points_to() {
    let dir = Directory::new("verifies");
    let tenant = Tenant::start(dir.path());
    let reply = fetch(&tenant, &metadata_url(&tenant)).unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.header("Content-Type"), Some("application/json; charset=utf-8"));
    let metadata = reply.json();
    assert_eq!(metadata, tenant.keys().metadata());
    assert_eq!(metadata["issuer"], tenant.keys().v2_issuer());
    let jwks = published(&tenant);
    assert_eq!(jwks, tenant.keys().jwks());
    assert!(verifies(&tenant.token().mint(), &jwks));
    assert!(verifies(&tenant.token().v2().mint(), &jwks));
    assert_eq!(decoded(&tenant.token().v2().mint()).1["iss"], metadata["issuer"]);
}

#[test]
fn v1_metadata_has_the_v1_issuer_and_points_to_keys_without_issuer() {
    let dir = Directory::new("v1");
    let tenant = Tenant::start(dir.path());
    let url = metadata_url(&tenant).replace("/v2.0/.well-known", "/.well-known");
    let metadata = fetch(&tenant, &url).unwrap().json();
    assert_eq!(metadata["issuer"], tenant.keys().v1_issuer());
    let jwks = fetch(&tenant, metadata["jwks_uri"].as_str().unwrap()).unwrap().json();
    assert!(verifies(&tenant.token().mint(), &jwks));
    assert!(jwks["keys"].as_array().unwrap().iter().all(|key| key.get("issuer").is_none()));
    let own = format!("{}/{}/discovery/keys", tenant.authority(), tenant.tenant_id());
    assert_eq!(fetch(&tenant, &own).unwrap().json(), jwks);
}

#[test]
fn another_tenant_is_not_found_and_neither_is_another_page() {
    let dir = Directory::new("not-found");
    let tenant = Tenant::start(dir.path());
    let other = metadata_url(&tenant).replace(tenant::TENANT_ID, tenant::CONSUMER_TENANT_ID);
    assert_eq!(fetch(&tenant, &other).unwrap().status(), 400);
    assert_eq!(fetch(&tenant, &format!("{}/", tenant.authority())).unwrap().status(), 404);
    assert_eq!(tenant.fetches(), 0);
}

#[test]
fn rotation_adds_a_key_that_signs_and_retiring_takes_one_away() {
    let dir = Directory::new("rotation");
    let tenant = Tenant::start(dir.path());
    let before = tenant.token();
    let old = tenant.keys().kid(&Signer::Current);
    let new = tenant.rotate();
    assert_ne!(new, old);
    assert_eq!(decoded(&tenant.token().mint()).0["kid"], new);
    let jwks = published(&tenant);
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 5);
    assert!(verifies(&before.mint(), &jwks) && verifies(&tenant.token().mint(), &jwks));

    tenant.retire(&old);
    let jwks = published(&tenant);
    assert!(!verifies(&before.mint(), &jwks), "the old key is gone");
    assert!(verifies(&tenant.token().mint(), &jwks), "the new one is not");
    assert_ne!(tenant.keys().kid(&Signer::Second), old);
}

#[test]
fn the_current_key_can_be_withdrawn_while_it_signs() {
    let dir = Directory::new("withdrawn");
    let tenant = Tenant::start(dir.path());
    tenant.retire(&tenant.keys().kid(&Signer::Current));
    assert!(!verifies(&tenant.token().mint(), &published(&tenant)));
}

#[test]
fn a_second_start_has_the_same_keys_ca_and_port() {
    let dir = Directory::new("second-start");
    let first = Tenant::start(dir.path());
    let (authority, ca, kid) = (first.authority(), fs::read(first.ca_file()).unwrap(), first.rotate());
    drop(first);
    let second = Tenant::start(dir.path());
    assert_eq!(second.authority(), authority);
    assert_eq!(fs::read(second.ca_file()).unwrap(), ca);
    assert_eq!(second.keys().kid(&Signer::Current), kid);
    assert!(verifies(&second.token().mint(), &published(&second)));
}

#[test]
fn a_port_that_is_asked_for_is_kept() {
    let dir = Directory::new("port");
    let first = Tenant::start(dir.path());
    let (port, kid) = (client::port(&first), first.keys().kid(&Signer::Current));
    drop(first);
    let other = if port == 31_999 { port - 1 } else { port + 1 };
    let moved = Tenant::start_with(dir.path(), Options { port: Some(other) });
    assert_eq!(client::port(&moved), other);
    assert_eq!(moved.keys().kid(&Signer::Current), kid);
    drop(moved);
    assert_eq!(client::port(&Tenant::start(dir.path())), other);
}

#[test]
fn private_keys_are_for_their_owner_and_the_ca_is_for_everyone() {
    let dir = Directory::new("modes");
    let tenant = Tenant::start(dir.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path()), 0o755);
    assert_eq!(mode(&tenant.ca_file()), 0o644);
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let private: Vec<_> = entries.filter(|path| *path != tenant.ca_file()).collect();
    assert_eq!(private.len(), 2);
    assert!(private.iter().all(|path| mode(path) == 0o600));
}

#[test]
fn another_process_mints_with_the_same_keys() {
    let dir = Directory::new("process");
    let tenant = Tenant::start(dir.path());
    let minted = printed(&program(dir.path(), "mint", &["--user", "bob@example.com", "--v2"]));
    assert!(verifies(&minted, &published(&tenant)));
    let (_, claims) = decoded(&minted);
    assert_eq!(claims["preferred_username"], "bob@example.com");
    assert_eq!(claims["iss"], tenant.keys().v2_issuer());
}

#[test]
fn another_process_rotates_and_the_running_server_notices() {
    let dir = Directory::new("rotates");
    let tenant = Tenant::start(dir.path());
    let old = tenant.keys().kid(&Signer::Current);
    let new = printed(&program(dir.path(), "rotate", &[]));
    let minted = printed(&program(dir.path(), "mint", &[]));
    assert_eq!(decoded(&minted).0["kid"], new);
    assert!(verifies(&minted, &published(&tenant)));
    assert!(program(dir.path(), "retire", &["--kid", &old]).status.success());
    assert!(published(&tenant)["keys"].as_array().unwrap().iter().all(|key| key["kid"] != old));
    assert!(!program(dir.path(), "retire", &["--kid", &old]).status.success());
}

#[test]
fn the_command_line_makes_every_kind_of_token() {
    let dir = Directory::new("kinds");
    let tenant = Tenant::start(dir.path());
    let claims = |arguments: &[&str]| decoded(&printed(&program(dir.path(), "mint", arguments))).1;
    assert_eq!(claims(&["--app", "a"])["appid"], "a");
    assert!(claims(&["--guest", "c@partner.example"])["upn"].as_str().unwrap().contains("#EXT#"));
    assert_eq!(claims(&["--group", "x", "--group", "y"])["groups"], serde_json::json!(["x", "y"]));
    assert_eq!(claims(&["--audience", "api://own"])["aud"], "api://own");
    assert_eq!(claims(&["--tenant", tenant::CONSUMER_TENANT_ID])["tid"], tenant::CONSUMER_TENANT_ID);
    let mixed = claims(&["--claim", "n=1", "--claim", "s=text", "--claim", "a=[true]"]);
    assert_eq!((&mixed["n"], &mixed["s"], &mixed["a"]), (&1.into(), &"text".into(), &vec![true].into()));
    let expired = claims(&["--expired"]);
    assert!(expired["exp"].as_i64() < tenant.token().claims()["iat"].as_i64());
    let consumer = printed(&program(dir.path(), "mint", &["--signer", "consumer", "--header", "x=y"]));
    assert_eq!(decoded(&consumer).0["kid"], tenant.keys().kid(&Signer::Consumer));
    assert_eq!(decoded(&consumer).0["x"], Value::from("y"));
}

#[test]
fn minting_where_no_tenant_is_kept_is_an_error_that_says_so() {
    let dir = Directory::new("nobody");
    let output = program(dir.path(), "mint", &[]);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no tenant is kept in"));
}
