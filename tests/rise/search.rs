//! The search: all short sequences of statements, by each of eight actors.

use crate::statements::{OF_THE_SUPERUSER, STATEMENTS};
use crate::walk::{Breadth, Step, Walk, shown};
use crate::world::{ACTORS, OF_THE_HOLDER_FROM_16_ON, World};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of this run: `PGAAD_SEED`, or the time.
pub fn seed() -> u64 {
    let given = std::env::var("PGAAD_SEED").ok();
    given.map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs()),
        |seed| seed.parse().expect("PGAAD_SEED is a number"),
    )
}

/// Says it although the test passes: the harness hides what the macros print.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Searches as every actor and reports all that was found.
fn search(breadth: Breadth) {
    let seed = seed();
    let (world, twin) = (World::new(), World::without_hooks());
    let mut found = Vec::new();
    let (mut steps, mut states) = (0, 0);
    for (who, actor) in ACTORS {
        let mut all: Vec<Step> = STATEMENTS.iter().map(|statement| Step::of_actor(statement)).collect();
        all.extend(OF_THE_SUPERUSER.iter().map(|statement| Step::of_superuser(statement, actor)));
        let is_holder = actor == "holder" && !world.is_before_16();
        let given = if is_holder { OF_THE_HOLDER_FROM_16_ON } else { "" };
        let report = Walk::new(&world, &twin, actor, all, breadth, seed).given(given).run();
        say(&format!("rise: {who} ({actor}): {} steps, {} states", report.steps, report.states));
        steps += report.steps;
        states += report.states;
        if !report.findings.is_empty() {
            found.push(shown(actor, &report.findings));
        }
    }
    say(&format!("rise: {steps} steps, {states} states, PGAAD_SEED={seed}"));
    assert!(found.is_empty(), "PGAAD_SEED={seed}\n{}", found.join("\n"));
}

#[test]
fn nobody_rises_by_a_sampled_sequence_of_three_statements() {
    search(Breadth { depth: 3, sample_of_last: Some(4) });
}

#[test]
#[ignore = "takes minutes: make torture"]
fn nobody_rises_by_any_sequence_of_three_statements() {
    search(Breadth { depth: 3, sample_of_last: None });
}
