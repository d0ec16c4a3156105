//! Malformed packets at every step of a login, to a live server by every way in: nobody gets in, the
//! server stays up, and no process is left behind.

use pgaad_tests::wire::{Connection, Message};
use pgaad_tests::{Route, Scene, wait_until};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tenant::Signer;

/// `authentication_timeout` of the server under torture.
const TIMEOUT: Duration = Duration::from_secs(3);

fn scene() -> Scene {
    Scene::with(|cluster| cluster.conf("authentication_timeout", "3s"))
}

/// Reads what the server still says, until it hangs up. None of it may be `AuthenticationOk`.
fn expect_no_way_in(case: &str, connection: &mut Connection) {
    let began = Instant::now();
    while let Ok(Message { tag, body }) = connection.read_message() {
        assert!(!(tag == b'R' && body.starts_with(&[0, 0, 0, 0])), "{case}: AuthenticationOk");
        assert!(matches!(tag, b'R' | b'E' | b'N'), "{case}: the server said {}", char::from(tag));
    }
    assert!(began.elapsed() < TIMEOUT + Duration::from_secs(7), "{case}: hung for {:?}", began.elapsed());
}

/// Everything that the server shows of the state that logins share, but what time changes.
fn shared_state(scene: &Scene) -> String {
    let state = "SELECT string_agg(k::text, ';' ORDER BY kid) || (SELECT row(configured, ready, problem, worker_pid,
                 last_success, last_error, next_refresh, keys, version)::text FROM pgaad.status) FROM pgaad.keys k";
    scene.cluster.value(state)
}

fn expect_unharmed(scene: &Scene, role: &str, before: &str) {
    for route in scene.token_routes() {
        scene.attempt(route, role).expect_admitted();
    }
    wait_until("no process is left behind", || scene.cluster.backend_pids().is_empty());
    assert_eq!(shared_state(scene), before);
}

/// A packet of any type, with any length.
fn packet(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    packet(tag, i32::try_from(body.len() + 4).expect("short"), body)
}

#[test]
fn malformed_answer_to_the_prompt_lets_nobody_in() {
    let scene = scene();
    let role = scene.member();
    let before = shared_state(&scene);
    let token = scene.token(&role).mint();
    let bad = scene.token(&role).signed_by(Signer::Broken).mint();
    for route in scene.token_routes() {
        let attempt = scene.attempt(route, &role);
        for (case, bytes) in malformed_answers(&answer(route, &token), &answer(route, &bad)) {
            let mut connection = attempt.until_asked();
            // The server may hang up while it is being written to.
            let _ = connection.send_raw(&bytes);
            expect_no_way_in(&format!("{route}: {case}"), &mut connection);
        }
    }
    expect_unharmed(&scene, &role, &before);
}

/// The body of the message that answers the prompt with a token.
fn answer(route: Route, token: &str) -> Vec<u8> {
    if route != Route::OAuth {
        return [token.as_bytes(), b"\0"].concat();
    }
    // RFC 7628 §3.1, in PostgreSQL's SASLInitialResponse.
    let response = format!("n,,\x01auth=Bearer {token}\x01\x01");
    let length = u32::try_from(response.len()).expect("short").to_be_bytes();
    [b"OAUTHBEARER\0", &length[..], response.as_bytes()].concat()
}

/// Bytes that the server must not take for an answer, though there is a good one in them.
fn malformed_answers(good: &[u8], bad: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let password = message(b'p', bad);
    let query = message(b'Q', b"SELECT pg_reload_conf()\0");
    let (whole, cut) = (message(b'p', good), good.len() / 2);
    vec![
        ("a query in place of a password", query.clone()),
        ("termination in place of a password", message(b'X', b"")),
        ("a type that does not exist", message(b'?', good)),
        ("a type of zero", message(0, good)),
        ("a GSS answer of the same type, with binary data", message(b'p', &[0x60, 0x82, 0xff, 0, 1, 2, 3])),
        ("length 0", packet(b'p', 0, good)),
        ("length 3", packet(b'p', 3, good)),
        ("length 4, no body", packet(b'p', 4, b"")),
        ("length -1", packet(b'p', -1, good)),
        ("the least length", packet(b'p', i32::MIN, good)),
        ("the greatest length", packet(b'p', i32::MAX, good)),
        ("65,532 bytes of body", message(b'p', &[vec![b'a'; 65_531], vec![0]].concat())),
        ("65,531 bytes of body, no NUL", message(b'p', &vec![b'a'; 65_531])),
        ("no end", message(b'p', &good[..good.len() - 1])),
        ("a NUL more at the end", message(b'p', &[good, b"\0"].concat())),
        ("a NUL inside", message(b'p', &[&good[..cut], b"\0", &good[cut..]].concat())),
        ("a NUL first", message(b'p', &[b"\0", good].concat())),
        ("nothing but the NUL", message(b'p', b"\0")),
        ("a body shorter than its length", packet(b'p', 20_000, good)),
        ("a length shorter than the body", packet(b'p', 100, good)),
        ("two bad passwords", [password.clone(), password.clone()].concat()),
        ("a bad password, then a good one", [password.clone(), whole].concat()),
        ("a bad password, and a query behind it", [password, query].concat()),
    ]
}

#[test]
fn client_that_is_silent_slow_or_gone_holds_nothing_for_longer_than_the_timeout() {
    let scene = scene();
    let role = scene.member();
    let before = shared_state(&scene);
    let token = scene.token(&role).mint();
    thread::scope(|threads| {
        for route in scene.token_routes() {
            let attempt = scene.attempt(route, &role);
            let (silent, slow) = (attempt.clone(), attempt.clone());
            let whole = Arc::new(message(b'p', &answer(route, &token)));
            let slowly = Arc::clone(&whole);
            threads.spawn(move || {
                let mut connection = silent.until_asked();
                expect_no_way_in("silence", &mut connection);
            });
            threads.spawn(move || {
                let mut connection = slow.until_asked();
                for byte in &slowly[..12] {
                    if connection.send_raw(&[*byte]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(500));
                }
                expect_no_way_in("one byte at a time", &mut connection);
            });
            threads.spawn(move || {
                // Gone at every step of the answer.
                for length in [0, 1, 4, 5, 6, whole.len() / 2, whole.len() - 1] {
                    let mut connection = attempt.until_asked();
                    let _ = connection.send_raw(&whole[..length]);
                }
            });
        }
    });
    for database in scene.token_routes().into_iter().map(Route::database) {
        // Gone before the server has asked for anything.
        drop(Connection::connect(&scene.cluster.tcp(database)));
        for bytes in
            [&[0_u8, 0][..], &[0, 0, 0, 200, 0, 3, 0, 0], &[0xff; 64], &[0, 0, 0, 4], &[0x80, 0, 0, 0]]
        {
            let mut connection =
                Connection::connect(&scene.cluster.plain(database)).expect("the server listens");
            let _ = connection.send_raw(bytes);
        }
    }
    expect_unharmed(&scene, &role, &before);
}
