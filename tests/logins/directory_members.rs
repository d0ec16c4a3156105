//! Whom the statements of Azure Single Server bind a role to where there is a directory: the user with the role's name,
//! and the user or program whose id is given for its password.

use std::sync::mpsc;
use std::thread;

use pgaad_tests::patience::PATIENCE;
use pgaad_tests::scene::quoted;
use pgaad_tests::wire::{Answer, Outcome, Session};
use pgaad_tests::{Scene, wait_until};
use tenant::{Trouble, object_id};

use crate::directory::{column, scene};

const ADMIN: &str = "dba@example.com";
const GUEST: &str = "carol@partner.example";
const GUEST_NAME: &str = "carol_partner.example#EXT#@example.onmicrosoft.com";
const JOB: &str = "b1946ac9-2492-4ef8-9d3a-7f1f6c2d8e54";
const USERS: [&str; 7] = [
    "ann@example.com",
    "bob@example.com",
    "dan@example.com",
    "eve@example.com",
    "fay@example.com",
    "Gus@Example.com",
    "o'brien@example.com",
];

/// Users, a guest, a program and an administrator.
fn furnished() -> Scene {
    let scene = scene();
    {
        let mut directory = scene.tenant.directory();
        USERS.iter().for_each(|user| drop(directory.add_user(user)));
        directory.add_guest(GUEST, GUEST_NAME);
        directory.add_program(JOB, "nightly");
        directory.add_group("team@example.com", &[]);
    }
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    scene
}

fn superuser(scene: &Scene) -> Session {
    match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    }
}

fn administrator(scene: &Scene) -> Session {
    scene.attempt(scene.route(), ADMIN).with(scene.token(ADMIN).mint()).expect_admitted()
}

fn run(session: &mut Session, statement: &str) {
    session.query(statement).unwrap_or_else(|answer| panic!("{statement}: {answer} {}", answer.hint));
}

fn refused(session: &mut Session, statement: &str, sqlstate: &str) -> Answer {
    let answer = session.query(statement).expect_err(statement);
    assert_eq!(answer.sqlstate, sqlstate, "{statement}: {answer}");
    answer
}

/// All labels of a role, and whether it is a member.
fn binding(scene: &Scene, role: &str) -> String {
    column(
        scene,
        &format!(
            "SELECT coalesce((SELECT concat_ws('; ',
                 (SELECT string_agg(provider || ' ' || label, '; ' ORDER BY provider)
                 FROM pg_seclabels WHERE objtype = 'role' AND objoid = role.oid),
                 CASE WHEN EXISTS (SELECT FROM pg_auth_members WHERE member = role.oid
                                   AND roleid = 'azure_ad_user'::regrole) THEN 'member' END)
             FROM pg_authid role WHERE rolname = '{}'), '')",
            role.replace('\'', "''")
        ),
    )
}

fn bound_to_user(scene: &Scene, id: &str) -> String {
    let tenant = scene.tenant.tenant_id();
    format!(
        "pgaadauth aadauth,oid={id},type=user; pgaadauth-int type=user,oid={id},tenant_id={tenant}; member"
    )
}

fn password_is_null(scene: &Scene, role: &str) -> bool {
    column(scene, &format!("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = '{role}'")) == "t"
}

