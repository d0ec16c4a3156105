//! A background worker's dealings with the postmaster and its signals.

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{mem, ptr, thread};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::lwlock::PgLwLock;
use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;

use super::{clock, event_buffer, version};

/// Which worker it is. A new one is a variant here and a row of the table that is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerId {
    /// The one that refreshes the keys and ends sessions.
    Keys,
    /// The one that ends the sessions of those who are shut out. It reads the shared catalogs.
    Denials,
    /// The one that reads the directory, where there is one. It reads the shared catalogs.
    Directory,
}

/// How many there are.
const COUNT: usize = 3;

impl WorkerId {
    /// Its place in shared memory.
    const fn place(self) -> usize {
        match self {
            Self::Keys => 0,
            Self::Denials => 1,
            Self::Directory => 2,
        }
    }

    /// Whether it reads catalogs. Then it starts when these can be read, on a standby with the first queries.
    const fn reads_catalogs(self) -> bool {
        match self {
            Self::Keys => false,
            Self::Denials | Self::Directory => true,
        }
    }
}

/// A worker of this library.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// Its name, as `pg_stat_activity` shows it.
    pub(crate) name: &'static str,
    /// Its life; it ends with [`stop`].
    pub(crate) main: fn() -> !,
}

static WORKERS: OnceLock<&'static [Worker]> = OnceLock::new();

/// Registers the workers. Call once, from `_PG_init`.
///
/// Each has shared memory and no database, runs on a standby, too, and starts again one second after a crash.
pub(crate) fn register(workers: &'static [Worker]) {
    if WORKERS.set(workers).is_err() {
        return;
    }
    for worker in workers {
        let builder = BackgroundWorkerBuilder::new(worker.name);
        let (builder, start) = if worker.id.reads_catalogs() {
            (builder.enable_spi_access(), BgWorkerStartTime::ConsistentState)
        } else {
            (builder, BgWorkerStartTime::PostmasterStart)
        };
        builder
            .set_library("pgaad")
            .set_function("pgaad_worker_main")
            .set_argument(Some(pg_sys::Datum::from(worker.id.place())))
            .set_start_time(start)
            .set_restart_time(Some(Duration::from_secs(1)))
            .load();
    }
}

/// Where a worker's process begins; the postmaster's child finds it by name (bgworker.c).
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgaad_worker_main(place: pg_sys::Datum) {
    // A reload between the fork and here is missed, until the next one: bgworker.c ignores SIGHUP at first. Reading the
    // files here would be worse: a worker started anew would be ahead of backends, which have the postmaster's
    // settings.
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let worker = WORKERS.get().and_then(|all| all.iter().find(|worker| worker.id.place() == place.value()));
    let Some(worker) = worker else { stop() };
    let _ = OWN.set(worker.id);
    // SAFETY: plain globals of this process; a background worker's latch is its PGPROC's, in shared memory.
    let (pid, latch) = unsafe { (pg_sys::MyProcPid, pg_sys::MyLatch.addr()) };
    set_process(worker.id, Process { pid, latch, has_run: true });
    if worker.id.reads_catalogs() {
        BackgroundWorker::connect_worker_to_spi(None, None);
    }
    (worker.main)()
}

/// Runs `body` in a transaction of its own, for a worker that reads catalogs.
pub(crate) fn in_transaction<T>(body: impl FnOnce() -> T) -> T {
    // An error ends the worker, and with it all that it left behind.
    BackgroundWorker::transaction(AssertUnwindSafe(body))
}

/// The worker that this process is.
static OWN: OnceLock<WorkerId> = OnceLock::new();

/// The process of a worker, for those who wake it.
#[derive(Clone, Copy, Default)]
struct Process {
    /// Its id; 0 while there is none.
    pid: i32,
    /// Address of its latch in shared memory, the same in every process; 0 while there is none.
    latch: usize,
    /// Whether there was one since shared memory was made.
    has_run: bool,
}

/// Those of all workers, each in its place, and when one has last heard of a reload.
#[derive(Clone, Copy, Default)]
struct Processes {
    each: [Process; COUNT],
    /// Microseconds since 2000, as PostgreSQL counts; 0 before the first.
    reloaded: i64,
}

// SAFETY: plain data; the latch's address is in shared memory, which every process has at the same place (they are
// forked).
unsafe impl PGRXSharedMemory for Processes {}

// SAFETY: a name of ours, used once.
static PROCESSES: PgLwLock<Processes> = unsafe { PgLwLock::new(c"pgaad_workers") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(PROCESSES);
}

fn set_process(id: WorkerId, process: Process) {
    if let Some(place) = PROCESSES.exclusive().each.get_mut(id.place()) {
        *place = process;
    }
}

