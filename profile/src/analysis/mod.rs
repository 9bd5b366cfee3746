//! From evidence to findings: everything in a profile is recomputed from the record, and from nothing else.
//!
//! Not here: how anything was measured, which points to measure (the sweep's part), and how findings are
//! shown.

pub mod capacity;
pub mod comparable;
pub mod drift;
pub mod energy;
pub mod latency;
pub mod memory;
pub mod scaling;
pub mod soak;
#[cfg(test)]
mod tests;
pub mod throttle;
mod warnings;

use crate::plan::Load;
use crate::point::PointId;
use crate::record::{PointEvidence, PointOutcome, Record};
use crate::select;
use crate::summary::{ANALYSIS_VERSION, PointSummary, Profile, RunInfo, SCHEMA_VERSION, SoakSummary, Status};
use crate::units::Nanos;

/// The profile of a record.
#[must_use]
pub fn study(record: &Record) -> Profile {
    let plan = &record.header.plan;
    let mut points: Vec<PointSummary> = plan.points.iter().map(|&id| point(record, id)).collect();
    let drift = comparable::set(record, &mut points);
    let soaks = soak::of_record(record);
    let mut profile = Profile {
        schema: SCHEMA_VERSION,
        analysis: ANALYSIS_VERSION,
        run: run_info(record, &soaks),
        environment: record.header.environment.clone(),
        models: record.header.models.clone(),
        backends: record.header.backends.clone(),
        variants: plan.variants.clone(),
        scaling: scaling::of_points(&points),
        memory_pressure: memory::pressure(&points, plan.variants.len()),
        operating_points: Vec::new(),
        capacities: capacity::of_record(record),
        soaks,
        idle_power_mw: energy::idle_power_mw(record),
        power_topology: record.sensors.as_ref().and_then(|sensors| sensors.power_topology.clone()),
        sampler_cpu_share: sampler_cpu_share(record),
        warnings: warnings::of_record(record, &points, drift.as_ref()),
        drift,
        points,
    };
    profile.operating_points = select::operating_points(&profile);
    profile
}

/// The last instant that the record speaks of.
fn end(record: &Record) -> Nanos {
    let chunks = record.points.iter().flat_map(|point| &point.chunks).map(|chunk| chunk.ended);
    let loads = record.loads.iter().map(|load| load.ended);
    let soaks = record.soaks.iter().map(|soak| soak.idle_after.map_or(soak.span[1], |idle| idle[1]));
    let sensors = record.sensors.iter().flat_map(|sensors| &sensors.tiers);
    let stamps = sensors.filter_map(|tier| tier.stamps_ns.last()).map(|&stamp| Nanos(stamp));
    chunks.chain(loads).chain(soaks).chain(stamps).max().unwrap_or_default()
}

fn run_info(record: &Record, soaks: &[SoakSummary]) -> RunInfo {
    let header = &record.header;
    let request = &header.plan.request;
    RunInfo {
        id: header.run_id.clone(),
        started_unix_ms: header.started_unix_ms,
        duration_ms: end(record).0 / 1_000_000,
        origin: header.origin.clone(),
        mode: request.mode,
        load: request.load,
        deadline: header.plan.deadline,
        seed: request.seed,
        simulated: header.backends.iter().any(|backend| backend.simulated),
        partial: record.partial || soaks.iter().any(|soak| soak.aborted.is_some()),
    }
}

fn sampler_cpu_share(record: &Record) -> Option<f64> {
    let sensors = record.sensors.as_ref()?;
    let elapsed = end(record).as_secs_f64();
    (elapsed > 0.0).then(|| sensors.sampler_cpu.as_secs_f64() / elapsed)
}

/// A planned point of which the record holds nothing: the run was cut off before it came to it.
fn unknown(id: PointId) -> PointEvidence {
    PointEvidence::new(id, PointOutcome::NotRun { why: crate::record::NotRun::Cancelled, because_of: None })
}

fn point(record: &Record, id: PointId) -> PointSummary {
    match record.points.iter().find(|point| point.id == id) {
        Some(evidence) => summarize(record, evidence),
        None => summarize(record, &unknown(id)),
    }
}

fn summarize(record: &Record, point: &PointEvidence) -> PointSummary {
    let plan = &record.header.plan;
    let load = plan.request.load;
    let steady = latency::steady(point);
    let clips_per_s = latency::clips_per_s(point, &steady, load);
    let memory = point.memory.clone().unwrap_or_default();
    let (status, not_run, because_of, failure) = match point.outcome.clone() {
        PointOutcome::Measured => (Status::Measured, None, None, None),
        PointOutcome::Dominated { by } => (Status::Dominated, None, Some(by), None),
        PointOutcome::Interrupted => (Status::Interrupted, None, None, None),
        PointOutcome::NotRun { why, because_of } => (Status::NotRun, Some(why), because_of, None),
        PointOutcome::Failed(failure) => (Status::Failed, None, None, Some(failure)),
    };
    let compute = latency::device_time(point, &steady, |chunk| &chunk.compute_ns);
    let h2d = latency::device_time(point, &steady, |chunk| &chunk.h2d_ns);
    let d2h = latency::device_time(point, &steady, |chunk| &chunk.d2h_ns);
    let deadline = plan.deadline.at(point.id.shape).filter(|_| load == Load::Paced);
    PointSummary {
        id: point.id,
        status,
        not_run,
        because_of,
        failure,
        prepare_ns: point.prepare.map(|span| span.0),
        engine: point.engine,
        latency: latency::summarize(&steady),
        clips_per_s,
        frames_per_s: clips_per_s.map(|clips| latency::frames_per_s(clips, point.id.shape)),
        compute_p50_ns: compute.p50_ns,
        compute_p95_ns: compute.p95_ns,
        compute_p99_ns: compute.p99_ns,
        h2d_p50_ns: h2d.p50_ns,
        h2d_p99_ns: h2d.p99_ns,
        d2h_p50_ns: d2h.p50_ns,
        d2h_p99_ns: d2h.p99_ns,
        deadline_misses: deadline.map(|deadline| latency::misses(&steady, deadline)),
        peak_memory_bytes: memory.peak_resident.map(|bytes| bytes.0),
        device_memory_bytes: memory.device.map(|bytes| bytes.0),
        minor_faults: memory.minor_faults,
        major_faults: memory.major_faults,
        psi_some_us: memory.psi_some_us,
        swap_in_pages: memory.swap_in_pages,
        energy: energy::of_point(record, point),
        comparable: None,
        operators: point.operators.clone(),
        remarks: point.remarks.clone(),
    }
}
