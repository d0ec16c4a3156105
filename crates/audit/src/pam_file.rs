//! What is wrong with a PAM service file (pam.d(5)): it must ask this very library, in both questions,
//! and nothing else may say yes.

use crate::defect::Defect;

/// The two questions that PostgreSQL asks (auth.c, `CheckPAMAuth`).
const QUESTIONS: [&str; 2] = ["auth", "account"];

/// What `/etc/pam.d/other` should be.
const OTHER: &str = "# /etc/pam.d/other
auth     required pam_deny.so
account  required pam_deny.so
password required pam_deny.so
session  required pam_deny.so";

/// The path of a service's file: libpam takes no directories from the name, and makes it small (pam_start.c).
fn path(service: &str) -> String {
    let name = service.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    format!("/etc/pam.d/{name}")
}

/// A file: its text, `None` where there is none, or why it was not read. That is the end of a sentence that
/// begins with its name.
pub type Reading = Result<Option<String>, String>;

/// The PAM service files of ours, and the one that decides where one is missing.
#[derive(Clone, Debug, Default)]
pub struct PamFiles {
    services: Vec<(String, Reading)>,
    /// `None` where no line is pam, and so nothing falls back to it.
    other: Option<Reading>,
    library: String,
}

impl PamFiles {
    /// Those of `services`, as `read` reads a path. `library` is the path by which the server loaded this library.
    pub fn read(services: &[String], library: &str, read: impl Fn(&str) -> Reading) -> Self {
        Self {
            services: services.iter().map(|service| (service.clone(), read(&path(service)))).collect(),
            other: (!services.is_empty()).then(|| read(&path("other"))),
            library: library.to_owned(),
        }
    }
}

/// All that is wrong with the files of services.
pub(crate) fn services(PamFiles { services, library, .. }: &PamFiles) -> Vec<Defect> {
    services.iter().flat_map(|(service, reading)| defects(service, reading, library)).collect()
}

fn defects(service: &str, reading: &Reading, library: &str) -> Vec<Defect> {
    let file = path(service);
    let right = format!("# {file}\nauth    required {library}\naccount required {library}");
    let mut defects = Vec::new();
    let mut defect = |detail: String| defects.push(Defect::new(detail, right.as_str()));
    let unread = |why: &str| format!("{file} {why}, so PAM asks what /etc/pam.d/other says");
    match reading {
        Err(why) => defect(unread(why)),
        Ok(None) => defect(unread("does not exist")),
        Ok(Some(text)) => defects_of_text(&file, &entries(text), library).into_iter().for_each(defect),
    }
    defects
}

fn defects_of_text(file: &str, entries: &[Entry], library: &str) -> Vec<String> {
    let mut details = Vec::new();
    for question in QUESTIONS {
        let lines: Vec<_> = entries.iter().filter(|entry| entry.question == question).collect();
        match lines.first() {
            None => details.push(format!("{file} has no {question} line")),
            Some(first) if first.module != library => details.push(format!(
                "the first {question} line of {file} names {} and not the library of this server, {library}",
                first.module
            )),
            Some(first) if !is_required(first) => {
                details.push(format!("the {question} line of {file} is {} and not required", first.control));
            }
            Some(_) => {}
        }
        if let Some(more) = lines.get(1) {
            details.push(format!("{file} asks {} after pgaad in {question}", more.module));
        }
    }
    if entries.iter().any(|entry| entry.question == "include") {
        details.push(format!("{file} includes another file"));
    }
    details
}

/// What is wrong with `/etc/pam.d/other`, which decides where a service file is missing: it should refuse, or ask
/// this library, which refuses services that are not its own.
pub(crate) fn other(PamFiles { other, library, .. }: &PamFiles) -> Vec<Defect> {
    let detail = match other {
        // Without the file PAM refuses by itself.
        None | Some(Ok(None)) => None,
        Some(Ok(Some(text))) if refuses(&entries(text), library) => None,
        Some(Ok(Some(_))) => Some("does not refuse".to_owned()),
        Some(Err(why)) => Some(why.clone()),
    };
    let defect = |detail| {
        Defect::new(
            format!("/etc/pam.d/other {detail}: it decides if the service file of a pam line is missing"),
            OTHER,
        )
    };
    detail.map(defect).into_iter().collect()
}

/// Whether both questions end at once, with a no or with this library's answer.
fn refuses(entries: &[Entry], library: &str) -> bool {
    let asks = |entry: &&Entry, question| entry.question == question || entry.question == "include";
    let is_no = |entry: &Entry| {
        is_required(entry) && (entry.module.ends_with("pam_deny.so") || entry.module == library)
    };
    QUESTIONS.iter().all(|&question| entries.iter().find(|entry| asks(entry, question)).is_some_and(is_no))
}

fn is_required(entry: &Entry) -> bool {
    ["required", "requisite"].contains(&entry.control.as_str())
}

struct Entry {
    /// `auth`, `account`, …; `include` for `@include`.
    question: String,
    control: String,
    module: String,
}

/// The lines that say something. libpam compares types and controls without regard to case.
fn entries(text: &str) -> Vec<Entry> {
    assembled(text).iter().filter_map(|line| entry(line)).collect()
}

