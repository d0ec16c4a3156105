//! Questions to Graph, with a token, and again where that helps.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use pgaad_core::time::UnixTime;

use super::access_token::AccessToken;
use super::connection::{Connection, GraphRequest};
use super::error::{self, GraphError};
use super::retry;
use super::sign_in;
use crate::agent::{Reply, Request};
use crate::clock;

/// Of one page: a thousand entries of a hundred bytes, and as many again.
const MAX_PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// How much was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Questions to Graph, those that were asked again too.
    pub requests: u64,
    /// Of answers.
    pub bytes: u64,
}

/// Graph, for one run.
pub struct Graph {
    connection: Connection,
    token: RefCell<Option<AccessToken>>,
    traffic: Cell<Traffic>,
}

/// An answer of Graph's, with the status 200.
pub(super) struct Answer {
    pub(super) document: Vec<u8>,
    /// When it was given, by Graph's clock, or else by this machine's.
    pub(super) at: UnixTime,
}

impl Graph {
    /// Begins; nothing is asked yet.
    pub fn new(request: GraphRequest) -> Self {
        let connection = Connection::new(request);
        Self { connection, token: RefCell::default(), traffic: Cell::default() }
    }

    /// How much has been asked so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    /// The permissions that Graph has granted the registration, as its token names them (`roles`). `None` while there
    /// is no token, or where it does not tell.
    pub fn permissions(&self) -> Option<Vec<String>> {
        self.token.borrow().as_ref().and_then(AccessToken::permissions)
    }

    /// Where a path of Graph's is, from its version on.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.connection.request().graph_url.as_str())
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// [`GraphError`]
    pub(super) fn get(&self, url: &str, headers: &[(&'static str, &str)]) -> Result<Answer, GraphError> {
        self.ask(url, headers, None)
    }

    /// Asks with a JSON document.
    ///
    /// # Errors
    /// [`GraphError`]
    pub(super) fn post(&self, url: &str, document: &str) -> Result<Answer, GraphError> {
        self.ask(url, &[], Some(document))
    }

    fn ask(
        &self,
        url: &str,
        headers: &[(&'static str, &str)],
        document: Option<&str>,
    ) -> Result<Answer, GraphError> {
        // The token goes nowhere else, whatever a link says.
        if !self.connection.request().graph_url.is_origin_of(url) {
            return Err(GraphError::ForeignPage);
        }
        let mut retry = self.connection.retry();
        let mut has_renewed = false;
        loop {
            if Instant::now() >= self.connection.deadline() {
                return Err(GraphError::TimedOut);
            }
            self.sign_in()?;
            let reply = match self.send(url, headers, document) {
                Ok(reply) => reply,
                Err(error) => {
                    retry.wait(None, error)?;
                    continue;
                }
            };
            let error = match reply.status {
                200 => {
                    let at = reply.date().unwrap_or_else(clock::now);
                    return Ok(Answer { document: reply.document, at });
                }
                status => error::of_graph(status, &reply.document),
            };
            match reply.status {
                401 if !has_renewed => {
                    has_renewed = true;
                    self.token.replace(None);
                }
                429 | 500 | 502..=504 => {
                    retry.wait(reply.header("retry-after").and_then(retry::retry_after), error)?;
                }
                _ => return Err(error),
            }
        }
    }

    /// Gets a token, unless there is one.
    fn sign_in(&self) -> Result<(), GraphError> {
        if self.token.borrow().is_none() {
            let token = sign_in::sign_in(&self.connection)?;
            self.token.replace(Some(token));
        }
        Ok(())
    }

    fn send(
        &self,
        url: &str,
        headers: &[(&'static str, &str)],
        document: Option<&str>,
    ) -> Result<Reply, GraphError> {
        let token = self.token.borrow();
        let bearer = token.as_ref().ok_or(GraphError::TokenMalformed)?.bearer();
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", bearer)]).collect();
        let body = document.map(|document| ("application/json", document.as_bytes()));
        let asked = Request { url, headers: &headers, body, max_bytes: MAX_PAGE_BYTES };
        let reply = self.connection.agent()?.send(&asked)?;
        let Traffic { requests, bytes } = self.traffic.get();
        let length = u64::try_from(reply.document.len()).unwrap_or_default();
        self.traffic
            .set(Traffic { requests: requests.saturating_add(1), bytes: bytes.saturating_add(length) });
        Ok(reply)
    }
}
