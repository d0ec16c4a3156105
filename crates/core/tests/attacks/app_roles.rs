//! Roles that are bound to an app role.

use pgaad_core::admit::Rule;
use pgaad_core::label::Binding;
use serde_json::json;
use tenant::Token;

use crate::login::{Attack, EXP, Login, NBF, assert_refused, keys, token};

const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ab";

fn sent(token: &Token) -> Login {
    Login::with(token.mint())
}

#[test]
fn a_role_of_an_app_role_is_for_those_to_whom_it_is_assigned() {
    let app_role = |value: &str| Binding::AppRole(value.parse().unwrap());
    let with = |token: Token, roles: serde_json::Value| {
        sent(&token.claim("roles", roles)).bound(app_role("db.reader"))
    };
    let user = with(token(), json!(["other", "db.reader"]));
    let program = with(keys().token().app(APP).claim("nbf", *NBF).claim("exp", *EXP), json!(["db.reader"]));
    for login in [&user, &program] {
        assert_eq!(login.decide().unwrap().rule(), Rule::AppRole);
    }
    // A guest may be assigned one, as anybody.
    let mut attacks = vec![
        Attack::new("another app role", with(token(), json!(["db.writer"])), user.clone(), "not_in_app_role"),
        Attack::new("in capitals", with(token(), json!(["DB.Reader"])), user.clone(), "not_in_app_role"),
        Attack::new("its beginning", with(token(), json!(["db.read"])), user.clone(), "not_in_app_role"),
        Attack::new("more behind it", with(token(), json!(["db.reader "])), user.clone(), "not_in_app_role"),
        Attack::new("two in one", with(token(), json!(["other db.reader"])), user.clone(), "not_in_app_role"),
        Attack::new("none", with(token(), json!([])), user.clone(), "not_in_app_role"),
        Attack::new("no claim", sent(&token()).bound(app_role("db.reader")), user.clone(), "not_in_app_role"),
        Attack::new(
            "a group of that name",
            sent(&token().groups(&["db.reader"])).bound(app_role("db.reader")),
            user.clone(),
            "not_in_app_role",
        ),
        Attack::new(
            "a scope of that name",
            sent(&token().claim("scp", "db.reader")).bound(app_role("db.reader")),
            user.clone(),
            "not_in_app_role",
        ),
        Attack::new("a text", with(token(), json!("db.reader")), user.clone(), "claim_invalid"),
        Attack::new(
            "an administrator, who is bound by object id",
            user.clone().role(|role| role.is_admin = true),
            user.clone(),
            "role_not_bound",
        ),
    ];
    attacks.push(Attack::new(
        "while others assign app roles, too",
        user.clone().admit_policy(|policy| policy.app_roles = false),
        user.clone(),
        "app_roles_shared",
    ));
    // The group of that id is another thing.
    let of_group = sent(&token().claim("roles", json!([GROUP])));
    attacks.push(Attack::new(
        "an app role that is called like a group's id",
        of_group.clone().bound(Binding::Group(GROUP.parse().unwrap())),
        of_group.bound(app_role(GROUP)),
        "groups_missing",
    ));
    assert_refused("app role", &attacks);
}
