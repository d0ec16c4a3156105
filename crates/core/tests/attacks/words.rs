//! What an explanation says, word for word.

use pgaad_core::explain::NotExplained;
use pgaad_core::label::Binding;
use pgaad_core::steps::Step;
use pgaad_core::time::UnixTime;
use serde_json::json;
use tenant::{Signer, TENANT_ID, Token, USER_CLIENT_ID, object_id};

use crate::login::{ALICE, FORGE, Forge, Login, NOW, keys, token};

const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ab";
const BOB: &str = "bob@partner.com";

fn sent(token: &Token) -> Login {
    Login::with(token.mint())
}

fn user(name: &str) -> Binding {
    Binding::User(object_id(name).parse().unwrap())
}

/// What is said of a step, after `yes: `, `no: ` or nothing where it was not reached.
fn said(login: &Login, step: Step) -> String {
    let findings = login.explain().expect("it has three parts");
    let finding = findings.into_iter().find(|finding| finding.step == step).expect("every step is there");
    match finding.ok {
        Some(true) => format!("yes: {}", finding.detail),
        Some(false) => format!("no: {}", finding.detail),
        None => finding.detail,
    }
}

#[test]
fn no_audience_is_called_empty() {
    let said = said(&sent(&token().claim("aud", json!([]))), Step::Audience);
    assert!(said.contains("; aud is empty; pgaad.audience accepts "), "{said}");
}

#[test]
fn only_two_parts_are_explained_and_a_whole_token_is_told_apart() {
    let login = sent(&token());
    assert!(login.explain_text("e30.e30").is_ok());
    for whole in ["e30.e30.AA", "e30.e30.", "a.b.c.d"] {
        assert!(matches!(login.explain_text(whole), Err(NotExplained::WholeToken)), "{whole}");
    }
    for other in ["", "e30", "secret"] {
        assert!(matches!(login.explain_text(other), Err(NotExplained::NotTwoParts)), "{other}");
    }
}

#[test]
fn a_step_that_is_passed_says_what_was_found() {
    let alice = object_id(ALICE);
    let app = object_id(APP);
    let guest = "bob_partner.com#EXT#@example.onmicrosoft.com";
    let good = sent(&token());
    let kid = keys().kid(&Signer::Current);
    for (step, words) in [
        (Step::Header, format!("alg is RS256, kid is \"{kid}\"")),
        (Step::Key, format!("kid is \"{kid}\", known; whether it signed cannot be told here")),
        (Step::Claims, "all that are required, each of its type".to_owned()),
        (Step::Issuer, format!("iss is \"https://sts.windows.net/{TENANT_ID}/\", ver \"1.0\"")),
        (Step::Tenant, format!("tid is {TENANT_ID}")),
        (Step::Audience, format!("aud is \"{}\"", tenant::AUDIENCE)),
        (Step::Time, "expires in 1 h 15 min".to_owned()),
        (Step::Kind, format!("a token of kind user, oid {alice}, client {USER_CLIENT_ID}, name \"{ALICE}\"")),
        (Step::Scope, "scp is \"user_impersonation\"".to_owned()),
        (Step::Role, format!("\"{ALICE}\" is a member of azure_ad_user and may log in")),
        (
            Step::Binding,
            format!("bound by name: the role is for the user or program named \"{ALICE}\", who is no guest"),
        ),
    ] {
        assert_eq!(said(&good, step), format!("yes: {words}"));
    }
    let program = sent(&token().app(APP)).named(APP);
    assert_eq!(said(&program, Step::Kind), format!("yes: a token of kind service, oid {app}, client {APP}"));
    assert_eq!(said(&program, Step::Scope), "yes: a program's token has none");
    let of_guest = said(&sent(&token().guest(BOB)), Step::Kind);
    assert!(of_guest.ends_with(&format!("name \"{guest}\", a guest of the tenant")), "{of_guest}");
    let by_id = sent(&token()).bound(user(ALICE));
    assert_eq!(said(&by_id, Step::Binding), format!("yes: bound by id: the role is for user {alice}"));
    let mfa =
        sent(&token().claim("amr", json!(["mfa"]))).bound(user(ALICE)).role(|role| role.needs_mfa = true);
    let words = format!("yes: bound by id: the role is for user {alice}, with multi-factor authentication");
    assert_eq!(said(&mfa, Step::Binding), words);
}

