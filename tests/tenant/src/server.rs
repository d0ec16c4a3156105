//! A small HTTPS server on 127.0.0.1, which can misbehave at will.

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::{runtime, time};
use tokio_rustls::TlsAcceptor;

use crate::behavior::{Answer, Behavior, Broken};
use crate::directory::Directory;
use crate::graph::Question;
use crate::page::{self, Page, Response};
use crate::state::State;
use crate::trouble::Trouble;
use crate::{SECOND_TENANT_ID, TENANT_ID, credentials, graph, machine};

/// How long a port may be in use by somebody else when the server starts.
const BIND_PATIENCE: Duration = Duration::from_secs(5);
/// How long the client may take to close after an answer.
const LINGER: Duration = Duration::from_secs(1);

/// What the server answers from; it outlives a stop.
pub(crate) struct Service {
    pub(crate) state: State,
    pub(crate) behavior: Mutex<Behavior>,
    /// Of the second tenant's pages.
    pub(crate) behavior_of_second: Mutex<Behavior>,
    /// Metadata requests read so far, and connections stalled before TLS.
    pub(crate) fetches: AtomicUsize,
    /// Key sets whose answer was settled so far.
    pub(crate) key_sets: AtomicUsize,
    /// What a device gets that asked for a code, once somebody has signed in.
    pub(crate) signed_in: Mutex<Option<String>>,
    pub(crate) directory: Mutex<Directory>,
    pub(crate) graph: Mutex<Graph>,
}

/// How Graph answers.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) trouble: Option<Box<Troubles>>,
    pub(crate) questions: usize,
    pub(crate) page_size: Option<usize>,
}

/// The trouble of a question: its number, and its path with the query.
type Troubles = dyn FnMut(usize, &str) -> Option<Trouble> + Send;

impl Service {
    fn behavior(&self) -> Behavior {
        self.behavior.lock().expect("no holder of the lock panics").clone()
    }

    /// The answer with the behavior of the moment.
    fn answer(&self, request: &Parts, body: &[u8]) -> Answer {
        if let Some(answer) = self.directory_answer(request, body) {
            return answer;
        }
        if let Some(response) = self.device_flow(request) {
            return Answer::Whole(response);
        }
        let (page, tenant) = match Page::requested(&request.method, &request.uri) {
            Ok(requested) => requested,
            Err(refusal) => return Answer::Whole(*refusal),
        };
        let behavior = if tenant == SECOND_TENANT_ID {
            self.behavior_of_second.lock().expect("no holder of the lock panics").clone()
        } else {
            self.behavior()
        };
        let answer = behavior.answer(page, page.response(&self.state.keys(), tenant));
        // Counted once it is settled: who waits for the count and then changes the behavior changes later answers.
        let count = if page.is_key_set() { &self.key_sets } else { &self.fetches };
        count.fetch_add(1, Ordering::SeqCst);
        answer
    }

    /// Graph, the tokens for it, and the machine's services.
    fn directory_answer(&self, request: &Parts, body: &[u8]) -> Option<Answer> {
        let keys = self.state.keys();
        let mut directory = self.directory.lock().expect("no holder of the lock panics");
        let mut graph = self.graph.lock().expect("no holder of the lock panics");
        let form = page::form(&String::from_utf8_lossy(body));
        let is_sign_in = request.uri.path().ends_with("/oauth2/v2.0/token")
            && form.get("grant_type").is_some_and(|grant| grant == "client_credentials");
        let question = Question::read(keys.authority(), request, body, graph.page_size);
        let mut right = if is_sign_in {
            let url = format!("{}{}", keys.authority(), request.uri.path());
            credentials::client_credentials(&mut directory, &keys, &url, &form)
        } else if let Some(question) = &question {
            graph::answer(&mut directory, question)
        } else {
            machine::answer(&mut directory, &keys, request, &self.state.arc_tokens())?
        };
        graph.questions += 1;
        let number = graph.questions;
        let target = request.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
        let trouble = graph.trouble.as_mut().and_then(|trouble| trouble(number, target));
        if let (Some(Trouble::OldReplica), Some(question)) = (&trouble, &question) {
            right = directory.with_replica(|replica| graph::answer(replica, question));
        }
        let sent = || {
            let authorization = request.headers.get("authorization").and_then(|value| value.to_str().ok());
            format!("{} {}", authorization.unwrap_or_default(), String::from_utf8_lossy(body))
        };
        Some(trouble.map_or(Answer::Whole(right.clone()), |trouble| trouble.answer(right, &sent())))
    }

