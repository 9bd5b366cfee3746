//! How long to wait before connecting again.

use clipmark_profile::stats::rng::Rng;
use std::time::Duration;

/// The least and the longest pause after another client has taken over the session: taking it back at once
/// would only make the two take turns.
const TAKEN_OVER: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(3600)];

/// Doubling pauses with random spread, so that a fleet does not come back in step.
#[derive(Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    failures: u32,
    rng: Rng,
}

impl Backoff {
    /// Pauses from `least` to `most`; `seed` differs between devices.
    #[must_use]
    pub const fn new(least: Duration, most: Duration, seed: u64) -> Self {
        Self { least, most, failures: 0, rng: Rng::new(seed) }
    }

    /// The pause after another failure: between half of and the whole doubled pause.
    pub fn after_failure(&mut self) -> Duration {
        let doubled = self.least.saturating_mul(1 << self.failures.min(24)).min(self.most);
        self.failures += 1;
        doubled.mul_f64(0.5 + self.rng.uniform() / 2.0)
    }

    /// The pause after the session was taken over, doubled `again` times.
    pub fn after_takeover(&mut self, again: u32) -> Duration {
        let [least, longest] = TAKEN_OVER;
        least.saturating_mul(1 << again.min(16)).min(longest).mul_f64(1.0 + self.rng.uniform())
    }

    /// The connection held: the next failure is the first again.
    pub fn held(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_with_spread_up_to_the_most_and_begin_anew() {
        let mut backoff = Backoff::new(LEAST, MOST, 1);
        for failure in 0..40_u32 {
            let whole = LEAST.saturating_mul(1 << failure.min(20)).min(MOST);
            let pause = backoff.after_failure();
            assert!(pause >= whole / 2 && pause <= whole, "failure {failure}: {pause:?}");
        }
        backoff.held();
        assert!(backoff.after_failure() <= LEAST);
    }

    #[test]
    fn devices_do_not_come_back_in_step() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(LEAST, MOST, seed);
            [(); 5].map(|()| backoff.after_failure())
        };
        assert_ne!(pauses(1), pauses(2));
    }

    #[test]
    fn a_taken_over_session_is_left_alone_for_a_while() {
        let mut backoff = Backoff::new(LEAST, MOST, 1);
        for (again, least) in [(0, 30), (1, 60), (50, 3600)] {
            let pause = backoff.after_takeover(again).as_secs();
            assert!((least..=2 * least).contains(&pause), "{pause}");
        }
    }
}
