use super::*;
use crate::board::{Boards, Fingerprint};
use crate::tree::Tree;

fn discovered(text: &str, cpu_vendor: Option<&str>) -> (Root, Discovery) {
    let root = Root::stored(Tree::parse(text).unwrap());
    let fingerprint = Fingerprint { cpu_vendor: cpu_vendor.map(str::to_owned), ..Fingerprint::default() };
    let board = Boards::embedded().unwrap().find(&fingerprint);
    let mut found = Discovery::default();
    discover(&root, &board, &mut found);
    (root, found)
}

fn read(found: &mut Discovery, at: Nanos) -> Vec<(String, Reading)> {
    let mut readings = Vec::new();
    for probe in &mut found.probes {
        let ids: Vec<String> = probe.channels().iter().map(|sensed| sensed.channel.id.clone()).collect();
        let mut slots = vec![Err(Fault::Unparsable); ids.len()];
        probe.read(at, &mut Sink::new(&mut slots));
        readings.extend(ids.into_iter().zip(slots));
    }
    readings
}

const RAPL: &str = "/sys/class/powercap/intel-rapl:0/name\tpackage-0\n\
    /sys/class/powercap/intel-rapl:0/max_energy_range_uj\t1000000\n\
    /sys/class/powercap/intel-rapl:0/energy_uj\t@series 0:900000,100:950000,200:20000\n\
    /sys/class/powercap/intel-rapl:0:0/name\tcore\n\
    /sys/class/powercap/intel-rapl:0:0/max_energy_range_uj\t1000000\n\
    /sys/class/powercap/intel-rapl:0:0/energy_uj\t5\n\
    /sys/class/powercap/intel-rapl-mmio:0/name\tpackage-0\n\
    /sys/class/powercap/intel-rapl-mmio:0/energy_uj\t5\n";

#[test]
fn energy_counters_become_power_across_a_wrap_and_a_still_one_stays_absent() {
    let (root, mut found) = discovered(RAPL, Some("GenuineIntel"));
    assert_eq!(found.power_topology.as_deref(), Some("package-0"));
    let mut at = |ms: u64| {
        let now = Nanos(ms * 1_000_000);
        root.set_time(now);
        read(&mut found, now)
    };
    let package = |reading| ("power.package-0".to_owned(), reading);
    let core = |reading| ("power.core.package-0".to_owned(), reading);
    let first = Err(Fault::NeedsTwoReadings);
    assert_eq!(at(0), [package(first), core(first)]);
    assert_eq!(at(100), [package(Ok(500)), core(Err(Fault::Still))]);
    assert_eq!(at(200), [package(Ok(700)), core(Err(Fault::Still))]);
}

#[test]
fn sums_shunts_and_unconnected_inputs_are_no_rails() {
    let (_, mut found) = discovered(
        "/sys/class/hwmon/hwmon5\t@->/sys/devices/i2c-1/1-0040/hwmon/hwmon5\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/name\tina3221\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in1_label\tVDD_IN\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in1_input\t5000\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/curr1_input\t1000\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in2_label\tNC\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in2_input\t0\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/curr2_input\t0\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in3_enable\t0\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in3_input\t!ENODATA\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in4_label\tshunt\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in4_input\t9280\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in7_label\tsum of shunt voltages\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/in7_input\t13920\n\
         /sys/devices/i2c-1/1-0040/hwmon/hwmon5/curr4_input\t2784\n",
        None,
    );
    let readings = read(&mut found, Nanos(0));
    assert_eq!(readings, [("power.VDD_IN".to_owned(), Ok(5000)), ("voltage.VDD_IN".to_owned(), Ok(5000))]);
    let absent: Vec<&str> = found.absent.iter().map(|absence| absence.id.as_str()).collect();
    assert_eq!(absent, ["power.1-0040.in2", "power.1-0040.in3"]);
}

#[test]
fn an_unknown_board_without_a_known_total_adds_nothing() {
    let (_, found) = discovered(
        "/sys/class/hwmon/hwmon0/name\tina3221\n\
         /sys/class/hwmon/hwmon0/in1_label\tVDD_A\n\
         /sys/class/hwmon/hwmon0/in1_input\t5000\n\
         /sys/class/hwmon/hwmon0/curr1_input\t1000\n\
         /sys/class/hwmon/hwmon1/name\tucsi_source_psy_USBC000:001\n\
         /sys/class/hwmon/hwmon1/power1_input\t1000000\n",
        None,
    );
    assert_eq!(found.power_topology, None);
    assert!(found.absent.iter().any(|absence| absence.id == "power.total"));
    let channels: Vec<_> = found.probes.iter().flat_map(|probe| probe.channels()).collect();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].channel.role, Role::Context);
}

#[test]
fn implausible_readings_of_an_ina3221_are_noted() {
    let mut found = Discovery::default();
    check_grid("A", Some(5016), Some(1856), Some(5000), &mut found);
    check_grid("B", Some(19240), Some(140), Some(2000), &mut found);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    check_grid("C", Some(5013), Some(1853), Some(5000), &mut found);
    assert_eq!(found.notes.len(), 2);
}
