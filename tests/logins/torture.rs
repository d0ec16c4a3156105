//! Malformed packets at every step of a login, to a live server on both ways in: nobody gets in, the
//! server stays up, and no process is left behind.

use pgaad_tests::wire::{Connection, Message};
use pgaad_tests::{Attempt, Scene};
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
    for route in scene.routes() {
        scene.attempt(route, role).expect_admitted();
    }
    let deadline = Instant::now() + TIMEOUT + Duration::from_secs(10);
    while !scene.cluster.backend_pids().is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", scene.cluster.backend_pids());
        thread::sleep(Duration::from_millis(50));
    }
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
    let nul_terminated = |text: &str| [text.as_bytes(), b"\0"].concat();
    let password = message(b'p', &nul_terminated(&bad));
    let query = message(b'Q', b"SELECT pg_reload_conf()\0");
    let cut = token.len() / 2;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a query in place of a password", query.clone()),
        ("termination in place of a password", message(b'X', b"")),
        ("a type that does not exist", message(b'?', &nul_terminated(&token))),
        ("a type of zero", message(0, &nul_terminated(&token))),
        ("a GSS answer of the same type, with binary data", message(b'p', &[0x60, 0x82, 0xff, 0, 1, 2, 3])),
        ("length 0", packet(b'p', 0, &nul_terminated(&token))),
        ("length 3", packet(b'p', 3, &nul_terminated(&token))),
        ("length 4, no body", packet(b'p', 4, b"")),
        ("length -1", packet(b'p', -1, &nul_terminated(&token))),
        ("the least length", packet(b'p', i32::MIN, &nul_terminated(&token))),
        ("the greatest length", packet(b'p', i32::MAX, &nul_terminated(&token))),
        ("65,532 bytes of body", message(b'p', &[vec![b'a'; 65_531], vec![0]].concat())),
        ("65,531 bytes of body, no NUL", message(b'p', &vec![b'a'; 65_531])),
        ("no NUL at the end", message(b'p', token.as_bytes())),
        ("two NULs at the end", message(b'p', &[token.as_bytes(), b"\0\0"].concat())),
        (
            "a NUL inside",
            message(b'p', &[&token.as_bytes()[..cut], b"\0", &token.as_bytes()[cut..], b"\0"].concat()),
        ),
        ("a NUL first", message(b'p', &[b"\0", token.as_bytes(), b"\0"].concat())),
        ("nothing but the NUL", message(b'p', b"\0")),
        ("a body shorter than its length", packet(b'p', 20_000, &nul_terminated(&token))),
        ("a length shorter than the body", packet(b'p', 100, &nul_terminated(&token))),
        ("two bad passwords", [password.clone(), password.clone()].concat()),
        (
            "a bad password, then a good one",
            [password.clone(), message(b'p', &nul_terminated(&token))].concat(),
        ),
        ("a bad password, and a query behind it", [password, query].concat()),
    ];
    for (case, bytes) in &cases {
        for attempt in attempts(&scene, &role) {
            let mut connection = attempt.until_asked();
            // The server may hang up while it is being written to.
            let _ = connection.send_raw(bytes);
            expect_no_way_in(case, &mut connection);
        }
    }
    expect_unharmed(&scene, &role, &before);
}

fn attempts<'a>(scene: &'a Scene, role: &str) -> Vec<Attempt<'a>> {
    scene.routes().into_iter().map(|route| scene.attempt(route, role)).collect()
}

#[test]
fn client_that_is_silent_slow_or_gone_holds_nothing_for_longer_than_the_timeout() {
    let scene = scene();
    let role = scene.member();
    let before = shared_state(&scene);
    let token = scene.token(&role).mint();
    let whole = message(b'p', &[token.as_bytes(), b"\0"].concat());
    thread::scope(|threads| {
        for attempt in attempts(&scene, &role) {
            let (silent, slow, whole) = (attempt.clone(), attempt.clone(), &whole);
            threads.spawn(move || {
                let mut connection = silent.until_asked();
                expect_no_way_in("silence", &mut connection);
            });
            threads.spawn(move || {
                let mut connection = slow.until_asked();
                for byte in &whole[..12] {
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
    for database in ["pam_db", "trust_db"] {
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
