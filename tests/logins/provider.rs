//! An identity provider that is hostile: good keys stay, time and memory stay bounded, and the code in
//! `pgaad.status` names the cause.

use pgaad_tests::{Scene, run_directory};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tenant::Behavior;

/// The worker's own limit for a fetch is ten seconds.
const LONGEST: Duration = Duration::from_secs(13);
/// By how many kilobytes the worker may grow through all of it.
const GROWTH: u64 = 16 * 1024;

/// Resident memory of the worker, kB.
fn worker_memory(scene: &Scene) -> u64 {
    let pid = scene.cluster.value("SELECT worker_pid FROM pgaad.status");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the worker lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse().ok()).expect("a number")
}

/// The provider answers like this: a refresh fails in time, with this code, and logins go on.
fn expect_failure(scene: &Scene, role: &str, case: &str, behavior: Behavior, code: &str) {
    scene.tenant.set_behavior(behavior);
    let began = Instant::now();
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "f", "{case}: taken for a good answer");
    assert!(began.elapsed() < LONGEST, "{case}: took {:?}", began.elapsed());
    assert_eq!(scene.cluster.value("SELECT last_error FROM pgaad.status"), code, "{case}");
    let serves = "SELECT ready AND problem IS NULL FROM pgaad.status";
    assert_eq!(scene.cluster.value(serves), "t", "{case}");
    scene.attempt(scene.route(), role).expect_admitted();
}

#[test]
fn hostile_answers_cost_little_and_take_no_key_away() {
    let scene = Scene::start();
    let role = scene.member();
    let keys = scene.tenant.keys();
    let set = |jwks: Value| Behavior::Body { metadata: None, jwks: Some(jwks.to_string()) };
    let many: Vec<Value> =
        (0..10_000).map(|number| json!({ "kty": "RSA", "kid": number.to_string() })).collect();
    // What each answer is refused for is tried without a server (crates/provider/tests/hostile.rs); here those that
    // cost most, and one of each kind.
    let cases = [
        ("another host", Behavior::Redirect("https://127.0.0.1:1/keys".into()), "redirected"),
        ("html", Behavior::Html, "metadata_malformed"),
        ("500", Behavior::Status(500), "http_status_500"),
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
        ("10,000 keys", set(json!({ "keys": many })), "keys_too_many"),
    ];
    let before = worker_memory(&scene);
    for (case, behavior, code) in cases {
        expect_failure(&scene, &role, case, behavior, code);
    }
    let after = worker_memory(&scene);
    assert!(after < before + GROWTH, "the worker grew from {before} to {after} kB");

    // What a cache may do with the answer is nothing to us.
    let body = keys.metadata().to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=99999999999999999999\r\nAge: -1\r\nExpires: 0\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    scene.tenant.set_behavior(Behavior::framed(&head, body.as_bytes()));
    scene.cluster.sql("SELECT pgaad.refresh()");
    scene.tenant.set_behavior(Behavior::Well);
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "t");
    scene.attempt(scene.route(), &role).expect_admitted();
}

#[test]
fn provider_that_drips_or_stalls_is_left_after_ten_seconds() {
    let scene = Scene::start();
    let role = scene.member();
    for (case, behavior) in
        [("a byte a second", Behavior::Slow(Duration::from_secs(1))), ("silence", Behavior::Stalled)]
    {
        expect_failure(&scene, &role, case, behavior, "timed_out");
    }
}

/// A TLS server with this certificate that never gets as far as an answer; gives its port.
fn serve_tls(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).expect("our own")];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("our own");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map(Arc::new)
        .expect("our own certificate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let mut tls = rustls::ServerConnection::new(config).expect("a connection");
                while tls.is_handshaking() {
                    tls.complete_io(&mut stream)?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

/// Copies bytes between a port of another loopback address and the tenant's; gives the URL.
fn forward_from_another_address(authority: &str) -> String {
    let target = authority.replace("https://localhost", "127.0.0.1");
    let listener = TcpListener::bind("127.0.0.2:0").expect("another loopback address");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&target).expect("the tenant listens");
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) =
                    (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = from.read(&mut buffer) {
                        to.write_all(&buffer[..length])?;
                    }
                    std::io::Result::Ok(())
                });
            }
        }
    });
    url
}

#[test]
fn provider_whose_certificate_is_not_good_for_it_is_not_talked_to() {
    let scene = Scene::start();
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = || {
        let mut params = rcgen::CertificateParams::new(names()).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "TLS inspection");
        params
    };
    let self_signed = params().self_signed(&key).expect("made");
    let mut params = params();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let expired = params.self_signed(&key).expect("made");
    // The expired one is trusted, but for its age.
    let trusted = run_directory::fresh("expired");
    std::fs::write(&trusted, expired.pem()).expect("our own file");

    let good = scene.tenant.ca_file();
    let at = |port| format!("https://localhost:{port}");
    let elsewhere = forward_from_another_address(&scene.tenant.authority());
    for (code, authority, ca_file, certificate) in [
        ("tls_unknown_issuer", at(serve_tls(&self_signed, &key)), &good, "issuer \"CN=TLS inspection\""),
        ("tls_certificate_expired", at(serve_tls(&expired, &key)), &trusted, "to 2002-01-01T00:00:00Z"),
        ("tls_wrong_name", elsewhere, &good, "subject \"CN="),
    ] {
        scene.cluster.append_conf(&format!(
            "pgaad.authority = '{authority}'\npgaad.ca_file = '{}'",
            ca_file.display()
        ));
        scene.cluster.reload();
        assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "f", "{code}");
        assert_eq!(scene.cluster.value("SELECT last_error FROM pgaad.status"), code);
        let detail = scene.cluster.value("SELECT detail FROM pgaad.check() WHERE item = 'keys'");
        let said = format!("the last fetch failed: {code} ({}: ", authority.replace("https://", ""));
        assert!(detail.contains(&said), "{said}: {detail}");
        assert!(detail.contains(certificate), "{certificate}: {detail}");
    }
}
