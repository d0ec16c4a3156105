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
    fn failures_are_retried_soon_then_ever_more_rarely_but_never_less_than_on_schedule() {
        assert_eq!(next_fetch_in(0, &POLICY), POLICY.interval);
        assert_eq!(next_fetch_in(1, &POLICY), Duration::from_secs(30));
        assert_eq!(next_fetch_in(2, &POLICY), Duration::from_secs(60));
        assert_eq!(next_fetch_in(u32::MAX, &POLICY), POLICY.interval);
    }
}
