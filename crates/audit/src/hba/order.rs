//! Which lines take logins away from a later one that asks for a token.
//!
//! The first line that matches a login decides (hba.c, `check_hba`). So logins are tried: for each way to come, each
//! part of the address space that the lines cut out, each kind of member and each database in question. What is said
//! of a login is a set of lines, one for where it comes from and one for who wants what; the first line in both
//! decides.

use std::collections::{BTreeMap, BTreeSet};

use super::line::{Addresses, Line, MEMBERS, Member, Method, Settings, Target, Transport};
use super::trials::{LineSet, Origin, Trials};
use crate::defect::Defect;

/// Most logins that are tried; a file that needs more is not judged.
const MOST_LOGINS: usize = 4_000_000;

/// Most names that a sentence lists.
const MOST_NAMES: usize = 5;

/// The lines that take logins, each with what it takes.
pub(super) fn taken(lines: &[Line], settings: Settings, members: &[Member]) -> Vec<Defect> {
    let matches_a_member = |line: &&Line| members.iter().any(|member| line.matches_role(member));
    let lines: Vec<&Line> = lines.iter().filter(matches_a_member).collect();
    let trials = Trials::of(&lines, members);
    if trials.ways.len().saturating_mul(trials.seats.len()) > MOST_LOGINS {
        return vec![Defect::new(
            "pg_hba.conf has too many lines to tell which take logins of members",
            format!("Put the lines for +{MEMBERS} before all others."),
        )];
    }
    let asking: LineSet = lines.iter().map(|line| line.asks_for_a_token(settings)).collect();
    // All logins that each asking line would have, were there no others, and what other lines take of them.
    let (mut wanted, mut taken) = (BTreeMap::<usize, Logins>::new(), BTreeMap::<usize, Taken>::new());
    for (way_place, way) in trials.ways.iter().enumerate() {
        for (seat_place, seat) in trials.seats.iter().enumerate() {
            let Some(first) = LineSet::first_of(&[&way.lines, &seat.lines], 0) else { continue };
            if asking.has(first) {
                wanted.entry(first).or_default().add(way_place, seat_place);
            } else if let Some(later) = LineSet::first_of(&[&way.possible, &seat.lines, &asking], first) {
                wanted.entry(later).or_default().add(way_place, seat_place);
                let taken = taken.entry(first).or_default();
                taken.from.insert(later);
                taken.logins.add(way_place, seat_place);
            }
        }
    }
    let describe = |(first, taken): (usize, Taken)| {
        let mut all = Logins::default();
        taken.from.iter().filter_map(|later| wanted.get(later)).for_each(|logins| all.join(logins));
        let line = lines.get(first)?;
        let from: Vec<_> =
            taken.from.iter().filter_map(|later| lines.get(*later)).map(|line| line.name()).collect();
        Some(defect(line, &from.join(" and "), &trials.part(line, &taken.logins, &all), settings))
    };
    taken.into_iter().filter_map(describe).collect()
}

fn defect(line: &Line, from: &str, part: &str, settings: Settings) -> Defect {
    let (name, method) = (line.name(), line.method.name());
    let fate = match &line.method {
        Method::Other(method) if settings.other_methods.allows_named(method) => {
            "they get in there without one"
        }
        _ => "they are refused there",
    };
    let unless = match line.method {
        Method::Reject => ", unless it is meant to refuse them",
        _ => "",
    };
    Defect::new(
        format!(
            "{name} matches members of {MEMBERS} before {from} can ask them for a token, by {method}, {part}; {fate}"
        ),
        format!("Move {from} above {name}{unless}."),
    )
}

/// Some logins, by the places of their ways and seats.
#[derive(Default)]
struct Logins {
    count: usize,
    ways: BTreeSet<usize>,
    seats: BTreeSet<usize>,
}

impl Logins {
    fn add(&mut self, way: usize, seat: usize) {
        self.count += 1;
        self.ways.insert(way);
        self.seats.insert(seat);
    }

    fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.ways.extend(&other.ways);
        self.seats.extend(&other.seats);
    }
}

/// What a line takes.
#[derive(Default)]
struct Taken {
    /// The asking lines that would have had it.
    from: BTreeSet<usize>,
    logins: Logins,
}

