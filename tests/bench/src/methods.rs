//! Every way in beside every other: with and without TLS, one client and many.

use crate::Effort;
use crate::bed::{Bed, Transport, Way};
use crate::load;
use crate::page::Page;
use crate::plot;
use crate::sample::Series;

/// How many clients log in at a time.
const CLIENTS: [usize; 2] = [1, 16];

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    for transport in [Transport::Plain, Transport::Tls] {
        for clients in CLIENTS {
            let ways = bed.ways();
            let tickets: Vec<_> =
                ways.iter().map(|&way| (bed.cluster_of(way), bed.ticket(way, transport))).collect();
            let series = load::in_turn(&tickets, clients, effort);
            let measured: Vec<(Way, Series)> = ways.into_iter().zip(series).collect();
            table(page, transport, clients, &measured);
            if (transport, clients) == (Transport::Plain, 1) {
                page.figure("latency.svg", plot::latencies(bed, &measured));
            }
        }
    }
}

fn of(measured: &[(Way, Series)], way: Way) -> &Series {
    let found = measured.iter().find(|(other, _)| *other == way);
    &found.expect("every way is measured").1
}

fn table(page: &mut Page, transport: Transport, clients: usize, measured: &[(Way, Series)]) {
    let encryption = if transport == Transport::Tls { "with TLS" } else { "without TLS" };
    let plural = if clients == 1 { "" } else { "s" };
    page.heading(&format!("Logins {encryption}, {clients} client{plural}"));
    page.row(&["method", "logins/s", "× trust", "p50 ms", "p95 ms", "p99 ms", "server CPU ms"]);
    let trust = of(measured, Way::Trust);
    for (way, series) in measured {
        page.row(&[
            way.name(),
            &format!("{:.0}", series.rate()),
            &series.rates_by(trust).to_string(),
            &format!("{:.2}", series.latency_ms(0.5)),
            &format!("{:.2}", series.latency_ms(0.95)),
            &format!("{:.2}", series.latency_ms(0.99)),
            &format!("{:.2}", series.cpu_ms()),
        ]);
    }
}
