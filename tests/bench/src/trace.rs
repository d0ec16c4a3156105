//! Where the time of a login goes: the kernel's uprobes around functions of libpam, libaudit and pgaad, in real
//! backends (Linux, `Documentation/trace/uprobetracer.rst`). Each probe costs a microsecond or two itself, within the
//! span of its caller, and each page fault that is noted half of one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgaad_tests::cluster::Cluster;

use crate::Effort;
use crate::bed::{Bed, Transport, Way};
use crate::load;
use crate::page::Page;
use crate::sample::quantile;

const TRACING: &str = "/sys/kernel/tracing";
const GROUP: &str = "pgaad_bench";
/// On x86-64.
const PAGE_FAULTS: &str = "events/exceptions/page_fault_user/enable";

/// What is looked at: a file that the server has mapped, a function in it, and what it is about.
const SPANS: [(&str, &str, &str); 18] = [
    ("libpam.so", "pam_start", "libpam: reads its files, loads modules"),
    ("libc.so", "dlopen", "dlopen, all of them"),
    ("libpam.so", "pam_authenticate", "libpam: authentication"),
    ("pgaad.so", "pam_sm_authenticate", "… of that our module"),
    ("libaudit.so", "audit_log_acct_message", "libpam: reports to the kernel's audit"),
    ("libaudit.so", "audit_close", "… and closes the socket"),
    ("libpam.so", "pam_acct_mgmt", "libpam: account management"),
    ("libpam.so", "pam_end", "libpam: unloads modules"),
    ("pgaad.so", "pgaad::gate::gate", "the gate, all of it"),
    ("pgaad.so", "pgaad::login::decide", "the decision, the client's answer included"),
    ("pgaad.so", "pgaad::pg::packet::ask_for_password", "… the client's answer (trust)"),
    ("pgaad.so", "pgaad_core::token::UnverifiedToken::parse", "… form and header"),
    ("pgaad.so", "pgaad::key_cache::find_or_refresh", "… the key"),
    ("pgaad.so", "pgaad_core::token::rs256", "… the signature"),
    ("pgaad.so", "pgaad_core::claims::Claims::read", "… the claims"),
    ("pgaad.so", "pgaad::pg::catalog::Role::facts", "… the role: memberships, labels"),
    ("pgaad.so", "pgaad_core::admit::admit", "… the admission"),
    ("pgaad.so", "pgaad::events::note", "the log line and the event"),
];

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    page.heading("Where the time goes, µs in a process just forked (page faults)");
    if !Path::new(TRACING).join("uprobe_events").exists() {
        let _ = Command::new("mount").args(["-t", "tracefs", "none", TRACING]).status();
    }
    if !Path::new(TRACING).join("uprobe_events").exists() || !Path::new(TRACING).join(PAGE_FAULTS).exists() {
        return page
            .line("Not to be seen here: the kernel has no uprobes, or no tracepoint for page faults.");
    }
    let ways = [Way::TokenTrust, Way::TokenPam, Way::TokenLeanPam];
    let traced = ways.map(|way| spans_of(bed, way, effort));
    page.row(&["", ways[0].name(), ways[1].name(), ways[2].name()]);
    for (index, (_, _, what)) in SPANS.iter().enumerate() {
        let cell = |spans: &BTreeMap<usize, Vec<Span>>| match spans.get(&index) {
            None => String::new(),
            Some(spans) => {
                let median = |of: fn(&Span) -> f64| quantile(spans.iter().map(of).collect(), 0.5);
                format!("{:.0} ({:.0})", median(|span| span.took), median(|span| span.faults))
            }
        };
        page.row(&[what, &cell(&traced[0]), &cell(&traced[1]), &cell(&traced[2])]);
    }
}

/// All calls of a function in one process.
#[derive(Clone, Copy, Default)]
struct Span {
    /// Microseconds.
    took: f64,
    faults: f64,
}