#[test]
fn statements_of_single_server_bind_users_by_their_principal_names() {
    let scene = furnished();
    scene.cluster.sql("CREATE ROLE readers; CREATE ROLE \"Gus@Example.com\" LOGIN; CREATE ROLE job LOGIN");
    let [ann, bob, dan, eve, fay, gus, brien] = USERS;
    let mut sessions = [superuser(&scene), administrator(&scene)];
    run(&mut sessions[1], &format!("CREATE ROLE {} LOGIN; CREATE ROLE {} LOGIN", quoted(dan), quoted(eve)));
    for (session, statement, users) in [
        (0, format!("CREATE USER {} IN ROLE azure_ad_user", quoted(ann)), vec![ann]),
        (1, format!("CREATE ROLE {} LOGIN IN ROLE azure_ad_user", quoted(bob)), vec![bob]),
        (1, format!("GRANT azure_ad_user TO {}, {}", quoted(dan), quoted(eve)), vec![dan, eve]),
        (0, format!("CREATE USER {} IN ROLE readers, azure_ad_user", quoted(fay)), vec![fay]),
        (1, format!("CREATE GROUP {} IN GROUP azure_ad_user", quoted(brien)), vec![brien]),
        // Made by a superuser: from 16 on the administrator could not label it.
        (1, format!("ALTER GROUP azure_ad_user ADD USER {}, job", quoted(gus)), vec![gus]),
        (0, format!("CREATE USER {} IN ROLE azure_ad_user", quoted(GUEST_NAME)), vec![GUEST_NAME]),
    ] {
        run(&mut sessions[session], &statement);
        let notices = sessions[session].take_notices();
        for user in users {
            let id = object_id(if user == GUEST_NAME { GUEST } else { user });
            assert_eq!(binding(&scene, user), bound_to_user(&scene, &id), "{statement}");
            let said = format!("role \"{user}\" is bound to the user with object id {id}");
            assert!(notices.iter().any(|notice| notice.message == said), "{statement}: {notices:?}");
        }
    }
    for user in [ann, bob, dan, eve, fay, gus] {
        scene.attempt(scene.route(), user).with(scene.token(user).mint()).expect_admitted();
    }
    scene.attempt(scene.route(), GUEST_NAME).with(scene.tenant.token().guest(GUEST).mint()).expect_admitted();
    assert_eq!(column(&scene, &format!("SELECT pg_has_role('{fay}', 'readers', 'MEMBER')")), "t");
    // Who has the name later is somebody else.
    let later = scene.token(ann).claim("oid", "c0ffee00-1234-4abc-9def-0123456789ab");
    scene.attempt(scene.route(), ann).with(later.mint()).expect_refused("principal_mismatch");
    // No user's name, and as without the directory.
    assert_eq!(binding(&scene, "job"), "member");
}

#[test]
fn nobody_is_asked_where_it_makes_no_difference_or_is_not_wanted() {
    let scene = furnished();
    scene.cluster.sql(&format!(
        "CREATE ROLE maker CREATEROLE; CREATE ROLE \"labelled@example.com\" LOGIN; \
         CREATE ROLE \"idle@example.com\" LOGIN; \
         SECURITY LABEL FOR pgaadauth ON ROLE \"labelled@example.com\" IS 'aadauth,oid={},type=user'; \
         REVOKE azure_ad_user FROM \"labelled@example.com\"; \
         SET aad_validate_oids_in_tenant = off; CREATE USER \"named@example.com\" IN ROLE azure_ad_user",
        object_id("ann@example.com")
    ));
    scene.tenant.set_trouble(|_, _| None);
    let mut superuser = superuser(&scene);
    let mut administrator = administrator(&scene);
    for statement in [
        "GRANT azure_ad_user TO \"labelled@example.com\"",
        "GRANT azure_ad_user TO \"named@example.com\"",
        "CREATE USER \"no-name\" IN ROLE azure_ad_user",
        "CREATE ROLE \"alone@example.com\" LOGIN",
        "GRANT maker TO \"alone@example.com\"",
        "REVOKE azure_ad_user FROM \"named@example.com\"",
        "SET aad_validate_oids_in_tenant = off; GRANT azure_ad_user TO \"named@example.com\"; \
         RESET aad_validate_oids_in_tenant",
    ] {
        run(&mut superuser, statement);
    }
    for (statement, sqlstate) in [
        ("CREATE USER \"named@example.com\" IN ROLE azure_ad_user", "42710"),
        ("GRANT azure_ad_user TO \"nosuch@example.com\"", "42704"),
        ("BEGIN READ ONLY; GRANT azure_ad_user TO \"idle@example.com\"", "25006"),
    ] {
        refused(&mut superuser, statement, sqlstate);
    }
    run(&mut superuser, "ROLLBACK; SET ROLE maker");
    for statement in [
        "GRANT azure_ad_user TO \"idle@example.com\"",
        "CREATE USER \"ann@example.com\" IN ROLE azure_ad_user",
    ] {
        refused(&mut superuser, statement, "42501");
    }
    refused(&mut administrator, "CREATE USER \"named@example.com\" IN ROLE azure_ad_user", "42710");
    assert_eq!(scene.tenant.questions(), 0, "nobody has asked Graph");
    assert_eq!(binding(&scene, "named@example.com"), "member");
    let id = object_id("ann@example.com");
    let kept = format!("pgaadauth aadauth,oid={id},type=user; member");
    assert_eq!(binding(&scene, "labelled@example.com"), kept);
}

