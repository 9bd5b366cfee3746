use super::*;
use crate::absence::{AbsenceCause, NoTotal};
use crate::board::{Boards, Fingerprint};
use crate::monitors::{check_grid, contradiction};
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

/// The cause of the absent total.
fn no_total(found: &Discovery) -> NoTotal {
    let total = found.absent.iter().find(|absence| absence.id == "power.total").unwrap();
    let AbsenceCause::NoTotal(cause) = &total.cause else { panic!("{total:?}") };
    cause.clone()
}

/// An INA3221 on bus `bus` with one rail.
fn monitor(bus: &str, label: &str, mv: &str, ma: u32) -> String {
    let device = format!("/sys/devices/i2c/{bus}/hwmon/hwmon{}", bus.len() + ma as usize);
    let link = device.rsplit('/').next().unwrap();
    format!(
        "{device}/name\tina3221\n{device}/in1_label\t{label}\n{device}/in1_input\t{mv}\n\
         {device}/curr1_input\t{ma}\n/sys/class/hwmon/{link}\t@->{device}\n"
    )
}

#[test]
fn rails_of_one_name_are_never_added_and_both_are_named() {
    let text = monitor("1-0040", "VDD_IN", "5000", 1000) + &monitor("7-0041", "VDD_IN", "12000", 904);
    let (_, found) = discovered(&text, None);
    let NoTotal::Ambiguous { label, sources } = no_total(&found) else { panic!("{found:?}") };
    assert_eq!(label, "VDD_IN");
    assert!(sources[0].contains("1-0040") && sources[1].contains("7-0041"), "{sources:?}");
}

#[test]
fn a_total_that_may_not_be_read_gives_way_to_the_next_best_and_both_are_said() {
    let psys = "/sys/class/powercap/intel-rapl:1/name\tpsys\n\
        /sys/class/powercap/intel-rapl:1/max_energy_range_uj\t1000000\n\
        /sys/class/powercap/intel-rapl:1/energy_uj\t!EACCES\n";
    let (_, found) = discovered(&format!("{RAPL}{psys}"), Some("GenuineIntel"));
    assert_eq!(found.power_topology.as_deref(), Some("package-0"));
    assert!(found.notes[0].contains("package-0 instead: psys would form it"), "{:?}", found.notes);
    assert!(found.absent.iter().any(|absence| absence.id == "power.psys" && absence.cause.needs_privilege()));
    let (_, alone) = discovered(psys, Some("GenuineIntel"));
    assert!(matches!(no_total(&alone), NoTotal::Refused { rail, .. } if rail == "psys"));
}

#[test]
fn a_sum_of_which_one_rail_may_not_be_read_is_no_total() {
    let second = "/sys/class/powercap/intel-rapl:1/name\tpackage-1\n\
        /sys/class/powercap/intel-rapl:1/max_energy_range_uj\t1000000\n\
        /sys/class/powercap/intel-rapl:1/energy_uj\t!EPERM\n";
    let (_, found) = discovered(&format!("{RAPL}{second}"), Some("AuthenticAMD"));
    assert!(matches!(no_total(&found), NoTotal::Refused { rail, .. } if rail == "package-1"));
}

#[test]
fn a_total_that_reads_zero_while_others_carry_power_is_dead_and_a_unit_that_is_off_is_not() {
    let text = monitor("1-0040", "VDD_IN", "5000", 0) + &monitor("1-0041", "VDD_CPU", "5000", 300);
    let (_, found) = discovered(&text, None);
    assert!(matches!(no_total(&found), NoTotal::Dead { rail, fault: Fault::ReadsZero } if rail == "VDD_IN"));
    let text = monitor("1-0040", "VDD_IN", "5000", 700) + &monitor("1-0041", "VDD_CV", "5000", 0);
    assert_eq!(discovered(&text, None).1.power_topology.as_deref(), Some("VDD_IN"));
}

#[test]
fn a_full_register_is_no_reading() {
    let (_, mut found) = discovered(&monitor("1-0040", "VDD_IN", "32760", 163), None);
    assert_eq!(read(&mut found, Nanos(0))[0].1, Err(Fault::OutOfRange));
}

#[test]
fn power_takes_the_sign_of_its_current() {
    let charging = "/sys/class/hwmon/hwmon0/name\tina226\n/sys/class/hwmon/hwmon0/in1_input\t12000\n\
        /sys/class/hwmon/hwmon0/curr1_input\t@series 0:-500,1000:250\n\
        /sys/class/hwmon/hwmon0/power1_input\t@series 0:6000000,1000:3000000\n";
    let (root, mut found) = discovered(charging, None);
    assert_eq!(read(&mut found, Nanos(0))[0].1, Ok(-6000));
    root.set_time(Nanos::from_secs(1));
    assert_eq!(read(&mut found, Nanos::from_secs(1))[0].1, Ok(3000));
}

#[test]
fn a_power_register_in_another_unit_is_told_from_a_wrong_pair_of_inputs() {
    let remark = |power_mw, ma, volts: &[i64]| contradiction("x", Some(power_mw), Some(ma), volts).is_some();
    assert!(remark(20, 25_000, &[800]), "milliwatts where microwatts belong");
    assert!(remark(20_000_000, 25_000, &[800]), "a thousand times too much");
    assert!(remark(20, 25_000, &[800, 3_300]));
    assert!(remark(20_000, 2_500, &[800]), "a shunt ten times too large");
    assert!(!remark(20_100, 25_000, &[800]));
    assert!(!remark(30_000, 2_500, &[5_000, 12_000]), "one of the voltages fits");
    assert!(!remark(20_000, 2_500, &[800, 3_300]), "which voltage belongs to the current is not known");
    assert!(!remark(0, 30, &[800]), "too little to tell");
    assert!(contradiction("x", None, Some(1), &[800]).is_none());
}

#[test]
fn an_average_is_read_where_the_present_power_is_not() {
    let text = "/sys/class/hwmon/hwmon0/name\tamdgpu\n/sys/class/hwmon/hwmon0/power1_average\t17080000\n\
        /sys/class/hwmon/hwmon1/name\tother\n/sys/class/hwmon/hwmon1/power1_average\t1000000\n\
        /sys/class/hwmon/hwmon1/power1_input\t2000000\n";
    let (_, mut found) = discovered(text, None);
    let power: Vec<Reading> = read(&mut found, Nanos(0)).into_iter().map(|(_, reading)| reading).collect();
    assert_eq!(power, [Ok(17_080), Ok(2_000)]);
}

#[test]
fn a_total_whose_reads_fail_gives_way_and_is_waited_for_where_it_is_the_only_one() {
    let psys = "/sys/class/powercap/intel-rapl:1/name\tpsys\n\
        /sys/class/powercap/intel-rapl:1/max_energy_range_uj\t1000000\n\
        /sys/class/powercap/intel-rapl:1/energy_uj\t!EIO\n";
    let (_, found) = discovered(&format!("{RAPL}{psys}"), Some("GenuineIntel"));
    assert_eq!(found.power_topology.as_deref(), Some("package-0"));
    assert!(found.notes[0].contains("psys would form it, but EIO"), "{:?}", found.notes);
    let (_, alone) = discovered(psys, Some("GenuineIntel"));
    assert_eq!(alone.power_topology.as_deref(), Some("psys"));
    let (_, busy) = discovered(&monitor("1-0040", "VDD_IN", "!EAGAIN", 5), None);
    assert_eq!(busy.power_topology.as_deref(), Some("VDD_IN"));
}
