//! The SQL of README and of `docs/`, as it stands there: it runs, and nobody has to guess what is missing.

use std::fs;
use std::path::Path;

use pgaad_tests::Scene;
use pgaad_tests::document::Section;
use pgaad_tests::wire::{Outcome, Session};

/// What a document's reader has before its SQL is run.
const BEFORE: [(&str, &str); 10] = [
    (
        "README.md",
        "DROP EXTENSION pgaad; CREATE TABLE orders (owner_oid uuid); CREATE ROLE alice IN ROLE azure_ad_user; \
         CREATE ROLE dbas IN ROLE azure_ad_user; CREATE ROLE robot IN ROLE azure_ad_user",
    ),
    ("audience.md", ""),
    ("checks.md", ""),
    ("identity.md", "CREATE ROLE bob"),
    ("install.md", ""),
    ("migrating-from-azure.md", ""),
    ("monitoring.md", ""),
    ("row-level-security.md", "CREATE ROLE app_users"),
    ("shutting-out.md", ""),
    ("troubleshooting.md", "CREATE ROLE alice IN ROLE azure_ad_user"),
];

/// Those whose server must be another one, and the test that runs their SQL.
const ELSEWHERE: [(&str, &str); 1] = [("directory.md", "directory::sql_of_the_document_runs_as_it_stands")];

fn superuser(scene: &Scene) -> Session {
    match scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"").outcome {
        Outcome::Accepted(session) => session,
        Outcome::Refused(answers) => panic!("{answers:?}"),
    }
}

/// A sample with what a reader writes for `<…>` and for their token and event.
fn filled_in(sample: &str, unsigned_token: &str, event: &str) -> String {
    let mut text = sample.replace("explain_event(42)", &format!("explain_event({event})"));
    text = text.replace("<header.payload>", unsigned_token);
    text = text.replace("eyJ0eXAiOiJKV1Qi….eyJhdWQiOiJhcGk6…", unsigned_token);
    while let Some(start) = text
        .find("<object id")
        .or_else(|| text.find("<group id"))
        .or_else(|| text.find("<object or"))
        .or_else(|| text.find("<tenant id"))
    {
        let end = start + text[start..].find('>').expect("its end");
        text.replace_range(start..=end, "5f1e0a52-8d47-4c8e-9d0a-3f1b7c2d6e90");
    }
    text
}

#[test]
fn sql_of_the_documents_runs_as_it_stands() {
    let scene = Scene::start();
    let role = scene.member();
    let token = scene.token(&role).mint();
    let (unsigned_token, _) = token.rsplit_once('.').expect("three parts");
    let _ = scene.attempt(scene.route(), &role).with(token.as_str()).expect_admitted();
    let event = scene.cluster.value("SELECT max(id) FROM pgaad.events");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents: Vec<_> =
        fs::read_dir(root.join("docs")).expect("the documents").map(|e| e.expect("one").path()).collect();
    documents.push(root.join("README.md"));
    let mut ran = 0;
    for path in documents.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let text = fs::read_to_string(&path).expect("a document");
        let samples = Section::whole(&name, &text).samples("sql");
        if samples.is_empty() || ELSEWHERE.iter().any(|(of, _)| *of == name) {
            continue;
        }
        let (_, before) =
            BEFORE.iter().find(|(of, _)| *of == name).unwrap_or_else(|| panic!("{name} is not listed"));
        let mut session = superuser(&scene);
        let mut run = |sql: &str| {
            session
                .query(sql)
                .unwrap_or_else(|answer| panic!("{name}: {sql}\n{answer} {} {}", answer.detail, answer.hint))
        };
        run("BEGIN");
        run(before);
        for sample in samples {
            run(&filled_in(sample, unsigned_token, &event));
            ran += 1;
        }
        run("ROLLBACK");
    }
    assert!(ran > 30, "{ran} samples");
}
