//! Board knowledge: which rail is the total, what counters mean, which cooling devices throttle.
//!
//! Knowledge is data in `config/boards/*.toml`, embedded at build time; files in a directory of the
//! operator's can replace or add boards. `generic.toml` holds what is true anywhere: a board's file
//! overrides it list by list, and an unknown board gets it alone. Terms: a *rail* is one measured power
//! line; a rail is *downstream* of another that already carries its power; the *total* is the smallest
//! set of rails that carries all power, never more.

use crate::root::Root;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// A text with `*` for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether `text` as a whole fits this pattern.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// Characters that are not `*`: a longer pattern says more.
    fn weight(&self) -> usize {
        self.0.len() - self.0.matches('*').count()
    }
}

/// Whether any of `patterns` fits `text`.
#[must_use]
pub fn any_match(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// Everything known of a kind of board.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// Name of its file.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Power rails.
    pub power: Power,
    /// Meaning of over-current counters by name, e.g. `oc3`.
    pub over_current: BTreeMap<String, String>,
    /// Temperatures.
    pub thermal: Thermal,
    /// Cooling devices whose state above 0 means throttling.
    pub throttles: Vec<Pattern>,
    /// Clocks under devfreq.
    pub devfreq: Vec<Devfreq>,
    /// Memory clock and activity.
    pub memory: Memory,
    /// Why a signal is missing on this board, by variant.
    pub notes: BTreeMap<String, String>,
}

/// What is known of a board's power rails.
#[derive(Debug, Clone, PartialEq)]
pub struct Power {
    /// Reads a second that make sense.
    pub rate_hz: f64,
    /// Alternatives in order; the rails of the first that applies are summed.
    pub total: Vec<Vec<Pattern>>,
    /// What the total covers.
    pub scope: String,
    /// Rail to the rail that already carries its power.
    pub downstream: BTreeMap<String, String>,
    /// Names of rails without a label: `driver/attribute` to rail.
    pub rails: BTreeMap<String, String>,
    /// Supply voltages: `driver/attribute` to name.
    pub voltages: BTreeMap<String, String>,
    /// Drivers whose power is no rail of the board.
    pub ignore: Vec<Pattern>,
    /// Rail to the voltage in mV below which its supply is too weak.
    pub low_voltage: BTreeMap<String, i32>,
}

/// What is known of a board's thermal zones.
#[derive(Debug, Clone, PartialEq)]
pub struct Thermal {
    /// Alternatives for the zones that decide: the first with a match counts, with all that it matches.
    pub junction: Vec<Vec<Pattern>>,
    /// Zones that are no measurement.
    pub drop: Vec<Pattern>,
    /// Trip points that slow nothing down.
    pub decoy_trips: Vec<DecoyTrip>,
}

/// A trip point that slows nothing down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoyTrip {
    /// Zones concerned.
    pub zone: Pattern,
    /// The trip's type.
    pub kind: String,
    /// Its temperature.
    pub millicelsius: i32,
}

/// A clock under devfreq.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devfreq {
    /// Names of the device-tree node or the device.
    pub nodes: Vec<String>,
    /// Name of the channels made of it.
    pub channel: String,
    /// The role of its clock.
    #[serde(default)]
    pub role: clipmark_profile::channel::Role,
    /// Files with its load, beside those of its device.
    #[serde(default)]
    pub load: Vec<String>,
}

