//! Servers that connect to each other as the user, as the nodes of a Citus cluster do: by a certificate of the node's
//! own and a map, while people need tokens. Played by `postgres_fdw` and `dblink`.

use pgaad_tests::scene::quoted;
use pgaad_tests::tls::COMMON_NAME;
use pgaad_tests::{Cluster, Installation, Scene, skipped};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// A worker that lets the coordinator's certificate in as any member: `methods` is `pgaad.allow_other_methods`.
fn worker(scene: &Scene, methods: &str) -> Cluster {
    let worker = Cluster::new(&Installation::pgaad())
        .conf("shared_preload_libraries", "pgaad")
        .conf("pgaad.tenant_id", scene.tenant.tenant_id())
        .conf("pgaad.authority", scene.tenant.authority())
        .conf("pgaad.ca_file", scene.tenant.ca_file().display().to_string())
        .conf("pgaad.allow_other_methods", methods)
        .conf("ssl_ca_file", "server.crt")
        .hba("hostssl all +azure_ad_user 127.0.0.1/32 cert map=nodes")
        .hba("hostssl all all 127.0.0.1/32 scram-sha-256")
        .start();
    // From 16 on a map may name a group, or all; before, it names each role.
    let users = if worker.installation().major() >= 16 { "+azure_ad_user" } else { "alice@example.com" };
    worker.write_as_server(
        "pg_ident.conf",
        &format!("nodes \"{COMMON_NAME}\" \"{users}\"\n").replace("\"+azure_ad_user\"", "+azure_ad_user"),
    );
    worker.reload();
    worker.sql("CREATE EXTENSION pgaad");
    for member in [ALICE, BOB] {
        worker.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(member)));
    }
    worker.sql("CREATE VIEW who AS SELECT current_user::text AS name; GRANT SELECT ON who TO public");
    worker.wait_until_ready();
    worker
}

/// Has the coordinator know the worker, and a user connect there as themselves.
fn introduce(scene: &Scene, worker: &Cluster, server: &str) {
    let files = scene.cluster.data_dir();
    let files = files.display();
    let database = scene.route().database();
    let run = |sql: &str| {
        scene.cluster.try_sql_in(database, sql).unwrap_or_else(|answer| panic!("{sql}: {answer}"))
    };
    run(&format!(
        "CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost', hostaddr '127.0.0.1', \
         port '{}', dbname 'postgres', sslmode 'verify-full', sslrootcert '{files}/server.crt'); \
         GRANT USAGE ON FOREIGN SERVER {server} TO {}; \
         CREATE USER MAPPING FOR {1} SERVER {server} OPTIONS (user '{ALICE}', password_required 'false', \
         sslcert '{files}/server.crt', sslkey '{files}/server.key'); \
         CREATE FOREIGN TABLE {server}_who (name text) SERVER {server} OPTIONS (table_name 'who'); \
         GRANT SELECT ON {server}_who TO {1}",
        worker.port(),
        quoted(ALICE)
    ));
}

#[test]
fn a_node_connects_as_the_user_by_its_certificate_and_people_need_tokens() {
    if !Installation::is_built_with("openssl") {
        return skipped("needs a PostgreSQL built with OpenSSL");
    }
    let scene = Scene::start();
    let database = scene.route().database();
    for sql in ["CREATE EXTENSION postgres_fdw", "CREATE EXTENSION dblink"] {
        scene.cluster.try_sql_in(database, sql).expect("contrib is there");
    }
    scene.cluster.sql(&format!("CREATE USER {} IN ROLE azure_ad_user", quoted(ALICE)));
    let (open, closed) = (worker(&scene, "cert"), worker(&scene, "off"));
    introduce(&scene, &open, "open");
    introduce(&scene, &closed, "closed");
    let connect = "GRANT EXECUTE ON FUNCTION dblink_connect_u(text, text) TO public";
    scene.cluster.try_sql_in(database, connect).expect("granted");

    // The human logs in with a token, and is the same on the worker.
    let token = scene.token(ALICE).mint();
    let mut alice = scene.attempt(scene.route(), ALICE).with(token.as_str()).expect_admitted();
    assert_eq!(alice.value("SELECT name FROM open_who").as_deref(), Some(ALICE));
    let files = scene.cluster.data_dir();
    let connection = format!(
        "host=localhost hostaddr=127.0.0.1 port={} dbname=postgres user={ALICE} sslmode=verify-full \
         sslrootcert={files}/server.crt sslcert={files}/server.crt sslkey={files}/server.key",
        open.port(),
        files = files.display()
    );
    alice.query(&format!("SELECT dblink_connect_u('node', '{connection}')")).expect("connected");
    let who = "SELECT name FROM dblink('node', 'SELECT name FROM who') AS who(name text)";
    assert_eq!(alice.value(who).as_deref(), Some(ALICE));

    // Without the setting the worker refuses the same connection, and says why in its log.
    let mark = closed.log_mark();
    let answer = alice.query("SELECT name FROM closed_who").expect_err("refused");
    assert_eq!(answer.sqlstate, "08001", "{answer}");
    closed.wait_for_log(mark, "code=method_not_allowed");

    // `cert` opens no other method: a member's right password is none.
    open.sql(&format!("SET client_min_messages = error; ALTER ROLE {} PASSWORD 'secret'", quoted(BOB)));
    open.write_hba(&["hostssl all all 127.0.0.1/32 scram-sha-256".to_owned()]);
    open.reload();
    let mark = open.log_mark();
    let bob = format!("host=127.0.0.1 dbname=postgres user={BOB} sslmode=require");
    assert!(!open.psql(&bob, Some("secret"), "SELECT 1").status.success());
    open.wait_for_log(mark, "code=method_not_allowed");
}
