//! Fans: how they are driven and, where a tachometer is fitted, how fast they turn.

use crate::absence::AbsenceCause;
use crate::board::Board;
use crate::hwmon::Hwmon;
use crate::probe::{Discovery, Tier};
use crate::root::Root;
use crate::values::{Decode, Values};
use clipmark_profile::channel::{ChannelKind, Role};

/// The fan of JetPack 4, which is no hwmon device.
const LEGACY: &str = "/sys/devices/pwm-fan";

/// Finds every fan.
pub(crate) fn discover(root: &Root, _board: &Board, found: &mut Discovery) {
    let mut values = Values::new(Tier::Medium);
    let (mut drives, mut speeds) = (Vec::new(), Vec::new());
    for device in Hwmon::all(root) {
        let is_fan = device.name == "pwmfan";
        drives.extend(device.numbers(root, "pwm", "").into_iter().map(|number| {
            let name = if is_fan { "fan".to_owned() } else { format!("{}.pwm{number}", device.name) };
            (name, device.path(&format!("pwm{number}")))
        }));
        speeds.extend(device.numbers(root, "fan", "_input").into_iter().map(|number| {
            let name = if is_fan { "fan".to_owned() } else { format!("{}.fan{number}", device.name) };
            (name, device.path(&format!("fan{number}_input")))
        }));
        if device.name == "pwm_tach" {
            speeds.push(("fan".to_owned(), device.path("rpm")));
        }
    }
    if root.exists(LEGACY) {
        drives.push(("fan".to_owned(), format!("{LEGACY}/cur_pwm")));
        speeds.push(("fan".to_owned(), format!("{LEGACY}/rpm_measured")));
    }
    if speeds.is_empty() {
        let cause = "no tachometer: the fan, if there is one, does not report its speed";
        found.absence(ChannelKind::FanSpeed, "fan", AbsenceCause::NoSource(cause));
    }
    for (kind, fans) in [(ChannelKind::FanDrive, drives), (ChannelKind::FanSpeed, speeds)] {
        for (name, path) in fans {
            let channel = found.channel(kind, &name, Role::Context);
            values.add(root, found, channel, &path, Decode::Integer(1, 1));
        }
    }
    values.finish(found);
}
