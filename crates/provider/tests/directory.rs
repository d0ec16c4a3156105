//! The directory, read from a Graph that is well, ill or hostile, without a server of PostgreSQL's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod scene;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pgaad_core::directory::AccountState;
use pgaad_core::directory::members::MAX_MEMBERS;
use pgaad_core::guid::ObjectId;
use pgaad_core::settings::directory::{Credential, Programs};
use pgaad_core::time::UnixTime;
use pgaad_provider::Route;
use pgaad_provider::graph::{Graph, GraphError, GraphRequest, GroupRead, LocalServices};
use tenant::{ClientCertificate, Kind, Trouble};

use scene::{APP, SECRET, Scene, id};

const JOB: &str = "b1946ac9-2492-4ef8-9d3a-7f1f6c2d8e54";

impl Scene {
    fn read(&self, group: &str) -> Result<GroupRead, GraphError> {
        Graph::new(self.request()).read_group(id(group), true, Programs::Cast)
    }

    /// The members, by a credential.
    fn read_by(&self, credential: Credential) -> Result<GroupRead, GraphError> {
        let group = self.tenant.directory().add_group("by credential", &[]);
        let request = GraphRequest { credential: Some(credential), ..self.request() };
        Graph::new(request).read_group(id(&group), true, Programs::Cast)
    }
}

fn ids<'a>(texts: impl IntoIterator<Item = &'a String>) -> BTreeSet<ObjectId> {
    texts.into_iter().map(|text| id(text)).collect()
}

fn members(read: GroupRead) -> BTreeSet<ObjectId> {
    read.members.into_iter().collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, GraphError>) -> String {
    result.expect_err("an error").code()
}

#[test]
fn nested_groups_with_a_circle_and_a_diamond_are_read_whole_and_devices_are_nobody() {
    let scene = Scene::start("nested");
    let mut directory = scene.tenant.directory();
    let [ann, bob, carl] =
        ["ann@example.com", "bob@example.com", "carl@example.com"].map(|upn| directory.add_user(upn));
    let program = directory.add_program(JOB, "job");
    let (device, contact) =
        (directory.add_other(Kind::Device, "laptop"), directory.add_other(Kind::Contact, "sales"));
    let deep = directory.add_group("deep", &[&carl, &device]);
    let left = directory.add_group("left", &[&deep, &bob]);
    let right = directory.add_group("right", &[&deep, &program]);
    let top = directory.add_group("top", &[&left, &right, &ann, &contact]);
    directory.join(&deep, &top);
    drop(directory);
    let read = scene.read(&top).expect("whole");
    assert_eq!((read.name.as_str(), read.is_security), ("top", true));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(now.abs_diff(read.began_at.seconds().unsigned_abs()) < 60);
    assert_eq!(members(read), ids([&ann, &bob, &carl, &program]));
    let direct = Graph::new(scene.request()).read_group(id(&top), false, Programs::Cast).expect("whole");
    assert_eq!(members(direct), ids([&ann]), "members of groups inside it are not its own");
}

#[test]
fn programs_are_read_as_the_setting_says_and_v1_alone_leaves_them_out() {
    let scene = Scene::start("programs");
    let mut directory = scene.tenant.directory();
    let (ann, program) = (directory.add_user("ann@example.com"), directory.add_program(JOB, "job"));
    let group = directory.add_group("mixed", &[&ann, &program]);
    drop(directory);
    let read = |programs| {
        members(Graph::new(scene.request()).read_group(id(&group), true, programs).expect("whole"))
    };
    assert_eq!(read(Programs::Cast), ids([&ann, &program]));
    assert_eq!(read(Programs::Beta), ids([&ann, &program]));
    assert_eq!(read(Programs::Off), ids([&ann]));
}

