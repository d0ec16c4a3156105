//! Real logins to throw-away clusters: one module for each subject.

mod admin;
mod admins;
mod alter_system;
mod app_role;
mod azure;
mod beside;
mod check;
mod claims;
mod closed;
mod clouds;
mod deny;
mod directory;
mod directory_members;
mod directory_names;
mod directory_worker;
mod documents;
mod dump;
mod encoding;
mod events;
mod explain;
mod facts;
mod files;
mod gate;
mod guard;
mod hba_order;
mod hints;
mod identity;
mod keys;
mod label;
mod leak;
mod login;
mod markers;
mod neighbours;
mod nodes;
mod oauth;
mod oracle;
mod others_statements;
mod provider;
mod proxy;
mod rename;
mod role;
mod sanitized;
mod scope;
mod session_end;
mod sessions;
mod sockets;
mod sql_text;
mod standby;
mod starved;
mod stranger;
mod tenants;
mod throw_away_cluster;
mod token;
mod torture;
mod upgrade;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of the Rust files of a folder, without `.rs`.
fn files_of(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.expect("a folder can be read to its end").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}

/// Cargo is told by hand what is a test here, so a file that is named nowhere would never be compiled.
#[test]
fn every_file_of_tests_is_compiled() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, main) in [
        ("logins", include_str!("main.rs")),
        ("rise", include_str!("../rise/main.rs")),
        ("samples", include_str!("../samples/main.rs")),
    ] {
        let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        let named: BTreeSet<String> = modules.chain(["main"]).map(str::to_owned).collect();
        assert_eq!(files_of(&tests.join(folder)), named, "the files of tests/{folder} and the modules there");
    }
    let manifest = include_str!("../Cargo.toml");
    for file in files_of(tests) {
        assert!(
            manifest.contains(&format!("path = \"{file}.rs\"")),
            "tests/Cargo.toml has no tests/{file}.rs"
        );
    }
}
