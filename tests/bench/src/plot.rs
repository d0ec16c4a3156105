//! The plot: how long a login takes, method by method.

use std::fmt::Write;

use crate::bed::{Bed, Way};
use crate::sample::Series;

const ROW: f64 = 34.0;
const LEFT: f64 = 270.0;
const WIDTH: f64 = 520.0;
const TOP: f64 = 54.0;

/// A row for each method: a bar from the 5th to the 95th percentile, a mark at the median, a dot at the 99th.
pub fn latencies(bed: &Bed, measured: &[(Way, Series)]) -> String {
    let end = measured.iter().map(|(_, series)| series.latency_ms(0.99)).fold(0.0, f64::max).ceil();
    let x = |milliseconds: f64| LEFT + milliseconds / end * WIDTH;
    let bottom = measured.iter().fold(TOP, |y, _| y + ROW);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 {height}" font-family="sans-serif" font-size="13">
<title>Latency of a login by method</title>
<rect width="840" height="{height}" fill="#fff"/>
<text x="20" y="24" font-size="15" font-weight="bold">
Latency of a login, PostgreSQL {major}, one client, loopback without TLS</text>
<text x="20" y="42" fill="#555">bar: 5th to 95th percentile; line: median; dot: 99th</text>
"##,
        height = bottom + 44.0,
        major = bed.major(),
    );
    let ticks = std::iter::successors(Some(0.0), |tick| Some(tick + 1.0)).take_while(|tick| *tick <= end);
    for tick in ticks {
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/>
<text x="{x:.1}" y="{label}" text-anchor="middle" fill="#555">{tick}</text>"##,
            x = x(tick),
            label = bottom + 18.0,
        );
    }
    let _ = writeln!(
        svg,
        r##"<text x="{}" y="{}" text-anchor="end" fill="#555">ms</text>"##,
        LEFT + WIDTH,
        bottom + 36.0
    );
    let mut y = TOP;
    for (way, series) in measured {
        let at = |part| x(series.latency_ms(part));
        let colour = if way.name().starts_with("token") { "#336791" } else { "#999" };
        let _ = writeln!(
            svg,
            r#"<text x="{label}" y="{text:.1}" text-anchor="end">{name}</text>
<rect x="{from:.1}" y="{bar:.1}" width="{width:.1}" height="14" rx="2" fill="{colour}" opacity="0.45"/>
<line x1="{median:.1}" x2="{median:.1}" y1="{bar:.1}" y2="{end:.1}" stroke="{colour}" stroke-width="3"/>
<circle cx="{last:.1}" cy="{middle:.1}" r="3" fill="{colour}"/>"#,
            label = LEFT - 12.0,
            text = y + ROW / 2.0 + 4.0,
            name = way.name().replace('`', ""),
            from = at(0.05),
            bar = y + ROW / 2.0 - 7.0,
            width = at(0.95) - at(0.05),
            median = at(0.5),
            end = y + ROW / 2.0 + 7.0,
            last = at(0.99),
            middle = y + ROW / 2.0,
        );
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}
