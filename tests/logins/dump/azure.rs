//! Dumps as Azure's servers make them, with other names: through `packaging/azure-dump` they restore whole.

use pgaad_tests::Scene;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tenant::object_id;

/// `pg_dumpall` of Flexible Server, PostgreSQL 16, and of the database `appdb` in it. `GROUP` and `TENANT` are ids.
const FLEXIBLE: &str = r#"
SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
CREATE ROLE "ann@example.com";
ALTER ROLE "ann@example.com" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
SECURITY LABEL FOR pgaadauth ON ROLE "ann@example.com" IS 'aadauth';
SECURITY LABEL FOR "pgaadauth-int" ON ROLE "ann@example.com" IS 'type=user,oid=ANN,tenant_id=TENANT';
CREATE ROLE azure_ad_admin;
ALTER ROLE azure_ad_admin WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE azure_ad_mfa;
ALTER ROLE azure_ad_mfa WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE azure_ad_user;
ALTER ROLE azure_ad_user WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE azure_pg_admin;
ALTER ROLE azure_pg_admin WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE azuresu;
ALTER ROLE azuresu WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;
CREATE ROLE localadmin;
ALTER ROLE localadmin WITH NOSUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION NOBYPASSRLS PASSWORD 'it''s;
-- a secret';
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE replication;
ALTER ROLE replication WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN REPLICATION NOBYPASSRLS;
CREATE ROLE "azuresu;reports";
ALTER ROLE "azuresu;reports" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
COMMENT ON ROLE "azuresu;reports" IS 'GRANT azuresu TO azuresu;';
SECURITY LABEL FOR pgaadauth ON ROLE "azuresu;reports" IS 'aadauth,oid=GROUP,type=group';
ALTER ROLE azuresu SET search_path TO 'pg_catalog';
ALTER ROLE localadmin SET search_path TO '$user', 'app';
GRANT azure_ad_user TO "ann@example.com" WITH INHERIT TRUE GRANTED BY azuresu;
GRANT azure_ad_user TO "azuresu;reports" WITH INHERIT TRUE GRANTED BY azuresu;
GRANT azure_pg_admin TO azure_ad_admin WITH INHERIT TRUE GRANTED BY azuresu;
GRANT azure_pg_admin TO localadmin WITH ADMIN OPTION, INHERIT TRUE GRANTED BY azuresu;
GRANT azure_pg_admin TO "ann@example.com" WITH INHERIT TRUE GRANTED BY localadmin;
GRANT azuresu TO replication WITH INHERIT TRUE GRANTED BY azuresu;
GRANT pg_execute_server_program TO azure_pg_admin WITH ADMIN OPTION, INHERIT TRUE GRANTED BY azuresu;
GRANT pg_monitor TO azure_pg_admin WITH ADMIN OPTION, INHERIT TRUE GRANTED BY azuresu;
GRANT pg_read_all_data TO "ann@example.com" WITH INHERIT TRUE GRANTED BY localadmin;
GRANT SET ON PARAMETER work_mem TO azure_pg_admin;
GRANT pg_signal_autovacuum_worker TO azure_pg_admin WITH ADMIN OPTION, INHERIT TRUE GRANTED BY azuresu;
CREATE TABLESPACE temptblspace OWNER azure_pg_admin LOCATION '/mnt/pg_tmp';
COMMENT ON TABLESPACE temptblspace IS 'temporary';
GRANT ALL ON TABLESPACE temptblspace TO localadmin;
CREATE DATABASE azure_sys WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C';
ALTER DATABASE azure_sys OWNER TO azuresu;
\connect azure_sys
CREATE SCHEMA query_store;
\connect -reuse-previous=on "dbname='appdb'"
CREATE EXTENSION IF NOT EXISTS azure WITH SCHEMA pg_catalog;
COMMENT ON EXTENSION azure IS 'azure extension; for PostgreSQL service';
CREATE EXTENSION IF NOT EXISTS pgaadauth WITH SCHEMA pg_catalog;
COMMENT ON EXTENSION pgaadauth IS 'Azure Active Directory Authentication';
CREATE FUNCTION public.f() RETURNS text
    LANGUAGE plpgsql
    AS $_$
