//! `clipmarkd probe`: what the board says of itself, once, live, or as a file.

use crate::commands::{print, watch};
use crate::exit_codes::{CommandError, ExitCode};
use clipmark_probes::absence::Absence;
use clipmark_probes::board::Boards;
use clipmark_probes::probe::{Reading, Sensed};
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_probes::state::{self, ThrottleState, Throttling};
use clipmark_probes::{capture, environment};
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use clipmark_profile::environment::Environment;
use clipmark_profile::units::Nanos;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const READ_EXAMPLES: &str = "Examples:
  clipmarkd probe read                     this board
  clipmarkd probe read --root board.txt    a board that was captured
  clipmarkd probe read --json              for a program";

const WATCH_EXAMPLES: &str = "Examples:
  clipmarkd probe watch                    what matters for throttling and energy
  clipmarkd probe watch --all --interval 1000";

const CAPTURE_EXAMPLES: &str = "Examples:
  clipmarkd probe capture board.txt        then: clipmarkd probe read --root board.txt";

/// Arguments of `clipmarkd probe`.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Reads every channel once: value, unit and source, or why it is absent
    #[command(after_help = READ_EXAMPLES)]
    Read {
        #[command(flatten)]
        board: BoardArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Seconds into a capture whose values move
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        at: u64,
    },
    /// Shows the channels live, with sparklines; Ctrl-C ends it
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        #[command(flatten)]
        board: BoardArgs,
        #[command(flatten)]
        view: watch::WatchArgs,
    },
    /// Writes one text file that reproduces this board's tree, for bug reports and new boards.
    /// Serial numbers and MAC addresses are left out
    #[command(after_help = CAPTURE_EXAMPLES)]
    Capture {
        /// The file to write
        file: PathBuf,
        #[command(flatten)]
        board: BoardArgs,
    },
}

/// Which board is read.
#[derive(Debug, Clone, clap::Args)]
pub struct BoardArgs {
    /// The board's files: `/`, a directory that holds a tree, or a capture file
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub root: PathBuf,
    /// Capture files laid over the root, in order
    #[arg(long = "overlay", value_name = "FILE")]
    pub overlays: Vec<PathBuf>,
    /// A directory of board files that add to or replace the built-in ones
    #[arg(long, value_name = "DIR")]
    pub boards: Option<PathBuf>,
}

impl BoardArgs {
    /// The root and the known boards.
    ///
    /// # Errors
    /// When the root, an overlay or a board file cannot be used.
    pub fn open(&self) -> Result<(Root, Boards), CommandError> {
        let usage =
            |error: Box<dyn std::error::Error + Send + Sync>| CommandError::new(ExitCode::Usage, error);
        let root = capture::open(&self.root, &self.overlays).map_err(|error| usage(error.into()))?;
        let boards = Boards::embedded().map_err(|error| usage(error.into()))?;
        let boards = match &self.boards {
            Some(directory) => boards.with_directory(directory).map_err(|error| usage(error.into()))?,
            None => boards,
        };
        Ok((root, boards))
    }
}

impl ProbeArgs {
    /// Does what was asked for.
    ///
    /// # Errors
    /// When the root cannot be opened or a file cannot be written.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        match &self.action {
            Action::Read { board, json, at } => {
                let (root, boards) = board.open()?;
                let report = Report::read(&root, &boards, Nanos::from_secs(*at));
                print(&if *json { report.to_json()? } else { report.to_text() })?;
            }
            Action::Watch { board, view } => {
                let (root, boards) = board.open()?;
                view.run(Sensors::discover(&root, &boards), &mut std::io::stdout().lock())?;
            }
            Action::Capture { file, board } => {
                let (root, _) = board.open()?;
                print(&write_capture(&root, file)?)?;
            }
        }
        Ok(ExitCode::Success)
    }
}

fn write_capture(root: &Root, file: &Path) -> Result<String, CommandError> {
    let tree = capture::capture(root).to_text();
    let entries = tree.lines().count();
    let model = root.read_text("/proc/device-tree/model").unwrap_or_else(|_| "this machine".to_owned());
    let text = format!(
        "# {model}, captured by clipmarkd {}\n# Serial numbers and MAC addresses are left out; read it before you pass it on.\n{tree}",
        env!("CARGO_PKG_VERSION")
    );
    std::fs::write(file, text).map_err(|error| {
        let message =
            format!("cannot write {}: {error}; choose a directory that you may write to", file.display());
        CommandError::new(ExitCode::Storage, message)
    })?;
    let name = file.display();
    Ok(format!("{entries} entries in {name}; try it with `clipmarkd probe read --root {name}`\n"))
}

/// Everything that one reading tells, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    board: BoardReport,
    throttling: ThrottleReport,
    total_power_mw: Option<i64>,
    power_topology: Option<String>,
    power_scope: Option<String>,
    channels: Vec<ChannelReport>,
    trips: Vec<TripReport>,
    notes: Vec<String>,
    environment: Environment,
}

