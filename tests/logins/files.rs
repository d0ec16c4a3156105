//! Files that the server reads for pgaad: what they are, how old they are, and whom they can hold up.

use pgaad_tests::account::{as_root, give_to_servers};
use pgaad_tests::log::LogMark;
use pgaad_tests::{Cluster, Installation, PamService, Scene, preload, process, run_directory, wait_until};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3_600);

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg("--mode=0666").arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    give_to_servers(path);
}

fn fifo() -> PathBuf {
    let path = run_directory::fresh("fifo");
    make_fifo(&path);
    path
}

/// A file with the tenant's keys of now.
fn key_file(scene: &Scene) -> PathBuf {
    let path = run_directory::fresh("jwks");
    fs::write(&path, scene.tenant.keys().jwks().to_string()).expect("our own file");
    path
}

fn set_age(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).expect("our own file");
    file.set_modified(SystemTime::now() - age).expect("our own file");
}

fn set_path(scene: &Scene, setting: &str, path: &Path) {
    scene.cluster.set(setting, &path.display().to_string());
}

fn refresh(scene: &Scene) -> bool {
    scene.cluster.value("SELECT pgaad.refresh()") == "t"
}

fn last_error(scene: &Scene) -> String {
    scene.cluster.value("SELECT coalesce(last_error, '') FROM pgaad.status")
}

fn detail(scene: &Scene, item: &str) -> String {
    scene.cluster.value(&format!(
        "SELECT coalesce(string_agg(detail, ' '), '') FROM pgaad.check() WHERE item = '{item}' AND NOT ok"
    ))
}

/// The server shuts down as PostgreSQL does, and is not killed because it does not.
fn stops(cluster: &Cluster) {
    let mark = cluster.log_mark();
    cluster.stop();
    let log = cluster.log_since(mark);
    assert!(log.contains("database system is shut down"), "{log}");
}

#[test]
fn what_is_no_regular_file_is_refused_as_key_file_and_holds_up_nothing() {
    let scene = Scene::start();
    let role = scene.member();
    for (path, words) in [
        (fifo(), "a FIFO"),
        (run_directory::path().to_owned(), "a directory"),
        ("/dev/zero".into(), "a device"),
        (scene.cluster.socket_dir().join(format!(".s.PGSQL.{}", scene.cluster.port())), "a socket"),
    ] {
        let mark = scene.cluster.log_mark();
        set_path(&scene, "pgaad.jwks_file", &path);
        assert!(!refresh(&scene), "{words}");
        assert_eq!(last_error(&scene), "jwks_file_not_regular");
        let words = format!("pgaad.jwks_file is {words} and not a regular file");
        scene.cluster.wait_for_log(mark, &words);
        assert!(detail(&scene, "keys").contains(&words), "{}", detail(&scene, "keys"));
        scene.attempt(scene.route(), &role).expect_refused("no_keys");
    }
    set_path(&scene, "pgaad.jwks_file", &key_file(&scene));
    assert!(refresh(&scene));
    scene.attempt(scene.route(), &role).expect_admitted();
    set_path(&scene, "pgaad.jwks_file", &fifo());
    assert!(!refresh(&scene));
    stops(&scene.cluster);
}

#[test]
fn fifo_as_ca_file_is_refused_and_the_keys_from_before_serve_on() {
    let scene = Scene::start();
    let role = scene.member();
    set_path(&scene, "pgaad.ca_file", &fifo());
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "ca_file_not_regular");
    assert!(detail(&scene, "keys").contains("pgaad.ca_file is a FIFO and not a regular file"));
    scene.attempt(scene.route(), &role).expect_admitted();
    set_path(&scene, "pgaad.ca_file", Path::new("/nowhere"));
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "ca_file_unusable");
    set_path(&scene, "pgaad.ca_file", &scene.tenant.ca_file());
    assert!(refresh(&scene));
    assert_eq!(detail(&scene, "keys"), "");
    set_path(&scene, "pgaad.ca_file", &fifo());
    stops(&scene.cluster);
}

