//! Names, and TCP connections to those that have several addresses, some of which may be dead (RFC 8305).
//!
//! One address after the other costs a time-out for each that does not answer, and the provider's name has sixteen: a
//! network whose IPv6 leads nowhere would never see a key. So a next address is tried a quarter of a second after the
//! one before, or at once when that one failed, while all go on, and the first connection that stands is taken.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, time,
};

/// The *Connection Attempt Delay* (RFC 8305 §5 and §8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens connections, unless the chain before it has one.
#[derive(Debug, Default)]
pub(crate) struct RacingConnector {
    /// The address that answered last: it is tried before the others.
    answered: Mutex<Option<SocketAddr>>,
}

impl<In: Transport> Connector<In> for RacingConnector {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let limit = span(details.timeout).unwrap_or(Duration::MAX);
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut addresses = interleaved(&details.addrs);
        addresses.sort_by_key(|address| Some(*address) != *answered);
        let stream = race(&addresses, limit).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => ureq::Error::Timeout(details.timeout.reason),
            _ => ureq::Error::Io(error),
        })?;
        *answered = stream.peer_addr().ok();
        stream.set_nodelay(true)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Tcp { stream, buffers })))
    }
}

/// The system's resolver, whose failures are told from those of connections.
#[derive(Debug, Default)]
pub(crate) struct NamingResolver(DefaultResolver);

/// What the resolver said of a name.
#[derive(Debug)]
pub(crate) struct NotResolved(io::Error);

impl fmt::Display for NotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotResolved {}

impl Resolver for NamingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(error) => ureq::Error::Other(Box::new(NotResolved(error))),
            error => error,
        })
    }
}

/// The families by turns, in the order in which the resolver gave the addresses of each (RFC 8305 §4, with a *First
/// Address Family Count* of 1).
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first =
        |address: &&SocketAddr| addresses.first().map(SocketAddr::is_ipv6) == Some(address.is_ipv6());
    let (first, second): (Vec<SocketAddr>, Vec<_>) = addresses.iter().partition(is_first);
    let mut mixed = Vec::with_capacity(addresses.len());
    for place in 0..first.len().max(second.len()) {
        mixed.extend(first.get(place).copied());
        mixed.extend(second.get(place).copied());
    }
    mixed
}

/// The first connection that stands.
///
/// Attempts that are not over by then end by themselves, each on a thread of its own, when `limit` has passed.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] after `limit`; what the last address said, when all have failed before.
fn race(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let began = Instant::now();
    let left = || limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero());
    let (sender, results) = channel();
    let mut waiting = addresses.iter().copied();
    let mut running = 0_usize;
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    while let Some(limit) = left() {
        let begun = waiting.next();
        if let Some(address) = begun {
            let sender = sender.clone();
            // The receiver is gone once another connection stands.
            let attempt = move || drop(sender.send(TcpStream::connect_timeout(&address, limit)));
            thread::Builder::new().name("pgaad connect".to_owned()).spawn(attempt)?;
            running += 1;
        }
        if running == 0 {
            return Err(failure);
        }
        let wait = if waiting.len() == 0 { limit } else { limit.min(ATTEMPT_DELAY) };
        match results.recv_timeout(wait) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                failure = error;
                running -= 1;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(limit(timeout)?)?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| of_timeout(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(limit(timeout)?)?;
        let read = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| of_timeout(error, timeout))?,
            }
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Nothing can have come that was not asked for, and the other end has not closed.
    fn is_open(&mut self) -> bool {
        let peek = |stream: &TcpStream| {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            peeked
        };
        peek(&self.stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// How long something may take; `None` for ever.
fn span(timeout: NextTimeout) -> Option<Duration> {
    match timeout.after {
        time::Duration::Exact(span) => Some(span),
        time::Duration::NotHappening => None,
    }
}

/// The same for a socket, to which zero means for ever.
fn limit(timeout: NextTimeout) -> Result<Option<Duration>, ureq::Error> {
    match span(timeout) {
        Some(Duration::ZERO) => Err(ureq::Error::Timeout(timeout.reason)),
        span => Ok(span),
    }
}

/// A socket says `WouldBlock` when its time is over (socket(7), `SO_RCVTIMEO`).
fn of_timeout(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn families_take_turns_and_the_resolvers_first_is_first() {
        let mixed = |addresses: &[&str]| {
            let addresses: Vec<_> = addresses.iter().map(|text| address(text)).collect();
            interleaved(&addresses).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            mixed(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]),
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]
        );
        assert_eq!(mixed(&["1.1.1.1:1", "1.1.1.2:1", "[::1]:1"]), ["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"]);
        assert_eq!(mixed(&["[::2]:1", "[::1]:1"]), ["[::2]:1", "[::1]:1"]);
        assert_eq!(mixed(&[]), [""; 0]);
    }

    #[test]
    fn address_that_refuses_costs_nothing_and_the_last_failure_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("an address");
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address")
        };
        let limit = Duration::from_secs(20);
        let stream = race(&[closed, closed, open, closed], limit).expect("one is open");
        assert_eq!(stream.peer_addr().expect("a peer"), open);
        let error = race(&[closed, closed], limit).expect_err("none is open");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(race(&[], limit).expect_err("none is there").kind(), io::ErrorKind::TimedOut);
        assert_eq!(race(&[open], Duration::ZERO).expect_err("no time").kind(), io::ErrorKind::TimedOut);
    }
}
