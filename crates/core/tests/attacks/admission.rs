//! The binding table: which token may log in as which role.

use pgaad_core::admit::Rule;
use pgaad_core::label::Binding;
use pgaad_core::steps::Step;
use pgaad_core::time::UnixTime;
use serde_json::json;
use tenant::{Token, USER_CLIENT_ID, object_id};

use crate::login::{ALICE, Attack, Login, NOW, ROLE_OID, assert_refused, token};

const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
const GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ab";
const OTHER_GROUP: &str = "c0ffee00-1234-4abc-9def-0123456789ac";

fn sent(token: &Token) -> Login {
    Login::with(token.mint())
}

fn user(name: &str) -> Binding {
    Binding::User(object_id(name).parse().unwrap())
}

/// As `oid=X,type=service` is read: X may be either id.
fn service(id: &str) -> Binding {
    Binding::Service { object_id: id.parse().unwrap(), client_id: id.parse().unwrap() }
}

fn group(id: &str) -> Binding {
    Binding::Group(id.parse().unwrap())
}

fn admitted_by(login: &Login) -> Rule {
    let admission = login.decide().unwrap();
    assert_eq!(admission.role_oid(), ROLE_OID);
    admission.rule()
}

#[test]
fn a_role_that_may_not_log_in_is_refused_whoever_asks() {
    let good = sent(&token());
    let with = |seconds: i64| good.clone().role(|role| role.valid_until = Some(UnixTime::new(seconds)));
    let superuser = good.clone().role(|role| role.is_superuser = true);
    let allowed = superuser.clone().admit_policy(|policy| policy.allow_superuser = true);
    let mut attacks = vec![
        Attack::new("no such role", good.clone().without_role(), good.clone(), "role_missing"),
        Attack::new(
            "no member",
            good.clone().role(|role| role.is_member = false),
            good.clone(),
            "role_not_member",
        ),
        Attack::new(
            "NOLOGIN",
            good.clone().role(|role| role.can_login = false),
            good.clone(),
            "role_nologin",
        ),
        Attack::new("a superuser", superuser.clone(), allowed, "role_superuser"),
        Attack::new("a superuser, where others may", superuser, good.clone(), "role_superuser"),
        Attack::new("VALID UNTIL now", with(*NOW), with(*NOW + 1), "role_expired"),
        Attack::new("VALID UNTIL a second ago", with(*NOW - 1), with(*NOW + 1), "role_expired"),
        Attack::new("VALID UNTIL the epoch", with(0), with(*NOW + 1), "role_expired"),
        Attack::new("VALID UNTIL -infinity", with(i64::MIN), with(i64::MAX), "role_expired"),
    ];
    // What the role is weighs before who asks.
    let bound = good.clone().bound(user("bob@example.com"));
    attacks.push(Attack::new(
        "no member, and another's role",
        bound.clone().role(|role| role.is_member = false),
        good.clone(),
        "role_not_member",
    ));
    attacks.push(Attack::new(
        "an admin is bound by the same rules",
        good.clone().bound(user(ALICE)).role(|role| role.is_admin = true).role(|role| role.can_login = false),
        good.bound(user(ALICE)).role(|role| role.is_admin = true),
        "role_nologin",
    ));
    assert_refused("role", &attacks);
}

#[test]
fn a_role_whose_label_is_another_tenants_or_cannot_be_read_opens_to_nobody() {
    let alice = sent(&token()).bound(user(ALICE));
    let of_tenant = |id: &str| alice.clone().role(|role| role.label_tenant = id.parse().ok());
    let ours = of_tenant(tenant::TENANT_ID);
    assert_eq!(admitted_by(&ours), Rule::Id);
    let attacks = [
        Attack::new("another tenant's", of_tenant(GROUP), ours.clone(), "tenant_mismatch"),
        Attack::new("not readable", alice.clone().bound(Binding::Nobody), alice, "label_unusable"),
        // Nor does a name open what an id of nobody's closes.
        Attack::new(
            "not readable, and the token's own name",
            sent(&token()).bound(Binding::Nobody),
            sent(&token()),
            "label_unusable",
        ),
    ];
    assert_refused("label", &attacks);
}

