//! The daemon's clocks: one for spans, one for labels.

use crate::session::Now;
use clipmark_profile::units::Nanos;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Counts from the start of the daemon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

/// Milliseconds since the Unix epoch; 0 on a board whose clock is not set yet.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(self) -> Now {
        let monotonic = Nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Now { monotonic, unix_ms: unix_ms() }
    }

    /// The instant of a monotonic time stamp.
    pub(super) fn instant(self, at: Nanos) -> Instant {
        self.start + std::time::Duration::from_nanos(at.get())
    }
}
