//! Databases that are not UTF-8: whatever a session is told there is in the database's encoding.

use pgaad_tests::wire::{self, Answer, Connection, Outcome, Session};
use pgaad_tests::{Scene, run_directory};
use std::fs;
use std::sync::OnceLock;
use tenant::{Token, object_id};

/// A database of each encoding, and a name that it can hold.
const DATABASES: [(&str, &str, &str); 6] = [
    ("in_utf8", "UTF8", "Jürgen 山田 김철수"),
    ("in_latin1", "LATIN1", "Jürgen Groß"),
    ("in_win1252", "WIN1252", "Jürgen – 5 €"),
    ("in_euc_jp", "EUC_JP", "山田 太郎"),
    ("in_euc_kr", "EUC_KR", "김철수"),
    ("in_ascii", "SQL_ASCII", "Jürgen 山田"),
];

/// `Jürgen`, as a role's name in LATIN1.
const JUERGEN: &[u8] = b"j\xfcrgen@example.com";

/// A scene with the databases; `trust` leads into all of them.
fn start(configure: impl FnOnce(pgaad_tests::Cluster) -> pgaad_tests::Cluster) -> Scene {
    let names: Vec<_> = DATABASES.iter().map(|(name, ..)| *name).collect();
    let scene = Scene::with(|cluster| configure(cluster.hba(format!("local {} all trust", names.join(",")))));
    for (name, encoding, _) in DATABASES {
        scene.cluster.sql(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ));
        let made = scene.cluster.try_sql_in(name, "CREATE EXTENSION pgaad");
        made.unwrap_or_else(|answer| panic!("CREATE EXTENSION in {encoding}: {answer}"));
    }
    scene
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| start(|cluster| cluster))
}

/// A session of a client that speaks UTF-8.
fn login(scene: &Scene, database: &str, role: impl AsRef<[u8]>, token: &[u8]) -> Session {
    let target = scene.cluster.unix(database);
    match wire::login_with(&target, role, token, &[("client_encoding", "UTF8")]).outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{database}: {answers:?}"),
    }
}

fn superuser(scene: &Scene, database: &str) -> Session {
    login(scene, database, "postgres", b"")
}

fn text(session: &mut Session, sql: &str) -> String {
    session.value(sql).unwrap_or_else(|| panic!("{sql}: NULL"))
}

fn error(session: &mut Session, sql: &str) -> Answer {
    session.query(sql).expect_err(sql)
}

/// A token of a member, with a name of theirs.
fn named(scene: &Scene, member: &str, name: &str) -> Token {
    scene.token(member).claim("name", name)
}

#[test]
fn claims_are_in_the_encoding_of_the_database_and_a_policy_on_them_gives_rows() {
    let scene = scene();
    let ann = scene.member();
    for (database, encoding, name) in DATABASES {
        let made = format!(
            "CREATE TABLE notes (name text, note text); ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON notes USING (name = (SELECT pgaad.claims())->>'name');
             INSERT INTO notes VALUES ('{name}', 'theirs'), ('J\u{fc}rgen', 'another''s'); GRANT ALL ON notes TO PUBLIC"
        );
        let made = if database.contains("euc") { made.replace('ü', "ue") } else { made };
        superuser(scene, database).query(&made).unwrap_or_else(|answer| panic!("{encoding}: {answer}"));

        let mut session = login(scene, database, &ann, named(scene, &ann, name).mint().as_bytes());
        assert_eq!(text(&mut session, "SELECT pgaad.claims()->>'name'"), name, "{encoding}");
        assert_eq!(text(&mut session, "SELECT string_agg(note, ',') FROM notes"), "theirs", "{encoding}");
        let bytes = text(&mut session, "SELECT octet_length(pgaad.claims()->>'name')");
        let expected = match encoding {
            "LATIN1" | "WIN1252" => name.chars().count(),
            "EUC_JP" | "EUC_KR" => name.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum(),
            _ => name.len(),
        };
        assert_eq!(bytes, expected.to_string(), "{encoding}");
        // Asked again, and beside others.
        assert_eq!(text(&mut session, "SELECT pgaad.claims()->>'name'"), name, "{encoding}");
        assert_eq!(text(&mut session, "SELECT pgaad.claims()->>'oid'"), object_id(&ann), "{encoding}");
    }
}

