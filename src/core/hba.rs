//! What the lines of `pg_hba.conf` mean for members of `azure_ad_user`: which could admit one without
//! a token, which ask for a token in vain, which leave a door open.
//!
//! Lines are given as PostgreSQL itself parsed them. The first line that matches a login decides
//! (hba.c, `check_hba`), so the order is a finding of its own.

use std::net::IpAddr;

use crate::defect::Defect;
use crate::gate::OtherMethods;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file.
    pub number: u32,
    /// How the connection must come.
    pub transport: Transport,
    /// The databases; `all` is one of the words.
    pub databases: Vec<String>,
    /// The roles.
    pub roles: Vec<Role>,
    /// The addresses; `None` for names, `samehost`, `samenet` and Unix sockets.
    pub network: Option<Network>,
    /// How it authenticates.
    pub method: Method,
}

/// The first column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `local`.
    Socket,
    /// `hostssl`, `hostgssenc`.
    Encrypted,
    /// `hostnossl`.
    Plain,
    /// `host`, `hostnogssenc`: as the client likes.
    Any,
}

/// An entry of the role column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `all`, or a pattern.
    Anybody,
    /// `+role`.
    Group(String),
    /// A name.
    Name(String),
}

/// The address column, when it holds addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u32,
}

/// How a line authenticates, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks for a token.
    Token,
    /// `trust`.
    Trust,
    /// `reject`.
    Reject,
    /// Any other, by its name.
    Other(String),
}

/// The settings that change what a line means.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `pgaad.require_tls`.
    pub require_tls: bool,
    /// `pgaad.allow_trust`.
    pub allow_trust: bool,
    /// `pgaad.allow_other_methods`.
    pub other_methods: OtherMethods,
}

const MEMBERS: &str = "azure_ad_user";
const TOKEN_LINE: &str = "hostssl all +azure_ad_user 0.0.0.0/0 pam pamservice=pgaad";

/// All that is wrong with `lines`. `members` are the names of the members, where they are known.
pub fn defects(lines: &[Line], settings: Settings, members: &[String]) -> Vec<Defect> {
    let mut defects = Vec::new();
    let asks =
        |line: &Line| line.method == Method::Token || (settings.allow_trust && line.method == Method::Trust);
    if !lines.iter().any(asks) {
        defects.push(Defect::new(
            "hba_token_line",
            "no line asks for a token",
            format!("{TOKEN_LINE}\n# before other lines that match the same roles"),
        ));
    }
    for (place, line) in lines.iter().enumerate() {
        let later = lines.get(place + 1..).unwrap_or_default();
        defects.extend(line.defects(later, settings, members));
    }
    defects
}

impl Line {
    fn defects(&self, later: &[Line], settings: Settings, members: &[String]) -> Vec<Defect> {
        let mut defects = Vec::new();
        let number = self.number;
        if self.method == Method::Trust && self.is_reachable_from_elsewhere() {
            defects.push(Defect::new(
                "hba_trust_remote",
                format!("line {number} is trust and can be reached from other machines"),
                format!(
                    "Give line {number} a method that asks for something, or an address on this machine."
                ),
            ));
        }
        if !self.may_match_a_member(members) {
            return defects;
        }
        match &self.method {
            Method::Token if self.transport == Transport::Plain => defects.push(Defect::new(
                "hba_token_without_tls",
                format!("line {number} asks for tokens on connections that are not encrypted only"),
                TOKEN_LINE.to_owned(),
            )),
            Method::Token
                if self.transport == Transport::Any
                    && self.is_reachable_from_elsewhere()
                    && !settings.require_tls =>
            {
                defects.push(Defect::new(
                    "hba_token_without_tls",
                    format!("line {number} asks for tokens also on connections that are not encrypted"),
                    "pgaad.require_tls = on".to_owned(),
                ));
            }
            Method::Trust => defects.push(Defect::new(
                "hba_trust_member",
                format!("line {number} is trust and matches members of {MEMBERS}: without pgaad anybody gets in there as any of them"),
                format!("Use pam on line {number}. Else: SELECT * FROM pgaad.guard_roles(true);"),
            )),
            Method::Other(method) if settings.other_methods.allows_named(method) => defects.push(Defect::new(
                "hba_without_token",
                format!("line {number} ({method}) admits members of {MEMBERS} without a token"),
                "pgaad.allow_other_methods = off".to_owned(),
            )),
            _ => {}
        }
        if matches!(self.method, Method::Other(_) | Method::Reject)
            && let Some(shadowed) =
                later.iter().find(|later| later.method == Method::Token && self.covers(later))
        {
            defects.push(Defect::new(
                "hba_order",
                format!(
                    "line {number} matches members of {MEMBERS} before line {} can ask them for a token; they are refused there",
                    shadowed.number
                ),
                format!("Move line {} above line {number}.", shadowed.number),
            ));
        }
        defects
    }

    fn is_reachable_from_elsewhere(&self) -> bool {
        if self.transport == Transport::Socket
            || !self.databases.iter().any(|database| database != "replication")
        {
            return false;
        }
        self.network.is_none_or(|network| !network.address.to_canonical().is_loopback() || network.prefix < 8)
    }

