//! Statements that are not about pgaad behave as without it, byte for byte.

use pgaad_tests::wire::{self, Message, Outcome, Protocol, Session};
use pgaad_tests::{Cluster, Installation};
use std::collections::BTreeSet;
use std::fmt::Write;

const WORLD: &str = include_str!("others_statements/world.sql");
const STATEMENTS: &str = include_str!("others_statements/statements.sql");

/// The databases, and a word that is not ASCII in each encoding.
const DATABASES: [(&str, &str, &[u8]); 3] = [
    ("in_utf8", "UTF8", "größe".as_bytes()),
    ("in_latin1", "LATIN1", b"gr\xf6\xdfe"),
    ("in_euc_jp", "EUC_JP", b"\xc0\xd6\xa4\xa4"),
];

/// A line of a COPY that is none, in every encoding.
const COPIED: &[u8] = b"7\tseven\t7\n8\teight\tnot a number\n";

/// The statements, `@` still in them.
fn statements() -> Vec<&'static str> {
    let (_comment, statements) = STATEMENTS.split_once('\n').expect("a comment comes first");
    statements.split("\n----\n").map(str::trim_end).collect()
}

/// Puts the database's word in, and leaves out what is beyond ASCII beside it.
fn in_encoding(sql: &str, word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in sql.chars() {
        match c {
            '@' => bytes.extend(word),
            c if c.is_ascii() => bytes.extend(c.to_string().as_bytes()),
            _ => bytes.push(b'?'),
        }
    }
    bytes
}

/// A server with the library preloaded or without, on the same installation, with the same data.
fn server(library: Library) -> Cluster {
    let mut cluster = Cluster::new(&Installation::pgaad())
        .conf("log_error_verbosity", "verbose")
        .conf("log_statement", "all")
        .conf("log_line_prefix", "|%d|%u|")
        .conf("autovacuum", "off");
    if library != Library::Absent {
        cluster = cluster.conf("shared_preload_libraries", "pgaad");
    }
    let cluster = cluster.hba("local all plain,owner trust").start();
    cluster.sql("CREATE ROLE plain LOGIN; CREATE ROLE owner");
    for (database, encoding, word) in DATABASES {
        cluster.sql(&format!(
            "CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ));
        let mut session = session(&cluster, database, "postgres");
        let made = exchange(&mut session, &in_encoding(WORLD, word), Protocol::Simple);
        assert!(made.iter().all(|message| message.tag != b'E'), "{}", shown(&made));
        session
            .query(
                "ALTER TABLE of_domain OWNER TO owner; GRANT SELECT, INSERT ON parent, child TO plain; \
                 GRANT plain TO owner; REVOKE plain FROM owner",
            )
            .expect("rights");
    }
    if library == Library::WithExtension {
        cluster.sql("CREATE EXTENSION pgaad");
    }
    cluster
}

/// What a server has of pgaad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Absent,
    Preloaded,
    WithExtension,
}

fn session(cluster: &Cluster, database: &str, user: &str) -> Session {
    match wire::login(&cluster.unix(database), user, b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{user} in {database}: {answers:?}"),
    }
}

fn exchange(session: &mut Session, sql: &[u8], protocol: Protocol) -> Vec<Message> {
    session.exchange(sql, protocol, COPIED).unwrap_or_else(|error| panic!("{error}"))
}

/// Messages as a person reads them, every byte of them.
fn shown(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let tag = char::from(message.tag);
        if matches!(tag, 'E' | 'N') {
            let fields = message.fields();
            let fields = fields
                .iter()
                .map(|(letter, text)| format!("\n    {} {}", char::from(*letter), text.escape_ascii()));
            let _ = writeln!(text, "  {tag}{}", fields.collect::<String>());
        } else {
            let _ = writeln!(text, "  {tag} {}", message.body.escape_ascii());
        }
    }
    text
}

/// What sessions of `database` have logged, every line of it.
fn logged(cluster: &Cluster, database: &str) -> Vec<String> {
    let log = std::fs::read(cluster.log().path()).expect("our own log");
    let mut lines = Vec::new();
    let mut is_theirs = false;
    for line in log.split(|byte| *byte == b'\n') {
        if !line.starts_with(b"\t") {
            is_theirs = line.starts_with(format!("|{database}|").as_bytes());
        }
        if is_theirs {
            lines.push(line.escape_ascii().to_string());
        }
    }
    lines
}

/// Runs everything on each of the servers at once, and compares. Gives how many statements failed.
fn compare(
    servers: &[(Library, Cluster)],
    database: &str,
    word: &[u8],
    user: &str,
    protocol: Protocol,
) -> usize {
    let mut sessions: Vec<_> = servers.iter().map(|(_, cluster)| session(cluster, database, user)).collect();
    let (mut failed, mut different, mut first) = (0, BTreeSet::new(), String::new());
    for statement in statements() {
        let sql = in_encoding(statement, word);
        let mut answers = sessions.iter_mut().map(|session| exchange(session, &sql, protocol));
        let without = answers.next().expect("the first server has none of it");
        failed += usize::from(without.iter().any(|message| message.tag == b'E'));
        for ((library, _), with) in servers.iter().skip(1).zip(answers) {
            if with != without {
                if different.is_empty() {
                    first = format!("without:\n{}{library:?}:\n{}", shown(&without), shown(&with));
                }
                different.insert(statement);
            }
        }
    }
    assert!(
        different.is_empty(),
        "for {user} in {database}, {protocol:?}, {} statements differ: {different:#?}\nthe first: {first:.4000}",
        different.len(),
    );
    failed
}

fn compare_in(database: &str) {
    let servers = [Library::Absent, Library::Preloaded, Library::WithExtension];
    let servers = servers.map(|library| (library, server(library)));
    let (_, _, word) = DATABASES.iter().find(|(name, ..)| *name == database).expect("one of them");
    for (user, protocol) in
        [("postgres", Protocol::Simple), ("plain", Protocol::Simple), ("postgres", Protocol::Extended)]
    {
        let failed = compare(&servers, database, word, user, protocol);
        assert!(failed > 200, "{failed} statements fail");
    }
    // The session ends within a statement of its own.
    let last = b"DO 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); END'";
    let ends = servers
        .each_ref()
        .map(|(_, cluster)| exchange(&mut session(cluster, database, "postgres"), last, Protocol::Simple));
    assert!(ends[0].iter().any(|message| message.tag == b'E'), "{}", shown(&ends[0]));
    assert!(ends[0] == ends[1] && ends[0] == ends[2], "{:?}", ends.each_ref().map(|end| shown(end)));

    let logs = servers.each_ref().map(|(_, cluster)| logged(cluster, database));
    assert!(logs[0].len() > 1_000, "{:?}", logs[0].len());
    for log in &logs[1..] {
        let different = logs[0].iter().zip(log).find(|(one, other)| one != other);
        assert_eq!(different, None, "the log of {database} differs");
        assert_eq!(log.len(), logs[0].len(), "the log of {database} differs");
    }
}

#[test]
fn statements_of_others_behave_as_without_the_library_in_utf8() {
    compare_in("in_utf8");
}

#[test]
fn statements_of_others_behave_as_without_the_library_in_latin1() {
    compare_in("in_latin1");
}

#[test]
fn statements_of_others_behave_as_without_the_library_in_euc_jp() {
    compare_in("in_euc_jp");
}
