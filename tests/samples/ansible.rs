//! Ansible's own modules, as `docs/migrating-from-azure.md` uses them: made, changed, read back, destroyed, each twice,
//! and no change where nothing is to be changed.

use std::path::Path;
use std::process::Command;

use pgaad_tests::document::Section;
use pgaad_tests::{Scene, account, run_directory};
use tenant::object_id;

use crate::stage::drivers;

const MIGRATING: &str = include_str!("../../docs/migrating-from-azure.md");
const ANN: &str = "ann@contoso.com";

/// Runs a playbook, and tells how many of its tasks have changed something.
fn changes(scene: &Scene, playbook: &str) -> usize {
    let directory = run_directory::fresh("playbook");
    std::fs::create_dir_all(&directory).expect("our own directory");
    let file = directory.join("playbook.yaml");
    let login = format!(
        "login_user: postgres\n      login_unix_socket: {}\n      login_port: {}",
        scene.cluster.socket_dir().display(),
        scene.cluster.port()
    );
    std::fs::write(&file, playbook.replace("login_user: postgres", &login)).expect("our own file");
    let python = drivers().join("python/bin");
    let mut command = Command::new(python.join("ansible-playbook"));
    account::clean_environment(&mut command);
    let output = command
        .arg(&file)
        .args(["--extra-vars", &format!("ansible_python_interpreter={}", python.join("python").display())])
        .current_dir(&directory)
        .env("HOME", &directory)
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_COLLECTIONS_PATH", drivers())
        .env("ANSIBLE_NOCOLOR", "1")
        .output()
        .expect("ansible-playbook");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let changed = said.rsplit_once("changed=").expect("a recap").1;
    changed.split_whitespace().next().and_then(|count| count.parse().ok()).expect("a number")
}

#[test]
fn roles_are_made_changed_read_back_and_destroyed_without_drift() {
    assert!(Path::new(&drivers()).join("ansible_collections/community/postgresql").exists(), ".ci/samples");
    let scene = Scene::start();
    scene.cluster.sql("CREATE ROLE readers");
    let create = Section::of(MIGRATING, "Ansible").sample("yaml").replace("<object id>", &object_id(ANN));
    assert_eq!((changes(&scene, &create), changes(&scene, &create)), (2, 0));
    let token = || scene.token(ANN).mint();
    for route in scene.token_routes() {
        scene.attempt(route, ANN).with(token()).expect_admitted();
    }

    let change = create.replace("conn_limit: 10", "conn_limit: 20");
    assert_eq!((changes(&scene, &change), changes(&scene, &change)), (1, 0));
    let exact =
        create.replace("        source_role: readers\n", "        groups: [azure_ad_user, readers]\n");
    let exact = exact + "\n        state: exact\n";
    assert!(exact.contains("state: exact") && exact.contains("groups: [azure_ad_user"));
    assert_eq!(changes(&scene, &exact), 1, "conn_limit is 10 again, and no membership is another");
    scene.attempt(scene.route(), ANN).with(token()).expect_admitted();
    // As the document says, one that does not name it takes it away.
    let forgetful = exact.replace("[azure_ad_user, readers]", "[readers]");
    assert_eq!(changes(&scene, &forgetful), 1);
    scene.attempt(scene.route(), ANN).with(token()).expect_refused("role_not_member");

    let absent = create.split("    - name: Its attributes").next().expect("a beginning");
    let absent = absent.split("  tasks:\n").next().expect("a beginning").to_owned()
        + "  tasks:\n    - community.postgresql.postgresql_user: { name: ann@contoso.com, state: absent }\n";
    assert_eq!((changes(&scene, &absent), changes(&scene, &absent)), (1, 0));
    let labels = "SELECT count(*) FROM pg_shseclabel WHERE provider = 'pgaadauth'";
    assert_eq!(scene.cluster.value(labels), "0");
}
