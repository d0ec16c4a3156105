//! The support library itself, tried on clusters without pgaad.

use pgaad_tests::wire::{Outcome, login};
use pgaad_tests::{Cluster, Installation, account, process, skipped};

fn plain_cluster() -> Cluster {
    let tcp = if Installation::is_built_with("openssl") { "hostssl" } else { "host" };
    Cluster::new(&Installation::without_pgaad())
        .hba(format!("{tcp} all all 127.0.0.1/32 password"))
        .hba("local all all password")
        .start()
}

#[test]
fn a_password_is_asked_for_and_decides() {
    if !Installation::is_built_with("openssl") {
        return skipped("needs a PostgreSQL built with OpenSSL");
    }
    let cluster = plain_cluster();
    cluster.sql("CREATE ROLE ann LOGIN PASSWORD 'right'");
    for target in [cluster.tls("postgres"), cluster.unix("postgres")] {
        let good = login(&target, "ann", b"right");
        assert!(good.challenged);
        let Outcome::Accepted(mut session) = good.outcome else { panic!("{good:?}") };
        assert_eq!(session.value("SELECT current_user"), Some("ann".into()));
        assert!(cluster.backend_pids().contains(&session.backend_pid));

        let mark = cluster.log_mark();
        let bad = login(&target, "ann", b"wrong");
        let Outcome::Refused(answers) = bad.outcome else { panic!("{bad:?}") };
        assert_eq!(answers[0].sqlstate, "28P01");
        cluster.wait_for_log(mark, "password authentication failed");
    }
    let plain = login(&cluster.plain("postgres"), "ann", b"right");
    assert!(!plain.challenged && matches!(plain.outcome, Outcome::Refused(_)), "{plain:?}");
}

#[test]
fn a_restarted_cluster_keeps_its_data_and_a_dropped_one_is_gone() {
    let cluster = plain_cluster();
    cluster.sql("CREATE TABLE kept AS SELECT 7 AS n");
    cluster.restart();
    assert_eq!(cluster.value("SELECT n FROM kept"), "7");
    cluster.set("work_mem", "5MB");
    assert_eq!(cluster.value("SHOW work_mem"), "5MB");
    let (pid, data) = (cluster.postmaster_pid(), cluster.data_dir());
    drop(cluster);
    assert_eq!(process::title(pid), "");
    assert!(!data.exists());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let cluster = plain_cluster();
    cluster.stop();
    cluster.append_conf("shared_preload_libraries = 'no_such_library'");
    let log = cluster.start_again().expect_err("it cannot start");
    assert!(log.contains("no_such_library"), "{log}");
    assert!(!cluster.is_running());
}

#[test]
fn psql_reaches_a_cluster_at_another_address() {
    if !account::is_root() {
        return skipped("needs root");
    }
    let cluster = Cluster::new(&Installation::without_pgaad())
        .with_another_address()
        .hba("host all all 10.99.0.1/32 trust")
        .start();
    cluster.sql("CREATE ROLE ann LOGIN");
    let said = cluster.psql_nearby(
        "host=10.99.0.1 user=ann dbname=postgres sslmode=disable",
        None,
        "SELECT host(inet_client_addr())",
    );
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "10.99.0.1", "{said:?}");
}

#[test]
fn sockets_of_a_process_are_seen() {
    let cluster = plain_cluster();
    cluster.sql("CREATE ROLE ann LOGIN PASSWORD 'right'");
    let Outcome::Accepted(session) = login(&cluster.tcp("postgres"), "ann", b"right").outcome else {
        panic!("not accepted")
    };
    let sockets = process::internet_sockets(session.backend_pid);
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(sockets[0].local_port, cluster.port());
}
