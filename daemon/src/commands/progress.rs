//! How a run is followed: a live line for people at a terminal, a line per point for logs, JSON for the daemon.
//!
//! Everything goes to standard error, so that standard output stays the profile alone.

use super::heartbeat::Heartbeat;
use crate::run::{BoardNow, ProgressSink, RunEvent};
use clipmark_profile::plan::Plan;
use clipmark_profile::point::{PointId, Variant};
use clipmark_profile::record::Phase;
use clipmark_profile::stats::robust;
use clipmark_profile::sweep::{Progress, StepResult, SweepRules, SweepStep};
use clipmark_profile::text::clean_lines;
use clipmark_profile::units::Nanos;
use std::collections::BTreeSet;
use std::io::Write;

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl ProgressSink for Quiet {
    fn tell(&mut self, _: &RunEvent<'_>) {}
}

/// A person's view: one line that is rewritten at a terminal, one line per point elsewhere.
#[derive(Debug)]
pub struct Lines {
    live: bool,
    variants: Vec<String>,
    prepare_limit: Nanos,
    told: BTreeSet<PointId>,
    heartbeat: Heartbeat,
}

impl Lines {
    /// `live`: whether the line can be rewritten.
    #[must_use]
    pub fn new(live: bool) -> Self {
        let heartbeat = Heartbeat::start(live, write);
        Self { live, variants: Vec::new(), prepare_limit: Nanos(0), told: BTreeSet::new(), heartbeat }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        let clear = if self.live { "\r\x1b[K" } else { "" };
        write(&format!("{clear}{}\n", clean_lines(text)));
    }

    /// A line that the next one replaces.
    fn fleeting(&self, text: &str) {
        if self.live {
            write(&format!("\r\x1b[K{}", clean_lines(text)));
        }
    }

    fn label(&self, id: PointId) -> String {
        let variant = self.variants.get(usize::from(id.variant)).map_or("", String::as_str);
        format!("{variant} {}", id.shape)
    }

    fn planned(&mut self, plan: &Plan, notes: &[String]) {
        self.variants = plan.variant_labels();
        self.prepare_limit = SweepRules::for_plan(plan).prepare_limit;
        for note in notes {
            self.line(note);
        }
        self.line(&opening(plan));
    }

    fn step(&self, step: &SweepStep, progress: Progress, elapsed: Nanos, board: BoardNow) {
        let left = progress.budget_left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
        self.fleeting(&format!(
            "[{}{left}] {}/{} tried, {} settled | {} {}{}",
            clock(elapsed),
            progress.tried,
            progress.total,
            progress.settled,
            step.phase.name(),
            self.label(step.point),
            board_words(board),
        ));
    }

    /// What may take long from now on.
    fn long(&self, news: &RunEvent<'_>) -> Option<String> {
        match news {
            RunEvent::Preparing(text) => Some((*text).to_owned()),
            RunEvent::Step { step, .. } if step.build => {
                Some(format!("preparing {}", self.label(step.point)))
            }
            _ => None,
        }
    }

    fn done(&mut self, step: &SweepStep, result: &StepResult) {
        if let Some(failure) = &result.failure {
            if step.ran_out_of_budget(failure, self.prepare_limit) {
                self.line(&out_of_budget(&self.label(step.point)));
                return;
            }
            self.line(&format!(
                "{}: failed ({:?}): {}",
                self.label(step.point),
                failure.cause,
                failure.message
            ));
            return;
        }
        let Some(chunk) = result.chunk.as_ref().filter(|chunk| !chunk.counted().is_empty()) else { return };
        if step.phase != Phase::Feasibility && !self.told.insert(step.point) {
            return;
        }
        if step.phase == Phase::Pilot || step.phase == Phase::Fixed {
            let latencies: Vec<f64> = chunk.counted().iter().map(|&ns| ns as f64).collect();
            let median = robust::median(&latencies).unwrap_or(0.0) / 1e6;
            self.line(&format!("{:<28} about {median:>9.2} ms per inference", self.label(step.point)));
        }
    }
}

impl ProgressSink for Lines {
    fn tell(&mut self, news: &RunEvent<'_>) {
        self.heartbeat.set(self.long(news));
        match news {
            RunEvent::Preparing(text) => self.fleeting(text),
            RunEvent::Planned { plan, notes } => self.planned(plan, notes),
            RunEvent::Step { step, progress, elapsed, board } => self.step(step, *progress, *elapsed, *board),
            RunEvent::Done { step, result } => self.done(step, result),
            RunEvent::Soak { label, elapsed, length, latency, board } => {
                let latency =
                    latency.map_or_else(String::new, |latency| format!(" {:.2} ms", latency.as_millis_f64()));
                let left = clock(length.since(*elapsed));
                self.fleeting(&format!("[soak {label}, {left} to go]{latency}{}", board_words(*board)));
            }
            RunEvent::Note(text) => self.line(text),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.fleeting("");
    }
}

fn out_of_budget(label: &str) -> String {
    format!("{label}: its engine was not ready when the time budget ended; a larger one measures it")
}

/// What a run begins with, e.g. `measuring 15 points of temporal on tract`.
fn opening(plan: &Plan) -> String {
    let names = |name: fn(&Variant) -> &str| {
        let mut names: Vec<&str> = Vec::new();
        for variant in &plan.variants {
            if !names.contains(&name(variant)) {
                names.push(name(variant));
            }
        }
        names.join(", ")
    };
    let (models, backends) = (names(|variant| &variant.model), names(|variant| &variant.backend));
    let (doing, count) = match plan.points.len() {
        0 => ("soaking", plan.request.soak_points.len() * plan.variants.len()),
        count => ("measuring", count),
    };
    let noun = if count == 1 { "point" } else { "points" };
    format!("{doing} {count} {noun} of {models} on {backends}")
}

/// One JSON object a line, for the daemon that started this run.
#[derive(Debug, Default)]
pub struct JsonLines {
    variants: Vec<String>,
}

/// What [`JsonLines`] writes.
#[derive(Debug, Default, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ProgressLine {
    /// `planned`, `feasibility`, `pilot`, `race`, `anchor`, `certify`, `fixed`, `soak` or `note`.
    pub phase: String,
    /// Points that were tried, or for a soak none.
    pub point: Option<u32>,
    /// Points in the plan.
    pub points: Option<u32>,
    /// Which point, or the note's text.
    pub label: Option<String>,
    /// Time since the run's start, or in the soak.
    pub elapsed_ms: u64,
    /// Hottest zone.
    pub millicelsius: Option<i32>,
}

impl ProgressSink for JsonLines {
    fn tell(&mut self, news: &RunEvent<'_>) {
        let line = match news {
            RunEvent::Planned { plan, .. } => {
                self.variants = plan.variant_labels();
                let points = u32::try_from(plan.points.len()).ok();
                ProgressLine { phase: "planned".into(), points, ..ProgressLine::default() }
            }
            RunEvent::Step { step, progress, elapsed, board } => {
                let variant = self.variants.get(usize::from(step.point.variant)).cloned().unwrap_or_default();
                ProgressLine {
                    phase: step.phase.name().into(),
                    point: u32::try_from(progress.tried).ok(),
                    points: u32::try_from(progress.total).ok(),
                    label: Some(format!("{variant} {}", step.point.shape)),
                    elapsed_ms: elapsed.get() / 1_000_000,
                    millicelsius: board.hottest.map(|hottest| hottest.get()),
                }
            }
            RunEvent::Soak { label, elapsed, board, .. } => ProgressLine {
                phase: "soak".into(),
                label: Some((*label).into()),
                elapsed_ms: elapsed.get() / 1_000_000,
                millicelsius: board.hottest.map(|hottest| hottest.get()),
                ..ProgressLine::default()
            },
            RunEvent::Note(text) => {
                ProgressLine { phase: "note".into(), label: Some((*text).into()), ..ProgressLine::default() }
            }
            RunEvent::Preparing(text) => {
                ProgressLine { phase: "note".into(), label: Some((*text).into()), ..ProgressLine::default() }
            }
            RunEvent::Done { .. } => return,
        };
        if let Ok(text) = serde_json::to_string(&line) {
            write(&format!("{text}\n"));
        }
    }
}

/// Progress is a courtesy: a closed standard error is no reason to end a run.
fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn board_words(board: BoardNow) -> String {
    let hottest =
        board.hottest.map(|t| format!(" | {:.1} \u{b0}C", f64::from(t.get()) / 1e3)).unwrap_or_default();
    let power = board.power.map(|p| format!(" | {:.1} W", p.get() as f64 / 1e3)).unwrap_or_default();
    let clock = |name: &str, khz: Option<i32>| {
        khz.map(|khz| format!(" | {name} {} MHz", khz / 1000)).unwrap_or_default()
    };
    hottest + &clock("CPU", board.cpu_khz) + &clock("GPU", board.gpu_khz) + &power
}

fn clock(span: Nanos) -> String {
    let seconds = span.get() / Nanos::PER_SECOND;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::{board_words, opening};
    use crate::run::BoardNow;
    use clipmark_profile::plan::{Limits, Plan, Request, UsableVariant};
    use clipmark_profile::point::Variant;
    use clipmark_profile::units::{MilliCelsius, Milliwatts};

    fn plan(variants: &[(&str, &str)], request: Request) -> Plan {
        let usable = |&(model, backend): &(&str, &str)| UsableVariant {
            variant: Variant::new(model, backend),
            fixed: Vec::new(),
        };
        Plan::expand(request, variants.iter().map(usable).collect(), &Limits::default()).unwrap()
    }

    #[test]
    fn a_run_begins_with_what_is_measured_on_what() {
        let one = plan(&[("temporal", "tract")], Request::default());
        assert_eq!(opening(&one), "measuring 15 points of temporal on tract");
        let pairs = [("joint", "tract"), ("joint", "noop"), ("temporal", "tract"), ("temporal", "noop")];
        let crossed = plan(&pairs, Request::default());
        assert_eq!(opening(&crossed), "measuring 60 points of joint, temporal on tract, noop");
        let soak_points = vec![clipmark_profile::point::Shape::new(1, 8).unwrap()];
        let mut soak = plan(&[("heat", "simulated")], Request { soak_points, ..Request::default() });
        soak.points.clear();
        assert_eq!(opening(&soak), "soaking 1 point of heat on simulated");
    }

    #[test]
    fn the_live_view_tells_what_the_board_can_and_nothing_else() {
        let board = BoardNow {
            hottest: Some(MilliCelsius(87_200)),
            power: Some(Milliwatts(15_050)),
            cpu_khz: Some(1_190_400),
            gpu_khz: None,
        };
        assert_eq!(board_words(board), " | 87.2 \u{b0}C | CPU 1190 MHz | 15.1 W");
        assert_eq!(board_words(BoardNow::default()), "");
    }
}