/// As on a network file system whose server is gone: the call that opens the file never returns.
#[test]
fn file_system_that_does_not_answer_holds_up_neither_refresh_nor_stop() {
    let scene = Scene::with(|cluster| cluster.with_preload(preload::dead_mount()));
    let role = scene.member();
    let dead = run_directory::fresh("dead-mount");
    fs::write(&dead, scene.tenant.keys().jwks().to_string()).expect("our own file");
    set_path(&scene, "pgaad.ca_file", &dead);
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "ca_file_timed_out");
    scene.attempt(scene.route(), &role).expect_admitted();
    set_path(&scene, "pgaad.jwks_file", &dead);
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "jwks_file_timed_out");
    set_path(&scene, "pgaad.jwks_file", &key_file(&scene));
    assert!(refresh(&scene), "{}", last_error(&scene));
    scene.attempt(scene.route(), &role).expect_admitted();
    set_path(&scene, "pgaad.jwks_file", &dead);
    stops(&scene.cluster);
}

#[test]
fn keys_json_that_is_no_regular_file_is_told_of_and_replaced() {
    let scene = Scene::start();
    let role = scene.member();
    let file = scene.cluster.data_dir().join("pgaad/keys.json");
    assert_eq!(detail(&scene, "keys_file"), "");
    scene.tenant.stop();
    stops(&scene.cluster);
    fs::remove_file(&file).expect("the worker keeps its keys");
    make_fifo(&file);
    let mark = scene.cluster.log_mark();
    scene.cluster.start_again().expect("the server starts");
    let line = scene.cluster.wait_for_log(mark, "pgaad: cannot read pgaad/keys.json");
    assert!(line.contains("WARNING") && line.contains("is a FIFO and not a regular file"), "{line}");
    let words = detail(&scene, "keys_file");
    assert!(words.contains("pgaad/keys.json is a FIFO and not a regular file"), "{words}");
    scene.attempt(scene.route(), &role).expect_refused("no_keys");
    scene.tenant.start_again();
    assert!(refresh(&scene));
    scene.attempt(scene.route(), &role).expect_admitted();
    wait_until("what the file says is seen", || detail(&scene, "keys_file").is_empty());
    assert!(fs::metadata(&file).expect("a new file").is_file());
    // What lies in the way of the next draft holds up nothing either.
    make_fifo(&file.with_extension("json.new"));
    assert!(refresh(&scene) && refresh(&scene));
    assert_eq!(detail(&scene, "keys_file"), "");
    stops(&scene.cluster);
}

#[test]
fn keys_json_that_cannot_be_written_is_told_of() {
    let scene = Scene::start();
    let file = scene.cluster.data_dir().join("pgaad/keys.json");
    fs::remove_file(&file).expect("the worker keeps its keys");
    fs::create_dir(&file).expect("our own directory");
    let mark = scene.cluster.log_mark();
    assert!(refresh(&scene));
    let line = scene.cluster.wait_for_log(mark, "pgaad: cannot write pgaad/keys.json");
    assert!(line.contains("WARNING"), "{line}");
    wait_until("what the file says is seen", || {
        detail(&scene, "keys_file").contains("pgaad/keys.json cannot be written")
    });
    let hint = scene.cluster.value("SELECT hint FROM pgaad.check() WHERE item = 'keys_file'");
    let cured = as_root("sh").args(["-c", &hint]).status();
    assert!(cured.is_ok_and(|status| status.success()), "{hint}");
    assert!(refresh(&scene));
    wait_until("what the file says is seen", || detail(&scene, "keys_file").is_empty());
}

