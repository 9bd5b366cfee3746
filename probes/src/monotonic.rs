//! The monotonic clock, and the CPU time of a thread.

use clipmark_profile::units::Nanos;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The present instant of the monotonic clock.
#[must_use]
pub fn monotonic_now() -> Nanos {
    nanos(clock_gettime(ClockId::Monotonic))
}

fn nanos(time: Timespec) -> Nanos {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Nanos(seconds * Nanos::PER_SECOND + u64::try_from(time.tv_nsec).unwrap_or(0))
}

pub(crate) fn sleep_until(instant: Nanos) {
    let time = Timespec {
        tv_sec: (instant.get() / Nanos::PER_SECOND).cast_signed(),
        tv_nsec: (instant.get() % Nanos::PER_SECOND).cast_signed(),
    };
    // An interrupted sleep only makes the caller look at the clock earlier.
    let _ = rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &time);
}

pub(crate) fn thread_cpu() -> Nanos {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}
