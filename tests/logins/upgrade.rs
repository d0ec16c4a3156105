//! Upgrades: `pg_upgrade` from a cluster with pgaad to another, and `ALTER EXTENSION … UPDATE` from every
//! version that was released.

use pgaad_tests::account::server_command;
use pgaad_tests::wire::{self, Outcome};
use pgaad_tests::{Cluster, Installation, PamService, Route, Scene, directory, run_directory};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use tenant::{Tenant, object_id};

/// What every version lists.
const LISTED: &str = "SELECT rolename, principaltype, objectid, tenantid, ismfa, isadmin \
                      FROM pgaadauth_list_principals(false)";

/// Runs `pg_upgrade`, in a directory of its own.
fn upgrade(from: &Cluster, to: &Cluster) -> Output {
    let directory = run_directory::fresh("upgrade");
    std::fs::create_dir(&directory).expect("our own directory");
    pgaad_tests::account::give_to_servers(&directory);
    let bin = from.installation().bin();
    let mut command = server_command(bin.join("pg_upgrade"));
    command.current_dir(&directory).arg("-b").arg(&bin).arg("-B").arg(&bin);
    command.arg("-d").arg(from.data_dir()).arg("-D").arg(to.data_dir()).arg("-s").arg(&directory);
    command.args(["-U", "postgres", "-p", &from.port().to_string(), "-P", &to.port().to_string()]);
    command.output().expect("pg_upgrade")
}

#[test]
fn upgraded_cluster_keeps_extension_and_bindings_when_the_new_one_preloads() {
    let installation = Installation::pgaad();
    let tenant = Tenant::start(&run_directory::fresh("tenant"));
    let service = PamService::available().then(|| PamService::new(&installation));
    let cluster = || {
        let cluster = Cluster::new(&installation)
            .conf("pgaad.tenant_id", tenant.tenant_id())
            .conf("pgaad.authority", tenant.authority())
            .conf("pgaad.ca_file", tenant.ca_file().display().to_string())
            .conf("pgaad.allow_trust", "on");
        Scene::hba(service.as_ref()).into_iter().fold(cluster, Cluster::hba)
    };
    let from = cluster().conf("shared_preload_libraries", "pgaad").start();
    let ann = object_id("ann@example.com");
    from.sql("CREATE EXTENSION pgaad; CREATE VIEW ready AS SELECT ready FROM pgaad.status");
    from.sql(&format!("SELECT pgaadauth_create_principal_with_oid('ann', '{ann}', 'user', false, true)"));
    from.sql(&format!("SELECT pgaad.set_admin('boss', '{}', 'user')", object_id("boss")));
    // Bound to its name, and stays so: the directory of the new cluster is not asked about it.
    from.sql("CREATE USER \"named@example.com\" IN ROLE azure_ad_user");
    let listed = from.sql(LISTED);
    from.stop();

    let unloaded = cluster().start();
    unloaded.stop();
    let output = upgrade(&from, &unloaded);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("loadable libraries"),
        "it does not preload pgaad: {said}"
    );

    let to = directory::settings(cluster().conf("shared_preload_libraries", "pgaad")).start();
    to.stop();
    let output = upgrade(&from, &to);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    to.start_again().expect("the upgraded server starts");
    assert_eq!(to.sql(LISTED), listed);
    to.wait_until_ready();
    assert_eq!(to.value("SELECT ready FROM ready"), "t");

    let route = if service.is_some() { Route::Pam } else { Route::Trust };
    to.sql(&format!("CREATE DATABASE {}", route.database()));
    let token = tenant.token().user("ann@example.com").claim("amr", vec!["pwd", "mfa"]);
    for (token, admitted) in [(&token, true), (&token.clone().claim("oid", object_id("bob")), false)] {
        let login = wire::login(&to.tcp(route.database()), "ann", token.mint().as_bytes());
        assert_eq!(matches!(login.outcome, Outcome::Accepted(_)), admitted, "{:?}", login.outcome);
    }
}

