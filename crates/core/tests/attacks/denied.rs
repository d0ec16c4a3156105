//! Whom no role opens to, whatever their token says.

use pgaad_core::deny::{
    Denial, DeniedBy, DenyList, MAX_ENTRIES, MAX_ENTRIES_OF_ADMINISTRATORS, MAX_LABEL_BYTES, Mark, NotChanged,
};
use pgaad_core::label::Binding;
use pgaad_core::steps::Step;
use pgaad_core::time::UnixTime;
use tenant::{TENANT_ID, USER_CLIENT_ID, object_id};

use crate::login::{ALICE, Attack, Login, NOW, assert_refused, token};

const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const OTHER: &str = "c0ffee00-1234-4abc-9def-0123456789ab";

fn mark(by: DeniedBy, id: &str) -> Mark {
    Mark::new(by, TENANT_ID.parse().unwrap(), id)
}

fn denial(by: DeniedBy, id: &str) -> Denial {
    Denial { mark: mark(by, id), until: None, by_superuser: true }
}

fn list(denials: &[Denial]) -> DenyList {
    let mut list = DenyList::default();
    for denial in denials {
        list.deny(*denial, UnixTime::new(*NOW)).unwrap();
    }
    list
}

fn denials(list: &DenyList) -> Vec<Denial> {
    list.denials().collect()
}

fn until(seconds: i64) -> Option<UnixTime> {
    Some(UnixTime::new(seconds))
}

#[test]
fn an_explanation_says_by_what_and_until_when_and_not_whose_the_role_is() {
    let by_id = Denial { until: until(*NOW + 9), ..denial(DeniedBy::ObjectId, &object_id(ALICE)) };
    let login = Login::with(token().mint()).denied(list(&[by_id]));
    let findings = login.explain().unwrap();
    let binding = findings.iter().find(|finding| finding.step == Step::Binding).unwrap();
    let meaning = "the user, the program or the token is shut out (`pgaad.denied`)";
    let said = format!("denied: {meaning} denied=oid until={}", *NOW + 9);
    assert_eq!((binding.ok, binding.detail.as_str()), (Some(false), said.as_str()));
}

#[test]
fn who_is_denied_is_shut_out_of_every_role() {
    let alice = Login::with(token().claim("uti", "AbC-1").mint());
    let program = Login::with(token().app(APP).mint()).named(APP);
    let group = Login::with(token().groups(&[OTHER]).mint()).bound(Binding::Group(OTHER.parse().unwrap()));
    let with = |login: &Login, denial: Denial| login.clone().denied(list(&[denial]));
    let by_id = denial(DeniedBy::ObjectId, &object_id(ALICE));
    let attack = |name: &str, login: &Login, denial: Denial, twin: Denial| {
        Attack::new(name, with(login, denial), with(login, twin), "denied")
    };
    let nobody = denial(DeniedBy::ObjectId, OTHER);
    let ended = |until_seconds: i64| Denial { until: until(until_seconds), ..by_id };
    let soft = Denial { by_superuser: false, ..by_id };
    let admin = alice.clone().bound(Binding::User(object_id(ALICE).parse().unwrap()));
    let admin = admin.role(|role| role.is_admin = true);
    assert_refused(
        "denied",
        &[
            attack("a user", &alice, by_id, nobody),
            attack("a member of a group role", &group, by_id, denial(DeniedBy::ObjectId, OTHER)),
            attack("a client program of users", &alice, denial(DeniedBy::ClientId, USER_CLIENT_ID), nobody),
            attack("a program by its client id", &program, denial(DeniedBy::ClientId, APP), nobody),
            attack(
                "a program by its object id",
                &program,
                denial(DeniedBy::ObjectId, &object_id(APP)),
                nobody,
            ),
            attack(
                "one token",
                &alice,
                denial(DeniedBy::TokenId, "AbC-1"),
                denial(DeniedBy::TokenId, "abc-1"),
            ),
            attack("an id of another kind", &alice, by_id, denial(DeniedBy::ClientId, &object_id(ALICE))),
            attack("until a second from now", &alice, ended(*NOW + 1), ended(*NOW)),
            attack("by an administrator", &alice, soft, nobody),
            // An administrator's word holds for none of the roles that could take it back.
            attack("an administrator", &admin, by_id, soft),
            Attack::new(
                "a superuser's role",
                superuser(with(&alice, by_id)),
                superuser(with(&alice, soft)),
                "denied",
            ),
            // A superuser's word is not weakened by an administrator's beside it.
            attack("by both", &admin, by_id, soft),
            Attack::new(
                "another's label, and shut out",
                with(&alice, by_id).bound(Binding::User(OTHER.parse().unwrap())),
                with(&alice, nobody),
                "denied",
            ),
        ],
    );
}

fn superuser(login: Login) -> Login {
    login.admit_policy(|policy| policy.allow_superuser = true).role(|role| role.is_superuser = true)
}

