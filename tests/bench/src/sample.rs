//! What was measured, and what can be said of it.

use std::time::Duration;

/// One round of one way in.
pub struct Round {
    /// From the first login to the last.
    pub wall: Duration,
    /// Each login, from connecting to `ReadyForQuery`.
    pub latencies: Vec<Duration>,
    /// User and system time of the postmaster and the backends that it has reaped.
    pub server_cpu: Duration,
}

impl Round {
    /// Logins in a second.
    fn rate(&self) -> f64 {
        count(self.latencies.len()) / self.wall.as_secs_f64()
    }
}

/// All rounds of one way in.
#[derive(Default)]
pub struct Series {
    pub rounds: Vec<Round>,
}

impl Series {
    /// Logins in a second, the median of the rounds.
    pub fn rate(&self) -> f64 {
        quantile(self.rounds.iter().map(Round::rate).collect(), 0.5)
    }

    /// A quantile of all logins, in milliseconds.
    pub fn latency_ms(&self, at: f64) -> f64 {
        let all = self.rounds.iter().flat_map(|round| &round.latencies);
        quantile(all.map(|latency| latency.as_secs_f64() * 1e3).collect(), at)
    }

    /// The server's processor time for a login, in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        let cpu: Duration = self.rounds.iter().map(|round| round.server_cpu).sum();
        let logins: usize = self.rounds.iter().map(|round| round.latencies.len()).sum();
        cpu.as_secs_f64() * 1e3 / count(logins)
    }

    /// Rates in multiples of another way's, round by round.
    pub fn rates_by(&self, other: &Series) -> Ratio {
        self.ratio(other, Round::rate)
    }

    /// A quantile of the latencies in multiples of another way's, round by round.
    pub fn latencies_by(&self, other: &Series, at: f64) -> Ratio {
        self.ratio(other, |round| quantile(round.latencies.iter().map(Duration::as_secs_f64).collect(), at))
    }

    fn ratio(&self, other: &Series, of: impl Fn(&Round) -> f64) -> Ratio {
        Ratio::of(self.rounds.iter().zip(&other.rounds).map(|(one, other)| of(one) / of(other)).collect())
    }
}

/// A ratio that was measured several times.
#[derive(Clone, Copy)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The quartiles.
    pub quartiles: (f64, f64),
}

impl Ratio {
    /// One number, which has no spread.
    pub fn exactly(ratio: f64) -> Ratio {
        Ratio { median: ratio, quartiles: (ratio, ratio) }
    }

    /// Of what was measured in each round.
    pub fn of(ratios: Vec<f64>) -> Ratio {
        let at = |at| quantile(ratios.clone(), at);
        Ratio { median: at(0.5), quartiles: (at(0.25), at(0.75)) }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2}", self.median)?;
        if self.quartiles != (self.median, self.median) {
            write!(f, " ({:.2}–{:.2})", self.quartiles.0, self.quartiles.1)?;
        }
        Ok(())
    }
}

/// The value below which this part of the values lies; the nearest rank.
pub fn quantile(mut values: Vec<f64>, at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (at * count(values.len())).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// A count as a number to reckon with.
pub fn count(number: usize) -> f64 {
    number as f64
}
