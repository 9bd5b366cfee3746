//! The one list of probes, and everything that discovery with it finds on a board.
//!
//! To add a probe: a module with `discover(root, board, found)` and its line in [`PROBES`].

use crate::board::{Board, Boards, Fingerprint};
use crate::probe::{Absence, Discovery, Fault, Probe, RailSettings, Reading, Sensed, Sink, Tier};
use crate::root::Root;
use clipmark_profile::channel::Role;
use clipmark_profile::units::Nanos;

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
    /// What a reader must know of the readings.
    pub notes: Vec<String>,
    pub(crate) probes: Vec<Box<dyn Probe>>,
}

impl Sensors {
    /// Finds everything that the board under `root` can tell.
    #[must_use]
    pub fn discover(root: &Root, boards: &Boards) -> Self {
        let board = boards.find(&Fingerprint::read(root));
        let mut found = Discovery::default();
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
            probe.read(at, &mut Sink::new(&mut readings[start..]));
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
                probe.read(at, &mut Sink::new(&mut own));
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
