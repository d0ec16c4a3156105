//! What is wrong with the lines.

use super::line::{Line, MEMBERS, Member, Method, Settings, Transports, with_hypothetical};
use super::order::taken;
use crate::defect::{Defect, RELOAD};

const TOKEN_LINE: &str = "hostssl all +azure_ad_user 0.0.0.0/0 pam pamservice=pgaad";

/// The lines, and what they are judged by.
pub struct Lines<'a> {
    lines: &'a [Line],
    settings: Settings,
    members: Vec<Member>,
}

impl<'a> Lines<'a> {
    /// `members` are the members of `azure_ad_user`, as far as they are known.
    pub(crate) fn new(lines: &'a [Line], settings: Settings, members: &[Member]) -> Self {
        Self { lines, settings, members: with_hypothetical(lines, settings, members) }
    }

    /// Those by which a member can get a session.
    fn for_members(&self) -> impl Iterator<Item = &'a Line> {
        let matches = |line: &&Line| self.members.iter().any(|member| line.matches_role(member));
        self.lines.iter().filter(|line| line.is_for_sessions()).filter(matches)
    }
}

/// No line asks for a token.
pub(crate) fn token_line(lines: &Lines) -> Vec<Defect> {
    let is_asked = lines.lines.iter().any(|line| line.asks_for_a_token(lines.settings));
    let defect = || {
        Defect::new(
            "no line asks for a token",
            format!("{TOKEN_LINE}\n# before other lines that match the same roles"),
        )
    };
    (!is_asked).then(defect).into_iter().collect()
}

/// Lines that ask for a token by TLS, which the server does not speak.
pub(crate) fn tls_off(lines: &Lines) -> Vec<Defect> {
    let asks = |line: &&Line| {
        line.transports == Transports::HOSTSSL
            && matches!(line.method, Method::Token | Method::TokenWithoutMapping)
    };
    let defect = |line: &Line| {
        Defect::new(
            format!("{} asks for tokens over TLS, and matches nobody while ssl is off", line.name()),
            format!("ALTER SYSTEM SET ssl = on; {RELOAD}"),
        )
    };
    lines.lines.iter().filter(|_| !lines.settings.tls).filter(asks).map(defect).collect()
}

/// Lines that ask for a token where it could be read on its way.
pub(crate) fn token_without_tls(lines: &Lines) -> Vec<Defect> {
    let asks = |line: &&Line| matches!(line.method, Method::Token | Method::TokenWithoutMapping);
    let defect = |line: &Line| {
        let name = line.name();
        if line.transports == Transports::HOSTNOSSL {
            return Some(Defect::new(
                format!("{name} asks for tokens on connections that are not encrypted only"),
                TOKEN_LINE,
            ));
        }
        let is_open =
            line.transports.plain && line.is_reachable_from_elsewhere() && !lines.settings.require_tls;
        is_open.then(|| {
            Defect::new(
                format!("{name} asks for tokens also on connections that are not encrypted"),
                format!("ALTER SYSTEM SET pgaad.require_tls = on; {RELOAD}"),
            )
        })
    };
    lines.for_members().filter(asks).filter_map(defect).collect()
}

/// Trust lines for other machines, for any role.
pub(crate) fn trust_remote(lines: &Lines) -> Vec<Defect> {
    let is_open = |line: &&Line| line.method == Method::Trust && line.is_reachable_from_elsewhere();
    let defect = |line: &Line| {
        let name = line.name();
        Defect::new(
            format!("{name} is trust and can be reached from other machines"),
            format!("Give {name} a method that asks for something, or an address on this machine."),
        )
    };
    lines.lines.iter().filter(is_open).map(defect).collect()
}

/// Trust lines for members.
pub(crate) fn trust_member(lines: &Lines) -> Vec<Defect> {
    let defect = |line: &Line| {
        let name = line.name();
        Defect::new(
            format!(
                "{name} is trust and matches members of {MEMBERS}: without pgaad anybody gets in there as any \
                 of them"
            ),
            format!("Use pam on {name}. Else: SELECT * FROM pgaad.guard_roles(true);"),
        )
    };
    lines.for_members().filter(|line| line.method == Method::Trust).map(defect).collect()
}

/// Lines of other methods by which members may log in.
pub(crate) fn without_token(lines: &Lines) -> Vec<Defect> {
    let defect = |line: &Line| match &line.method {
        Method::Other(method) if lines.settings.other_methods.allows_named(method) => Some(Defect::new(
            format!("{} ({method}) admits members of {MEMBERS} without a token", line.name()),
            format!("ALTER SYSTEM SET pgaad.allow_other_methods = off; {RELOAD}"),
        )),
        _ => None,
    };
    lines.for_members().filter_map(defect).collect()
}

