//! What the sources say of text for SQL, so that nothing of it is forgotten.

use pgaad_tests::Installation;
use std::fs;
use std::path::{Path, PathBuf};

/// Every function that SQL can call, from its attribute to the brace of its body.
fn signatures(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("our own sources");
    let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() && !path.ends_with("core") {
            found.extend(signatures(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("our own source");
            let functions = source.split("#[pg_extern").skip(1);
            found.extend(
                functions.filter_map(|after| after.split_once("{\n").map(|(head, _)| head.to_owned())),
            );
        }
    }
    found
}

#[test]
fn no_function_for_sql_takes_or_returns_text_that_is_not_converted() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("src");
    let signatures = signatures(&source);
    assert!(signatures.len() >= 8, "{signatures:?}");
    for signature in signatures {
        for unconverted in ["String", "str,", "str)", "str>", "CStr", "Json>", "JsonB", "char"] {
            assert!(!signature.contains(unconverted), "{unconverted} in {signature}");
        }
    }
}

#[test]
fn script_of_the_extension_is_ascii_since_it_is_read_in_the_encoding_of_the_database() {
    let directory = Installation::pgaad().share().join("extension");
    let entries =
        fs::read_dir(&directory).expect("the installation").map(|entry| entry.expect("an entry").path());
    let scripts: Vec<_> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgaad")))
        .collect();
    assert!(scripts.len() >= 3, "{scripts:?}");
    for script in scripts {
        let text = fs::read_to_string(&script).expect("a script");
        let foreign = text.lines().find(|line| !line.is_ascii());
        assert_eq!(foreign, None, "{}", script.display());
    }
}

/// The objects of the extension that a comment names, `kind` ones.
fn commented<'a>(sql: &'a str, kind: &str) -> Vec<&'a str> {
    let after = sql.split(&format!("COMMENT ON {kind} ")).skip(1).collect::<Vec<_>>();
    after.into_iter().filter_map(|rest| rest.split(['(', ' ']).next()).collect()
}

#[test]
fn reference_lists_every_function_and_view_and_no_other() {
    let reference = include_str!("../../docs/reference.md");
    let heads = |start: &str| {
        let rows = reference.lines().filter(|line| line.starts_with(start));
        let names = rows.filter_map(|row| row.trim_start_matches("| `").split(['(', '`']).next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut listed: Vec<_> = [heads("| `pgaad."), heads("| `pgaadauth_")].concat();
    let functions = commented(include_str!("../../sql/comments.sql"), "FUNCTION");
    let views = concat!(
        include_str!("../../sql/views.sql"),
        include_str!("../../sql/denials.sql"),
        include_str!("../../sql/directory.sql")
    );
    let views = commented(views, "VIEW");
    let public = functions.iter().chain(&views).filter(|name| !name.contains("._"));
    let mut wanted: Vec<_> = public.map(|name| name.trim_start_matches("pg_catalog.").to_owned()).collect();
    assert!(wanted.len() > 12, "{wanted:?}");
    listed.sort();
    wanted.sort();
    assert_eq!(listed, wanted);
}