#[derive(Debug, Serialize)]
struct BoardReport {
    id: String,
    name: String,
}

#[derive(Debug, Serialize)]
struct ThrottleReport {
    state: &'static str,
    reasons: Vec<String>,
    remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ChannelReport {
    id: String,
    kind: Option<ChannelKind>,
    role: Option<Role>,
    value: Option<i32>,
    unit: Option<&'static str>,
    source: Option<String>,
    meaning: Option<String>,
    absent: Option<String>,
}

#[derive(Debug, Serialize)]
struct TripReport {
    channel: String,
    kind: String,
    millicelsius: i32,
}

impl Report {
    fn read(root: &Root, boards: &Boards, at: Nanos) -> Self {
        let mut sensors = Sensors::discover(root, boards);
        let readings = sensors.read_settled(at);
        let state = state::assess(&sensors, &readings);
        let total = sensors.total_power_mw(&readings);
        let mut channels: Vec<ChannelReport> = sensors
            .channels()
            .zip(&readings)
            .map(|(sensed, reading)| ChannelReport::of(sensed, *reading))
            .collect();
        channels.extend(sensors.absent.iter().map(ChannelReport::absent));
        let has_total = sensors.power_topology.is_some();
        let trips = sensors.trips.iter().map(|(channel, kind, at)| TripReport {
            channel: channel.clone(),
            kind: kind.clone(),
            millicelsius: *at,
        });
        Self {
            board: BoardReport { id: sensors.board.id.clone(), name: sensors.board.name.clone() },
            throttling: ThrottleReport::of(state),
            total_power_mw: total,
            power_topology: sensors.power_topology.clone(),
            power_scope: has_total.then(|| sensors.board.power.scope.clone()),
            channels,
            trips: trips.collect(),
            notes: sensors.notes.clone(),
            environment: environment::read(root, &sensors.board, env!("CARGO_PKG_VERSION")),
        }
    }

    fn to_json(&self) -> Result<String, CommandError> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| CommandError::new(ExitCode::Storage, error))
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |content: String| {
            text.push_str(content.trim_end());
            text.push('\n');
        };
        let model = self.environment.board.as_deref().unwrap_or("model unknown");
        line(format!("board        {} ({model}; board file {})", self.board.name, self.board.id));
        line(format!("total power  {}", self.total_in_words()));
        line(format!("throttling   {}", self.throttling.state));
        for reason in &self.throttling.reasons {
            line(format!("             {reason}"));
        }
        for remark in &self.throttling.remarks {
            line(format!("  note       {remark}"));
        }
        let width = self.channels.iter().map(|channel| channel.id.len()).max().unwrap_or(0);
        for kind in ChannelKind::ALL {
            let channels = self.channels.iter().filter(|channel| channel.kind == Some(kind));
            channels.filter_map(|channel| channel.to_line(width)).for_each(&mut line);
        }
        let absent = self.channels.iter().filter_map(|channel| Some((&channel.id, channel.absent.as_ref()?)));
        let absent: Vec<String> = absent.map(|(id, cause)| format!("{id:width$}  {cause}")).collect();
        if !absent.is_empty() {
            line("absent".to_owned());
            absent.into_iter().for_each(&mut line);
        }
        for note in self.notes.iter().chain(&self.environment.warnings) {
            line(format!("note: {note}"));
        }
        text
    }

    fn total_in_words(&self) -> String {
        match (self.total_power_mw, &self.power_topology, &self.power_scope) {
            (Some(mw), Some(topology), Some(scope)) => {
                format!("{:.3} W = {topology} ({scope})", mw as f64 / 1000.0)
            }
            (None, Some(topology), _) => {
                let is_rail = |channel: &&ChannelReport| channel.role == Some(Role::TotalPower);
                let mut rails = self.channels.iter().filter(is_rail);
                let cause = rails.find_map(|rail| rail.absent.as_deref()).unwrap_or("it was not read");
                format!("absent: {topology}: {cause}")
            }
            _ => {
                let total = self.channels.iter().find(|channel| channel.id == "power.total");
                let cause = total.and_then(|channel| channel.absent.as_deref());
                format!("absent: {}", cause.unwrap_or("no rail forms a total"))
            }
        }
    }
}

impl ThrottleReport {
    fn of(state: ThrottleState) -> Self {
        let word = match state.throttling {
            Throttling::Active => "active",
            Throttling::None => "none",
            Throttling::Unknown => "unknown: no channel here could show it",
        };
        Self { state: word, reasons: state.reasons, remarks: state.remarks }
    }
}

impl ChannelReport {
    fn of(sensed: &Sensed, reading: Reading) -> Self {
        let Channel { id, kind, role } = sensed.channel.clone();
        Self {
            id,
            kind: Some(kind),
            role: Some(role),
            value: reading.ok(),
            unit: Some(kind.unit()),
            source: Some(sensed.source.clone()),
            meaning: sensed.meaning.clone(),
            absent: reading.err().map(|fault| format!("{}: {fault}", sensed.source)),
        }
    }