    /// The device flow (RFC 8628): a code for the human, and a token once they have signed in.
    fn device_flow(&self, request: &Parts) -> Option<Response> {
        let step = request.uri.path().strip_prefix(&format!("/{TENANT_ID}/oauth2/v2.0/"))?;
        let signed_in = self.signed_in.lock().expect("no holder of the lock panics").clone();
        (request.method == Method::POST).then_some(())?;
        match (step, signed_in) {
            ("devicecode", _) => Some(page::device_code()),
            ("token", token) => Some(page::token(token)),
            _ => None,
        }
    }
}

/// A server that listens. Dropped, it closes the port and every connection and waits for its thread.
pub(crate) struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    running: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `port`. Panics when somebody else keeps it for more than five seconds.
    pub(crate) fn start(port: u16, tls: Option<Arc<ServerConfig>>, service: Arc<Service>) -> Self {
        let listener = bind(port);
        let (stop, stopped) = oneshot::channel();
        let running = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            // The connections end with the runtime.
            runtime.expect("a thread can have a runtime").block_on(async {
                tokio::select! {
                    () = listen(listener, tls.map(TlsAcceptor::from), service) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), running: Some(running) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.running.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
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

async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    listener.set_nonblocking(true).expect("a listener can be made not to block");
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime takes a listener");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, service) = (tls.clone(), Arc::clone(&service));
                // An error says that the client left.
                tokio::spawn(async move { greet(stream, tls, service).await.ok() });
            }
            // The system has no more of what a connection needs.
            Err(_) => time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection, with TLS or without.
async fn greet(mut stream: TcpStream, tls: Option<TlsAcceptor>, service: Arc<Service>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return converse(stream, service).await };
    if service.behavior() == Behavior::StalledBeforeTls {
        service.fetches.fetch_add(1, Ordering::SeqCst);
        return wait_for_end(&mut stream).await;
    }
    converse(tls.accept(stream).await?, service).await
}

/// One request, one answer.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Arc<Service>,
) -> io::Result<()> {
    let (breaks, mut broken) = mpsc::unbounded_channel();
    let mut connection = http1::Builder::new().keep_alive(false).serve_connection(
        TokioIo::new(stream),
        service_fn(|request| respond(Arc::clone(&service), breaks.clone(), request)),
    );
    let broken = tokio::select! {
        answered = future::poll_fn(|context| connection.poll_without_shutdown(context)) => {
            answered.map_err(io::Error::other)?;
            None
        }
        broken = broken.recv() => broken,
    };
    // Nothing of a broken answer has been sent: the library still waits for it.
    let mut stream = connection.into_parts().io.into_inner();
    if let Some(broken) = broken {
        broken.send(&mut stream).await?;
    }
    stream.shutdown().await?;
    // Closing with bytes unread would reset the connection, perhaps before the client has read the answer.
    time::timeout(LINGER, wait_for_end(&mut stream)).await?
}

/// The response, or none ever: what is sent in its place goes to `breaks`.
fn respond(
    service: Arc<Service>,
    breaks: mpsc::UnboundedSender<Broken>,
    request: Request<Incoming>,
) -> Pin<Box<dyn Future<Output = Result<Response, hyper::Error>> + Send>> {
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        match service.answer(&parts, &body) {
            Answer::Whole(response) => Ok(response),
            Answer::Late(response, pause) => {
                time::sleep(pause).await;
                Ok(response)
            }
            Answer::Broken(broken) => {
                breaks.send(broken).expect("the connection that answers is there");
                future::pending().await
            }
        }
    })
}

impl Broken {
    async fn send(self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        match self {
            Self::Bytes(first, then) => {
                stream.write_all(&first).await?;
                while !then.is_empty() {
                    stream.write_all(&then).await?;
                }
                Ok(())
            }
            Self::Bytewise(bytes, pause) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    stream.flush().await?;
                    time::sleep(pause).await;
                }
                Ok(())
            }
            Self::Silence => wait_for_end(stream).await,
        }
    }
}

/// Reads and forgets until the client goes.
async fn wait_for_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
