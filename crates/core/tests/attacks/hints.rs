//! The statements that a refusal prints for an operator to paste: who pastes one has not written it.

use pgaad_core::label::Binding;
use tenant::{Token, object_id};

use crate::login::{ALICE, Login, token};

const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ab";
const OTHER_GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ac";

fn sent(token: &Token) -> Login {
    Login::with(token.mint())
}

fn user(name: &str) -> Binding {
    Binding::User(object_id(name).parse().unwrap())
}

fn group(id: &str) -> Binding {
    Binding::Group(id.parse().unwrap())
}

/// The statement that would make the role a member is printed where the role is the token holder's already, and nowhere
/// else: somebody pastes it who has not written it.
#[test]
fn a_membership_is_suggested_to_nobody_whom_the_role_does_not_belong_to() {
    let hint = |login: Login| {
        let refused = login.role(|role| role.is_member = false).decide().unwrap_err();
        assert_eq!(refused.code(), "role_not_member");
        refused.hint()
    };
    let listed = token().groups(&["dbas", GROUP]);
    let by_group_name =
        |login: Login| login.named("dbas").admit_policy(|policy| policy.group_name_match = true);
    let own = format!("GRANT azure_ad_user TO \"{ALICE}\";");
    for (name, login) in [
        ("by name", sent(&token())),
        ("by id", sent(&token()).bound(user(ALICE))),
        ("by group", sent(&token().groups(&[GROUP])).bound(group(GROUP))),
    ] {
        assert_eq!(hint(login), Some(own.clone()), "{name}");
    }
    for (name, login) in [
        ("another's name", sent(&token()).named("bob@example.com")),
        ("another's id", sent(&token()).bound(user("bob@example.com"))),
        ("another group's", sent(&token().groups(&[OTHER_GROUP])).bound(group(GROUP))),
        // A user who may create groups can give one this name.
        ("a group of the role's name", by_group_name(sent(&token().groups(&["dbas"])))),
        ("a group of the role's name among ids", by_group_name(sent(&listed))),
        ("a guest, whose name others give", sent(&token().guest("https://sts.windows.net/x/"))),
        ("an administrator", sent(&token()).bound(user(ALICE)).role(|role| role.is_admin = true)),
        ("a superuser", sent(&token()).bound(user(ALICE)).role(|role| role.is_superuser = true)),
        ("a name that needs quotes", sent(&token().user("a b")).named("a b")),
    ] {
        assert_eq!(hint(login), None, "{name}");
    }
}

/// The statement that would bind the role is printed where the tenant itself gave the token's holder the role's name,
/// or an id that the role is named after.
#[test]
fn a_binding_is_suggested_only_where_the_names_say_whose_the_role_is() {
    let hint = |token: &Token, role: &str, change: fn(Login) -> Login| {
        let refused = change(sent(token).named(role)).decide().unwrap_err();
        assert_eq!(refused.code(), "role_not_bound", "{role}");
        refused.hint()
    };
    let same = |login: Login| login;
    let by_ids_alone = |login: Login| login.admit_policy(|policy| policy.name_match = false);
    let id = object_id(ALICE);
    let app_id = object_id(APP);
    let guest = "bob_partner.com#EXT#@example.onmicrosoft.com";
    let guest_token = token().guest("bob@partner.com");
    let guest_id = guest_token.claims()["oid"].as_str().unwrap().to_owned();
    let label = |role: &str, rest: String| {
        Some(format!("SECURITY LABEL FOR pgaadauth ON ROLE \"{role}\" IS 'aadauth,{rest}';"))
    };
    let user = |role: &str, id: &str| label(role, format!("oid={id},type=user"));

    let upper = ALICE.to_uppercase();
    assert_eq!(hint(&token(), &upper, same), user(&upper, &id), "another case");
    assert_eq!(hint(&token(), ALICE, by_ids_alone), user(ALICE, &id), "names do not count here");
    assert_eq!(hint(&guest_token, guest, same), user(guest, &guest_id), "the tenant's name of a guest");
    assert_eq!(hint(&guest_token, "bob@partner.com", same), user("bob@partner.com", &guest_id), "their mail");
    let service = |role: &str| label(role, format!("oid={app_id},type=service"));
    let app = token().app(APP);
    for role in [APP, app_id.as_str()] {
        assert_eq!(hint(&app, role, by_ids_alone), service(role), "a program");
    }
    assert_eq!(
        hint(&app, &APP.to_uppercase(), same),
        service(&APP.to_uppercase()),
        "a program, of another case"
    );
    let listed = token().groups(&[OTHER_GROUP, GROUP]);
    assert_eq!(hint(&listed, GROUP, same), label(GROUP, format!("oid={GROUP},type=group")), "a group's id");

    for (name, token, role, change) in [
        ("another's name", token(), "bob@example.com", same as fn(Login) -> Login),
        ("a group that is not in the token", token().groups(&[OTHER_GROUP]), GROUP, same),
        // Names of groups are not unique, and a user who may create groups can give one this name.
        ("a group's name", token().groups(&["dbas"]), "dbas", same),
        ("a user's id", token(), &id, same),
        ("a user's client program", token(), tenant::USER_CLIENT_ID, same),
        ("a program's display name", token().app(APP).claim("app_displayname", "billing"), "billing", same),
        ("an administrator", token(), &upper, |login| login.role(|role| role.is_admin = true)),
        ("a labelled role", token(), &upper, |login| login.role(|role| role.is_labelled = true)),
        ("a superuser", token(), &upper, |login| {
            login.admit_policy(|policy| policy.allow_superuser = true).role(|role| role.is_superuser = true)
        }),
        ("a name that needs quotes", token().user("a b"), "A B", same),
    ] {
        assert_eq!(hint(&token, role, change), None, "{name}");
    }
}
