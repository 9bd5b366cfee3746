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
mod tests {
    use crate::board::{Boards, Fingerprint, any_match};

    #[test]
    fn whatever_is_no_fan_or_alarm_slows_something_down() {
        let board = Boards::embedded().unwrap().find(&Fingerprint::default());
        let slowing = [
            "idle-cpu4",
            "thermal-idle-0",
            "cpufreq-cpu0",
            "thermal-cpufreq-0",
            "thermal-devfreq-1",
            "heavy",
            "light",
            "devfreq-17000000.gpu",
            "gpu-throttle-alert",
            "CPU-throttle-alert",
            "gpu-balanced",
            "Processor",
            "intel_powerclamp",
            "ddr",
            "cpu-isolate0",
            "pause-cpu3",
        ];
        for name in slowing {
            assert!(!any_match(&board.harmless, name), "{name}");
        }
        for name in
            ["pwm-fan", "Fan", "gpio-fan", "hot-surface-alert", "TCC Offset", "acpi_fan", "TFN1", "iwlwifi_1"]
        {
            assert!(any_match(&board.harmless, name), "{name}");
        }
    }
}
