//! The one clock of every time stamp: `CLOCK_MONOTONIC`, raw, shared by parent, worker and sampler.
//!
//! It does not know when a run began; [`crate::run`] subtracts the run's origin.

use clipmark_profile::units::Nanos;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now, in nanoseconds since the machine's boot (time asleep left out).
#[must_use]
pub fn monotonic() -> Nanos {
    let now = clock_gettime(ClockId::Monotonic);
    Nanos(now.tv_sec as u64 * Nanos::PER_SECOND + now.tv_nsec as u64)
}

/// Sleeps until `instant`, at once when it has passed. An absolute wait: delays do not add up.
pub fn sleep_until(instant: Nanos) {
    let request = Timespec {
        tv_sec: (instant.0 / Nanos::PER_SECOND) as i64,
        tv_nsec: (instant.0 % Nanos::PER_SECOND) as i64,
    };
    while rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &request)
        .is_err_and(|error| error == rustix::io::Errno::INTR)
    {}
}

#[cfg(test)]
mod tests {
    use super::{monotonic, sleep_until};
    use clipmark_profile::units::Nanos;

    #[test]
    fn a_wait_ends_at_or_after_its_instant() {
        let until = Nanos(monotonic().0 + 2_000_000);
        sleep_until(until);
        assert!(monotonic() >= until);
    }

    #[test]
    fn a_wait_for_the_past_returns() {
        sleep_until(Nanos(1));
        assert!(monotonic() > Nanos(1));
    }
}
