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

/// Where libpam looks for a service's file, in this order (pam_handlers.c, `_pam_open_config_file`).
const DIRECTORIES: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// A service's file: libpam takes no directories from the name, and makes it small (pam_start.c).
fn path(directory: &str, service: &str) -> String {
    let name = service.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    format!("{directory}/{name}")
}

/// A file: its text, `None` where there is none, or why it was not read. That is the end of a sentence that
/// begins with its name.
pub type Reading = Result<Option<String>, String>;

/// A service's file as libpam finds it.
#[derive(Clone, Debug)]
struct File {
    path: String,
    reading: Reading,
}

impl File {
    /// The first file that can be read, or else the first that exists. If neither exists, the operator's own, so that
    /// the defect names the place where it should be.
    fn find(service: &str, read: &impl Fn(&str) -> Reading) -> Self {
        let of = |directory| {
            let path = path(directory, service);
            Self { reading: read(&path), path }
        };
        let found: Vec<_> = DIRECTORIES.map(of).into_iter().collect();
        let can_be_read = |file: &&Self| matches!(file.reading, Ok(Some(_)));
        let is_there = |file: &&Self| !matches!(file.reading, Ok(None));
        let file = found.iter().find(can_be_read).or_else(|| found.iter().find(is_there)).or(found.first());
        file.cloned().unwrap_or_else(|| Self { path: String::new(), reading: Ok(None) })
    }
}

/// The PAM service files of ours, and the one that decides where one is missing.
#[derive(Clone, Debug, Default)]
pub struct PamFiles {
    services: Vec<File>,
    /// `None` where no line is pam, and so nothing falls back to it.
    other: Option<File>,
    library: Library,
}

/// This library, and the other paths by which files name it.
#[derive(Clone, Debug, Default)]
struct Library {
    path: String,
    /// Links to it.
    aliases: Vec<String>,
}

impl Library {
    fn has(&self, module: &str) -> bool {
        module == self.path || self.aliases.iter().any(|alias| alias == module)
    }
}

impl PamFiles {
    /// Those of `services`, as `read` reads a path. `library` is the path by which the server loaded this library, and
    /// `is_library` tells whether another path leads to the same file.
    pub fn read(
        services: &[String],
        library: &str,
        read: impl Fn(&str) -> Reading,
        is_library: impl Fn(&str) -> bool,
    ) -> Self {
        let services: Vec<_> = services.iter().map(|service| File::find(service, &read)).collect();
        let other = (!services.is_empty()).then(|| File::find("other", &read));
        let texts = services.iter().chain(&other).filter_map(|file| file.reading.as_ref().ok()?.as_deref());
        let modules = texts.flat_map(entries).map(|entry| entry.module);
        let aliases = modules.filter(|module| module.starts_with('/') && is_library(module)).collect();
        Self { library: Library { path: library.to_owned(), aliases }, services, other }
    }
}

/// All that is wrong with the files of services.
pub(crate) fn services(PamFiles { services, library, .. }: &PamFiles) -> Vec<Defect> {
    services.iter().flat_map(|file| defects(file, library)).collect()
}

fn defects(File { path, reading }: &File, library: &Library) -> Vec<Defect> {
    let right = format!("# {path}\nauth    required {0}\naccount required {0}", library.path);
    let unread = |why: &str| format!("{path} {why}, so PAM asks what /etc/pam.d/other says");
    match reading {
        // std::io::ErrorKind::PermissionDenied.
        Err(why) if why.contains("permission denied") => {
            vec![Defect::new(unread(why), format!("chmod 0644 {path}"))]
        }
        Err(why) => vec![Defect::new(unread(why), right)],
        Ok(None) => vec![Defect::new(unread("does not exist"), right)],
        Ok(Some(text)) if text.contains("\r\n") => vec![Defect::new(
            format!("{path} has line ends of Windows, which libpam takes for parts of the modules' names"),
            format!("sed -i 's/\\r$//' {path}"),
        )],
        Ok(Some(text)) => {
            let details = defects_of_text(path, &entries(text), library);
            details.into_iter().map(|detail| Defect::new(detail, right.as_str())).collect()
        }
    }
}

