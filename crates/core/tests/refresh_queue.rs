//! The queue of refreshes, walked through every order of what its users do.
//!
//! Beside the queue runs a record of what happened, which knows nothing of numbers: when was each request made, and
//! when did each refresh begin and end?

use std::time::Duration;

use pgaad_core::refresh::RefreshPolicy;
use pgaad_core::refresh_queue::{RefreshQueue, Ticket};

const COOLDOWN: u64 = 4;
const POLICY: RefreshPolicy = RefreshPolicy {
    interval: Duration::from_secs(3600),
    cooldown: Duration::from_millis(COOLDOWN),
    max_stale: Duration::from_secs(86_400),
};

/// How many things happen in one walk.
const DEPTH: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// The schedule.
    Ask,
    /// `pgaad.refresh()`.
    Demand,
    /// A login that lacks a key.
    Login,
    /// The worker takes what is pending.
    Begin,
    /// The worker has keys, or an error.
    Finish,
    /// The worker is done, and the settings were reloaded meanwhile.
    Repeat,
    /// The worker breaks down, or is killed, and starts again.
    Crash,
    /// Time passes.
    Wait,
}

const ACTS: [Act; 8] =
    [Act::Ask, Act::Demand, Act::Login, Act::Begin, Act::Finish, Act::Repeat, Act::Crash, Act::Wait];

/// A request or a login that waits, and whether a refresh that has begun already is good enough.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    made: usize,
    joined: bool,
    is_demand: bool,
    is_answered: bool,
}

/// What happened so far. The place in the walk tells what was before what.
#[derive(Clone, Debug, Default)]
struct Record {
    queue: RefreshQueue,
    now: u64,
    step: usize,
    /// The ticket that the worker holds, and when it took it.
    running: Option<(Ticket, usize)>,
    waiting: Vec<Waiting>,
    /// When the last refresh ended.
    ended: u64,
    /// When logins caused a refresh.
    caused: Vec<u64>,
}

impl Record {
    /// Whether the act is possible.
    fn can(&self, act: Act) -> bool {
        match act {
            Act::Begin => self.running.is_none() && self.queue.pending().is_some(),
            Act::Finish | Act::Repeat | Act::Crash => self.running.is_some(),
            Act::Ask | Act::Demand | Act::Login | Act::Wait => true,
        }
    }

    fn act(&mut self, act: Act) {
        self.step += 1;
        self.now += 1;
        let was_pending = self.waiting.iter().any(|waiting| !waiting.is_answered);
        match act {
            Act::Ask | Act::Demand => {
                let is_demand = act == Act::Demand;
                let ticket = if is_demand { self.queue.demand(self.now) } else { self.queue.ask(self.now) };
                assert_eq!(ticket.since, self.now, "a request waits from now on");
                self.wait(ticket, false, is_demand);
            }
            Act::Login => self.login(was_pending),
            Act::Begin => self.running = self.queue.pending().map(|ticket| (ticket, self.step)),
            Act::Finish => {
                let Some((ticket, began)) = self.running.take() else { return };
                self.queue.finish(ticket, self.now);
                self.ended = self.now;
                for waiting in &mut self.waiting {
                    // A login joins what runs; a request made while one runs wants the next.
                    waiting.is_answered |= waiting.made < began;
                }
            }
            Act::Repeat => {
                self.running = None;
                self.queue.repeat(self.now);
                self.ended = self.now;
            }
            Act::Crash => self.running = None,
            Act::Wait => self.now += COOLDOWN - 1,
        }
        self.check();
    }

    fn login(&mut self, was_pending: bool) {
        let ticket = self.queue.join_or_ask(self.now, &POLICY);
        let is_free = self.caused.last().is_none_or(|caused| self.now - caused >= COOLDOWN);
        assert_eq!(ticket.is_some(), was_pending || is_free, "{self:?}");
        let Some(ticket) = ticket else { return };
        if was_pending {
            self.wait(ticket, true, false);
        } else {
            self.caused.push(self.now);
            self.wait(ticket, false, false);
        }
    }

    fn wait(&mut self, ticket: Ticket, joined: bool, is_demand: bool) {
        // A login that joins is where the last request is.
        let made = if joined { self.last_asked() } else { self.step };
        self.waiting.push(Waiting { ticket, made, joined, is_demand, is_answered: false });
    }

    fn last_asked(&self) -> usize {
        self.waiting.iter().filter(|waiting| !waiting.joined).map(|waiting| waiting.made).max().unwrap_or(0)
    }

    fn check(&self) {
        for waiting in &self.waiting {
            assert_eq!(self.queue.is_done(waiting.ticket), waiting.is_answered, "{waiting:?} in {self:?}");
        }
        let is_demanded = self.waiting.iter().any(|waiting| waiting.is_demand && !waiting.is_answered);
        assert_eq!(self.queue.is_demanded(), is_demanded, "an operator waits, or none does: {self:?}");
        let first = self.waiting.iter().find(|waiting| !waiting.is_answered);
        let pending = self.queue.pending();
        assert_eq!(pending.is_some(), first.is_some(), "somebody waits, or nobody does: {self:?}");
        if let (Some(pending), Some(first)) = (pending, first) {
            let could_begin = first.ticket.since.max(self.ended);
            assert_eq!(pending.since, could_begin, "{self:?}");
        }
    }
}

#[test]
fn whatever_the_order_each_request_is_answered_by_a_refresh_that_began_after_it_and_none_is_lost() {
    fn walk(record: &Record, depth: usize, count: &mut u64) {
        if depth == 0 {
            *count += 1;
            return;
        }
        for act in ACTS.into_iter().filter(|act| record.can(*act)) {
            let mut next = record.clone();
            next.act(act);
            walk(&next, depth - 1, count);
        }
    }
    let mut count = 0;
    walk(&Record::default(), DEPTH, &mut count);
    assert!(count > 1_000_000, "{count} walks");
}

#[test]
fn ten_thousand_logins_in_a_minute_cause_at_most_three_refreshes() {
    let policy = RefreshPolicy { cooldown: Duration::from_secs(30), ..POLICY };
    let mut queue = RefreshQueue::default();
    let mut caused = 0;
    for login in 0..10_000_u64 {
        let now = login * 6;
        if queue.join_or_ask(now, &policy).is_some() {
            caused += 1;
            queue.pending().into_iter().for_each(|ticket| queue.finish(ticket, now));
        }
    }
    assert_eq!(caused, 2);
}

#[test]
fn the_cooldown_ends_exactly_when_it_is_over() {
    let policy = RefreshPolicy { cooldown: Duration::from_secs(30), ..POLICY };
    let mut queue = RefreshQueue::default();
    let mut causes = |now| {
        let ticket = queue.join_or_ask(now, &policy);
        ticket.inspect(|ticket| queue.finish(*ticket, now)).is_some()
    };
    assert!(causes(0));
    assert!(!causes(29_999));
    assert!(causes(30_000));
}
