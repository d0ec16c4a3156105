//! The directory: who is a member of a group, and whose account is disabled, as Microsoft Graph was read last, while it
//! is dead at the moment of the login.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use pgaad_tests::account::give_to_servers;
use pgaad_tests::directory::{APP, SECRET, scene_with, secret_file};
use pgaad_tests::document::Section;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{Outcome, Session};
use pgaad_tests::{Scene, wait_until};
use tenant::{Kind, Token, Trouble};

const JOB: &str = "b1946ac9-2492-4ef8-9d3a-7f1f6c2d8e54";

/// A scene whose server reads the directory with every right that it may want.
pub(crate) fn scene() -> Scene {
    scene_with(|cluster| cluster)
}

/// A role for the members of a group.
pub(crate) fn group_role(scene: &Scene, role: &str, group: &str) {
    bound_role(scene, role, group, "group");
}

fn bound_role(scene: &Scene, role: &str, id: &str, kind: &str) {
    scene.cluster.sql(&format!(
        "CREATE USER {0} IN ROLE azure_ad_user; \
         SECURITY LABEL FOR pgaadauth ON ROLE {0} IS 'aadauth,oid={id},type={kind}'",
        quoted(role)
    ));
}

pub(crate) fn refresh(scene: &Scene) -> bool {
    scene.cluster.value("SELECT pgaad.refresh_directory()") == "t"
}

pub(crate) fn column(scene: &Scene, sql: &str) -> String {
    scene.cluster.value(sql)
}

#[test]
fn tokens_without_groups_open_group_roles_while_the_provider_and_graph_are_dead() {
    let scene = scene();
    let (ann, bob) = ("ann@example.com", "bob@example.com");
    let guest = "carol@partner.example";
    let group = {
        let mut directory = scene.tenant.directory();
        let [ann, guest] = [ann, guest].map(|upn| directory.add_user(upn));
        directory.add_user(bob);
        let program = directory.add_program(JOB, "job");
        let laptop = directory.add_other(Kind::Device, "laptop");
        let third = directory.add_group("third", &[&ann, &laptop]);
        let second = directory.add_group("second", &[&third, &program]);
        let first = directory.add_group("first", &[&second, &guest]);
        directory.join(&third, &first);
        first
    };
    group_role(&scene, "analysts", &group);
    assert!(refresh(&scene), "{}", scene.cluster.log_since(scene.cluster.log().mark()));
    scene.tenant.stop();
    for route in scene.token_routes() {
        let attempt = |token: Token| scene.attempt(route, "analysts").with(token.mint());
        for token in [
            scene.token(ann),
            scene.token(ann).v2(),
            scene.token(ann).overage(),
            scene.tenant.token().app(JOB),
            scene.tenant.token().guest(guest),
        ] {
            let mut session = attempt(token).expect_admitted();
            let claims = session.value("SELECT pgaad.claims() ? 'groups'");
            assert_eq!(claims.as_deref(), Some("f"), "no groups are invented");
            drop(session);
            let rule = "SELECT rule FROM pgaad.events WHERE role = 'analysts' ORDER BY id DESC LIMIT 1";
            assert_eq!(column(&scene, rule), "directory");
        }
        let line = attempt(scene.token(bob)).expect_refused("not_in_group");
        assert!(line.contains("directory_at="), "{line}");
        attempt(scene.token(bob).overage()).expect_refused("not_in_group");
        // What the token says and the directory denies.
        attempt(scene.token(bob).groups(&[&group])).expect_refused("not_in_group");
    }
    assert_eq!(column(&scene, "SELECT members FROM pgaad.groups"), "3");
    let found = "SELECT array_agg(oid ORDER BY oid)::text FROM pgaad.group_members('analysts')";
    let expected: BTreeSet<_> =
        [tenant::object_id(ann), tenant::object_id(guest), tenant::object_id(JOB)].into();
    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(column(&scene, found), format!("{{{}}}", expected.join(",")));
    let roles = "SELECT name || roles::text || ready || is_security FROM pgaad.groups";
    assert_eq!(column(&scene, roles), "first{analysts}truetrue");
    let unsigned = scene.token(ann).mint();
    let unsigned = unsigned.rsplit_once('.').expect("three parts").0.to_owned();
    let step =
        format!("SELECT ok || detail FROM pgaad.explain('analysts', '{unsigned}') WHERE step = 'directory'");
    assert!(
        column(&scene, &step).starts_with("truea member of the role's group "),
        "{}",
        column(&scene, &step)
    );
}

