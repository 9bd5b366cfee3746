//! The hwmon devices of a board, found by driver name: their numbers change between boots.

use crate::root::Root;
use sysfs_class::SysClass as _;

/// One hwmon device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hwmon {
    /// Real path of the device.
    pub(crate) dir: String,
    /// The driver's name.
    pub(crate) name: String,
}

impl Hwmon {
    /// Every hwmon device of `root`, ordered by the device that it belongs to.
    pub(crate) fn all(root: &Root) -> Vec<Self> {
        let mut found = Vec::new();
        for entry in root.list("/sys/class/hwmon").unwrap_or_default() {
            let link = format!("/sys/class/hwmon/{entry}");
            if let (Ok(dir), Some(name)) = (root.resolve(&link), driver_name(root, &link)) {
                found.push(Self { dir, name });
            }
        }
        for driver in ["ina3221", "ina238"] {
            found.extend(by_driver(root, driver));
        }
        found.sort_by(|one, two| one.bus_address().cmp(two.bus_address()).then(one.dir.cmp(&two.dir)));
        found.dedup_by(|one, two| one.dir == two.dir);
        found
    }

    /// The path of one of its attributes.
    pub(crate) fn path(&self, attribute: &str) -> String {
        format!("{}/{attribute}", self.dir)
    }

    /// What the device hangs on, e.g. `1-0040` for bus 1, address 0x40.
    pub(crate) fn bus_address(&self) -> &str {
        let device = self.dir.rsplit_once("/hwmon/").map_or(self.dir.as_str(), |(device, _)| device);
        device.rsplit('/').next().unwrap_or(device)
    }

    /// Whether a thermal zone already shows these temperatures.
    pub(crate) fn mirrors_a_zone(&self) -> bool {
        self.dir.contains("/thermal_zone")
    }

    /// Numbers N for which the attribute `prefixNsuffix` exists, rising.
    pub(crate) fn numbers(&self, root: &Root, prefix: &str, suffix: &str) -> Vec<u32> {
        let names = root.list(&self.dir).unwrap_or_default();
        let number = |name: &String| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
        let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn by_driver(root: &Root, driver: &str) -> Vec<Hwmon> {
    let base = format!("/sys/bus/i2c/drivers/{driver}");
    let mut found = Vec::new();
    for device in root.list(&base).unwrap_or_default() {
        for entry in root.list(&format!("{base}/{device}/hwmon")).unwrap_or_default() {
            if let Ok(dir) = root.resolve(&format!("{base}/{device}/hwmon/{entry}")) {
                found.push(Hwmon { dir, name: driver.to_owned() });
            }
        }
    }
    found
}

/// The name that a driver gives its device.
fn driver_name(root: &Root, link: &str) -> Option<String> {
    if root.is_live() {
        let device = sysfs_class::HwMon::from_path(std::path::Path::new(link)).ok()?;
        return device.name().ok();
    }
    root.read_text(&format!("{link}/name")).ok()
}
