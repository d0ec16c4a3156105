//! One login, and what must come of it: at the client and in the server's log.

use crate::cluster::Cluster;
use crate::installation::Installation;
use crate::log::LogMark;
use crate::patience::PATIENCE;
use crate::scene::Scene;
use crate::token_pieces::TokenPieces;
use crate::wire::{self, Answer, Connection, Login, Outcome, Progress, Session, Target};
use std::fmt;

/// SQLSTATEs of a login turned away: `invalid_password`, `invalid_authorization_specification`.
const REFUSED: [&str; 2] = ["28P01", "28000"];

/// The method of the `pg_hba.conf` line that a login meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `pam`, with the library as PAM module.
    Pam,
    /// `trust`, where the hook asks for the token.
    Trust,
    /// `oauth`, with the library as validator, from 18 on.
    OAuth,
    /// `password`, a method of PostgreSQL's own that knows nothing of tokens.
    Password,
}

impl Route {
    /// The database whose lines have this method.
    pub fn database(self) -> &'static str {
        match self {
            Route::Pam => "pam_db",
            Route::Trust => "trust_db",
            Route::OAuth => "oauth_db",
            Route::Password => "password_db",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Route::Pam => "pam",
            Route::Trust => "trust",
            Route::OAuth => "oauth",
            Route::Password => "other",
        })
    }
}

/// How the client gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP with TLS.
    Tls,
    /// TCP on loopback, not encrypted.
    Plain,
    /// The Unix socket.
    Unix,
}

impl Transport {
    /// All that can be tried here; says so when TLS cannot.
    pub fn all() -> Vec<Transport> {
        if Installation::is_built_with("openssl") {
            return vec![Transport::Tls, Transport::Plain, Transport::Unix];
        }
        crate::skipped("needs a PostgreSQL built with OpenSSL");
        vec![Transport::Plain, Transport::Unix]
    }

    /// TLS where the server has it, and loopback otherwise.
    fn usual() -> Transport {
        if Installation::is_built_with("openssl") { Transport::Tls } else { Transport::Plain }
    }
}

/// A login to be tried. By default by TLS, with a good token of the role's name.
#[derive(Clone)]
pub struct Attempt<'a> {
    cluster: &'a Cluster,
    route: Route,
    transport: Transport,
    role: String,
    password: Vec<u8>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(scene: &'a Scene, route: Route, role: &str) -> Attempt<'a> {
        let password = scene.token(role).mint().into_bytes();
        Attempt {
            cluster: &scene.cluster,
            route,
            transport: Transport::usual(),
            role: role.to_owned(),
            password,
        }
    }

    /// At another server than the scene's: a standby of it.
    #[must_use]
    pub fn at(mut self, cluster: &'a Cluster) -> Self {
        self.cluster = cluster;
        self
    }

    /// By another transport.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// With these bytes for a password.
    #[must_use]
    pub fn with(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = password.as_ref().to_vec();
        self
    }

    fn target(&self) -> Target {
        let (cluster, database) = (self.cluster, self.route.database());
        match self.transport {
            Transport::Tls => cluster.tls(database),
            Transport::Plain => cluster.plain(database),
            Transport::Unix => cluster.unix(database),
        }
    }

    /// Tries it, and expects nothing.
    pub fn login(&self) -> Login {
        wire::login(&self.target(), &self.role, &self.password)
    }

    /// Goes as far as the server's request for a password.
    ///
    /// # Panics
    /// When the server does not ask for one.
    pub fn until_asked(&self) -> Connection {
        let target = self.target();
        let mut connection =
            Connection::connect(&target).unwrap_or_else(|error| panic!("{target:?}: {error}"));
        connection.startup(&self.role, &target.database, &[]).expect("the server reads the startup message");
        match connection.read_login() {
            Progress::Challenged(connection) => connection,
            Progress::Accepted(_) => panic!("{self:?}: let in without a token"),
            Progress::Refused(answers) => {
                panic!("{self:?}: refused before a token is asked for: {answers:?}")
            }
        }
    }

    /// It is let in, with a token and as nobody else, and the log says who.
    pub fn expect_admitted(&self) -> Session {
        let mark = self.cluster.log_mark();
        let login = self.login();
        let Outcome::Accepted(mut session) = login.outcome else {
            panic!("{self:?}: {login:?}\n{}", self.cluster.log_since(mark))
        };
        assert!(login.challenged, "{self:?}: let in without a token");
        assert_eq!(session.value("SELECT current_user").as_deref(), Some(self.role.as_str()));
        self.expect_line(mark, &["pgaad: login admitted:", &format!(" route={} ", self.route)]);
        session
    }

    /// It is asked for the token and refused; the log has the code, and the client has not.
    pub fn expect_refused(&self, code: &str) -> String {
        let mark = self.cluster.log_mark();
        let login = self.login();
        assert!(login.challenged, "{self:?}: not asked for a token: {login:?}");
        self.expect_refusal(login, mark, code)
    }

    /// It is refused before a token is asked for.
    pub fn expect_refused_unasked(&self, code: &str) -> String {
        let mark = self.cluster.log_mark();
        let login = self.login();
        assert!(!login.challenged, "{self:?}: a token was asked for: {login:?}");
        self.expect_refusal(login, mark, code)
    }

    /// The end of a login that began at `mark`: refused with `code`. Returns the log line.
    pub fn expect_refusal(&self, login: Login, mark: LogMark, code: &str) -> String {
        let answer = self.expect_turned_away(login);
        assert!(REFUSED.contains(&answer.sqlstate.as_str()), "{self:?}: {answer:?}");
        assert!(!answer.message.contains(code), "{self:?}: the client is told the code: {answer:?}");
        // Anyone who holds a genuine token of the tenant's may be told these two things of it, and no more.
        let detail = match code {
            "expired" => "The token has expired.",
            "wrong_audience" => "The token is for another resource.",
            _ => "",
        };
        assert_eq!(answer.detail, detail, "{self:?}: {answer:?}");
        let facts = format!(" route={} ", self.route);
        self.expect_line(mark, &["pgaad: login refused:", &format!(" code={code} "), &facts])
    }

    /// The one answer of a login that is turned away, by pgaad or by core: it tells nothing and repeats nothing.
    pub fn expect_turned_away(&self, login: Login) -> Answer {
        let Outcome::Refused(mut answers) = login.outcome else { panic!("{self:?}: let in") };
        assert_eq!(answers.len(), 1, "{self:?}: {answers:?}");
        let answer = answers.remove(0);
        assert_eq!(answer.severity, "FATAL", "{self:?}: {answer:?}");
        assert_eq!(answer.hint, "", "{self:?}: {answer:?}");
        let pieces = TokenPieces::of(&self.password);
        assert_eq!(pieces.place_in(answer.message.as_bytes()), None, "{self:?}: {answer:?}");
        answer
    }

    fn expect_line(&self, mark: LogMark, needles: &[&str]) -> String {
        let role = format!(" role=\"{}\" ", self.role);
        let needles: Vec<&str> = needles.iter().copied().chain([role.as_str()]).collect();
        let line = self.cluster.log().wait_for_line(mark, &needles, PATIENCE);
        line.unwrap_or_else(|log| panic!("{self:?}: no line with {needles:?} in\n{log}"))
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {:?} as {}", self.route, self.transport, self.role)
    }
}