fn process(id: WorkerId) -> Process {
    PROCESSES.share().each.get(id.place()).copied().unwrap_or_default()
}

/// When the server was last told to reload, in microseconds since 2000; 0 before the first time.
///
/// `PgReloadTime` does not tell: it stays as it is when `postgresql.conf` has an error (guc.c,
/// `ProcessConfigFileInternal`: "goto bail_out"), while `pg_hba.conf` is loaded all the same (postmaster.c,
/// `process_pm_reload_request`).
pub(crate) fn reloaded() -> i64 {
    PROCESSES.share().reloaded
}

/// The worker's process id, if there is one.
pub(crate) fn pid(id: WorkerId) -> Option<i32> {
    Some(process(id).pid).filter(|pid| *pid != 0)
}

/// Whether the worker has never run, although the server has been up for long enough: it had no slot for it
/// (bgworker.c, `RegisterBackgroundWorker`: "too many background workers").
pub(crate) fn never_ran(id: WorkerId) -> bool {
    const LONG_ENOUGH: i64 = 5;
    !process(id).has_run && clock::now().since(event_buffer::began()) > LONG_ENOUGH
}

/// `max_worker_processes`: for how many the server has room, of whichever library.
pub(crate) fn slots() -> i32 {
    // SAFETY: a plain global (globals.c), set at the server's start.
    unsafe { pg_sys::max_worker_processes }
}

/// Wakes the worker, if there is one.
pub(crate) fn wake(id: WorkerId) {
    let latch: *mut pg_sys::Latch = ptr::with_exposed_provenance_mut(process(id).latch);
    if !latch.is_null() {
        // SAFETY: the latch of a PGPROC, which stays in shared memory for the server's life; when the worker has gone
        // meanwhile, somebody else wakes for nothing (latch.h allows for it).
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// What a worker woke for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The time is over, or somebody set its latch.
    Time,
    /// The configuration was reloaded, and has been read again.
    Reload,
    /// The server stops, or the worker is told to.
    Stop,
}

/// Sleeps until `timeout`, a latch or a signal.
pub(crate) fn sleep(timeout: Duration) -> Wake {
    // False on SIGTERM and when the postmaster has died.
    if !BackgroundWorker::wait_latch(Some(timeout)) {
        return Wake::Stop;
    }
    if BackgroundWorker::sighup_received() {
        // SIGHUP only sets a flag. SAFETY: in the worker's own loop, outside any transaction.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        // SAFETY: reads the clock.
        PROCESSES.exclusive().reloaded = unsafe { pg_sys::GetCurrentTimestamp() };
        return Wake::Reload;
    }
    Wake::Time
}

/// Ends the worker with code 1, so that the postmaster starts it again unless it stops itself:
/// after code 0 it never would (bgworker.c).
pub(crate) fn stop() -> ! {
    if let Some(id) = OWN.get() {
        set_process(*id, Process { has_run: true, ..Process::default() });
    }
    version::exit(1)
}

/// The server's data directory.
pub(crate) fn data_directory() -> PathBuf {
    // SAFETY: a C string that the postmaster set before it loaded any library (globals.c).
    let path = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    PathBuf::from(path.to_string_lossy().into_owned())
}

/// Threads that [`spawn`] has started and that have not ended.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// How many threads of [`spawn`] there are.
pub(crate) fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// Counts a thread as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        THREADS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread of its own and gives the end where its result arrives.
///
/// The thread, and every thread that it starts, is born with all signals blocked: PostgreSQL's
/// handlers must run on the main thread only. `work` must not call PostgreSQL.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<Receiver<T>> {
    let (sender, receiver) = channel();
    // Dropped with the closure, when that was run or could not be.
    let counted = Counted::new();
    // SAFETY: sigset_t is plain data; both sets are ours, and the old mask is put back below.
    let old = unsafe {
        let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        old
    };
    let spawned = thread::Builder::new().name("pgaad fetch".to_owned()).spawn(move || {
        // The receiver may have stopped waiting; then nobody wants the result.
        let _ = sender.send(work());
        drop(counted);
    });
    // SAFETY: the mask that was in force before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, ptr::null_mut()) };
    spawned.ok().map(|_| receiver)
}

/// Whether this process is a parallel worker of somebody's query.
pub(crate) fn is_parallel() -> bool {
    // SAFETY: a plain global of the process (parallel.h, `IsParallelWorker`: "ParallelWorkerNumber >= 0").
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}

/// Sleeps for a moment in a backend that logs in or runs a query; errors and time-outs of core's end the wait.
pub(crate) fn wait(duration: Duration) {
    let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: the process' own latch; core's flags for "latch, time-out, or postmaster death".
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            i32::try_from(pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH)
                .unwrap_or_default(),
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