#[test]
fn a_role_bound_to_a_user_takes_that_users_tokens_only() {
    let role = |login: Login| login.named("app_owner").bound(user(ALICE));
    let alice = role(sent(&token()));
    for token in [token(), token().v2(), token().personal_account(ALICE), token().without("upn")] {
        assert_eq!(admitted_by(&role(sent(&token))), Rule::Id);
    }
    let upper = token().claim("oid", object_id(ALICE).to_uppercase());
    assert_eq!(admitted_by(&role(sent(&upper))), Rule::Id, "GUIDs have no case");

    let renamed = token().user("bob@example.com").claim("upn", "app_owner");
    let oid_elsewhere =
        token().user("bob@example.com").claim("sub", object_id(ALICE)).groups(&[&object_id(ALICE)]);
    let client_elsewhere = token().user("bob@example.com").claim("appid", object_id(ALICE));
    let app = token().app(APP).claim("oid", object_id(ALICE));
    assert_refused(
        "user binding",
        &[
            Attack::new(
                "another user",
                role(sent(&token().user("bob@example.com"))),
                alice.clone(),
                "principal_mismatch",
            ),
            Attack::new(
                "another user of the role's name",
                role(sent(&renamed)),
                alice.clone(),
                "principal_mismatch",
            ),
            Attack::new(
                "the id in other claims",
                role(sent(&oid_elsewhere)),
                alice.clone(),
                "principal_mismatch",
            ),
            Attack::new(
                "the id as the client's",
                role(sent(&client_elsewhere)),
                alice.clone(),
                "principal_mismatch",
            ),
            Attack::new("a program with the user's id", role(sent(&app)), alice.clone(), "kind_mismatch"),
            Attack::new(
                "the user's own name on a role that is bound to another",
                sent(&token()).bound(user("bob@example.com")),
                sent(&token()),
                "principal_mismatch",
            ),
        ],
    );
}

#[test]
fn a_role_bound_to_a_service_takes_that_programs_tokens_only() {
    let app = token().app(APP);
    let by_oid = |login: Login| login.named("worker").bound(service(&object_id(APP)));
    let by_client = |login: Login| login.named("worker").bound(service(APP));
    for token in [app.clone(), app.clone().v2(), token().managed_identity(APP), app.clone().without("idtyp")]
    {
        assert_eq!(admitted_by(&by_oid(sent(&token))), Rule::Id);
        assert_eq!(admitted_by(&by_client(sent(&token))), Rule::Id);
    }
    let other = token().app(GROUP);
    let through = token().claim("appid", APP);
    let disguised = token().claim("oid", object_id(APP));
    let v2_appid = token().v2().app(GROUP).claim("appid", APP);
    let mut attacks = Vec::new();
    for (binding, role) in [("oid", &by_oid as &dyn Fn(Login) -> Login), ("client id", &by_client)] {
        let mut row = |name: &str, token: &Token, code| {
            attacks.push(Attack::new(
                format!("{name}, by {binding}"),
                role(sent(token)),
                role(sent(&app)),
                code,
            ));
        };
        row("another program", &other, "principal_mismatch");
        row("a user", &token(), "kind_mismatch");
        row("a user through that program", &through, "kind_mismatch");
        row("a user with the program's object id", &disguised, "kind_mismatch");
        row("a v2 token of another program with the other version's claim", &v2_appid, "principal_mismatch");
        row("another program with the id in groups", &other.clone().groups(&[APP]), "principal_mismatch");
    }
    assert_refused("service binding", &attacks);
}

