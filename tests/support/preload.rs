//! A library that is put before the C library of a server, for what a test cannot do to the machine itself.

use crate::run_directory;
use std::path::PathBuf;
use std::process::Command;

/// Moves the clock that the library under test reads; PostgreSQL's own timestamps come from `gettimeofday`.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = (int) syscall(SYS_clock_gettime, clock, now);
    if (answer == 0 && clock == CLOCK_REALTIME) now->tv_sec += SECONDS;
    return answer;
}
"#;

/// Opens no file whose path holds the word: as on a mount whose server is gone, the call never returns.
const DEAD_MOUNT: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <stdarg.h>
#include <unistd.h>
int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    int mode = va_arg(list, int);
    va_end(list);
    while (strstr(path, "dead-mount")) pause();
    return (int) syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
"#;

/// A library that moves the clock by so many seconds.
pub fn clock_ahead(seconds: i64) -> PathBuf {
    compiled(&CLOCK.replace("SECONDS", &format!("{seconds}L")))
}

/// A library for which every file with `dead-mount` in its path lies on a mount that does not answer.
pub fn dead_mount() -> PathBuf {
    compiled(DEAD_MOUNT)
}

/// Rust's linker is a C compiler, so there is one.
fn compiled(source: &str) -> PathBuf {
    let library = run_directory::fresh("preload").with_extension("so");
    let file = library.with_extension("c");
    std::fs::write(&file, source).expect("our own file");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&file).status();
    assert!(made.is_ok_and(|status| status.success()), "cc {}", file.display());
    library
}
