//! What the daemon tells systemd: ready, reloading, stopping, and that it is alive.
//!
//! The watchdog is fed by a supervisor that looks at every task's heartbeat, not by a timer: a daemon whose
//! main loop or connection is stuck is restarted, even though its clock still ticks. Outside systemd all
//! of this does nothing.

use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A task's sign of life. Clones are of the same task.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    epoch: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    fn new(epoch: Instant) -> Self {
        Self { epoch, last_ms: Arc::default() }
    }

    /// The task is alive.
    pub fn beat(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

/// Watches the heartbeats of all tasks.
#[derive(Debug)]
pub struct Supervisor {
    epoch: Instant,
    tasks: Vec<(&'static str, Heartbeat, Duration)>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { epoch: Instant::now(), tasks: Vec::new() }
    }
}

impl Supervisor {
    /// Has `task` watched: it is stuck when it was silent for longer than `limit`.
    pub fn watch(&mut self, task: &'static str, limit: Duration) -> Heartbeat {
        let heartbeat = Heartbeat::new(self.epoch);
        heartbeat.beat();
        self.tasks.push((task, heartbeat.clone(), limit));
        heartbeat
    }

    /// The tasks that are stuck `now`, a span since the supervisor was made.
    fn stuck(&self, now: Duration) -> Vec<&'static str> {
        let silent = |(_, heartbeat, limit): &&(_, Heartbeat, Duration)| heartbeat.silence(now) > *limit;
        self.tasks.iter().filter(silent).map(|(task, ..)| *task).collect()
    }

    /// Feeds systemd's watchdog for as long as no task is stuck. Returns at once where there is none.
    pub async fn feed_watchdog(self) {
        let Some(interval) = sd_notify::watchdog_enabled() else { return };
        let mut ticks = tokio::time::interval(interval / 3);
        loop {
            ticks.tick().await;
            let stuck = self.stuck(self.epoch.elapsed());
            if stuck.is_empty() {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!(?stuck, "tasks are stuck; systemd's watchdog will restart the daemon");
            }
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told of the daemon's state");
    }
}

/// The daemon takes requests.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd could not be told of the reload: no monotonic clock"),
    }
}

/// The daemon stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_stuck_when_it_is_silent_for_longer_than_its_limit() {
        let mut supervisor = Supervisor::default();
        let main = supervisor.watch("main", Duration::from_secs(30));
        let _mqtt = supervisor.watch("mqtt", Duration::from_secs(90));
        main.last_ms.store(50_000, Ordering::Relaxed);
        assert_eq!(supervisor.stuck(Duration::from_secs(80)), [] as [&str; 0]);
        assert_eq!(supervisor.stuck(Duration::from_secs(81)), ["main"]);
        assert_eq!(supervisor.stuck(Duration::from_secs(95)), ["main", "mqtt"]);
        main.last_ms.store(90_000, Ordering::Relaxed);
        assert_eq!(supervisor.stuck(Duration::from_secs(95)), ["mqtt"]);
    }
}
