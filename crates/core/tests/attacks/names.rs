//! Class C: names that look like the role's, and are not its bytes.

use pgaad_core::admit::Rule;
use pgaad_core::label::Binding;
use pgaad_core::log_line::LogLine;
use serde_json::{Value, json};
use tenant::{Token, object_id};

use crate::login::{ALICE, Attack, Login, assert_refused, keys, token};

fn named(name: &str) -> Login {
    Login::with(token().user(name).mint())
}

#[test]
fn a_user_name_that_only_looks_like_the_roles_is_refused() {
    let lookalikes = [
        "",
        " ",
        "alice",
        "@example.com",
        "Alice@example.com",
        "ALICE@EXAMPLE.COM",
        "alice@Example.com",
        "alice@example.com ",
        " alice@example.com",
        "alice@example.com\n",
        "alice@example.com\t",
        "alice@example.com.",
        "alice@example.co",
        "alice@example.comm",
        "alice@example.com@example.com",
        "alice@example.com@11111111-2222-4333-8444-555555555555",
        "alice+@example.com",
        "a.lice@example.com",
        "alice@sub.example.com",
        "alice_example.com#EXT#@evil.example",
        "live.com#alice@example.com",
        "\"alice\"@example.com",
        "alice@[example.com]",
        "alice%40example.com",
        "\u{430}lice@example.com",
        "al\u{131}ce@example.com",
        "ali\u{441}e@example.com",
        "al\u{ed}ce@example.com",
        "ali\u{ad}ce@example.com",
        "alice\u{ff20}example.com",
        "alice\u{fe6b}example.com",
        "alice@example\u{3002}com",
        "alice@example\u{2024}com",
        "alice@ex\u{251}mple.com",
        "alice\u{200b}@example.com",
        "alice\u{200c}@example.com",
        "alice\u{200d}@example.com",
        "alice\u{2060}@example.com",
        "alice@example.com\u{200e}",
        "alice@example.com\u{feff}",
        "\u{feff}alice@example.com",
        "\u{202e}moc.elpmaxe@ecila",
        "\u{202e}moc.elpmaxe@ecila\u{202c}",
        "\u{2067}alice@example.com\u{2069}",
        "alice\u{a0}@example.com",
        "alice@example.com\u{301}",
        "\u{1d41a}\u{1d425}\u{1d422}\u{1d41c}\u{1d41e}@example.com",
    ];
    let mut attacks = Vec::new();
    for name in lookalikes {
        for (version, token) in [("v1", token().user(name)), ("v2", token().v2().user(name))] {
            let sent = Login::with(token.mint());
            if !name.is_empty() {
                let own = sent.clone().named(name).decide().map(|admission| admission.rule());
                assert_eq!(own, Ok(Rule::Name), "{name:?} is admitted as itself");
            }
            let twin = if version == "v1" { token.user(ALICE) } else { token.v2().user(ALICE) };
            attacks.push(Attack::new(
                format!("{version}: {name:?}"),
                sent,
                Login::with(twin.mint()),
                "role_not_bound",
            ));
        }
    }
    assert_refused("C names", &attacks);
}

#[test]
fn a_name_composed_otherwise_is_another_name() {
    let composed = "zo\u{eb}@example.com";
    let decomposed = "zoe\u{308}@example.com";
    let pairs = [(composed, decomposed), (decomposed, composed), ("ﬁ@example.com", "fi@example.com")];
    let attacks = pairs.map(|(sent, role)| {
        Attack::new(
            format!("{sent:?} as {role:?}"),
            named(sent).named(role),
            named(sent).named(sent),
            "role_not_bound",
        )
    });
    assert_refused("C normal forms", &attacks);
}

#[test]
fn a_name_in_any_other_claim_counts_for_nothing() {
    let nobody = token().user("mallory@example.com");
    let v2 = token().v2().user("mallory@example.com");
    let mut attacks = Vec::new();
    for claim in [
        "unique_name",
        "preferred_username",
        "email",
        "name",
        "nameid",
        "sub",
        "verified_primary_email",
        "UPN",
    ] {
        let hostile = nobody.clone().claim(claim, ALICE);
        attacks.push(Attack::new(
            format!("v1: {claim}"),
            Login::with(hostile.mint()),
            Login::with(hostile.claim("upn", ALICE).mint()),
            "role_not_bound",
        ));
    }
    for claim in ["upn", "unique_name", "email", "name", "sub", "login_hint"] {
        let hostile = v2.clone().claim(claim, ALICE);
        attacks.push(Attack::new(
            format!("v2: {claim}"),
            Login::with(hostile.mint()),
            Login::with(hostile.claim("preferred_username", ALICE).mint()),
            "role_not_bound",
        ));
    }
    let personal = token().personal_account(ALICE);
    attacks.push(Attack::new(
        "a personal account, which has no upn",
        Login::with(personal.mint()),
        Login::with(token().claim("upn", ALICE).mint()),
        "role_not_bound",
    ));
    assert_refused("C other names", &attacks);
}