/// Else a `pg_basebackup` by a member of the group fails at them.
#[test]
fn keys_json_can_be_read_by_whom_the_data_directory_can() {
    let scene = Scene::start();
    let data = scene.cluster.data_dir();
    let modes = || {
        let mode = |path: PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        (mode(data.join("pgaad")), mode(data.join("pgaad/keys.json")))
    };
    wait_until("what the file says is seen", || data.join("pgaad/keys.json").exists());
    assert_eq!(modes(), (0o700, 0o600));
    scene.cluster.stop();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).expect("our own directory");
    scene.cluster.start_again().expect("the server starts");
    scene.cluster.wait_until_ready();
    assert!(refresh(&scene));
    wait_until("what the file says is seen", || modes() == (0o750, 0o640));
}

#[test]
fn fifo_as_pam_service_file_is_named_and_holds_up_nothing() {
    if !PamService::available() {
        return;
    }
    let scene = Scene::start();
    let service = scene.pam.as_ref().expect("there is one");
    assert_eq!(detail(&scene, "pam_file"), "");
    service.remove();
    let made = as_root("mkfifo").arg(service.path()).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    let mark = scene.cluster.log_mark();
    scene.cluster.reload();
    let line = scene.cluster.wait_for_log(mark, "item=pam_file");
    assert!(line.contains("is a FIFO and not a regular file"), "{line}");
    let words = detail(&scene, "pam_file");
    assert!(words.contains("is a FIFO and not a regular file"), "{words}");
    stops(&scene.cluster);
}

#[test]
fn key_file_is_as_old_as_its_last_change_and_max_stale_holds_for_it() {
    let scene = Scene::start();
    let role = scene.member();
    let file = key_file(&scene);
    let is_between = |least: &str, most: &str| {
        scene.cluster.value(&format!("SELECT age BETWEEN '{least}' AND '{most}' FROM pgaad.status")) == "t"
    };
    let ready = || scene.cluster.value("SELECT ready FROM pgaad.status");
    set_age(&file, 90 * 24 * HOUR);
    set_path(&scene, "pgaad.jwks_file", &file);
    assert!(refresh(&scene), "it was read");
    assert!(is_between("90 days", "90 days 10 minutes"));
    assert_eq!(ready(), "f");
    scene.attempt(scene.route(), &role).expect_refused("keys_stale");
    assert!(detail(&scene, "keys").contains("keys_stale key_age_s=777"), "{}", detail(&scene, "keys"));

    set_age(&file, 23 * HOUR);
    assert!(refresh(&scene));
    assert!(is_between("23 hours", "23 hours 10 minutes"));
    assert_eq!(ready(), "t");
    scene.attempt(scene.route(), &role).expect_admitted();
    let seen = "SELECT bool_and(last_seen < now() - interval '22 hours') FROM pgaad.keys";
    assert_eq!(scene.cluster.value(seen), "t");

    scene.cluster.set("pgaad.max_stale", "22h");
    scene.attempt(scene.route(), &role).expect_refused("keys_stale");
}

#[test]
fn key_file_dated_in_the_future_is_not_used() {
    let scene = Scene::start();
    let role = scene.member();
    let file = key_file(&scene);
    let set_ahead = |ahead: Duration| {
        let file = File::options().write(true).open(&file).expect("our own file");
        file.set_modified(SystemTime::now() + ahead).expect("our own file");
    };
    set_ahead(HOUR);
    set_path(&scene, "pgaad.jwks_file", &file);
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "jwks_file_from_the_future");
    scene.attempt(scene.route(), &role).expect_refused("no_keys");
    set_ahead(Duration::ZERO);
    assert!(refresh(&scene));
    scene.attempt(scene.route(), &role).expect_admitted();
}