#[test]
fn removed_members_are_refused_and_added_ones_admitted_from_the_next_run_on() {
    let scene = scene();
    let (ann, bob) = ("ann@example.com", "bob@example.com");
    let (ann_id, bob_id, group) = {
        let mut directory = scene.tenant.directory();
        let (ann, bob) = (directory.add_user(ann), directory.add_user(bob));
        let group = directory.add_group("some", &[&ann]);
        (ann, bob, group)
    };
    group_role(&scene, "some", &group);
    assert!(refresh(&scene));
    let attempt = |token: Token| scene.attempt(scene.route(), "some").with(token.mint());
    // Tokens as Entra writes them, dated five minutes early.
    let (of_ann, of_bob) = (scene.token(ann), scene.token(bob));
    attempt(of_ann.clone()).expect_admitted();
    attempt(of_bob.clone()).expect_refused("not_in_group");
    {
        let mut directory = scene.tenant.directory();
        directory.leave(&group, &ann_id);
        directory.join(&group, &bob_id);
    }
    attempt(of_ann.clone()).expect_admitted();
    assert!(refresh(&scene));
    attempt(of_ann.clone()).expect_refused("not_in_group");
    attempt(of_ann.groups(&[&group])).expect_refused("not_in_group");
    attempt(of_bob).expect_admitted();
}

#[test]
fn group_of_a_new_role_is_read_without_being_asked_for_and_a_lost_one_again() {
    let scene = scene();
    let ann = "ann@example.com";
    let group = {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user(ann);
        directory.add_group("some", &[&ann])
    };
    assert!(refresh(&scene));
    group_role(&scene, "some", &group);
    let admitted = || {
        let login = scene.attempt(scene.route(), "some").with(scene.token(ann).mint()).login();
        matches!(login.outcome, Outcome::Accepted(_))
    };
    wait_until("the group has been read", admitted);
    let file = |suffix: &str| scene.cluster.data_dir().join(format!("pgaad/groups/{group}.set{suffix}"));
    let listed = scene.token(ann).groups(&[&group]);
    let attempt = |token: &Token| scene.attempt(scene.route(), "some").with(token.mint());
    scene.tenant.set_trouble(|_, _| Some(Trouble::Status(503, None)));
    for damage in ["removed", "cut", "of zeros", "another's"] {
        let whole = fs::read(file("")).expect("it was written");
        match damage {
            "removed" => fs::remove_file(file("")).expect("it is there"),
            "cut" => scene.cluster.write_as_server(&format!("pgaad/groups/{group}.set"), "PGAADSET"),
            "of zeros" => fs::write(file(""), vec![0; whole.len()]).expect("it is there"),
            _ => {
                let mut other = whole.clone();
                other[40] ^= 1;
                fs::write(file(""), other).expect("it is there");
            }
        }
        attempt(&scene.token(ann)).expect_refused("groups_stale");
        attempt(&listed).expect_refused("groups_stale");
        fs::write(file(""), whole).expect("it is there");
        give_to_servers(&file(""));
        attempt(&scene.token(ann)).expect_admitted();
    }
    fs::remove_file(file("")).expect("it is there");
    scene.tenant.end_trouble();
    wait_until("the lost group has been read again", admitted);
}