BEGIN
    -- ALTER ROLE azuresu WITH SUPERUSER;
    RETURN 'it''s $$;
GRANT azuresu TO localadmin;';
END;
$_$;
ALTER FUNCTION public.f() OWNER TO azuresu;
CREATE FUNCTION public.g() RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT 1;
 SELECT 2;
END;
CREATE TABLE public.notes (
    id integer,
    note text DEFAULT 'azuresu;
'::text
);
ALTER TABLE public.notes OWNER TO localadmin;
COPY public.notes (id, note) FROM stdin;
1	ALTER ROLE azuresu WITH SUPERUSER;
2	it's "open $$
\.
INSERT INTO public.notes VALUES (3, E'a\\b\';');
CREATE VIEW public.later AS SELECT 1 AS one;
REVOKE ALL ON SCHEMA public FROM azuresu;
ALTER SCHEMA public OWNER TO azure_pg_admin;
GRANT ALL ON SCHEMA public TO azure_pg_admin;
GRANT ALL ON FUNCTION pg_catalog.pg_stat_reset() TO azure_pg_admin;
GRANT SELECT(name) ON TABLE pg_catalog.pg_config TO azure_pg_admin;
GRANT SELECT(starelid) ON TABLE pg_catalog.pg_statistic TO azure_pg_admin;
GRANT SELECT ON TABLE public.notes TO azuresu;
GRANT SELECT ON TABLE public.notes TO "azuresu;reports";
ALTER DEFAULT PRIVILEGES FOR ROLE azuresu IN SCHEMA public GRANT SELECT ON TABLES TO localadmin;
ALTER DEFAULT PRIVILEGES FOR ROLE localadmin IN SCHEMA public GRANT SELECT ON TABLES TO "azuresu;reports";
"#;

/// `pg_dumpall --roles-only` of Single Server, PostgreSQL 11.
const SINGLE: &str = r#"
CREATE ROLE azure_ad_user;
ALTER ROLE azure_ad_user WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE azure_pg_admin;
ALTER ROLE azure_pg_admin WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE azure_superuser;
ALTER ROLE azure_superuser WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;
CREATE ROLE myadmin;
ALTER ROLE myadmin WITH NOSUPERUSER INHERIT CREATEROLE CREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE "ann@example.com";
ALTER ROLE "ann@example.com" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
GRANT azure_ad_user TO "ann@example.com" GRANTED BY myadmin;
GRANT azure_pg_admin TO myadmin GRANTED BY azure_superuser;
GRANT azure_superuser TO azure_pg_admin GRANTED BY azure_superuser;
"#;

fn filter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("packaging/azure-dump")
}

