//! No method tells a right secret of a member from a wrong one: both are answered alike, in every field.
//!
//! Members of `azure_ad_user` log in by a token and by nothing else. Their other secrets, such as a password from
//! earlier times, are refused however right they are, and nobody may learn from the answer that they are right.

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgaad_tests::tls::COMMON_NAME;
use pgaad_tests::wire::{Address, Connection, Target};
use pgaad_tests::{Cluster, Installation, account, run_directory, skipped};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::PathBuf;

const ANN: &str = "ann";
const RIGHT: &str = "right";
const WRONG: &str = "wrong";

/// The ErrorResponse at the end of a login as `ann`, whole; `None` when it is let in.
fn answer(cluster: &Cluster, target: &Target, secret: &str) -> Option<Vec<u8>> {
    let mut connection = Connection::connect(target).expect("the server listens");
    connection.startup(ANN, &target.database, &[]).expect("the server reads");
    let mut scram = None;
    loop {
        let message = connection.read_message().expect("an answer");
        let code = message.body.get(..4).unwrap_or_default();
        match (message.tag, code) {
            (b'E', _) => return Some(message.body),
            (b'R', [0, 0, 0, 0]) => return None,
            (b'R', [0, 0, 0, 3]) => connection.send_password(secret.as_bytes()).expect("the server reads"),
            (b'R', [0, 0, 0, 5]) => {
                let hash = md5(cluster, secret, &message.body[4..]);
                connection.send_password(hash.as_bytes()).expect("the server reads");
            }
            (b'R', [0, 0, 0, 10]) => {
                let first = b"n,,n=,r=clientnonce";
                let length = u32::try_from(first.len()).expect("short").to_be_bytes();
                let body = [&b"SCRAM-SHA-256\0"[..], &length, first].concat();
                connection.send_message(b'p', &body).expect("the server reads");
            }
            (b'R', [0, 0, 0, 11]) => {
                scram = Some(());
                let last = scram_final(&String::from_utf8_lossy(&message.body[4..]), secret);
                connection.send_message(b'p', last.as_bytes()).expect("the server reads");
            }
            // The server's signature. It comes before the hook is called, so a right secret shows by it
            // (SECURITY.md): members keep no password.
            (b'R', [0, 0, 0, 12]) => assert!(scram.is_some() && secret == RIGHT),
            _ => panic!("{}: {:?}", char::from(message.tag), message.body),
        }
    }
}

/// `md5` and the digest over password, name and salt (protocol, AuthenticationMD5Password): the server computes it.
fn md5(cluster: &Cluster, password: &str, salt: &[u8]) -> String {
    let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    cluster.value(&format!("SELECT 'md5' || md5(md5('{password}{ANN}')::bytea || '\\x{salt}'::bytea)"))
}

/// client-final-message (RFC 5802 §3).
fn scram_final(server_first: &str, password: &str) -> String {
    let field = |name: &str| {
        let of = |part: &&str| part.starts_with(&format!("{name}="));
        server_first.split(',').find(of).map(|part| part[2..].to_owned()).expect("a field")
    };
    let salt = STANDARD.decode(field("s")).expect("base64");
    let rounds: NonZeroU32 = field("i").parse().expect("a number");
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let client_key = sign(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client_key.as_ref());
    let without_proof = format!("c=biws,r={}", field("r"));
    let message = format!("n=,r=clientnonce,{server_first},{without_proof}");
    let signature = sign(stored.as_ref(), message.as_bytes());
    let proof: Vec<u8> =
        client_key.as_ref().iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect();
    format!("{without_proof},p={}", STANDARD.encode(proof))
}

/// Answers every connection by what `reply` makes of the first bytes that come.
fn serve(port: u16, reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Option<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    let port = listener.local_addr().ok()?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 1024];
            let Ok(length) = stream.read(&mut bytes) else { continue };
            let _ = stream.write_all(&reply(&bytes[..length]));
            // Until the client has read it.
            let _ = stream.read(&mut bytes);
        }
    });
    Some(port)
}

/// RFC 1413 on its own port, for any caller: the account is `somebody`.
fn ident_server() -> Option<u16> {
    serve(113, |query| {
        let query = String::from_utf8_lossy(query);
        format!("{} : USERID : UNIX : somebody\r\n", query.trim()).into_bytes()
    })
}

/// BindResponse (RFC 4511 §4.2.2): `success` for the right password, else `invalidCredentials`.
fn ldap_server() -> u16 {
    let port = serve(0, |request| {
        let is_right = request.windows(RIGHT.len()).any(|window| window == RIGHT.as_bytes());
        let code = if is_right { 0 } else { 49 };
        // The message's number is the request's.
        vec![0x30, 0x0c, 0x02, 0x01, request[4], 0x61, 0x07, 0x0a, 0x01, code, 0x04, 0x00, 0x04, 0x00]
    });
    port.expect("loopback has a free port")
}