#[test]
fn a_step_that_is_not_passed_says_what_was_found_and_what_was_wanted() {
    let issuers = format!(
        "; accepted are \"https://sts.windows.net/{TENANT_ID}/\" (1.0) and \
         \"https://localhost:8443/{TENANT_ID}/v2.0\" (2.0)"
    );
    let audiences = |count: u32| -> Vec<String> { (0..count).map(|number| number.to_string()).collect() };
    let ten = r#""0", "1", "2", "3", "4", "5", "6", "7", "8", "9""#;
    let wanted =
        format!("; pgaad.audience accepts \"{}\", \"{}\"", tenant::AUDIENCE, tenant::AUDIENCE_APP_ID);
    let unknown = keys().kid(&Signer::Unpublished);
    let aud = |count: u32| token().claim("aud", json!(audiences(count)));
    for (code, token, words) in [
        (
            "issuer_unknown",
            token().claim("iss", "https://evil/\u{202e}"),
            format!("iss is \"https://evil/\\u{{202e}}\", ver \"1.0\"{issuers}"),
        ),
        (
            "version_mismatch",
            token().claim("ver", "2.0"),
            format!("iss is \"https://sts.windows.net/{TENANT_ID}/\", ver \"2.0\"{issuers}"),
        ),
        (
            "wrong_tenant",
            token().claim("tid", GROUP),
            format!("tid is {GROUP}; pgaad.tenant_id is {TENANT_ID}"),
        ),
        ("wrong_audience", aud(10), format!("aud is {ten}{wanted}")),
        ("wrong_audience", aud(11), format!("aud is {ten} and 1 more{wanted}")),
        (
            "expired",
            token().claim("exp", *NOW - 300).claim("nbf", *NOW - 9_000),
            "it expired 5 min 0 s ago".into(),
        ),
        (
            "not_yet_valid",
            token().claim("nbf", *NOW + 400),
            "it is valid in 6 min 40 s; is the server's clock right?".into(),
        ),
        (
            "lifetime_invalid",
            token().claim("nbf", *NOW).claim("exp", *NOW + 40 * 86_400),
            "from nbf to exp are 40 d 0 h".into(),
        ),
        ("no_object_id", token().without("oid"), "no idtyp, scp is \"user_impersonation\"".into()),
        ("kind_unknown", token().claim("idtyp", "x"), "idtyp is \"x\", scp is \"user_impersonation\"".into()),
        ("not_an_access_token", token().without("appid"), "no idtyp, scp is \"user_impersonation\"".into()),
        (
            "key_unknown",
            token().signed_by(Signer::Unpublished),
            format!("kid is \"{unknown}\"; known are \""),
        ),
    ] {
        let step = pgaad_core::reason::Code::named(code).expect("there is this code").step;
        let said = said(&sent(&token), step);
        assert!(said.starts_with(&format!("no: {code}: ")) && said.contains(&format!("; {words}")), "{said}");
    }
    let scope = sent(&token()).policy(|policy| policy.scopes = vec!["db".to_owned()]);
    assert!(said(&scope, Step::Scope).ends_with(" scp=\"user_impersonation\" wanted=\"db\""));
    let known = said(&sent(&token().signed_by(Signer::Unpublished)), Step::Key);
    let all = [keys().kid(&Signer::Current), "forge".to_owned()];
    assert!(all.iter().all(|kid| known.contains(&format!("\"{kid}\""))), "{known}");
}

