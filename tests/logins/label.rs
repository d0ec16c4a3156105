//! Roles bound by security label: whose token opens which, who may label, and what a label does.

use pgaad_tests::scene::quoted;
use pgaad_tests::wire::Answer;
use pgaad_tests::{Attempt, Scene};
use std::sync::OnceLock;
use tenant::{Token, object_id};

const CLIENT: &str = "5e1f0a52-8d47-4c8e-9d0a-3f1b7c2d6e90";
const GROUP: &str = "0c7c1f3e-52a1-4e0b-8f5e-1a2b3c4d5e6f";
const OTHER: &str = "11111111-2222-4333-8444-555555555555";

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(Scene::start)
}

/// A new role, of a name that says nothing, with this label.
fn labelled(scene: &Scene, label: &str) -> String {
    let role = format!("role of {}", scene.fresh_name());
    scene.cluster.sql(&format!("CREATE ROLE {} LOGIN", quoted(&role)));
    scene.cluster.sql(&set_label(&role, label));
    role
}

fn set_label(role: &str, label: &str) -> String {
    format!("SECURITY LABEL FOR \"pgaadauth\" ON ROLE {} IS '{label}'", quoted(role))
}

fn attempts<'a>(scene: &'a Scene, role: &str, token: &Token) -> Vec<Attempt<'a>> {
    scene.token_routes().into_iter().map(|route| scene.attempt(route, role).with(token.mint())).collect()
}

fn expect_admitted(scene: &Scene, role: &str, token: &Token) {
    for token in [token.clone().v1(), token.clone().v2()] {
        for attempt in attempts(scene, role, &token) {
            attempt.expect_admitted();
        }
    }
}

fn expect_refused(scene: &Scene, role: &str, token: &Token, code: &str) {
    for token in [token.clone().v1(), token.clone().v2()] {
        for attempt in attempts(scene, role, &token) {
            attempt.expect_refused(code);
        }
    }
}

#[test]
fn role_bound_to_a_user_opens_to_that_user_by_whatever_name() {
    let scene = scene();
    let ann = scene.token("ann@example.com");
    let role = labelled(scene, &format!("aadauth,oid={},type=user", object_id("ann@example.com")));
    expect_admitted(scene, &role, &ann);
    expect_admitted(scene, &role, &ann.clone().claim("upn", "renamed@example.com"));
    expect_refused(scene, &role, &scene.token("bob@example.com"), "principal_mismatch");
    // The name is the role's, the person is not.
    expect_refused(scene, &role, &scene.token(&role), "principal_mismatch");
    expect_refused(scene, &role, &scene.tenant.token().app(CLIENT), "kind_mismatch");
}

#[test]
fn role_bound_to_a_service_opens_to_that_program_by_either_id() {
    let scene = scene();
    let program = scene.tenant.token().app(CLIENT);
    for id in [CLIENT.to_owned(), object_id(CLIENT)] {
        let role = labelled(scene, &format!("aadauth,oid={id},type=service"));
        expect_admitted(scene, &role, &program);
        expect_refused(scene, &role, &scene.tenant.token().app(OTHER), "principal_mismatch");
        // A user whose token the same program got is not the program.
        expect_refused(scene, &role, &scene.token("ann@example.com"), "kind_mismatch");
    }
}

#[test]
fn role_bound_to_a_group_opens_to_its_members() {
    let scene = scene();
    let role = labelled(scene, &format!("aadauth,oid={GROUP},type=group"));
    let ann = scene.token("ann@example.com");
    expect_admitted(scene, &role, &ann.clone().groups(&[OTHER, GROUP]));
    expect_refused(scene, &role, &ann.clone().groups(&[OTHER]), "not_in_group");
    expect_refused(scene, &role, &ann.clone().groups(&[]), "not_in_group");
    expect_refused(scene, &role, &ann, "groups_missing");
    expect_refused(scene, &role, &ann.clone().overage(), "groups_overage");
    // An entry that is no GUID: the tenant emits names, and a name may read as anybody's GUID.
    expect_refused(scene, &role, &ann.groups(&["analysts", GROUP]), "not_in_group");
}

#[test]
fn role_that_demands_mfa_opens_to_tokens_that_say_so() {
    let scene = scene();
    let role = labelled(scene, &format!("aadauth,oid={},type=user,mfa", object_id("ann@example.com")));
    let ann = scene.token("ann@example.com").v1();
    for attempt in attempts(scene, &role, &ann.clone().claim("amr", vec!["pwd", "mfa"])) {
        attempt.expect_admitted();
    }
    for attempt in attempts(scene, &role, &ann.clone().claim("amr", vec!["pwd"])) {
        attempt.expect_refused("mfa_missing");
    }
    for attempt in attempts(scene, &role, &ann.v2()) {
        attempt.expect_refused("mfa_unknown");
    }
}

#[test]
fn label_makes_the_role_a_member_with_the_bootstrap_superuser_as_grantor() {
    let scene = scene();
    let role = labelled(scene, "aadauth");
    let granted_by_10 = scene.cluster.value(&format!(
        "SELECT grantor = 10 FROM pg_auth_members
         WHERE roleid = 'azure_ad_user'::regrole AND member = '{}'::regrole",
        quoted(&role)
    ));
    assert_eq!(granted_by_10, "t");
}