/// Where the memory clock and its activity are found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Files with the present rate in Hz.
    pub rate: Vec<String>,
    /// Files with the floor in Hz.
    pub floor: Vec<String>,
    /// Files with the cap in Hz; 0 there means none.
    pub cap: Vec<String>,
    /// Files with the memory controller's raw activity.
    pub activity: Vec<String>,
    /// The activity at saturation, where known.
    #[serde(default)]
    pub activity_full_scale: Option<i32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoardFile {
    id: String,
    name: String,
    #[serde(default, rename = "match")]
    matches: MatchSection,
    #[serde(default)]
    power: PowerSection,
    #[serde(default)]
    over_current: BTreeMap<String, String>,
    #[serde(default)]
    thermal: ThermalSection,
    #[serde(default)]
    cooling: CoolingSection,
    devfreq: Option<Vec<Devfreq>>,
    memory: Option<Memory>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MatchSection {
    compatible: Vec<Pattern>,
    dmi: Vec<Pattern>,
    cpu_vendor: Vec<Pattern>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PowerSection {
    rate_hz: Option<f64>,
    total: Option<Vec<Vec<Pattern>>>,
    scope: Option<String>,
    downstream: BTreeMap<String, String>,
    rails: BTreeMap<String, String>,
    voltages: Option<BTreeMap<String, String>>,
    ignore: Option<Vec<Pattern>>,
    low_voltage: BTreeMap<String, i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ThermalSection {
    junction: Option<Vec<Vec<Pattern>>>,
    drop: Option<Vec<Pattern>>,
    decoy_trips: Vec<DecoyTrip>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CoolingSection {
    throttles: Option<Vec<Pattern>>,
}

/// A board file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// It cannot be read.
    #[error("cannot read board file {path}; check that it exists and may be read")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a board file.
    #[error("{path} is not a valid board file; compare it with config/boards/generic.toml")]
    Format {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A number in it makes no sense.
    #[error("{path}: power.rate_hz = {rate_hz} is outside 0.1 to 100; choose a rate inside it")]
    Rate {
        /// The file.
        path: PathBuf,
        /// The value.
        rate_hz: f64,
    },
}

/// What a root says for matching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Entries of the device tree's `compatible`, most specific first.
    pub compatible: Vec<String>,
    /// DMI vendor and product, `VENDOR PRODUCT`.
    pub dmi: Option<String>,
    /// `vendor_id` of /proc/cpuinfo.
    pub cpu_vendor: Option<String>,
}

impl Fingerprint {
    /// Reads what identifies the board under `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let compatible = root.read_bytes("/proc/device-tree/compatible").unwrap_or_default();
        let compatible = compatible.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let cpuinfo = root.read_text("/proc/cpuinfo").unwrap_or_default();
        let vendor = cpuinfo.lines().find_map(|line| line.strip_prefix("vendor_id")?.split_once(':'));
        Self {
            compatible: compatible.map(|entry| String::from_utf8_lossy(entry).trim().to_owned()).collect(),
            dmi: crate::identity::dmi(root),
            cpu_vendor: vendor.map(|(_, vendor)| vendor.trim().to_owned()),
        }
    }
}

/// All known boards.
#[derive(Debug, Clone)]
pub struct Boards {
    generic: BoardFile,
    files: Vec<BoardFile>,
}

impl Boards {
    /// The boards that this program was built with.
    ///
    /// # Errors
    /// None in a released program: a test reads every embedded file.
    pub fn embedded() -> Result<Self, BoardError> {
        let mut files = Vec::new();
        for (name, text) in EMBEDDED {
            files.push(parse(Path::new(name), text)?);
        }
        let generic = files.iter().position(|file| file.id == "generic").map(|at| files.remove(at));
        let fallback = || parse(Path::new("(none)"), "id = \"generic\"\nname = \"unknown board\"\n");
        let generic = generic.map_or_else(fallback, Ok)?;
        Ok(Self { generic, files })
    }

    /// Adds every `*.toml` of `directory`; a file with a known id replaces that board.
    ///
    /// # Errors
    /// The first file that cannot be read or is not a board file.
    pub fn with_directory(mut self, directory: &Path) -> Result<Self, BoardError> {
        let failed = |source| BoardError::Read { path: directory.to_owned(), source };
        let entries = std::fs::read_dir(directory).map_err(failed)?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
            let text = std::fs::read_to_string(path)
                .map_err(|source| BoardError::Read { path: path.clone(), source })?;
            let file = parse(path, &text)?;
            self.files.retain(|known| known.id != file.id);
            match file.id.as_str() {
                "generic" => self.generic = file,
                _ => self.files.push(file),
            }
        }
        Ok(self)
    }

    /// Ids of all boards, the generic one last.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.files.iter().chain([&self.generic]).map(|file| file.id.as_str())
    }

    /// The board that fits `fingerprint` best, or the generic one.
    #[must_use]
    pub fn find(&self, fingerprint: &Fingerprint) -> Board {
        let best = self.files.iter().map(|file| (file.matches.score(fingerprint), file));
        let best = best.filter(|(score, _)| *score > 0).max_by_key(|(score, _)| *score);
        best.map_or(&self.generic, |(_, file)| file).over(&self.generic)
    }
}

