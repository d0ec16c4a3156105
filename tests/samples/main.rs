//! The samples of `docs/clients.md` as they stand there, with the drivers that they are for, against a real server.
//! `make samples` installs the drivers and runs them. Microsoft's own libraries get their token from a stand-in for the
//! Azure CLI.
//!
//! Not run: .NET and Go, whose drivers are in no registry that the tests may count on; Java's `azure-identity`, which a
//! class of the same name stands in for; pgAdmin and DBeaver, which are set up by hand.

mod ansible;
mod graph;
mod monitoring;
mod stage;

use pgaad_tests::document::Section;
use stage::{HUMAN, Stage, drivers};

const CLIENTS: &str = include_str!("../../docs/clients.md");

fn section(title: &str) -> Section<'_> {
    Section::of(CLIENTS, title)
}

/// Runs Python with these samples and some lines more, as the role `robot`.
fn python(stage: &Stage, parts: &[&str]) -> String {
    python_of("robot", stage, parts)
}

fn python_of(role: &str, stage: &Stage, parts: &[&str]) -> String {
    let program: Vec<_> = parts.iter().map(|part| stage.put_in(part)).collect();
    let file = stage.write("sample.py", &program.join("\n"));
    let python = drivers().join("python/bin/python");
    stage.run(role, &[python.to_str().expect("UTF-8"), file.to_str().expect("UTF-8")], "")
}

/// The first sample of Python's section ends with a connection; the others use what stands before that.
fn with_token() -> &'static str {
    let sample = section("Python: psycopg 3 and 2").samples("python")[0];
    sample.split("\nwith ").next().expect("there is a beginning")
}

#[test]
fn azure_cli_and_psql() {
    let Some(stage) = Stage::set() else { return };
    let sample = stage.put_in(section("Azure CLI and psql").sample("sh"));
    let said =
        stage.run(HUMAN, &["sh", "-ec", &sample], "\\pset format unaligned\n\\t\nSELECT current_user;\n");
    assert!(said.ends_with(HUMAN), "{said}");
}

#[test]
fn psycopg_3() {
    let Some(stage) = Stage::set() else { return };
    let said = python(&stage, &[section("Python: psycopg 3 and 2").samples("python")[0]]);
    assert!(said.starts_with("('") && said.len() == "('',)".len() + 36, "{said}");
}

#[test]
fn psycopg_2() {
    let Some(stage) = Stage::set() else { return };
    assert!(CLIENTS.contains("psycopg 2: `psycopg2.connect(\"…\", password=token())`"));
    let connect = "import psycopg2\n\
        conn = psycopg2.connect('host=db.example.com dbname=app user=robot sslmode=verify-full', password=token())\n\
        cursor = conn.cursor()\ncursor.execute('SELECT current_user')\nprint(cursor.fetchone()[0])";
    assert_eq!(python(&stage, &[with_token(), connect]), "robot");
}

#[test]
fn azure_postgresql_auth_works_with_azures_own_audience() {
    let Some(stage) = Stage::set_for("https://ossrdbms-aad.database.windows.net") else { return };
    let sample = section("Python: psycopg 3 and 2").samples("python")[2];
    assert_eq!(python_of(HUMAN, &stage, &[sample]), format!("('{HUMAN}',)"));
}

/// Ends every connection of the pools from inside, as `session_end = token` would.
const END_CONNECTIONS: &str = r#"
def end_connections():
    with psycopg.connect("host=db.example.com dbname=app user=robot sslmode=verify-full", password=token()) as other:
        other.execute("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE usename = 'robot' AND pid <> pg_backend_pid()""")
"#;

#[test]
fn psycopg_pool_lends_no_connection_that_has_ended() {
    let Some(stage) = Stage::set() else { return };
    let pool = section("Python: psycopg 3 and 2").samples("python")[1];
    let uses = "for _ in range(2):\n    with pool.connection() as conn:\n        \
        print(conn.execute('SELECT current_user').fetchone()[0])\n    end_connections()";
    assert_eq!(python(&stage, &[with_token(), pool, END_CONNECTIONS, uses]), "robot\nrobot");
}

#[test]
fn sqlalchemy_lends_no_connection_that_has_ended() {
    let Some(stage) = Stage::set() else { return };
    let engine = section("SQLAlchemy").sample("python");
    let uses = "from sqlalchemy import text\nfor _ in range(2):\n    with engine.connect() as conn:\n        \
        print(conn.execute(text('SELECT current_user')).scalar())\n    end_connections()";
    assert_eq!(python(&stage, &[with_token(), engine, END_CONNECTIONS, uses]), "robot\nrobot");
}

