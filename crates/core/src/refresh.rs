//! When keys are fetched: on schedule, and when a login meets a key it does not know.

use std::time::Duration;

/// The three spans that govern fetching.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicy {
    /// `pgaad.refresh_interval`: between regular fetches.
    pub interval: Duration,
    /// `pgaad.refresh_cooldown`: least time between fetches that logins cause.
    pub cooldown: Duration,
    /// `pgaad.max_stale`: how long the last good keys serve when the provider is away.
    pub max_stale: Duration,
}

/// Milliseconds on a clock that never steps back, the same for all processes of the server.
pub type Monotonic = u64;

/// Remembers the last fetch that a login caused. Plain data, for shared memory.
///
/// The claim comes before the fetch and holds whatever its outcome, so neither a dead provider
/// nor a flood of random key ids can cause more than one fetch in a cool-down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cooldown {
    /// When it was last claimed; 0 for never.
    claimed_at: Monotonic,
}

impl Cooldown {
    /// Claims the right to cause a fetch at `now`. `false` within the cool-down of an earlier claim.
    pub fn claim(&mut self, now: Monotonic, policy: &RefreshPolicy) -> bool {
        let cooldown = u64::try_from(policy.cooldown.as_millis()).unwrap_or(u64::MAX);
        if self.claimed_at != 0 && now.saturating_sub(self.claimed_at) < cooldown {
            return false;
        }
        self.claimed_at = now.max(1);
        true
    }
}

/// How long to wait until the next regular fetch, after `failures` failed ones in a row.
///
/// After a failure the wait doubles from the cool-down up to the interval, so that a provider that
/// comes back is noticed soon and one that stays away is not hammered.
pub fn next_fetch_in(failures: u32, policy: &RefreshPolicy) -> Duration {
    if failures == 0 {
        return policy.interval;
    }
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    policy.cooldown.max(Duration::from_secs(1)).saturating_mul(factor).min(policy.interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RefreshPolicy = RefreshPolicy {
        interval: Duration::from_secs(3600),
        cooldown: Duration::from_secs(30),
        max_stale: Duration::from_secs(86_400),
    };

    #[test]
    fn ten_thousand_logins_in_a_minute_claim_at_most_three_fetches() {
        let mut cooldown = Cooldown::default();
        let claims = (0..10_000_u64).filter(|n| cooldown.claim(1 + n * 6, &POLICY)).count();
        assert!((1..=3).contains(&claims), "{claims}");
    }

    #[test]
    fn the_cooldown_ends_exactly_when_it_is_over() {
        let mut cooldown = Cooldown::default();
        assert!(cooldown.claim(1_000, &POLICY));
        assert!(!cooldown.claim(30_999, &POLICY));
        assert!(cooldown.claim(31_000, &POLICY));
    }

    #[test]
    fn failures_are_retried_soon_then_ever_more_rarely_but_never_less_than_on_schedule() {
        assert_eq!(next_fetch_in(0, &POLICY), POLICY.interval);
        assert_eq!(next_fetch_in(1, &POLICY), Duration::from_secs(30));
        assert_eq!(next_fetch_in(2, &POLICY), Duration::from_secs(60));
        assert_eq!(next_fetch_in(u32::MAX, &POLICY), POLICY.interval);
    }
}
