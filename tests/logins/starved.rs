//! A backend at its memory limit: a stranger's bytes end the login and never the process by a signal, which
//! would restart the whole server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_tests::account::server_command;
use pgaad_tests::wire::{self, Outcome};
use pgaad_tests::{Scene, Transport, skipped};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a process may have more than it has, in kB: from nothing to more than any token takes.
const LIMITS: [u64; 15] = [0, 4, 16, 64, 128, 192, 256, 512, 1_024, 2_048, 3_072, 4_096, 5_120, 6_144, 8_192];

/// A token of 64 kB whose header is this.
fn token(header: &str) -> String {
    let token = format!("{}.e30.", URL_SAFE_NO_PAD.encode(header));
    let rest = 65_000_usize.saturating_sub(token.len());
    token + &"A".repeat(rest / 4 * 4)
}

fn hostile_tokens() -> Vec<String> {
    let array =
        |piece: &str| format!(r#"{{"alg":[{}0]}}"#, format!("{piece},").repeat(47_000 / (piece.len() + 1)));
    let nested = "[".repeat(120) + &"]".repeat(120);
    let members: String = (0..5_500).map(|number| format!(r#""{number:x}":0,"#)).collect();
    vec![
        token(&array("0")),
        token(&array("[0]")),
        token(&array(&nested)),
        token(&format!("{{{members}\"z\":0}}")),
    ]
}

/// The process that waits for a password, once there is one.
fn waiting_backend(scene: &Scene) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let [pid] = scene.cluster.processes("authentication")[..] {
            return pid;
        }
        assert!(Instant::now() < deadline, "{:?}", scene.cluster.processes(""));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The size of its address space, kB.
fn size_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmSize:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn bytes_of_a_stranger_at_the_memory_limit_end_the_login_and_not_the_server() {
    if !Command::new("prlimit").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return skipped("needs prlimit");
    }
    let scene = Scene::with(|cluster| cluster.conf("pgaad.max_token_bytes", "65535B"));
    let role = scene.member();
    let mark = scene.cluster.log_mark();
    let mut starved = 0;
    for route in scene.token_routes() {
        for hostile in hostile_tokens() {
            for limit in LIMITS {
                let attempt = scene.attempt(route, &role).over(Transport::Plain);
                let connection = attempt.until_asked();
                let pid = waiting_backend(&scene);
                let bytes = (size_of(pid).expect("a process") + limit) * 1_024;
                let limited = server_command("prlimit")
                    .args([format!("--pid={pid}"), format!("--as={bytes}")])
                    .status();
                assert!(limited.is_ok_and(|status| status.success()), "prlimit");
                let before = scene.cluster.log_mark();
                let login = wire::finish(connection, hostile.as_bytes());
                let Outcome::Refused(answers) = login.outcome else { panic!("{route}: let in") };
                let log = scene.cluster.log_since(before);
                assert!(!log.contains("terminated by signal"), "{route}, {limit} kB: {log}");
                starved += usize::from(log.contains("code=out_of_memory") || log.contains("out of memory"));
                let told = |answer: &wire::Answer| answer.severity == "FATAL";
                assert!(answers.iter().any(told), "{route}, {limit} kB: {answers:?}\n{log}");
            }
        }
        // The server has not restarted, and lets others in.
        scene.attempt(route, &role).expect_admitted();
    }
    let log = scene.cluster.log_since(mark);
    assert!(!log.contains("terminated by signal") && !log.contains("terminating any other"), "{log}");
    // The limits were felt, and not by all.
    println!("{starved} of {} were short of memory", scene.token_routes().len() * 4 * LIMITS.len());
    assert!(starved > 10, "{starved}: {log}");
    assert!(log.contains("code=header_invalid") || log.contains("code=forbidden_header"), "{log}");
}
