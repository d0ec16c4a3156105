//! Class C: tokens that a user's consent gave to a client for something else than this server.

use serde_json::json;

use crate::login::{Attack, Login, assert_refused, token};

const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";

fn accepting(scopes: &[&str]) -> impl Fn(Login) -> Login {
    let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    move |login| login.policy(|policy| policy.scopes.clone_from(&scopes))
}

#[test]
fn a_users_token_without_an_accepted_scope_is_refused() {
    let accepting = accepting(&["user_impersonation", "db.access"]);
    let mut attacks = Vec::new();
    for (version, token) in [("v1", token()), ("v2", token().v2())] {
        let twin = accepting(Login::with(token.mint()));
        for scp in [
            "openid",
            "openid profile email",
            "User_Impersonation",
            "user_impersonation2",
            "user_impersonatio",
            "user_impersonation,db.access",
            "api://pgaad/db.access",
            "db access",
            "\"db.access\"",
        ] {
            let hostile = accepting(Login::with(token.clone().claim("scp", scp).mint()));
            attacks.push(Attack::new(
                format!("{version}: scp is {scp:?}"),
                hostile,
                twin.clone(),
                "wrong_scope",
            ));
        }
        // A scope in the place of another claim does not count.
        let roles = token.clone().claim("scp", "openid").claim("roles", json!(["db.access"]));
        attacks.push(Attack::new("in roles", accepting(Login::with(roles.mint())), twin, "wrong_scope"));
    }
    assert_refused("C scope", &attacks);
    for scp in ["db.access", "openid db.access", "db.access openid"] {
        let login = Login::with(token().claim("scp", scp).mint());
        accepting(login).decide().unwrap_or_else(|reason| panic!("{scp}: {reason:?}"));
    }
    Login::with(token().claim("scp", "openid").mint()).decide().expect("an empty list accepts any");
    let app = Login::with(token().app(APP).mint()).named(APP);
    accepting(app).decide().expect("a program's token has no scope");
}

#[test]
fn a_users_token_must_have_every_scope_of_the_line_and_one_of_the_setting() {
    let line = |login: Login| {
        login.policy(|policy| policy.line_scopes = vec!["db.access".into(), "db.login".into()])
    };
    let with = |scp: &str| line(Login::with(token().claim("scp", scp).mint()));
    let twin = with("db.login db.access");
    let mut attacks = Vec::new();
    for scp in ["user_impersonation", "db.access", "db.login"] {
        attacks.push(Attack::new(format!("scp is {scp:?}"), with(scp), twin.clone(), "wrong_scope"));
    }
    let accepting = accepting(&["user_impersonation"]);
    attacks.push(Attack::new(
        "the line's scopes and none of the setting's",
        accepting(with("db.access db.login")),
        accepting(with("db.access db.login user_impersonation")),
        "wrong_scope",
    ));
    assert_refused("C scope of the line", &attacks);
    line(Login::with(token().app(APP).mint()).named(APP)).decide().expect("a program's token has no scope");
}