#[test]
fn disabled_and_deleted_users_and_those_with_revoked_sessions_are_refused_from_the_next_run_on() {
    let scene = scene_with(|cluster| cluster.conf("pgaad.directory_accounts", "on"));
    let names: Vec<String> = (0..4).map(|_| scene.fresh_name()).collect();
    let mut ids = Vec::new();
    for name in &names {
        let id = scene.tenant.directory().add_user(name);
        bound_role(&scene, name, &id, "user");
        ids.push(id);
    }
    let attempt = |number: usize| {
        let name = &names[number];
        scene.attempt(scene.route(), name).with(scene.token(name).mint())
    };
    assert!(refresh(&scene));
    for number in 0..4 {
        attempt(number).expect_admitted();
    }
    {
        let mut directory = scene.tenant.directory();
        directory.user(&ids[1]).enabled = false;
        directory.delete(&ids[2]);
        directory.user(&ids[3]).valid_from = "2099-01-01T00:00:00Z".to_owned();
    }
    assert!(refresh(&scene));
    attempt(0).expect_admitted();
    attempt(1).expect_refused("account_disabled");
    attempt(2).expect_admitted();
    let line = attempt(3).expect_refused("sessions_revoked");
    assert!(line.contains("revoked_at=4070908800"), "{line}");
    assert!(refresh(&scene));
    attempt(2).expect_refused("account_gone");
    // Graph is away: what kept somebody out holds, and so does what let somebody in.
    scene.tenant.stop();
    assert!(!refresh(&scene));
    attempt(0).expect_admitted();
    attempt(1).expect_refused("account_disabled");
    attempt(2).expect_refused("account_gone");
    scene.tenant.start_again();
    scene.tenant.directory().user(&ids[1]).enabled = true;
    assert!(refresh(&scene));
    attempt(1).expect_admitted();
    let accounts =
        scene.cluster.data_dir().join(format!("pgaad/groups/accounts-{}.set", scene.tenant.tenant_id()));
    fs::remove_file(accounts).expect("it was written");
    attempt(0).expect_refused("accounts_lost");
    let job = scene.tenant.directory().add_program(JOB, "job");
    bound_role(&scene, "job", &job, "service");
    scene.attempt(scene.route(), "job").with(scene.tenant.token().app(JOB).mint()).expect_admitted();
    assert!(refresh(&scene));
    attempt(0).expect_admitted();
}

#[test]
fn every_wrong_setting_file_and_permission_has_a_code_and_touches_only_who_needs_the_directory() {
    let scene = scene();
    let (ann, alice) = ("ann@example.com", scene.member());
    let group = {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user(ann);
        directory.add_group("some", &[&ann])
    };
    group_role(&scene, "some", &group);
    let others = || {
        scene.attempt(scene.route(), &alice).expect_admitted();
        // By the token's own word, before the directory has said anything.
        scene
            .attempt(scene.route(), "some")
            .with(scene.token(ann).groups(&[&group]).mint())
            .expect_admitted();
    };
    let error = "SELECT coalesce(problem, last_error || coalesce(': ' || cause, '')) FROM pgaad.directory";
    let good = scene.cluster.value("SHOW pgaad.directory_credential");
    for (name, value, expected) in [
        ("pgaad.directory_credential", "", "pgaad.directory_credential is not set"),
        ("pgaad.directory_credential", "s3cret", "bad setting: setting=pgaad.directory_credential"),
        (
            "pgaad.directory_credential",
            "secret_file:/nonexistent",
            "credential_unusable: the file of pgaad.directory_credential does not exist",
        ),
        (
            "pgaad.directory_credential",
            &format!("secret_file:{}", secret_file("wrong")),
            "token_refused: the identity provider answered 401 invalid_client, AADSTS7000215",
        ),
        (
            "pgaad.directory_credential",
            &format!("certificate:{}", secret_file(SECRET)),
            "credential_unusable: the file of pgaad.directory_credential holds no certificate",
        ),
        ("pgaad.directory_client_id", "", "pgaad.directory_client_id is not set"),
        (
            "pgaad.directory_client_id",
            JOB,
            "token_refused: the identity provider answered 400 unauthorized_client, AADSTS700016",
        ),
        (
            "pgaad.graph_url",
            "https://127.0.0.1:1",
            "token_refused: the identity provider answered 400 invalid_scope",
        ),
        (
            "pgaad.directory_interval",
            "1s",
            "bad setting: setting=pgaad.directory_interval value=\"1s\" expected=\"60s to",
        ),
        ("pgaad.directory_max_stale", "forever", "bad setting: setting=pgaad.directory_max_stale"),
    ] {
        let before = scene.cluster.value(&format!("SHOW {name}"));
        scene.cluster.set(name, value);
        assert!(!refresh(&scene), "{name} {value}");
        let said = column(&scene, error);
        assert!(said.starts_with(expected), "{name} {value}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
        others();
        scene.cluster.set(name, &before);
    }
    assert_eq!(scene.cluster.value("SHOW pgaad.directory_credential"), good);
    let permissions = |names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        scene.tenant.directory().applications.get_mut(APP).expect("registered").permissions = names;
    };
    permissions(&["User.Read.All"]);
    assert!(!refresh(&scene));
    assert!(column(&scene, error).starts_with("permission_missing: "), "{}", column(&scene, error));
    assert_eq!(column(&scene, "SELECT permissions::text FROM pgaad.directory"), "{User.Read.All}");
    others();
    permissions(&["GroupMember.Read.All"]);
    assert!(refresh(&scene));
    assert_eq!(column(&scene, "SELECT coalesce(last_error, 'none') FROM pgaad.directory"), "none");
    scene.tenant.directory().delete(&group);
    assert!(!refresh(&scene));
    assert_eq!(column(&scene, "SELECT last_error FROM pgaad.groups"), "group_gone");
    assert_eq!(
        column(&scene, "SELECT name || ready || members FROM pgaad.groups"),
        "sometrue1",
        "it never shrinks"
    );
}

