//! The live view of `clipmarkd probe watch`: one line per channel, with a sparkline of the last readings.
//!
//! Plain control sequences on the normal screen: nothing has to be restored when it is interrupted.

use crate::commands::probe::show;
use crate::exit_codes::{CommandError, ExitCode};
use clipmark_probes::Cadence;
use clipmark_probes::latest::{Latest, says_throttled};
use clipmark_probes::registry::Sensors;
use clipmark_probes::sampler::{Sampler, SamplerOptions, monotonic_now};
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

/// Readings that a sparkline holds.
const HISTORY: usize = 40;
const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[2J";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// Size of a terminal that does not tell its own.
const DEFAULT_SIZE: (usize, usize) = (100, 40);

/// How the view looks.
#[derive(Debug, Clone, clap::Args)]
pub struct WatchArgs {
    /// Milliseconds between two redraws
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    interval: u64,
    /// End after this many redraws
    #[arg(long, value_name = "COUNT")]
    frames: Option<u64>,
    /// Show every channel, not only those that matter for throttling and energy
    #[arg(long)]
    all: bool,
    /// Also read measured CPU clocks, which costs the measured CPUs about half a millisecond each
    #[arg(long)]
    measured_clocks: bool,
}

impl WatchArgs {
    /// Draws until it is interrupted or has drawn enough.
    ///
    /// # Errors
    /// When the sampler cannot start or the terminal cannot be written to.
    pub fn run(&self, sensors: Sensors, out: &mut dyn Write) -> Result<(), CommandError> {
        let title = format!("{} (board file {})", sensors.board.name, sensors.board.id);
        let topology = sensors.power_topology.clone();
        let cadence = Cadence { measured_clocks: self.measured_clocks, ..Cadence::default() };
        let options = SamplerOptions { cadence, origin: monotonic_now(), ..SamplerOptions::default() };
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| CommandError::new(ExitCode::Storage, error);
        let sampler = Sampler::start(sensors, &options).map_err(|error| failed(error.into()))?;
        let latest = sampler.latest();
        let mut view = View::new(latest, title, topology, self.all);
        let mut drawn = 0;
        let mut lead = CLEAR;
        while self.frames.is_none_or(|frames| drawn < frames) {
            view.take(latest);
            let picture = format!("{lead}{HOME}{}{CLEAR_BELOW}", view.draw(latest, size()));
            match out.write_all(picture.as_bytes()).and_then(|()| out.flush()) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
                written => written.map_err(|error| failed(error.into()))?,
            }
            drawn += 1;
            lead = "";
            std::thread::sleep(Duration::from_millis(self.interval));
        }
        sampler.stop().map_err(|error| failed(error.into()))?;
        Ok(())
    }
}

