//! Board knowledge: which rail is the total, what counters mean, which cooling devices throttle.
//!
//! Knowledge is data in `config/boards/*.toml`, embedded at build time; files in a directory of the
//! operator's can replace or add boards. `generic.toml` holds what is true anywhere; a file may *extend*
//! another that holds what is true of a whole family. A more special file overrides list by list, and an
//! unknown board gets `generic.toml` alone. Terms: a *rail* is one measured power
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
    /// Cooling devices that slow nothing down: every other one that is active does.
    pub harmless: Vec<Pattern>,
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
    /// Sources of the module's own rails: they tell them from rails of the same name on its carrier.
    pub module: Vec<Pattern>,
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
    /// Alternatives for the chip's zones, the board's own before those that hold anywhere: the first of which
    /// a zone can be read counts, with all that it matches.
    pub junction: Vec<Vec<Pattern>>,
    /// Temperatures that are not the chip's whatever else is there.
    pub elsewhere: Vec<Pattern>,
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
    extends: Option<String>,
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
    machine: Vec<Pattern>,
    soc: Vec<Pattern>,
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
    module: Option<Vec<Pattern>>,
    rails: BTreeMap<String, String>,
    voltages: Option<BTreeMap<String, String>>,
    ignore: Option<Vec<Pattern>>,
    low_voltage: BTreeMap<String, i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ThermalSection {
    junction: Option<Vec<Vec<Pattern>>>,
    elsewhere: Option<Vec<Pattern>>,
    drop: Option<Vec<Pattern>>,
    decoy_trips: Vec<DecoyTrip>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CoolingSection {
    harmless: Option<Vec<Pattern>>,
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
    /// The machine's name where the device tree is hidden: what the SoC's driver or /proc/cpuinfo kept of it.
    pub machine: Option<String>,
    /// Family of the SoC, e.g. `Tegra`.
    pub soc: Option<String>,
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
            machine: crate::identity::machine(root),
            soc: crate::identity::soc_family(root),
            dmi: crate::identity::dmi(root),
            cpu_vendor: vendor.map(|(_, vendor)| vendor.trim().to_owned()),
        }
    }

    /// Whether a device tree names this board and this process cannot see it, as in most containers.
    #[must_use]
    pub fn tree_is_hidden(&self, root: &Root) -> bool {
        let has_tree = self.cpu_vendor.is_none() && self.dmi.is_none();
        let is_named = self.soc.is_some() || self.machine.is_some();
        let is_masked =
            is_named || root.exists("/proc/device-tree") || crate::identity::container(root).is_some();
        self.compatible.is_empty() && has_tree && is_masked
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
        merged(&self.chain(best.map_or(&self.generic, |(_, file)| file)))
    }

    /// A file, what it extends, and the generic one: the most special first.
    fn chain<'a>(&'a self, file: &'a BoardFile) -> Vec<&'a BoardFile> {
        let mut chain = vec![file];
        while let Some(id) = chain.last().and_then(|last| last.extends.as_ref()) {
            let next = self.files.iter().find(|known| known.id == *id);
            let Some(next) = next.filter(|next| chain.iter().all(|seen| seen.id != next.id)) else { break };
            chain.push(next);
        }
        chain.push(&self.generic);
        chain
    }
}

impl MatchSection {
    /// 0 when nothing fits; a longer pattern on an earlier `compatible` entry scores higher, then come the
    /// machine's name, the SoC's family, DMI and the CPU's vendor.
    fn score(&self, fingerprint: &Fingerprint) -> usize {
        let mut best = 0;
        for (position, entry) in fingerprint.compatible.iter().enumerate() {
            let fits = self.compatible.iter().filter(|pattern| pattern.matches(entry));
            let weight = fits.map(Pattern::weight).max();
            let earlier = 64usize.saturating_sub(position);
            best = best.max(weight.map_or(0, |weight| 1_000_000 + earlier * 1000 + weight));
        }
        let heaviest = |patterns: &[Pattern], text: &Option<String>| {
            let fits =
                text.iter().flat_map(|text| patterns.iter().filter(move |pattern| pattern.matches(text)));
            fits.map(Pattern::weight).max()
        };
        best = best.max(heaviest(&self.machine, &fingerprint.machine).map_or(0, |weight| 100_000 + weight));
        best = best.max(heaviest(&self.soc, &fingerprint.soc).map_or(0, |weight| 10_000 + weight));
        best = best.max(heaviest(&self.dmi, &fingerprint.dmi).map_or(0, |weight| 1000 + weight));
        let vendor = fingerprint.cpu_vendor.as_deref();
        let vendor = vendor.is_some_and(|vendor| any_match(&self.cpu_vendor, vendor));
        best.max(usize::from(vendor && fingerprint.compatible.is_empty()))
    }
}

/// One board out of its files, the most special first.
fn merged(chain: &[&BoardFile]) -> Board {
    let own = chain[0];
    Board {
        id: own.id.clone(),
        name: own.name.clone(),
        power: Power {
            rate_hz: chain.iter().find_map(|file| file.power.rate_hz).unwrap_or(5.0),
            total: first(chain, |file| &file.power.total),
            scope: first(chain, |file| &file.power.scope),
            downstream: joined(chain, |file| &file.power.downstream),
            module: first(chain, |file| &file.power.module),
            rails: joined(chain, |file| &file.power.rails),
            voltages: first(chain, |file| &file.power.voltages),
            ignore: first(chain, |file| &file.power.ignore),
            low_voltage: joined(chain, |file| &file.power.low_voltage),
        },
        over_current: joined(chain, |file| &file.over_current),
        thermal: Thermal {
            junction: chain.iter().filter_map(|file| file.thermal.junction.clone()).flatten().collect(),
            elsewhere: first(chain, |file| &file.thermal.elsewhere),
            drop: first(chain, |file| &file.thermal.drop),
            decoy_trips: chain.iter().flat_map(|file| file.thermal.decoy_trips.clone()).collect(),
        },
        harmless: first(chain, |file| &file.cooling.harmless),
        devfreq: first(chain, |file| &file.devfreq),
        memory: first(chain, |file| &file.memory),
        notes: joined(chain, |file| &file.notes),
    }
}

/// What the most special file that says anything says.
fn first<T: Clone + Default>(chain: &[&BoardFile], list: impl Fn(&BoardFile) -> &Option<T>) -> T {
    chain.iter().find_map(|file| list(file).clone()).unwrap_or_default()
}

/// The entries of all files; the more special file's where two have the same key.
fn joined<V: Clone>(
    chain: &[&BoardFile],
    map: impl Fn(&BoardFile) -> &BTreeMap<String, V>,
) -> BTreeMap<String, V> {
    let mut all = BTreeMap::new();
    for file in chain.iter().rev() {
        all.extend(map(file).iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    all
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
mod tests;