#[test]
fn renamed_role_keeps_its_binding_and_one_made_again_does_not_inherit_it() {
    let scene = scene();
    let ann = scene.token("ann@example.com");
    let role = labelled(scene, &format!("aadauth,oid={},type=user", object_id("ann@example.com")));
    let renamed = format!("renamed {role}");
    scene.cluster.sql(&format!("ALTER ROLE {} RENAME TO {}", quoted(&role), quoted(&renamed)));
    expect_admitted(scene, &renamed, &ann);

    scene.cluster.sql(&format!("DROP ROLE {}", quoted(&renamed)));
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(&renamed)));
    expect_refused(scene, &renamed, &ann, "role_not_bound");
}

#[test]
fn azures_internal_label_binds_where_it_is_the_only_one() {
    let scene = scene();
    let ann = object_id("ann@example.com");
    let tenant = scene.tenant.tenant_id();
    let internal = |role: &str, tenant: &str| {
        scene.cluster.sql(&format!(
            "SECURITY LABEL FOR \"pgaadauth-int\" ON ROLE {} IS 'type=user,oid={ann},tenant_id={tenant}'",
            quoted(role)
        ));
    };
    let make = || {
        let role = scene.fresh_name();
        scene.cluster.sql(&format!("CREATE ROLE {} LOGIN", quoted(&role)));
        role
    };
    let role = make();
    internal(&role, &tenant);
    expect_admitted(scene, &role, &scene.token("ann@example.com"));

    let foreign = make();
    internal(&foreign, OTHER);
    expect_refused(scene, &foreign, &scene.token("ann@example.com"), "tenant_mismatch");

    // Two labels that say different things bind the role to nobody.
    let torn = labelled(scene, &format!("aadauth,oid={OTHER},type=user"));
    internal(&torn, &tenant);
    expect_refused(scene, &torn, &scene.token("ann@example.com"), "label_unusable");

    // What is listed is what the login goes by: Azure stores a role that was made by its name with both labels.
    let by_name = labelled(scene, "aadauth,mfa");
    internal(&by_name, OTHER);
    let listed = |role: &str| {
        scene.cluster.value(&format!(
            "SELECT concat_ws(' ', principaltype, objectid, tenantid, ismfa, isadmin)
             FROM pgaadauth_list_principals(false) WHERE rolename = '{role}'"
        ))
    };
    let ann = object_id("ann@example.com");
    assert_eq!(listed(&by_name), format!("user {ann} {OTHER} 1 0"));
    assert_eq!(listed(&role), format!("user {ann} {tenant} 0 0"));
    assert_eq!(listed(&torn), format!("unknown {tenant} 0 0"));
}

fn error(scene: &Scene, sql: &str) -> Answer {
    scene.cluster.try_sql(sql).expect_err(sql)
}

#[test]
fn malformed_label_is_an_error_that_names_the_part_and_changes_nothing() {
    let scene = scene();
    let role = labelled(scene, &format!("aadauth,oid={GROUP},type=group"));
    for (label, part) in [
        ("nonsense", "must begin with \"aadauth\""),
        ("aadauth,oid=ann,type=user", "oid: \"ann\""),
        ("aadauth,type=user", "\"oid\" is missing"),
        ("aadauth, admin", "\" admin\""),
    ] {
        let answer = error(scene, &set_label(&role, label));
        assert_eq!(answer.sqlstate, "22023", "{answer:?}");
        assert!(answer.message.contains(part) && answer.hint.starts_with("Write 'aadauth"), "{answer:?}");
    }
    let answer = error(scene, "SECURITY LABEL FOR \"pgaadauth\" ON DATABASE postgres IS 'aadauth'");
    assert!(answer.message.contains("for roles only"), "{answer:?}");
    expect_admitted(scene, &role, &scene.token("ann@example.com").groups(&[GROUP]));
}

#[test]
fn only_superusers_and_entra_administrators_may_label() {
    let scene = scene();
    scene.cluster.sql(
        "CREATE ROLE labels_admin CREATEROLE IN ROLE azure_ad_admin, azure_ad_user;
         CREATE ROLE labels_creator CREATEROLE; CREATE ROLE labels_nobody; CREATE ROLE labels_target LOGIN",
    );
    // On 16 and later, core's own rule asks for ADMIN OPTION on the role besides.
    if scene.cluster.installation().major() >= 16 {
        scene.cluster.sql("GRANT labels_target TO labels_admin WITH ADMIN OPTION");
    }
    let as_role = |role: &str, label: &str| format!("SET ROLE {role}; {}", set_label("labels_target", label));
    for role in ["labels_creator", "labels_nobody"] {
        assert_eq!(error(scene, &as_role(role, "aadauth")).sqlstate, "42501", "{role}");
    }
    assert_eq!(error(scene, &as_role("labels_admin", "aadauth,admin")).sqlstate, "42501");
    scene.cluster.sql(&as_role("labels_admin", "aadauth"));
    scene.cluster.sql(&set_label("labels_target", "aadauth,admin"));
}

#[test]
fn admin_in_a_label_keeps_the_name_from_counting() {
    let scene = scene();
    let name = scene.member();
    let token = scene.token(&name);
    expect_admitted(scene, &name, &token);
    scene.cluster.sql(&set_label(&name, "aadauth,admin"));
    expect_refused(scene, &name, &token, "role_not_bound");
}
