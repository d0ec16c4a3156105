//! Lines as they stand in a file, for the tests of this module and those below.

use super::*;
use crate::{Defect, Evidence, defects, evidence};

pub(super) const STRICT: Settings = Settings::STRICTEST;

/// A member who is in the group `app` as well.
pub(super) fn ann() -> Member {
    let roles = ["ann", "azure_ad_user", "app"].map(str::to_owned).to_vec();
    Member { name: Some("ann".into()), roles }
}

fn network(text: &str) -> Network {
    let (address, prefix) = text.split_once('/').expect("a network");
    let address: std::net::IpAddr = address.parse().expect("an address");
    let prefix: u32 = prefix.parse().expect("a number");
    let mask = match address {
        std::net::IpAddr::V4(_) => {
            std::net::IpAddr::V4(u32::MAX.checked_shl(32 - prefix).unwrap_or(0).into())
        }
        std::net::IpAddr::V6(_) => {
            std::net::IpAddr::V6(u128::MAX.checked_shl(128 - prefix).unwrap_or(0).into())
        }
    };
    Network::new(address, mask).expect("one family")
}

/// A line as it stands in the file, plain words only; `/a|b` is a pattern that matches these.
pub(super) fn line(text: &str) -> Line {
    let mut fields: Vec<&str> = text.split_whitespace().collect();
    if fields[0] == "local" {
        fields.insert(3, "all");
    }
    let matched = |text: &str| text.split('|').map(str::to_owned).collect();
    let database = |text: &str| match text {
        "all" => Database::All,
        "sameuser" => Database::SameUser,
        "samerole" => Database::SameRole,
        "replication" => Database::Replication,
        name => match name.strip_prefix('/') {
            Some(pattern) => Database::Pattern(matched(pattern)),
            None => Database::Name(name.to_owned()),
        },
    };
    let role = |text: &str| match (text, text.strip_prefix('+'), text.strip_prefix('/')) {
        ("all", ..) => Role::All,
        (_, Some(group), _) => Role::Group(group.to_owned()),
        (_, _, Some(pattern)) => Role::Pattern(matched(pattern)),
        (name, ..) => Role::Name(name.to_owned()),
    };
    Line {
        number: 1,
        file: None,
        transports: match fields[0] {
            "local" => Transports::LOCAL,
            "hostssl" => Transports::HOSTSSL,
            "hostnossl" => Transports::HOSTNOSSL,
            "hostgssenc" => Transports::HOSTGSSENC,
            "hostnogssenc" => Transports::HOSTNOGSSENC,
            _ => Transports::HOST,
        },
        databases: fields[1].split(',').map(database).collect(),
        roles: fields[2].split(',').map(role).collect(),
        addresses: match fields[3] {
            "all" => Addresses::All,
            "samehost" => Addresses::Own("samehost", vec![network("127.0.0.1/32"), network("10.1.2.3/32")]),
            "samenet" => Addresses::Own("samenet", vec![network("127.0.0.0/8"), network("10.1.2.0/24")]),
            text if text.contains('/') => Addresses::Network(network(text)),
            text => Addresses::Host(text.to_owned()),
        },
        method: match fields[4] {
            "token" => Method::Token,
            "oauth" => Method::TokenWithoutMapping,
            "trust" => Method::Trust,
            "reject" => Method::Reject,
            other => Method::Other(other.to_owned()),
        },
    }
}

/// What is wrong with lines, numbered from 1.
pub(super) fn found(lines: &[&str], settings: Settings) -> Vec<(&'static str, Defect)> {
    let lines = (1..).zip(lines).map(|(number, text)| Line { number, ..line(text) }).collect();
    judged(lines, settings, vec![ann()])
}

/// What the checks of lines say of these, and nothing else is wrong.
pub(super) fn judged(
    lines: Vec<Line>,
    settings: Settings,
    members: Vec<Member>,
) -> Vec<(&'static str, Defect)> {
    let evidence = Evidence {
        lines: Ok(lines),
        members,
        settings: Ok(evidence::Settings { token: None, of_lines: settings }),
        ..Evidence::default()
    };
    let of_lines = |(item, _): &(&str, Defect)| item.starts_with("hba_");
    defects(&evidence).map(|(check, defect)| (check.item, defect)).filter(of_lines).collect()
}

pub(super) fn items(lines: &[&str], settings: Settings) -> Vec<&'static str> {
    found(lines, settings).into_iter().map(|(item, _)| item).collect()
}

#[test]
fn the_lines_of_the_readme_are_sound() {
    let sound = [
        "local all postgres peer",
        "hostssl all +azure_ad_user 0.0.0.0/0 token",
        "hostssl all +azure_ad_user ::/0 token",
        "local all all peer",
        "host all all 127.0.0.1/32 scram-sha-256",
        "host all all ::1/128 scram-sha-256",
        "host replication all 127.0.0.1/32 scram-sha-256",
        "host all all 0.0.0.0/0 scram-sha-256",
    ];
    assert_eq!(items(&sound, STRICT), [""; 0]);
    // The same lines the other way round are not.
    let mut turned = sound;
    turned.reverse();
    assert_eq!(items(&turned, STRICT), ["hba_order"; 2]);
}
