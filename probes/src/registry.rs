//! The one list of probes, and everything that discovery with it finds on a board.
//!
//! To add a probe: a module with `discover(root, board, found)` and its line in [`PROBES`].

use crate::absence::Absence;
use crate::board::{Board, Boards, Fingerprint};
use crate::monotonic::monotonic_now;
use crate::probe::{ChipZones, Discovery, Fault, Probe, RailSettings, Reading, Sensed, Tier, read_plausible};
use crate::root::Root;
use clipmark_profile::channel::Role;
use clipmark_profile::units::Nanos;
use std::time::Duration;

/// How a container is given the device tree, which its runtime masks.
pub const SHOW_DEVICE_TREE: &str = "start the container with --security-opt systempaths=unconfined (docker) or --security-opt unmask=/sys/firmware (podman)";

/// Time between the two readings that counters need: a platform's energy counter may move only ten times a
/// second.
const COUNTER_PAUSE: Duration = Duration::from_millis(250);

type Discover = fn(&Root, &Board, &mut Discovery);

/// Every probe, by name.
const PROBES: &[(&str, Discover)] = &[
    ("power", crate::power::discover),
    ("thermal", crate::thermal::discover),
    ("cooling", crate::cooling::discover),
    ("overcurrent", crate::overcurrent::discover),
    ("clock", crate::clock::discover),
    ("memory", crate::memory::discover),
    ("fan", crate::fan::discover),
];

/// Names of the probes.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROBES.iter().map(|(name, _)| *name)
}

/// The sensors of one board, ready to be read.
#[derive(Debug)]
pub struct Sensors {
    /// Where they are read.
    pub root: Root,
    /// What is known of the board.
    pub board: Board,
    /// Channels that are missing, with their causes.
    pub absent: Vec<Absence>,
    /// How the total power is formed, where there is a total.
    pub power_topology: Option<String>,
    /// How rails are measured: channel id and settings.
    pub rails: Vec<(String, RailSettings)>,
    /// Trip points: channel id, type, temperature in m°C.
    pub trips: Vec<(String, String, i32)>,
    /// Which temperatures stand for the chip.
    pub chip_zones: ChipZones,
    /// What a reader must know of the readings.
    pub notes: Vec<String>,
    pub(crate) probes: Vec<Box<dyn Probe>>,
}

/// What to know where the device tree is hidden.
fn hidden_tree(root: &Root, fingerprint: &Fingerprint) -> Option<String> {
    let is_named = fingerprint.machine.is_some() || fingerprint.soc.is_some();
    fingerprint.tree_is_hidden(root).then(|| match is_named {
        true => "the device tree is hidden from this process: the board is known by what the kernel says of its SoC".to_owned(),
        false => format!("the device tree is hidden from this process, and nothing else names the board; {SHOW_DEVICE_TREE}"),
    })
}

impl Sensors {
    /// Finds everything that the board under `root` can tell.
    #[must_use]
    pub fn discover(root: &Root, boards: &Boards) -> Self {
        let fingerprint = Fingerprint::read(root);
        let board = boards.find(&fingerprint);
        let mut found = Discovery::default();
        found.notes.extend(hidden_tree(root, &fingerprint));
        for (_, discover) in PROBES {
            discover(root, &board, &mut found);
        }
        Self {
            root: root.clone(),
            board,
            absent: found.absent,
            power_topology: found.power_topology,
            rails: found.rails,
            trips: found.trips,
            chip_zones: found.chip_zones,
            notes: found.notes,
            probes: found.probes,
        }
    }

    /// Sensors that consist of `probes` alone, for measuring and testing what reads them.
    #[must_use]
    pub fn of_probes(root: Root, board: Board, probes: Vec<Box<dyn Probe>>) -> Self {
        Self {
            root,
            board,
            absent: Vec::new(),
            power_topology: None,
            rails: Vec::new(),
            trips: Vec::new(),
            chip_zones: ChipZones::None,
            notes: Vec::new(),
            probes,
        }
    }

    /// Every channel, in the order of [`Self::read`].
    pub fn channels(&self) -> impl Iterator<Item = &Sensed> {
        self.probes.iter().flat_map(|probe| probe.channels())
    }

    /// Reads every channel once. `at` is the present instant on a clock that only goes forward.
    pub fn read(&mut self, at: Nanos) -> Vec<Reading> {
        self.root.set_time(at);
        let mut readings = Vec::new();
        for probe in &mut self.probes {
            let start = readings.len();
            readings.resize(start + probe.channels().len(), Err(Fault::Unparsable));
            read_plausible(probe.as_mut(), at, &mut readings[start..]);
        }
        readings
    }

    /// One reading of every channel in which counters have had the two readings that they need: files that
    /// change are read again after a moment; a capture is read at `at`, and its counters a second further.
    pub fn read_settled(&mut self, at: Nanos) -> Vec<Reading> {
        let is_capture = self.root.is_capture();
        let mut readings = self.read(if is_capture { at } else { monotonic_now() });
        let needs_two = Err(Fault::NeedsTwoReadings);
        if readings.contains(&needs_two) {
            let again = if is_capture {
                Nanos(at.get() + Nanos::PER_SECOND)
            } else {
                std::thread::sleep(COUNTER_PAUSE);
                monotonic_now()
            };
            let counters = readings.iter_mut().zip(self.read(again));
            counters.filter(|(first, _)| **first == needs_two).for_each(|(first, second)| *first = second);
        }
        readings
    }

    /// Reads the channels of one tier once; `None` stands for channels of other tiers.
    pub fn read_tier(&mut self, tier: Tier, at: Nanos) -> Vec<Option<Reading>> {
        self.root.set_time(at);
        let mut readings = Vec::new();
        for probe in &mut self.probes {
            let mut own = vec![Err(Fault::Unparsable); probe.channels().len()];
            if probe.tier() == tier {
                read_plausible(probe.as_mut(), at, &mut own);
                readings.extend(own.into_iter().map(Some));
            } else {
                readings.extend(own.iter().map(|_| None));
            }
        }
        readings
    }

    /// The total power in mW of `readings`: absent unless every rail of the total was read.
    #[must_use]
    pub fn total_power_mw(&self, readings: &[Reading]) -> Option<i64> {
        let parts =
            self.channels().zip(readings).filter(|(sensed, _)| sensed.channel.role == Role::TotalPower);
        let parts: Option<Vec<i64>> = parts.map(|(_, reading)| reading.ok().map(i64::from)).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.iter().sum())
    }
}
