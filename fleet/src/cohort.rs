//! From the store's points to the samples of clipmark-profile's cohort analysis.
//!
//! Rows carry what a distribution needs. What may explain a slow board (temperature, governor, faults) stands
//! only in whole profiles, which are read for the few boards that are named.

use crate::store::{PointRow, ProfileId, Store, StoreError};
use clipmark_profile::cohort::{CohortKey, Entry, Sample, Signs, entries};
use clipmark_profile::point::{Precision, Shape};
use clipmark_profile::summary::{Interval, Status, SteadyState, ThrottleCause};
use clipmark_profile::wire::decode_profile;
use std::collections::BTreeSet;

/// The samples of `rows`, in their order; points that were cut off are left out.
#[must_use]
pub fn samples(rows: &[PointRow]) -> Vec<(ProfileId, Entry)> {
    rows.iter().filter_map(|row| Some((row.profile, entry(row)?))).collect()
}

fn entry(row: &PointRow) -> Option<Entry> {
    let figures = &row.figures;
    let usable = matches!(figures.status, Status::Measured | Status::Dominated);
    let unsteady = matches!(figures.steady, SteadyState::Slowdown | SteadyState::NoSteadyState);
    let causes = |throttled: bool| throttled.then_some(ThrottleCause::Unexplained).into_iter().collect();
    let signs = Signs { throttles: figures.throttled.map(causes), ..Signs::default() };
    let is_throttled = figures.throttled == Some(true);
    let key = CohortKey {
        model: row.model.clone(),
        digest: row.model_sha256.clone(),
        backend: row.backend.clone(),
        precision: Precision::from_name(&row.precision).unwrap_or_default(),
        threads: row.threads,
        shape: Shape::new(figures.batch_size, figures.clip_length)?,
        board: row.board.clone(),
        power_mode: row.power_mode.clone(),
        firmware: row.firmware().map(|(_, release)| release.to_owned()),
        paced: false,
        simulated: row.simulated,
    };
    let sample = Sample {
        device: row.device.to_string(),
        run: row.profile.0.to_string(),
        started_unix_ms: row.received_unix_ms,
        histogram: figures.histogram.clone(),
        p50_ns: figures.p50_ns,
        p50_ci_ns: Interval::default(),
        p99_ns: figures.p99_ns.filter(|_| figures.iterations >= 99),
        p99_ci_ns: Interval::default(),
        frames_per_s: figures.frames_per_s,
        energy_per_frame_uj: figures.energy_per_frame_uj,
        peak_memory_bytes: figures.peak_memory_bytes.map(|bytes| bytes as f64),
        throttled: (is_throttled && unsteady).then_some(ThrottleCause::Unexplained),
        signs,
    };
    (usable && figures.p50_ns > 0.0).then_some(Entry { key, sample })
}

/// Puts intervals and signs from the whole profiles into the samples of `devices`, as far as retention has
/// left them.
///
/// # Errors
/// The database's refusal. A profile that cannot be decoded leaves its sample as it was.
pub fn explain(
    store: &mut Store,
    samples: &mut [(ProfileId, Entry)],
    devices: &BTreeSet<String>,
) -> Result<(), StoreError> {
    for (profile, entry) in samples.iter_mut().filter(|(_, entry)| devices.contains(&entry.sample.device)) {
        let Some(bytes) = store.profile_bytes(*profile)? else { continue };
        let Ok(profile) = decode_profile(&bytes) else { continue };
        let whole = entries(&entry.sample.device, &profile).into_iter().find(|whole| {
            let (own, other) = (&whole.key, &entry.key);
            own.model == other.model && own.backend == other.backend && own.shape == other.shape
        });
        if let Some(whole) = whole {
            entry.sample.p50_ci_ns = whole.sample.p50_ci_ns;
            entry.sample.p99_ci_ns = whole.sample.p99_ci_ns;
            entry.sample.throttled = whole.sample.throttled;
            entry.sample.signs = whole.sample.signs;
        }
    }
    Ok(())
}
