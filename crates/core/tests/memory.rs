//! How much memory a token can make a decision take: less than what is asked for beforehand.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::Reason;
use pgaad_core::token::{HEADROOM_BASE, HEADROOM_FACTOR, RawToken, UnverifiedToken};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The most bytes that this thread gets at once.
    static AT_ONCE: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Counting;

// SAFETY: the system's allocator does the work; the counters are plain atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > AT_ONCE.get() {
            return ptr::null_mut();
        }
        let now = NOW.fetch_add(counted(layout.size()), Ordering::Relaxed) + counted(layout.size());
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(counted(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What malloc takes for it: a header, and a multiple of sixteen.
fn counted(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory at a time that parsing takes, for each byte of the token.
fn factor(header: &str) -> usize {
    let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
    let bytes = token.len();
    // Not counted: the headroom itself.
    let raw = RawToken::new(token.into_bytes(), usize::MAX);
    let Ok(raw) = raw else { return 0 };
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    drop(UnverifiedToken::parse(&raw));
    (PEAK.load(Ordering::Relaxed) - before).div_ceil(bytes)
}

#[test]
fn no_token_takes_more_memory_than_the_headroom() {
    let of =
        |piece: &str| format!(r#"{{"kid":[{}{piece}]}}"#, format!("{piece},").repeat(48_000 / piece.len()));
    let members: String = (0..6_000).map(|number| format!(r#""{number:x}":0,"#)).collect();
    let nested = "[".repeat(120) + &"]".repeat(120);
    let mut worst = 0;
    for header in [
        of("0"),
        of("[]"),
        of("[0]"),
        of("[0,0,0,0,0]"),
        of(r#"{"":0}"#),
        of(r#"{"\n":[0]}"#),
        of(r#""\n""#),
        of(&nested),
        format!("{{{members}\"z\":0}}"),
        format!(r#"{{"kid":"{}"}}"#, "\\n".repeat(24_000)),
        "[".repeat(48_000),
    ] {
        let factor = factor(&header);
        let head: String = header.chars().take(40).collect();
        println!("{factor:>4} {head}");
        worst = worst.max(factor);
        assert!(factor < HEADROOM_FACTOR, "{factor}: {head}");
    }
    assert!(worst > HEADROOM_FACTOR / 4, "the headroom is far more than anything takes: {worst}");
}

#[test]
fn a_token_is_read_only_where_there_is_the_headroom() {
    let with_at_once = |bytes| {
        let token = vec![b'x'; 10_000];
        AT_ONCE.set(bytes);
        let raw = RawToken::new(token, usize::MAX);
        AT_ONCE.set(usize::MAX);
        raw.map(drop)
    };
    let headroom = 10_000 * HEADROOM_FACTOR + HEADROOM_BASE;
    assert_eq!(with_at_once(headroom - 1), Err(Reason::OutOfMemory));
    assert_eq!(with_at_once(headroom), Ok(()));
    assert_eq!(HEADROOM_BASE, 524_288, "enough for an RSA verification and a line of the log");
}
