//! The words in which closed enums and identities are shown, the same on the terminal and on the page.

use clipmark_profile::axis::{Axis, AxisValue};
use clipmark_profile::plan::{Deadline, Load, Mode};
use clipmark_profile::point::{PointId, Shape, Variant};
use clipmark_profile::record::{Cause, NotRun, Stage};
use clipmark_profile::select::KeepsUp;
use clipmark_profile::summary::{Interval, Objective, PressureSign, Profile, SteadyState, ThrottleCause};
pub use clipmark_profile::text::clean;

/// Where a point failed.
#[must_use]
pub const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Load => "loading",
        Stage::Prepare => "preparing",
        Stage::WarmUp => "warming up",
        Stage::Measure => "measuring",
        Stage::Unknown => "an unknown stage",
    }
}

/// Why a point failed.
#[must_use]
pub const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::UnsupportedOperator => "unsupported operator",
        Cause::ImpossibleShape => "impossible shape",
        Cause::OutOfMemory => "out of memory",
        Cause::TimedOut => "timed out",
        Cause::Crashed => "crashed",
        Cause::BackendUnavailable => "backend unavailable",
        Cause::BadModel => "unusable model",
        Cause::Backend => "backend error",
        Cause::Unknown => "unknown cause",
    }
}

/// Why a point failed, short enough for a cell.
#[must_use]
pub const fn cause_in_cell(cause: Cause) -> &'static str {
    match cause {
        Cause::UnsupportedOperator => "operator",
        Cause::ImpossibleShape => "shape",
        Cause::OutOfMemory => "memory",
        Cause::TimedOut => "timeout",
        Cause::Crashed => "crash",
        Cause::BackendUnavailable => "backend",
        Cause::BadModel => "model",
        Cause::Backend => "error",
        Cause::Unknown => "unknown",
    }
}

/// Why a point was never started.
#[must_use]
pub const fn not_run(reason: NotRun) -> &'static str {
    match reason {
        NotRun::WouldExceedMemory => "would exceed the memory limit, as a smaller point did",
        NotRun::WouldExceedTime => "would exceed the time limit, as a smaller point did",
        NotRun::Budget => "the time budget ended first",
        NotRun::Cancelled => "the run was stopped first",
        NotRun::VariantFailed => "an earlier failure of the same variant leaves no hope for this point",
        NotRun::Unknown => "for a reason that this version does not know",
    }
}

/// What an operating point is best for.
#[must_use]
pub const fn objective(objective: Objective) -> &'static str {
    match objective {
        Objective::Streaming => "streaming",
        Objective::Offline => "offline",
        Objective::Efficiency => "efficiency",
        Objective::SustainedStreaming => "sustained streaming",
        Objective::SustainedOffline => "sustained offline",
        Objective::SustainedEfficiency => "sustained efficiency",
        Objective::Unknown => "an objective that this version does not know",
    }
}

/// What is added to figures that are not as measured, where the board moved.
#[must_use]
pub const fn common_state(profile: &Profile) -> &'static str {
    if profile.drift.is_some() { ", in the board's state at the end of the sweep" } else { "" }
}

/// Whether a clip length keeps up with its stream.
#[must_use]
pub const fn keeps_up(keeps_up: KeepsUp) -> &'static str {
    match keeps_up {
        KeepsUp::Yes => "yes",
        KeepsUp::Probably => "perhaps",
        KeepsUp::No => "no",
        KeepsUp::Unknown => "unknown",
    }
}

/// The batch sizes of `ids`, which are the best at their clip length, with their variants where there are several.
#[must_use]
pub fn best(profile: &Profile, ids: &[PointId]) -> String {
    let labels = labels(&profile.variants);
    let model = |id: &PointId| profile.variants.get(usize::from(id.variant)).map(|variant| &variant.model);
    // A table of choices is of one model: its name goes without saying.
    let several = |id: &PointId| {
        profile.variants.iter().filter(|variant| Some(&variant.model) == model(id)).count() > 1
    };
    let name = |id: &PointId| match labels.get(usize::from(id.variant)).filter(|_| several(id)) {
        Some(label) => format!("{} {label}", size(Axis::BatchSize, id.shape.batch())),
        None => size(Axis::BatchSize, id.shape.batch()),
    };
    let names: Vec<String> = ids.iter().take(3).map(name).collect();
    let more = ids.len() - names.len();
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => names.join(" or "),
        (_, more) => format!("{} or {more} more", names.join(" or ")),
    }
}

/// A sign of memory pressure.
#[must_use]
pub const fn pressure(sign: PressureSign) -> &'static str {
    match sign {
        PressureSign::MajorFaults => "major page faults while measuring",
        PressureSign::PressureStall => "time in memory-pressure stalls",
        PressureSign::Swap => "pages swapped in",
        PressureSign::OutOfMemory => "the worker ran out of memory",
        PressureSign::LatencyResidual => "latency above the scaling line by more than 3 MAD",
        PressureSign::Unknown => "a sign that this version does not know",
    }
}

/// Why a board throttled.
#[must_use]
pub const fn throttle(cause: ThrottleCause) -> &'static str {
    match cause {
        ThrottleCause::Thermal => "thermal",
        ThrottleCause::OverCurrent => "over-current",
        ThrottleCause::PowerModeCap => "power-mode cap",
        ThrottleCause::MemoryClock => "memory clock",
        ThrottleCause::CpuClock => "CPU clock",
        ThrottleCause::GpuClock => "GPU clock",
        ThrottleCause::Unexplained => "unexplained",
        ThrottleCause::Unknown => "unknown",
    }
}