impl Trials<'_> {
    fn transports(&self, logins: &Logins) -> BTreeSet<Transport> {
        let ways = logins.ways.iter().filter_map(|place| self.ways.get(*place));
        ways.flat_map(|way| &way.come).map(|(transport, _)| *transport).collect()
    }

    /// Those that have an address.
    fn origins(&self, logins: &Logins) -> BTreeSet<&Origin> {
        let ways = logins.ways.iter().filter_map(|place| self.ways.get(*place));
        let origins = ways.flat_map(|way| &way.come).filter_map(|(_, origin)| self.origins.get(*origin));
        origins.filter(|origin| **origin != Origin::Socket).collect()
    }

    fn want(&self, logins: &Logins) -> impl Iterator<Item = &(usize, Target)> {
        logins.seats.iter().filter_map(|place| self.seats.get(*place)).flat_map(|seat| &seat.want)
    }

    /// Which part of `all` logins `line` takes.
    fn part(&self, line: &Line, taken: &Logins, all: &Logins) -> String {
        let mut parts = Vec::new();
        let transports = self.transports(taken);
        if transports != self.transports(all) {
            parts.push(format!("over {}", list(transports.iter().map(ToString::to_string))));
        }
        let targets = |logins| self.want(logins).map(|(_, target)| target).collect::<BTreeSet<_>>();
        if targets(taken) != targets(all) {
            parts.push(format!("to {}", list_of_targets(&targets(taken))));
        }
        if self.origins(taken) != self.origins(all) {
            parts.push(match &line.addresses {
                Addresses::All => "from some addresses".to_owned(),
                addresses => format!("from {addresses}"),
            });
        }
        let kinds = |logins| self.want(logins).map(|(kind, _)| *kind).collect::<BTreeSet<_>>();
        if kinds(taken) != kinds(all) {
            let kinds = kinds(taken);
            let members =
                kinds.iter().filter_map(|place| self.kinds.get(*place)).flat_map(|kind| &kind.members);
            let names = list(members.filter_map(|member| member.name.clone()));
            parts.push(if names.is_empty() { "as some members".to_owned() } else { format!("as {names}") });
        }
        match &parts[..] {
            [] if taken.count == all.count => "all of them".to_owned(),
            [] => "some of them".to_owned(),
            parts => format!("those {}", parts.join(" ")),
        }
    }
}

