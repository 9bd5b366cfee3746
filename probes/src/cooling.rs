//! Cooling devices by type: what the thermal framework is slowing down or blowing at.
//!
//! A cooling device takes heat away or makes less of it. Fans and the like are named by the board file as
//! harmless; whatever else is active slows something down, whether its name is known or not.

use crate::absence::AbsenceCause;
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
        let harmless = any_match(&board.harmless, &name);
        let role = if harmless { Role::Context } else { Role::Throttles };
        let channel = found.channel(ChannelKind::Cooling, &name, role);
        let id = channel.id.clone();
        values.add(root, found, channel, &format!("{DEVICES}/{device}/cur_state"), Decode::Integer(1, 1));
        if harmless {
            values.explain(&id, "slows nothing down");
        }
    }
    if !any {
        let cause = "the kernel has no cooling devices here";
        found.absence(ChannelKind::Cooling, "any", AbsenceCause::NoSource(cause));
    }
    values.finish(found);
}

#[cfg(test)]
mod tests;
