//! The record of loads: every clip and every inference of streams that were offered.
//!
//! ```text
//! loads/NNNN/evidence.json   the load without its arrays, with their lengths and CRC-32C; written last
//!            arrivals.u64    when each clip's last frame arrives, ns since the load's beginning, ascending
//!            streams.u64     the stream of each clip
//!            clips.u64       clips in each inference, in the order of arrival
//!            started.u64     when each inference started, ns since the load's beginning
//!            completed.u64   when it was complete
//! ```
//!
//! A load without its evidence never existed: a cut run offers it again.

use super::arrays::{Array, Reader};
use super::atomic::{create_dir, read_json, sync_parent, write_json};
use super::error::StoreError;
use super::layout::{EVIDENCE, entries};
use clipmark_profile::record::LoadEvidence;
use clipmark_profile::streams::arrivals::Clip;
use clipmark_profile::streams::{Inference, Served};
use clipmark_profile::units::Nanos;
use serde::{Deserialize, Serialize};
use std::path::Path;

const ARRAYS: [&str; 5] = ["arrivals.u64", "streams.u64", "clips.u64", "started.u64", "completed.u64"];

#[derive(Serialize, Deserialize)]
struct LoadOnDisk {
    load: LoadEvidence,
    arrays: [ArrayOnDisk; ARRAYS.len()],
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct ArrayOnDisk {
    count: u64,
    crc32c: u32,
}

/// Writes `load` into `directory`, which is created; what a cut left there is replaced.
pub(super) fn write(directory: &Path, load: &LoadEvidence) -> Result<(), StoreError> {
    create_dir(directory)?;
    let mut arrays = [ArrayOnDisk::default(); ARRAYS.len()];
    for ((on_disk, name), values) in arrays.iter_mut().zip(ARRAYS).zip(columns(&load.served)) {
        let mut array = Array::open(directory.join(name), 0)?;
        *on_disk = ArrayOnDisk { count: values.len() as u64, crc32c: array.append(&values)? };
        array.sync()?;
    }
    sync_parent(&directory.join(EVIDENCE))?;
    let served = Served { clips: Vec::new(), inferences: Vec::new(), ..load.served };
    write_json(
        &directory.join(EVIDENCE),
        &LoadOnDisk { load: LoadEvidence { served, ..load.clone() }, arrays },
    )
}

fn columns(served: &Served) -> [Vec<u64>; ARRAYS.len()] {
    let of_clips = |value: fn(&Clip) -> u64| served.clips.iter().map(value).collect();
    let of_inferences = |value: fn(&Inference) -> u64| served.inferences.iter().map(value).collect();
    [
        of_clips(|clip| clip.arrival.0),
        of_clips(|clip| clip.stream.into()),
        of_inferences(|inference| inference.clips.into()),
        of_inferences(|inference| inference.started.0),
        of_inferences(|inference| inference.completed.0),
    ]
}

/// Every load under `directory`, in order.
pub(super) fn read_all(directory: &Path) -> Result<Vec<LoadEvidence>, StoreError> {
    let loads = entries(directory)?;
    loads.iter().filter(|load| load.join(EVIDENCE).exists()).map(|load| read_one(load)).collect()
}

/// How many loads lie under `directory`, and the latest instant they speak of.
pub(super) fn last_instant(directory: &Path) -> Result<(usize, Option<Nanos>), StoreError> {
    let loads = read_all(directory)?;
    Ok((loads.len(), loads.iter().map(|load| load.ended).max()))
}

fn read_one(directory: &Path) -> Result<LoadEvidence, StoreError> {
    let LoadOnDisk { mut load, arrays } = read_json(&directory.join(EVIDENCE))?;
    let mut columns: [Vec<u64>; ARRAYS.len()] = Default::default();
    for ((column, name), on_disk) in columns.iter_mut().zip(ARRAYS).zip(arrays) {
        *column = Reader::open(&directory.join(name))?.next(on_disk.count, on_disk.crc32c)?;
    }
    let [arrivals, streams, clips, started, completed] = columns;
    let size = |value: u64| {
        u32::try_from(value)
            .map_err(|_| StoreError::damaged(directory, format!("{value} is no stream and no batch size")))
    };
    for (arrival, stream) in arrivals.into_iter().zip(streams) {
        load.served.clips.push(Clip { arrival: Nanos(arrival), stream: size(stream)? });
    }
    for ((clips, started), completed) in clips.into_iter().zip(started).zip(completed) {
        let (started, completed) = (Nanos(started), Nanos(completed));
        load.served.inferences.push(Inference { clips: size(clips)?, started, completed });
    }
    Ok(load)
}
