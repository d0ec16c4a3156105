//! No backend ever opens an internet socket of its own: only the worker talks to the identity provider.

use pgaad_tests::process::{internet_sockets, signal, title};
use pgaad_tests::{Scene, Transport, process, run_directory, skipped, wait_until};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tenant::{Behavior, Signer};

use crate::directory;

/// The background worker, found by its title: the views are for the server's own word.
fn worker(scene: &Scene) -> u32 {
    let workers = scene.cluster.processes("pgaad key worker");
    assert_eq!(workers.len(), 1, "{:?}", workers.iter().map(|pid| title(*pid)).collect::<Vec<_>>());
    workers[0]
}

/// Children of the postmaster that have a connection to the tenant, now.
fn connected_to_the_tenant(scene: &Scene) -> Vec<u32> {
    let authority = scene.tenant.authority();
    let port: u16 = authority.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let to_tenant = |pid: &u32| internet_sockets(*pid).iter().any(|socket| socket.remote_port == port);
    process::children(scene.cluster.postmaster_pid()).into_iter().filter(to_tenant).collect()
}

#[test]
fn only_the_worker_ever_talks_to_the_provider() {
    let scene = Scene::start();
    let role = scene.member();
    let worker = worker(&scene);
    let token = scene.token(&role).signed_by(Signer::Unpublished).mint();
    // The provider is slow enough for the connection to be seen while the login waits for it.
    scene.tenant.set_behavior(Behavior::Stalled);
    let mut seen = Vec::new();
    thread::scope(|threads| {
        let login =
            threads.spawn(|| scene.attempt(scene.route(), &role).with(&token).expect_refused("key_unknown"));
        while !login.is_finished() {
            seen.extend(connected_to_the_tenant(&scene));
            thread::sleep(Duration::from_millis(10));
        }
        login.join().expect("the login is refused");
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [worker], "worker {worker}");
}

#[test]
fn without_the_worker_nobody_asks_the_provider() {
    let scene = Scene::start();
    let role = scene.member();
    let worker = worker(&scene);
    let token = scene.token(&role).signed_by(Signer::Unpublished).mint();
    let fetches = scene.tenant.fetches();
    signal(worker, "STOP");
    // The login comes to its end while the worker stands still.
    scene.attempt(scene.route(), &role).with(&token).expect_refused("key_unknown");
    scene.attempt(scene.route(), &role).expect_admitted();
    assert_eq!(scene.tenant.fetches(), fetches);
    assert!(connected_to_the_tenant(&scene).is_empty());
    signal(worker, "CONT");
    // The worker finds the request that waited for it.
    wait_until("the worker goes on", || scene.tenant.fetches() > fetches);
}

#[test]
fn no_backend_opens_an_internet_socket_of_its_own() {
    let Ok(version) = Command::new("strace").arg("-V").stdout(Stdio::null()).status() else {
        return skipped("needs strace");
    };
    assert!(version.success());
    let scene = directory::scene();
    let role = scene.member();
    let (member, newcomer) = ("ann@example.com", "bob@example.com");
    let group = {
        let mut directory = scene.tenant.directory();
        let [member, _] = [member, newcomer].map(|user| directory.add_user(user));
        directory.add_group("readers", &[&member])
    };
    directory::group_role(&scene, "readers", &group);
    assert!(directory::refresh(&scene));
    let trace = run_directory::fresh("trace");
    // Follows every process that the postmaster starts from now on; the worker is there already.
    let postmaster = scene.cluster.postmaster_pid();
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=socket,connect", "-o"])
        .arg(&trace)
        .args(["-p", &postmaster.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace starts");
    let attached = || {
        let status = std::fs::read_to_string(format!("/proc/{postmaster}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    };
    let mut has_ended = || strace.try_wait().is_ok_and(|end| end.is_some());
    wait_until("strace attaches, or may not", || attached() || has_ended());
    if has_ended() {
        return skipped("strace may not attach here");
    }
    for route in scene.routes() {
        scene.attempt(route, &role).expect_admitted();
        scene.attempt(route, &role).over(Transport::Unix).expect_admitted();
        scene.attempt(route, &role).with("hunter2").expect_refused("malformed_token");
        // By what the directory has left on the disk.
        scene.attempt(route, "readers").with(scene.token(member).mint()).expect_admitted();
        scene.attempt(route, "readers").with(scene.token(newcomer).mint()).expect_refused("not_in_group");
    }
    // The worker asks.
    scene.cluster.sql(&format!("CREATE USER \"{newcomer}\" IN ROLE azure_ad_user"));
    scene.cluster.sql("SELECT pgaad.refresh_directory(), (SELECT count(*) FROM pgaad.groups)");
    let token = scene.token(&role).signed_by(Signer::Unpublished).mint();
    scene.attempt(scene.route(), &role).with(token).expect_refused("key_unknown");
    scene.cluster.sql("SELECT pgaad.refresh(), (SELECT count(*) FROM pgaad.keys), pgaad.claims()");
    let opened = |trace: &str| trace.lines().any(|line| line.contains("AF_INET"));
    let before = std::fs::read_to_string(&trace).expect("strace writes");
    // The trace proves itself: a connection made on a backend's behalf is seen.
    let port = scene.cluster.port();
    let program = format!(r#"COPY (SELECT 1) TO PROGRAM 'bash -c "exec 3<>/dev/tcp/127.0.0.1/{port}"'"#);
    scene.cluster.sql(&program);
    let after = std::fs::read_to_string(&trace).expect("strace writes");
    signal(strace.id(), "TERM");
    let _ = strace.wait();
    assert!(opened(&after), "the trace sees nothing:\n{after}");
    assert!(!opened(&before), "{before}");
}
