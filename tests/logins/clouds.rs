//! Keys of another Microsoft cloud in a genuine key set, and keys that share a name with one of ours.

use pgaad_tests::{Installation, Scene, run_directory, wait_until};
use serde_json::Value;
use tenant::{Behavior, Signer};

fn refresh(scene: &Scene) {
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh()"), "t");
}

fn admits(scene: &Scene, signer: &Signer) {
    let role = scene.member();
    let token = scene.token(&role).signed_by(signer.clone());
    for minted in [token.mint(), token.v2().mint()] {
        scene.attempt(scene.route(), &role).with(minted).expect_admitted();
    }
}

fn refuses(scene: &Scene, signer: &Signer) {
    let role = scene.member();
    let token = scene.token(&role).signed_by(signer.clone());
    for minted in [token.mint(), token.v2().mint()] {
        let line = scene.attempt(scene.route(), &role).with(minted).expect_refused("key_issuer_mismatch");
        assert!(line.contains(" member=cloud_instance_name found=\""), "{line}");
    }
}

/// The tenant's metadata with this for a `cloud_instance_name`.
fn metadata_of(scene: &Scene, cloud: Option<&str>) -> Behavior {
    let mut metadata = scene.tenant.keys().metadata();
    match cloud {
        Some(cloud) => metadata["cloud_instance_name"] = cloud.into(),
        None => drop(metadata.as_object_mut().expect("an object").remove("cloud_instance_name")),
    }
    Behavior::Body { metadata: Some(metadata.to_string()), jwks: None }
}

#[test]
fn key_signs_in_the_cloud_that_the_metadata_names_only() {
    let scene = Scene::start();
    admits(&scene, &Signer::Current);
    refuses(&scene, &Signer::OtherCloud);
    scene.tenant.set_behavior(metadata_of(&scene, Some("microsoftonline.us")));
    refresh(&scene);
    admits(&scene, &Signer::OtherCloud);
    refuses(&scene, &Signer::Current);
    // A hand-made authority that names no cloud leaves nothing to compare with.
    for silent in [None, Some("")] {
        scene.tenant.set_behavior(metadata_of(&scene, silent));
        refresh(&scene);
        admits(&scene, &Signer::OtherCloud);
        admits(&scene, &Signer::Current);
    }
}

#[test]
fn restart_without_the_provider_keeps_the_cloud_of_the_keys() {
    let scene = Scene::start();
    let snapshot = scene.cluster.data_dir().join("pgaad/keys.json");
    let read = || std::fs::read_to_string(&snapshot).unwrap_or_default();
    wait_until("the keys are kept", || read().contains("microsoftonline.com"));
    let mut stored: Value = serde_json::from_str(&read()).expect("it was written");
    assert_eq!(stored["cloud"], "microsoftonline.com");
    scene.tenant.stop();
    let restored = |start: &dyn Fn()| {
        let mark = scene.cluster.log_mark();
        start();
        scene.cluster.wait_for_log(mark, "pgaad: keys restored:");
    };
    restored(&|| scene.cluster.restart());
    admits(&scene, &Signer::Current);
    refuses(&scene, &Signer::OtherCloud);
    // As versions before wrote it.
    scene.cluster.stop();
    stored.as_object_mut().expect("an object").remove("cloud");
    scene.cluster.write_as_server("pgaad/keys.json", &stored.to_string());
    restored(&|| scene.cluster.start_again().expect("it starts"));
    admits(&scene, &Signer::Current);
}

#[test]
fn key_file_is_compared_with_the_preset_cloud() {
    let tenant = tenant::Keys::generate("https://login.microsoftonline.com");
    let file = run_directory::fresh("jwks");
    std::fs::write(&file, tenant.jwks().to_string()).expect("the run's directory is writable");
    let scene = Scene::on(&Installation::pgaad(), |cluster| {
        cluster.conf("pgaad.authority", "").conf("pgaad.jwks_file", file.display().to_string())
    });
    let role = scene.member();
    let token = |signer| tenant.token().user(&role).signed_by(signer).mint();
    let attempt = |signer| scene.attempt(scene.route(), &role).with(token(signer));
    attempt(Signer::Current).expect_admitted();
    let line = attempt(Signer::OtherCloud).expect_refused("key_issuer_mismatch");
    let facts = " member=cloud_instance_name found=\"microsoftonline.us\" wanted=\"microsoftonline.com\"";
    assert!(line.contains(facts), "{line}");
}

#[test]
fn foreign_key_of_the_name_of_ours_takes_no_login_from_us() {
    let scene = Scene::start();
    let kid = scene.tenant.keys().kid(&Signer::Current);
    let publish = |change: &dyn Fn(&mut Value)| {
        let mut jwks = scene.tenant.keys().jwks();
        let entries = jwks["keys"].as_array_mut().expect("keys");
        let other = entries.iter().find(|key| key["kid"] != *kid).cloned().expect("another key");
        let mut twin = entries.iter().find(|key| key["kid"] == *kid).cloned().expect("our key");
        change(&mut twin);
        if twin["n"] == "other" {
            twin["n"] = other["n"].clone();
        }
        entries.insert(0, twin);
        scene.tenant.set_behavior(Behavior::Body { metadata: None, jwks: Some(jwks.to_string()) });
        refresh(&scene);
    };
    let foreign = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    publish(&|twin| twin["issuer"] = foreign.into());
    admits(&scene, &Signer::Current);
    publish(&|twin| (twin["issuer"], twin["n"]) = (foreign.into(), "other".into()));
    admits(&scene, &Signer::Current);
    publish(&|twin| twin["cloud_instance_name"] = "microsoftonline.us".into());
    admits(&scene, &Signer::Current);
    publish(&|twin| drop(twin.as_object_mut().expect("a key").remove("issuer")));
    admits(&scene, &Signer::Current);
    // One that could sign for this tenant as well takes both away.
    publish(&|twin| twin["n"] = "other".into());
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_refused("key_unknown");
    admits(&scene, &Signer::Second);
}
