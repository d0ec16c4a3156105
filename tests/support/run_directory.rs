//! One directory for everything a test process makes, and a guard process that clears it away.
//!
//! Clusters live in statics that are never dropped, and a test run can be killed. So a small shell waits at
//! the far end of a pipe: when the test process is gone, however it went, the pipe closes, and the
//! shell stops the servers, removes the files that lie elsewhere (PAM service files) and the directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A process is only ours to stop while its working directory lies in our directory: ids are used again.
const GUARD: &str = r#"
trap '' INT TERM HUP
run=$1
read -r _
ours() { case "$(readlink "/proc/$1/cwd" 2>/dev/null)" in "$run"/*) return 0;; *) return 1;; esac; }
for entry in "$run"/processes/*; do
    [ -e "$entry" ] || continue
    process=${entry##*/}
    ours "$process" && kill -QUIT "$process" && kill -CONT "$process"
done
for entry in "$run"/processes/*; do
    [ -e "$entry" ] || continue
    process=${entry##*/}
    tries=0
    while ours "$process" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
done
for entry in "$run"/files/*; do
    [ -e "$entry" ] || continue
    rm -f -- "$(cat "$entry")" 2>/dev/null || sudo -n rm -f -- "$(cat "$entry")"
done
# A program that was making a data directory may go on for a moment.
tries=0
while [ -e "$run" ] && [ $tries -lt 100 ]; do rm -rf -- "$run"; sleep 0.1; tries=$((tries + 1)); done
"#;

struct RunDirectory {
    path: PathBuf,
    // Its standard input is the pipe: it must stay open as long as this process lives.
    _guard: Child,
}

fn run() -> &'static RunDirectory {
    static RUN: OnceLock<RunDirectory> = OnceLock::new();
    RUN.get_or_init(|| {
        let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
        // Short: a Unix socket's path has at most 107 bytes.
        let name = format!("pgaad-tests-{}-{:x}", std::process::id(), nanos & 0xffff);
        // Without symbolic links: libpam knows a library again, that the server has loaded, by its very path.
        let path = std::env::temp_dir().canonicalize().expect("a directory for temporary files").join(name);
        for part in ["processes", "files"] {
            fs::create_dir_all(path.join(part)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own directory");
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .expect("/bin/sh starts");
        RunDirectory { path, _guard: guard }
    })
}

/// The directory of this test process, readable by the servers' account.
pub fn path() -> &'static Path {
    &run().path
}

/// A path in the directory that nothing else uses: `kind-N`. It does not exist yet.
pub fn fresh(kind: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    path().join(format!("{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Has the guard stop this process, should the tests die before they do.
pub fn remember_process(pid: u32) {
    fs::write(path().join("processes").join(pid.to_string()), "").expect("our own directory");
}

/// The process has ended.
pub fn forget_process(pid: u32) {
    let _ = fs::remove_file(path().join("processes").join(pid.to_string()));
}

/// Has the guard remove a file outside the directory. Call it before the file is made.
pub fn remember_file(file: &Path) {
    let note = path().join("files").join(file.file_name().expect("a file has a name"));
    fs::write(note, file.as_os_str().as_encoded_bytes()).expect("our own directory");
}
