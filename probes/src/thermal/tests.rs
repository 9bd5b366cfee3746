use super::*;
use crate::board::{Boards, Fingerprint};
use crate::tree::Tree;

/// The zones that stand for the chip, of an unknown board with these zones.
fn chip(zones: &[(&str, &str)]) -> (ChipZones, Vec<String>) {
    let lines = zones.iter().enumerate().map(|(at, (name, temp))| {
        let zone = format!("/sys/class/thermal/thermal_zone{at}");
        format!("{zone}/type\t{name}\n{zone}/temp\t{temp}\n")
    });
    let root = Root::stored(Tree::parse(&lines.collect::<String>()).unwrap());
    let board = Boards::embedded().unwrap().find(&Fingerprint::default());
    let mut found = Discovery::default();
    discover(&root, &board, &mut found);
    let channels = found.probes.iter().flat_map(|probe| probe.channels());
    let chip = channels.filter(|sensed| sensed.channel.role == Role::Junction);
    (found.chip_zones, chip.map(|sensed| sensed.channel.id.clone()).collect())
}

#[test]
fn the_chips_zones_are_known_by_name_else_the_hottest_of_all_that_could_be() {
    let known = chip(&[("cpu0-thermal", "50000"), ("gpuss1-thermal", "49000"), ("ddr", "48000")]);
    assert_eq!(known, (ChipZones::Known, vec!["temp.cpu0-thermal".into(), "temp.gpuss1-thermal".into()]));
    let unnamed = chip(&[("main0-thermal", "50000"), ("acpitz", "25000"), ("BAT0", "30000")]);
    assert_eq!(unnamed, (ChipZones::Hottest, vec!["temp.main0-thermal".into()]));
    let none = chip(&[("acpitz", "25000"), ("INT3400 Thermal", "20000"), ("iwlwifi_1", "40000")]);
    assert_eq!(none, (ChipZones::None, Vec::new()));
}

#[test]
fn a_named_zone_that_cannot_be_read_gives_way_to_one_that_can() {
    let off = chip(&[("tj-thermal", "-256000"), ("cpu-thermal", "50000")]);
    assert_eq!(off, (ChipZones::Known, vec!["temp.cpu-thermal".into()]));
    let closed = chip(&[("cpu-thermal", "!EACCES"), ("vdd-thermal", "50000")]);
    assert_eq!(closed, (ChipZones::Hottest, vec!["temp.vdd-thermal".into()]));
    let asleep = chip(&[("gpu-thermal", "!EAGAIN"), ("acpitz", "25000")]);
    assert_eq!(asleep, (ChipZones::Known, vec!["temp.gpu-thermal".into()]));
}

#[test]
fn trips_that_are_not_set_are_none() {
    for (at, expected) in [(99_000, Some(99_000)), (0, None), (-274_000, None), (2_147_483_647, None)] {
        assert_eq!(trip_value(at), expected, "{at}");
    }
}