#[test]
fn sessions_end_with_the_run_that_finds_their_user_out_where_asked() {
    let scene = scene_with(|cluster| {
        cluster.conf("pgaad.directory_accounts", "on").conf("pgaad.session_end", "directory")
    });
    let names: Vec<String> = (0..4).map(|_| scene.fresh_name()).collect();
    let (ids, group) = {
        let mut directory = scene.tenant.directory();
        let ids: Vec<_> = names.iter().map(|name| directory.add_user(name)).collect();
        let all: Vec<_> = ids.iter().map(String::as_str).collect();
        let group = directory.add_group("some", &all);
        (ids, group)
    };
    group_role(&scene, "some", &group);
    assert!(refresh(&scene));
    let token = |number: usize| scene.token(&names[number]);
    let mut sessions: Vec<_> = [token(0), token(1).groups(&[&group]), token(2), token(3)]
        .into_iter()
        .map(|token| scene.attempt(scene.route(), "some").with(token.mint()).expect_admitted())
        .collect();
    // Graph is away, the sets are lost: nobody is thrown out.
    scene.tenant.set_trouble(|_, _| Some(Trouble::Status(503, None)));
    let set = scene.cluster.data_dir().join(format!("pgaad/groups/{group}.set"));
    let whole = fs::read(&set).expect("it was written");
    // Of the few that there are: no search notices that they are other ones, in the same order.
    let mut damaged = whole.clone();
    for (number, record) in damaged[128..].chunks_exact_mut(16).enumerate() {
        record.fill(u8::try_from(number + 1).expect("a few"));
    }
    fs::write(&set, damaged).expect("it is there");
    scene.cluster.set("pgaad.directory_max_stale", "60s");
    let all_go_on = |sessions: &mut Vec<Session>| {
        assert!(!refresh(&scene));
        for session in sessions {
            assert_eq!(session.value("SELECT 1").as_deref(), Some("1"));
        }
    };
    scene.attempt(scene.route(), "some").with(token(0).mint()).expect_refused("not_in_group");
    all_go_on(&mut sessions);
    fs::remove_file(&set).expect("it is there");
    all_go_on(&mut sessions);
    scene.tenant.end_trouble();
    let mark = scene.cluster.log_mark();
    {
        let mut directory = scene.tenant.directory();
        directory.leave(&group, &ids[1]);
        directory.leave(&group, &ids[2]);
        directory.user(&ids[3]).enabled = false;
    }
    assert!(refresh(&scene));
    assert_eq!(sessions[0].value("SELECT 1").as_deref(), Some("1"));
    for (number, code) in [(1, "not_in_group"), (2, "not_in_group"), (3, "account_disabled")] {
        let answer = sessions[number].query("SELECT 1").expect_err("ended");
        assert_eq!((answer.severity.as_str(), answer.sqlstate.as_str()), ("FATAL", "57P01"), "{number}");
        scene.cluster.wait_for_log(mark, &format!("pgaad: session ended: code={code} pid="));
    }
}

