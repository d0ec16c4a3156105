//! Each behavior does what it says, and none of them keeps the tenant from stopping.

mod client;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use client::{Directory, connect, fetch, fetch_at_most, metadata_url, port, published};
use serde_json::{Value, json};
use tenant::{Behavior, Tenant};

const MOMENT: Duration = Duration::from_millis(300);

fn started(name: &str) -> (Directory, Tenant) {
    let dir = Directory::new(name);
    let tenant = Tenant::start(dir.path());
    (dir, tenant)
}

fn keys_url(tenant: &Tenant) -> String {
    format!("{}/{}/discovery/v2.0/keys", tenant.authority(), tenant.tenant_id())
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Waits for something that the server's threads bring about.
fn wait_until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited too long");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn stalled_takes_the_request_and_never_answers() {
    let (_dir, tenant) = started("stalled");
    tenant.set_behavior(Behavior::Stalled);
    let mut stream = connect(&tenant, Duration::from_secs(10)).unwrap();
    write!(stream, "GET {} HTTP/1.1\r\n\r\n", metadata_url(&tenant).replace(&tenant.authority(), ""))
        .unwrap();
    stream.flush().unwrap();
    stream.sock.set_read_timeout(Some(MOMENT)).unwrap();
    assert!(is_timeout(&stream.read(&mut [0; 1]).unwrap_err()));
    assert!(!stream.conn.is_handshaking(), "TLS went well");
    assert_eq!(tenant.fetches(), 1);
}

#[test]
fn stalled_before_tls_never_answers_the_greeting() {
    let (_dir, tenant) = started("before-tls");
    tenant.set_behavior(Behavior::StalledBeforeTls);
    let mut stream = connect(&tenant, MOMENT).unwrap();
    assert!(is_timeout(&stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err()));
    assert!(stream.conn.is_handshaking());
    wait_until(|| tenant.fetches() >= 1);
}

#[test]
fn connections_that_stall_hold_up_neither_others_nor_the_end() {
    let (_dir, tenant) = started("concurrent");
    tenant.set_behavior(Behavior::StalledBeforeTls);
    let before: Vec<_> = (0..4).map(|_| TcpStream::connect(("127.0.0.1", port(&tenant))).unwrap()).collect();
    wait_until(|| tenant.fetches() >= 4);
    tenant.set_behavior(Behavior::Stalled);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fetch(&tenant, &metadata_url(&tenant)).map(drop).unwrap_err());
        }
        wait_until(|| tenant.fetches() >= 8);
        tenant.set_behavior(Behavior::Well);
        assert_eq!(fetch(&tenant, &metadata_url(&tenant)).unwrap().status(), 200);
        let began = Instant::now();
        tenant.stop();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
    drop(before);
}

#[test]
fn html_is_a_page_of_html_with_status_200() {
    let (_dir, tenant) = started("html");
    tenant.set_behavior(Behavior::Html);
    for url in [metadata_url(&tenant), keys_url(&tenant)] {
        let reply = fetch(&tenant, &url).unwrap();
        assert_eq!((reply.status(), reply.header("Content-Type")), (200, Some("text/html")));
        assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    }
}

#[test]
fn a_status_is_the_status() {
    let (_dir, tenant) = started("status");
    for status in [429, 500, 503] {
        tenant.set_behavior(Behavior::Status(status));
        assert_eq!(fetch(&tenant, &metadata_url(&tenant)).unwrap().status(), status);
    }
    assert_eq!(tenant.fetches(), 3);
}

#[test]
fn a_redirect_says_where_to() {
    let (_dir, tenant) = started("redirect");
    tenant.set_behavior(Behavior::Redirect("https://elsewhere.example/".to_owned()));
    let reply = fetch(&tenant, &metadata_url(&tenant)).unwrap();
    assert_eq!((reply.status(), reply.header("Location")), (302, Some("https://elsewhere.example/")));
}

#[test]
fn truncated_promises_more_than_it_sends() {
    let (_dir, tenant) = started("truncated");
    tenant.set_behavior(Behavior::Truncated);
    let reply = fetch(&tenant, &keys_url(&tenant)).unwrap();
    let promised: usize = reply.header("Content-Length").unwrap().parse().unwrap();
    assert_eq!(reply.body.len(), promised / 2);
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
}