impl MatchSection {
    /// 0 when nothing fits; a longer pattern on an earlier `compatible` entry scores higher, and DMI
    /// above the CPU's vendor.
    fn score(&self, fingerprint: &Fingerprint) -> usize {
        let mut best = 0;
        for (position, entry) in fingerprint.compatible.iter().enumerate() {
            let fits = self.compatible.iter().filter(|pattern| pattern.matches(entry));
            let weight = fits.map(Pattern::weight).max();
            let earlier = 64usize.saturating_sub(position);
            best = best.max(weight.map_or(0, |weight| 1_000_000 + earlier * 1000 + weight));
        }
        let dmi = fingerprint.dmi.iter().flat_map(|dmi| self.dmi.iter().filter(|p| p.matches(dmi)));
        best = best.max(dmi.map(|pattern| 1000 + pattern.weight()).max().unwrap_or(0));
        let vendor = fingerprint.cpu_vendor.as_deref();
        let vendor = vendor.is_some_and(|vendor| any_match(&self.cpu_vendor, vendor));
        best.max(usize::from(vendor && fingerprint.compatible.is_empty()))
    }
}

impl BoardFile {
    fn over(&self, generic: &Self) -> Board {
        let power = &self.power;
        Board {
            id: self.id.clone(),
            name: self.name.clone(),
            power: Power {
                rate_hz: power.rate_hz.or(generic.power.rate_hz).unwrap_or(5.0),
                total: pick(&power.total, &generic.power.total),
                scope: pick(&power.scope, &generic.power.scope),
                downstream: power.downstream.clone(),
                rails: power.rails.clone(),
                voltages: pick(&power.voltages, &generic.power.voltages),
                ignore: pick(&power.ignore, &generic.power.ignore),
                low_voltage: power.low_voltage.clone(),
            },
            over_current: self.over_current.clone(),
            thermal: Thermal {
                junction: pick(&self.thermal.junction, &generic.thermal.junction),
                drop: pick(&self.thermal.drop, &generic.thermal.drop),
                decoy_trips: self.thermal.decoy_trips.clone(),
            },
            throttles: pick(&self.cooling.throttles, &generic.cooling.throttles),
            devfreq: pick(&self.devfreq, &generic.devfreq),
            memory: pick(&self.memory, &generic.memory),
            notes: self.notes.clone(),
        }
    }
}

fn pick<T: Clone + Default>(own: &Option<T>, generic: &Option<T>) -> T {
    own.as_ref().or(generic.as_ref()).cloned().unwrap_or_default()
}

fn parse(path: &Path, text: &str) -> Result<BoardFile, BoardError> {
    let file: BoardFile = toml::from_str(text)
        .map_err(|source| BoardError::Format { path: path.to_owned(), source: Box::new(source) })?;
    match file.power.rate_hz {
        Some(rate_hz) if !(0.1..=100.0).contains(&rate_hz) => {
            Err(BoardError::Rate { path: path.to_owned(), rate_hz })
        }
        _ => Ok(file),
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
