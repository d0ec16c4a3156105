//! What is wrong with the lines.

use super::line::{Database, Line, MEMBERS, Member, Method, Settings, Transports, with_hypothetical};
use super::order;
use crate::defect::Defect;

const TOKEN_LINE: &str = "hostssl all +azure_ad_user 0.0.0.0/0 pam pamservice=pgaad";

/// All that is wrong with `lines`. `members` are the members of `azure_ad_user`, as far as they are known.
pub fn defects(lines: &[Line], settings: Settings, members: &[Member]) -> Vec<Defect> {
    let members = with_hypothetical(lines, settings, members);
    let mut defects = Vec::new();
    if !lines.iter().any(|line| line.asks_for_a_token(settings)) {
        defects.push(Defect::new(
            "hba_token_line",
            "no line asks for a token",
            format!("{TOKEN_LINE}\n# before other lines that match the same roles"),
        ));
    }
    defects.extend(lines.iter().flat_map(|line| defects_of_line(line, settings, &members)));
    defects.extend(order::defects(lines, settings, &members));
    defects
}

fn defects_of_line(line: &Line, settings: Settings, members: &[Member]) -> Vec<Defect> {
    let mut defects = Vec::new();
    let name = line.name();
    if line.method == Method::Trust && line.is_reachable_from_elsewhere() {
        defects.push(Defect::new(
            "hba_trust_remote",
            format!("{name} is trust and can be reached from other machines"),
            format!("Give {name} a method that asks for something, or an address on this machine."),
        ));
    }
    if line.method == Method::TokenWithoutMapping {
        defects.push(Defect::new(
            "hba_oauth_mapping",
            format!("{name} is oauth without delegate_ident_mapping=1: every token login by it is refused"),
            format!("Add to {name}: delegate_ident_mapping=1"),
        ));
    }
    let is_for_sessions = line.databases.iter().any(|database| *database != Database::Replication);
    if !is_for_sessions || !members.iter().any(|member| line.matches_role(member)) {
        return defects;
    }
    match &line.method {
        Method::Token | Method::TokenWithoutMapping => defects.extend(defect_of_encryption(line, settings)),
        Method::Trust => defects.push(Defect::new(
            "hba_trust_member",
            format!(
                "{name} is trust and matches members of {MEMBERS}: without pgaad anybody gets in there as any \
                 of them"
            ),
            format!("Use pam on {name}. Else: SELECT * FROM pgaad.guard_roles(true);"),
        )),
        Method::Other(method) if settings.other_methods.allows_named(method) => defects.push(Defect::new(
            "hba_without_token",
            format!("{name} ({method}) admits members of {MEMBERS} without a token"),
            "pgaad.allow_other_methods = off",
        )),
        Method::Other(_) | Method::Reject => {}
    }
    defects
}

fn defect_of_encryption(line: &Line, settings: Settings) -> Option<Defect> {
    let name = line.name();
    if line.transports == Transports::HOSTNOSSL {
        return Some(Defect::new(
            "hba_token_without_tls",
            format!("{name} asks for tokens on connections that are not encrypted only"),
            TOKEN_LINE,
        ));
    }
    let is_open = line.transports.plain && line.is_reachable_from_elsewhere() && !settings.require_tls;
    is_open.then(|| {
        Defect::new(
            "hba_token_without_tls",
            format!("{name} asks for tokens also on connections that are not encrypted"),
            "pgaad.require_tls = on",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{STRICT, ann, items, line};
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
    fn oauth_line_without_delegated_mapping_is_named() {
        let defects = |method: &str| {
            let line = line(&format!("hostssl all +azure_ad_user 0.0.0.0/0 {method}"));
            defects(&[line], STRICT, &[ann()])
        };
        assert_eq!(defects("token"), []);
        let [defect] = &defects("oauth")[..] else { panic!("one defect") };
        assert_eq!(
            (defect.item, defect.hint.as_str()),
            ("hba_oauth_mapping", "Add to line 1: delegate_ident_mapping=1")
        );
    }
}