fn defects_of_text(file: &str, entries: &[Entry], library: &Library) -> Vec<String> {
    let mut details = Vec::new();
    for question in QUESTIONS {
        let lines: Vec<_> = entries.iter().filter(|entry| entry.question == question).collect();
        match lines.first() {
            None => details.push(format!("{file} has no {question} line")),
            Some(first) if !library.has(&first.module) => details.push(format!(
                "the first {question} line of {file} names {} and not the library of this server, {}",
                first.module, library.path
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
    let Some(File { path, reading }) = other else { return Vec::new() };
    let detail = match reading {
        // Without the file PAM refuses by itself.
        Ok(None) => return Vec::new(),
        Ok(Some(text)) if refuses(&entries(text), library) => return Vec::new(),
        Ok(Some(_)) => "does not refuse",
        Err(why) => why,
    };
    vec![Defect::new(
        format!("{path} {detail}: it decides if the service file of a pam line is missing"),
        OTHER,
    )]
}

/// Whether both questions end at once, with a no or with this library's answer.
fn refuses(entries: &[Entry], library: &Library) -> bool {
    let asks = |entry: &&Entry, question| entry.question == question || entry.question == "include";
    let is_no = |entry: &Entry| {
        is_required(entry) && (entry.module.ends_with("pam_deny.so") || library.has(&entry.module))
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
    for line in text.split('\n') {
        match line.split_once('#') {
            Some((said, _)) => begun.push_str(said),
            None => match line.trim_end_matches(BLANKS).strip_suffix('\\') {
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

/// What separates words: `_pam_tokenize(…, " \n\t", …)` (pam_handlers.c).
const BLANKS: [char; 3] = [' ', '\n', '\t'];

fn entry(line: &str) -> Option<Entry> {
    let (question, rest) = line.trim_matches(BLANKS).split_once(BLANKS)?;
    let question = question.trim_start_matches('-').to_ascii_lowercase();
    let rest = rest.trim_start_matches(BLANKS);
    if question == "@include" {
        return Some(Entry { question: "include".into(), control: String::new(), module: rest.into() });
    }
    let (control, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.split_once(BLANKS)?,
    };
    let control = control.to_ascii_lowercase();
    let module = rest.split(BLANKS).find(|word| !word.is_empty())?.to_owned();
    let question =
        if ["include", "substack"].contains(&control.as_str()) { "include".into() } else { question };
    Some(Entry { question, control, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "/usr/lib/postgresql/15/lib/pgaad.so";

    fn library() -> Library {
        Library { path: LIBRARY.to_owned(), aliases: vec!["/opt/pgaad.so".to_owned()] }
    }

    fn defects_of(reading: Reading) -> Vec<Defect> {
        defects(&File { path: "/etc/pam.d/pgaad".to_owned(), reading }, &library())
    }

    fn count(text: &str) -> usize {
        defects_of(Ok(Some(text.replace("LIB", LIBRARY)))).len()
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
            let [defect] = &defects_of(reading)[..] else { panic!("one defect") };
            assert_eq!(
                defect.detail,
                format!("/etc/pam.d/pgaad {why}, so PAM asks what /etc/pam.d/other says")
            );
            let right = format!("# /etc/pam.d/pgaad\nauth    required {LIBRARY}\naccount required {LIBRARY}");
            assert_eq!(defect.hint, right);
        }
        let files = PamFiles::read(&["pgaad".to_owned()], LIBRARY, |_| Ok(None), |_| false);
        assert_eq!(services(&files).len(), 1);
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
    fn a_file_that_libpam_cannot_use_is_told_from_one_that_says_something_else() {
        for (reading, detail, hint) in [
            (
                Err("cannot be read: permission denied".to_owned()),
                "permission denied",
                "chmod 0644 /etc/pam.d/pgaad",
            ),
            (
                Ok(Some(format!("auth required {LIBRARY}\r\naccount required {LIBRARY}\r\n"))),
                "line ends of Windows",
                "sed -i 's/\\r$//' /etc/pam.d/pgaad",
            ),
        ] {
            let [defect] = &defects_of(reading)[..] else { panic!("one defect") };
            assert!(defect.detail.contains(detail) && defect.hint == hint, "{defect:?}");
        }
        // The last line may end without a line end, and a carriage return is no blank.
        assert_eq!(count("auth required LIB\naccount required LIB"), 0);
        assert_eq!(count("auth required LIB\naccount required LIB\r"), 1);
        // A link to the library is the library.
        assert_eq!(count("auth required /opt/pgaad.so\naccount required LIB"), 0);
        assert_eq!(count("auth required /opt/other.so\naccount required LIB"), 1);
    }

    #[test]
    fn file_is_found_as_libpam_finds_it() {
        for (service, file) in
            [("pgaad", "pgaad"), ("pgaad-Sales", "pgaad-sales"), ("pgaad-/../../tmp/x", "x")]
        {
            assert_eq!(path("/etc/pam.d", service), format!("/etc/pam.d/{file}"));
        }
        // The vendor's file counts where the operator has none, or none that can be read.
        let found = |own: Reading, vendors: Reading| {
            File::find("pgaad", &|path| if path.starts_with("/etc/") { own.clone() } else { vendors.clone() })
                .path
        };
        let (text, denied) = (Ok(Some(String::new())), Err("cannot be read: permission denied".to_owned()));
        assert_eq!(found(text.clone(), text.clone()), "/etc/pam.d/pgaad");
        assert_eq!(found(Ok(None), text.clone()), "/usr/lib/pam.d/pgaad");
        assert_eq!(found(denied.clone(), text), "/usr/lib/pam.d/pgaad");
        assert_eq!(found(denied, Ok(None)), "/etc/pam.d/pgaad");
        assert_eq!(found(Ok(None), Ok(None)), "/etc/pam.d/pgaad");
    }

    #[test]
    fn other_must_refuse() {
        let deny = "auth required pam_deny.so\naccount required pam_deny.so\n";
        let said = |services: &[String], reading: Reading| {
            other(&PamFiles::read(services, LIBRARY, |_| reading.clone(), |_| false))
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
        assert!(!is_sound(&format!("@include common-auth\n{deny}")), "what is included may say yes");
        assert!(is_sound(&format!("session optional pam_permit.so\n{deny}")));
        assert!(!is_sound("auth required /usr/lib/postgresql/16/lib/pgaad.so\naccount required LIB\n"));
        assert!(!is_sound(""));
    }
}
