//! Where samples run: a server with the roles that they name, and a stand-in for the Azure CLI, by which Microsoft's
//! own libraries find a developer's token.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pgaad_tests::scene::quoted;
use pgaad_tests::{Installation, Scene, account, run_directory, tls};

pub(crate) const CLIENT_ID: &str = "11111111-2222-3333-4444-555555555555";
const PROGRAM: &str = "aaaaaaaa-0000-4000-8000-00000000000a";
pub(crate) const HUMAN: &str = "alice@example.com";

/// Where `.ci/samples` has put the drivers.
pub(crate) fn drivers() -> PathBuf {
    let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/samples");
    assert!(drivers.join(".done").exists(), "the drivers are missing: .ci/samples");
    drivers
}

/// Answers what the samples and `azure-identity` ask of `az account get-access-token`, for the one audience.
const AZ: &str = r#"#!/bin/sh
resource= query= account=
[ "$1 $2" = 'account get-access-token' ] || { echo "az $*: unexpected" >&2; exit 1; }
shift 2
while [ $# -gt 0 ]; do
    case $1 in
    --resource) resource=$2; shift ;;
    --scope) resource=${2%/.default}; shift ;;
    --query) query=$2; shift ;;
    -o | --output | --tenant) shift ;;
    esac
    shift
done
[ "$resource" = "$AUDIENCE" ] || { echo "no token for $resource" >&2; exit 1; }
token=$(cat "$TOKEN_FILE")
if [ "$query" = accessToken ]; then echo "$token"; exit; fi
printf '{"accessToken": "%s", "expiresOn": "%s", "expires_on": %s, "tokenType": "Bearer"}\n' \
    "$token" "$(date -d '+1 hour' '+%Y-%m-%d %H:%M:%S.000000')" "$(date -d '+1 hour' +%s)"
"#;

/// A server as the documents have one, and a directory to run a sample in.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) directory: PathBuf,
    audience: String,
}

impl Stage {
    /// For the audience of an application. `None`, which it says, where the server knows no TLS: the samples use
    /// nothing else.
    pub(crate) fn set() -> Option<Self> {
        Self::set_for(&format!("api://{CLIENT_ID}"))
    }

    /// As [`Stage::set`], for another audience.
    pub(crate) fn set_for(audience: &str) -> Option<Self> {
        if !Installation::is_built_with("openssl") {
            pgaad_tests::skipped("needs a PostgreSQL built with OpenSSL");
            return None;
        }
        let scene = Scene::with(|cluster| {
            cluster
                .conf("pgaad.audience", format!("{audience}, {CLIENT_ID}"))
                .conf("pgaad.scope", "user_impersonation")
        });
        scene.cluster.sql(&format!(
            "CREATE USER {} IN ROLE azure_ad_user; CREATE USER robot IN ROLE azure_ad_user; \
             SECURITY LABEL FOR pgaadauth ON ROLE robot IS 'aadauth,oid={PROGRAM},type=service'",
            quoted(HUMAN)
        ));
        let directory = run_directory::fresh("sample");
        let stage = Self { scene, directory, audience: audience.to_owned() };
        let human = stage.scene.token(HUMAN).claim("aud", audience).mint();
        let program = stage.scene.tenant.token().app(PROGRAM).claim("aud", audience).mint();
        stage.write(HUMAN, &human);
        stage.write("robot", &program);
        stage.write("ca.pem", &tls::certificate().0);
        // Where JDBC looks.
        stage.write(".postgresql/root.crt", &tls::certificate().0);
        let az = stage.write("bin/az", AZ);
        fs::set_permissions(az, fs::Permissions::from_mode(0o755)).expect("our own file");
        symlink(drivers().join("node/node_modules"), stage.directory.join("node_modules")).expect("a link");
        Some(stage)
    }

    /// Writes a file of the sample's, and tells where.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("our own directory");
        fs::write(&path, text).expect("our own file");
        path
    }

    /// A sample, with this server's names for those that a reader puts their own for.
    pub(crate) fn put_in(&self, sample: &str) -> String {
        let database = self.scene.route().database();
        let mut text = sample.replace("<client id>", CLIENT_ID);
        for (theirs, ours) in [
            ("dbname=app", format!("dbname={database}")),
            ("database: 'app'", format!("database: '{database}'")),
            ("\"NAME\": \"app\"", format!("\"NAME\": \"{database}\"")),
            ("db.example.com/app", format!("localhost:{}/{database}", self.scene.cluster.port())),
            ("db.example.com", "localhost".to_owned()),
        ] {
            text = text.replace(theirs, &ours);
        }
        text
    }

    /// Runs a command, with the token of this role to be had, and gives what it wrote.
    pub(crate) fn run(&self, role: &str, command: &[&str], input: &str) -> String {
        let output = self.output(role, command, input);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {} {told}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn output(&self, role: &str, command: &[&str], input: &str) -> Output {
        let [program, arguments @ ..] = command else { panic!("no command") };
        let mut command = Command::new(program);
        account::clean_environment(&mut command);
        let paths = std::env::var("PATH").unwrap_or_default();
        let psql = self.scene.cluster.installation().program("psql");
        let psql = psql.parent().expect("a directory");
        let bin = self.directory.join("bin");
        let mut child = command
            .args(arguments)
            .current_dir(&self.directory)
            .env("PATH", format!("{}:{}:{paths}", bin.display(), psql.display()))
            .env("HOME", &self.directory)
            .env("PYTHONPATH", &self.directory)
            .env("PGPORT", self.scene.cluster.port().to_string())
            .env("PGSSLROOTCERT", self.directory.join("ca.pem"))
            .env("AUDIENCE", &self.audience)
            .env("TOKEN_FILE", self.directory.join(role))
            // Else azure-identity looks for a managed identity first.
            .env("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }
}
