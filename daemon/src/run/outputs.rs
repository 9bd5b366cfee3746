//! The results of a run as files: `profile.cbor`, `profile.json`, `report.html`, and a series per soak.

use super::error::RunError;
use super::{Finished, RunEnding};
use crate::record_store::write_atomic;
use clipmark_profile::record::Record;
use clipmark_profile::select;
use clipmark_profile::series::{self, Series};
use clipmark_profile::summary::Profile;
use clipmark_profile::wire;
use std::path::{Path, PathBuf};

/// The packed profile, as it is published.
pub const PROFILE_CBOR: &str = "profile.cbor";
/// The same content with names and units in the keys.
pub const PROFILE_JSON: &str = "profile.json";
/// The same for people.
pub const REPORT_HTML: &str = "report.html";

/// Writes everything that `profile` and its record give into `out`, each file at once or not at all. Returns
/// the series of the soaks.
///
/// # Errors
/// A file cannot be written.
pub fn write(out: &Path, record: &Record, profile: &Profile) -> Result<Vec<Series>, RunError> {
    let series = soak_series(record, profile);
    put(out.join(PROFILE_JSON), json(profile).as_bytes())?;
    put(out.join(PROFILE_CBOR), &wire::encode_profile(profile).map_err(RunError::Wire)?)?;
    for (index, one) in series.iter().enumerate() {
        let bytes = wire::encode_series(one).map_err(RunError::Wire)?;
        put(out.join(series_file(index)), &bytes)?;
    }
    put(out.join(REPORT_HTML), clipmark_report::html(profile, &series).as_bytes())?;
    Ok(series)
}

/// The file of the series of the soak at `index`.
#[must_use]
pub fn series_file(index: usize) -> String {
    format!("series-{index}.cbor")
}

/// The complete run in `out`, recomputed from its record; the result files are written anew.
///
/// # Errors
/// The record cannot be read or a file cannot be written.
pub fn read_back(out: &Path) -> Result<Finished, RunError> {
    let record = crate::record_store::read(out)?;
    let profile = clipmark_profile::analysis::study(&record);
    let series = write(out, &record, &profile)?;
    Ok(Finished { profile, series, ending: RunEnding::Complete })
}

/// `profile` as indented JSON, opened by the answers that follow from it.
#[must_use]
pub fn json(profile: &Profile) -> String {
    #[derive(serde::Serialize)]
    struct Answered<'a> {
        answers: Vec<select::Answer>,
        clip_lengths: Vec<select::ClipChoice>,
        #[serde(flatten)]
        profile: &'a Profile,
    }
    let answered =
        Answered { answers: select::answers(profile), clip_lengths: select::clip_choices(profile), profile };
    let mut text =
        serde_json::to_string_pretty(&answered).expect("a profile holds no map with keys but strings");
    text.push('\n');
    text
}

/// One series per soak of the record.
#[must_use]
pub fn soak_series(record: &Record, profile: &Profile) -> Vec<Series> {
    let summaries = profile.soaks.iter().map(Some).chain(std::iter::repeat(None));
    let pairs = record.soaks.iter().zip(summaries);
    let sensors = record.sensors.as_ref();
    pairs.map(|(soak, summary)| series::build(&record.header.run_id, soak, sensors, summary)).collect()
}

fn put(path: PathBuf, bytes: &[u8]) -> Result<(), RunError> {
    write_atomic(&path, bytes).map_err(RunError::Store)
}
