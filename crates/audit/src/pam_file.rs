//! What is wrong with a PAM service file (pam.d(5)): it must ask this very library, in both questions,
//! and nothing else may say yes.

use crate::defect::Defect;

/// The two questions that PostgreSQL asks (auth.c, `CheckPAMAuth`).
const QUESTIONS: [&str; 2] = ["auth", "account"];

/// What `/etc/pam.d/other` should be.
pub const OTHER: &str = "# /etc/pam.d/other
auth     required pam_deny.so
account  required pam_deny.so
password required pam_deny.so
session  required pam_deny.so";

/// The path of a service's file: libpam takes no directories from the name, and makes it small (pam_start.c).
pub fn path(service: &str) -> String {
    let name = service.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    format!("/etc/pam.d/{name}")
}

/// All that is wrong with the file of `service`. `text` is why there is none, where it was not read: the end of a
/// sentence that begins with its name. `library` is the path by which the server loaded this library.
pub fn defects(service: &str, text: Result<&str, &str>, library: &str) -> Vec<Defect> {
    let file = path(service);
    let right = format!("auth    required {library}\naccount required {library}");
    let text = match text {
        Ok(text) => text,
        Err(why) => {
            return vec![Defect::new(
                "pam_file",
                format!("{file} {why}, so PAM asks what /etc/pam.d/other says"),
                format!("# {file}\n{right}"),
            )];
        }
    };
    let mut defects = Vec::new();
    let mut defect =
        |detail: String| defects.push(Defect::new("pam_file", detail, format!("# {file}\n{right}")));
    for question in QUESTIONS {
        let lines: Vec<_> = entries(text).into_iter().filter(|entry| entry.question == question).collect();
        match lines.first() {
            None => defect(format!("{file} has no {question} line")),
            Some(first) if first.module != library => defect(format!(
                "the first {question} line of {file} names {} and not the library of this server, {library}",
                first.module
            )),
            Some(first) if !is_required(first) => {
                defect(format!("the {question} line of {file} is {} and not required", first.control));
            }
            Some(_) => {}
        }
        if let Some(more) = lines.get(1) {
            defect(format!("{file} asks {} after pgaad in {question}", more.module));
        }
    }
    if entries(text).iter().any(|entry| entry.question == "include") {
        defect(format!("{file} includes another file"));
    }
    defects
}

/// What is wrong with `/etc/pam.d/other`, which decides where a service file is missing: it should refuse, or ask
/// this library, which refuses services that are not its own.
///
/// `text` is `None` where there is no such file.
pub fn defects_of_other(text: Option<&str>, library: &str) -> Option<Defect> {
    let refuses = |entry: &Entry| {
        is_required(entry) && (entry.module.ends_with("pam_deny.so") || entry.module == library)
    };
    let entries = entries(text.unwrap_or_default());
    let denies = |question| {
        entries
            .iter()
            .find(|entry| entry.question == question || entry.question == "include")
            .is_some_and(refuses)
    };
    // Without the file PAM refuses by itself.
    (text.is_some() && !QUESTIONS.into_iter().all(denies)).then(|| {
        Defect::new(
            "pam_other",
            "/etc/pam.d/other does not refuse: it decides if the service file of a pam line is missing",
            OTHER,
        )
    })
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
        defects("pgaad", Ok(&text.replace("LIB", LIBRARY)), LIBRARY).len()
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
        let [defect] = &defects("pgaad", Err("is a FIFO and not a regular file"), LIBRARY)[..] else {
            panic!("one defect")
        };
        let detail =
            "/etc/pam.d/pgaad is a FIFO and not a regular file, so PAM asks what /etc/pam.d/other says";
        assert_eq!(defect.detail, detail);
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
        let is_sound = |text: &str| defects_of_other(Some(&text.replace("LIB", LIBRARY)), LIBRARY).is_none();
        assert!(is_sound(deny));
        assert!(is_sound("auth requisite LIB\naccount required LIB\n"));
        assert_eq!(defects_of_other(None, LIBRARY), None);
        assert!(!is_sound("@include common-auth\n@include common-account\n"));
        assert!(!is_sound("auth required pam_deny.so\naccount required pam_permit.so\n"));
        assert!(!is_sound("auth optional pam_deny.so\naccount required pam_deny.so\n"));
        assert!(!is_sound("auth required /usr/lib/postgresql/16/lib/pgaad.so\naccount required LIB\n"));
        assert!(!is_sound(""));
    }
}
