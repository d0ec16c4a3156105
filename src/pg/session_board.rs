//! Who is behind each connection, in shared memory: one slot for each backend that there can be, written by the backend
//! as its login is over, and emptied as it exits.
//!
//! A slot has one writer, so nobody waits, and no login takes a lock. When a backend crashes, the postmaster ends all
//! others and makes shared memory anew, empty.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::prelude::*;

use super::slot::Slot;
use super::version;

const WORDS: usize = 192;
type Record = Slot<WORDS>;

/// Longest record, in bytes.
pub(crate) const MAX_RECORD: usize = Record::MAX_BYTES;

/// The first of the slots; null before shared memory is there.
static SLOTS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    // SAFETY: libraries are loaded by the postmaster's only thread.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(at_request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(at_startup);
    }
}

/// A plain frame, as that of every hook that calls another one.
unsafe extern "C-unwind" fn at_request() {
    // SAFETY: set before, in the same process.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        reserve();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn reserve() {
    // SAFETY: called where core asks for this (miscinit.c, `process_shmem_requests`).
    unsafe { pg_sys::RequestAddinShmemSpace(count() * size_of::<Record>()) };
}

/// A plain frame, too.
unsafe extern "C-unwind" fn at_startup() {
    // SAFETY: as above.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        attach();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn attach() {
    let mut is_there = false;
    // SAFETY: called by the postmaster where core asks for this (ipci.c, `CreateSharedMemoryAndSemaphores`). The memory
    // is as large as the slots, and new memory is zero (shmem.c, `ShmemAlloc`, of a new mapping): empty slots.
    unsafe {
        let size = count() * size_of::<Record>();
        let memory = pg_sys::ShmemInitStruct(c"pgaad_session_board".as_ptr(), size, &raw mut is_there);
        if !is_there {
            ptr::write_bytes(memory.cast::<u8>(), 0, size);
        }
        SLOTS.store(memory.cast(), Ordering::Relaxed);
    }
}

/// How many backends there can be.
fn count() -> usize {
    // SAFETY: a plain global (globals.c), computed before any of these hooks is called.
    usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or_default()
}

fn slots() -> &'static [Record] {
    let first = SLOTS.load(Ordering::Relaxed);
    if first.is_null() {
        return &[];
    }
    // SAFETY: that many slots, in memory that stays for the life of the server.
    unsafe { std::slice::from_raw_parts(first, count()) }
}

/// Keeps a record of this backend's session, of at most [`MAX_RECORD`] bytes, until it exits.
pub(crate) fn keep(record: &[u8]) {
    let Some(slot) = slots().get(version::backend_number()) else { return };
    // SAFETY: a plain global of this process. The callback is a function of this library, which is never unloaded.
    unsafe {
        slot.write(u64::try_from(pg_sys::MyProcPid).unwrap_or_default(), record);
        pg_sys::on_shmem_exit(Some(forget), pg_sys::Datum::from(0_usize));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn forget(_code: i32, _argument: pg_sys::Datum) {
    if let Some(slot) = slots().get(version::backend_number()) {
        slot.write(0, &[]);
    }
}

/// The records of all sessions that there are, each with its process id.
pub(crate) fn records() -> Vec<(i32, Vec<u8>)> {
    let records = slots().iter().filter_map(Slot::read);
    records
        .filter(|(pid, _)| *pid != 0)
        .filter_map(|(pid, record)| Some((i32::try_from(pid).ok()?, record)))
        .collect()
}
