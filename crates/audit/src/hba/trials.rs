//! The logins that are tried: one for each way to come and each seat to take that the lines tell apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::line::{Addresses, Database, Line, Member, Target, Transport};
use super::network::Network;

/// All that is tried.
pub(super) struct Trials<'a> {
    pub(super) origins: Vec<Origin>,
    pub(super) ways: Vec<Way>,
    pub(super) kinds: Vec<Kind<'a>>,
    pub(super) seats: Vec<Seat>,
}

impl<'a> Trials<'a> {
    /// All that `lines` tell apart.
    pub(super) fn of(lines: &[&Line], members: &'a [Member]) -> Self {
        let (origins, kinds) = (origins(lines), kinds(lines, members));
        Self { ways: ways(lines, &origins), seats: seats(lines, &kinds), origins, kinds }
    }
}

/// A set of lines, by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineSet(Vec<u64>);

impl FromIterator<bool> for LineSet {
    fn from_iter<I: IntoIterator<Item = bool>>(has: I) -> Self {
        let mut words = Vec::new();
        for (place, has) in has.into_iter().enumerate() {
            if place % 64 == 0 {
                words.push(0);
            }
            if let Some(word) = words.last_mut() {
                *word |= u64::from(has) << (place % 64);
            }
        }
        Self(words)
    }
}

impl LineSet {
    pub(super) fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| (word >> (place % 64)) & 1 == 1)
    }

    /// The first line from `place` on that is in all of `sets`.
    pub(super) fn first_of(sets: &[&Self], place: usize) -> Option<usize> {
        let words = sets.iter().map(|set| set.0.len()).min()?;
        (place / 64..words).find_map(|word| {
            let from = if word == place / 64 { u64::MAX << (place % 64) } else { u64::MAX };
            let common = sets.iter().filter_map(|set| set.0.get(word)).fold(from, |all, own| all & own);
            (common != 0).then(|| word * 64 + usize::try_from(common.trailing_zeros()).unwrap_or_default())
        })
    }
}

/// Where a login comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Socket,
    Address(IpAddr),
    /// The host of a name that some line has, at an address that nobody knows.
    Host(String),
}

impl Origin {
    /// Whether the address column of `line` holds it; `unknown` is the answer where nobody knows.
    fn is_in(&self, line: &Line, unknown: bool) -> bool {
        match (self, &line.addresses) {
            (_, Addresses::All) | (Self::Socket, _) => true,
            (Self::Address(address), Addresses::Network(network)) => network.contains(*address),
            (Self::Address(address), Addresses::Own(_, networks)) => {
                networks.iter().any(|network| network.contains(*address))
            }
            (Self::Address(_), Addresses::Host(_)) => false,
            (Self::Host(name), Addresses::Host(pattern)) => is_of_host(pattern, name),
            (Self::Host(_), Addresses::Network(network)) => network.is_everything() || unknown,
            (Self::Host(_), Addresses::Own(..)) => unknown,
        }
    }
}

/// hba.c, `hostname_match`.
fn is_of_host(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    if pattern.starts_with('.') { name.ends_with(&pattern) } else { name == pattern }
}

/// One origin of each part into which the lines divide all of them: a part of the addresses begins where a network
/// does, or behind the end of one.
fn origins(lines: &[&Line]) -> Vec<Origin> {
    let networks: BTreeSet<Network> = lines.iter().flat_map(|line| line.addresses.networks()).collect();
    let mut addresses =
        BTreeSet::from([IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]);
    for network in &networks {
        addresses.extend(network.after());
        addresses.extend(networks.iter().filter_map(|other| network.first_in_both(*other)));
    }
    let hosts: BTreeSet<Origin> = lines
        .iter()
        .filter_map(|line| match &line.addresses {
            // `.example.com` ends with itself, and stands for some host of that domain.
            Addresses::Host(name) => Some(Origin::Host(name.clone())),
            _ => None,
        })
        .collect();
    [Origin::Socket].into_iter().chain(addresses.into_iter().map(Origin::Address)).chain(hosts).collect()
}

