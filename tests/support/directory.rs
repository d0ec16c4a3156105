//! A server that reads the stand-in's directory, with an application that may read all that pgaad asks for.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tenant::{Application, Tenant};

use crate::account::give_to_servers;
use crate::cluster::Cluster;
use crate::run_directory;
use crate::scene::Scene;

/// The application's client id.
pub const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
/// Its secret.
pub const SECRET: &str = "Q8~planted+secret/of=the&server%20";

/// A file with a secret that the server may read, and nobody else.
pub fn secret_file(content: &str) -> String {
    let path = run_directory::fresh("secret");
    fs::write(&path, content).expect("our own directory");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("our own file");
    give_to_servers(&path);
    path.display().to_string()
}

/// A scene whose server reads the directory, each time that it is asked to.
pub fn scene_with(configure: impl FnOnce(Cluster) -> Cluster) -> Scene {
    let scene = Scene::with(|cluster| configure(settings(cluster)));
    prepare(&scene);
    scene
}

/// The settings of the directory, all but where Graph is: that depends on the port of the stand-in.
pub fn settings(cluster: Cluster) -> Cluster {
    cluster
        .conf("pgaad.directory", "on")
        .conf("pgaad.directory_client_id", APP)
        .conf("pgaad.directory_credential", format!("secret_file:{}", secret_file(SECRET)))
        .conf("pgaad.directory_interval", "1d")
}

/// Registers the application, and tells the server where Graph is.
pub fn prepare(scene: &Scene) {
    register(&scene.tenant);
    scene.cluster.set("pgaad.graph_url", &scene.tenant.authority());
}

/// Registers the application, with the permissions for groups, users and programs.
pub fn register(tenant: &Tenant) {
    let permissions = ["GroupMember.Read.All", "User.Read.All", "Application.Read.All"].map(str::to_owned);
    let application = Application {
        secrets: vec![SECRET.to_owned()],
        permissions: BTreeSet::from(permissions),
        ..Application::default()
    };
    tenant.directory().applications.insert(APP.to_owned(), application);
}
