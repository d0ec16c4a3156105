//! The stand-in tenant, in a directory of its own, with an application that may read groups and users; and the data
//! directory of a server.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::settings::directory::Credential;
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_provider::Route;
use pgaad_provider::graph::{GraphRequest, LocalServices};
use tenant::Application;

pub(crate) const APP: &str = "5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9";
pub(crate) const SECRET: &str = "Q8~planted+secret/of=the&server%20";

pub(crate) struct Scene {
    pub(crate) tenant: tenant::Tenant,
    pub(crate) directory: PathBuf,
}

impl Scene {
    pub(crate) fn start(name: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let directory = std::env::temp_dir().join(format!("pgaad-directory-{name}-{since}"));
        let tenant = tenant::Tenant::start(&directory);
        fs::create_dir(directory.join("data")).expect("ours");
        let permissions = ["GroupMember.Read.All", "User.Read.All"].map(str::to_owned);
        let application = Application {
            secrets: vec![SECRET.to_owned()],
            permissions: BTreeSet::from(permissions),
            ..Application::default()
        };
        tenant.directory().applications.insert(APP.to_owned(), application);
        Self { tenant, directory }
    }

    pub(crate) fn id(&self) -> TenantId {
        self.tenant.tenant_id().parse().expect("a GUID")
    }

    /// The server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A file that only its owner may read.
    pub(crate) fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, content).expect("ours");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
        path
    }

    /// By the application's secret.
    pub(crate) fn request(&self) -> GraphRequest {
        let authority = self.tenant.authority();
        GraphRequest {
            tenant: Tenant::new(self.id(), Cloud::Public, authority.parse().ok()),
            route: Route { ca_file: Some(self.tenant.ca_file()), https_proxy: None },
            graph_url: authority.parse().expect("a URL"),
            credential: Some(Credential::SecretFile(self.secret("secret", &format!("{SECRET}\n")))),
            client_id: APP.parse().ok(),
            data_directory: self.data(),
            local: LocalServices::default(),
            time: Duration::from_secs(60),
            pause: Duration::from_millis(1),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Ours, and nobody looks into it any more; what cannot be removed is left in the temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn id(text: &str) -> ObjectId {
    text.parse().expect("an id")
}
