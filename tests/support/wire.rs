//! A raw client of PostgreSQL's protocol 3, so that a test sees every message and can send any.

use crate::tls;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Nothing in these tests takes as long: a silent server must fail the test, not stall it.
const PATIENCE: Duration = Duration::from_secs(30);

/// `PG_PROTOCOL(3, 0)`.
const PROTOCOL: i32 = 3 << 16;
/// `NEGOTIATE_SSL_CODE`.
const SSL_REQUEST: i32 = 80_877_103;

/// Where a server listens, how to get there, and the database to ask for.
#[derive(Clone, Debug)]
pub struct Target {
    /// How to get there.
    pub address: Address,
    /// The database of the startup message.
    pub database: String,
}

/// A server's address and the transport to it.
#[derive(Clone, Debug)]
pub enum Address {
    /// The path of the socket itself.
    Unix(PathBuf),
    /// TCP without encryption.
    Plain(SocketAddr),
    /// TCP with TLS, asked for as libpq does.
    Tls(SocketAddr),
    /// The same with a certificate for the client: [`tls::handshake_with_certificate`].
    TlsWithCertificate(SocketAddr),
}

/// One message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The type byte.
    pub tag: u8,
    /// All that follows the length.
    pub body: Vec<u8>,
}

impl Message {
    /// The fields of an ErrorResponse or NoticeResponse in their order, each its letter and its bytes.
    pub fn fields(&self) -> Vec<(u8, Vec<u8>)> {
        let fields = self.body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        fields.map(|field| (field[0], field[1..].to_vec())).collect()
    }

    fn code(&self) -> Option<i32> {
        Some(i32::from_be_bytes(self.body.get(..4)?.try_into().ok()?))
    }
}

/// What an ErrorResponse or NoticeResponse says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `FATAL`, `ERROR`, `WARNING`, … not localised.
    pub severity: String,
    /// The five-character code.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// The detail, empty if there is none.
    pub detail: String,
    /// The hint, empty if there is none.
    pub hint: String,
}

impl Answer {
    fn parse(body: &[u8]) -> Answer {
        let mut answer = Answer::default();
        for field in body.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
            let text = String::from_utf8_lossy(&field[1..]).into_owned();
            match field[0] {
                b'V' => answer.severity = text,
                b'C' => answer.sqlstate = text,
                b'M' => answer.message = text,
                b'D' => answer.detail = text,
                b'H' => answer.hint = text,
                _ => {}
            }
        }
        answer
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.sqlstate, self.message)
    }
}

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As one Query.
    Simple,
    /// As Parse, Bind, Describe, Execute and Sync.
    Extended,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection to a server, message by message.
pub struct Connection {
    stream: Box<dyn Stream>,
    notices: Vec<Answer>,
    /// The server has asked for SASL and not for a password.
    asked_by_sasl: bool,
}