#[test]
fn claim_that_the_encoding_cannot_hold_is_left_out_and_no_other() {
    let scene = scene();
    let ann = scene.member();
    let token = named(scene, &ann, "山田")
        .claim("family_name", "Groß")
        .claim("名", "by its name")
        .claim("deep", serde_json::json!({ "a": ["김"] }))
        .claim("note", "日 at the end 山")
        .mint();
    let keys = "SELECT count(*) FROM jsonb_object_keys(pgaad.claims())";
    let mut whole = login(scene, "in_utf8", &ann, token.as_bytes());
    assert_eq!(text(&mut whole, "SELECT pgaad.claims()->'deep'->'a'->>0"), "김");
    assert_eq!(text(&mut whole, "SELECT pgaad.claims()->>'名'"), "by its name");
    let all: usize = text(&mut whole, keys).parse().expect("a number");

    let missing =
        "SELECT string_agg(name, ' ' ORDER BY place) FROM unnest(ARRAY['name', 'deep', 'note', 'family_name', 'oid'])
            WITH ORDINALITY AS wanted(name, place) WHERE NOT pgaad.claims() ? name";
    for (database, left_out, count) in [
        ("in_latin1", "name deep note", 4),
        ("in_win1252", "name deep note", 4),
        ("in_euc_kr", "", 0),
        ("in_ascii", "", 0),
    ] {
        let mut session = login(scene, database, &ann, token.as_bytes());
        let expected = Some(left_out).filter(|left_out| !left_out.is_empty());
        assert_eq!(session.value(missing).as_deref(), expected, "{database}");
        assert_eq!(text(&mut session, keys), (all - count).to_string(), "{database}");
        assert_eq!(text(&mut session, "SELECT pgaad.claims()->>'family_name'"), "Groß", "{database}");
        assert_eq!(text(&mut session, "SELECT pgaad.claims()->>'oid'"), object_id(&ann), "{database}");
    }
    // EUC_JP has no Hangul.
    let mut session = login(scene, "in_euc_jp", &ann, token.as_bytes());
    assert_eq!(session.value(missing).as_deref(), Some("deep"));
    assert_eq!(text(&mut session, "SELECT pgaad.claims()->>'名'"), "by its name");
}

#[test]
fn events_show_what_the_encoding_cannot_hold_as_escapes() {
    let scene = scene();
    let ann = scene.member();
    let label = format!(
        "SECURITY LABEL FOR pgaadauth ON ROLE \"{ann}\" IS 'aadauth,oid={},type=user'",
        object_id(&ann)
    );
    scene.cluster.sql(&label);
    let token = scene.token(&ann).claim("upn", "山田–ü@example.com").mint();
    login(scene, "in_utf8", &ann, token.as_bytes());
    let upn = format!(
        "SELECT upn FROM pgaad.events WHERE role = '{ann}' AND upn IS NOT NULL ORDER BY id DESC LIMIT 1"
    );
    for (database, expected) in [
        ("in_utf8", "山田–ü@example.com"),
        ("in_ascii", "山田–ü@example.com"),
        ("in_latin1", r"\u{5c71}\u{7530}\u{2013}ü@example.com"),
        ("in_win1252", r"\u{5c71}\u{7530}–ü@example.com"),
        ("in_euc_jp", r"山田\u{2013}ü@example.com"),
        ("in_euc_kr", r"山田\u{2013}\u{fc}@example.com"),
    ] {
        assert_eq!(text(&mut superuser(scene, database), &upn), expected, "{database}");
    }
}

