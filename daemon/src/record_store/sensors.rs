//! The sensor series of a record: one file for each part of a run that was resumed, joined into one.

use super::error::StoreError;
use super::layout::entries;
use clipmark_probes::series_file::{self, SeriesError};
use clipmark_profile::sensors::SensorRecord;
use std::path::Path;

/// Every series under `directory`, joined in order; `None` when there is none. A series that a cut left
/// without its header is passed over, and the record says so.
pub(super) fn read_all(directory: &Path) -> Result<Option<SensorRecord>, StoreError> {
    let mut joined: Option<SensorRecord> = None;
    let mut notes = Vec::new();
    for path in entries(directory)? {
        match series_file::read(&path) {
            Ok(part) => joined = Some(join(joined, part)),
            Err(SeriesError::Io { source, .. }) => return Err(StoreError::read(&path)(source)),
            Err(error) => notes.push(format!("a part of the sensor series is left out: {error}")),
        }
    }
    if let Some(record) = &mut joined {
        record.notes.extend(notes);
    }
    Ok(joined)
}

/// `later` after `earlier`. Where the board's channels have changed in between, its later part alone.
fn join(earlier: Option<SensorRecord>, later: SensorRecord) -> SensorRecord {
    let Some(mut record) = earlier else { return later };
    if !same_layout(&record, &later) {
        let mut later = later;
        let note = "the board's channels changed when the run was resumed: readings before that are left out";
        later.notes.push(note.into());
        return later;
    }
    for (tier, more) in record.tiers.iter_mut().zip(&later.tiers) {
        tier.append(more);
    }
    record.sampler_cpu.0 += later.sampler_cpu.0;
    record.truncated |= later.truncated;
    let news = later.notes.into_iter().filter(|note| !record.notes.contains(note)).collect::<Vec<_>>();
    record.notes.extend(news);
    record
}

fn same_layout(a: &SensorRecord, b: &SensorRecord) -> bool {
    let columns = |record: &SensorRecord| -> Vec<Vec<u16>> {
        record.tiers.iter().map(|tier| tier.columns.iter().map(|column| column.channel).collect()).collect()
    };
    a.channels == b.channels && columns(a) == columns(b)
}

#[cfg(test)]
mod tests {
    use super::join;
    use clipmark_profile::channel::{Channel, ChannelKind, Role};
    use clipmark_profile::sensors::{Column, SensorRecord, TierSeries};
    use clipmark_profile::units::Nanos;

    fn part(name: &str, stamps: &[u64]) -> SensorRecord {
        let mut column = Column::default();
        stamps.iter().for_each(|&stamp| column.push(i32::try_from(stamp).ok()));
        let tier = TierSeries {
            period: Nanos(1),
            stamps_ns: stamps.to_vec(),
            read_ns: vec![1; stamps.len()],
            missed: 0,
            columns: vec![column],
        };
        SensorRecord {
            channels: vec![Channel::new(ChannelKind::Temperature, name, Role::Junction)],
            tiers: vec![tier],
            sampler_cpu: Nanos(3),
            ..SensorRecord::default()
        }
    }

    #[test]
    fn parts_of_one_run_become_one_series() {
        let joined = join(Some(part("tj", &[1, 2])), part("tj", &[5]));
        assert_eq!(joined.tiers[0].stamps_ns, [1, 2, 5]);
        assert_eq!(joined.tiers[0].columns[0].get(2), Some(5));
        assert_eq!(joined.sampler_cpu, Nanos(6));
    }

    #[test]
    fn parts_with_other_channels_are_not_mixed() {
        let joined = join(Some(part("tj", &[1, 2])), part("cpu", &[5]));
        assert_eq!(joined.tiers[0].stamps_ns, [5]);
        assert!(joined.notes.iter().any(|note| note.contains("left out")), "{:?}", joined.notes);
    }
}