/// A way to be authenticated rightly and one to be authenticated wrongly by the same method: secrets, or databases
/// whose lines differ in what they allow.
struct Case {
    method: &'static str,
    right: (Target, &'static str),
    wrong: (Target, &'static str),
}

/// What the machine and the PostgreSQL under test have; what they have not is said.
struct Means {
    has_tls: bool,
    ldap_port: Option<u16>,
    has_ident: bool,
    pam_directory: Option<PathBuf>,
}

impl Means {
    fn find() -> Means {
        let has_ldap = Installation::is_built_with("ldap");
        let means = Means {
            has_tls: Installation::is_built_with("openssl"),
            ldap_port: has_ldap.then(ldap_server),
            has_ident: ident_server().is_some(),
            pam_directory: (Installation::is_built_with("pam") && account::is_root()).then(foreign_services),
        };
        for (has, what) in [
            (has_ldap, "needs a PostgreSQL built with LDAP"),
            (means.has_ident, "needs port 113: an ident server"),
            (means.pam_directory.is_some(), "needs root, and a PostgreSQL built with PAM"),
        ] {
            if !has {
                skipped(what);
            }
        }
        means
    }
}

/// PAM services of another name than ours: one that permits everything, one that denies it.
fn foreign_services() -> PathBuf {
    let directory = run_directory::fresh("pam.d");
    std::fs::create_dir(&directory).expect("our own directory");
    for name in ["permit", "deny"] {
        let text = format!("auth required pam_{name}.so\naccount required pam_{name}.so\n");
        std::fs::write(directory.join(name), text).expect("our own file");
    }
    directory
}

fn server(means: &Means) -> Cluster {
    let mut cluster = Cluster::new(&Installation::pgaad())
        .conf("shared_preload_libraries", "pgaad")
        .hba("host password all 127.0.0.1/32 password")
        .hba("host md5 all 127.0.0.1/32 md5")
        .hba("host scram all 127.0.0.1/32 scram-sha-256")
        .hba("local right all peer map=yes")
        .hba("local wrong all peer map=no")
        .hba("hostnossl right all 127.0.0.1/32 ident map=yes")
        .hba("hostnossl wrong all 127.0.0.1/32 ident map=no");
    if let Some(port) = means.ldap_port {
        let line = format!("ldap ldapserver=127.0.0.1 ldapport={port} ldapprefix=cn=");
        cluster = cluster.hba(format!("host ldap all 127.0.0.1/32 {line}"));
    }
    if let Some(directory) = &means.pam_directory {
        cluster = cluster
            .with_pam_directory(directory.clone())
            .hba("local permit all pam pamservice=permit")
            .hba("local deny all pam pamservice=deny");
    }
    if means.has_tls {
        cluster = cluster
            .conf("ssl_ca_file", "server.crt")
            .hba("hostssl right all 127.0.0.1/32 cert map=yes")
            .hba("hostssl wrong all 127.0.0.1/32 cert map=no");
    }
    let cluster = cluster.start();
    let map = ["root", "postgres", "somebody", COMMON_NAME].map(|who| format!("yes \"{who}\" {ANN}\n"));
    cluster.write_as_server("pg_ident.conf", &(map.concat() + "no nobody nobody\n"));
    cluster.reload();
    for database in ["password", "md5", "scram", "ldap", "right", "wrong", "permit", "deny"] {
        cluster.sql(&format!("CREATE DATABASE \"{database}\""));
    }
    cluster.sql("CREATE EXTENSION pgaad");
    cluster
}

fn cases(cluster: &Cluster, means: &Means) -> Vec<Case> {
    let by_secret =
        |method, target: Target| Case { method, right: (target.clone(), RIGHT), wrong: (target, WRONG) };
    let by_line = |method, target: &dyn Fn(&str) -> Target| Case {
        method,
        right: (target("right"), RIGHT),
        wrong: (target("wrong"), RIGHT),
    };
    let mut cases = vec![
        by_secret("password", cluster.plain("password")),
        by_secret("md5", cluster.plain("md5")),
        by_secret("scram", cluster.plain("scram")),
        by_line("peer", &|database| cluster.unix(database)),
    ];
    if means.ldap_port.is_some() {
        cases.push(by_secret("ldap", cluster.plain("ldap")));
    }
    if means.has_ident {
        cases.push(by_line("ident", &|database| cluster.plain(database)));
    }
    if means.has_tls {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()));
        cases.push(by_line("cert", &|database| Target {
            address: Address::TlsWithCertificate(address),
            database: database.to_owned(),
        }));
    }
    if means.pam_directory.is_some() {
        let (right, wrong) = ((cluster.unix("permit"), RIGHT), (cluster.unix("deny"), RIGHT));
        cases.push(Case { method: "pam", right, wrong });
    }
    cases
}

#[test]
fn right_secret_of_a_member_is_answered_as_a_wrong_one_by_every_method() {
    let means = Means::find();
    let cluster = server(&means);
    for Case { method, right, wrong } in cases(&cluster, &means) {
        let encryption = if method == "md5" { "md5" } else { "scram-sha-256" };
        cluster.sql(&format!(
            "SET password_encryption = '{encryption}'; DROP ROLE IF EXISTS {ANN};
                              CREATE ROLE {ANN} LOGIN PASSWORD '{RIGHT}'"
        ));
        // The right secret is right: it opens the role while it is no member.
        assert_eq!(answer(&cluster, &right.0, right.1), None, "{method}: the right secret is not");
        cluster.sql(&format!("GRANT azure_ad_user TO {ANN}"));
        let mark = cluster.log_mark();
        // The wrong one first: what core told last is what is told from then on, whatever the minor version.
        let failed = answer(&cluster, &wrong.0, wrong.1).expect("refused");
        let refused = answer(&cluster, &right.0, right.1).expect("refused");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "|");
        assert_eq!(text(&refused), text(&failed), "{method}");
        assert_eq!(refused, failed, "{method}");
        let told = text(&failed);
        assert!(told.contains("authentication failed for user \"ann\""), "{method}: {told}");
        cluster.wait_for_log(mark, "code=method_not_allowed");
        assert_eq!(cluster.log_since(mark).matches("pgaad: login").count(), 1, "{method}");
    }
}
