//! Several tenants: each one's tokens open the roles that are labelled for it, names count of the first only, and one
//! tenant's trouble is never another's.

use pgaad_tests::account::as_root;
use pgaad_tests::scene::quoted;
use pgaad_tests::{Scene, wait_until};
use tenant::{Behavior, SECOND_TENANT_ID, TENANT_ID, Token, object_id};

const BOB: &str = "bob@partner.com";

fn both(scene: &Scene) -> String {
    format!("{}, {SECOND_TENANT_ID}", scene.tenant.tenant_id())
}

/// A scene with both tenants, and bob's role, who is of the second.
fn scene() -> Scene {
    let scene =
        Scene::with(|cluster| cluster.conf("pgaad.tenant_id", format!("{TENANT_ID}, {SECOND_TENANT_ID}")));
    scene.cluster.sql(&format!(
        "CREATE ROLE {0} LOGIN IN ROLE azure_ad_user; SECURITY LABEL FOR pgaadauth ON ROLE {0} IS \
         'aadauth,oid={1},type=user,tenant={SECOND_TENANT_ID}'",
        quoted(BOB),
        object_id(BOB)
    ));
    wait_until("the second tenant has keys", || is_ready(&scene, SECOND_TENANT_ID));
    scene
}

fn is_ready(scene: &Scene, tenant: &str) -> bool {
    scene.cluster.value(&format!("SELECT ready FROM pgaad.tenants WHERE tenant_id = '{tenant}'")) == "t"
}

fn of_second(scene: &Scene, user: &str) -> Token {
    scene.token(user).tenant(SECOND_TENANT_ID)
}

#[test]
fn tokens_of_each_tenant_open_what_is_labelled_for_it_and_nothing_else() {
    let scene = scene();
    let alice = scene.member();
    for route in scene.token_routes() {
        let bob = |token: Token| scene.attempt(route, BOB).with(token.mint());
        bob(of_second(&scene, BOB)).expect_admitted();
        bob(of_second(&scene, BOB).v2()).expect_admitted();
        let line = bob(scene.token(BOB)).expect_refused("tenant_mismatch");
        assert!(line.contains(&format!("label_tid={SECOND_TENANT_ID} token_tid={TENANT_ID}")), "{line}");
        let line = bob(of_second(&scene, "eve@partner.com")).expect_refused("principal_mismatch");
        assert!(line.contains(&format!("tid={SECOND_TENANT_ID}")), "{line}");
        // By name, only who is of the first.
        scene.attempt(route, &alice).expect_admitted();
        let namesake = of_second(&scene, &alice).mint();
        scene.attempt(route, &alice).with(namesake).expect_refused("tenant_mismatch");
        // A token that says it is of the other than its issuer.
        bob(of_second(&scene, BOB).claim("tid", TENANT_ID)).expect_refused("issuer_unknown");
        bob(scene.token(BOB).claim("tid", SECOND_TENANT_ID)).expect_refused("issuer_unknown");
    }
    // Shut out by an id, in whichever tenant that is.
    let (deny, allow) =
        (format!("pgaad.deny('{}')", object_id(BOB)), format!("pgaad.allow('{}')", object_id(BOB)));
    scene.cluster.sql(&format!("SELECT {deny}"));
    let denied = || scene.attempt(scene.route(), BOB).with(of_second(&scene, BOB).mint());
    denied().expect_refused("denied");
    let listed = "SELECT count(*) FROM pgaad.denied WHERE tenant_id::text IN ";
    let listed = format!("{listed} ('{TENANT_ID}', '{SECOND_TENANT_ID}')");
    assert_eq!(scene.cluster.value(&listed), "2");
    assert_eq!(scene.cluster.value(&format!("SELECT {allow}")), "t");
    assert_eq!(scene.cluster.value(&format!("SELECT {allow}")), "f");
    denied().expect_admitted();
    let listed = format!("SELECT tenantid FROM pgaadauth_list_principals(false) WHERE rolname = '{BOB}'");
    assert_eq!(scene.cluster.value(&listed), SECOND_TENANT_ID);
    let listed = format!("SELECT tenantid FROM pgaadauth_list_principals(false) WHERE rolname = '{alice}'");
    assert_eq!(scene.cluster.value(&listed), TENANT_ID);
    let unsigned = of_second(&scene, BOB).mint();
    let unsigned = unsigned.rsplit_once('.').expect("three parts").0;
    let wrong = format!("SELECT count(*) FROM pgaad.explain('{BOB}', '{unsigned}') WHERE NOT ok");
    assert_eq!(scene.cluster.value(&wrong), "0");
    let tenants = "SELECT count(DISTINCT tenant_id) FROM pgaad.keys";
    assert_eq!(scene.cluster.value(tenants), "2");
}