#[test]
fn sql_of_the_document_runs_as_it_stands() {
    let scene = scene();
    let group = "c0ffee00-1234-4abc-9def-0123456789ab";
    {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user("ann@example.com");
        let _ = ["bob@example.com", "dan@example.com"].map(|user| directory.add_user(user));
        directory.add_group_with_id(group, "analysts", &[&ann]);
    }
    let text = include_str!("../../docs/directory.md");
    let samples = Section::whole("directory.md", text).samples("sql");
    assert!(samples.len() >= 3, "{samples:?}");
    for sample in samples {
        for statement in sample.split_inclusive(';').filter(|statement| !statement.trim().is_empty()) {
            scene.cluster.sql(statement);
        }
    }
    assert_eq!(column(&scene, "SELECT members FROM pgaad.groups"), "1");
    // Every column of the view, and every code of what failed, is in the document.
    let columns =
        "SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 'pgaad.directory'::regclass";
    for name in column(&scene, columns).split(' ') {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn check_speaks_of_the_directory_where_something_is_wrong_and_only_there() {
    let scene = scene();
    let ann = "ann@example.com";
    let group = {
        let mut directory = scene.tenant.directory();
        let ann = directory.add_user(ann);
        let group = directory.add_group("some", &[&ann]);
        // More than is needed.
        directory.applications.get_mut(APP).expect("registered").permissions =
            ["GroupMember.Read.All".to_owned()].into();
        group
    };
    group_role(&scene, "some", &group);
    assert!(refresh(&scene));
    let found = || {
        let found = "SELECT coalesce(string_agg(severity || ' ' || item || ': ' || detail, '\n' ORDER BY item), '') \
                     FROM pgaad.check() WHERE item LIKE 'directory%' AND NOT ok";
        column(&scene, found)
    };
    assert_eq!(found(), "");
    let expect = |expected: &str| {
        let found = found();
        assert!(found.starts_with(expected), "{expected}: {found}");
    };
    let credential = scene.cluster.value("SHOW pgaad.directory_credential");
    let path = credential.strip_prefix("secret_file:").expect("a file");
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("our own file");
    expect(&format!("hole directory_secret: {path} has mode 0644, and may have 0640 at most"));
    assert!(!refresh(&scene));
    assert!(found().contains("fault directory: the last run failed: credential_unusable ("), "{}", found());
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("our own file");
    assert!(refresh(&scene));
    assert_eq!(found(), "");
    scene.cluster.set("pgaad.directory_max_stale", "60s");
    {
        let mut directory = scene.tenant.directory();
        directory.group(&group).is_security = false;
        let application = directory.applications.get_mut(APP).expect("registered");
        application.permissions.insert("Group.ReadWrite.All".to_owned());
    }
    assert!(refresh(&scene));
    expect(&format!("advice directory_open_groups: group {group} (some) is no security group"));
    assert!(
        found()
            .contains("advice directory_permissions: the application has the permission Group.ReadWrite.All")
    );
    scene.tenant.directory().delete(&group);
    assert!(!refresh(&scene));
    assert!(
        found().contains(&format!("fault directory_groups: group {group} (some) was read ")),
        "{}",
        found()
    );
    scene.cluster.set("pgaad.directory_client_id", "");
    expect("fault directory: pgaad.directory_client_id is not set");
}
