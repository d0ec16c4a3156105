//! What the directory says of groups and accounts, beside tokens that say the same, something else, or nothing.

use std::time::Duration;

use pgaad_core::admit::{AdmitPolicy, Rule};
use pgaad_core::directory::{AccountState, DirectoryFacts, MembershipWord};
use pgaad_core::event::{Event, LoginAttempt, Route};
use pgaad_core::explain::explain_event;
use pgaad_core::guid::ObjectId;
use pgaad_core::label::Binding;
use pgaad_core::steps::Step;
use pgaad_core::time::UnixTime;
use tenant::Token;

use crate::login::{Attack, Login, NOW, SKEW, assert_refused, token};

const GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ab";
const OTHER_GROUP: &str = "0ddba115-1234-4abc-9def-0123456789ab";
const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const MAX_STALE: i64 = 86_400;

fn at(seconds: i64) -> UnixTime {
    UnixTime::new(seconds)
}

fn group() -> ObjectId {
    GROUP.parse().unwrap()
}

fn yes(began_at: i64) -> MembershipWord {
    MembershipWord::Member { began_at: at(began_at) }
}

fn no(began_at: i64) -> MembershipWord {
    MembershipWord::NotMember { began_at: at(began_at) }
}

/// A login as the role of the group.
fn login(token: &Token, membership: MembershipWord) -> Login {
    let facts = DirectoryFacts { membership, ..DirectoryFacts::default() };
    Login::with(token.mint()).named("analysts").bound(Binding::Group(group())).directory(facts)
}

fn with_account(token: &Token, account: AccountState) -> Login {
    Login::with(token.mint()).directory(DirectoryFacts { account, ..DirectoryFacts::default() })
}

fn rule(login: &Login) -> Rule {
    login.decide().unwrap().rule()
}

/// What the views call ready is what logins go by.
#[test]
fn what_lets_somebody_in_is_ready() {
    let directory_max_stale = Duration::from_secs(MAX_STALE.unsigned_abs());
    let policy = AdmitPolicy { directory_max_stale, ..AdmitPolicy::STRICT };
    for (began, is_fresh) in
        [(*NOW - MAX_STALE, true), (*NOW - MAX_STALE - 1, false), (*NOW, true), (*NOW + 1, false)]
    {
        assert_eq!(policy.is_fresh(at(began), at(*NOW)), is_fresh, "{began}");
    }
    assert!(!AdmitPolicy::STRICT.is_fresh(at(*NOW), at(*NOW)));
}

#[test]
fn token_that_says_nothing_of_groups_is_admitted_by_the_directory() {
    let began = *NOW - 600;
    let by_directory = Rule::Directory { began_at: at(began) };
    for token in [
        token(),
        token().v2(),
        token().overage(),
        token().app(APP),
        token().guest("ann@partner.com"),
        token().groups(&["analysts"]),
        token().groups(&[OTHER_GROUP]).claim("iat", began - 300 - SKEW - 1),
    ] {
        assert_eq!(rule(&login(&token, yes(began))), by_directory);
    }
    assert_eq!(rule(&login(&token().groups(&[GROUP]), yes(began))), Rule::Group);
    assert_eq!(rule(&login(&token().groups(&[GROUP]), MembershipWord::NeverRead)), Rule::Group);
}

