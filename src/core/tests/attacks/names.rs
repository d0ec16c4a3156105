//! Class C: names that look like the role's, and are not its bytes.

use pgaad_core::admit::Rule;
use serde_json::json;

use crate::login::{ALICE, Attack, Login, assert_refused, token};

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
        Login::with(personal.claim("upn", ALICE).mint()),
        "role_not_bound",
    ));
    let guest = token().guest(ALICE);
    attacks.push(Attack::new(
        "a guest of that mail address",
        Login::with(guest.mint()),
        Login::with(guest.mint()).named("alice_example.com#EXT#@example.onmicrosoft.com"),
        "role_not_bound",
    ));
    assert_refused("C other names", &attacks);
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
