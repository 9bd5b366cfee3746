//! What a profile says in sentences, the same on the terminal, on the page and in pictures.

use crate::format::{self, clock_span, clock_time, span};
use crate::words::{self, clean};
use clipmark_profile::environment::Environment;
use clipmark_profile::point::PointId;
use clipmark_profile::summary::{
    EnergySummary, MemoryPressure, PointSummary, Profile, Scaling, SoakSummary, SteadyState, Throttle,
};

/// The label of a point's variant.
fn label(profile: &Profile, id: PointId) -> String {
    let labels = words::labels(&profile.variants);
    labels.into_iter().nth(usize::from(id.variant)).unwrap_or_else(|| "?".into())
}

/// A point with its variant, in words.
pub(crate) fn chosen(profile: &Profile, id: PointId) -> String {
    format!("{}, {}", label(profile, id), words::point(id.shape))
}

/// A point with its variant, short enough for the head of a row.
pub(crate) fn short(profile: &Profile, id: PointId) -> String {
    format!("{} {}", label(profile, id), id.shape)
}

/// Name, point and energy of every chosen point and soak that has a total power, each once.
pub(crate) fn energy_rows(profile: &Profile) -> Vec<(String, PointId, EnergySummary)> {
    let mut rows: Vec<(String, PointId, EnergySummary)> = Vec::new();
    let chosen_ids = profile.operating_points.iter().filter_map(|entry| entry.chosen.first());
    for &id in chosen_ids {
        let energy = profile.points.iter().find(|p| p.id == id).and_then(|p| p.energy);
        if let Some(energy) = energy
            && !rows.iter().any(|row| row.1 == id)
        {
            rows.push((short(profile, id), id, energy));
        }
    }
    for soak in &profile.soaks {
        let name = short(profile, soak.id);
        rows.extend(soak.energy.map(|energy| (format!("{name}, soak"), soak.id, energy)));
        rows.extend(soak.sustained_energy.map(|e| (format!("{name}, sustained"), soak.id, e)));
    }
    rows
}

/// The slopes on both sides of the breakpoint, where there is one.
pub(crate) fn break_words(line: &Scaling) -> Option<String> {
    let clip = line.breakpoint_clip_length?;
    Some(match line.segment_exponents {
        Some([before, after]) => format!("{before:.2} to clip {clip}, then {after:.2}"),
        None => format!("at clip {clip}"),
    })
}

/// Where pressure begins and what shows it, variant by variant.
pub(crate) fn memory_pressure(profile: &Profile) -> Vec<String> {
    let labels = words::labels(&profile.variants);
    let entry = |entry: &MemoryPressure| {
        let label = labels.get(usize::from(entry.variant)).map_or("?", String::as_str);
        match (entry.first, entry.sign) {
            (Some(at), Some(sign)) => {
                format!("{label}: from {} on ({})", words::point(at), words::pressure(sign))
            }
            (Some(at), None) => format!("{label}: from {} on", words::point(at)),
            (None, _) => format!("{label}: no sign at any point measured"),
        }
    };
    profile.memory_pressure.iter().map(entry).collect()
}

/// What a reader must know beside the figures: the names of points and a note on each.
pub(crate) fn notes(profile: &Profile) -> Vec<(String, String)> {
    let of_point = |point: &PointSummary| {
        let name = chosen(profile, point.id);
        point_notes(point).into_iter().map(move |note| (name.clone(), note))
    };
    profile.points.iter().flat_map(of_point).collect()
}

fn point_notes(point: &PointSummary) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(failure) = &point.failure {
        notes.push(format!(
            "failed while {}: {}; {}",
            words::stage(failure.stage),
            words::cause(failure.cause),
            clean(&failure.message, 500)
        ));
    }
    if let Some(reason) = point.not_run {
        let settled_by =
            point.because_of.map_or(String::new(), |id| format!(" ({})", words::point(id.shape)));
        notes.push(format!("not run: {}{settled_by}", words::not_run(reason)));
    }
    if let Some(latency) = &point.latency
        && matches!(latency.steady, SteadyState::Slowdown | SteadyState::NoSteadyState)
    {
        let which = if point.comparable.is_some() { "its figures as measured" } else { "its figures" };
        let course = words::steady(latency.steady);
        notes.push(format!("latency {course}: {which} describe no single state"));
    }
    notes.extend(point.remarks.iter().map(|remark| clean(remark, 500)));
    notes
}