#[test]
fn who_is_no_member_any_more_is_refused_and_the_newer_witness_counts() {
    let began = *NOW - 100;
    let twin = login(&token(), yes(began));
    let mut attacks = Vec::new();
    let mut row = |name: &str, hostile: Login, code| {
        attacks.push(Attack::new(name, hostile, twin.clone(), code));
    };
    let listed = token().groups(&[GROUP]);
    row("a token that still says so", login(&listed, no(began)), "not_in_group");
    row("the same, of a service", login(&token().app(APP).groups(&[GROUP]), no(began)), "not_in_group");
    row(
        "the same, issued in the second of the run",
        login(&listed.clone().claim("iat", began), no(began)),
        "not_in_group",
    );
    row(
        "the same, issued later by less than it may be backdated",
        login(&listed.clone().claim("iat", began + 300 + SKEW), no(began)),
        "not_in_group",
    );
    row("a token that says nothing", login(&token(), no(began)), "not_in_group");
    row("overage", login(&token().overage(), no(began)), "not_in_group");
    row("names", login(&token().groups(&["analysts"]), no(began)), "not_in_group");
    row("a newer token", login(&token().groups(&[OTHER_GROUP]), yes(began)), "not_in_group");
    row("a directory whose word is lost", login(&listed, MembershipWord::Lost), "groups_stale");
    row("lost, overage", login(&token().overage(), MembershipWord::Lost), "groups_stale");
    row("lost, silent", login(&token(), MembershipWord::Lost), "groups_stale");
    row("lost, and the token says no", login(&token().groups(&[]), MembershipWord::Lost), "not_in_group");
    row("too old", login(&token(), yes(*NOW - MAX_STALE - 1)), "groups_stale");
    row("too old, overage", login(&token().overage(), yes(*NOW - MAX_STALE - 1)), "groups_stale");
    row("from the future", login(&token(), yes(*NOW + SKEW + 1)), "groups_stale");
    row("never read", login(&token(), MembershipWord::NeverRead), "groups_missing");
    row("never read, overage", login(&token().overage(), MembershipWord::NeverRead), "groups_overage");
    row(
        "an old no",
        login(&listed.clone().claim("iat", *NOW - 9 * MAX_STALE), no(*NOW - 9 * MAX_STALE)),
        "not_in_group",
    );
    assert_refused("directory", &attacks);
    let newer = listed.claim("iat", began + 300 + SKEW + 1);
    assert_eq!(rule(&login(&newer, no(began))), Rule::Group, "added again since");
}

#[test]
fn token_without_iat_counts_from_its_nbf() {
    let began = *NOW - 1_000;
    let listed = |nbf: i64| token().groups(&[GROUP]).without("iat").claim("nbf", nbf);
    assert_eq!(login(&listed(began + 300 + SKEW), no(began)).decide().unwrap_err().code(), "not_in_group");
    assert_eq!(rule(&login(&listed(began + 300 + SKEW + 1), no(began))), Rule::Group);
}

#[test]
fn directory_opens_no_role_that_is_not_the_groups() {
    let membership = yes(*NOW);
    let facts = DirectoryFacts { membership, ..DirectoryFacts::default() };
    let bob = "11111111-2222-4333-8444-555555555555".parse().unwrap();
    let by_group = login(&token(), membership);
    let with = |binding| Login::with(token().user("bob@example.com").mint()).bound(binding).directory(facts);
    let app_role = Binding::AppRole("dba".parse().unwrap());
    let attacks = [
        ("somebody's", with(Binding::User(bob)), "principal_mismatch"),
        ("a name", Login::with(token().user("bob@example.com").mint()).directory(facts), "role_not_bound"),
        ("an app role", with(app_role), "not_in_app_role"),
        ("nobody's", with(Binding::Nobody), "label_unusable"),
        (
            "no member of azure_ad_user",
            by_group.clone().role(|role| role.is_member = false),
            "role_not_member",
        ),
        ("with a second factor", by_group.clone().role(|role| role.needs_mfa = true), "mfa_missing"),
    ];
    let attacks = attacks.map(|(name, hostile, code)| Attack::new(name, hostile, by_group.clone(), code));
    assert_refused("other bindings", &attacks);
}

#[test]
fn disabled_and_deleted_users_and_those_whose_sessions_were_revoked_are_refused() {
    let issued = *NOW - 100;
    let token = token().claim("iat", issued);
    let enabled = |valid_from: i64| AccountState::Enabled { valid_from: at(valid_from) };
    let missing = |valid_from: i64| AccountState::Missing { valid_from: at(valid_from) };
    let twin = with_account(&token, enabled(issued));
    let attacks = [
        ("disabled", AccountState::Disabled, "account_disabled"),
        ("gone", AccountState::Gone, "account_gone"),
        ("lost", AccountState::Lost, "accounts_lost"),
        ("revoked a second later", enabled(issued + 1), "sessions_revoked"),
        ("missing, and revoked before", missing(issued + 1), "sessions_revoked"),
    ];
    let attacks =
        attacks.map(|(name, state, code)| Attack::new(name, with_account(&token, state), twin.clone(), code));
    assert_refused("accounts", &attacks);
    for state in [AccountState::Unknown, missing(issued), enabled(0)] {
        assert!(with_account(&token, state).decide().is_ok(), "{state:?}");
    }
}

