//! When a question is asked again.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::error::GraphError;

/// Longest pause that is waited for. A service that asks for a longer one has no answer for this run.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// How often a question is asked, at most.
const TRIES: u32 = 5;

/// The pauses between the tries of one question, until `deadline`.
pub(super) struct Retry {
    tries: u32,
    deadline: Instant,
    /// The shortest pause; each is twice as long as the one before.
    unit: Duration,
}

impl Retry {
    pub(super) fn until(deadline: Instant, unit: Duration) -> Self {
        Self { tries: 1, deadline, unit }
    }

    /// Waits before the next try, as long as the service asks for, or longer each time. An `error` that is the last
    /// word comes back.
    pub(super) fn wait(&mut self, asked_for: Option<Duration>, error: GraphError) -> Result<(), GraphError> {
        if self.tries >= TRIES {
            return Err(error);
        }
        let doubled = self.unit.saturating_mul(1 << self.tries.saturating_sub(1));
        self.tries = self.tries.saturating_add(1);
        let pause = asked_for.unwrap_or(doubled);
        if pause > LONGEST_PAUSE || Instant::now() + pause >= self.deadline {
            return Err(error);
        }
        thread::sleep(pause);
        Ok(())
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). `None` for anything else.
pub(super) fn retry_after(header: &str) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(header).ok()?;
    // A date that has passed means now.
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_nothing_else_is_one() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(" 0 "), Some(Duration::ZERO));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let pause = retry_after(&later).expect("a date");
        assert!((90..=100).contains(&pause.as_secs()), "{pause:?}");
        for text in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }

    #[test]
    fn pause_that_is_too_long_is_not_waited_for() {
        let deadline = Instant::now() + Duration::from_secs(1_000);
        for pause in [Duration::from_secs(121), Duration::from_secs(u64::MAX / 4)] {
            let mut retry = Retry::until(deadline, Duration::ZERO);
            assert_eq!(retry.wait(Some(pause), GraphError::Throttled), Err(GraphError::Throttled));
        }
        let mut soon = Retry::until(Instant::now(), Duration::from_millis(1));
        assert_eq!(soon.wait(None, GraphError::Throttled), Err(GraphError::Throttled));
    }

    #[test]
    fn after_five_tries_the_error_is_the_last_word() {
        let deadline = Instant::now() + Duration::from_secs(1_000);
        let mut retry = Retry::until(deadline, Duration::ZERO);
        let outcomes: Vec<_> = (0..5).map(|_| retry.wait(None, GraphError::Throttled)).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
        assert!(outcomes.last().is_some_and(Result::is_err));
    }
}