impl Connection {
    /// Connects, and does the TLS handshake when the target wants it; nothing of the login is sent yet.
    ///
    /// # Errors
    /// As the operating system or rustls says; a server that declines TLS is an error.
    pub fn connect(target: &Target) -> io::Result<Connection> {
        let tcp = |address: &SocketAddr| -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream: Box<dyn Stream> = match &target.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Address::Plain(address) => Box::new(tcp(address)?),
            Address::Tls(address) | Address::TlsWithCertificate(address) => {
                let mut stream = tcp(address)?;
                let mut request = 8_i32.to_be_bytes().to_vec();
                request.extend(SSL_REQUEST.to_be_bytes());
                stream.write_all(&request)?;
                let mut reply = [0];
                stream.read_exact(&mut reply)?;
                if reply != *b"S" {
                    return Err(io::Error::other("the server declined TLS"));
                }
                if matches!(target.address, Address::Tls(_)) {
                    Box::new(tls::handshake(stream)?)
                } else {
                    Box::new(tls::handshake_with_certificate(stream)?)
                }
            }
        };
        Ok(Connection { stream, notices: Vec::new(), asked_by_sasl: false })
    }

    /// Sends the startup message with `user`, `database` and further parameters.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn startup(
        &mut self,
        user: impl AsRef<[u8]>,
        database: &str,
        parameters: &[(&str, &str)],
    ) -> io::Result<()> {
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        body.extend([b"user\0", user.as_ref(), b"\0"].concat());
        for (name, value) in [("database", database)].iter().chain(parameters) {
            for text in [name, value] {
                body.extend(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        let mut packet = length_of(&body).to_vec();
        packet.extend(body);
        self.send_raw(&packet)
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the server has closed the connection.
    pub fn read_message(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut body = vec![0; length.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?];
        self.stream.read_exact(&mut body)?;
        Ok(Message { tag, body })
    }

    /// Sends a password message: `password` as it is, and the closing NUL.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn send_password(&mut self, password: &[u8]) -> io::Result<()> {
        if self.asked_by_sasl {
            return self.send_bearer(password);
        }
        let mut body = password.to_vec();
        body.push(0);
        self.send_message(b'p', &body)
    }

    /// SASLInitialResponse of OAUTHBEARER (RFC 7628 §3.1), with `token` as it is.
    fn send_bearer(&mut self, token: &[u8]) -> io::Result<()> {
        let response = [b"n,,\x01auth=Bearer ", token, b"\x01\x01"].concat();
        let length = u32::try_from(response.len()).map_err(io::Error::other)?.to_be_bytes();
        self.send_message(b'p', &[b"OAUTHBEARER\0", &length[..], &response].concat())
    }

    /// Sends a message of any type.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn send_message(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![tag];
        packet.extend(length_of(body));
        packet.extend(body);
        self.send_raw(&packet)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Runs SQL by the simple protocol; rows of all its statements together, as text.
    ///
    /// # Errors
    /// The server's ErrorResponse, or one made up of the broken connection's error.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>, Answer> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send_message(b'Q', &body).map_err(broken)?;
        let (mut rows, mut failure) = (Vec::new(), None);
        loop {
            let message = self.read_message();
            match message {
                Ok(Message { tag: b'D', body }) => rows.push(parse_row(&body)),
                Ok(Message { tag: b'E', body }) => failure = Some(Answer::parse(&body)),
                Ok(Message { tag: b'N', body }) => self.notices.push(Answer::parse(&body)),
                Ok(Message { tag: b'Z', .. }) => return failure.map_or(Ok(rows), Err),
                Ok(_) => {}
                Err(error) => return Err(failure.unwrap_or_else(|| broken(error))),
            }
        }
    }

    /// Runs SQL, bytes as they are: every message up to ReadyForQuery, or up to the end of the connection. A `COPY …
    /// FROM STDIN` is given `copied`.
    ///
    /// # Errors
    /// When the server takes no more.
    pub fn exchange(&mut self, sql: &[u8], protocol: Protocol, copied: &[u8]) -> io::Result<Vec<Message>> {
        match protocol {
            Protocol::Simple => self.send_message(b'Q', &[sql, b"\0"].concat())?,
            Protocol::Extended => {
                self.send_message(b'P', &[b"\0", sql, b"\0\0\0"].concat())?;
                self.send_message(b'B', &[0; 8])?;
                self.send_message(b'D', b"P\0")?;
                self.send_message(b'E', &[0; 5])?;
                self.send_message(b'S', &[])?;
            }
        }
        let mut messages = Vec::new();
        while let Ok(message) = self.read_message() {
            if message.tag == b'G' {
                self.send_message(b'd', copied)?;
                self.send_message(b'c', &[])?;
                // What was sent behind the COPY was skipped.
                if protocol == Protocol::Extended {
                    self.send_message(b'S', &[])?;
                }
            }
            let is_last = message.tag == b'Z';
            messages.push(message);
            if is_last {
                break;
            }
        }
        Ok(messages)
    }

    /// Reads on after the startup message or a password, until the server is ready or has refused.
    ///
    /// A request for a password ends the reading too: [`Progress::Challenged`].
    pub fn read_login(mut self) -> Progress {
        let mut answers = Vec::new();
        let mut backend = 0;
        loop {
            match self.read_message() {
                Ok(message @ Message { tag: b'R', .. }) => match message.code() {
                    Some(0) => {}
                    Some(3) => return Progress::Challenged(self),
                    Some(10)
                        if message.body.get(4..).is_some_and(|list| list.starts_with(b"OAUTHBEARER\0")) =>
                    {
                        self.asked_by_sasl = true;
                        return Progress::Challenged(self);
                    }
                    // The server's error, which the client acknowledges (RFC 7628 §3.2.3).
                    Some(11) => {
                        let _ = self.send_message(b'p', b"\x01");
                    }
                    // Methods that this client does not speak; the connection is dropped.
                    other => {
                        let message = format!("the server asks for authentication method {other:?}");
                        answers.push(Answer { severity: "CLIENT".into(), message, ..Answer::default() });
                        return Progress::Refused(answers);
                    }
                },
                Ok(message @ Message { tag: b'K', .. }) => {
                    backend = message.code().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
                }
                Ok(Message { tag: b'E' | b'N', body }) => answers.push(Answer::parse(&body)),
                Ok(Message { tag: b'Z', .. }) => {
                    return Progress::Accepted(Session {
                        connection: self,
                        backend_pid: backend,
                        notices: answers,
                    });
                }
                Ok(_) => {}
                Err(_) => return Progress::Refused(answers),
            }
        }
    }
}

/// How far a login has come.
pub enum Progress {
    /// The server asks for a cleartext password.
    Challenged(Connection),
    /// The server is ready for a query.
    Accepted(Session),
    /// The server has closed the connection, after saying this.
    Refused(Vec<Answer>),
}

/// One row; `None` is SQL's NULL.
pub type Row = Vec<Option<String>>;

/// A session that has logged in.
pub struct Session {
    connection: Connection,
    /// The server process, from BackendKeyData.
    pub backend_pid: u32,
    /// Notices and warnings that came with the login.
    pub notices: Vec<Answer>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session of process {}", self.backend_pid)
    }
}

