//! One login by any of the ways, as short as a client can make it.

use std::io;

use pgaad_tests::wire::{Connection, Message};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use crate::bed::Ticket;

/// A session that is ready for a query; ended when dropped.
pub struct Session(Connection);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.send_message(b'X', &[]);
    }
}

/// Logs in, from connecting to `ReadyForQuery`.
///
/// # Errors
/// What the server says when it refuses, as [`io::ErrorKind::PermissionDenied`], or the operating system.
pub fn login(ticket: &Ticket) -> io::Result<Session> {
    let mut connection = Connection::connect(&ticket.target)?;
    connection.startup(&ticket.user, &ticket.target.database, &[])?;
    let mut scram = None;
    loop {
        let message = connection.read_message()?;
        match message.tag {
            b'R' => answer(&mut connection, &message, ticket, &mut scram)?,
            b'E' => return Err(refusal(&message)),
            b'Z' => return Ok(Session(connection)),
            _ => {}
        }
    }
}

/// The client's part of the method that the server asks for (protocol.h, `AUTH_REQ_…`).
fn answer(
    connection: &mut Connection,
    message: &Message,
    ticket: &Ticket,
    scram: &mut Option<ScramSha256>,
) -> io::Result<()> {
    let (code, rest) = message.body.split_first_chunk::<4>().ok_or(io::ErrorKind::InvalidData)?;
    match (i32::from_be_bytes(*code), scram) {
        (0, _) => Ok(()),
        (3, _) => connection.send_password(&ticket.secret),
        (5, _) => {
            let salt = rest.try_into().map_err(io::Error::other)?;
            connection.send_password(md5_hash(ticket.user.as_bytes(), &ticket.secret, salt).as_bytes())
        }
        (10, _) if rest.starts_with(b"OAUTHBEARER") => {
            let response = [b"n,,\x01auth=Bearer ", &ticket.secret[..], b"\x01\x01"].concat();
            send_first(connection, b"OAUTHBEARER\0", &response)
        }
        (10, scram) => {
            let exchange = ScramSha256::new(&ticket.secret, ChannelBinding::unsupported());
            let sent = send_first(connection, b"SCRAM-SHA-256\0", exchange.message());
            *scram = Some(exchange);
            sent
        }
        (11, Some(exchange)) => {
            exchange.update(rest)?;
            connection.send_message(b'p', exchange.message())
        }
        (12, Some(exchange)) => exchange.finish(rest),
        // The server's error of OAUTHBEARER, to be acknowledged (RFC 7628 §3.2.3).
        (11, None) => connection.send_message(b'p', b"\x01"),
        (other, _) => Err(io::Error::other(format!("method {other} is asked for"))),
    }
}

/// `SASLInitialResponse`: the mechanism, the length, and the response.
fn send_first(connection: &mut Connection, mechanism: &[u8], response: &[u8]) -> io::Result<()> {
    let length = u32::try_from(response.len()).map_err(io::Error::other)?.to_be_bytes();
    connection.send_message(b'p', &[mechanism, &length[..], response].concat())
}

fn refusal(message: &Message) -> io::Error {
    let text = String::from_utf8_lossy(&message.body).replace('\0', " ");
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}
