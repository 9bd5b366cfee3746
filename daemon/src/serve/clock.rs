//! The daemon's clocks: one for spans, one for labels.

use crate::session::Now;
use clipmark_profile::units::Nanos;
use clipmark_service::clock::unix_ms;
use tokio::time::Instant;

/// Counts from the start of the daemon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
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
