//! What the log and the views say of a decision.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod login;

use login::{ALICE, Login, NOW, keys, token};
use pgaad_core::Reason;
use pgaad_core::event::{Event, HbaPlace, LoginAttempt, Route};
use pgaad_core::explain::explain_event;
use pgaad_core::reason::Code;
use pgaad_core::steps::Step;
use pgaad_core::subject::TokenSubject;
use pgaad_core::time::UnixTime;
use serde_json::json;
use tenant::{AUDIENCE, Signer, TENANT_ID, USER_CLIENT_ID, object_id};

fn attempt() -> LoginAttempt {
    LoginAttempt {
        role: "al\"ice".into(),
        client: "10.0.0.7".into(),
        route: Route::Pam,
        hba: Some(HbaPlace::new("/etc/pg_hba.conf", 97)),
    }
}

fn subject() -> TokenSubject {
    Login::with(token().claim("uti", "AbC_1").mint()).decide().unwrap().principal().into()
}

fn refused(reason: &Reason, subject: Option<TokenSubject>) -> Event {
    Event::refused(&attempt(), reason, subject, UnixTime::new(*NOW))
}

/// The part of a line that is about alice's token.
fn alices() -> String {
    let (alice, kid) = (object_id(ALICE), keys().kid(&Signer::Current));
    format!(
        "kind=user tid={TENANT_ID} oid={alice} upn=\"{ALICE}\" appid={USER_CLIENT_ID} aud=\"{AUDIENCE}\" \
         kid=\"{kid}\" uti=\"AbC_1\""
    )
}

#[test]
fn an_admission_names_the_rule_and_the_human() {
    let admission = Login::with(token().claim("uti", "AbC_1").mint()).decide().unwrap();
    let event = Event::admitted(&attempt(), &admission, UnixTime::new(*NOW));
    assert!(event.is_admission());
    let line = format!(
        "pgaad: login admitted: code=admitted route=pam role=\"al\\\"ice\" client=10.0.0.7 \
         hba=\"/etc/pg_hba.conf:97\" by=name {}",
        alices()
    );
    assert_eq!(event.line(), line);
    assert_eq!(event.facts_and_hint(), serde_json::Map::new());
    assert_eq!((event.at, event.rule.as_deref()), (*NOW, Some("name")));
}

#[test]
fn the_client_is_named_as_the_agent_where_its_facets_say_so() {
    let agent_of = |facets: serde_json::Value| {
        let login = Login::with(token().claim("xms_act_fct", facets).mint());
        TokenSubject::from(login.decide().unwrap().principal()).agent
    };
    for facets in ["11", "3 11", "11 13"] {
        assert_eq!(agent_of(facets.into()).as_deref(), Some(USER_CLIENT_ID), "{facets}");
    }
    for facets in [json!("9"), json!("111"), json!(""), json!(11), json!(["11"])] {
        assert_eq!(agent_of(facets.clone()), None, "{facets}");
    }
}

#[test]
fn a_refusal_ends_with_its_facts_and_its_hint() {
    let reason = Reason::RoleNotMember { grant: Some("GRANT azure_ad_user TO \"x\";".into()) };
    let event = refused(&reason, Some(subject()));
    assert!(!event.is_admission());
    let line = format!(
        "pgaad: login refused: code=role_not_member route=pam role=\"al\\\"ice\" client=10.0.0.7 \
         hba=\"/etc/pg_hba.conf:97\" {} hint=GRANT azure_ad_user TO \"x\";",
        alices()
    );
    assert_eq!(event.line(), line);
    assert_eq!(event.hint.as_deref(), Some("GRANT azure_ad_user TO \"x\";"));
    let expired = refused(&Reason::Expired { exp: UnixTime::new(5), now: UnixTime::new(9) }, None);
    assert_eq!(json!(event.facts_and_hint()), json!({ "hint": "GRANT azure_ad_user TO \"x\";" }));
    assert_eq!(json!(expired.facts_and_hint()), json!({ "exp": 5, "now": 9, "ago_s": 4 }));
    let stranger = LoginAttempt { hba: None, client: "[local]".into(), route: Route::Other, ..attempt() };
    let line = Event::refused(&stranger, &Reason::NoToken, None, UnixTime::new(0)).spelt("bob".into()).line();
    assert_eq!(line, "pgaad: login refused: code=no_token route=other role=\"bob\" client=[local]");
    let routes = [Route::Pam, Route::Trust, Route::OAuth, Route::Other].map(|route| route.to_string());
    assert_eq!(routes, ["pam", "trust", "oauth", "other"]);
}