#[test]
fn keys_of_a_file_that_is_no_longer_configured_die_with_the_reload() {
    let scene = Scene::start();
    let role = scene.member();
    let by_old_key = scene.token(&role).mint();
    // A key that only the file has: the provider is away from now on.
    scene.tenant.rotate();
    let by_new_key = scene.token(&role).mint();
    let attempt = |token: &str| scene.attempt(scene.route(), &role).with(token);
    let file = key_file(&scene);
    scene.tenant.stop();
    let mark = scene.cluster.log_mark();
    set_path(&scene, "pgaad.jwks_file", &file);
    assert!(refresh(&scene));
    attempt(&by_new_key).expect_admitted();
    scene.cluster.wait_for_log(mark, "pgaad: keys dropped");

    // A login that is faster than the worker does not find them either.
    let [worker] = scene.cluster.processes("pgaad key worker")[..] else { panic!("one worker") };
    process::signal(worker, "STOP");
    scene.cluster.set("pgaad.jwks_file", "");
    attempt(&by_new_key).expect_refused("no_keys");
    let mark = scene.cluster.log_mark();
    process::signal(worker, "CONT");
    // The provider's own keys of before follow, from disk.
    scene.cluster.wait_for_log(mark, "pgaad: keys restored");
    attempt(&by_new_key).expect_refused("key_unknown");
    attempt(&by_old_key).expect_admitted();

    set_path(&scene, "pgaad.jwks_file", &file);
    assert!(refresh(&scene));
    attempt(&by_new_key).expect_admitted();
    set_path(&scene, "pgaad.jwks_file", Path::new("/nowhere/jwks.json"));
    attempt(&by_new_key).expect_refused("no_keys");
    assert_eq!(scene.cluster.value("SELECT count(*) FROM pgaad.keys"), "0");
}

#[test]
fn key_file_that_says_that_there_are_no_keys_is_believed_and_what_is_no_key_set_loses_nothing() {
    let scene = Scene::start();
    let role = scene.member();
    let file = key_file(&scene);
    let good = fs::read_to_string(&file).expect("our own file");
    set_path(&scene, "pgaad.jwks_file", &file);
    assert!(refresh(&scene));
    let key = scene.tenant.keys().jwks()["keys"][0].to_string();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (broken, words) in [
        (&good.as_bytes()[..good.len() / 2], "ends in the middle, after "),
        (b"", "is empty"),
        (b"{\"keys\":[],}", "is not JSON from byte 12 on: trailing comma"),
        (b"<html>", "is HTML or XML"),
        (format!("\u{feff}{good}").as_bytes(), "begins with a byte order mark"),
        (&utf16, "is UTF-16 or binary"),
        (&fs::read(scene.tenant.ca_file()).expect("the tenant's own"), "is a certificate in PEM"),
        (key.as_bytes(), "is a single key"),
        (format!("[{key}]").as_bytes(), "is an array and not an object"),
        (b"{\"issuer\":\"x\",\"jwks_uri\":\"y\"}", "is the OpenID metadata"),
        (b"{}", "has no array keys"),
    ] {
        let mark = scene.cluster.log_mark();
        fs::write(&file, broken).expect("our own file");
        assert!(!refresh(&scene), "{words}");
        let line = scene.cluster.wait_for_log(mark, "key refresh failed: code=keys_malformed");
        assert!(line.contains(&format!("cause=\"pgaad.jwks_file: the key set {words}")), "{words}: {line}");
        assert!(detail(&scene, "keys").contains(words), "{words}: {}", detail(&scene, "keys"));
        scene.attempt(scene.route(), &role).expect_admitted();
    }
    fs::remove_file(&file).expect("our own file");
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "jwks_file_unreadable");
    scene.attempt(scene.route(), &role).expect_admitted();
    for (none, words) in [
        ("{\"keys\":[]}", "pgaad.jwks_file has no key; the keys from before are dropped"),
        ("{\"keys\":[{\"kty\":\"oct\"}]}", "one is not RSA; the keys from before are dropped"),
    ] {
        fs::write(&file, &good).expect("our own file");
        assert!(refresh(&scene));
        scene.attempt(scene.route(), &role).expect_admitted();
        fs::write(&file, none).expect("our own file");
        assert!(!refresh(&scene), "{none}");
        assert!(detail(&scene, "keys").contains(words), "{words}: {}", detail(&scene, "keys"));
        scene.attempt(scene.route(), &role).expect_refused("no_keys");
        assert_eq!(scene.cluster.value("SELECT keys FROM pgaad.status"), "0");
    }
}

