//! Who waits for which refresh of the keys, between logins, `pgaad.refresh()` and the worker.
//!
//! Plain data for shared memory, changed under one lock. What it promises, whatever the order of the calls and
//! wherever the worker breaks down:
//!
//! - A refresh that somebody has asked for begins after they asked. A login may *join* one that has begun already.
//! - No request is lost: until it was answered, [`RefreshQueue::pending`] tells the worker of it.
//! - A login that joins waits from the time that the refresh could begin, not from a time when another one held it up.
//! - A flood of unknown keys causes one refresh in each cool-down, whatever comes of it: the right to cause one is
//!   claimed before the refresh, by the request itself, so a login that is denied it joins the request that got it.

use crate::refresh::RefreshPolicy;

/// Milliseconds on a clock that never steps back, the same for all processes of the server.
pub type Monotonic = u64;

/// A place in the queue: it is answered by a refresh that began with it, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    /// From when on the refresh could be worked on.
    pub since: Monotonic,
}

/// The queue. Zeros are an empty one.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefreshQueue {
    /// The number of the last request.
    asked: u64,
    /// The number of the last request that was answered.
    done: u64,
    /// When the first pending request was made, or the last refresh ended, if that was later.
    since: Monotonic,
    /// The number of the last request of an operator.
    demanded: u64,
    /// When a login last claimed the right to cause a refresh; `None` for never.
    claimed_at: Option<Monotonic>,
}

impl RefreshQueue {
    /// Asks for a refresh that begins from now on.
    pub fn ask(&mut self, now: Monotonic) -> Ticket {
        if self.pending().is_none() {
            self.since = now;
        }
        self.asked = self.asked.saturating_add(1);
        Ticket { number: self.asked, since: now }
    }

    /// Asks as an operator does, who wants what the provider has withdrawn to be gone.
    pub fn demand(&mut self, now: Monotonic) -> Ticket {
        let ticket = self.ask(now);
        self.demanded = ticket.number;
        ticket
    }

    /// Whether an operator waits.
    pub fn is_demanded(&self) -> bool {
        self.done < self.demanded
    }

    /// Joins the refresh that is pending, or asks for one, for a login that lacks a key. `None` when nothing is pending
    /// and a login has asked within the cool-down.
    pub fn join_or_ask(&mut self, now: Monotonic, policy: &RefreshPolicy) -> Option<Ticket> {
        self.pending().or_else(|| self.claim(now, policy).then(|| self.ask(now)))
    }

    fn claim(&mut self, now: Monotonic, policy: &RefreshPolicy) -> bool {
        let cooldown = u64::try_from(policy.cooldown.as_millis()).unwrap_or(u64::MAX);
        let is_free = self.claimed_at.is_none_or(|claimed_at| now.saturating_sub(claimed_at) >= cooldown);
        if is_free {
            self.claimed_at = Some(now);
        }
        is_free
    }

    /// The last request, if it is not answered. The worker that takes it here and refreshes the keys answers all that
    /// were made before.
    pub fn pending(&self) -> Option<Ticket> {
        (self.done < self.asked).then_some(Ticket { number: self.asked, since: self.since })
    }

    /// Notes that a refresh is over that answers `ticket` and all before it. Those made meanwhile are worked on now.
    pub fn finish(&mut self, ticket: Ticket, now: Monotonic) {
        self.done = self.done.max(ticket.number);
        self.since = now;
    }

    /// Notes that a refresh is over that answers nobody, since the settings changed under it: it is done again.
    pub fn repeat(&mut self, now: Monotonic) {
        self.since = now;
    }

    /// Whether the request was answered.
    pub fn is_done(&self, ticket: Ticket) -> bool {
        ticket.number <= self.done
    }
}
