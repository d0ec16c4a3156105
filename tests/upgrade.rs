//! `pg_upgrade`, from a cluster with pgaad to another.

use pgaad_tests::account::server_command;
use pgaad_tests::wire::{self, Outcome};
use pgaad_tests::{Cluster, Installation, PamService, Route, Scene, run_directory};
use std::process::Output;
use tenant::{Tenant, object_id};

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
    let listed = from.sql("SELECT * FROM pgaadauth_list_principals(false)");
    from.stop();

    let unloaded = cluster().start();
    unloaded.stop();
    let output = upgrade(&from, &unloaded);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("loadable libraries"),
        "it does not preload pgaad: {said}"
    );

    let to = cluster().conf("shared_preload_libraries", "pgaad").start();
    to.stop();
    let output = upgrade(&from, &to);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    to.start_again().expect("the upgraded server starts");
    assert_eq!(to.sql("SELECT * FROM pgaadauth_list_principals(false)"), listed);
    to.wait_until_ready();
    assert_eq!(to.value("SELECT ready FROM ready"), "t");

    let route = if service.is_some() { Route::Pam } else { Route::Trust };
    to.sql(&format!("CREATE DATABASE {}", route.database()));
    let token = tenant.token().user("ann@example.com").claim("amr", vec!["pwd", "mfa"]);
    for (token, admitted) in [(&token, true), (&token.clone().claim("oid", object_id("bob")), false)] {
        let login = wire::login(&to.tls(route.database()), "ann", token.mint().as_bytes());
        assert_eq!(matches!(login.outcome, Outcome::Accepted(_)), admitted, "{:?}", login.outcome);
    }
}
