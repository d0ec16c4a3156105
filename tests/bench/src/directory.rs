//! What a login costs whose group the directory knows, beside one whose token names it; and what a run costs.

use std::time::Instant;

use pgaad_tests::cluster::Cluster;
use pgaad_tests::{directory, process};
use tenant::crowd_member;

use crate::Effort;
use crate::bed::{Bed, Ticket};
use crate::load;
use crate::page::{AtMost, Page};
use crate::sample::Ratio;

/// Microseconds that the directory may add to a login at p50.
const ALLOWED: f64 = 25.0;

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    let cluster = start(bed);
    let sizes = [1_000, 100_000, 1_000_000];
    page.heading(
        "A login as a group's role, over trust: by the directory, in multiples of one by the token's claim",
    );
    page.row(&["members", "p50 ms", "p50 ×", "p50 more, µs"]);
    for members in sizes {
        let name = format!("crowd{members}");
        let group = bed.tenant.directory().add_crowd(&name, members);
        for cluster in [&bed.cluster, &cluster] {
            cluster.sql(&format!(
                "SELECT pgaadauth_create_principal_with_oid('{name}', '{group}', 'group', false, false)"
            ));
        }
        assert_eq!(cluster.value("SELECT pgaad.refresh_directory()"), "t");
        let token = || bed.tenant.token().claim("oid", crowd_member(&name, members / 3));
        // Of the same length: the claim names another group.
        let (claim, none) = (token().groups(&[&group]), token().claim("grou_s", vec![group.clone()]));
        let ticket = |cluster: &Cluster, secret: String| Ticket {
            target: cluster.plain("by_trust"),
            user: name.clone(),
            secret: secret.into_bytes(),
        };
        let tickets =
            [(&bed.cluster, ticket(&bed.cluster, claim.mint())), (&cluster, ticket(&cluster, none.mint()))];
        let series = load::in_turn(&tickets, 1, effort);
        let [by_claim, by_directory] = &series[..] else { unreachable!("two were measured") };
        let more = (by_directory.latency_ms(0.5) - by_claim.latency_ms(0.5)) * 1e3;
        page.row(&[
            &members.to_string(),
            &format!("{:.3}", by_directory.latency_ms(0.5)),
            &by_directory.latencies_by(by_claim, 0.5).to_string(),
            &format!("{more:.0}"),
        ]);
        if members == 100_000 {
            let target = "p50 with 100,000 members, µs more than by the claim / 25";
            page.target(target, Ratio::exactly(more / ALLOWED), AtMost(1.0));
        }
    }
    run(bed, &cluster, page);
}

/// A server like the bed's, with a directory.
fn start(bed: &Bed) -> Cluster {
    directory::register(&bed.tenant);
    bed.another(|cluster| directory::settings(cluster).conf("pgaad.graph_url", bed.tenant.authority()))
}

/// A run of fifty groups of a thousand members beside those that are there, and one of them alone.
fn run(bed: &Bed, cluster: &Cluster, page: &mut Page) {
    for number in 0..50 {
        let name = format!("team{number}");
        let group = bed.tenant.directory().add_crowd(&name, 1_000);
        cluster.sql(&format!(
            "SELECT pgaadauth_create_principal_with_oid('{name}', '{group}', 'group', false, false)"
        ));
    }
    // Of a million members only the largest measurement is.
    cluster.sql("DROP ROLE crowd1000000");
    let began = Instant::now();
    assert_eq!(cluster.value("SELECT pgaad.refresh_directory()"), "t");
    let took = began.elapsed();
    let traffic =
        cluster.value("SELECT requests || ' questions, ' || bytes / 1000 || ' kB' FROM pgaad.directory");
    let worker = cluster.processes("pgaad directory");
    let peak = process::peak_memory_kb(worker[0]) / 1024;
    page.heading("A run: 50 groups of 1,000 members, one of 1,000 and one of 100,000");
    page.row(&["s", "Graph", "the worker's peak, MiB"]);
    page.row(&[&format!("{:.1}", took.as_secs_f64()), &traffic, &peak.to_string()]);
}