    fn may_match_a_member(&self, members: &[String]) -> bool {
        let is_for_sessions = self.databases.iter().any(|database| database != "replication");
        is_for_sessions
            && self.roles.iter().any(|role| match role {
                Role::Anybody => true,
                Role::Group(name) => name == MEMBERS || members.contains(name),
                Role::Name(name) => members.contains(name),
            })
    }

    /// Whether every login by `other` meets this line first, if this one stands before it.
    fn covers(&self, other: &Self) -> bool {
        let transport = match (self.transport, other.transport) {
            (Transport::Socket, other) => other == Transport::Socket,
            (_, Transport::Socket) => false,
            (Transport::Any, _) => true,
            (own, other) => own == other,
        };
        let databases =
            self.databases.iter().any(|database| database == "all" || other.databases.contains(database));
        let network = match (self.network, other.network) {
            (None, None) => self.transport == Transport::Socket,
            (Some(own), Some(other)) => own.contains(other),
            _ => false,
        };
        transport && databases && network
    }
}

impl Network {
    fn contains(self, other: Self) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32_u32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let ((own, own_width), (others, other_width)) = (bits(self.address), bits(other.address));
        let mask = u128::MAX.checked_shl(128 - self.prefix.min(128)).unwrap_or_default();
        own_width == other_width && self.prefix <= other.prefix && own & mask == others & mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Settings =
        Settings { require_tls: true, allow_trust: false, other_methods: OtherMethods::NONE };

    fn line(number: u32, transport: Transport, role: &str, network: &str, method: Method) -> Line {
        let roles = vec![match role.strip_prefix('+') {
            Some(group) => Role::Group(group.to_owned()),
            None if role == "all" => Role::Anybody,
            None => Role::Name(role.to_owned()),
        }];
        let network = network.split_once('/').map(|(address, prefix)| Network {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        });
        Line { number, transport, databases: vec!["all".into()], roles, network, method }
    }

    fn items(lines: &[Line], settings: Settings) -> Vec<&'static str> {
        let members = ["ann".to_owned()];
        defects(lines, settings, &members).into_iter().map(|defect| defect.item).collect()
    }

    fn other(name: &str) -> Method {
        Method::Other(name.to_owned())
    }

    #[test]
    fn the_lines_of_the_readme_are_sound() {
        let lines = [
            line(1, Transport::Socket, "postgres", "", other("peer")),
            line(2, Transport::Encrypted, "+azure_ad_user", "0.0.0.0/0", Method::Token),
            line(3, Transport::Encrypted, "+azure_ad_user", "::/0", Method::Token),
            line(4, Transport::Any, "all", "0.0.0.0/0", other("scram-sha-256")),
        ];
        assert_eq!(items(&lines, STRICT), [""; 0]);
        // The same lines in another order are not.
        let turned = [lines[3].clone(), lines[1].clone()];
        assert_eq!(items(&turned, STRICT), ["hba_order"]);
        let narrow = [line(4, Transport::Any, "all", "10.0.0.0/8", other("md5")), lines[1].clone()];
        assert_eq!(items(&narrow, STRICT), [""; 0], "a line for some addresses may come before");
    }

    #[test]
    fn each_hole_is_found_and_its_twin_is_none() {
        let token = line(9, Transport::Encrypted, "+azure_ad_user", "0.0.0.0/0", Method::Token);
        let with = |line: Line| [token.clone(), line];
        let trust = |role, network| with(line(1, Transport::Any, role, network, Method::Trust));
        assert_eq!(items(&trust("all", "0.0.0.0/0"), STRICT), ["hba_trust_remote", "hba_trust_member"]);
        assert_eq!(items(&trust("all", "127.0.0.1/32"), STRICT), ["hba_trust_member"]);
        assert_eq!(items(&trust("ann", "127.0.0.1/32"), STRICT), ["hba_trust_member"]);
        assert_eq!(items(&trust("bob", "127.0.0.1/32"), STRICT), [""; 0]);
        assert_eq!(items(&trust("bob", "10.0.0.0/8"), STRICT), ["hba_trust_remote"]);
        assert_eq!(items(&trust("bob", "::1/128"), STRICT), [""; 0]);

        let scram = with(line(1, Transport::Any, "all", "0.0.0.0/0", other("scram-sha-256")));
        assert_eq!(items(&scram, STRICT), [""; 0]);
        let lax = Settings { other_methods: OtherMethods::ALL, ..STRICT };
        assert_eq!(items(&scram, lax), ["hba_without_token"]);
        let listed = |list| Settings { other_methods: OtherMethods::parse(list).unwrap(), ..STRICT };
        assert_eq!(items(&scram, listed("cert,scram-sha-256")), ["hba_without_token"]);
        assert_eq!(items(&scram, listed("cert,peer")), [""; 0]);

        let plain = |transport| [line(1, transport, "+azure_ad_user", "0.0.0.0/0", Method::Token)];
        assert_eq!(items(&plain(Transport::Any), STRICT), [""; 0]);
        assert_eq!(
            items(&plain(Transport::Any), Settings { require_tls: false, ..STRICT }),
            ["hba_token_without_tls"]
        );
        assert_eq!(items(&plain(Transport::Plain), STRICT), ["hba_token_without_tls"]);
        assert_eq!(items(&[], STRICT), ["hba_token_line"]);
    }
}