#[test]
fn a_list_that_cannot_be_read_shuts_everybody_out() {
    let good = list(&[denial(DeniedBy::ObjectId, OTHER)]).labels()[0].clone().unwrap();
    let read = |label: &str| Login::with(token().mint()).denied(DenyList::read([good.as_str(), label]));
    assert!(read(&good).decide().is_ok() && read("").decide().is_ok());
    let (start, end) = good.split_at(1);
    for label in [
        &good[1..],
        &good[..31],
        "x",
        &format!("x{end}"),
        &format!("{start}!{}", &end[1..]),
        &format!("{}g", &good[..31]),
        &format!("é{}", &good[2..]),
        &format!("{}+ffffffff", &good[..23]),
        &good.repeat(MAX_LABEL_BYTES / 32 + 1),
    ] {
        let refused = read(label).decide().unwrap_err();
        assert_eq!(refused.code(), "denied", "{label}");
        let mut list = DenyList::read([label]);
        assert!(list.is_damaged());
        // What is there would be lost, and nobody would know whom it meant.
        let denial = denial(DeniedBy::ObjectId, OTHER);
        assert_eq!(list.deny(denial, UnixTime::new(*NOW)), Err(NotChanged::Damaged));
        assert_eq!(list.forget(denial.mark, true), Err(NotChanged::Damaged));
    }
}

#[test]
fn what_is_written_is_read_again() {
    let now = UnixTime::new(*NOW);
    let soft = Denial { mark: mark(DeniedBy::TokenId, "AbC"), until: until(*NOW + 9), by_superuser: false };
    let list = list(&[denial(DeniedBy::ClientId, APP), soft]);
    let labels = list.labels();
    assert_eq!(labels.iter().flatten().count(), 1);
    assert_eq!(DenyList::read(labels.iter().flatten()), list);
    assert_eq!(denials(&list), [denial(DeniedBy::ClientId, APP), soft]);
    assert!(DenyList::read(DenyList::default().labels().iter().flatten()).is_empty() && !list.is_empty());
    let found = list.find(&[(DeniedBy::TokenId, soft.mark)], false, now);
    assert_eq!(found, Some((DeniedBy::TokenId, soft)));
    assert_eq!(Mark::from_bytes(soft.mark.to_bytes()), soft.mark);
    assert_eq!(soft.mark.to_string().len(), 22);
    // Other tenants' ids are others.
    assert_ne!(Mark::new(DeniedBy::TokenId, OTHER.parse().unwrap(), "AbC"), soft.mark);
    assert_eq!(DeniedBy::ALL.map(|by| by.to_string()), ["oid", "uti", "appid"]);
}

#[test]
fn a_thousand_and_more_fit_and_those_whose_time_is_over_make_room() {
    let mut list = DenyList::default();
    const { assert!(MAX_ENTRIES >= 1_000) };
    for number in 0..MAX_ENTRIES {
        let denial = Denial { until: until(*NOW + 10), ..denial(DeniedBy::TokenId, &number.to_string()) };
        list.deny(denial, UnixTime::new(*NOW)).unwrap();
    }
    let labels = list.labels();
    assert!(labels.iter().all(|label| label.as_ref().is_some_and(|label| label.len() <= MAX_LABEL_BYTES)));
    assert_eq!(DenyList::read(labels.iter().flatten()), list);
    let one_more = denial(DeniedBy::TokenId, "one more");
    assert_eq!(list.deny(one_more, UnixTime::new(*NOW)), Err(NotChanged::Full));
    // An administrator leaves room for superusers.
    let soft = Denial { by_superuser: false, ..one_more };
    let mut most = DenyList::default();
    for number in 0..MAX_ENTRIES_OF_ADMINISTRATORS {
        let mark = mark(DeniedBy::TokenId, &number.to_string());
        most.deny(Denial { mark, ..soft }, UnixTime::new(*NOW)).unwrap();
    }
    assert_eq!(most.deny(soft, UnixTime::new(*NOW)), Err(NotChanged::Full));
    assert_eq!(most.deny(one_more, UnixTime::new(*NOW)), Ok(()));
    assert_eq!(MAX_ENTRIES - MAX_ENTRIES_OF_ADMINISTRATORS, 256);
    // One that is there is replaced.
    let known = denial(DeniedBy::TokenId, "7");
    list.deny(known, UnixTime::new(*NOW)).unwrap();
    assert_eq!(list.denials().count(), MAX_ENTRIES);
    list.deny(one_more, UnixTime::new(*NOW + 10)).unwrap();
    assert_eq!(denials(&list), [known, one_more]);
}

#[test]
fn a_superusers_word_is_a_superusers_to_take_back() {
    let now = UnixTime::new(*NOW);
    let hard = denial(DeniedBy::ObjectId, OTHER);
    let soft = Denial { by_superuser: false, until: until(*NOW + 1), ..hard };
    let mut list = list(&[hard]);
    assert_eq!(list.deny(soft, now), Err(NotChanged::BySuperuser));
    assert_eq!(list.forget(hard.mark, false), Err(NotChanged::BySuperuser));
    assert_eq!(denials(&list), [hard]);
    assert_eq!(list.forget(hard.mark, true), Ok(true));
    assert_eq!(list.forget(hard.mark, true), Ok(false));
    list.deny(soft, now).unwrap();
    list.deny(hard, now).unwrap();
    assert_eq!(denials(&list), [hard], "a superuser makes it their own");
    assert_eq!(list.forget(mark(DeniedBy::ObjectId, APP), false), Ok(false), "another's");
}
