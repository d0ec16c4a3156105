//! The page of results: Markdown, printed as it grows.

use std::fs;
use std::path::Path;

use crate::bed::Bed;
use crate::sample::Ratio;

/// A bound that a ratio must keep.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
}
pub use Bound::{AtLeast, AtMost};

struct Target {
    what: String,
    measured: Ratio,
    bound: Bound,
}

impl Target {
    fn is_met(&self) -> bool {
        match self.bound {
            AtLeast(bound) => self.measured.median >= bound,
            AtMost(bound) => self.measured.median <= bound,
        }
    }
}

/// The page so far.
pub struct Page {
    text: String,
    is_in_table: bool,
    targets: Vec<Target>,
    figures: Vec<(String, String)>,
    name: String,
}

impl Page {
    /// A page that begins with what was measured, on what.
    pub fn new(bed: &Bed) -> Page {
        let name = format!("pg{}", bed.major());
        let mut page =
            Page { text: String::new(), is_in_table: false, targets: Vec::new(), figures: Vec::new(), name };
        let version = bed.cluster.value("SELECT version()");
        page.line(&format!("{}; {}.", version.split(" on ").next().unwrap_or_default(), machine()));
        page
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.line(&format!("\n### {text}\n"));
    }

    /// A paragraph.
    pub fn line(&mut self, text: &str) {
        self.is_in_table = false;
        self.print(text);
    }

    /// A row of a table; the first one after anything else is its head.
    pub fn row(&mut self, cells: &[&str]) {
        self.print(&format!("| {} |", cells.join(" | ")));
        if !self.is_in_table {
            self.is_in_table = true;
            let rule: Vec<&str> =
                cells.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "--:" }).collect();
            self.print(&format!("|{}|", rule.join("|")));
        }
    }

    /// A figure, saved beside the page.
    pub fn figure(&mut self, name: &str, svg: String) {
        self.figures.push((name.to_owned(), svg));
    }

    /// A ratio that has a bound.
    pub fn target(&mut self, what: &str, measured: Ratio, bound: Bound) {
        self.targets.push(Target { what: what.to_owned(), measured, bound });
    }

    /// The table of all targets; whether every one is met.
    pub fn targets(&mut self) -> bool {
        self.heading("Targets");
        self.row(&["ratio", "target", "measured", "met"]);
        let targets = std::mem::take(&mut self.targets);
        for target in &targets {
            let bound = match target.bound {
                AtLeast(bound) => format!("≥ {bound}"),
                AtMost(bound) => format!("≤ {bound}"),
            };
            let met = if target.is_met() { "yes" } else { "no" };
            self.row(&[&target.what, &bound, &target.measured.to_string(), met]);
        }
        targets.iter().all(Target::is_met)
    }

    /// Writes the page and its figures.
    pub fn save(&self, directory: &Path) {
        let write = |name: &str, text: &str| {
            let path = directory.join(format!("{}-{name}", self.name));
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            println!("{}", path.display());
        };
        println!();
        write("logins.md", &self.text);
        for (name, svg) in &self.figures {
            write(name, svg);
        }
    }

    fn print(&mut self, text: &str) {
        println!("{text}");
        self.text.push_str(text);
        self.text.push('\n');
    }
}

/// The processor and the kernel.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let models: Vec<&str> =
        cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} × {}, Linux {}", models.len(), models.first().unwrap_or(&"?"), kernel.trim())
}
