//! A line, and what of a login it matches.

use std::fmt;

use pgaad_core::gate::OtherMethods;

use super::network::Network;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in its file.
    pub number: u32,
    /// The file, if it is not `pg_hba.conf` itself but one that it includes (16 and later).
    pub file: Option<String>,
    /// How the connection can come.
    pub transports: Transports,
    /// The database column.
    pub databases: Vec<Database>,
    /// The role column.
    pub roles: Vec<Role>,
    /// The address column.
    pub addresses: Addresses,
    /// How it authenticates.
    pub method: Method,
}

/// The first column: the transports that a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    pub(super) socket: bool,
    pub(super) plain: bool,
    pub(super) tls: bool,
    pub(super) gss: bool,
}

impl Transports {
    const NONE: Self = Self { socket: false, plain: false, tls: false, gss: false };
    /// `local`.
    pub const LOCAL: Self = Self { socket: true, ..Self::NONE };
    /// `host`.
    pub const HOST: Self = Self { socket: false, plain: true, tls: true, gss: true };
    /// `hostssl`.
    pub const HOSTSSL: Self = Self { tls: true, ..Self::NONE };
    /// `hostnossl`.
    pub const HOSTNOSSL: Self = Self { tls: false, ..Self::HOST };
    /// `hostgssenc`.
    pub const HOSTGSSENC: Self = Self { gss: true, ..Self::NONE };
    /// `hostnogssenc`.
    pub const HOSTNOGSSENC: Self = Self { gss: false, ..Self::HOST };

    pub(super) fn has(self, transport: Transport) -> bool {
        match transport {
            Transport::Socket => self.socket,
            Transport::Plain => self.plain,
            Transport::Tls => self.tls,
            Transport::Gss => self.gss,
        }
    }
}

/// How one connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    Socket,
    Plain,
    Tls,
    Gss,
}

impl Transport {
    pub(super) const ALL: [Self; 4] = [Self::Socket, Self::Plain, Self::Tls, Self::Gss];
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "the Unix socket",
            Self::Plain => "TCP without encryption",
            Self::Tls => "TLS",
            Self::Gss => "GSS encryption",
        })
    }
}

/// An entry of the database column. Keywords are keywords only where they are not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// `all`: any but physical replication.
    All,
    /// `sameuser`.
    SameUser,
    /// `samerole`, `samegroup`.
    SameRole,
    /// `replication`: physical replication only.
    Replication,
    /// A regular expression (16 and later), with the databases in question that it matches.
    Pattern(Vec<String>),
    /// A name.
    Name(String),
}

/// What a login wants to be connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A database that some line names.
    Named(String),
    /// A database that no line names.
    Another,
    /// Physical replication.
    Replication,
}

impl Database {
    /// hba.c, `check_db`.
    pub(super) fn matches(&self, target: &Target, member: &Member) -> bool {
        let name = match target {
            Target::Replication => return *self == Self::Replication,
            Target::Named(name) => Some(name),
            Target::Another => None,
        };
        match self {
            Self::All => true,
            Self::Replication => false,
            Self::SameUser => name.is_some() && name == member.name.as_ref(),
            Self::SameRole => name.is_some_and(|name| member.roles.contains(name)),
            Self::Pattern(matched) => name.is_some_and(|name| matched.contains(name)),
            Self::Name(own) => name == Some(own),
        }
    }

    /// The databases that it names.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::Pattern(matched) => matched,
            Self::Name(name) => std::slice::from_ref(name),
            Self::All | Self::SameUser | Self::SameRole | Self::Replication => &[],
        }
    }
}

/// An entry of the role column. Neither `all` nor `+` counts where it is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `all`.
    All,
    /// `+role`: the role itself and its members, direct and indirect.
    Group(String),
    /// A regular expression (16 and later), with the members that it matches.
    Pattern(Vec<String>),
    /// A name.
    Name(String),
}

impl Role {
    /// hba.c, `check_role`.
    pub(super) fn matches(&self, member: &Member) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => member.roles.contains(group),
            Self::Pattern(matched) => member.name.as_ref().is_some_and(|name| matched.contains(name)),
            Self::Name(name) => member.name.as_ref() == Some(name),
        }
    }
}