#[test]
fn keys_of_another_tenant_are_dropped_with_the_reload() {
    let scene = Scene::start();
    assert_ne!(scene.cluster.value("SELECT keys FROM pgaad.status"), "0");
    scene.tenant.stop();
    let mark = scene.cluster.log_mark();
    scene.cluster.set("pgaad.tenant_id", tenant::CONSUMER_TENANT_ID);
    scene.cluster.wait_for_log(mark, "pgaad: keys dropped");
    assert_eq!(scene.cluster.value("SELECT keys FROM pgaad.status"), "0");
}

/// What a fetch met while the settings were bad says nothing once they are good, even before the worker knows.
#[test]
fn error_of_settings_is_over_when_the_settings_are_good() {
    let scene = Scene::start();
    let tenant = scene.tenant.tenant_id();
    scene.cluster.set("pgaad.tenant_id", "");
    assert!(!refresh(&scene));
    assert_eq!(last_error(&scene), "not_configured");
    let problem = "SELECT coalesce(problem, '') FROM pgaad.status";
    assert_eq!(scene.cluster.value(problem), "pgaad.tenant_id is not set");
    let [worker] = scene.cluster.processes("pgaad key worker")[..] else { panic!("one worker") };
    process::signal(worker, "STOP");
    scene.cluster.set("pgaad.tenant_id", &tenant);
    assert_eq!((last_error(&scene), scene.cluster.value(problem)), (String::new(), String::new()));
    process::signal(worker, "CONT");
    assert!(refresh(&scene));
    assert_eq!(detail(&scene, "keys"), "");
}

#[test]
fn times_after_2038_are_what_they_are() {
    // 2040-01-01 at the earliest.
    let ahead = 2_208_988_800 - i64::try_from(unix_now()).expect("a time");
    let scene =
        Scene::on(&Installation::pgaad(), |cluster| cluster.with_preload(preload::clock_ahead(ahead)));
    let role = scene.member();
    scene.attempt(scene.route(), &role).expect_refused("expired");
    let span = "BETWEEN '2040-01-01 00:00:00+00' AND '2040-01-01 12:00:00+00'";
    for query in [
        "SELECT bool_and(at BETWEEN) FROM pgaad.events",
        "SELECT bool_and(last_at BETWEEN AND since BETWEEN) FROM pgaad.stat_logins",
        "SELECT bool_and(first_seen BETWEEN AND last_seen BETWEEN) FROM pgaad.keys",
        "SELECT last_success BETWEEN AND next_refresh BETWEEN FROM pgaad.status",
    ] {
        let query = query.replace("BETWEEN", span);
        assert_eq!(scene.cluster.value(&query), "t", "{query}");
    }
}

#[test]
fn ages_of_more_than_sixty_eight_years_are_what_they_are() {
    let scene = Scene::start();
    let file = key_file(&scene);
    let scene_later = Scene::on(&Installation::pgaad(), |cluster| {
        // The year 9990: four digits are all that a timestamp of PostgreSQL's shows plainly.
        cluster
            .with_preload(preload::clock_ahead(251_000_000_000))
            .conf("pgaad.jwks_file", file.display().to_string())
    });
    let query = "SELECT age > '7900 years' AND age < '8100 years' \
                 AND last_success > '9900-01-01' AND last_success < '9999-12-31' \
                 FROM pgaad.status";
    assert_eq!(scene_later.cluster.value(query), "t");
    drop(scene);
    let log = scene_later.cluster.log_since(LogMark::START);
    assert!(!log.contains("internal error"), "{log}");
}

fn unix_now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}