/// What the filter makes of a dump, and what it says.
fn filtered(dump: &str) -> (String, String) {
    let output = filter_with(&[], dump);
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

fn filter_with(arguments: &[&str], dump: &str) -> Output {
    let mut filter = Command::new("python3")
        .arg(filter())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = filter.stdin.take().expect("a pipe");
    let dump = dump.to_owned();
    let writer = std::thread::spawn(move || input.write_all(dump.as_bytes()));
    let output = filter.wait_with_output().expect("the filter ends");
    // One that stops does not read the rest.
    _ = writer.join().expect("no panic");
    output
}

/// Restores a dump whole, or says where it stopped.
fn restore(scene: &Scene, dump: &str) {
    let mut psql = Command::new(scene.cluster.installation().program("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-f", "-", "-h"])
        .arg(scene.cluster.socket_dir())
        .args(["-p", &scene.cluster.port().to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql");
    let written = psql.stdin.take().expect("a pipe").write_all(dump.as_bytes());
    let output = psql.wait_with_output().expect("psql ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && written.is_ok(), "{said}");
}

fn with_ids(dump: &str, scene: &Scene) -> String {
    dump.replace("GROUP", super::GROUP)
        .replace("ANN", &object_id("ann@example.com"))
        .replace("TENANT", &scene.tenant.tenant_id())
}

/// Nobody was made a superuser, and nothing of Azure's own is left.
fn expect_nobody_rose(scene: &Scene) {
    let value = |query: &str| scene.cluster.value(query);
    assert_eq!(value("SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper"), "postgres");
    assert_eq!(value("SELECT count(*) FROM pg_roles WHERE rolreplication AND NOT rolsuper"), "0");
    let powers = "SELECT count(*) FROM pg_auth_members WHERE roleid::regrole::text LIKE 'pg_%server%'";
    assert_eq!(value(powers), "0");
    assert_eq!(value("SELECT count(*) FROM pg_roles WHERE rolname IN ('azuresu', 'azure_superuser')"), "0");
    let found = "SELECT count(*) FROM pgaad.check() WHERE NOT ok AND item IN ('azure_roles', 'roles')";
    assert_eq!(value(found), "0");
}

#[test]
fn dumps_of_azure_restore_whole_and_make_nobody_a_superuser() {
    let scene = Scene::start();
    let mut dump = with_ids(FLEXIBLE, &scene);
    if scene.cluster.installation().major() < 16 {
        // A server takes dumps of its own major and of older ones, which have no such options.
        dump = dump.replace(", INHERIT TRUE", "").replace(" WITH INHERIT TRUE", "");
    }
    scene.cluster.sql("CREATE DATABASE appdb");
    let (whole, said) = filtered(&dump);
    restore(&scene, &whole);
    expect_nobody_rose(&scene);
    assert!(!said.contains("secret"), "no strings: {said}");
    for left_out in
        ["CREATE ROLE azuresu;", "GRANT azuresu TO replication", "CREATE EXTENSION IF NOT EXISTS azure "]
    {
        assert!(said.contains(&format!("left out: {left_out}")), "{left_out}: {said}");
    }
    // What is not Azure's own came over as it was.
    let in_appdb = |query: &str| {
        let connection = format!("host={} dbname=appdb user=postgres", scene.cluster.socket_dir().display());
        let output = scene.cluster.psql(&connection, None, query);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(in_appdb("SELECT count(*) FROM pg_extension WHERE extname = 'pgaadauth'"), "1");
    assert_eq!(in_appdb("SELECT f()"), "it's $$;\nGRANT azuresu TO localadmin;");
    assert_eq!(in_appdb("SELECT g()"), "2");
    let notes = "SELECT string_agg(note, '|' ORDER BY id) FROM notes";
    assert_eq!(in_appdb(notes), "ALTER ROLE azuresu WITH SUPERUSER;|it's \"open $$|a\\b';");
    assert_eq!(in_appdb("SELECT has_table_privilege('azuresu;reports', 'notes', 'SELECT')"), "t");
    assert_eq!(in_appdb("SELECT count(*) FROM pg_default_acl"), "1");
    let admins = "SELECT bool_and(pg_has_role(role, 'azure_pg_admin', 'MEMBER')) \
                  FROM unnest(ARRAY['localadmin', 'ann@example.com']) role";
    assert_eq!(scene.cluster.value(admins), "t");
    // Azure's machine has a disk for it, and has had this role since 16.
    assert_eq!(scene.cluster.value("SELECT count(*) FROM pg_tablespace WHERE spcname = 'temptblspace'"), "0");
    let signals =
        "SELECT count(*) = (SELECT count(*) FROM pg_roles WHERE rolname = 'pg_signal_autovacuum_worker')
                   FROM pg_auth_members WHERE roleid = to_regrole('pg_signal_autovacuum_worker')";
    assert_eq!(scene.cluster.value(signals), "t");
    // The tokens open what they opened there.
    let token = scene.token("ann@example.com");
    let attempt = |role: &str| scene.attempt(scene.route(), role);
    attempt("ann@example.com").with(token.mint()).expect_admitted();
    attempt("ann@example.com")
        .with(scene.token("bob@example.com").mint())
        .expect_refused("principal_mismatch");
    attempt("azuresu;reports").with(token.groups(&[super::GROUP]).mint()).expect_admitted();

    let scene = Scene::start();
    restore(&scene, &filtered(SINGLE).0);
    expect_nobody_rose(&scene);
    scene.attempt(scene.route(), "ann@example.com").expect_admitted();
}

#[test]
fn a_superuser_that_a_dump_brought_is_named() {
    let scene = Scene::start();
    let rows = "SELECT string_agg(detail, ' / ') FROM pgaad.check() WHERE item = 'azure_roles' AND NOT ok";
    // The name alone says nothing: it may be the operator's own.
    scene.cluster.sql("CREATE ROLE replication LOGIN REPLICATION");
    assert_eq!(scene.cluster.value(&format!("SELECT coalesce(({rows}), 'none')")), "none");
    scene.cluster.sql("CREATE ROLE azure_pg_admin");
    assert_eq!(scene.cluster.value(&format!("SELECT coalesce(({rows}), 'none')")), "none");
    scene.cluster.sql("CREATE ROLE azuresu LOGIN SUPERUSER REPLICATION");
    let found = scene.cluster.value(rows);
    assert!(
        found.starts_with("azuresu, a role of Azure's own") && found.contains("replication, "),
        "{found}"
    );
    let hints = scene.cluster.sql("SELECT hint FROM pgaad.check() WHERE item = 'azure_roles'");
    for hint in hints.iter().flatten().flatten() {
        scene.cluster.sql(hint);
    }
    assert_eq!(scene.cluster.value("SELECT ok FROM pgaad.check() WHERE item = 'azure_roles'"), "t");
}

/// The words of Azure's roles are also names of columns, schemas, types and values.
#[test]
fn what_is_called_like_a_role_of_azure_is_passed_on() {
    let same = r#"GRANT SELECT(id, replication),UPDATE(replication) ON TABLE public.t TO app;
ALTER TABLE ONLY public.t ADD CONSTRAINT c CHECK ((kind = ANY (ARRAY['primary'::text, 'replication'::text])));
ALTER TABLE ONLY public.t ALTER COLUMN a SET DEFAULT public.f('x'::text, 'azuresu'::text);
ALTER ROLE bob SET search_path TO 'replication', 'azuresu';
ALTER DATABASE d SET search_path TO replication;
GRANT ALL ON FUNCTION public.f(a integer, b replication) TO bob WITH GRANT OPTION;
ALTER TABLE replication.t OWNER TO "Replication";
CREATE USER MAPPING FOR superuser SERVER s;
ALTER ROLE bob SET search_path TO superuser;
CREATE TABLE public.database (azure_sys integer);
"#;
    assert_eq!(filtered(same), (same.to_owned(), String::new()));
    let of_azure = r#"GRANT SELECT ON TABLE public.t TO azuresu WITH GRANT OPTION;
REVOKE ALL ON FUNCTION public.f(a integer) FROM "azuresu";
ALTER SCHEMA s OWNER TO replication;
ALTER DEFAULT PRIVILEGES FOR ROLE bob IN SCHEMA public GRANT SELECT ON TABLES TO azuresu;
SET SESSION AUTHORIZATION 'azuresu';
COMMENT ON ROLE azuresu IS 'x';
"#;
    assert_eq!(filtered(of_azure).0, "");
}

#[test]
fn no_role_of_a_dump_rises_by_its_name_or_by_how_it_is_written() {
    let (whole, _) = filtered(
        "CREATE USER bob SUPERUSER;\nALTER USER \"b\nc\" REPLICATION SUPERUSER;\nDROP USER azuresu;\n",
    );
    assert_eq!(whole, "CREATE USER bob NOSUPERUSER;\nALTER USER \"b\nc\" NOREPLICATION NOSUPERUSER;\n");
    // Azure's postgres is no superuser, and ours is.
    let dump =
        "CREATE ROLE postgres;\nGRANT postgres TO bob;\nALTER ROLE postgres SET search_path TO evil;\n";
    let stopped = filter_with(&[], dump);
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert!(!stopped.status.success() && stopped.stdout.is_empty(), "{stopped:?}");
    assert!(said.contains("the dump makes a role postgres") && said.contains("--superuser"), "{said}");
    let passed = filter_with(&["--superuser", "root"], dump);
    assert!(passed.status.success() && passed.stdout == dump.as_bytes(), "{passed:?}");
}
