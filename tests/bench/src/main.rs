//! What a login with a token costs, beside PostgreSQL's own methods, on throw-away clusters.
//!
//! Ways in are measured in turn, round by round, so that changes of the machine affect all of them; what counts are
//! the ratios inside a round. Prints a page of tables, and leaves it with a plot in `target/bench/`.
//!
//! With `PGAAD_BENCH_CHECK` set it fails when a ratio misses its target. `--quick` tries whether it runs at all;
//! `ONLY=provider,herd` measures these chapters only.

mod bed;
mod directory;
mod footprint;
mod herd;
mod instructions;
mod libpq;
mod load;
mod login;
mod methods;
mod page;
mod plot;
mod provider;
mod sample;
mod scale;
mod statements;
mod trace;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use bed::Bed;
use page::Page;

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// Rounds of each measurement.
    rounds: usize,
    /// Logins of each way in a round.
    logins: usize,
}

fn main() -> ExitCode {
    let is_quick = env::args().any(|argument| argument == "--quick");
    let effort = if is_quick { Effort { rounds: 2, logins: 16 } } else { Effort { rounds: 15, logins: 160 } };
    let only = env::var("ONLY").unwrap_or_default();
    let wanted = |chapter: &str| only.is_empty() || only.split(',').any(|name| name == chapter);

    let bed = Bed::make();
    let mut page = Page::new(&bed);
    if wanted("methods") {
        methods::measure(&bed, effort, &mut page);
    }
    if wanted("libpq") {
        libpq::measure(&bed, effort, &mut page);
    }
    if wanted("instructions") {
        instructions::measure(&mut page);
    }
    if wanted("trace") {
        trace::measure(&bed, effort, &mut page);
    }
    if wanted("provider") {
        provider::measure(&bed, effort, &mut page);
    }
    if wanted("statements") {
        statements::measure(&bed, effort, &mut page);
    }
    if wanted("footprint") {
        footprint::measure(&bed, effort, &mut page);
    }
    if wanted("herd") {
        herd::measure(&bed, &mut page);
    }
    if wanted("directory") {
        directory::measure(&bed, effort, &mut page);
    }
    // Last: it leaves a thousand roles and 64 keys behind.
    if wanted("scale") {
        scale::measure(&bed, effort, &mut page);
    }
    let met = page.targets();
    let directory = PathBuf::from(env::var_os("PGAAD_BENCH").unwrap_or_else(|| "target/bench".into()));
    fs::create_dir_all(&directory).expect("a directory for the results");
    page.save(&directory);
    if met || env::var_os("PGAAD_BENCH_CHECK").is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