#[test]
fn all_pages_are_read_whatever_their_size() {
    let scene = Scene::start("pages");
    let group = scene.tenant.directory().add_crowd("crowd", 2_500);
    let expected: BTreeSet<_> = (0..2_500).map(|number| id(&tenant::crowd_member("crowd", number))).collect();
    for size in [None, Some(500), Some(100)] {
        scene.tenant.set_page_size(size);
        let graph = Graph::new(scene.request());
        let read = graph.read_group(id(&group), true, Programs::Cast).expect("whole");
        assert!(members(read) == expected, "{size:?}");
        assert!(graph.traffic().requests >= 4 && graph.traffic().bytes > 100_000, "{:?}", graph.traffic());
        assert_eq!(graph.permissions().expect("its token names them").len(), 2);
    }
}

/// A Graph whose groups have this many members, on pages as large as they may be.
fn answer_with_members(scene: &Scene, count: usize) {
    const EACH: usize = 40_000;
    let authority = scene.tenant.authority();
    scene.tenant.set_trouble(move |_, path| {
        if !path.contains("embers") {
            return None;
        }
        let query = path.split_once("$skiptoken=").and_then(|(_, number)| number.parse().ok());
        let first: usize = query.unwrap_or(0);
        let end = if path.contains("microsoft.graph") { 0 } else { count.min(first + EACH) };
        let mut body = String::from(r#"{"value":["#);
        for number in first..end {
            let comma = if number == first { "" } else { "," };
            let _ = write!(body, r#"{comma}{{"id":"{number:08x}-0000-4000-8000-000000000000"}}"#);
        }
        body.push(']');
        if end > 0 && end < count {
            let path = path.split('?').next().unwrap_or_default();
            let _ = write!(body, r#","@odata.nextLink":"{authority}{path}?$skiptoken={end}""#);
        }
        Some(Trouble::Body(200, body + "}"))
    });
}

#[test]
#[ignore = "takes a minute: make torture"]
fn largest_group_is_read_whole_and_a_larger_one_not() {
    let scene = Scene::start("largest");
    let group = scene.tenant.directory().add_group("all", &[]);
    answer_with_members(&scene, MAX_MEMBERS);
    assert_eq!(scene.read(&group).expect("whole").members.len(), MAX_MEMBERS);
    answer_with_members(&scene, MAX_MEMBERS + 1);
    assert_eq!(code(scene.read(&group)), "too_many_members");
}

#[test]
#[ignore = "takes a minute: make torture"]
fn pages_without_end_make_no_set() {
    let scene = Scene::start("endless");
    let group = scene.tenant.directory().add_group("all", &[]);
    let authority = scene.tenant.authority();
    scene.tenant.set_trouble(move |number, path| {
        let link = format!("{authority}/v1.0/groups/x/transitiveMembers?$skiptoken={number}");
        let page = format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#);
        path.contains("transitive").then_some(Trouble::Body(200, page))
    });
    assert_eq!(code(scene.read(&group)), "too_many_pages");
    assert!((8_000..8_010).contains(&scene.tenant.questions()), "{}", scene.tenant.questions());
}

#[test]
fn page_that_is_lost_cut_or_somebody_elses_makes_no_set_and_a_passing_trouble_none() {
    let scene = Scene::start("trouble");
    let group = scene.tenant.directory().add_crowd("crowd", 300);
    scene.tenant.set_page_size(Some(100));
    let whole: BTreeSet<_> = (0..300).map(|number| id(&tenant::crowd_member("crowd", number))).collect();
    let elsewhere =
        |host: &str| Trouble::NextPage(format!("{host}/v1.0/groups/x/transitiveMembers?$skiptoken=1"));
    let authority = scene.tenant.authority();
    let for_ever = [
        (Trouble::Status(500, None), "http_status_500"),
        (Trouble::Status(503, Some("0".into())), "http_status_503"),
        (Trouble::Status(429, None), "throttled"),
        (Trouble::Status(429, Some("86400".into())), "throttled"),
        (Trouble::Status(429, Some("99999999999999999999".into())), "throttled"),
        (Trouble::Status(401, None), "http_status_401"),
        (Trouble::Status(403, None), "permission_missing"),
        (Trouble::Status(404, None), "group_gone"),
        (Trouble::Status(410, None), "group_gone"),
        (Trouble::Status(400, None), "http_status_400"),
        (Trouble::Status(204, None), "http_status_204"),
        (Trouble::Html, "page_malformed"),
        (Trouble::Truncated, "connection_broken"),
        (Trouble::Redirect(format!("{authority}/v1.0/groups")), "http_status_302"),
        (Trouble::Body(200, "{\"value\":[".into()), "page_malformed"),
        (Trouble::Body(200, "{}".into()), "page_malformed"),
        (elsewhere("https://graph.example"), "page_elsewhere"),
        (elsewhere(&authority.replace("https", "http")), "page_elsewhere"),
        (elsewhere(&authority.replace("localhost", "localhost.evil")), "page_elsewhere"),
        (Trouble::NextPage("/v1.0/groups".into()), "page_elsewhere"),
        (Trouble::NextPage(String::new()), "page_elsewhere"),
        (Trouble::Echo(200), "page_malformed"),
        (Trouble::Echo(400), "http_status_400"),
    ];
    for (trouble, expected) in for_ever {
        let second_page = trouble.clone();
        scene.tenant.set_trouble(move |_, path| path.contains("skiptoken").then(|| second_page.clone()));
        let code = code(scene.read(&group));
        let is_expected = code == expected || (expected == "connection_broken" && code == "not_http");
        assert!(is_expected, "{trouble:?}: {code}");
        scene.tenant.end_trouble();
        assert!(members(scene.read(&group).expect("well again")) == whole);
    }
    // A group that is another one is none.
    let other = r#"{"id":"0ddba115-1234-4abc-9def-0123456789ab","displayName":"x","securityEnabled":true}"#;
    scene.tenant.set_trouble(move |_, path| {
        path.contains("displayName").then(|| Trouble::Body(200, other.to_owned()))
    });
    assert_eq!(code(scene.read(&group)), "page_malformed");
    // What passes after a while is asked again.
    for trouble in [
        Trouble::Status(500, None),
        Trouble::Status(502, None),
        Trouble::Status(503, Some("0".into())),
        Trouble::Status(504, None),
        Trouble::Status(429, Some("Wed, 21 Oct 2015 07:28:00 GMT".into())),
        Trouble::Status(401, None),
        Trouble::Truncated,
        Trouble::Reset,
    ] {
        let mut is_first = true;
        let passing = trouble.clone();
        scene.tenant.set_trouble(move |_, path| {
            let hit = path.contains("skiptoken") && std::mem::take(&mut is_first);
            hit.then(|| passing.clone())
        });
        assert!(members(scene.read(&group).expect("asked again")) == whole, "{trouble:?}");
    }
    // An empty page with a link is one, and entries that come twice count once.
    let mut is_first = true;
    scene.tenant.set_trouble(move |_, path| {
        (path.contains("microsoft.graph") && std::mem::take(&mut is_first)).then_some(Trouble::Empty)
    });
    assert!(members(scene.read(&group).expect("whole")) == whole);
    scene.tenant.set_trouble(|_, path| path.contains("transitive").then_some(Trouble::Twice));
    assert!(members(scene.read(&group).expect("whole")) == whole);
}

#[test]
fn link_that_leads_in_a_circle_is_followed_once() {
    let scene = Scene::start("circle");
    let group = scene.tenant.directory().add_crowd("crowd", 300);
    scene.tenant.set_page_size(Some(100));
    let first =
        format!("{}/v1.0/groups/{group}/transitiveMembers?$select=id&$top=999", scene.tenant.authority());
    let itself = format!("{first}&$skiptoken=100");
    for link in [first, itself] {
        scene.tenant.set_trouble(move |_, path| {
            path.contains("skiptoken=100").then(|| Trouble::NextPage(link.clone()))
        });
        assert_eq!(code(scene.read(&group)), "page_repeated");
        assert!(scene.tenant.questions() < 20);
    }
}

#[test]
fn answers_that_take_their_time_end_with_the_time_that_there_is() {
    let scene = Scene::start("slow");
    let group = scene.tenant.directory().add_group("small", &[]);
    for trouble in
        [Trouble::Stalled, Trouble::Slow(Duration::from_secs(1)), Trouble::Status(429, Some("100".into()))]
    {
        let slow = trouble.clone();
        scene.tenant.set_trouble(move |_, path| path.contains("/v1.0/groups").then(|| slow.clone()));
        let began = Instant::now();
        let request = GraphRequest { time: Duration::from_secs(2), ..scene.request() };
        let code = code(Graph::new(request).read_group(id(&group), true, Programs::Cast));
        assert!(["timed_out", "throttled"].contains(&code.as_str()), "{trouble:?}: {code}");
        assert!(began.elapsed() < Duration::from_secs(20), "{trouble:?}: {:?}", began.elapsed());
    }
}

#[test]
fn permissions_that_are_missing_have_a_name_and_so_has_a_group_that_is_gone() {
    let scene = Scene::start("permissions");
    let (ann, group) = {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user("ann@example.com");
        let group = directory.add_group("some", &[&ann]);
        (ann, group)
    };
    assert!(scene.read(&group).is_ok());
    let permit = |permissions: &[&str]| {
        let permissions = permissions.iter().map(|&name| name.to_owned()).collect();
        scene.tenant.directory().applications.get_mut(APP).expect("registered").permissions = permissions;
    };
    permit(&["User.Read.All"]);
    assert_eq!(code(scene.read(&group)), "permission_missing");
    permit(&["GroupMember.Read.All"]);
    assert!(scene.read(&group).is_ok());
    assert_eq!(code(Graph::new(scene.request()).read_accounts(&[id(&ann)])), "permission_missing");
    scene.tenant.directory().delete(&group);
    assert_eq!(code(scene.read(&group)), "group_gone");
}

#[test]
fn accounts_are_told_apart_in_whatever_order_they_are_answered() {
    let scene = Scene::start("accounts");
    let mut users = Vec::new();
    let mut expected = Vec::new();
    {
        let mut directory = scene.tenant.directory();
        for number in 0..45 {
            let user = directory.add_user(&format!("user{number}@example.com"));
            let state = match number % 3 {
                0 => AccountState::Enabled { valid_from: UnixTime::new(1_767_225_600) },
                1 => {
                    directory.user(&user).enabled = false;
                    AccountState::Disabled
                }
                _ => {
                    directory.delete(&user);
                    AccountState::Gone
                }
            };
            expected.push(state);
            users.push(id(&user));
        }
    }
    let graph = Graph::new(scene.request());
    let accounts = graph.read_accounts(&users).expect("all of them");
    assert_eq!(accounts.iter().map(|(id, _)| *id).collect::<Vec<_>>(), users);
    assert_eq!(accounts.iter().map(|(_, state)| *state).collect::<Vec<_>>(), expected);
    assert_eq!(graph.traffic().requests, 3, "twenty at once");
    assert_eq!(graph.read_accounts(&[]), Ok(Vec::new()));
    let answer = |responses: &str| Trouble::Body(200, format!("{{\"responses\":[{responses}]}}"));
    let user = users[0];
    let whole = format!(r#"{{"id":"0","status":200,"body":{{"id":"{user}","accountEnabled":true}}}}"#);
    let other = whole.replace(&user.to_string(), &users[1].to_string());
    for (trouble, expected) in [
        (answer(""), "page_malformed"),
        (answer(&format!("{whole},{whole}")), "page_malformed"),
        (answer(&other), "page_malformed"),
        (answer(&whole.replace("\"0\"", "\"1\"")), "page_malformed"),
        (answer(&whole.replace("true", "null")), "permission_missing"),
        (answer(&whole.replace("200", "429")), "throttled"),
        (answer(&whole.replace("200", "500")), "http_status_500"),
        (answer(&whole.replace("200", "\"200\"")), "page_malformed"),
        (Trouble::Html, "page_malformed"),
        (Trouble::Body(200, "{}".into()), "page_malformed"),
    ] {
        let once = trouble.clone();
        scene.tenant.set_trouble(move |_, path| path.contains("batch").then(|| once.clone()));
        assert_eq!(code(Graph::new(scene.request()).read_accounts(&[user])), expected, "{trouble:?}");
    }
    scene.tenant.set_trouble(move |_, path| path.contains("batch").then(|| answer(&whole)));
    assert!(Graph::new(scene.request()).read_accounts(&[user]).is_ok(), "the twin of the rows above");
}

#[test]
fn each_credential_opens_graph_and_a_wrong_one_says_why() {
    let scene = Scene::start("credentials");
    let (own, other) = (ClientCertificate::generate(), ClientCertificate::generate());
    {
        let mut directory = scene.tenant.directory();
        let application = directory.applications.get_mut(APP).expect("registered");
        application.certificates.push(own.clone());
        application.federated.push("token.of.kubernetes".to_owned());
    }
    let count = std::cell::Cell::new(0);
    let file = |content: &str| {
        count.set(count.get() + 1);
        scene.secret(&format!("credential-{}", count.get()), content)
    };
    let secret = |content: &str| Credential::SecretFile(file(content));
    let certificate = |content: &str| Credential::Certificate(file(content));
    let federated = |content: &str| Credential::Federated(file(content));
    assert!(scene.read_by(secret(SECRET)).is_ok());
    assert!(scene.read_by(secret(&format!("{SECRET}\r\n"))).is_ok());
    assert!(scene.read_by(federated("token.of.kubernetes")).is_ok());
    assert!(scene.read_by(certificate(&own.pem())).is_ok());
    let key_first = own.key_pem() + &own.certificate_pem() + &other.certificate_pem();
    assert!(scene.read_by(certificate(&key_first)).is_ok(), "a chain, the key before it");
    let encrypted = own.pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (credential, expected, words) in [
        (secret("wrong"), "token_refused", "401 invalid_client, AADSTS7000215"),
        (secret(""), "credential_unusable", "is empty"),
        (secret(" \n"), "credential_unusable", "is empty"),
        (federated("another"), "token_refused", "AADSTS50027"),
        (certificate(&other.pem()), "token_refused", "AADSTS700027"),
        (certificate(&own.key_pem()), "credential_unusable", "holds no certificate"),
        (certificate(&own.certificate_pem()), "credential_unusable", "holds no private key"),
        (certificate(&encrypted), "credential_unusable", "holds no private key"),
        (
            certificate(&(own.certificate_pem() + &other.key_pem())),
            "credential_unusable",
            "not the first certificate's",
        ),
        (Credential::SecretFile(scene.directory.join("absent")), "credential_unusable", "does not exist"),
        (Credential::SecretFile(scene.directory.clone()), "credential_unusable", "is a directory"),
        (Credential::Certificate(PathBuf::from("/dev/zero")), "credential_unusable", "is a device"),
    ] {
        let error = scene.read_by(credential.clone()).expect_err("an error");
        assert_eq!(error.code(), expected, "{credential:?}");
        assert!(error.words().unwrap_or_default().contains(words), "{credential:?}: {error:?}");
        assert!(error.is_of_all(), "{error:?}");
    }
    let missing = GraphRequest { client_id: None, ..scene.request() };
    let error = Graph::new(missing).read_group(id(APP), true, Programs::Off).expect_err("no application");
    assert_eq!(error.words().as_deref(), Some("pgaad.directory_client_id is not set"));
    let missing = GraphRequest { credential: None, ..scene.request() };
    let error = Graph::new(missing).read_group(id(APP), true, Programs::Off).expect_err("no credential");
    assert_eq!(error.words().as_deref(), Some("pgaad.directory_credential is not set"));
}

#[test]
fn file_of_a_secret_that_others_may_read_or_that_backups_hold_is_refused() {
    let scene = Scene::start("files");
    let path = scene.secret("s", SECRET);
    let read = || scene.read_by(Credential::SecretFile(path.clone()));
    for mode in [0o400, 0o600, 0o440, 0o640] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
        assert!(read().is_ok(), "{mode:o}");
    }
    for mode in [0o644, 0o604, 0o620, 0o660, 0o610, 0o700, 0o666, 0o4600] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
        let error = read().expect_err("too open");
        assert!(error.words().expect("words").contains(&format!("{mode:04o}")), "{error:?}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
    if chown(&path, Some(12_345), None).is_ok() {
        assert!(read().expect_err("somebody's").words().expect("words").contains("user 12345"));
        // The server's user is whoever owns the data directory.
        chown(scene.directory.join("data"), Some(12_345), None).expect("root may");
        assert!(read().is_ok());
    } else {
        eprintln!("SKIPPED: only root gives files to others");
    }
    let inside = scene.directory.join("data/secret");
    fs::rename(&path, &inside).expect("ours");
    let by = |path: &Path| scene.read_by(Credential::SecretFile(path.to_path_buf()));
    assert!(by(&inside).expect_err("inside").words().expect("words").contains("inside the data directory"));
    let link = scene.directory.join("link");
    symlink(&inside, &link).expect("ours");
    assert!(by(&link).expect_err("inside").words().expect("words").contains("inside the data directory"));
    let dots = scene.directory.join("x/../data/secret");
    fs::create_dir(scene.directory.join("x")).expect("ours");
    assert!(by(&dots).expect_err("inside").words().expect("words").contains("inside the data directory"));
}

#[test]
fn machine_shows_its_identity_and_the_agent_cannot_have_other_files_read() {
    let scene = Scene::start("machine");
    let base = scene.tenant.start_machine();
    let group = scene.tenant.directory().add_group("some", &[]);
    let tokens = scene.tenant.arc_tokens();
    let local = LocalServices { imds: base.clone(), arc: base.clone(), arc_tokens: tokens.clone() };
    let read = |credential: Credential| {
        let request = GraphRequest {
            credential: Some(credential),
            client_id: None,
            local: local.clone(),
            route: Route { https_proxy: None, ..scene.request().route },
            ..scene.request()
        };
        Graph::new(request).read_group(id(&group), true, Programs::Off)
    };
    for credential in [Credential::Imds(None), Credential::Arc] {
        assert_eq!(code(read(credential)), "identity_missing");
    }
    scene.tenant.directory().machine = Some(APP.to_owned());
    for credential in [Credential::Imds(None), Credential::Imds(APP.parse().ok()), Credential::Arc] {
        assert!(read(credential.clone()).is_ok(), "{credential:?}");
    }
    assert_eq!(code(read(Credential::Imds(JOB.parse().ok()))), "identity_missing");
    // It is updated, busy, or not up yet; and says in strings what others say in numbers.
    for status in [404, 410, 429, 500, 503] {
        let mut left = 3;
        scene.tenant.set_trouble(move |_, path| {
            let hit = path.contains("metadata") && left > 0;
            left -= usize::from(hit);
            hit.then_some(Trouble::Status(status, None))
        });
        assert!(read(Credential::Imds(None)).is_ok(), "{status}");
    }
    scene.tenant.set_trouble(|_, path| path.contains("metadata").then_some(Trouble::Status(404, None)));
    assert_eq!(code(read(Credential::Imds(None))), "identity_missing");
    scene.tenant.set_trouble(|_, path| path.contains("metadata").then_some(Trouble::Echo(200)));
    assert_eq!(code(read(Credential::Imds(None))), "token_malformed");
    let secret = scene.secret("elsewhere.key", "secret of somebody's");
    let outside = tokens.join("link.key");
    symlink(&secret, &outside).expect("ours");
    fs::write(tokens.join("large.key"), "x".repeat(4097)).expect("ours");
    fs::write(tokens.join("text.txt"), "x").expect("ours");
    fs::write(tokens.join("lines.key"), "a\r\nX-Header: b").expect("ours");
    fs::create_dir(tokens.join("directory.key")).expect("ours");
    let named = |path: &Path| path.display().to_string();
    for realm in [
        named(&secret),
        named(&outside),
        named(&tokens.join("large.key")),
        named(&tokens.join("text.txt")),
        named(&tokens.join("lines.key")),
        named(&tokens.join("directory.key")),
        named(&tokens.join("absent.key")),
        named(&tokens.join("../elsewhere.key")),
        named(&tokens.join("x/../challenge.key")),
        "challenge.key".to_owned(),
        "/etc/shadow".to_owned(),
    ] {
        let challenge = format!("Basic realm={realm}");
        scene.tenant.set_trouble(move |_, path| {
            path.contains("metadata").then(|| Trouble::Challenge(challenge.clone()))
        });
        assert_eq!(code(read(Credential::Arc)), "arc_file_refused", "{realm}");
        assert_eq!(scene.tenant.questions(), 1, "nothing is sent back");
    }
    for (challenge, status) in [("Bearer x", 401), ("", 401)] {
        scene.tenant.set_trouble(move |_, path| {
            path.contains("metadata").then(|| Trouble::Challenge(challenge.into()))
        });
        assert_eq!(code(read(Credential::Arc)), "identity_missing", "{challenge} {status}");
    }
}

#[test]
fn managed_identity_is_asked_without_a_proxy() {
    let scene = Scene::start("proxy");
    let base = scene.tenant.start_machine();
    scene.tenant.directory().machine = Some(APP.to_owned());
    let request = GraphRequest {
        credential: Some(Credential::Imds(None)),
        local: LocalServices { imds: base, ..LocalServices::default() },
        route: Route { https_proxy: Some("http://127.0.0.1:1".into()), ..scene.request().route },
        ..scene.request()
    };
    let error = Graph::new(request).read_group(id(APP), true, Programs::Off).expect_err("the proxy is dead");
    assert_eq!(
        error.code(),
        "proxy_connection_refused",
        "and was asked for Graph, after the token was there"
    );
    let asked = scene.tenant.questions();
    assert_eq!(asked, 1, "the machine itself");
}

#[test]
fn token_endpoint_that_is_ill_or_hostile_gets_no_further() {
    let scene = Scene::start("endpoint");
    let group = scene.tenant.directory().add_group("some", &[]);
    for (trouble, expected) in [
        (Trouble::Status(400, None), "token_refused"),
        (Trouble::Status(503, None), "token_refused"),
        (Trouble::Status(429, Some("86400".into())), "token_refused"),
        (Trouble::Redirect("https://evil.example/".into()), "token_refused"),
        (Trouble::Html, "token_malformed"),
        (Trouble::Body(200, "{\"access_token\":\"a\\nb\"}".into()), "token_malformed"),
        (Trouble::Echo(200), "token_malformed"),
        (Trouble::Echo(401), "token_refused"),
    ] {
        let once = trouble.clone();
        scene.tenant.set_trouble(move |_, path| path.contains("oauth2").then(|| once.clone()));
        assert_eq!(code(scene.read(&group)), expected, "{trouble:?}");
    }
    let mut left = 2;
    scene.tenant.set_trouble(move |_, path| {
        let hit = path.contains("oauth2") && left > 0;
        left -= usize::from(hit);
        hit.then(|| Trouble::Status(503, Some("0".into())))
    });
    assert!(scene.read(&group).is_ok());
}

/// Whoever answers in Graph's place has the secret and the token, and may send them back. What is written down of an
/// answer holds no piece of them.
#[test]
fn nothing_of_the_secret_and_the_token_is_in_an_error() {
    let scene = Scene::start("leak");
    let group = scene.tenant.directory().add_group("some", &[]);
    for place in ["oauth2", "/v1.0/groups", "transitiveMembers"] {
        for status in [200, 302, 400, 401, 403, 404, 429, 500, 503] {
            scene.tenant.set_trouble(move |_, path| path.contains(place).then_some(Trouble::Echo(status)));
            let Err(error) = scene.read(&group) else { panic!("{place} {status}") };
            let said = format!("{error:?} {error} {} {:?}", error.code(), error.words());
            assert!(!said.contains("planted") && !said.contains("eyJ") && !said.contains("Bearer"), "{said}");
        }
    }
}
