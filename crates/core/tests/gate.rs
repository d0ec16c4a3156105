//! The truth table of the gate, walked through every combination of facts.

use pgaad_core::Reason;
use pgaad_core::gate::{
    Answer, Decided, Entry, Facts, GatePolicy, GuardTrust, Line, Method, OtherMethod, OtherMethods, Outcome,
    judge,
};

const UNUSABLE: Reason =
    Reason::SettingInvalid { setting: "pgaad.clock_skew", value: None, expected: String::new() };

const NOT_MEMBER: Reason = Reason::RoleNotMember { grant: None };

/// Calls `see` with every combination of facts.
fn walk(mut see: impl FnMut(&Facts)) -> usize {
    let mut count = 0;
    let other = |method| Method::Other(Some(method));
    let methods: Vec<Method> = [Method::TokenByPam, Method::TokenByOAuth, Method::Trust, Method::Other(None)]
        .into_iter()
        .chain(OtherMethod::ALL.iter().copied().map(other))
        .collect();
    let some = OtherMethods::parse("cert,peer").unwrap_or_default();
    let policies: Vec<Result<GatePolicy, Reason>> = [OtherMethods::NONE, some, OtherMethods::ALL]
        .into_iter()
        .flat_map(|other_methods| {
            [false, true].map(|allow_trust| Ok(GatePolicy { allow_trust, other_methods }))
        })
        .chain([Err(UNUSABLE)])
        .collect();
    let guards = [Some(GuardTrust::Remote), Some(GuardTrust::All), Some(GuardTrust::Off), None];
    for core in [Answer::Yes, Answer::No, Answer::ClientGone] {
        for decided in [Decided::Nothing, Decided::Refused, Decided::Admitted] {
            for &method in &methods {
                for entry in [Entry::Members, Entry::Anybody, Entry::Name] {
                    for policy in &policies {
                        for guard_trust in guards {
                            for bits in 0..16_u8 {
                                let is = |bit: u8| bits >> bit & 1 == 1;
                                let line = Line { method, entry, verifies_certificate: is(0) };
                                let (is_member, is_local) = (is(1), is(2));
                                let is_physical_replication = is(3);
                                let policy = policy.clone();
                                #[rustfmt::skip]
                                see(&Facts { core, decided, is_member, line, is_local, is_physical_replication,
                                             policy, guard_trust });
                                count += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    count
}

/// The table of the module's comment once more, a row a line: what of the facts a row is about, and its outcome.
fn expected(f: &Facts) -> Outcome {
    let token = matches!(f.line.method, Method::TokenByPam | Method::TokenByOAuth);
    let trust = f.line.method == Method::Trust;
    let allow_trust = f.policy.as_ref().is_ok_and(|policy| policy.allow_trust);
    let named = match (f.line.method, &f.policy) {
        (Method::Other(Some(method)), Ok(policy)) => policy.other_methods.allows_named(method.name()),
        _ => false,
    };
    let bad = f.policy.clone().err();
    let remote = !f.is_local;
    let says_so = match f.guard_trust {
        Some(GuardTrust::All) => true,
        Some(GuardTrust::Off) => false,
        _ => remote,
    };
    let anybody = trust && f.line.entry == Entry::Anybody && !f.line.verifies_certificate && says_so;
    let written_for_members = trust && f.line.entry == Entry::Members;
    let asked = |reason| {
        if allow_trust { Outcome::RefuseAfterAsking(reason) } else { Outcome::Refuse(reason) }
    };
    let (yes, member) = (f.core == Answer::Yes, f.is_member);
    #[rustfmt::skip]
    let rows = [
        (f.core == Answer::ClientGone,                              Outcome::LeaveToCore),
        (f.core == Answer::No && f.decided == Decided::Refused,     Outcome::CarryOut),
        (f.core == Answer::No,                                      Outcome::LeaveToCore),
        (yes && member && token && f.decided != Decided::Nothing,   Outcome::CarryOut),
        (yes && member && token,                                    Outcome::Refuse(Reason::NotDecided)),
        (yes && member && bad.is_some(),                            Outcome::Refuse(UNUSABLE)),
        (yes && member && trust && allow_trust,                     Outcome::Ask),
        (yes && member && trust,                                    Outcome::Refuse(Reason::TrustNotAllowed)),
        (yes && member && named,                                    Outcome::LeaveToCore),
        (yes && member,                                             Outcome::Refuse(Reason::MethodNotAllowed)),
        (yes && token,                                              Outcome::Refuse(NOT_MEMBER)),
        (yes && written_for_members,                                asked(NOT_MEMBER)),
        (yes && anybody && f.is_physical_replication,               Outcome::LeaveReplicationToCore),
        (yes && anybody,                                            asked(Reason::TrustLineGuard)),
        (yes,                                                       Outcome::LeaveToCore),
    ];
    rows.into_iter().find(|(holds, _)| *holds).map_or(Outcome::LeaveToCore, |(_, outcome)| outcome)
}

#[test]
fn every_combination_of_facts_has_the_outcome_of_the_table() {
    let count = walk(|facts| assert_eq!(judge(facts), expected(facts), "{facts:?}"));
    assert_eq!(count, 3 * 3 * 17 * 3 * 7 * 4 * 16);
}

#[test]
fn settings_that_are_not_read_make_no_difference() {
    walk(|facts| {
        let strict = Facts { policy: Ok(GatePolicy::STRICT), ..facts.clone() };
        if !judge(&strict).depends_on_policy() {
            assert_eq!(judge(facts), judge(&strict), "{facts:?}");
        }
        if !Facts::depend_on_guard(facts.core, facts.is_member, &facts.line) {
            let unread = Facts { guard_trust: Some(GuardTrust::Remote), ..facts.clone() };
            assert_eq!(judge(facts), judge(&unread), "{facts:?}");
        } else {
            // Nor is it read in vain.
            let with = |guard| judge(&Facts { guard_trust: Some(guard), ..facts.clone() });
            assert_ne!(with(GuardTrust::All), with(GuardTrust::Off), "{facts:?}");
        }
    });
}

#[test]
fn unusable_setting_refuses_no_login_that_is_left_to_core_with_its_default() {
    walk(|facts| {
        let by_default = Facts {
            policy: Ok(GatePolicy::STRICT),
            guard_trust: facts.guard_trust.or(Some(GuardTrust::Remote)),
            ..facts.clone()
        };
        if judge(&by_default) == Outcome::LeaveToCore {
            assert_eq!(judge(facts), Outcome::LeaveToCore, "{facts:?}");
        }
    });
}

#[test]
fn list_of_methods_allows_those_it_names_and_no_others() {
    let list = OtherMethods::parse("cert, PEER,scram-sha-256").unwrap();
    for method in OtherMethod::ALL {
        let is_named = ["cert", "peer", "scram-sha-256"].contains(&method.name());
        assert_eq!(list.allows(*method), is_named, "{method:?}");
        assert_eq!(OtherMethods::parse(method.name()).map(|one| one.allows(*method)), Some(true));
        assert!(OtherMethods::ALL.allows(*method) && !OtherMethods::NONE.allows(*method));
    }
}

#[test]
fn list_with_trust_reject_an_unknown_word_or_an_empty_entry_is_an_error() {
    assert!(OtherMethods::parse("cert,peer").is_some());
    for list in ["", "trust", "cert,trust", "reject", "scram", "cert,,peer", "cert,", "cert;peer", "pgaad"] {
        assert_eq!(OtherMethods::parse(list), None, "{list:?}");
    }
}

#[test]
fn a_method_that_a_list_names_twice_is_on_it() {
    let listed = OtherMethods::parse("cert,peer,cert").unwrap_or_default();
    assert!(listed.allows_named("cert") && listed.allows_named("peer") && !listed.allows_named("gss"));
    assert_eq!(OtherMethods::parse("cert,peer"), Some(listed));
}