fn list_of_targets(targets: &BTreeSet<&Target>) -> String {
    let names = targets.iter().filter_map(|target| match target {
        Target::Named(name) => Some(name.clone()),
        Target::Replication => Some("replication".to_owned()),
        Target::Another => None,
    });
    if targets.contains(&&Target::Another) { "some databases".to_owned() } else { list(names) }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.get(..MOST_NAMES).unwrap_or_default().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Network;
    use super::super::tests::{STRICT, found, items, judged};
    use super::*;
    use pgaad_core::gate::OtherMethods;

    const TOKEN: &str = "hostssl all +azure_ad_user 0.0.0.0/0 token";

    /// What is said of the order of `first` and then `token`.
    fn said(first: &str, token: &str) -> Option<String> {
        let defects = found(&[first, token], STRICT);
        defects.into_iter().find(|(item, _)| *item == "hba_order").map(|(_, defect)| {
            assert!(defect.hint.starts_with("Move line 2 above line 1"), "{}", defect.hint);
            let (_, part) = defect.detail.split_once("by ").expect("the method is named");
            part.to_owned()
        })
    }

    #[test]
    fn every_earlier_line_that_takes_logins_is_named_with_what_it_takes() {
        let refused = "; they are refused there";
        for (first, token, part) in [
            ("host all all 0.0.0.0/0 scram-sha-256", TOKEN, "scram-sha-256, all of them"),
            ("host all all all md5", TOKEN, "md5, all of them"),
            ("hostssl all all 0.0.0.0/0 reject", TOKEN, "reject, all of them"),
            ("host all all 0.0.0.0/0 trust", TOKEN, "trust, all of them"),
            ("host all all 10.0.0.0/8 scram-sha-256", TOKEN, "scram-sha-256, those from 10.0.0.0/8"),
            ("host all all 127.0.0.1/32 scram-sha-256", TOKEN, "scram-sha-256, those from 127.0.0.1/32"),
            ("host all all samehost ident", TOKEN, "ident, those from samehost"),
            ("host all all samenet ident", TOKEN, "ident, those from samenet"),
            ("host all all .example.com md5", TOKEN, "md5, those from .example.com"),
            ("host all all .example.com md5", "hostssl all all A.Example.com token", "md5, all of them"),
            (
                "host all all 10.9.9.9/32 md5",
                "hostssl all all 10.0.0.0/8 token",
                "md5, those from 10.9.9.9/32",
            ),
            ("host all all 10.0.0.0/8 md5", "hostssl all all 10.9.9.9/32 token", "md5, all of them"),
            ("host all all 10.0.0.0/9 md5", "hostssl all all 10.0.0.0/8 token", "md5, those from 10.0.0.0/9"),
            ("host all all fd00::/9 md5", "hostssl all all fd00::/8 token", "md5, those from fd00::/9"),
            ("host all all 10.9.9.9/32 md5", "hostssl all all samehost token", ""),
            ("host all all 10.1.2.3/32 md5", "hostssl all all samehost token", "md5, those from 10.1.2.3/32"),
            ("host postgres all all scram-sha-256", TOKEN, "scram-sha-256, those to postgres"),
            ("host a,b,c all all md5", "hostssl b,c,d all all token", "md5, those to b, c"),
            ("host sameuser all all md5", TOKEN, "md5, those to ann as ann"),
            ("host samerole all all md5", TOKEN, "md5, those to ann, app, azure_ad_user"),
            ("host /a|b all all md5", TOKEN, "md5, those to a, b"),
            ("host all ann all md5", TOKEN, "md5, those as ann"),
            ("host all +app all md5", TOKEN, "md5, those as ann"),
            ("host all /ann all md5", TOKEN, "md5, those as ann"),
            ("hostnogssenc all all all md5", TOKEN, "md5, all of them"),
            ("hostgssenc all all all md5", "host all all all token", "md5, those over GSS encryption"),
            (
                "hostnogssenc all all all md5",
                "host all all all token",
                "md5, those over TCP without encryption, TLS",
            ),
            (
                "hostnossl all all all md5",
                "host all all all token",
                "md5, those over TCP without encryption, GSS encryption",
            ),
            ("local all all peer", "local all +azure_ad_user token", "peer, all of them"),
            ("local all,replication +app peer", "local all +azure_ad_user token", "peer, those as ann"),
            ("host all ann 10.0.0.0/8 md5", TOKEN, "md5, those from 10.0.0.0/8 as ann"),
            (
                "host replication all all md5",
                "hostssl all,replication +azure_ad_user all token",
                "md5, those to replication",
            ),
        ] {
            let expected = (!part.is_empty()).then(|| format!("{part}{refused}"));
            assert_eq!(said(first, token), expected, "{first}\n{token}");
        }
    }

    #[test]
    fn what_becomes_of_the_logins_is_said() {
        let order = |lines: &[&str], settings| {
            let defects = found(lines, settings).into_iter().filter(|(item, _)| *item == "hba_order");
            defects.map(|(_, defect)| (defect.detail, defect.hint)).collect::<Vec<_>>()
        };
        let lax = Settings { other_methods: OtherMethods::parse("cert").unwrap(), ..STRICT };
        for (method, fate) in [("cert", "they get in there without one"), ("md5", "they are refused there")] {
            let [(detail, _)] = &order(&[&format!("host all all all {method}"), TOKEN], lax)[..] else {
                panic!("one line takes logins: {method}")
            };
            assert!(detail.ends_with(fate), "{detail}");
        }
        for (method, hint) in [
            ("reject", "Move line 2 above line 1, unless it is meant to refuse them."),
            ("md5", "Move line 2 above line 1."),
        ] {
            let line = format!("host all all all {method}");
            assert_eq!(order(&[&line, TOKEN], STRICT).remove(0).1, hint);
        }
        // No column tells what a line takes of another that a third line has taken from before.
        let taken = order(&["host a all 10.0.0.0/8 md5", "host all all all ident", TOKEN], STRICT);
        assert!(taken[1].0.contains("by ident, some of them"), "{taken:?}");
    }

    #[test]
    fn a_file_with_too_many_lines_is_not_judged() {
        let lines: Vec<String> = (0..2100)
            .map(|number| format!("host db{number} all 10.{}.{}.0/24 md5", number / 250, number % 250))
            .chain([TOKEN.to_owned()])
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let [(_, defect)] = &found(&lines, STRICT)[..] else { panic!("one defect") };
        assert!(defect.detail.contains("too many lines"), "{defect:?}");
    }

    #[test]
    fn lines_that_take_no_login_of_a_member_are_not_named() {
        for (first, token) in [
            // Another role, another transport, another database, another address.
            ("local all postgres peer", "local all +azure_ad_user token"),
            ("host all bob all md5", TOKEN),
            ("host all +dbas all md5", TOKEN),
            ("host all /bob all md5", TOKEN),
            ("local all all peer", TOKEN),
            ("hostnossl all all all md5", TOKEN),
            ("hostgssenc all all all md5", TOKEN),
            ("host replication all all md5", TOKEN),
            ("host all all all md5", "host replication +azure_ad_user all token"),
            ("host other all all md5", "hostssl app +azure_ad_user all token"),
            ("host /a|b all all md5", "hostssl c +azure_ad_user all token"),
            ("host sameuser all all md5", "hostssl app +azure_ad_user all token"),
            ("host all all ::/0 md5", TOKEN),
            ("host all all 10.0.0.0/8 md5", "hostssl all all 11.0.0.0/8 token"),
            ("host all all 10.1.3.0/24 md5", "hostssl all all samenet token"),
            ("host all all 10.0.0.0/8 token", TOKEN),
            ("host all all a.example.com md5", "hostssl all all b.example.com token"),
            ("host all all .example.org md5", "hostssl all all b.example.com token"),
        ] {
            assert_eq!(said(first, token), None, "{first}\n{token}");
        }
        let trust = Settings { allow_trust: true, ..STRICT };
        assert!(!items(&["host all all all trust", TOKEN], trust).contains(&"hba_order"));
    }

    #[test]
    fn what_an_earlier_token_line_has_is_not_taken_from_a_later_one() {
        let scram = "host all all 10.0.0.0/8 scram-sha-256";
        assert_eq!(items(&[TOKEN, scram, "hostssl all +azure_ad_user 10.0.0.0/8 token"], STRICT), [""; 0]);
        let other = "hostssl app +azure_ad_user 0.0.0.0/0 token";
        assert_eq!(items(&[other, scram, TOKEN], STRICT), ["hba_order"]);
        // A host's address is not known.
        assert_eq!(
            items(&["hostssl all all 10.0.0.0/8 token", "host all all h md5", TOKEN], STRICT),
            ["hba_order"]
        );
        assert_eq!(items(&[TOKEN, "host all all h md5", TOKEN], STRICT), [""; 0]);
        // One defect for each line that takes some, of all that it takes them from.
        let defects =
            found(&[scram, "host all all ::/0 md5", TOKEN, "hostssl all +azure_ad_user all token"], STRICT);
        let hints: Vec<_> = defects.iter().map(|(_, defect)| defect.hint.as_str()).collect();
        assert_eq!(hints, ["Move line 3 above line 1.", "Move line 4 above line 2."]);
    }

    /// As in the worker, which reads no catalogs.
    #[test]
    fn members_that_are_not_known_are_those_that_token_lines_mean() {
        let order = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|text| super::super::tests::line(text)).collect();
            Vec::from_iter(judged(lines, STRICT, vec![]).into_iter().map(|(_, defect)| defect.detail))
        };
        let token = "hostssl all eve,+azure_ad_user all token";
        assert_eq!(order(&["host all bob all md5", token]), [""; 0]);
        assert!(order(&["host all all all md5", token])[0].contains("all of them"));
        assert!(order(&["host all eve all md5", token])[0].contains("those as eve"));
        // Eve has been asked before.
        let after = order(&["hostssl all eve all token", "host all all all md5", token]);
        assert!(after[0].contains("all of them"), "{after:?}");
    }

    #[test]
    fn masks_need_not_be_contiguous() {
        let line = |mask: &str, text: &str| {
            let mut line = super::super::tests::line(text);
            let address = "10.0.0.5".parse().expect("an address");
            let network = Network::new(address, mask.parse().expect("a mask")).expect("one family");
            line.addresses = Addresses::Network(network);
            line
        };
        let order = |mask: &str| {
            let lines = [
                line(mask, "host all all all md5"),
                super::super::tests::line("hostssl all all 10.7.0.0/16 token"),
            ];
            judged(lines.to_vec(), STRICT, vec![]).len()
        };
        assert_eq!((order("255.0.0.255"), order("255.255.0.255")), (1, 0));
    }

    #[test]
    fn long_file_is_judged() {
        let lines: Vec<String> = (0..300)
            .map(|number| format!("host db{number} all 10.0.{}.0/24 md5", number % 250))
            .chain([TOKEN.to_owned()])
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let defects = found(&lines, STRICT);
        assert_eq!(defects.len(), 300);
        assert!(
            defects[299].1.detail.contains("those to db299 from 10.0.49.0/24"),
            "{}",
            defects[299].1.detail
        );
    }
}