#[test]
fn a_tenant_in_trouble_holds_up_nobody_of_another() {
    let scene = Scene::with(|cluster| {
        cluster
            .conf("pgaad.tenant_id", format!("{TENANT_ID}, {SECOND_TENANT_ID}"))
            .conf("pgaad.refresh_cooldown", "1s")
    });
    scene.tenant.set_behavior_of_second(Behavior::Stalled);
    let role = scene.member();
    scene.cluster.sql("SELECT pg_reload_conf()");
    scene.attempt(scene.route(), &role).expect_admitted();
    // A fetch is under way that the second tenant holds up; a key that the first publishes meanwhile is found.
    scene.tenant.rotate();
    wait_until("the new key counts", || {
        matches!(
            scene.attempt(scene.route(), &role).with(scene.token(&role).mint()).login().outcome,
            pgaad_tests::wire::Outcome::Accepted(_)
        )
    });
    scene.tenant.set_behavior_of_second(Behavior::Status(503));
    let mark = scene.cluster.log_mark();
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "f");
    let line = scene.cluster.wait_for_log(mark, "pgaad: key refresh failed: code=");
    assert!(line.contains(&format!("tid={SECOND_TENANT_ID}")), "{line}");
    let rows = "SELECT string_agg(ready || ' ' || (last_error IS NULL), ', ' ORDER BY tenant_id = '";
    let rows = format!("{rows}{SECOND_TENANT_ID}') FROM pgaad.tenants");
    assert!(scene.cluster.value(&rows).starts_with("true true, "), "{}", scene.cluster.value(&rows));
    assert!(scene.cluster.value(&rows).ends_with(" false"));
    assert_eq!(scene.cluster.value("SELECT ready FROM pgaad.status"), "t");
    let found = "SELECT detail FROM pgaad.check() WHERE item = 'keys'";
    assert!(scene.cluster.value(found).starts_with(&format!("tenant {SECOND_TENANT_ID}: ")));
    scene.tenant.set_behavior_of_second(Behavior::Well);
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "t");
    assert!(is_ready(&scene, SECOND_TENANT_ID));
}

#[test]
fn keys_of_each_tenant_outlive_a_restart_and_go_with_the_setting() {
    let scene = scene();
    let bob = || scene.attempt(scene.route(), BOB).with(of_second(&scene, BOB).mint());
    let file = scene.cluster.data_dir().join(format!("pgaad/keys-{SECOND_TENANT_ID}.json"));
    wait_until("it is written down", || file.exists());
    // What is wrong with the first tenant's file is not hidden by the second's, and the hint is about the right one.
    for (wrong, other) in
        [("keys.json", &file), (&*format!("keys-{SECOND_TENANT_ID}.json"), &file.with_file_name("keys.json"))]
    {
        let path = file.with_file_name(wrong);
        std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("our own directory");
        assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "t");
        let found = "SELECT coalesce(detail, '') FROM pgaad.check() WHERE item = 'keys_file'";
        wait_until("it is told of", || {
            scene.cluster.value(found).starts_with(&format!("pgaad/{wrong} cannot be written"))
        });
        let hint = scene.cluster.value("SELECT hint FROM pgaad.check() WHERE item = 'keys_file'");
        assert!(as_root("sh").args(["-c", &hint]).status().is_ok_and(|status| status.success()), "{hint}");
        assert!(other.is_file(), "{hint}");
        assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "t");
        wait_until("it is cured", || {
            path.is_file() && scene.cluster.value(found).contains("as far as tried")
        });
    }
    scene.tenant.stop();
    scene.cluster.restart();
    wait_until("the second tenant has keys", || is_ready(&scene, SECOND_TENANT_ID));
    bob().expect_admitted();
    let alice = scene.member();
    scene.attempt(scene.route(), &alice).expect_admitted();
    scene.tenant.start_again();
    // The other way round: names count of the one that is the first now.
    scene.cluster.set("pgaad.tenant_id", &format!("{SECOND_TENANT_ID}, {TENANT_ID}"));
    wait_until("alice is of no first tenant", || {
        let login = scene.attempt(scene.route(), &alice).login();
        matches!(login.outcome, pgaad_tests::wire::Outcome::Refused(_))
    });
    bob().expect_admitted();
    // Without it.
    scene.cluster.set("pgaad.tenant_id", TENANT_ID);
    wait_until("its keys are dropped", || {
        scene.cluster.value("SELECT count(DISTINCT tenant_id) FROM pgaad.keys") == "1"
    });
    bob().expect_refused("issuer_unknown");
    scene.attempt(scene.route(), &alice).expect_admitted();
    for nonsense in
        [format!("{TENANT_ID}, {TENANT_ID}"), format!("{TENANT_ID},"), both(&scene).replace(", ", " ")]
    {
        scene.cluster.set("pgaad.tenant_id", &nonsense);
        wait_until("it is refused", || {
            scene.cluster.value("SELECT coalesce(problem, '') FROM pgaad.status").contains("pgaad.tenant_id")
        });
    }
}