/// What the extension consists of, in words that are equal for equal objects.
fn description(cluster: &Cluster, database: &str) -> Vec<String> {
    let sql = "
        SELECT description FROM (
            SELECT 'function ' || pg_get_functiondef(object.oid) || coalesce(object.proacl::text, '')
                   || coalesce(obj_description(object.oid, 'pg_proc'), '')
            FROM pg_proc object JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = object.oid
                AND deptype = 'e'
          UNION ALL
            SELECT 'view ' || object.oid::regclass || ' ' || pg_get_viewdef(object.oid)
                || coalesce(object.relacl::text, '')
                   || coalesce(obj_description(object.oid, 'pg_class'), '')
                   || coalesce((SELECT string_agg(objsubid || description, ',' ORDER BY objsubid)
                                FROM pg_description WHERE objoid = object.oid AND objsubid > 0), '')
            FROM pg_class object JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = object.oid
                AND deptype = 'e'
          UNION ALL
            SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname = 'pgaad'
          UNION ALL
            SELECT 'object ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend
            WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgaad')
          UNION ALL
            SELECT 'version ' || extversion FROM pg_extension WHERE extname = 'pgaad'
        ) objects(description) ORDER BY 1";
    let rows = cluster.try_sql_in(database, sql).unwrap_or_else(|answer| panic!("{answer}"));
    rows.into_iter().flatten().flatten().collect()
}

/// An installation that has the scripts of all released versions beside its own, and these versions.
fn with_released_versions() -> (Installation, Vec<String>) {
    let installation = Installation::private();
    let released = concat!(env!("CARGO_MANIFEST_DIR"), "/released");
    let mut versions = Vec::new();
    for file in std::fs::read_dir(released).expect("the released versions").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let version = name.trim_start_matches("pgaad--").trim_end_matches(".sql").to_owned();
        std::fs::copy(file.path(), installation.share().join("extension").join(&name))
            .expect("a tree of ours");
        versions.push(version);
    }
    assert!(!versions.is_empty());
    (installation, versions)
}