/// Lines that refuse every token.
pub(crate) fn oauth_mapping(lines: &Lines) -> Vec<Defect> {
    let defect = |line: &Line| {
        let name = line.name();
        Defect::new(
            format!("{name} is oauth without delegate_ident_mapping=1: every token login by it is refused"),
            format!("Add to {name}: delegate_ident_mapping=1"),
        )
    };
    let lines = lines.lines.iter();
    lines.filter(|line| line.method == Method::TokenWithoutMapping).map(defect).collect()
}

/// Lines that take logins away from a later one that asks for a token.
pub(crate) fn order(lines: &Lines) -> Vec<Defect> {
    taken(lines.lines, lines.settings, &lines.members)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{STRICT, found, items};
    use super::*;
    use pgaad_core::gate::OtherMethods;

    #[test]
    fn each_hole_is_found_and_its_twin_is_none() {
        let with = |text: &str| items(&["hostssl all +azure_ad_user 0.0.0.0/0 token", text], STRICT);
        assert_eq!(with("host all all 0.0.0.0/0 trust"), ["hba_trust_remote", "hba_trust_member"]);
        assert_eq!(with("host all all samenet trust"), ["hba_trust_remote", "hba_trust_member"]);
        assert_eq!(with("host all all samehost trust"), ["hba_trust_member"]);
        assert_eq!(with("host all all 127.0.0.1/32 trust"), ["hba_trust_member"]);
        assert_eq!(with("host all ann 127.0.0.1/32 trust"), ["hba_trust_member"]);
        assert_eq!(with("host all bob 127.0.0.1/32 trust"), [""; 0]);
        assert_eq!(with("host replication all 10.0.0.0/8 trust"), [""; 0]);
        assert_eq!(with("host all bob 10.0.0.0/8 trust"), ["hba_trust_remote"]);
        assert_eq!(with("host all bob db.example.com trust"), ["hba_trust_remote"]);
        assert_eq!(with("host all bob ::1/128 trust"), [""; 0]);

        let scram = ["hostssl all +azure_ad_user 0.0.0.0/0 token", "host all all 0.0.0.0/0 scram-sha-256"];
        assert_eq!(items(&scram, STRICT), [""; 0]);
        let lax = Settings { other_methods: OtherMethods::ALL, ..STRICT };
        assert_eq!(items(&scram, lax), ["hba_without_token"]);
        let listed = |list| Settings { other_methods: OtherMethods::parse(list).unwrap(), ..STRICT };
        assert_eq!(items(&scram, listed("cert,scram-sha-256")), ["hba_without_token"]);
        assert_eq!(items(&scram, listed("cert,peer")), [""; 0]);

        let open = Settings { require_tls: false, ..STRICT };
        for (words, settings, expected) in [
            ("host", STRICT, None),
            ("host", open, Some("hba_token_without_tls")),
            ("hostnossl", STRICT, Some("hba_token_without_tls")),
            ("hostssl", open, None),
            ("hostgssenc", open, None),
        ] {
            let line = format!("{words} all +azure_ad_user 0.0.0.0/0 token");
            assert_eq!(items(&[&line], settings), Vec::from_iter(expected), "{line}");
        }
        assert_eq!(items(&[], STRICT), ["hba_token_line"]);
    }

    #[test]
    fn lines_for_tls_are_named_while_it_is_off() {
        let off = Settings { tls: false, ..STRICT };
        for (words, settings, is_named) in [
            ("hostssl all +azure_ad_user all token", off, true),
            ("hostssl all +azure_ad_user all oauth", off, true),
            ("hostssl all +azure_ad_user all token", STRICT, false),
            // Who has no TLS uses these, and other methods are not ours.
            ("host all +azure_ad_user all token", off, false),
            ("hostgssenc all +azure_ad_user all token", off, false),
            ("hostssl all +azure_ad_user all md5", off, false),
        ] {
            assert_eq!(items(&[words], settings).contains(&"hba_tls_off"), is_named, "{words}");
        }
    }

    #[test]
    fn oauth_line_without_delegated_mapping_is_named() {
        let defects =
            |method: &str| found(&[&format!("hostssl all +azure_ad_user 0.0.0.0/0 {method}")], STRICT);
        assert_eq!(defects("token"), []);
        let [(item, defect)] = &defects("oauth")[..] else { panic!("one defect") };
        assert_eq!(
            (*item, defect.hint.as_str()),
            ("hba_oauth_mapping", "Add to line 1: delegate_ident_mapping=1")
        );
    }
}
