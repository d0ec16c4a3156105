//! The kit of `monitoring/`: Debian's exporter asks a real server, Debian's Prometheus asks the exporter, and every
//! expression of the dashboard has a value.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pgaad_tests::{Route, directory, run_directory, wait_until};
use serde_json::Value;

fn kit(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring").join(file)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        run_directory::remember_process(child.id());
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        run_directory::forget_process(self.0.id());
    }
}

fn fetch(url: &str, fields: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--get", "--max-time", "20", url]);
    for (name, value) in fields {
        command.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    let output = command.output().expect("curl");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

struct Prometheus {
    port: u16,
    _running: Running,
}

impl Prometheus {
    /// Asks the exporter each second, and has the rules of the kit.
    fn start(exporter: u16) -> Self {
        let (directory, port) = (run_directory::fresh("prometheus"), free_port());
        fs::create_dir_all(&directory).expect("our own directory");
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\n\
             scrape_configs:\n  - job_name: postgres\n    static_configs: [{{ targets: ['127.0.0.1:{exporter}'] }}]\n",
            kit("alerts.yaml").display()
        );
        let file = directory.join("prometheus.yaml");
        fs::write(&file, configuration).expect("our own file");
        let running = Running::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}")),
        );
        Self { port, _running: running }
    }

    /// The series that an expression gives.
    fn query(&self, expression: &str) -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let Some(answer) = fetch(&url, &[("query", expression)]) else { return Vec::new() };
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    fn has(&self, expression: &str) -> bool {
        !self.query(expression).is_empty()
    }
}

/// The expressions of the dashboard, with what Grafana puts in for its variables.
fn expressions() -> Vec<String> {
    let dashboard = fs::read_to_string(kit("dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let targets = |panel: &Value| panel["targets"].as_array().cloned().unwrap_or_default();
    let panels = dashboard["panels"].as_array().expect("panels");
    let expressions = panels.iter().flat_map(targets).map(|target| {
        let expression = target["expr"].as_str().expect("an expression").to_owned();
        expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
    });
    expressions.collect()
}

#[test]
fn exporter_rules_and_dashboard_see_a_server_and_what_is_wrong_with_it() {
    let scene = directory::scene_with(|cluster| cluster);
    let group = scene.tenant.directory().add_group("analysts", &[]);
    let bound =
        format!("SELECT pgaadauth_create_principal_with_oid('analysts', '{group}', 'group', false, false)");
    scene.cluster.sql(&bound);
    assert_eq!(scene.cluster.value("SELECT pgaad.refresh_directory()"), "t");
    let database = Route::Password.database();
    // As docs/monitoring.md has the role.
    scene.cluster.sql("CREATE ROLE monitoring LOGIN PASSWORD 'secret' IN ROLE pg_monitor");
    let granted = "GRANT EXECUTE ON FUNCTION pgaad.check() TO monitoring";
    scene.cluster.try_sql_in(database, granted).expect("granted");
    let role = scene.member();
    let _session = scene.attempt(scene.route(), &role).expect_admitted();

    let exporter = free_port();
    let _exporter = Running::start(
        Command::new("prometheus-postgres-exporter")
            .arg(format!("--extend.query-path={}", kit("queries.yaml").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{exporter}"))
            .env(
                "DATA_SOURCE_NAME",
                format!(
                    "postgresql://monitoring:secret@127.0.0.1:{}/{database}?sslmode=disable",
                    scene.cluster.port()
                ),
            ),
    );
    let metrics = || fetch(&format!("http://127.0.0.1:{exporter}/metrics"), &[]).unwrap_or_default();
    wait_until("the exporter has a login", || metrics().contains("pgaad_logins_total{code=\"admitted\""));
    let queries = fs::read_to_string(kit("queries.yaml")).expect("the queries");
    let shown = metrics();
    let names = queries.split("\npgaad_").skip(1).flat_map(|query| {
        let space = query.split(':').next().unwrap_or_default();
        let metrics =
            query.lines().filter(|line| line.contains("usage: GAUGE") || line.contains("usage: COUNTER"));
        metrics.map(move |line| {
            let name = line.trim().trim_start_matches("- ").split(':').next().unwrap_or_default();
            format!("pgaad_{space}_{name}{{")
        })
    });
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 22, "{names:?}");
    // A secret does not say when it expires.
    for name in names.iter().filter(|name| !name.contains("credential_expires")) {
        // Whether the clock is right is known once the provider has answered with a date.
        assert!(shown.contains(name), "{name}\n{shown}");
    }

    let prometheus = Prometheus::start(exporter);
    wait_until("Prometheus has asked", || prometheus.has("pgaad_status_ready == 1"));
    assert!(
        !prometheus
            .has("ALERTS{alertname=~\"PgaadNotReady|PgaadProblem|PgaadDirectoryFails|PgaadGroupNotReady\"}")
    );
    scene.attempt(scene.route(), &role).with("nonsense").expect_refused("malformed_token");
    for expression in expressions() {
        wait_until(&expression, || prometheus.has(&expression));
    }
    // The scene lets members in over trust, which check() calls a hole.
    wait_until("a hole is seen", || {
        prometheus.has("ALERTS{alertname=\"PgaadHole\", item=\"members_guarded\"}")
    });
    scene.cluster.set("pgaad.max_stale", "a while");
    for alert in ["PgaadNotReady", "PgaadProblem"] {
        wait_until(alert, || prometheus.has(&format!("ALERTS{{alertname=\"{alert}\"}}")));
    }
    assert!(prometheus.has("pgaad_status_keys"), "a setting that cannot be used blinds nobody");
}

#[test]
fn each_alert_speaks_when_it_should_and_is_silent_before() {
    let checked = Command::new("promtool").args(["test", "rules"]).arg(kit("alerts.test.yaml")).output();
    let checked = checked.expect("promtool");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