#[test]
fn a_role_bound_to_a_group_takes_tokens_that_list_the_group_only() {
    let role = |login: Login| login.named("analysts").bound(group(GROUP));
    let listed = token().groups(&[OTHER_GROUP, GROUP]);
    for token in [
        listed.clone(),
        listed.clone().v2(),
        token().app(APP).groups(&[GROUP]),
        token().groups(&[&GROUP.to_uppercase()]),
        listed.clone().claim("hasgroups", true),
    ] {
        assert_eq!(admitted_by(&role(sent(&token))), Rule::Group);
    }
    let twin = role(sent(&listed));
    let mut attacks = Vec::new();
    let mut row = |name: &str, token: Token, code| {
        attacks.push(Attack::new(name, role(sent(&token)), twin.clone(), code));
    };
    row("no groups", token(), "groups_missing");
    row("no groups in v2", token().v2(), "groups_missing");
    row("a name beside the id", token().groups(&["analysts", GROUP]), "not_in_group");
    row("a name behind the id", token().groups(&[GROUP, "analysts"]), "not_in_group");
    row("an empty name beside the id", token().groups(&[GROUP, ""]), "not_in_group");
    row("overage beside names", token().overage().claim("groups", json!([GROUP, "x"])), "groups_overage");
    row("an empty list", token().groups(&[]), "not_in_group");
    row("another group", token().groups(&[OTHER_GROUP]), "not_in_group");
    row("the role's name as a group", token().groups(&["analysts"]), "not_in_group");
    row("the id in braces", token().groups(&[&format!("{{{GROUP}}}")]), "not_in_group");
    row("the id cut short", token().groups(&[&GROUP[..35]]), "not_in_group");
    row("two ids in one text", token().groups(&[&format!("{GROUP},{OTHER_GROUP}")]), "not_in_group");
    row("the group in roles", token().claim("roles", json!([GROUP])), "groups_missing");
    row("the group in wids", token().claim("wids", json!([GROUP])), "groups_missing");
    row("a user whose id is the group's", token().claim("oid", GROUP), "groups_missing");
    row("the role's own name", token().user("analysts"), "groups_missing");
    row("overage", token().overage(), "groups_overage");
    row("overage in v2", token().v2().overage(), "groups_overage");
    row("overage of the implicit flow", token().claim("hasgroups", true), "groups_overage");
    row("overage of the implicit flow, as text", token().claim("hasgroups", "true"), "groups_overage");
    row(
        "overage beside another group",
        token().overage().claim("groups", json!([OTHER_GROUP])),
        "groups_overage",
    );
    row("no overage", token().claim("hasgroups", false), "groups_missing");
    row(
        "claims elsewhere, but not groups",
        token().claim("_claim_names", json!({ "x": "src1" })),
        "groups_missing",
    );
    row("a group's token without a scope", listed.clone().without("scp"), "kind_unknown");
    assert_refused("group binding", &attacks);
}