    fn absent(absence: &Absence) -> Self {
        Self {
            id: absence.id.clone(),
            kind: Some(absence.kind),
            role: None,
            value: None,
            unit: None,
            source: None,
            meaning: None,
            absent: Some(absence.cause.to_string()),
        }
    }

    /// The channel's line, where it has a value.
    fn to_line(&self, width: usize) -> Option<String> {
        let (value, kind) = (self.value?, self.kind?);
        let mut text = format!("{:width$}  {:>14}", self.id, show(kind, value));
        let _ = write!(text, "  {}", self.source.as_deref().unwrap_or_default());
        if let Some(meaning) = &self.meaning {
            let _ = write!(text, "  ({meaning})");
        }
        Some(text)
    }
}

/// A value with its unit; flags as hexadecimal.
pub(crate) fn show(kind: ChannelKind, value: i32) -> String {
    match kind {
        ChannelKind::ThrottleFlags => format!("{value:#x} bits"),
        _ => format!("{value} {}", kind.unit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_probes::tree::Tree;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/tests/fixtures").join(format!("{name}.txt"))
    }

    fn report(name: &str, overlay: Option<&str>) -> Report {
        let overlays = overlay.map(|overlay| fixture(&format!("{name}.{overlay}.overlay")));
        let args = BoardArgs { root: fixture(name), overlays: overlays.into_iter().collect(), boards: None };
        let (root, boards) = args.open().unwrap();
        Report::read(&root, &boards, Nanos(0))
    }

    #[test]
    fn a_reading_tells_total_power_throttle_state_and_every_absence_with_its_cause() {
        let text = report("orin-nano-super_jp6", Some("oc3-throttle")).to_text();
        assert!(text.contains("total power  9.310 W = VDD_IN (whole module"), "{text}");
        assert!(text.contains("throttling   active"), "{text}");
        assert!(text.contains("cpu0 runs at 862 MHz while 1728 MHz is requested"), "{text}");
        assert!(text.contains("overcurrent.oc3 counted 27405 since boot"), "{text}");
        assert!(text.contains("temp.cv0-thermal") && text.contains("EAGAIN"), "{text}");
    }

    #[test]
    fn clocks_that_were_let_go_are_no_throttling() {
        let report = report("orin-nano-super_jp6", Some("clocks-lost"));
        assert_eq!(report.throttling.state, "none");
        assert!(report.throttling.remarks.iter().any(|remark| remark.contains("clocks are not held")));
    }

    #[test]
    fn the_json_form_has_a_value_or_a_cause_for_every_channel() {
        for name in ["agx-orin_jp6", "x86-laptop", "rpi5", "thor_jp7"] {
            let json: serde_json::Value =
                serde_json::from_str(&report(name, None).to_json().unwrap()).unwrap();
            let channels = json["channels"].as_array().unwrap();
            assert!(channels.len() > 10, "{name}");
            for channel in channels {
                let (value, absent) = (&channel["value"], &channel["absent"]);
                assert!(value.is_null() != absent.is_null(), "{name}: {channel}");
                assert!(value.is_null() || channel["source"].is_string(), "{name}: {channel}");
            }
        }
    }

    #[test]
    fn a_captured_board_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("board.txt");
        let root = Root::open(&fixture("nano_jp4")).unwrap();
        let said = write_capture(&root, &file).unwrap();
        assert!(said.contains("entries in"), "{said}");
        let args = BoardArgs { root: file, overlays: Vec::new(), boards: None };
        let (copy, boards) = args.open().unwrap();
        assert_eq!(Report::read(&copy, &boards, Nanos(0)).total_power_mw, Some(933));
        let nowhere = dir.path().join("none/board.txt");
        assert_eq!(write_capture(&root, &nowhere).unwrap_err().code, ExitCode::Storage);
    }

    #[test]
    fn a_root_that_is_no_tree_is_a_usage_error() {
        let args = BoardArgs { root: "/nonexistent".into(), overlays: Vec::new(), boards: None };
        assert_eq!(args.open().unwrap_err().code, ExitCode::Usage);
    }

    #[test]
    fn energy_counters_of_a_moving_capture_give_power() {
        let text = "/proc/cpuinfo\tvendor_id : GenuineIntel\n\
        /sys/class/powercap/intel-rapl:0/name\tpackage-0\n\
        /sys/class/powercap/intel-rapl:0/max_energy_range_uj\t1000000000\n\
        /sys/class/powercap/intel-rapl:0/energy_uj\t@ramp 0:0,10000:150000000\n";
        let root = Root::stored(Tree::parse(text).unwrap());
        let report = Report::read(&root, &Boards::embedded().unwrap(), Nanos::from_secs(5));
        assert_eq!(report.total_power_mw, Some(15_000));
    }
}