#[test]
fn a_guest_is_matched_by_no_name_in_either_version() {
    let partner = "https://sts.windows.net/3f9c1a52-6d0e-4b7f-8a14-c25e9d70b631/";
    let mut attacks = Vec::new();
    for (version, own) in [("v1", token()), ("v2", token().v2())] {
        let twin = Login::with(own.mint());
        let mut row = |name: &str, hostile: &Token| {
            let name = format!("{version}: {name}");
            attacks.push(Attack::new(name, Login::with(hostile.mint()), twin.clone(), "role_not_bound"));
        };
        for idp in [
            partner,
            "live.com",
            "mail",
            "google.com",
            "",
            " ",
            "https://sts.windows.net/",
            "https://sts.windows.net/9188040d-6c67-4c5b-b112-36a304b66dad/",
            "https://evil.example/7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10/v2.0",
        ] {
            row(&format!("idp is {idp:?}"), &own.clone().claim("idp", idp));
        }
        for acct in [json!(1), json!("1"), json!(2), json!(-1)] {
            row(&format!("acct is {acct}"), &own.clone().claim("acct", acct));
        }
        row(
            "a guest of the tenant's own provider",
            &own.clone().claim("idp", keys().v1_issuer()).claim("acct", 1),
        );
        row("a member by acct of a foreign provider", &own.clone().claim("idp", partner).claim("acct", 0));
    }
    let local = "alice_example.com#EXT#@example.onmicrosoft.com";
    for name in [ALICE, local] {
        for guest in [token().guest(ALICE), token().v2().guest(ALICE)] {
            attacks.push(Attack::new(
                format!("a guest of that mail address as {name}"),
                Login::with(guest.mint()).named(name),
                Login::with(token().user(name).mint()).named(name),
                "role_not_bound",
            ));
        }
    }
    assert_refused("C guests", &attacks);

    let v2_issuer = keys().v2_issuer();
    for own in [token(), token().v2()] {
        for idp in [keys().v1_issuer(), v2_issuer.clone(), v2_issuer.clone() + "/"] {
            Login::with(own.clone().claim("idp", idp.as_str()).mint()).decide().expect(&idp);
        }
        for acct in [json!(0), json!("0")] {
            Login::with(own.clone().claim("acct", acct).mint()).decide().expect("a member");
        }
        let by_id = Binding::User(object_id(ALICE).parse().unwrap());
        let guest = own.guest(ALICE);
        let login = Login::with(guest.mint()).named("anything").bound(by_id);
        assert_eq!(login.decide().unwrap().rule(), Rule::Id, "a guest is bound by id");
    }
    // What SYSTEM_USER shows of a guest is what this tenant calls them, and not what they call themselves.
    for (guest, shown) in [
        (token().guest(ALICE), local.to_owned()),
        (token().v2().guest(ALICE), object_id(ALICE)),
        (token().personal_account(ALICE), object_id(ALICE)),
    ] {
        let by_id = Binding::User(object_id(ALICE).parse().unwrap());
        let admission = Login::with(guest.mint()).bound(by_id).decide().unwrap();
        assert_eq!(admission.principal().identity(), shown);
    }
    // Not by the names of groups either, which would be a name match again.
    let named = Login::with(token().guest(ALICE).groups(&["dbas"]).mint())
        .named("dbas")
        .admit_policy(|policy| policy.group_name_match = true);
    assert_eq!(named.decide().unwrap_err().code(), "role_not_bound");
    let reason = Login::with(token().v2().guest(ALICE).mint()).decide().unwrap_err();
    assert_eq!(reason.facts(LogLine::new("")).into_text(), " guest=yes");
}

#[test]
fn an_account_status_of_another_type_refuses_the_token() {
    let row = |acct: Value| {
        let hostile = token().claim("acct", acct.clone());
        Attack::by(format!("acct is {acct}"), hostile.mint(), "claim_invalid")
    };
    let attacks: Vec<_> =
        [json!(null), json!(true), json!("guest"), json!(""), json!([1]), json!(1.0)].map(row).into();
    assert_refused("C acct", &attacks);
    assert_refused("C idp", &[Attack::by("idp is no text", token().claim("idp", 1).mint(), "claim_invalid")]);
}

#[test]
fn a_nul_in_a_name_refuses_the_token() {
    let hostile = token().claim("upn", format!("{ALICE}\0.evil.example"));
    let twin = token().claim("upn", ALICE);
    let in_groups = token().claim("groups", json!(["x\0"]));
    assert_refused(
        "C NUL",
        &[
            Attack::new("in upn", Login::with(hostile.mint()), Login::with(twin.mint()), "payload_invalid"),
            Attack::new(
                "in groups",
                Login::with(in_groups.mint()),
                Login::with(twin.mint()),
                "payload_invalid",
            ),
        ],
    );
}