#[test]
fn a_programs_agent_is_named_and_what_a_token_does_not_have_is_not() {
    let agent = TokenSubject {
        kind: Some("service".into()),
        oid: None,
        upn: None,
        agent: Some(TENANT_ID.into()),
        uti: None,
        ..subject()
    };
    let line = refused(&Reason::NoObjectId, Some(agent)).line();
    let start = format!(" kind=service tid={TENANT_ID} appid={USER_CLIENT_ID} agent={TENANT_ID} aud=");
    assert!(line.contains(&start) && line.ends_with(" uti=\"\""), "{line}");
    let unknown = TokenSubject { kind: None, ..subject() };
    assert!(refused(&Reason::KindUnknown, Some(unknown)).line().contains(&format!(":97\" tid={TENANT_ID} ")));
}

#[test]
fn an_event_is_explained_by_what_is_known_of_it() {
    let admission = Login::with(token().mint()).decide().unwrap();
    let event = Event::admitted(&attempt(), &admission, UnixTime::new(*NOW));
    let (alice, kid) = (object_id(ALICE), keys().kid(&Signer::Current));
    let told: Vec<_> =
        explain_event(&event).into_iter().map(|found| (found.step, found.ok, found.detail)).collect();
    let yes = |step, detail: &str| (step, Some(true), detail.to_owned());
    let wanted = [
        yes(Step::Header, ""),
        yes(Step::Key, &format!("the signature is that of key \"{kid}\"")),
        yes(Step::Claims, ""),
        yes(Step::Issuer, ""),
        yes(Step::Tenant, &format!("tid is {TENANT_ID}")),
        yes(Step::Audience, &format!("aud is \"{AUDIENCE}\"")),
        yes(Step::Time, ""),
        yes(
            Step::Kind,
            &format!("a token of kind user, oid {alice}, upn \"{ALICE}\", client {USER_CLIENT_ID}"),
        ),
        yes(Step::Scope, ""),
        yes(Step::Role, "role \"al\\\"ice\""),
        yes(Step::Directory, ""),
        yes(Step::Binding, "bound by name"),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_refused_event_is_explained_up_to_its_step() {
    let at = |reason: &Reason, subject: Option<TokenSubject>| explain_event(&refused(reason, subject));
    // Each code ends the walk at its own step, and nothing is said of what comes after.
    for code in Reason::CODES {
        let mut event = refused(&Reason::NoToken, Some(subject()));
        event.code = code.name.to_owned();
        let findings = explain_event(&event);
        let is_first = code.step == Step::Connection;
        assert_eq!(findings.len(), Step::ALL.len() + usize::from(is_first), "{}", code.name);
        for finding in findings {
            let wanted = match finding.step.cmp(&code.step) {
                std::cmp::Ordering::Less => Some(true),
                std::cmp::Ordering::Equal => Some(false),
                std::cmp::Ordering::Greater => None,
            };
            assert_eq!(finding.ok, wanted, "{}: {:?}", code.name, finding);
            assert_eq!(finding.detail == "not reached", wanted.is_none(), "{}: {:?}", code.name, finding);
        }
    }
    let detail = |findings: Vec<pgaad_core::explain::Finding>| {
        findings.into_iter().find(|finding| finding.ok == Some(false)).expect("a step refused it").detail
    };
    let words = |code: &str| {
        let Code { meaning, advice, .. } = Code::named(code).expect("there is this code");
        ((*meaning).to_owned(), (*advice).to_owned())
    };
    let (meaning, advice) = words("wrong_audience");
    let wrong = Reason::WrongAudience { aud: AUDIENCE.into() };
    let told = detail(at(&wrong, Some(subject())));
    assert_eq!(told, format!("wrong_audience:{meaning}, aud is \"{AUDIENCE}\"; {advice}"));
    let (meaning, advice) = words("role_not_member");
    let grant = Reason::RoleNotMember { grant: Some("GRANT x;".into()) };
    assert_eq!(detail(at(&grant, None)), format!("role_not_member:{meaning}; {advice}; GRANT x;"));
    let (meaning, advice) = words("expired");
    let expired = Reason::Expired { exp: UnixTime::new(5), now: UnixTime::new(9) };
    assert_eq!(
        detail(at(&expired, Some(subject()))),
        format!("expired:{meaning} exp=5 now=9 ago_s=4; {advice}")
    );
    let mut later = refused(&Reason::NoToken, None);
    later.code = "of_a_later_version".into();
    assert_eq!(explain_event(&later)[0].detail, "of_a_later_version");
}