#[test]
fn what_cannot_be_read_ends_the_explanation_at_its_step() {
    let claims = token().claims().to_string();
    let untyped = Login::with(FORGE.token(r#"{"alg":"RS256","kid":"forge"}"#, &claims));
    assert!(said(&untyped, Step::Header).starts_with("no: header_invalid: "));
    assert!(said(&untyped, Step::Header).ends_with(" member=typ"));
    assert!(said(&untyped, Step::Binding).starts_with("yes: "));

    let headless = Login::with(FORGE.token("x", &claims));
    assert!(said(&headless, Step::Header).starts_with("no: malformed_token: "));
    let unread = Login::with(FORGE.token(Forge::HEADER, "[]"));
    assert!(said(&unread, Step::Key).starts_with("yes: kid is \"forge\", known"));
    assert!(said(&unread, Step::Claims).starts_with("no: payload_invalid: "));
    let foreign = Login::with(FORGE.token(r#"{"typ":"JWT","alg":"RS256","kid":"other"}"#, "[]"));
    assert!(said(&foreign, Step::Key).contains("; kid is \"other\"; known are \""));
    for step in Step::ALL {
        assert_eq!(
            said(&headless, step) == "not reached",
            ![Step::Header, Step::Role].contains(&step),
            "{step}"
        );
        let is_read = [Step::Header, Step::Key, Step::Claims, Step::Role].contains(&step);
        assert_eq!(said(&unread, step) == "not reached", !is_read, "{step}");
    }
}

#[test]
fn a_role_that_is_refused_is_told_with_what_lifts_the_refusal() {
    let good = || sent(&token());
    let missing = said(&good().without_role(), Step::Role);
    assert!(missing.ends_with("; there is no role \"nobody\""), "{missing}");
    for (login, words) in [
        (good().role(|role| role.is_member = false), format!("; GRANT azure_ad_user TO \"{ALICE}\";")),
        (good().role(|role| role.can_login = false), format!("; ALTER ROLE \"{ALICE}\" LOGIN;")),
        (
            good().role(|role| role.valid_until = Some(UnixTime::new(0))),
            format!("; ALTER ROLE \"{ALICE}\" VALID UNTIL 'infinity';"),
        ),
        (good().role(|role| role.is_superuser = true), format!("; \"{ALICE}\"")),
        // A name that does not show stands in no statement.
        (good().role(|role| role.is_member = false).named("a\u{202e}b"), "; \"a\\u{202e}b\"".to_owned()),
    ] {
        let said = said(&login, Step::Role);
        assert!(said.starts_with("no: ") && said.ends_with(&words), "{said}");
    }
}

#[test]
fn a_binding_that_fails_shows_both_sides() {
    let (alice, app, bob) = (object_id(ALICE), object_id(APP), object_id("bob@example.com"));
    let both = |login: &Login| {
        let said = said(login, Step::Binding);
        let (_, both) = said.split_once("; the role is for ").unwrap_or_else(|| panic!("{said}"));
        let (owner, holder) = both.split_once("; the token's: ").unwrap_or_else(|| panic!("{said}"));
        (owner.to_owned(), holder.to_owned())
    };
    let owner = |binding: Binding| both(&sent(&token().groups(&[&bob])).bound(binding)).0;
    assert_eq!(owner(user("bob@example.com")), format!("user {bob}"));
    let service = Binding::Service { object_id: APP.parse().unwrap(), client_id: GROUP.parse().unwrap() };
    assert_eq!(owner(service), format!("program {APP}"));
    assert_eq!(owner(Binding::Group(GROUP.parse().unwrap())), format!("members of group {GROUP}"));
    let app_role = Binding::AppRole("Db.Read".parse().unwrap());
    assert_eq!(owner(app_role), "those with the app role \"Db.Read\"");
    assert_eq!(owner(Binding::Nobody), "nobody, since its label cannot be read");
    let admin = sent(&token()).role(|role| role.is_admin = true);
    assert_eq!(both(&admin).0, "nobody, since administrators are bound by object id only");
    let named = sent(&token()).named("x");
    assert_eq!(both(&named).0, "the user or program named \"x\", who is no guest");

    let holder = |token: &Token| both(&sent(token).bound(user("nobody@example.com"))).1;
    let is_alice = format!("user {alice}, name \"{ALICE}\"");
    assert_eq!(holder(&token()), format!("{is_alice}, no groups claim"));
    assert_eq!(holder(&token().groups(&[&bob, GROUP])), format!("{is_alice}, groups \"{bob}\", \"{GROUP}\""));
    assert_eq!(holder(&token().groups(&["dbas"])), format!("{is_alice}, groups by name \"dbas\""));
    assert_eq!(holder(&token().overage()), format!("{is_alice}, its groups did not fit into it"));
    let assigned = token().app(APP).claim("roles", json!(["a", "b"]));
    let words = format!("service {app}, client {APP}, app roles \"a\", \"b\", no groups claim");
    assert_eq!(holder(&assigned), words);
    let guest = holder(&token().guest(BOB));
    assert!(
        guest.ends_with(", a guest of the tenant, who can be bound by object id only, no groups claim"),
        "{guest}"
    );
}
