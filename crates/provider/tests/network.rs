//! Networks as they are: names with dead addresses. Each test runs again in namespaces of its own, where a cable takes
//! everything and answers nothing, and `/etc/hosts` is the test's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may panic"
)]

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use std::{env, fs, process};

use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_provider::{FetchRequest, Route, fetch};

/// Set in the namespaces.
const INSIDE: &str = "PGAAD_TEST_INSIDE";

/// Runs a test of this file again, in namespaces whose `/etc/hosts` gives `localhost` these addresses; gives `true`
/// there.
///
/// Those of [`dead`] lead to a neighbour who is not there: what is sent to them vanishes, and nobody says so.
fn is_inside(test: &str, hosts: &[String]) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let directory = scratch(test);
    let file = directory.join("hosts");
    fs::write(
        &file,
        hosts.iter().map(|address| format!("{address} localhost provider.test\n")).collect::<String>(),
    )
    .expect("a file of ours");
    let script = format!(
        "set -e
         ip link set lo up
         ip link add dead0 type veth peer name dead1
         ip link set dead0 up
         ip link set dead1 up
         ip addr add 2001:db8::1/64 dev dead0 nodad
         for address in {}; do ip neigh add $address lladdr 02:00:00:00:00:01 dev dead0 nud permanent; done
         mount --bind {} /etc/hosts
         exec \"$@\"",
        dead(8).join(" "),
        file.display()
    );
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation=private", "sh", "-c", &script, "sh"])
        .arg(env::current_exe().expect("this test's binary"))
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare starts");
    fs::remove_dir_all(directory).expect("ours");
    assert!(status.success(), "{test}: {status}");
    false
}

fn scratch(name: &str) -> PathBuf {
    let directory = env::temp_dir().join(format!("pgaad-network-{name}-{}", process::id()));
    fs::create_dir_all(&directory).expect("a directory of ours");
    directory
}

/// Only root can make namespaces.
fn is_possible(test: &str) -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        eprintln!("SKIPPED (needs root: a network namespace): {test}");
    }
    is_root
}

fn request(authority: &str, route: Route) -> FetchRequest {
    let (authority, id) =
        (authority.parse().expect("an authority"), tenant::TENANT_ID.parse().expect("a GUID"));
    FetchRequest { tenant: Tenant::new(id, Cloud::Public, Some(authority)), route, jwks_file: None }
}

/// Keys arrive.
fn expect_keys(name: &str) {
    let directory = scratch(name);
    let provider = tenant::Tenant::start(&directory);
    let route = Route { ca_file: Some(provider.ca_file()), https_proxy: None };
    let request = request(&provider.authority(), route);
    let fetched = fetch(&request).expect("one address answers");
    assert!(!fetched.keys.keys().is_empty());
    drop(provider);
    fs::remove_dir_all(directory).expect("ours");
}

fn dead(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("2001:db8::dead:{number:x}")).collect()
}

#[test]
fn eight_dead_addresses_before_the_good_ones_do_not_matter() {
    const NAME: &str = "eight_dead_addresses_before_the_good_ones_do_not_matter";
    let hosts = [dead(8), vec!["127.0.0.1".to_owned()]].concat();
    if is_possible(NAME) && is_inside(NAME, &hosts) {
        expect_keys(NAME);
    }
}

#[test]
fn addresses_that_refuse_between_dead_ones_cost_nothing() {
    const NAME: &str = "addresses_that_refuse_between_dead_ones_cost_nothing";
    let refusing = (2..=8).map(|number| format!("127.0.0.{number}"));
    let hosts = dead(8).into_iter().chain(refusing).chain(["127.0.0.1".to_owned()]).collect::<Vec<_>>();
    if is_possible(NAME) && is_inside(NAME, &hosts) {
        expect_keys(NAME);
    }
}

#[test]
fn names_that_nobody_knows_are_told_from_hosts_that_nobody_reaches() {
    const NAME: &str = "names_that_nobody_knows_are_told_from_hosts_that_nobody_reaches";
    if !is_possible(NAME) || !is_inside(NAME, &["127.0.0.1".to_owned()]) {
        return;
    }
    let directory = scratch(NAME);
    let provider = tenant::Tenant::start(&directory);
    let to = |authority: &str, proxy: Option<&str>| {
        let route = Route { ca_file: Some(provider.ca_file()), https_proxy: proxy.map(str::to_owned) };
        let error = fetch(&request(authority, route)).expect_err("nobody answers");
        (error.code(), error.words().expect("it says of whom it speaks"))
    };
    let local = "https://localhost";
    for (authority, proxy, code, host) in [
        ("https://no-such-host.invalid", None, "name_unknown", "no-such-host.invalid:443: "),
        (local, Some("http://no-proxy.invalid:3128"), "proxy_name_unknown", "no-proxy.invalid:3128: "),
        ("https://192.0.2.1:8443", None, "unreachable", "192.0.2.1:8443: Network is unreachable"),
        (local, Some("http://192.0.2.1:3128"), "proxy_unreachable", "192.0.2.1:3128: "),
        ("https://[2001:db8::dead:1]", None, "timed_out", "[2001:db8::dead:1]:443: "),
    ] {
        let (said, words) = to(authority, proxy);
        assert_eq!((said.as_str(), words.starts_with(host)), (code, true), "{words}");
    }
    drop(provider);
    fs::remove_dir_all(directory).expect("ours");
}

#[test]
#[ignore = "a measurement: cargo test -p pgaad-provider --test network -- --ignored --nocapture"]
fn keys_take_about_as_long_as_curl_takes_for_the_same_documents() {
    const NAME: &str = "keys_take_about_as_long_as_curl_takes_for_the_same_documents";
    for count in [0, 1, 8] {
        let hosts = [dead(count), vec!["127.0.0.1".to_owned()]].concat();
        if !is_possible(NAME) || !is_inside(NAME, &hosts) {
            continue;
        }
        // Inside there is one turn, with the addresses that are there.
        let dead = fs::read_to_string("/etc/hosts").expect("ours").matches("2001:db8::").count();
        let directory = scratch(NAME);
        let provider = tenant::Tenant::start(&directory);
        let route = Route { ca_file: Some(provider.ca_file()), https_proxy: None };
        let request = request(&provider.authority(), route);
        let mut times: Vec<_> = (0..5)
            .map(|_| {
                let began = Instant::now();
                fetch(&request).expect("one address answers");
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        // curl knows localhost by itself.
        let host = provider.authority().replace("localhost", "provider.test");
        let keys = format!("{host}/{}/discovery/v2.0/keys", provider.tenant_id());
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "-w", "%{time_total} ", "-o", "/dev/null", "-o", "/dev/null"]);
        curl.arg(request.tenant.metadata_url().replace("localhost", "provider.test")).arg(keys);
        let curl = curl.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        eprintln!(
            "{dead} dead addresses: keys after {:?} (median of 5); curl, each document: {curl:?}",
            times[2]
        );
        drop(provider);
        fs::remove_dir_all(directory).expect("ours");
        return;
    }
}