#[test]
fn database_that_is_not_updated_yet_is_served_by_the_new_library() {
    let (installation, versions) = with_released_versions();
    let scene = Scene::on(&installation, |cluster| cluster);
    let role = scene.member();
    let attempt = scene.attempt(scene.route(), &role);
    attempt.with(scene.token(&role).expires_in(-3600).not_before_in(-8000).mint()).expect_refused("expired");
    for version in versions {
        let database = format!("of {version}");
        scene.cluster.sql(&format!("CREATE DATABASE \"{database}\" TEMPLATE template0"));
        let run = |sql: &str| {
            scene.cluster.try_sql_in(&database, sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"))
        };
        run(&format!("CREATE EXTENSION pgaad VERSION '{version}'"));
        let facts = "SELECT facts::jsonb ->> 'ago_s' ~ '^36[0-9][0-9]$', code FROM pgaad.events WHERE code = 'expired'";
        assert_eq!(run(facts), [["t", "expired"].map(|text| Some(text.to_owned()))], "{version}");
        let explained = "explain_event((SELECT max(id) FROM pgaad.events))";
        for all in ["status", "keys", "events", "stat_logins", "check()", "refresh()", "claims()", explained]
        {
            assert!(!run(&format!("SELECT * FROM pgaad.{all}")).is_empty(), "{version}: {all}");
        }
        run("SELECT * FROM pgaadauth_list_principals(false)");
        // The check says so, and its hint is the cure.
        let outdated = "SELECT hint FROM pgaad.check() WHERE item = 'extension' AND NOT ok";
        let hint =
            run(outdated).into_iter().flatten().flatten().next().expect("the SQL is older than the library");
        run(&hint);
        assert!(run(outdated).is_empty(), "{version}");
    }
}

/// A server that has the library mapped must not find it written over.
#[test]
fn library_is_installed_while_the_server_runs() {
    let installation = Installation::private();
    let scene = Scene::on(&installation, |cluster| cluster);
    let role = scene.member();
    let (postmaster, before) = (scene.cluster.postmaster_pid(), metadata(installation.library()));
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/install"))
        .arg(Installation::package())
        .env("DESTDIR", installation.root())
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
    let after = metadata(installation.library());
    assert_ne!(before.ino(), after.ino(), "another file, beside the one that is mapped");
    assert_eq!((before.len(), before.mode()), (after.len(), after.mode()));
    scene.attempt(scene.route(), &role).expect_admitted();
    assert!(scene.cluster.value("SELECT pgaad.refresh()") == "t");
    assert_eq!(scene.cluster.postmaster_pid(), postmaster);
    scene.cluster.restart();
    scene.attempt(scene.route(), &role).expect_admitted();

    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/uninstall"))
        .env("DESTDIR", installation.root())
        .env("PG_CONFIG", Installation::pg_config())
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Take pgaad out of shared_preload_libraries"), "{said}");
    let extensions =
        std::fs::read_dir(installation.share().join("extension")).expect("the server's extensions");
    let names = extensions.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let left: Vec<_> = names.filter(|name| name.starts_with("pgaad")).collect();
    assert!(!installation.library().exists() && left.is_empty(), "{left:?}");
    scene.attempt(scene.route(), &role).expect_admitted();
}

fn metadata(path: PathBuf) -> Metadata {
    std::fs::metadata(path).expect("it is installed")
}

#[test]
fn every_released_version_upgrades_to_what_a_fresh_install_is() {
    let (installation, versions) = with_released_versions();
    let cluster = Cluster::new(&installation).conf("shared_preload_libraries", "pgaad").start();
    cluster.sql("CREATE EXTENSION pgaad");
    let fresh = description(&cluster, "postgres");
    assert!(fresh.len() > 40, "{fresh:?}");
    for version in versions {
        cluster.sql(&format!("CREATE DATABASE \"from {version}\""));
        let database = format!("from {version}");
        let run =
            |sql: &str| cluster.try_sql_in(&database, sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"));
        run(&format!("CREATE EXTENSION pgaad VERSION '{version}'"));
        assert_ne!(description(&cluster, &database), fresh, "an earlier version is another one");
        run("CREATE ROLE watcher");
        run("GRANT SELECT ON pgaad.events TO watcher WITH GRANT OPTION");
        run("CREATE ROLE reader; GRANT SELECT (code, \"time\") ON pgaad.events TO reader");
        run("ALTER EXTENSION pgaad UPDATE");
        let kept = "SELECT has_table_privilege('watcher', 'pgaad.events', 'SELECT WITH GRANT OPTION')";
        assert_eq!(
            run(kept),
            [[Some("t".to_owned())]],
            "what was granted on a view that had to be made anew"
        );
        let columns =
            "SELECT attname FROM pg_attribute WHERE attrelid = 'pgaad.events'::regclass AND attnum > 0
            AND has_column_privilege('reader', attrelid, attnum, 'SELECT') ORDER BY 1";
        assert_eq!(run(columns), [["at"], ["code"]].map(|[column]| [Some(column.to_owned())]));
        run("REVOKE ALL ON pgaad.events FROM watcher, reader");
        let upgraded = description(&cluster, &database);
        let lacking: Vec<_> = fresh.iter().filter(|object| !upgraded.contains(object)).collect();
        let others: Vec<_> = upgraded.iter().filter(|object| !fresh.contains(object)).collect();
        assert_eq!(lacking, others, "from {version}: what is not there, and what is instead");
        // The comparison sees what it must.
        run("REVOKE EXECUTE ON FUNCTION pgaad.claims() FROM PUBLIC");
        assert_ne!(description(&cluster, &database), fresh, "a right that is missing");
    }
}

#[test]
fn every_function_has_a_comment_and_internal_ones_are_not_for_everybody() {
    let cluster = Cluster::new(&Installation::pgaad()).conf("shared_preload_libraries", "pgaad").start();
    cluster.sql("CREATE EXTENSION pgaad");
    let functions =
        "FROM pg_proc object JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = object.oid
        AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgaad')";
    let silent = format!(
        "SELECT object.oid::regprocedure {functions} WHERE coalesce(obj_description(object.oid, 'pg_proc'), '') = ''"
    );
    assert_eq!(cluster.sql(&silent).len(), 0, "{silent}");
    let internal = format!(
        "SELECT count(*), count(*) FILTER (WHERE has_function_privilege('public', object.oid, 'EXECUTE'))
         {functions} WHERE proname LIKE '\\_%' AND proname <> '_labels'"
    );
    let row = cluster.sql(&internal).remove(0);
    let count = |column: usize| row[column].as_deref().and_then(|count| count.parse::<u32>().ok());
    assert!(count(0) >= Some(12), "{row:?}");
    assert_eq!(count(1), Some(0), "internal functions that anybody may call");
}