#[test]
fn role_name_in_an_event_is_that_of_the_catalog_in_every_database() {
    let scene = start(|cluster| cluster);
    // The last message that a client gets who has no token.
    let refused = |role: &[u8]| {
        let target = scene.cluster.unix("in_latin1");
        let mut connection = Connection::connect(&target).expect("the server listens");
        connection.startup(role, &target.database, &[]).expect("the server reads");
        assert_eq!(connection.read_message().expect("a request").tag, b'R', "it is asked for the token");
        connection.send_password(b"no token").expect("the server reads");
        connection.read_message().expect("a refusal")
    };
    superuser(&scene, "in_latin1")
        .query("CREATE ROLE \"jürgen@example.com\" LOGIN IN ROLE azure_ad_user")
        .expect("a member");
    // As in core's own refusals, the client gets the bytes that it sent.
    let mark = scene.cluster.log_mark();
    let told = refused(JUERGEN).fields();
    let expected = [b"token authentication failed for user \"", JUERGEN, b"\""].concat();
    assert!(told.contains(&(b'M', expected)), "{told:?}");
    let log = scene.cluster.log_since(mark);
    assert!(log.contains(r#" role="j\xfcrgen@example.com" "#), "{log}");
    let joined = "SELECT rolname FROM pgaad.events JOIN pg_roles ON rolname = role ORDER BY id DESC LIMIT 1";
    assert_eq!(text(&mut superuser(&scene, "in_latin1"), joined), "jürgen@example.com");
    let role = "SELECT role FROM pgaad.events ORDER BY id DESC LIMIT 1";
    for (database, expected) in [
        ("in_latin1", "jürgen@example.com"),
        ("in_win1252", "jürgen@example.com"),
        ("in_utf8", r"j\xfcrgen@example.com"),
        ("in_euc_jp", r"j\xfcrgen@example.com"),
        ("in_euc_kr", r"j\xfcrgen@example.com"),
    ] {
        assert_eq!(text(&mut superuser(&scene, database), role), expected, "{database}");
    }
    let event = "SELECT detail FROM pgaad.explain_event((SELECT max(id) FROM pgaad.events)) WHERE ok = false";
    assert!(!text(&mut superuser(&scene, "in_euc_kr"), event).is_empty());

    // A name that reads like the escape of another is itself.
    scene.cluster.sql(r#"CREATE ROLE "j\xfcrgen@example.com" LOGIN IN ROLE azure_ad_user"#);
    refused(br"j\xfcrgen@example.com");
    assert_eq!(text(&mut superuser(&scene, "in_latin1"), role), r"j\xfcrgen@example.com");
}

#[test]
fn error_is_raised_in_the_encoding_of_the_database() {
    let scene = scene();
    scene.cluster.sql("CREATE ROLE to_be_labelled");
    for (database, encoding, name) in DATABASES {
        let mut session = superuser(scene, database);
        let label = format!("SECURITY LABEL FOR pgaadauth ON ROLE to_be_labelled IS 'aadauth,{name}'");
        for _ in 0..3 {
            let answer = error(&mut session, &label);
            assert!(
                answer.message.contains(&format!("invalid Entra label: \"{name}\" is none of")),
                "{answer:?}"
            );
            assert_eq!(answer.sqlstate, "22023", "{encoding}");
        }
        // In the words that a handler of the session's own sees, too, and the error that comes after has its own.
        let handler = format!(
            "DO $do$ BEGIN BEGIN {label}; EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', SQLERRM; END; \
             PERFORM 1/0; END $do$"
        );
        assert_eq!(error(&mut session, &handler).message, "division by zero", "{encoding}");
        let notices = session.take_notices();
        assert!(notices.iter().any(|notice| notice.message.contains(&format!("\"{name}\""))), "{notices:?}");
    }
    // All of it can be read: what LATIN1 has no dots for is written with three.
    let answer = error(
        &mut superuser(scene, "in_latin1"),
        "SECURITY LABEL FOR pgaadauth ON ROLE to_be_labelled IS 'größe'",
    );
    assert!(answer.hint.contains("oid=...,type=user") && answer.hint.is_ascii(), "{answer:?}");
}

#[test]
fn warning_is_in_the_encoding_of_the_database() {
    let scene = scene();
    let superuser_of = |database: &str| superuser(scene, database);
    for (database, name) in
        [("in_latin1", "größte"), ("in_euc_jp", "山"), ("in_euc_kr", "김"), ("in_utf8", "größer")]
    {
        let mut session = superuser_of(database);
        session.query(&format!("CREATE ROLE \"{name}\" SUPERUSER")).expect("a role");
        session.query(&format!("GRANT azure_ad_user TO \"{name}\"")).expect("a member");
        let notices = session.take_notices();
        let expected = format!("role \"{name}\" is a superuser and a member of azure_ad_user");
        assert!(
            notices.iter().any(|notice| notice.message == expected && notice.sqlstate == "01000"),
            "{notices:?}"
        );
    }
}

#[test]
fn name_of_a_key_is_shown_in_every_encoding() {
    let scene = start(|cluster| cluster);
    let file = run_directory::fresh("jwks");
    let mut keys = scene.tenant.keys().jwks();
    keys["keys"][0]["kid"] = "größe五".into();
    fs::write(&file, keys.to_string()).expect("our own file");
    scene.cluster.set("pgaad.jwks_file", &file.display().to_string());
    assert_eq!(text(&mut superuser(&scene, "in_utf8"), "SELECT pgaad.refresh()"), "t");
    for (database, shown) in [
        ("in_utf8", "größe五"),
        ("in_ascii", "größe五"),
        ("in_latin1", r"größe\u{4e94}"),
        ("in_win1252", r"größe\u{4e94}"),
        ("in_euc_jp", r"größe五"),
        ("in_euc_kr", r"gr\u{f6}ße五"),
    ] {
        let kids = "SELECT string_agg(kid, ' ') FROM pgaad.keys";
        let kids = text(&mut superuser(&scene, database), kids);
        assert!(kids.split(' ').any(|kid| kid == shown), "{database}: {kids}");
    }
}

#[test]
fn role_is_explained_by_the_bytes_of_its_name() {
    let scene = scene();
    let unsigned = |role: &str| {
        let token = scene.token(role).mint();
        token.rsplit_once('.').expect("three parts").0.to_owned()
    };
    superuser(scene, "in_latin1").query("CREATE ROLE \"größe\" LOGIN IN ROLE azure_ad_user").expect("a role");
    superuser(scene, "in_euc_jp").query("CREATE ROLE \"大\" LOGIN IN ROLE azure_ad_user").expect("a role");
    let role = |database: &str, role: &str| {
        let token = unsigned("ann@example.com");
        let sql =
            format!("SELECT ok || ' ' || detail FROM pgaad.explain('{role}', '{token}') WHERE step = 'role'");
        text(&mut superuser(scene, database), &sql)
    };
    for (database, name, stranger) in [
        ("in_latin1", "größe", "größer als alle"),
        ("in_win1252", "größe", "Žižek"),
        ("in_euc_jp", "大", "小"),
    ] {
        let found = role(database, name);
        assert!(found.starts_with("true ") && found.contains(name), "{database}: {found}");
        let missing = role(database, stranger);
        assert!(
            missing.starts_with("false role_missing") && missing.contains(stranger),
            "{database}: {missing}"
        );
    }
    // The same letters are other bytes, and nobody's name.
    assert!(role("in_utf8", "größe").starts_with("false role_missing"));
    assert!(role("in_euc_kr", "大").starts_with("false role_missing"));
    // Nor does such text panic as an argument, or as a token.
    for (database, _, name) in DATABASES {
        let answer = error(&mut superuser(scene, database), &format!("SELECT pgaad.explain('x', '{name}')"));
        assert_eq!(answer.sqlstate, "22023", "{database}: {answer:?}");
    }
}

#[test]
fn check_names_members_in_the_encoding_of_the_database() {
    let scene = scene();
    for (database, name) in [("in_latin1", "geprüft"), ("in_euc_jp", "検査"), ("in_euc_kr", "검사")] {
        let mut session = superuser(scene, database);
        session.query(&format!("CREATE ROLE \"{name}\" LOGIN IN ROLE azure_ad_user")).expect("a member");
        let named =
            session.query("SELECT detail FROM pgaad.check() WHERE item = 'members_by_name'").expect("rows");
        let named: Vec<_> = named.into_iter().flatten().flatten().collect();
        assert!(named.iter().any(|detail| detail.contains(&format!("\"{name}\""))), "{database}: {named:?}");
        assert_eq!(text(&mut session, "SELECT count(*) > 15 FROM pgaad.check()"), "t", "{database}");
    }
}

#[test]
fn trust_line_for_a_member_is_found_whatever_the_bytes_of_its_name() {
    let scene = start(|cluster| cluster);
    superuser(&scene, "in_latin1")
        .query("CREATE ROLE \"jürgen@example.com\" LOGIN IN ROLE azure_ad_user")
        .expect("a role");
    let of_member =
        "SELECT string_agg(DISTINCT ok::text, ' ') FROM pgaad.check() WHERE item = 'hba_trust_member'";
    let line = |name: &[u8]| [b"local in_latin1 \"", name, b"\" trust\n"].concat();
    for (name, ok) in
        [(JUERGEN, "false"), ("jürgen@example.com".as_bytes(), "true"), (b"j\xfdrgen@example.com", "true")]
    {
        let path = scene.cluster.data_dir().join("pg_hba.conf");
        fs::write(&path, [b"local all,replication postgres trust\n".to_vec(), line(name)].concat())
            .expect("our file");
        scene.cluster.set("pgaad.allow_trust", "off");
        assert_eq!(text(&mut superuser(&scene, "in_latin1"), of_member), ok, "{name:?}");
    }
}

/// Fails as long as a label's GRANT is built as SQL text from a name that is not UTF-8.
#[test]
fn role_whose_name_is_not_utf_8_is_labelled_listed_explained_checked_and_logged_in_as() {
    let scene = start(|cluster| cluster);
    let oid = object_id("juergen@example.com");
    let mut session = superuser(&scene, "in_latin1");
    for sql in [
        format!(
            "SELECT pgaadauth_create_principal_with_oid('jürgen@example.com', '{oid}', 'user', false, false)"
        ),
        "CREATE ROLE \"größe\" LOGIN".to_owned(),
        format!("SECURITY LABEL FOR pgaadauth ON ROLE \"größe\" IS 'aadauth,oid={oid},type=user'"),
    ] {
        session.query(&sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"));
    }
    let listed = "SELECT string_agg(rolename, ' ') FROM pgaadauth_list_principals(false)";
    assert_eq!(text(&mut session, listed), "größe jürgen@example.com");
    let token = scene.token("juergen@example.com").mint();
    let unsigned = token.rsplit_once('.').expect("three parts").0;
    for (name, bytes) in [("jürgen@example.com", JUERGEN), ("größe", b"gr\xf6\xdfe")] {
        let is_member = format!("SELECT pg_has_role('{name}', 'azure_ad_user', 'MEMBER')");
        assert_eq!(text(&mut session, &is_member), "t");
        let explained =
            format!("SELECT bool_and(ok) FROM pgaad.explain('{name}', '{unsigned}') WHERE step <> 'key'");
        assert_eq!(text(&mut session, &explained), "t", "{name}");
        let unbound = format!(
            "SELECT count(*) FROM pgaad.check() WHERE item = 'members_by_name' AND detail ~ '{name}'"
        );
        assert_eq!(text(&mut session, &unbound), "0", "{name}");
        let mut theirs = login(&scene, "in_latin1", bytes, token.as_bytes());
        assert_eq!(text(&mut theirs, "SELECT current_user"), name);
        let event = "SELECT role FROM pgaad.events WHERE code = 'admitted' ORDER BY id DESC LIMIT 1";
        assert_eq!(text(&mut session, event), name);
    }
}
