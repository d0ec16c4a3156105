//! The way to the provider through a proxy.

use pgaad_tests::Scene;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A proxy on loopback that knows CONNECT and nothing else; gives its URL and the count of its tunnels.
fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let tunnels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tunnels);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || -> std::io::Result<()> {
                let mut head = BufReader::new(client.try_clone()?);
                let mut request = String::new();
                head.read_line(&mut request)?;
                let mut line = String::from("-");
                while line.trim() != "" {
                    line.clear();
                    head.read_line(&mut line)?;
                }
                let target = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                let mut server = TcpStream::connect(target.unwrap_or_default())?;
                count.fetch_add(1, Ordering::SeqCst);
                (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
                let (mut up, mut down) = (server.try_clone()?, client.try_clone()?);
                thread::spawn(move || std::io::copy(&mut head, &mut up));
                std::io::copy(&mut server, &mut down)?;
                Ok(())
            });
        }
    });
    (url, tunnels)
}

#[test]
fn keys_are_fetched_through_the_proxy_that_is_set() {
    let (url, tunnels) = proxy();
    let scene = Scene::with(|cluster| cluster.conf("pgaad.https_proxy", &url));
    assert!(tunnels.load(Ordering::SeqCst) >= 1, "the first keys came by another way");
    scene.attempt(scene.route(), &scene.member()).expect_admitted();

    // A proxy that is not there: no way round it.
    scene.cluster.set("pgaad.https_proxy", "http://127.0.0.1:9");
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "f");
    scene.attempt(scene.route(), &scene.member()).expect_admitted();
}
