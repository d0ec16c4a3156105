//! An identity provider that is hostile, asked without a server of PostgreSQL's: each answer by its code.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_provider::{FetchError, FetchRequest, Fetched, Route, fetch};
use serde_json::{Value, json};
use tenant::Behavior;

/// The stand-in tenant, in a directory of its own.
struct Provider {
    tenant: tenant::Tenant,
    directory: PathBuf,
}

impl Provider {
    fn start(name: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let directory = std::env::temp_dir().join(format!("pgaad-provider-{name}-{since}"));
        Self { tenant: tenant::Tenant::start(&directory), directory }
    }

    fn request(&self) -> FetchRequest {
        let authority = self.tenant.authority().parse().expect("an authority");
        let id = self.tenant.tenant_id().parse().expect("a GUID");
        FetchRequest {
            tenant: Tenant::new(id, Cloud::Public, Some(authority)),
            route: Route { ca_file: Some(self.tenant.ca_file()), https_proxy: None },
            jwks_file: None,
        }
    }

    fn fetch(&self, behavior: Behavior) -> Result<Fetched, FetchError> {
        self.tenant.set_behavior(behavior);
        fetch(&self.request())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // Ours, and nobody looks into it any more; what cannot be removed is left in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Every answer is refused by its code, and the next good one is taken.
fn expect_refused(provider: &Provider, cases: Vec<(&str, Behavior, &str)>) {
    for (case, behavior, code) in cases {
        let error = provider.fetch(behavior).expect_err(case);
        assert_eq!(error.code(), code, "{case}");
        let fetched = provider.fetch(Behavior::Well).expect(case);
        assert!(!fetched.keys.keys().is_empty(), "{case}");
    }
}

#[test]
fn answers_that_are_none_of_http_are_refused() {
    let provider = Provider::start("http");
    let authority = provider.tenant.authority();
    let cases = vec![
        ("plain http", Behavior::Redirect(authority.replace("https", "http")), "redirected"),
        ("another host", Behavior::Redirect("https://127.0.0.1:1/keys".into()), "redirected"),
        ("a file", Behavior::Redirect("file:///etc/passwd".into()), "redirected"),
        ("html", Behavior::Html, "metadata_malformed"),
        ("204", Behavior::framed("HTTP/1.1 204 No Content\r\n", b""), "http_status_204"),
        (
            "429",
            Behavior::framed("HTTP/1.1 429 Slow Down\r\nRetry-After: 86400\r\nContent-Length: 0\r\n", b""),
            "http_status_429",
        ),
        ("500", Behavior::Status(500), "http_status_500"),
        ("not http", Behavior::framed("SSH-2.0-OpenSSH_9.2\r\n", b""), "not_http"),
        (
            "1 GB promised",
            Behavior::without_end("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", &[b' '; 65_536]),
            "too_large",
        ),
        ("chunked for ever", Behavior::Endless, "too_large"),
        (
            "headers for ever",
            Behavior::without_end("HTTP/1.1 200 OK\r\n", &b"X-Filler: 0123456789abcdef\r\n".repeat(64)),
            "not_http",
        ),
        (
            "one header line for ever",
            Behavior::without_end("HTTP/1.1 200 OK\r\nX-Filler: ", &[b'x'; 4096]),
            "too_large",
        ),
        (
            "gzip",
            Behavior::framed(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n",
                b"\x1f\x8b\x08\0\0\0\0\0\0\x03AA",
            ),
            "metadata_malformed",
        ),
    ];
    expect_refused(&provider, cases);
}

#[test]
fn metadata_of_somebody_else_and_metadata_that_is_ambiguous_are_refused() {
    let provider = Provider::start("metadata");
    let keys = provider.tenant.keys();
    let metadata = |member: &str, value: Value| {
        let mut metadata = keys.metadata();
        metadata[member] = value;
        Behavior::Body { metadata: Some(metadata.to_string()), jwks: None }
    };
    let authority = provider.tenant.authority();
    let twice = keys.metadata().to_string().replacen('{', "{\"jwks_uri\":\"https://127.0.0.2:1/keys\",", 1);
    let other = format!("{authority}/11111111-2222-3333-4444-555555555555/v2.0");
    let cases = vec![
        (
            "keys elsewhere",
            metadata("jwks_uri", json!("https://127.0.0.2:1/keys")),
            "metadata_foreign_keys_url",
        ),
        ("another tenant", metadata("issuer", json!(other)), "metadata_wrong_issuer"),
        ("a member twice", Behavior::Body { metadata: Some(twice), jwks: None }, "metadata_malformed"),
        ("no text", metadata("jwks_uri", json!([])), "metadata_malformed"),
        (
            "a longer text than any",
            metadata("jwks_uri", json!(format!("{authority}/{}", "k".repeat(4096)))),
            "metadata_malformed",
        ),
    ];
    expect_refused(&provider, cases);
}

#[test]
fn key_sets_that_cannot_be_used_are_refused() {
    let provider = Provider::start("keys");
    let keys = provider.tenant.keys();
    let set = |jwks: Value| Behavior::Body { metadata: None, jwks: Some(jwks.to_string()) };
    let key = keys.jwks()["keys"][0].clone();
    let with = |member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        key
    };
    let twins = vec![with("n", keys.jwks()["keys"][1]["n"].clone()), key.clone()];
    let many: Vec<Value> =
        (0..10_000).map(|number| json!({ "kty": "RSA", "kid": number.to_string() })).collect();
    let whole = keys.jwks().to_string();
    let cases = vec![
        (
            "truncated json",
            Behavior::Body { metadata: None, jwks: Some(whole[..whole.len() / 2].into()) },
            "keys_malformed",
        ),
        ("10,000 keys", set(json!({ "keys": many })), "keys_too_many"),
        ("two keys of one id", set(json!({ "keys": twins })), "keys_unusable"),
        ("a private key", set(json!({ "keys": [with("d", json!("AQAB"))] })), "keys_unusable"),
        (
            "a symmetric key",
            set(json!({ "keys": [{ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }] })),
            "keys_unusable",
        ),
        (
            "a member twice",
            Behavior::Body { metadata: None, jwks: Some("{\"keys\":[],\"keys\":[]}".into()) },
            "keys_malformed",
        ),
    ];
    expect_refused(&provider, cases);
}

#[test]
fn good_answer_brings_the_keys_the_document_and_the_clock() {
    let provider = Provider::start("good");
    let fetched = provider.fetch(Behavior::Well).expect("good");
    let served: Value = serde_json::from_str(&fetched.document).expect("JSON");
    assert_eq!(served, provider.tenant.keys().jwks());
    assert_eq!(Some(fetched.keys.keys().len()), served["keys"].as_array().map(Vec::len));
    assert!(fetched.provider_time.is_some() && fetched.modified.is_none());
}

#[test]
fn provider_is_only_trusted_by_its_authority() {
    let provider = Provider::start("trust");
    let untrusted = FetchRequest { route: Route::default(), ..provider.request() };
    // A machine may have no authorities at all.
    let error = fetch(&untrusted).expect_err("no authority of the system's");
    assert!(["tls_unknown_issuer", "no_authorities"].contains(&error.code().as_str()), "{error:?}");
}

/// Each cause has a name of its own, and says of whom it speaks.
fn expect_error(request: &FetchRequest, code: &str, words: &str) {
    let error = fetch(request).expect_err(code);
    assert_eq!(error.code(), code, "{error:?}");
    let said = error.words().unwrap_or_default();
    assert!(said.contains(words), "{words}: {said}");
}

#[test]
fn causes_have_names_and_facts() {
    let provider = Provider::start("causes");
    let host = provider.tenant.authority().replace("https://", "");
    let at = |authority: &str| {
        let id = provider.tenant.tenant_id().parse().expect("a GUID");
        let authority = authority.parse().expect("an authority");
        FetchRequest { tenant: Tenant::new(id, Cloud::Public, Some(authority)), ..provider.request() }
    };
    let by = |proxy: &str| {
        let route = Route { https_proxy: Some(proxy.into()), ..provider.request().route };
        FetchRequest { route, ..provider.request() }
    };
    let trusting = |ca_file: PathBuf| {
        let route = Route { ca_file: Some(ca_file), ..provider.request().route };
        FetchRequest { route, ..provider.request() }
    };
    expect_error(&at("https://127.0.0.1:1"), "connection_refused", "127.0.0.1:1: Connection refused");
    expect_error(&by("http://127.0.0.1:1"), "proxy_connection_refused", "127.0.0.1:1: Connection refused");
    for proxy in ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1:1", "http://", ""] {
        expect_error(&by(proxy), "proxy_unusable", "");
    }
    for (answer, words) in [("407 Proxy Authentication Required", "407"), ("403 Forbidden", "403"), ("", "")]
    {
        let proxy = answer_each(answer);
        expect_error(&by(&proxy), "proxy_failed", words);
    }
    let proxy = answer_each("407 Proxy Authentication Required").replace("http://", "http://me:secret@");
    expect_error(&by(&proxy), "proxy_failed", "502");
    let words = fetch(&by(&proxy)).expect_err("502").words().unwrap_or_default();
    assert!(!words.contains("secret"), "{words}");
    let file = provider.directory.join("authorities");
    for (content, words) in [
        ("", "pgaad.ca_file is empty"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "holds a certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "holds a certificate that is damaged",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "holds a key, and no certificate"),
    ] {
        std::fs::write(&file, content).expect("a file of ours");
        expect_error(&trusting(file.clone()), "ca_file_unusable", words);
    }
    expect_error(&trusting(provider.directory.join("absent")), "ca_file_unusable", "does not exist");
    for (behavior, code, words) in [
        (Behavior::Redirect("https://portal.example/".into()), "redirected", "to https://portal.example/"),
        (Behavior::Status(503), "http_status_503", host.as_str()),
        (Behavior::Html, "metadata_malformed", "the OpenID metadata is HTML"),
        (Behavior::framed("SSH-2.0-OpenSSH_9.2\r\n", b""), "not_http", host.as_str()),
    ] {
        provider.tenant.set_behavior(behavior);
        expect_error(&provider.request(), code, words);
    }
    provider.tenant.stop();
    expect_error(&provider.request(), "connection_refused", &host);
}

/// A proxy that gives each request this status, or closes the connection where there is none. To a request with the
/// password `secret` of `me` it gives 502.
fn answer_each(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                // The client may be gone.
                if client.read(&mut byte).unwrap_or_default() == 0 {
                    break;
                }
                head.extend(byte);
            }
            let is_known =
                String::from_utf8_lossy(&head).contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n");
            let status = if is_known { "502 Bad Gateway" } else { status };
            if !status.is_empty() {
                let _ =
                    client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
            }
        }
    });
    url
}
