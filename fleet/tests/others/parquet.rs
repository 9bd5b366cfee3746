//! An exported Parquet file in a reader that shares no code with its writer.

use crate::component::trials;
use crate::place::Place;
use crate::python;
use crate::records::{profile, profile_envelope, received};
use libtest_mimic::Trial;
use serde_json::Value;

const MODULES: &str = "duckdb";
const SCRIPT: &str = "import duckdb, sys; print(duckdb.connect().execute(f\"SELECT count(*), count(board), \
    count(throttled), sum(iterations), max(p99_ns), min(device), count(energy_per_frame_uj) FROM \
    '{sys.argv[1]}'\").fetchone())";

pub(crate) fn trials() -> Vec<Trial> {
    trials![&[python::component(MODULES)]; another_reader_agrees]
}

/// A store of 27 points; every second one has no energy.
fn filled() -> Place {
    let place = Place::new();
    let mut profile = profile("some-without-energy");
    for point in profile.points.iter_mut().step_by(2) {
        point.energy = None;
    }
    place.fill(&[received("orin-7", &profile_envelope(1, 1, &profile))]);
    place
}

fn another_reader_agrees() {
    let place = filled();
    let file = place.0.path().join("points.parquet");
    let (code, _, told) = place.run(&["export", "--format", "parquet", "--out", &file.display().to_string()]);
    assert_eq!(code, 0, "{told}");
    let (_, lines, _) = place.run(&["export", "--format", "json"]);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let present = |column: &str| rows.iter().filter(|row| !row[column].is_null()).count();
    let energies = present("energy_per_frame_uj");
    assert!(0 < energies && energies < rows.len(), "some rows lack it: {energies} of {}", rows.len());
    let iterations: u64 = rows.iter().filter_map(|row| row["iterations"].as_u64()).sum();
    let p99 = rows.iter().filter_map(|row| row["p99_ns"].as_f64()).fold(0.0, f64::max);
    let expected = format!(
        "({}, {}, {}, {iterations}, {p99:?}, 'orin-7', {energies})\n",
        rows.len(),
        present("board"),
        present("throttled"),
    );
    assert_eq!(python::run(&python::with(MODULES), SCRIPT, &[&file]), expected);
}
