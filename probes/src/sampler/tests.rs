use super::*;
use crate::board::Boards;
use crate::root::Root;
use crate::tree::Tree;
use clipmark_profile::channel::Role;

const BOARD: &str = "/proc/device-tree/compatible\tnvidia,p3767-0005\\0nvidia,tegra234\\0\n\
    /sys/class/hwmon/hwmon1\t@->../../devices/1-0040/hwmon/hwmon1\n\
    /sys/devices/1-0040/hwmon/hwmon1/name\tina3221\n\
    /sys/devices/1-0040/hwmon/hwmon1/in1_label\tVDD_IN\n\
    /sys/devices/1-0040/hwmon/hwmon1/in1_input\t5000\n\
    /sys/devices/1-0040/hwmon/hwmon1/curr1_input\t@series 0:1000,30000:2000\n\
    /sys/class/thermal/thermal_zone0/type\ttj-thermal\n\
    /sys/class/thermal/thermal_zone0/temp\t@ramp 0:40000,60000:100000\n\
    /sys/class/thermal/thermal_zone1/type\tcv0-thermal\n\
    /sys/class/thermal/thermal_zone1/temp\t!EAGAIN\n\
    /sys/class/thermal/cooling_device0/type\tcpu-throttle-alert\n\
    /sys/class/thermal/cooling_device0/cur_state\t@series 0:0,59000:1\n";

fn sensors() -> Sensors {
    Sensors::discover(&Root::stored(Tree::parse(BOARD).unwrap()), &Boards::embedded().unwrap())
}

#[test]
fn a_replay_records_a_board_whose_values_move_over_a_minute() {
    let mut replay = Replay::new(sensors(), &SamplerOptions::default(), Nanos(0)).unwrap();
    replay.advance_to(Nanos::from_secs(10));
    assert_eq!(replay.latest().total_power().unwrap().get(), 5000);
    assert!(replay.latest().throttling().is_empty());
    replay.advance_to(Nanos::from_secs(61));
    assert_eq!(replay.latest().total_power().unwrap().get(), 10_000);
    assert_eq!(replay.latest().hottest().unwrap().value.get(), 100_000);
    assert_eq!(replay.latest().throttling(), ["cooling.cpu-throttle-alert"]);

    let record = replay.finish().unwrap();
    assert!(!record.truncated);
    assert_eq!(record.board.as_deref(), Some("orin-nano"));
    assert_eq!(record.power_topology.as_deref(), Some("VDD_IN"));
    assert!(record.absent.iter().any(|(id, cause)| id == "temp.cv0-thermal" && cause.contains("EAGAIN")));
    let power = record.with_role(Role::TotalPower).next().unwrap();
    let (tier, column) = record.series(power).unwrap();
    assert_eq!(tier.stamps_ns.len(), 306, "5 readings a second for 61 s");
    let step = (0..tier.stamps_ns.len()).find(|row| column.get(*row) == Some(10_000)).unwrap();
    assert_eq!(tier.stamps_ns[step], 30_000_000_000);
    assert_eq!(tier.missed, 0);
}

#[test]
fn a_replay_into_a_file_gives_the_same_record() {
    let dir = tempfile::tempdir().unwrap();
    let file = Some(dir.path().join("sensors"));
    let record = |options: &SamplerOptions| {
        let mut replay = Replay::new(sensors(), options, Nanos(0)).unwrap();
        replay.advance_to(Nanos::from_secs(45));
        replay.finish().unwrap()
    };
    let on_disk = record(&SamplerOptions { file, ..SamplerOptions::default() });
    assert_eq!(on_disk, record(&SamplerOptions::default()));
}

#[test]
fn a_sum_with_a_rail_that_never_answers_is_no_total() {
    let board = "/proc/device-tree/compatible\tnvidia,p2972-0000\\0\n".to_owned()
        + &["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"].iter().enumerate().fold(
            String::new(),
            |text, (at, rail)| {
                let dir = format!("/sys/bus/i2c/drivers/ina3221x/1-004{}/iio:device{}", at / 3, at / 3);
                let input = at % 3;
                let value = if *rail == "CV" { "!EAGAIN" } else { "1000" };
                text + &format!("{dir}/rail_name_{input}\t{rail}\n{dir}/in_power{input}_input\t{value}\n")
            },
        );
    let root = Root::stored(Tree::parse(&board).unwrap());
    let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
    let mut replay = Replay::new(sensors, &SamplerOptions::default(), Nanos(0)).unwrap();
    replay.advance_to(Nanos::from_secs(5));
    assert_eq!(replay.latest().total_power(), None);
    let record = replay.finish().unwrap();
    assert_eq!((record.channels.len(), record.power_topology.as_deref()), (5, None));
    assert_eq!(record.with_role(Role::TotalPower).count(), 0);
    assert!(record.absent.iter().any(|(id, cause)| id == "power.total" && cause.contains("power.CV")));
}

#[test]
fn a_series_in_memory_stops_at_its_bound() {
    let options = SamplerOptions { limit: Bytes(3000), ..SamplerOptions::default() };
    let mut replay = Replay::new(sensors(), &options, Nanos(0)).unwrap();
    replay.advance_to(Nanos::from_secs(600));
    assert!(replay.finish().unwrap().truncated);
}

#[test]
fn the_thread_samples_until_it_is_stopped_and_publishes_its_own_cost() {
    let cadence = Cadence { rails_hz: Some(100.0), ..Cadence::default() };
    let options = SamplerOptions { cadence, ..SamplerOptions::default() };
    let sampler = Sampler::start(sensors(), &options).unwrap();
    let latest = Arc::clone(sampler.latest());
    let rail = latest.channels().iter().position(|channel| channel.id == "power.VDD_IN").unwrap();
    let newest = |after: Nanos| loop {
        match latest.get(rail) {
            Some(newest) if newest.stamp > after => return newest.stamp,
            _ => std::thread::yield_now(),
        }
    };
    // With the second reading the first one is recorded.
    newest(newest(Nanos(0)));
    let record = sampler.stop().unwrap();
    assert!(record.sampler_cpu.get() > 0);
    let (tier, column) = record.series(record.find("power.VDD_IN").unwrap()).unwrap();
    assert!(tier.stamps_ns.is_sorted());
    assert_eq!(column.get(0), Some(5000));
}

#[test]
fn the_slowest_clock_of_a_kind_is_the_one_that_holds() {
    let policy = |number: usize, khz: u32| {
        let dir = format!("/sys/devices/system/cpu/cpufreq/policy{number}");
        format!("{dir}/affected_cpus\t{number}\n{dir}/scaling_cur_freq\t{khz}\n{dir}/cpuinfo_cur_freq\t100\n")
    };
    let root = Root::stored(Tree::parse(&(policy(0, 1_728_000) + &policy(4, 1_190_400))).unwrap());
    let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
    let mut replay = Replay::new(sensors, &SamplerOptions::default(), Nanos(0)).unwrap();
    replay.advance_to(Nanos::from_secs(2));
    assert_eq!(replay.latest().slowest_clock("clock.cpu"), Some(1_190_400));
    assert_eq!(replay.latest().slowest_clock("clock.gpu"), None);
}