#[test]
fn an_empty_set_has_no_keys_and_good_metadata() {
    let (_dir, tenant) = started("empty");
    tenant.set_behavior(Behavior::EmptySet);
    assert_eq!(published(&tenant), json!({ "keys": [] }));
    tenant.set_behavior(Behavior::Well);
    assert_eq!(published(&tenant), tenant.keys().jwks());
}

#[test]
fn late_sends_the_right_answer_as_of_the_request() {
    let (_dir, tenant) = started("late");
    tenant.set_behavior(Behavior::Late(MOMENT));
    let before = tenant.keys().jwks();
    let began = Instant::now();
    let reply = thread::scope(|threads| {
        let reply = threads.spawn(|| fetch(&tenant, &keys_url(&tenant)).unwrap());
        wait_until(|| tenant.key_sets() > 0);
        tenant.rotate();
        reply.join().unwrap()
    });
    assert!(began.elapsed() >= MOMENT);
    assert_eq!(reply.json(), before);
    assert_ne!(published(&tenant), before);
}

#[test]
fn slow_sends_the_right_answer_byte_by_byte() {
    let (_dir, tenant) = started("slow");
    tenant.set_behavior(Behavior::Slow(Duration::from_micros(100)));
    let began = Instant::now();
    let reply = fetch(&tenant, &metadata_url(&tenant)).unwrap();
    assert_eq!(reply.json(), tenant.keys().metadata());
    assert!(began.elapsed() > Duration::from_micros(100) * u32::try_from(reply.body.len()).unwrap());

    tenant.set_behavior(Behavior::Slow(Duration::from_secs(60)));
    let patience = Duration::from_millis(200);
    assert!(is_timeout(&fetch_at_most(&tenant, &metadata_url(&tenant), patience, 1000).unwrap_err()));
    let began = Instant::now();
    tenant.stop();
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn endless_outlasts_every_limit() {
    let (_dir, tenant) = started("endless");
    tenant.set_behavior(Behavior::Endless);
    let limit = 3 << 20;
    let reply = fetch_at_most(&tenant, &keys_url(&tenant), Duration::from_secs(10), limit).unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.header("Transfer-Encoding"), Some("chunked"));
    assert!(reply.body.starts_with(b"c\r\n{\"keys\": [\"x\r\n1000\r\n"));
    assert_eq!(u64::try_from(reply.head.len() + 4 + reply.body.len()).unwrap(), limit);
}

#[test]
fn a_body_is_sent_as_given_and_the_other_document_is_the_right_one() {
    let (_dir, tenant) = started("body");
    tenant.set_behavior(Behavior::Body { metadata: None, jwks: Some("[1".to_owned()) });
    assert_eq!(fetch(&tenant, &metadata_url(&tenant)).unwrap().json(), tenant.keys().metadata());
    assert_eq!(fetch(&tenant, &keys_url(&tenant)).unwrap().body, b"[1");
    tenant.set_behavior(Behavior::Body { metadata: Some("{}".to_owned()), jwks: None });
    assert_eq!(fetch(&tenant, &metadata_url(&tenant)).unwrap().body, b"{}");
    assert_eq!(fetch(&tenant, &keys_url(&tenant)).unwrap().json(), tenant.keys().jwks());
}

#[test]
fn a_stopped_tenant_refuses_connections_and_starts_again_on_the_same_port() {
    let (_dir, tenant) = started("stop");
    let address = ("127.0.0.1", port(&tenant));
    assert_eq!(fetch(&tenant, &metadata_url(&tenant)).unwrap().status(), 200);
    for _ in 0..3 {
        tenant.stop();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        tenant.start_again();
        tenant.start_again();
        assert_eq!(fetch(&tenant, &metadata_url(&tenant)).unwrap().status(), 200);
    }
    assert_eq!(tenant.fetches(), 4);
    drop(tenant);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn only_metadata_requests_count_as_fetches() {
    let (_dir, tenant) = started("count");
    fetch(&tenant, &keys_url(&tenant)).unwrap();
    assert_eq!(tenant.fetches(), 0);
    fetch(&tenant, &metadata_url(&tenant)).unwrap();
    assert_eq!(tenant.fetches(), 1);
}
