//! Names that backends want the directory to be asked for, and the worker's answers: a few places in shared memory.

use pgaad_core::directory::{NameQuestion, Named};
use pgaad_core::inline::Inline;
use pgaad_core::refresh_queue::Monotonic;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;

/// How many may wait at a time.
const PLACES: usize = 8;

/// Most of one name that an answer tells.
pub(crate) const MOST: usize = 5;

/// After how many milliseconds a place is free again whose backend has gone.
const ABANDONED: Monotonic = 30_000;

/// What the worker says of a name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LookupAnswer {
    /// What has the name, in the first places.
    pub(crate) found: [Option<Named>; MOST],
    /// The code of why that is not known; empty where it is.
    pub(crate) code: Inline<64>,
    /// The same in words.
    pub(crate) words: Inline<256>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Free,
    Asked(NameQuestion),
    Taken,
    Answered,
}

#[derive(Clone, Copy, Default)]
struct Place {
    number: u64,
    asked_at: Monotonic,
    name: Inline<256>,
    stage: Stage,
    /// Once there is one.
    answer: LookupAnswer,
}

#[derive(Clone, Copy, Default)]
struct Board {
    last: u64,
    places: [Place; PLACES],
}

// SAFETY: plain data without pointers.
unsafe impl PGRXSharedMemory for Board {}

// SAFETY: a name of ours, used once.
static BOARD: PgLwLock<Board> = unsafe { PgLwLock::new(c"pgaad_lookups") };

/// Asks core for the memory. Call once, from `_PG_init`.
pub(crate) fn request() {
    pg_shmem_init!(BOARD);
}

/// Changes the board. `change` works on a copy, and cannot block.
fn with_board<T>(change: impl FnOnce(&mut Board) -> T) -> T {
    let mut guard = BOARD.exclusive();
    let mut board = *guard;
    let result = change(&mut board);
    *guard = board;
    result
}

/// Wants a name to be asked for. `None` where too many wait already, or it is too long.
pub(crate) fn ask(question: NameQuestion, name: &str, now: Monotonic) -> Option<u64> {
    let name = Inline::new(name.as_bytes())?;
    with_board(|board| {
        let number = board.last.saturating_add(1);
        let is_free =
            |place: &&mut Place| place.stage == Stage::Free || now.saturating_sub(place.asked_at) > ABANDONED;
        let place = board.places.iter_mut().find(is_free)?;
        *place = Place { number, asked_at: now, name, stage: Stage::Asked(question), ..Place::default() };
        board.last = number;
        Some(number)
    })
}

/// Whether somebody waits who has not been taken.
pub(crate) fn is_asked() -> bool {
    BOARD.share().places.iter().any(|place| matches!(place.stage, Stage::Asked(_)))
}

/// Takes the one that has waited longest: its number, and what is asked.
pub(crate) fn take() -> Option<(u64, NameQuestion, String)> {
    with_board(|board| {
        let asked = board.places.iter_mut().filter(|place| matches!(place.stage, Stage::Asked(_)));
        let place = asked.min_by_key(|place| place.number)?;
        let Stage::Asked(question) = std::mem::replace(&mut place.stage, Stage::Taken) else { return None };
        Some((place.number, question, place.name.as_str().to_owned()))
    })
}

/// Answers, if somebody still waits.
pub(crate) fn answer(number: u64, answer: LookupAnswer) {
    with_board(|board| {
        let is_it = |place: &&mut Place| place.number == number && place.stage == Stage::Taken;
        if let Some(place) = board.places.iter_mut().find(is_it) {
            (place.stage, place.answer) = (Stage::Answered, answer);
        }
    });
}

/// The answer, once it is there; the place is free then.
pub(crate) fn answer_to(number: u64) -> Option<LookupAnswer> {
    with_board(|board| {
        let is_it = |place: &&mut Place| place.number == number && place.stage == Stage::Answered;
        board.places.iter_mut().find(is_it).map(|place| std::mem::take(place).answer)
    })
}

/// Waits no longer.
pub(crate) fn give_up(number: u64) {
    with_board(|board| {
        if let Some(place) = board.places.iter_mut().find(|place| place.number == number) {
            *place = Place::default();
        }
    });
}
