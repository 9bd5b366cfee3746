//! Settings in force: the file's, tightened by those from afar, and the file read again on SIGHUP.

use super::Server;
use crate::config::Config;
use crate::mqtt::Backoff;
use crate::serve::concerns::Concern;
use crate::serve::description::Describing;
use crate::serve::startup;
use crate::service;
use crate::session::{PastBounds, Rules, SessionEvent};
use clipmark_profile::message::RemoteSettings;
use clipmark_profile::plan::Limits;
use clipmark_profile::units::Nanos;
use std::time::Duration;

/// Final commands that are remembered whole.
const REMEMBERED: usize = 1024;

/// For how long, and in how many bytes, the ids of commands before those are remembered: half a year, and about
/// 20,000 commands. docs/wire.md states both.
const PAST: PastBounds = PastBounds { longest_ms: 180 * 24 * 3600 * 1000, bytes: 4 << 20 };

pub(super) fn rules(config: &Config, remote: &RemoteSettings) -> Rules {
    let queue = remote.queue.map_or(config.run.queue, |queue| queue.min(config.run.queue));
    Rules {
        queue: queue as usize,
        attempts: config.run.attempts,
        longest: Nanos::from_secs(config.run.longest_s.into()),
        remembered: REMEMBERED,
        past: PAST,
    }
}

pub(super) fn backoff(config: &Config) -> Backoff {
    let pause = |ms: u32| Duration::from_millis(ms.into());
    // Without random bits the devices of a fleet merely come back in step.
    let seed = startup::random_bits().unwrap_or_default();
    Backoff::new(pause(config.mqtt.backoff_min_ms), pause(config.mqtt.backoff_max_ms), seed)
}

/// The lower of the file's limits and those from afar.
pub(in crate::serve) fn effective_limits(config: &Config, remote: &RemoteSettings) -> Limits {
    remote.limits.as_ref().map_or_else(|| config.limits.clone(), |limits| config.limits.tightened(limits))
}

impl Server {
    /// Limits in force.
    pub(super) fn limits(&self) -> Limits {
        effective_limits(&self.config, &self.remote)
    }

    pub(super) fn take_settings(&mut self) {
        self.dispatch(SessionEvent::Rules(rules(&self.config, &self.remote)));
        self.dispatch(SessionEvent::Paused(self.remote.paused.unwrap_or(false)));
        self.delivery.set(&self.config);
        self.publish_info();
    }

    /// SIGHUP: takes a changed file over as a whole, or keeps the old one and says why.
    pub(in crate::serve) fn reload(&mut self) {
        service::reloading();
        match self.reloaded() {
            Ok(config) => {
                let reconnect =
                    config.mqtt != self.config.mqtt || config.device.groups != self.config.device.groups;
                self.config = config;
                self.take_settings();
                let cache = self.config.device.state_dir.join("digests.json");
                self.describing = Describing::start(&self.config.models.dir, &cache);
                self.delivery.relieved(Concern::Configuration);
                if reconnect {
                    self.delivery.reopen(backoff(&self.config));
                }
                tracing::info!(file = %self.path.display(), reconnect, "the configuration was taken over");
            }
            Err(why) => self.delivery.concern(Concern::Configuration, why),
        }
        self.hear();
        service::ready(&self.status_line());
    }

    fn reloaded(&self) -> Result<Config, String> {
        let config = Config::load(&self.path).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("the old configuration stays in force: {error}{cause}")
        })?;
        let keys = config.needs_restart(&self.config);
        if keys.is_empty() {
            return Ok(config);
        }
        Err(format!(
            "the old configuration stays in force: {} can only change with a restart",
            keys.join(", ")
        ))
    }
}