/// A member of `azure_ad_user`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name; `None` for a member that nothing else is known of.
    pub name: Option<String>,
    /// The role itself and all that it is in, directly or not.
    pub roles: Vec<String>,
}

/// The address column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// `all`, and that of `local`, which has none.
    All,
    /// Addresses.
    Network(Network),
    /// `samehost` or `samenet`, with what they stand for on this machine.
    Own(&'static str, Vec<Network>),
    /// A host name, or the end of one that begins with a dot.
    Host(String),
}

impl Addresses {
    pub(super) fn networks(&self) -> Vec<Network> {
        match self {
            Self::Network(network) => vec![*network],
            Self::Own(_, networks) => networks.clone(),
            Self::All | Self::Host(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Network(network) => network.fmt(f),
            Self::Own(word, _) => f.write_str(word),
            Self::Host(name) => f.write_str(name),
        }
    }
}

/// How a line authenticates, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks for a token.
    Token,
    /// `oauth` with this validator, but without `delegate_ident_mapping=1`: refuses every token.
    TokenWithoutMapping,
    /// `trust`.
    Trust,
    /// `reject`.
    Reject,
    /// Any other, by its name.
    Other(String),
}

impl Method {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Token => "token",
            Self::TokenWithoutMapping => "oauth",
            Self::Trust => "trust",
            Self::Reject => "reject",
            Self::Other(name) => name,
        }
    }
}

/// The settings that change what a line means.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `ssl`: lines for TLS can match.
    pub tls: bool,
    /// `pgaad.require_tls`.
    pub require_tls: bool,
    /// `pgaad.allow_trust`.
    pub allow_trust: bool,
    /// `pgaad.allow_other_methods`.
    pub other_methods: OtherMethods,
}

impl Settings {
    /// Those that let the least through.
    pub const STRICTEST: Self =
        Self { tls: true, require_tls: true, allow_trust: false, other_methods: OtherMethods::NONE };
}

pub(super) const MEMBERS: &str = "azure_ad_user";

impl Line {
    /// The line in a sentence.
    pub(super) fn name(&self) -> String {
        match &self.file {
            None => format!("line {}", self.number),
            Some(file) => format!("line {} of {file}", self.number),
        }
    }

    /// Whether it leaves the decision to pgaad.
    pub(super) fn asks_for_a_token(&self, settings: Settings) -> bool {
        match self.method {
            Method::Token | Method::TokenWithoutMapping => true,
            Method::Trust => settings.allow_trust,
            Method::Reject | Method::Other(_) => false,
        }
    }

    pub(super) fn matches_role(&self, member: &Member) -> bool {
        self.roles.iter().any(|role| role.matches(member))
    }

    /// Whether it is for more than physical replication.
    pub(super) fn is_for_sessions(&self) -> bool {
        self.databases.iter().any(|database| *database != Database::Replication)
    }

    pub(super) fn is_reachable_from_elsewhere(&self) -> bool {
        self.is_for_sessions()
            && self.transports != Transports::LOCAL
            && match &self.addresses {
                Addresses::All | Addresses::Host(_) => true,
                Addresses::Network(network) => !network.is_loopback(),
                Addresses::Own(word, networks) => {
                    *word != "samehost" && !networks.iter().all(|network| network.is_loopback())
                }
            }
    }
}

/// The members to judge lines by: those that are known, one that nothing is known of, and those that token lines
/// name, which were written for members.
pub(super) fn with_hypothetical(lines: &[Line], settings: Settings, known: &[Member]) -> Vec<Member> {
    let mut members = known.to_vec();
    members.push(Member { name: None, roles: vec![MEMBERS.to_owned()] });
    for role in lines.iter().filter(|line| line.asks_for_a_token(settings)).flat_map(|line| &line.roles) {
        if let Role::Name(name) = role
            && !members.iter().any(|member| member.name.as_ref() == Some(name))
            && known.is_empty()
        {
            members.push(Member { name: Some(name.clone()), roles: vec![name.clone(), MEMBERS.to_owned()] });
        }
    }
    members
}
