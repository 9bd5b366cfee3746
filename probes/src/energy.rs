//! Power of x86 packages from their energy counters (RAPL), as differences across wraps.
//!
//! The kernel updates a counter about every millisecond, so that readings less than some 50 ms apart say
//! little; the rails' tier keeps further apart than that.

use crate::probe::{Discovery, Fault};
use crate::rails::{EnergyCounter, Meter, Rail, Rails};
use crate::root::Root;

/// The energy counters of x86 packages and their domains. The same packages seen a second time through
/// MMIO (`intel-rapl-mmio`) are left out.
pub(crate) fn discover(root: &Root, found: &mut Discovery, rails: &mut Rails) {
    let base = "/sys/class/powercap";
    for zone in root.list(base).unwrap_or_default() {
        let Some(numbers) = zone.strip_prefix("intel-rapl:") else { continue };
        let name = |zone: &str| root.read_text(&format!("{base}/{zone}/name"));
        let Ok(own) = name(&zone) else { continue };
        let label = match numbers.split_once(':') {
            Some((package, _)) => {
                let package = name(&format!("intel-rapl:{package}")).unwrap_or_default();
                format!("{own}.{package}")
            }
            None => own,
        };
        let source = format!("{base}/{zone}/energy_uj");
        let wrap = root.read_number(&format!("{base}/{zone}/max_energy_range_uj"));
        match (root.open_value(&source), wrap) {
            (Ok(file), Ok(wrap_uj)) => {
                let still = if root.is_capture() && !root.moves() { Fault::OneInstant } else { Fault::Still };
                let meter = Meter::Energy(EnergyCounter { file, wrap_uj, last: None, moved: false, still });
                rails.push(Rail::new(label, source, meter));
            }
            (Err(error), _) | (_, Err(error)) => rails.refuse(label, error, found),
        }
    }
}