#[test]
fn a_role_without_an_id_takes_the_user_of_its_name_only() {
    assert_eq!(admitted_by(&sent(&token())), Rule::Name);
    assert_eq!(admitted_by(&sent(&token().v2())), Rule::Name);
    let off = sent(&token()).admit_policy(|policy| policy.name_match = false);
    let admin = sent(&token()).role(|role| role.is_admin = true);
    let by_id = admin.clone().bound(user(ALICE));
    let mut attacks = vec![
        Attack::new("name_match off", off, sent(&token()), "role_not_bound"),
        Attack::new("an admin by name", admin.clone(), by_id, "role_not_bound"),
        Attack::new(
            "an admin by group name",
            admin.named("dbas").admit_policy(|policy| policy.group_name_match = true),
            sent(&token()),
            "role_not_bound",
        ),
        Attack::new("another user", sent(&token().user("bob@example.com")), sent(&token()), "role_not_bound"),
        Attack::new(
            "a user as the role of their object id",
            sent(&token()).named(&object_id(ALICE)),
            sent(&token()),
            "role_not_bound",
        ),
        Attack::new(
            "a user as the role of their client program",
            sent(&token()).named(USER_CLIENT_ID),
            sent(&token()),
            "role_not_bound",
        ),
        Attack::new(
            "a program with a user's name",
            sent(&token().app(APP).claim("upn", ALICE)),
            sent(&token()),
            "role_not_bound",
        ),
        Attack::new(
            "a role without a name",
            sent(&token().user("")).named(""),
            sent(&token()),
            "name_too_long",
        ),
    ];
    // Core cuts names at 63 bytes, so one of 63 may be a piece of a longer one.
    let name = |bytes: usize| format!("{}@example.com", "a".repeat(bytes - 12));
    for bytes in [63, 64, 113] {
        attacks.push(Attack::new(
            format!("a name of {bytes} bytes"),
            sent(&token().user(&name(bytes))).named(&name(bytes)),
            sent(&token().user(&name(62))).named(&name(62)),
            "name_too_long",
        ));
    }
    attacks.push(Attack::new(
        "63 bytes of fewer characters",
        sent(&token().user(&"é".repeat(32)[..63 - 1])).named(&("é".repeat(31) + "a")),
        sent(&token().user(&"é".repeat(31))).named(&"é".repeat(31)),
        "name_too_long",
    ));
    assert_refused("name binding", &attacks);
    let long = sent(&token().user(&name(63))).named(&name(63)).bound(user(&name(63)));
    assert_eq!(admitted_by(&long), Rule::Id, "an id does not care how long the name is");
}

#[test]
fn a_role_without_an_id_takes_the_program_whose_guid_it_is_named_after_only() {
    let app = token().app(APP);
    for name in [APP.to_owned(), object_id(APP)] {
        assert_eq!(admitted_by(&sent(&app).named(&name)), Rule::Name);
        assert_eq!(admitted_by(&sent(&app.clone().v2()).named(&name)), Rule::Name);
        let off = sent(&app).named(&name).admit_policy(|policy| policy.name_match = false);
        let admin = sent(&app).named(&name).role(|role| role.is_admin = true);
        let upper = sent(&app).named(&name.to_uppercase());
        let braced = sent(&app).named(&format!("{{{name}}}"));
        let twin = sent(&app).named(&name);
        assert_refused(
            "program's name",
            &[
                Attack::new("name_match off", off, twin.clone(), "role_not_bound"),
                Attack::new("an admin", admin, twin.clone(), "role_not_bound"),
                Attack::new("upper case", upper, twin.clone(), "role_not_bound"),
                Attack::new("braces", braced, twin.clone(), "role_not_bound"),
                Attack::new(
                    "another program",
                    sent(&token().app(GROUP)).named(&name),
                    twin,
                    "role_not_bound",
                ),
            ],
        );
    }
}

#[test]
fn a_group_name_counts_only_where_the_setting_says_so() {
    let listed = token().groups(&["dbas", "Analysts"]);
    let on = |login: Login| login.named("dbas").admit_policy(|policy| policy.group_name_match = true);
    let twin = on(sent(&listed));
    assert_eq!(admitted_by(&twin), Rule::GroupName);
    assert_eq!(admitted_by(&on(sent(&token().app(APP).groups(&["dbas"])))), Rule::GroupName);
    let mut attacks = Vec::new();
    let mut row =
        |name: &str, hostile: Login, code| attacks.push(Attack::new(name, hostile, twin.clone(), code));
    row("group_name_match off, the default", sent(&listed).named("dbas"), "role_not_bound");
    row("name_match off", twin.clone().admit_policy(|policy| policy.name_match = false), "role_not_bound");
    row("an admin", twin.clone().role(|role| role.is_admin = true), "role_not_bound");
    row("another case", on(sent(&listed)).named("analysts"), "role_not_bound");
    row("a group of that name with a space", on(sent(&token().groups(&["dbas "]))), "role_not_bound");
    row("groups that are ids", on(sent(&token().groups(&[GROUP]))), "role_not_bound");
    row("an id as the role's name", on(sent(&token().groups(&[GROUP]))).named(GROUP), "role_not_bound");
    row("no groups", on(sent(&token())), "role_not_bound");
    row("overage", on(sent(&token().overage())), "groups_overage");
    row("a role bound to a user", twin.clone().bound(user("bob@example.com")), "principal_mismatch");
    row("a role bound to a group", twin.clone().bound(group(GROUP)), "not_in_group");
    let long = "g".repeat(63);
    row("a name of 63 bytes", on(sent(&token().groups(&[&long]))).named(&long), "name_too_long");
    assert_refused("group name", &attacks);
}