/// The lines as libpam puts them together (pam_handlers.c, `_pam_assemble_line`): one that ends with a backslash, and
/// not with a comment, goes on with the next.
fn assembled(text: &str) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), String::new());
    for line in text.lines() {
        match line.split_once('#') {
            Some((said, _)) => begun.push_str(said),
            None => match line.trim_end().strip_suffix('\\') {
                Some(said) => {
                    begun.push_str(said);
                    begun.push(' ');
                    continue;
                }
                None => begun.push_str(line),
            },
        }
        lines.push(std::mem::take(&mut begun));
    }
    lines.push(begun);
    lines
}

fn entry(line: &str) -> Option<Entry> {
    let (question, rest) = line.trim().split_once(char::is_whitespace)?;
    let question = question.trim_start_matches('-').to_ascii_lowercase();
    let rest = rest.trim_start();
    if question == "@include" {
        return Some(Entry { question: "include".into(), control: String::new(), module: rest.into() });
    }
    let (control, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.split_once(char::is_whitespace)?,
    };
    let control = control.to_ascii_lowercase();
    let module = rest.split_whitespace().next()?.to_owned();
    let question =
        if ["include", "substack"].contains(&control.as_str()) { "include".into() } else { question };
    Some(Entry { question, control, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "/usr/lib/postgresql/15/lib/pgaad.so";

    fn count(text: &str) -> usize {
        defects("pgaad", &Ok(Some(text.replace("LIB", LIBRARY))), LIBRARY).len()
    }

    #[test]
    fn the_file_of_the_readme_is_sound_and_each_change_of_it_is_not() {
        assert_eq!(count("# ours\nauth    required LIB\naccount required LIB\n"), 0);
        assert_eq!(count("auth requisite LIB\naccount required LIB # both\n"), 0);
        assert_eq!(count("auth required LIB\n"), 1);
        assert_eq!(count("account required LIB\n"), 1);
        assert_eq!(count("auth sufficient LIB\naccount required LIB"), 1);
        assert_eq!(count("auth [success=ok default=ignore] LIB\naccount required LIB"), 1);
        assert_eq!(count("auth required LIB\naccount required LIB\nauth required pam_permit.so"), 1);
        assert_eq!(count("auth required pam_permit.so\naccount required LIB"), 1);
        assert_eq!(count("auth required /usr/lib/postgresql/16/lib/pgaad.so\naccount required LIB"), 1);
        assert_eq!(count("auth required LIB\naccount required LIB\n@include common-auth"), 1);
        assert_eq!(count("auth required LIB\naccount required LIB\nauth include common-auth"), 1);
        for (reading, why) in [
            (Err("is a FIFO and not a regular file".to_owned()), "is a FIFO and not a regular file"),
            (Ok(None), "does not exist"),
        ] {
            let [defect] = &defects("pgaad", &reading, LIBRARY)[..] else { panic!("one defect") };
            assert_eq!(
                defect.detail,
                format!("/etc/pam.d/pgaad {why}, so PAM asks what /etc/pam.d/other says")
            );
        }
    }

    #[test]
    fn lines_are_read_as_libpam_reads_them() {
        assert_eq!(count("AUTH Required LIB\nAccount REQUIRED LIB"), 0);
        assert_eq!(count("auth required \\\n  LIB\naccount \\ \n required LIB\n"), 0);
        assert_eq!(count("auth required LIB\naccount required LIB\nAUTH required pam_permit.so"), 1);
        assert_eq!(count("auth required LIB\naccount required LIB\nauth \\\nrequired pam_permit.so"), 1);
        // A comment ends a line, whatever it ends with.
        assert_eq!(count("auth required LIB\naccount required LIB # \\\nauth required pam_permit.so"), 1);
        assert_eq!(count("auth required LIB\naccount required LIB\n@Include common-auth"), 1);
    }

    #[test]
    fn file_is_found_as_libpam_finds_it() {
        assert_eq!(path("pgaad"), "/etc/pam.d/pgaad");
        assert_eq!(path("pgaad-Sales"), "/etc/pam.d/pgaad-sales");
        assert_eq!(path("pgaad-/../../tmp/x"), "/etc/pam.d/x");
    }

    #[test]
    fn other_must_refuse() {
        let deny = "auth required pam_deny.so\naccount required pam_deny.so\n";
        let said = |services: &[String], reading: Reading| {
            other(&PamFiles::read(services, LIBRARY, |_| reading.clone()))
        };
        let ours = ["pgaad".to_owned()];
        let is_sound = |text: &str| said(&ours, Ok(Some(text.replace("LIB", LIBRARY)))).is_empty();
        assert!(is_sound(deny));
        assert!(is_sound("auth requisite LIB\naccount required LIB\n"));
        assert_eq!(said(&ours, Ok(None)), []);
        assert_eq!(said(&[], Ok(Some("auth required pam_permit.so".into()))), [], "nothing falls back to it");
        let [defect] = &said(&ours, Err("is a directory".into()))[..] else { panic!("one defect") };
        assert!(defect.detail.starts_with("/etc/pam.d/other is a directory: "), "{}", defect.detail);
        assert!(!is_sound("@include common-auth\n@include common-account\n"));
        assert!(!is_sound("auth required pam_deny.so\naccount required pam_permit.so\n"));
        assert!(!is_sound("auth optional pam_deny.so\naccount required pam_deny.so\n"));
        assert!(!is_sound("auth required /usr/lib/postgresql/16/lib/pgaad.so\naccount required LIB\n"));
        assert!(!is_sound(""));
    }
}
