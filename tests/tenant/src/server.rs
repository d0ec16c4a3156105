//! A small HTTPS server on 127.0.0.1, one thread for each connection, which can misbehave at will.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::behavior::{Answer, Behavior};
use crate::page::{Page, Response};
use crate::state::State;

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// How long a port may be in use by somebody else when the server starts.
const BIND_PATIENCE: Duration = Duration::from_secs(5);
/// How long the client may take to close after an answer.
const LINGER: Duration = Duration::from_secs(1);

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// What the server answers from; it outlives a stop.
pub(crate) struct Service {
    pub(crate) state: State,
    pub(crate) behavior: Mutex<Behavior>,
    /// Metadata requests read so far, and connections stalled before TLS.
    pub(crate) fetches: AtomicUsize,
    /// Key sets whose answer was settled so far.
    pub(crate) key_sets: AtomicUsize,
}

impl Service {
    fn behavior(&self) -> Behavior {
        self.behavior.lock().expect("no holder of the lock panics").clone()
    }
}

/// A server that listens. Dropped, it closes the port and every connection and waits for its threads.
pub(crate) struct Server {
    address: SocketAddr,
    run: Arc<Run>,
    listening: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

/// One run of the server, from start to stop.
#[derive(Default)]
struct Run {
    open: Mutex<Open>,
    stopping: Condvar,
}

/// The connections that are open; dead ones are cleared away at the next accept.
#[derive(Default)]
struct Open {
    is_stopping: bool,
    streams: Vec<(u64, TcpStream)>,
}

impl Run {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of the list of connections panics")
    }

    fn is_stopping(&self) -> bool {
        self.open().is_stopping
    }

    /// Waits, unless the server stops.
    fn pause(&self, duration: Duration) {
        let until_stop = self.stopping.wait_timeout_while(self.open(), duration, |open| !open.is_stopping);
        drop(until_stop.expect("no holder of the list of connections panics"));
    }
}

impl Server {
    /// Listens on `port`. Panics when somebody else keeps it for more than five seconds.
    pub(crate) fn start(port: u16, tls: Arc<ServerConfig>, service: Arc<Service>) -> Self {
        let listener = bind(port);
        let address = listener.local_addr().expect("a listener has an address");
        let run = Arc::new(Run::default());
        let listening = thread::spawn({
            let run = Arc::clone(&run);
            move || listen(&listener, &tls, &service, &run)
        });
        Self { address, run, listening: Some(listening) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run.open().is_stopping = true;
        self.run.stopping.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        let Some(listening) = self.listening.take() else { return };
        let conversations = listening.join().unwrap_or_default();
        for (_, stream) in &self.run.open().streams {
            // An error says that the client was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for conversation in conversations {
            let _ = conversation.join();
        }
    }
}

fn bind(port: u16) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return listener,
            Err(error) if began.elapsed() > BIND_PATIENCE => panic!("port {port} cannot be had: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Accepts until the server stops; gives the threads back that may still talk.
fn listen(
    listener: &TcpListener,
    tls: &Arc<ServerConfig>,
    service: &Arc<Service>,
    run: &Arc<Run>,
) -> Vec<JoinHandle<()>> {
    let mut conversations: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let accepted = listener.accept();
        if run.is_stopping() {
            break;
        }
        let Ok((stream, _)) = accepted else {
            run.pause(Duration::from_millis(10));
            continue;
        };
        let Ok(handle) = stream.try_clone() else { continue };
        run.open().streams.push((number, handle));
        conversations.retain(|conversation| !conversation.is_finished());
        conversations.push(thread::spawn({
            let (tls, service, run) = (Arc::clone(tls), Arc::clone(service), Arc::clone(run));
            move || {
                // An error says that the client left, or that the server stops.
                let _ = converse(stream, tls, &service, &run);
                run.open().streams.retain(|(open, _)| *open != number);
            }
        }));
    }
    conversations
}

/// One connection: TLS, one request, one answer with the behavior of the moment.
fn converse(mut stream: TcpStream, tls: Arc<ServerConfig>, service: &Service, run: &Run) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if service.behavior() == Behavior::StalledBeforeTls {
        service.fetches.fetch_add(1, Ordering::SeqCst);
        return wait_for_end(&mut stream);
    }
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let head = read_head(&mut stream)?;
    let answer = match Page::requested(head.lines().next().unwrap_or_default()) {
        Err(refusal) => Answer::Whole(refusal),
        Ok(page) => {
            let answer = service.behavior().answer(page, page.response(&service.state.keys()));
            // Counted once it is settled: who waits for the count and then changes the behavior changes later answers.
            let count = if page.is_key_set() { &service.key_sets } else { &service.fetches };
            count.fetch_add(1, Ordering::SeqCst);
            answer
        }
    };
    match answer {
        Answer::Whole(response) => send(&mut stream, &response, response.body())?,
        Answer::Half(response) => {
            let half = response.body().len() / 2;
            send(&mut stream, &response, &response.body()[..half])?;
        }
        Answer::Late(response, pause) => {
            run.pause(pause);
            send(&mut stream, &response, response.body())?;
        }
        Answer::Bytewise(response, pause) => {
            for byte in response.head().as_bytes().iter().chain(response.body()) {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                run.pause(pause);
            }
        }
        Answer::Endless => send_without_end(&mut stream)?,
        Answer::Raw(first, then) => {
            stream.write_all(&first)?;
            if !then.is_empty() {
                loop {
                    stream.write_all(&then)?;
                }
            }
        }
        Answer::Silence => return wait_for_end(&mut stream),
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Write)?;
    // Closing with bytes unread would reset the connection, perhaps before the client has read the answer.
    stream.sock.set_read_timeout(Some(LINGER))?;
    wait_for_end(&mut stream.sock)
}

/// Everything up to the blank line that ends a request's head (RFC 9112 §2.1).
fn read_head(stream: &mut Tls) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        if read == 0 || head.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

fn send(stream: &mut Tls, response: &Response, body: &[u8]) -> io::Result<()> {
    stream.write_all(response.head().as_bytes())?;
    stream.write_all(body)?;
    stream.flush()
}

/// Chunks of a JSON string (RFC 9112 §7.1) until the client has enough.
fn send_without_end(stream: &mut Tls) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"c\r\n{\"keys\": [\"x\r\n")?;
    let chunk = format!("{:x}\r\n{}\r\n", 4096, "x".repeat(4096));
    loop {
        stream.write_all(chunk.as_bytes())?;
    }
}

/// Reads and forgets until the client goes or the server stops.
fn wait_for_end(stream: &mut impl Read) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}
