//! Cooling devices by type: what the thermal framework is slowing down or blowing at.
//!
//! Which of them mean throttling is the board file's knowledge; `hot-surface-alert` and fans do not.

use crate::board::{Board, any_match};
use crate::probe::{Discovery, Tier};
use crate::root::Root;
use crate::values::{Decode, Values};
use clipmark_profile::channel::{ChannelKind, Role};

const DEVICES: &str = "/sys/class/thermal";

/// Finds every cooling device.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    let mut values = Values::new(Tier::Medium);
    let mut any = false;
    for device in root.list(DEVICES).unwrap_or_default() {
        if !device.starts_with("cooling_device") {
            continue;
        }
        let Ok(name) = root.read_text(&format!("{DEVICES}/{device}/type")) else { continue };
        any = true;
        let throttles = any_match(&board.throttles, &name);
        let role = if throttles { Role::Throttles } else { Role::Context };
        let channel = found.channel(ChannelKind::Cooling, &name, role);
        let id = channel.id.clone();
        values.add(root, found, channel, &format!("{DEVICES}/{device}/cur_state"), Decode::Integer(1, 1));
        if !throttles {
            values.explain(&id, "slows nothing down");
        }
    }
    if !any {
        found.absence(ChannelKind::Cooling, "any", "the kernel has no cooling devices here");
    }
    values.finish(found);
}