#[test]
fn a_role_that_demands_several_factors_takes_tokens_that_say_so_only() {
    let strict = |login: Login| login.role(|role| role.needs_mfa = true);
    let factors = token().claim("amr", json!(["pwd", "mfa"]));
    let twin = strict(sent(&factors));
    assert_eq!(admitted_by(&twin), Rule::Name);
    let mut attacks = Vec::new();
    for (amr, code) in [
        (json!(["pwd"]), "mfa_missing"),
        (json!([]), "mfa_missing"),
        (json!(["MFA"]), "mfa_missing"),
        (json!(["mfa "]), "mfa_missing"),
        (json!(["pwd,mfa"]), "mfa_missing"),
        (json!(["ngcmfa", "rsa", "fido", "otp"]), "mfa_missing"),
        (json!("mfa"), "claim_invalid"),
        (json!(null), "claim_invalid"),
    ] {
        let hostile = strict(sent(&token().claim("amr", amr.clone())));
        attacks.push(Attack::new(format!("amr is {amr}"), hostile, twin.clone(), code));
    }
    let silent = strict(sent(&token().without("amr")));
    attacks.push(Attack::new("no amr", silent, twin.clone(), "mfa_unknown"));
    let v2 = sent(&token().v2());
    attacks.push(Attack::new("a v2 token, which carries no amr", strict(v2.clone()), v2, "mfa_unknown"));
    let elsewhere =
        strict(sent(&token().without("amr").claim("acr", "mfa").claim("amr_values", json!(["mfa"]))));
    attacks.push(Attack::new("mfa in other claims", elsewhere, twin.clone(), "mfa_unknown"));
    for (name, token, binding) in [
        ("a user by id", token(), user(ALICE)),
        ("a program", token().app(APP).claim("amr", json!(["rsa"])), service(APP)),
        ("a group", token().groups(&[GROUP]), group(GROUP)),
    ] {
        let login = sent(&token).bound(binding);
        attacks.push(Attack::new(format!("{name} without mfa"), strict(login.clone()), login, "mfa_missing"));
    }
    let stranger = strict(sent(&token().user("bob@example.com")));
    attacks.push(Attack::new("the binding is looked at first", stranger, twin, "role_not_bound"));
    assert_refused("mfa", &attacks);
}

/// The words of the log and of `pgaad.sessions`, and what `pgaad.claims()` gives.
#[test]
fn an_admission_says_by_which_rule_and_with_which_claims() {
    let rules = [Rule::Id, Rule::Group, Rule::AppRole, Rule::Name, Rule::GroupName];
    assert_eq!(rules.map(|rule| rule.to_string()), ["id", "group", "app_role", "name", "group_name"]);
    let admission = sent(&token()).decide().unwrap();
    let claims: serde_json::Value = serde_json::from_str(admission.claims()).unwrap();
    assert_eq!(claims["oid"], json!(object_id(ALICE)));
    let text = admission.claims().to_owned();
    assert_eq!(admission.into_claims(), text);
}

#[test]
fn each_step_has_its_word_for_explanations() {
    let words = Step::ALL.map(|step| step.to_string());
    let wanted = [
        "header",
        "key",
        "claims",
        "issuer",
        "tenant",
        "audience",
        "time",
        "kind",
        "scope",
        "role",
        "directory",
        "binding",
    ];
    assert_eq!(words, wanted);
    assert_eq!(Step::Connection.to_string(), "connection");
}
