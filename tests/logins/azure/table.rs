//! Every row of docs/azure-statements.md, as a superuser and as the Entra administrator.

use super::{ADMIN, CLIENT_ID, GROUP, login, run};
use pgaad_tests::Scene;
use pgaad_tests::wire::{Outcome, Session};
use tenant::object_id;

struct Row {
    statement: String,
    superuser: String,
    administrator: String,
}

fn rows() -> Vec<Row> {
    let page = include_str!("../../../docs/azure-statements.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let row = |(statement, rest): (&str, &str)| {
        let cells: Vec<_> = rest.split(" | ").collect();
        let [superuser, administrator, _] = cells[..] else { panic!("{statement}: {rest}") };
        Row {
            statement: statement.replace("<client id>", CLIENT_ID).replace("<id>", GROUP),
            superuser: superuser.to_owned(),
            administrator: administrator.to_owned(),
        }
    };
    cells.map(row).collect()
}

/// Runs a statement, and takes back what it did.
fn outcome(session: &mut Session, statement: &str) -> String {
    let in_transaction = !statement.starts_with("CREATE DATABASE");
    if in_transaction {
        run(session, "BEGIN");
    }
    let result = session.query(statement);
    if in_transaction {
        run(session, "ROLLBACK");
    } else {
        run(session, &statement.replace("CREATE", "DROP"));
    }
    match result {
        Ok(_) => "the same".to_owned(),
        Err(answer) => {
            // An error of ours says what to do.
            let is_cores = ["42710", "55P02"].contains(&answer.sqlstate.as_str()) || answer.hint.is_empty();
            assert!(is_cores || answer.hint.len() > 15, "{statement}: {answer}");
            answer.sqlstate
        }
    }
}

#[test]
fn each_statement_does_what_the_page_says() {
    let scene = Scene::start();
    scene.cluster.sql(&format!("SELECT pgaad.set_admin('{ADMIN}', '{}', 'user')", object_id(ADMIN)));
    let mut admin = login(&scene, ADMIN, &scene.token(ADMIN));
    for statement in [
        "CREATE USER \"user@contoso.com\" IN ROLE azure_ad_user",
        "CREATE ROLE readers LOGIN IN ROLE azure_ad_user",
        "CREATE ROLE \"existing@contoso.com\" LOGIN",
        "CREATE ROLE plain",
    ] {
        run(&mut admin, statement);
    }
    let login = scene.cluster.login(&scene.cluster.unix("postgres"), "postgres", b"");
    let Outcome::Accepted(mut superuser) = login.outcome else { panic!("{login:?}") };
    let major = scene.cluster.installation().major();
    let wanted = |cell: &str| match cell.split_once(" from 16 on") {
        Some((sqlstate, _)) if major >= 16 => sqlstate.to_owned(),
        Some(_) => "the same".to_owned(),
        None => cell.to_owned(),
    };
    let rows = rows();
    assert!(rows.len() > 50, "{}", rows.len());
    let mut wrong = Vec::new();
    for Row { statement, superuser: of_superuser, administrator } in rows {
        for (session, who, cell) in
            [(&mut superuser, "superuser", of_superuser), (&mut admin, "administrator", administrator)]
        {
            let found = outcome(session, &statement);
            if found != wanted(&cell) {
                wrong.push(format!("{who}: {found} and not {cell}: {statement}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