#[test]
fn account_counts_for_group_roles_too() {
    let facts = DirectoryFacts { membership: yes(*NOW), account: AccountState::Disabled };
    let reason = login(&token().groups(&[GROUP]), yes(*NOW)).directory(facts).decide().unwrap_err();
    assert_eq!(reason.code(), "account_disabled");
}

fn said(login: &Login, step: Step) -> String {
    let findings = login.explain().expect("it has three parts");
    let finding = findings.into_iter().find(|finding| finding.step == step).expect("every step is there");
    format!("{:?} {}", finding.ok, finding.detail)
}

#[test]
fn explanation_says_what_the_directory_says() {
    let step = |membership| said(&login(&token(), membership), Step::Directory);
    assert_eq!(step(yes(*NOW - 60)), "Some(true) a member of the role's group 1 min 0 s ago");
    assert_eq!(step(no(*NOW - 60)), "Some(true) no member of the role's group 1 min 0 s ago");
    assert_eq!(step(MembershipWord::NeverRead), "Some(true) it says nothing of the holder");
    let lost = login(&token().groups(&[]), MembershipWord::Lost);
    assert_eq!(said(&lost, Step::Directory), "Some(true) what it said of the role's group is lost");
    let stale = step(yes(*NOW - MAX_STALE - 1));
    assert!(stale.starts_with("Some(false) groups_stale:"), "{stale}");
    assert!(stale.ends_with(&format!("group={GROUP} directory_age_s=86401")), "{stale}");
    let binding = said(&login(&token(), yes(*NOW)), Step::Binding);
    assert_eq!(binding, format!("Some(true) bound by directory: the role is for members of group {GROUP}"));
    let binding = said(&login(&token().groups(&[GROUP]), no(*NOW)), Step::Binding);
    assert!(binding.starts_with("Some(false) not_in_group:"), "{binding}");
    let account = |state| said(&with_account(&token(), state), Step::Directory);
    assert_eq!(account(AccountState::Enabled { valid_from: at(0) }), "Some(true) the account is enabled");
    assert_eq!(
        account(AccountState::Missing { valid_from: at(0) }),
        "Some(true) the account was not found once"
    );
    let disabled = account(AccountState::Disabled);
    assert!(disabled.starts_with("Some(false) account_disabled:"), "{disabled}");
    let both = DirectoryFacts { membership: yes(*NOW), account: AccountState::Enabled { valid_from: at(0) } };
    let both = said(&login(&token(), yes(*NOW)).directory(both), Step::Directory);
    assert_eq!(both, "Some(true) a member of the role's group 0 s ago, the account is enabled");
}

#[test]
fn log_says_by_which_witness_and_of_when() {
    let attempt =
        LoginAttempt { role: "analysts".into(), client: "[local]".into(), route: Route::Pam, hba: None };
    let admission = login(&token(), yes(*NOW - 60)).decide().unwrap();
    let event = Event::admitted(&attempt, &admission, at(*NOW));
    let known = explain_event(&event).into_iter().find(|finding| finding.step == Step::Directory).unwrap();
    assert_eq!((known.ok, known.detail.as_str()), (Some(true), "directory_age_s=60"));
    let line = event.line();
    assert!(line.contains(" by=directory ") && line.contains(" directory_age_s=60"), "{line}");
    let refused = |membership, token: &Token| {
        let reason = login(token, membership).decide().unwrap_err();
        Event::refused(&attempt, &reason, None, at(*NOW)).line()
    };
    let line = refused(no(*NOW - 60), &token().groups(&[GROUP]));
    assert!(
        line.contains("code=not_in_group") && line.contains(&format!("directory_at={}", *NOW - 60)),
        "{line}"
    );
    let line = refused(MembershipWord::NeverRead, &token().groups(&[]));
    assert!(!line.contains("directory"), "{line}");
    let line = refused(MembershipWord::Lost, &token());
    assert!(line.contains("code=groups_stale") && line.contains(&format!("group={GROUP}")), "{line}");
    assert!(!line.contains("directory_age_s"), "{line}");
}