impl Session {
    /// Runs SQL; rows of all its statements together, as text.
    ///
    /// # Errors
    /// The server's ErrorResponse.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>, Answer> {
        self.connection.query(sql)
    }

    /// As [`Connection::exchange`].
    ///
    /// # Errors
    /// As [`Connection::exchange`].
    pub fn exchange(&mut self, sql: &[u8], protocol: Protocol, copied: &[u8]) -> io::Result<Vec<Message>> {
        self.connection.exchange(sql, protocol, copied)
    }

    /// What came beside the rows since the last time: warnings and notices.
    pub fn take_notices(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.connection.notices)
    }

    /// The only value of SQL that gives one.
    pub fn value(&mut self, sql: &str) -> Option<String> {
        let rows = self.query(sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"));
        rows.first().and_then(|row| row.first()).cloned().unwrap_or_else(|| panic!("{sql}: no row"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.connection.send_message(b'X', &[]);
    }
}

/// How a login went.
#[derive(Debug)]
pub struct Login {
    /// Whether the server asked for a cleartext password.
    pub challenged: bool,
    /// In, or not.
    pub outcome: Outcome,
}

/// In, or not.
#[derive(Debug)]
pub enum Outcome {
    /// The server is ready for a query.
    Accepted(Session),
    /// What the server said before it closed the connection; empty if it said nothing.
    Refused(Vec<Answer>),
}

/// Logs in as `user`, with `password` if the server asks for one.
///
/// # Panics
/// When there is no connection at all: that is no answer of the server's.
pub fn login(target: &Target, user: &str, password: &[u8]) -> Login {
    login_with(target, user, password, &[])
}

/// As [`login`], with a name that is any bytes, and further parameters in the startup message.
///
/// # Panics
/// As [`login`].
pub fn login_with(
    target: &Target,
    user: impl AsRef<[u8]>,
    password: &[u8],
    parameters: &[(&str, &str)],
) -> Login {
    let mut connection = Connection::connect(target).unwrap_or_else(|error| panic!("{target:?}: {error}"));
    // An error while sending means that the server has answered and hung up; its answer is still to be read.
    let _ = connection.startup(user, &target.database, parameters);
    match connection.read_login() {
        Progress::Accepted(session) => Login { challenged: false, outcome: Outcome::Accepted(session) },
        Progress::Refused(answers) => Login { challenged: false, outcome: Outcome::Refused(answers) },
        Progress::Challenged(connection) => finish(connection, password),
    }
}

/// Answers the server's request for a password.
pub fn finish(mut connection: Connection, password: &[u8]) -> Login {
    let _ = connection.send_password(password);
    let outcome = match connection.read_login() {
        Progress::Accepted(session) => Outcome::Accepted(session),
        Progress::Refused(answers) => Outcome::Refused(answers),
        Progress::Challenged(_) => panic!("the server asked for a second password"),
    };
    Login { challenged: true, outcome }
}

fn length_of(body: &[u8]) -> [u8; 4] {
    i32::try_from(body.len() + 4).expect("a message is far below 2 GB").to_be_bytes()
}

fn broken(error: io::Error) -> Answer {
    Answer { severity: "CLIENT".into(), message: error.to_string(), ..Answer::default() }
}

/// DataRow: the number of columns, then each as its length (-1: NULL) and bytes.
fn parse_row(body: &[u8]) -> Row {
    let mut rest = &body[2..];
    let mut row = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let value = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (bytes, tail) = tail.split_at(value.unwrap_or(0));
        row.push(value.map(|_| String::from_utf8_lossy(bytes).into_owned()));
        rest = tail;
    }
    row
}