/// Logins that come in ways which the same lines match.
pub(super) struct Way {
    pub(super) lines: LineSet,
    /// With the lines that may match, for all that is known.
    pub(super) possible: LineSet,
    /// Each with the place of its origin.
    pub(super) come: Vec<(Transport, usize)>,
}

fn ways(lines: &[&Line], origins: &[Origin]) -> Vec<Way> {
    let mut ways = BTreeMap::<(LineSet, LineSet), Vec<(Transport, usize)>>::new();
    for transport in Transport::ALL {
        for (place, origin) in origins.iter().enumerate() {
            if (transport == Transport::Socket) != (*origin == Origin::Socket) {
                continue;
            }
            let set = |unknown| -> LineSet {
                let matches = |line: &&Line| line.transports.has(transport) && origin.is_in(line, unknown);
                lines.iter().map(matches).collect()
            };
            ways.entry((set(false), set(true))).or_default().push((transport, place));
        }
    }
    ways.into_iter().map(|((lines, possible), come)| Way { lines, possible, come }).collect()
}

/// Members that no line tells apart.
pub(super) struct Kind<'a> {
    pub(super) members: Vec<&'a Member>,
    /// Whether each line is for them.
    roles: Vec<bool>,
}

fn kinds<'a>(lines: &[&Line], members: &'a [Member]) -> Vec<Kind<'a>> {
    let databases = || lines.iter().flat_map(|line| &line.databases);
    let is_relative = databases().any(|entry| matches!(entry, Database::SameUser | Database::SameRole));
    let mut kinds = BTreeMap::<(Vec<bool>, Option<&Member>), Vec<&Member>>::new();
    for member in members {
        let roles = lines.iter().map(|line| line.matches_role(member)).collect();
        // A line that compares the database with the role tells everybody apart.
        kinds.entry((roles, is_relative.then_some(member))).or_default().push(member);
    }
    kinds.into_iter().map(|((roles, _), members)| Kind { members, roles }).collect()
}

/// Logins of members to databases for which the same lines are meant.
pub(super) struct Seat {
    pub(super) lines: LineSet,
    /// Each kind of member by its place.
    pub(super) want: Vec<(usize, Target)>,
}

fn seats(lines: &[&Line], kinds: &[Kind]) -> Vec<Seat> {
    let named: BTreeSet<&String> =
        lines.iter().flat_map(|line| &line.databases).flat_map(Database::names).collect();
    let mut seats = BTreeMap::<LineSet, Vec<(usize, Target)>>::new();
    for (place, kind) in kinds.iter().enumerate() {
        let Some(member) = kind.members.first() else { continue };
        // Where a line compares names, a kind is one member.
        let targets = named.iter().copied().chain(&member.roles).cloned().map(Target::Named);
        for target in targets.chain([Target::Another, Target::Replication]).collect::<BTreeSet<_>>() {
            let matches = |(line, role): (&&Line, &bool)| {
                *role && line.databases.iter().any(|entry| entry.matches(&target, member))
            };
            let set = lines.iter().zip(&kind.roles).map(matches).collect();
            seats.entry(set).or_default().push((place, target));
        }
    }
    seats.into_iter().map(|(lines, want)| Seat { lines, want }).collect()
}

#[cfg(test)]
mod tests {
    use super::LineSet;

    #[test]
    fn the_first_line_in_all_sets_is_found_from_any_place_on() {
        let set = |places: &[usize]| -> LineSet { (0..200).map(|place| places.contains(&place)).collect() };
        let (one, other) = (set(&[3, 64, 130, 199]), set(&[4, 64, 131, 199]));
        for place in 0..=200 {
            let common = [64, 199].into_iter().find(|common| *common >= place);
            assert_eq!(LineSet::first_of(&[&one, &other], place), common, "{place}");
            let own = [3, 64, 130, 199].into_iter().find(|own| *own >= place);
            assert_eq!(LineSet::first_of(&[&one], place), own, "{place}");
            assert_eq!(one.has(place), [3, 64, 130, 199].contains(&place), "{place}");
        }
        assert_eq!(LineSet::first_of(&[&set(&[1]), &set(&[2])], 0), None);
    }
}