/// For each function by its place in [`SPANS`], what it took in each backend that called it.
fn spans_of(bed: &Bed, way: Way, effort: Effort) -> BTreeMap<usize, Vec<Span>> {
    let cluster = bed.cluster_of(way);
    set("tracing_on", "0");
    set("uprobe_events", "");
    for (index, (library, function, _)) in SPANS.iter().enumerate() {
        let Some(place) = mapped(cluster, library).and_then(|file| place_of(&file, function)) else {
            continue;
        };
        append("uprobe_events", &format!("p:{GROUP}/begin_{index} {place}"));
        append("uprobe_events", &format!("r:{GROUP}/end_{index} {place}"));
    }
    let switches = [format!("events/{GROUP}/enable"), PAGE_FAULTS.to_owned()];
    set("buffer_size_kb", "65536");
    set("trace", "");
    switches.iter().for_each(|switch| set(switch, "1"));
    set("tracing_on", "1");
    load::round(cluster, &bed.ticket(way, Transport::Plain), 1, effort.logins);
    set("tracing_on", "0");
    let text = fs::read_to_string(Path::new(TRACING).join("trace")).expect("root reads it");
    switches.iter().for_each(|switch| set(switch, "0"));
    set("uprobe_events", "");
    set("trace", "");
    set("buffer_size_kb", "1408");
    read(&text)
}

/// Lines such as ` postgres-311 [000] d.... 1868.552156: begin_3: (0x7f…)`.
fn read(text: &str) -> BTreeMap<usize, Vec<Span>> {
    struct Process {
        faults: f64,
        open: BTreeMap<usize, Span>,
        spans: BTreeMap<usize, Span>,
    }
    let mut processes: BTreeMap<&str, Process> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let (Some(task), Some(time), Some(event)) = (fields.next(), fields.nth(2), fields.next()) else {
            continue;
        };
        let Ok(time) = time.trim_end_matches(':').parse::<f64>() else { continue };
        let process = processes.entry(task).or_insert_with(|| Process {
            faults: 0.0,
            open: BTreeMap::new(),
            spans: BTreeMap::new(),
        });
        let number = |prefix: &str| event.strip_prefix(prefix)?.strip_suffix(':')?.parse::<usize>().ok();
        if event == "page_fault_user:" {
            process.faults += 1.0;
        } else if let Some(index) = number("begin_") {
            process.open.insert(index, Span { took: time, faults: process.faults });
        } else if let Some((index, begun)) =
            number("end_").and_then(|index| Some((index, process.open.remove(&index)?)))
        {
            let span = process.spans.entry(index).or_default();
            span.took += (time - begun.took) * 1e6;
            span.faults += process.faults - begun.faults;
        }
    }
    let mut spans: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
    for (index, span) in processes.into_values().flat_map(|process| process.spans) {
        spans.entry(index).or_default().push(span);
    }
    spans
}

/// The file that the postmaster has mapped and whose name begins like this.
fn mapped(cluster: &Cluster, library: &str) -> Option<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", cluster.postmaster_pid())).ok()?;
    let is_it = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with(library));
    maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(is_it).map(PathBuf::from)
}

/// `FILE:OFFSET` of a function, as the kernel wants it: where its bytes lie in the file.
fn place_of(file: &Path, function: &str) -> Option<String> {
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let output = |program: &str, option: &str| {
        let output = Command::new(program).arg(option).arg(file).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Distributions strip the local symbols of their libraries.
    let symbols = output("nm", "-C")? + &output("nm", "-D")?;
    let address = symbols.lines().find_map(|line| {
        let (address, rest) = line.split_once(' ')?;
        let name = rest.strip_prefix("t ").or_else(|| rest.strip_prefix("T "))?;
        (name.split("@@").next() == Some(function)).then(|| hex(address))?
    })?;
    let headers = output("readelf", "-lW")?;
    let offset = headers.lines().find_map(|line| {
        let mut fields = line.trim_start().strip_prefix("LOAD")?.split_whitespace();
        let (offset, begins, length) = (hex(fields.next()?)?, hex(fields.next()?)?, hex(fields.nth(1)?)?);
        (begins..begins + length).contains(&address).then_some(address - begins + offset)
    })?;
    Some(format!("{}:{offset:#x}", file.display()))
}

fn set(name: &str, text: &str) {
    let path = Path::new(TRACING).join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn append(name: &str, line: &str) {
    let path = Path::new(TRACING).join(name);
    let written =
        OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("{line}: {error}"));
}