#[test]
fn django() {
    let Some(stage) = Stage::set() else { return };
    let samples = section("Django").samples("python");
    let [backend, settings] = samples.as_slice() else { panic!("{} samples", samples.len()) };
    stage.write("entra/__init__.py", "");
    stage.write("entra/base.py", &stage.put_in(backend));
    stage.write("settings.py", &format!("SECRET_KEY = 'x'\n{}", stage.put_in(settings)));
    let uses = "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\nimport django\ndjango.setup()\n\
        from django.core.signals import request_started\nfrom django.db import connection\nimport psycopg\n\
        from entra.base import credential, SCOPE\ndef token():\n    return credential.get_token(SCOPE).token\n";
    let twice = "for _ in range(2):\n    request_started.send(None)\n    with connection.cursor() as cursor:\n        \
        cursor.execute('SELECT current_user')\n        print(cursor.fetchone()[0])\n    end_connections()";
    assert_eq!(python(&stage, &[uses, END_CONNECTIONS, twice]), "robot\nrobot");
}

#[test]
fn node_lives_on_when_an_idle_connection_ends() {
    let Some(stage) = Stage::set() else { return };
    let pool = stage.put_in(section("Node: pg").sample("js"));
    let uses = "
const who = async () => console.log((await pool.query('SELECT current_user')).rows[0].current_user)
await who()
const other = await pool.connect(), idle = await pool.connect()
idle.release()
const ended = new Promise((resolve) => pool.once('error', resolve))
await other.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'robot' AND pid <> pg_backend_pid()`)
await ended
other.release()
await who()
await pool.end()";
    let file = stage.write("sample.mjs", &(pool + uses));
    assert_eq!(stage.run("robot", &["node", file.to_str().expect("UTF-8")], ""), "robot\nrobot");
}

/// What stands in for `azure-identity`: it asks the same command as `AzureCliCredential` does.
const AZURE_IDENTITY: [(&str, &str); 4] = [
    (
        "com/azure/core/credential/TokenRequestContext.java",
        "package com.azure.core.credential; public class TokenRequestContext { public String scope; \
         public TokenRequestContext addScopes(String scope) { this.scope = scope; return this; } }",
    ),
    (
        "com/azure/core/credential/AccessToken.java",
        "package com.azure.core.credential; public record AccessToken(String token) { \
         public String getToken() { return token; } }",
    ),
    (
        "com/azure/identity/DefaultAzureCredential.java",
        "package com.azure.identity; import com.azure.core.credential.*; public class DefaultAzureCredential { \
         public AccessToken getTokenSync(TokenRequestContext context) { try { \
         var az = new ProcessBuilder(\"az\", \"account\", \"get-access-token\", \"--scope\", context.scope, \
         \"--query\", \"accessToken\").start(); \
         return new AccessToken(new String(az.getInputStream().readAllBytes()).trim()); \
         } catch (java.io.IOException error) { throw new RuntimeException(error); } } }",
    ),
    (
        "com/azure/identity/DefaultAzureCredentialBuilder.java",
        "package com.azure.identity; public class DefaultAzureCredentialBuilder { \
         public DefaultAzureCredential build() { return new DefaultAzureCredential(); } }",
    ),
];

#[test]
fn jdbc() {
    let Some(stage) = Stage::set() else { return };
    let section = section("JDBC");
    for (name, text) in AZURE_IDENTITY {
        stage.write(name, text);
    }
    stage.write("com/example/EntraToken.java", &stage.put_in(section.sample("java")));
    let url = section.samples("").into_iter().find(|sample| sample.starts_with("jdbc:")).expect("a URL");
    let main = format!(
        "import java.sql.*; public class Main {{ public static void main(String[] given) throws SQLException {{ \
         try (var connection = DriverManager.getConnection(\"{}\"); \
         var rows = connection.createStatement().executeQuery(\"SELECT current_user\")) {{ \
         rows.next(); System.out.println(rows.getString(1)); }} }} }}",
        stage.put_in(url).trim()
    );
    stage.write("Main.java", &main);
    let path = "/usr/share/java/postgresql.jar:.";
    stage.run("robot", &["javac", "-cp", path, "Main.java", "com/example/EntraToken.java"], "");
    let home = format!("-Duser.home={}", stage.directory.display());
    assert_eq!(stage.run("robot", &["java", &home, "-cp", path, "Main"], ""), "robot");
}