/// Everything that weakens the figures.
pub(crate) fn warnings(profile: &Profile) -> Vec<String> {
    let all = profile.warnings.iter().chain(&profile.environment.warnings);
    all.map(|warning| clean(warning, 600)).collect()
}

/// The findings of a soak, one sentence each.
pub(crate) fn verdict(soak: &SoakSummary) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reason) = &soak.aborted {
        lines.push(format!("Stopped before its time: {}.", clean(reason, 300)));
    }
    if let Some(failure) = &soak.failure {
        lines.push(format!(
            "Failed while {}: {}; {}.",
            words::stage(failure.stage),
            words::cause(failure.cause),
            clean(&failure.message, 500)
        ));
    }
    if let (Some(burst), Some(sustained)) = (soak.burst_frames_per_s, soak.sustained_frames_per_s) {
        let ratio = soak.sustained_ratio.map_or(String::new(), |r| format!(" ({})", format::percent(r)));
        lines.push(format!(
            "Sustains {} of {} frames/s{ratio}{}.",
            format::significant(sustained),
            format::significant(burst),
            soak.sustained_p99_ns.map_or(String::new(), |p99| format!(", P99 {}", span(p99)))
        ));
    }
    lines.push(match soak.time_to_throttle_ms {
        Some(ms) => format!("Throttles after {}.", clock_span(ms)),
        None => format!("No throttling within {}.", clock_span(soak.duration_ms)),
    });
    if let Some(period) = soak.oscillation_period_ms {
        lines.push(format!("Oscillates with a period of {}.", clock_span(period)));
    }
    if let Some(gate) = &soak.gate {
        let how = if gate.passed { "Started cool" } else { "Started WITHOUT a cool board" };
        let waited = clock_span(gate.waited.get() / 1_000_000);
        lines.push(format!("{how} after waiting {waited}: {}.", clean(&gate.reason, 300)));
    }
    let peaks: Vec<String> = soak
        .peak_temperatures
        .iter()
        .map(|(id, milli)| format!("{} {}", clean(id, 60), format::celsius(*milli)))
        .collect();
    if !peaks.is_empty() {
        lines.push(format!("Peaks: {}.", peaks.join(", ")));
    }
    lines
}

/// One throttling event in words.
pub(crate) fn throttle_words(throttle: &Throttle) -> String {
    let until = throttle.recovery_ms.map_or_else(|| "the end".into(), clock_time);
    let evidence: Vec<String> = throttle.evidence.iter().map(|e| clean(e, 200)).collect();
    let evidence = if evidence.is_empty() { String::new() } else { format!(": {}", evidence.join(", ")) };
    format!(
        "Throttle ({}) from {} to {until}, median latency {}{evidence}.",
        words::throttle(throttle.cause),
        clock_time(throttle.onset_ms),
        format::factor(throttle.slowdown)
    )
}

/// Name and value of everything known about the machine.
pub(crate) fn machine(environment: &Environment) -> Vec<(&'static str, String)> {
    let e = environment;
    let memory = e.memory_total.map(|total| {
        let mut text = format::bytes(total.get());
        if let Some(free) = e.memory_available {
            text.push_str(&format!(", {} available at the start", format::bytes(free.get())));
        }
        if let Some(swap) = e.swap_total {
            text.push_str(&format!(", swap {}", format::bytes(swap.get())));
        }
        text
    });
    let cpu = e.cpu.as_ref().map(|cpu| match e.cpus_online {
        Some(count) => format!("{count} x {cpu}"),
        None => cpu.clone(),
    });
    let system = [e.os.clone(), e.kernel.clone(), Some(e.arch.clone())];
    let system: Vec<String> = system.into_iter().flatten().collect();
    let rows = [
        ("board", e.board.clone()),
        ("L4T", e.l4t.clone()),
        ("power", e.power_mode.as_ref().map(|mode| format!("mode {mode}"))),
        ("cpu", cpu),
        ("governor", e.governor.clone()),
        ("memory", memory),
        ("load", e.load_centi.map(|load| format!("{:.2} at the start", f64::from(load) / 100.0))),
        ("system", Some(system.join(", "))),
        ("container", e.virtualization.clone()),
        ("workers", workers(e)),
        ("clipmark", Some(e.clipmark.clone())),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Where measured processes were kept, if anywhere.
fn workers(e: &Environment) -> Option<String> {
    let cpus = e.worker_cpus.as_ref().map(|cpus| format!("on CPU {cpus}"));
    let memory = e.worker_memory_max.map(|most| format!("at most {} together", format::bytes(most.get())));
    let parts: Vec<String> = [cpus, memory].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