fn size() -> (usize, usize) {
    terminal_size::terminal_size()
        .map_or(DEFAULT_SIZE, |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// What was read lately.
#[derive(Debug)]
struct View {
    title: String,
    topology: Option<String>,
    /// Channels shown: index, and the readings of the last pictures.
    rows: Vec<(usize, VecDeque<Option<i32>>)>,
    total: VecDeque<Option<i32>>,
}

impl View {
    fn new(latest: &Latest, title: String, topology: Option<String>, all: bool) -> Self {
        let channels = latest.channels();
        let mut shown: Vec<usize> = (0..channels.len()).filter(|at| all || matters(&channels[*at])).collect();
        let rank = |kind: ChannelKind| ChannelKind::ALL.iter().position(|known| *known == kind);
        shown.sort_by_key(|at| rank(channels[*at].kind));
        let rows = shown.into_iter().map(|at| (at, VecDeque::with_capacity(HISTORY))).collect();
        Self { title, topology, rows, total: VecDeque::with_capacity(HISTORY) }
    }

    fn take(&mut self, latest: &Latest) {
        let total = latest.total_power().and_then(|power| i32::try_from(power.get()).ok());
        push(&mut self.total, total);
        for (at, history) in &mut self.rows {
            push(history, latest.get(*at).and_then(|newest| newest.value));
        }
    }

    fn draw(&self, latest: &Latest, (width, height): (usize, usize)) -> String {
        let mut lines = vec![self.title.clone()];
        let total = self.total.back().copied().flatten();
        let total = match (total, &self.topology) {
            (Some(mw), Some(topology)) => format!("{:.2} W  {topology}", f64::from(mw) / 1000.0),
            _ => "absent".to_owned(),
        };
        lines.push(format!("total power  {total}  {}", bars(&self.total)));
        let throttling = latest.throttling();
        lines.push(match throttling.as_slice() {
            [] => "throttling   none seen".to_owned(),
            active => format!("throttling   ACTIVE: {}", active.join(", ")),
        });
        lines.push(String::new());
        let name_width = self.rows.iter().map(|(at, _)| latest.channels()[*at].id.len()).max().unwrap_or(0);
        for (at, history) in &self.rows {
            lines.push(row(&latest.channels()[*at], history, name_width));
        }
        let room = height.saturating_sub(1).max(5);
        if lines.len() > room {
            let hidden = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(format!("... {hidden} more channels; make the window taller"));
        }
        let mut text = String::new();
        for line in lines {
            let cut: String = line.chars().take(width).collect();
            let _ = writeln!(text, "{cut}{CLEAR_LINE}");
        }
        text
    }
}

/// Whether a channel tells of throttling or energy.
fn matters(channel: &Channel) -> bool {
    match channel.kind {
        ChannelKind::Cooling => channel.role == Role::Throttles,
        ChannelKind::Clock => channel.role != Role::Context || channel.id.ends_with(".measured"),
        ChannelKind::ClockFloor | ChannelKind::ClockCap | ChannelKind::FanDrive => false,
        _ => true,
    }
}

fn row(channel: &Channel, history: &VecDeque<Option<i32>>, name_width: usize) -> String {
    let value = history.back().copied().flatten();
    let shown = value.map_or_else(|| "absent".to_owned(), |value| show(channel.kind, value));
    let mark = if says_throttled(channel, value) { "!" } else { " " };
    format!("{mark}{:name_width$}  {shown:>16}  {}", channel.id, bars(history))
}

fn push(history: &mut VecDeque<Option<i32>>, value: Option<i32>) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

/// The readings as bars.
fn bars(history: &VecDeque<Option<i32>>) -> String {
    let values: Vec<Option<f64>> = history.iter().map(|value| value.map(f64::from)).collect();
    clipmark_report::sparkline(&values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_probes::board::Boards;
    use clipmark_probes::root::Root;
    use clipmark_probes::tree::Tree;

    #[test]
    fn a_picture_shows_values_and_what_throttles_within_the_window() {
        let text = "/sys/class/thermal/thermal_zone0/type\ttj-thermal\n\
             /sys/class/thermal/thermal_zone0/temp\t99000\n\
             /sys/class/thermal/cooling_device0/type\tgpu-throttle-alert\n\
             /sys/class/thermal/cooling_device0/cur_state\t2\n\
             /sys/class/thermal/cooling_device1/type\tpwm-fan\n\
             /sys/class/thermal/cooling_device1/cur_state\t3\n";
        let root = Root::stored(Tree::parse(text).unwrap());
        let sensors = Sensors::discover(&root, &Boards::embedded().unwrap());
        let args = WatchArgs { interval: 100, frames: Some(1), all: false, measured_clocks: false };
        let mut out = Vec::new();
        args.run(sensors, &mut out).unwrap();
        let picture = String::from_utf8(out).unwrap();
        assert!(picture.contains("ACTIVE: cooling.gpu-throttle-alert"), "{picture}");
        assert!(picture.contains("99000 m°C"), "{picture}");
        assert!(!picture.contains("pwm-fan"), "{picture}");
        assert!(picture.contains("total power  absent"), "{picture}");
    }
}