#[test]
fn name_that_no_user_has_changes_nothing_and_the_hint_says_what_to_do() {
    let scene = furnished();
    scene.cluster.sql("CREATE ROLE \"gone@example.com\" LOGIN");
    let mut administrator = administrator(&scene);
    // Neither a guest's mail nor a group is what such a statement means.
    for name in ["nosuch@example.com", GUEST, "team@example.com"] {
        let statement = format!("CREATE USER {} IN ROLE azure_ad_user", quoted(name));
        let answer = refused(&mut administrator, &statement, "42704");
        let words =
            format!("Could not validate AAD user \"{name}\" because its name is not found in the tenant.");
        assert_eq!(answer.message, words);
        assert_eq!(column(&scene, &format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'")), "0");
    }
    let grant = "GRANT azure_ad_user TO \"gone@example.com\"";
    let mut superuser = superuser(&scene);
    let answer = refused(&mut superuser, grant, "42704");
    assert_eq!(binding(&scene, "gone@example.com"), "");
    let id = object_id("somebody");
    let (_, by_id) = answer.hint.split_once("by object id: ").expect("a statement");
    let (by_id, by_name) = by_id.split_once(" Or to its name: ").expect("another");
    run(&mut superuser, &format!("BEGIN; {}", by_id.replace("<object id>", &id)));
    assert_eq!(
        superuser.value("SELECT count(*) FROM pg_seclabels WHERE provider = 'pgaadauth'").as_deref(),
        Some("2")
    );
    run(&mut superuser, "ROLLBACK");
    let (set, _) = by_name.split_once(" and then").expect("first that");
    run(&mut superuser, &format!("{set} {grant}; RESET aad_validate_oids_in_tenant"));
    assert_eq!(binding(&scene, "gone@example.com"), "member");
    // As a dump is restored.
    let host = scene.cluster.socket_dir();
    let off = format!(
        "host={} port={} dbname=postgres user=postgres options='-c aad_validate_oids_in_tenant=off'",
        host.display(),
        scene.cluster.port()
    );
    let restored =
        scene.cluster.psql_nearby(&off, None, "CREATE USER \"kept@example.com\" IN ROLE azure_ad_user");
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(binding(&scene, "kept@example.com"), "member");
    // The role is made first where it is not there.
    let answer = refused(&mut superuser, "CREATE USER \"new@example.com\" IN ROLE azure_ad_user", "42704");
    let (_, by_id) = answer.hint.split_once("by object id: ").expect("a statement");
    let (by_id, _) = by_id.split_once(" Or to").expect("another");
    run(&mut superuser, &by_id.replace("<object id>", &id));
    assert_eq!(binding(&scene, "new@example.com"), format!("pgaadauth aadauth,oid={id},type=user; member"));
}

#[test]
fn directory_that_cannot_be_asked_is_an_error_and_changes_nothing() {
    let scene = furnished();
    let mut superuser = superuser(&scene);
    let statement = "CREATE USER \"ann@example.com\" IN ROLE azure_ad_user";
    scene.tenant.set_trouble(|_, path| path.contains("/users").then_some(Trouble::Html));
    let answer = refused(&mut superuser, statement, "08006");
    assert!(answer.message.contains("code=page_malformed"), "{answer}");
    scene.tenant.set_trouble(|_, path| path.contains("/users").then_some(Trouble::Stalled));
    refused(&mut superuser, &format!("SET statement_timeout = '500ms'; {statement}"), "57014");
    scene.tenant.end_trouble();
    assert_eq!(binding(&scene, "ann@example.com"), "");
    wait_until("the worker is free again", || superuser.query(statement).is_ok());
    assert_eq!(binding(&scene, "ann@example.com"), bound_to_user(&scene, &object_id("ann@example.com")));
}

#[test]
fn role_with_power_stays_a_superusers_to_bind() {
    let scene = furnished();
    scene.cluster.sql(
        "CREATE ROLE \"ann@example.com\" LOGIN BYPASSRLS; CREATE ROLE \"bob@example.com\" LOGIN SUPERUSER; \
         CREATE ROLE \"dan@example.com\" LOGIN REPLICATION; CREATE ROLE \"eve@example.com\" LOGIN; \
         GRANT pg_read_all_data TO \"eve@example.com\"; CREATE ROLE \"fay@example.com\" LOGIN; \
         CREATE ROLE outsider; GRANT \"fay@example.com\" TO outsider",
    );
    let mut administrator = administrator(&scene);
    for user in ["ann", "bob", "dan", "fay"] {
        let role = format!("{user}@example.com");
        for statement in ["GRANT azure_ad_user TO", "ALTER GROUP azure_ad_user ADD USER"] {
            refused(&mut administrator, &format!("{statement} {}", quoted(&role)), "42501");
            assert_eq!(binding(&scene, &role), "", "{statement}");
        }
    }
    // A member whom a superuser has made one stays as it is, too.
    scene.cluster.sql(
        "SET aad_validate_oids_in_tenant = off; SET client_min_messages = error; \
         GRANT azure_ad_user TO \"ann@example.com\", \"dan@example.com\"",
    );
    for user in ["ann", "dan"] {
        let role = format!("{user}@example.com");
        run(&mut administrator, &format!("GRANT azure_ad_user TO {}", quoted(&role)));
        refused(
            &mut administrator,
            &format!("ALTER ROLE {} PASSWORD '{}'", quoted(&role), object_id(&role)),
            "42501",
        );
        assert_eq!(binding(&scene, &role), "member");
    }
}

#[test]
fn id_for_a_password_is_a_users_or_a_programs() {
    let scene = furnished();
    let [ann, bob, dan, ..] = USERS.map(object_id);
    let mut sessions = [superuser(&scene), administrator(&scene)];
    for (number, session) in sessions.iter_mut().enumerate() {
        let [one, two, three] = ["one", "two", "three"].map(|name| format!("{name}{number}@example.com"));
        let [new, later, sooner] = [&one, &two, &three].map(|name| quoted(name));
        for statement in [
            // The recipe as the field has it: with the look-up off.
            "SET aad_validate_oids_in_tenant = off".to_owned(),
            format!("CREATE ROLE {new} WITH LOGIN PASSWORD '{ann}' IN ROLE azure_ad_user"),
            format!("CREATE ROLE {later} LOGIN PASSWORD '{bob}'"),
            format!("GRANT azure_ad_user TO {later}"),
            format!("CREATE USER {sooner} IN ROLE azure_ad_user"),
            format!("ALTER ROLE {sooner} PASSWORD '{dan}' CONNECTION LIMIT 7"),
            "RESET aad_validate_oids_in_tenant".to_owned(),
        ] {
            run(session, &statement);
        }
        for (role, user, id) in [(&one, USERS[0], &ann), (&two, USERS[1], &bob), (&three, USERS[2], &dan)] {
            assert_eq!(binding(&scene, role), bound_to_user(&scene, id));
            assert!(password_is_null(&scene, role));
            scene.attempt(scene.route(), role).with(scene.token(user).mint()).expect_admitted();
        }
        let limit = format!("SELECT rolconnlimit FROM pg_authid WHERE rolname = '{three}'");
        assert_eq!(column(&scene, &limit), "7");
        // With any name, while ids are validated; and a program's.
        let (plain, job) = (format!("plain{number}"), format!("job{number}"));
        run(session, &format!("CREATE ROLE {plain} LOGIN PASSWORD '{ann}' IN ROLE azure_ad_user"));
        assert_eq!(binding(&scene, &plain), bound_to_user(&scene, &ann));
        run(session, &format!("CREATE ROLE {job} LOGIN PASSWORD '{JOB}' IN ROLE azure_ad_user"));
        assert_eq!(binding(&scene, &job), format!("pgaadauth aadauth,oid={JOB},type=service; member"));
        scene.attempt(scene.route(), &job).with(scene.tenant.token().app(JOB).mint()).expect_admitted();
        // Nobody's.
        let nobody = object_id("nobody at all");
        let unknown = format!("CREATE ROLE x{number} LOGIN PASSWORD '{nobody}' IN ROLE azure_ad_user");
        let answer = refused(session, &unknown, "42704");
        assert!(answer.message.contains(&nobody), "{answer}");
        assert_eq!(binding(&scene, &format!("x{number}")), "");
        let (_, hint) = answer.hint.split_once("by object id: ").expect("a statement");
        let (bind, _) = hint.split_once(" Or ").expect("for a program");
        run(session, bind);
        let kept = format!("pgaadauth aadauth,oid={nobody},type=user; member");
        assert_eq!(binding(&scene, &format!("x{number}")), kept);
    }
    // Only who may has ids asked about.
    scene.cluster.sql("CREATE ROLE maker CREATEROLE");
    scene.tenant.set_trouble(|_, _| None);
    run(&mut sessions[0], "SET ROLE maker");
    let statement = format!("CREATE ROLE \"y@example.com\" LOGIN PASSWORD '{ann}' IN ROLE azure_ad_user");
    refused(&mut sessions[0], &statement, "42501");
    assert_eq!(scene.tenant.questions(), 0);
}

#[test]
fn id_for_the_password_of_a_role_named_as_a_user_is_an_error_without_a_directory() {
    let scene = Scene::start();
    let id = object_id("ann@example.com");
    let mut superuser = superuser(&scene);
    let role = "\"ann@example.com\"";
    for (before, statement) in [
        ("SELECT", format!("CREATE ROLE {role} LOGIN PASSWORD '{id}' IN ROLE azure_ad_user")),
        (&*format!("CREATE ROLE {role} LOGIN PASSWORD '{id}'"), format!("GRANT azure_ad_user TO {role}")),
        (
            &*format!("CREATE ROLE {role} LOGIN IN ROLE azure_ad_user"),
            format!("ALTER ROLE {role} PASSWORD '{id}'"),
        ),
    ] {
        run(&mut superuser, before);
        let answer = refused(&mut superuser, &statement, "0A000");
        let (bind, program) = answer.hint.split_once(" Or ").expect("for a program");
        assert!(program.contains("type=service"), "{answer:?}");
        run(&mut superuser, bind);
        scene.attempt(scene.route(), "ann@example.com").expect_admitted();
        assert!(password_is_null(&scene, "ann@example.com"), "the id would be a password again: {bind}");
        run(&mut superuser, &format!("DROP ROLE {role}"));
    }
}

/// What happens while Graph is asked: the statement, and what others do meanwhile.
fn meanwhile(scene: &Scene, statement: &str, others: &str) -> Result<(), Answer> {
    let (asked, is_asked) = mpsc::channel();
    let (answer, may_answer) = mpsc::channel::<()>();
    scene.tenant.set_trouble(move |_, path| {
        if path.contains("/users") {
            let _ = asked.send(());
            let _ = may_answer.recv_timeout(PATIENCE);
        }
        None
    });
    let result = thread::scope(|scope| {
        let asking = scope.spawn(|| superuser(scene).query(statement).map(drop));
        is_asked.recv_timeout(PATIENCE).expect("Graph is asked");
        scene.cluster.sql(others);
        drop(answer);
        asking.join().expect("no panic")
    });
    scene.tenant.end_trouble();
    result
}

#[test]
fn others_change_roles_while_the_directory_is_asked_and_a_role_that_changed_is_not_bound() {
    let scene = furnished();
    scene.cluster.sql(
        "CREATE ROLE \"ann@example.com\" LOGIN; CREATE ROLE \"bob@example.com\" LOGIN; \
         CREATE ROLE \"dan@example.com\" LOGIN",
    );
    // Another's label stays.
    let other = object_id("somebody else");
    let label = format!(
        "SECURITY LABEL FOR pgaadauth ON ROLE \"ann@example.com\" IS 'aadauth,oid={other},type=user'"
    );
    meanwhile(&scene, "GRANT azure_ad_user TO \"ann@example.com\"", &label).expect("no error");
    assert_eq!(
        binding(&scene, "ann@example.com"),
        format!("pgaadauth aadauth,oid={other},type=user; member")
    );
    // A role that had a label when the questions were asked.
    let unlabel = "SECURITY LABEL FOR pgaadauth ON ROLE \"ann@example.com\" IS NULL";
    let both = "GRANT azure_ad_user TO \"bob@example.com\", \"ann@example.com\"";
    let answer = meanwhile(&scene, both, unlabel).expect_err("ann has no label any more");
    assert_eq!(answer.sqlstate, "40001", "{answer}");
    assert_eq!(binding(&scene, "bob@example.com"), "");
    scene.cluster.sql(both);
    for user in ["ann@example.com", "bob@example.com"] {
        assert_eq!(binding(&scene, user), bound_to_user(&scene, &object_id(user)));
    }
    // A name that is another role's meanwhile: what the name says is true of that one.
    let swap = "DROP ROLE \"dan@example.com\"; CREATE ROLE \"dan@example.com\" LOGIN CONNECTION LIMIT 3";
    meanwhile(&scene, "GRANT azure_ad_user TO \"dan@example.com\"", swap).expect("no error");
    assert_eq!(binding(&scene, "dan@example.com"), bound_to_user(&scene, &object_id("dan@example.com")));
}
