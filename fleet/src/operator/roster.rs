//! Who is there, from what the broker retains.

use super::{Operator, OperatorError};
use crate::config::Config;
use crate::ingest::{Inbound, read};
use crate::store::Message as Stored;
use clipmark_profile::message::{DeviceInfo, DeviceState};
use clipmark_profile::topics::{DeviceId, every_device_filter};
use std::collections::BTreeMap;
use std::time::Duration;

/// A broker sends what it retains at once: after so long without a message that was all. The protocol itself
/// does not mark the end.
const QUIET: Duration = Duration::from_millis(700);

/// What a device last said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Its state.
    pub state: Option<DeviceState>,
    /// Its birth message.
    pub info: Option<DeviceInfo>,
}

/// Every device that the broker knows, by name.
pub type Roster = BTreeMap<DeviceId, Entry>;

/// Asks the broker what it retains of every device.
///
/// # Errors
/// When it cannot be reached or refuses.
pub fn roster(config: &Config) -> Result<Roster, OperatorError> {
    let filters = ["state", "info"].map(every_device_filter).to_vec();
    let mut operator = Operator::connect(config, filters)?;
    let mut roster = Roster::new();
    while let Some(received) = operator.receive(QUIET)? {
        match read(&received.topic, &received.payload, received.content_type.as_deref()) {
            Inbound::Store(Stored::State(device, state)) => {
                roster.entry(device).or_default().state = Some(state);
            }
            Inbound::Store(Stored::Info(info)) => {
                let device = info.device.clone();
                roster.entry(device).or_default().info = Some(*info);
            }
            _ => {}
        }
    }
    Ok(roster)
}
