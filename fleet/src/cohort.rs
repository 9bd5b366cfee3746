//! From the store's points to the samples of clipmark-profile's cohort analysis.
//!
//! Rows carry what a distribution needs. What may explain a slow board (temperature, governor, faults) stands
//! only in whole profiles, which are read for the few boards that are named.

use crate::store::{PointRow, ProfileId, Store, StoreError};
use clipmark_profile::cohort::{Entry, Sample, Signs, entries};
use clipmark_profile::figures::Figure;
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
    let p50_ns = figures.figures.comparable(Figure::P50)?;
    let iterations = figures.figures.get(Figure::Iterations)?;
    let sample = Sample {
        device: row.device.to_string(),
        run: row.profile.0.to_string(),
        started_unix_ms: row.received_unix_ms,
        histogram: figures.histogram.clone(),
        p50_ns,
        p50_ci_ns: Interval::default(),
        p99_ns: figures.figures.comparable(Figure::P99).filter(|_| iterations >= 99.0),
        p99_ci_ns: Interval::default(),
        figures: figures.figures.clone(),
        throttled: (is_throttled && unsteady).then_some(ThrottleCause::Unexplained),
        signs,
    };
    (usable && p50_ns > 0.0).then(|| Entry { key: row.identity.clone(), sample })
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
        let whole = entries(&entry.sample.device, &profile).into_iter().find(|whole| whole.key == entry.key);
        if let Some(whole) = whole {
            entry.sample.p50_ci_ns = whole.sample.p50_ci_ns;
            entry.sample.p99_ci_ns = whole.sample.p99_ci_ns;
            entry.sample.throttled = whole.sample.throttled;
            entry.sample.signs = whole.sample.signs;
        }
    }
    Ok(())
}