/// Whether and how a latency sequence settled.
#[must_use]
pub const fn steady(state: SteadyState) -> &'static str {
    match state {
        SteadyState::Flat => "steady",
        SteadyState::WarmUp => "steady after warm-up",
        SteadyState::Slowdown => "slowed down",
        SteadyState::NoSteadyState => "never settled",
        SteadyState::TooShort => "too short to tell",
        SteadyState::Unknown => "unknown",
    }
}

/// What the run consisted of.
#[must_use]
pub const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Sweep => "sweep",
        Mode::Soak => "soak",
        Mode::Auto => "sweep and soak",
        Mode::Unknown => "unknown",
    }
}

/// How inferences were issued.
#[must_use]
pub const fn load(load: Load) -> &'static str {
    match load {
        Load::Closed => "closed loop",
        Load::Paced => "paced",
        Load::Unknown => "unknown",
    }
}

/// The streaming constraint.
#[must_use]
pub fn deadline(deadline: Deadline) -> Option<String> {
    match deadline {
        Deadline::None => None,
        Deadline::PerInference(limit) => {
            Some(format!("{} per inference", crate::format::span(limit.get() as f64)))
        }
        Deadline::Fps(fps) => Some(format!("a stream of {} frames/s", crate::format::significant(fps))),
    }
}

/// A variant in full, without what goes without saying.
#[must_use]
pub fn variant(variant: &Variant) -> String {
    let mut text = format!("{} on {}", clean(&variant.model, 60), clean(&variant.backend, 40));
    let plain = Variant::new("", "");
    for axis in Axis::VARIANT.into_iter().filter(|axis| !matches!(axis, Axis::Model | Axis::Backend)) {
        match variant.get(axis).filter(|value| plain.get(axis).as_ref() != Some(value)) {
            Some(AxisValue::Name(name)) => text.push_str(&format!(", {}", clean(&name, 40))),
            Some(AxisValue::Count(count)) => text.push_str(&format!(", {count} {}", axis.row().unit)),
            None => {}
        }
    }
    text
}

/// A size on an axis, e.g. `batch 4`.
#[must_use]
pub fn size(axis: Axis, size: u32) -> String {
    format!("{} {size}", axis.row().short)
}

/// A size on an axis with its unit, e.g. `16 frames`.
#[must_use]
pub fn amount(axis: Axis, size: u32) -> String {
    format!("{size} {}", axis.row().unit)
}

/// What `at` says beyond the axes `but`; `None` where it says nothing.
#[must_use]
pub fn held(at: Shape, but: &[Axis]) -> Option<String> {
    let axes = Axis::SHAPE.into_iter().filter(|axis| !but.contains(axis));
    let sizes: Vec<String> = axes.filter_map(|axis| Some(size(axis, at.get(axis)?))).collect();
    (!sizes.is_empty()).then(|| sizes.join(", "))
}

/// A grid point in full words, e.g. `batch 1, clip 16`.
#[must_use]
pub fn point(at: Shape) -> String {
    held(at, &[]).unwrap_or_default()
}

/// An interval, its undeterminable ends named.
#[must_use]
pub fn interval(interval: Interval, figure: impl Fn(f64) -> String) -> Option<String> {
    match (interval.lower, interval.upper) {
        (Some(lower), Some(upper)) => Some(format!("{} to {}", figure(lower), figure(upper))),
        (Some(lower), None) => Some(format!("at least {}", figure(lower))),
        (None, Some(upper)) => Some(format!("at most {}", figure(upper))),
        (None, None) => None,
    }
}

/// The shortest names that still tell `variants` apart, free of control characters.
#[must_use]
pub fn labels(variants: &[Variant]) -> Vec<String> {
    let differ = |axis: &Axis| variants.windows(2).any(|pair| pair[0].get(*axis) != pair[1].get(*axis));
    let mut axes: Vec<Axis> = Axis::VARIANT.into_iter().filter(differ).collect();
    if axes.is_empty() {
        axes.push(Axis::Model);
    }
    let part = |axis: &Axis, variant: &Variant| match variant.get(*axis)? {
        AxisValue::Name(name) => Some(name),
        AxisValue::Count(count) => Some(format!("{count} {}", axis.row().short)),
    };
    let name = |variant: &Variant| {
        let parts: Vec<String> = axes.iter().filter_map(|axis| part(axis, variant)).collect();
        clean(&parts.join(" "), 40)
    };
    variants.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(model: &str, backend: &str, threads: u32) -> Variant {
        Variant { threads, ..Variant::new(model, backend) }
    }

    #[test]
    fn labels_name_what_differs_and_nothing_else() {
        let pair = [variant("joint", "tract", 1), variant("temporal", "tract", 1)];
        assert_eq!(labels(&pair), ["joint", "temporal"]);
        let backends = [variant("m", "tract", 1), variant("m", "onnxruntime", 2)];
        assert_eq!(labels(&backends), ["tract 1 thr", "onnxruntime 2 thr"]);
        assert_eq!(labels(&pair[..1]), ["joint"]);
        let parallel = Variant { instances: 4, ..variant("m", "tract", 1) };
        assert_eq!(labels(&[variant("m", "tract", 1), parallel.clone()]), ["1 inst", "4 inst"]);
        assert_eq!(super::variant(&parallel), "m on tract, 4 instances");
    }
}
