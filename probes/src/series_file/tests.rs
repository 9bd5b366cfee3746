use super::*;
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use proptest::prelude::*;

fn template() -> Template {
    let channel = |name| Channel::new(ChannelKind::Temperature, name, Role::Context);
    let record = SensorRecord {
        channels: vec![channel("a"), channel("gated"), channel("b")],
        trips: vec![(1, "critical".into(), 1), (2, "critical".into(), 99_000)],
        ..SensorRecord::default()
    };
    Template { record, faults: vec![None, Some("EAGAIN".into()), None] }
}

fn segment(start: u64, values: &[Option<i32>]) -> Segment {
    let mut columns: Vec<Column> = (0..3).map(|channel| Column::with_capacity(channel, 8)).collect();
    for value in values {
        columns[0].push(*value);
        columns[1].push(None);
        columns[2].push(Some(7));
    }
    let stamps_ns = (start..).take(values.len()).collect();
    let read_ns = vec![5; values.len()];
    let lane = TierSeries { period: Nanos(10), stamps_ns, read_ns, missed: 1, columns };
    Segment { lanes: vec![lane], cpu: Nanos(start) }
}

fn written(segments: &[Segment], ending: Option<&SamplingEnd>, limit: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sensors");
    let mut writer = SeriesWriter::create(&path, Bytes(limit), &template()).unwrap();
    for segment in segments {
        writer.append(segment).unwrap();
    }
    if let Some(ending) = ending {
        writer.close(ending).unwrap();
    }
    (dir, path)
}

#[test]
fn a_closed_file_gives_the_whole_record_without_channels_that_never_answered() {
    let ending = SamplingEnd {
        cpu: Nanos(99),
        faults: vec![None, Some("EAGAIN".into()), None],
        ..SamplingEnd::default()
    };
    let segments = [segment(0, &[Some(1), None]), segment(10, &[Some(-3)])];
    let (_dir, path) = written(&segments, Some(&ending), 1 << 20);
    let record = read(&path).unwrap();
    assert!(!record.truncated);
    assert_eq!(record.sampler_cpu, Nanos(99));
    let ids: Vec<&str> = record.channels.iter().map(|channel| channel.id.as_str()).collect();
    assert_eq!(ids, ["temp.a", "temp.b"]);
    assert_eq!(record.absent, [("temp.gated".to_owned(), "EAGAIN".to_owned())]);
    assert_eq!(record.trips, [(1, "critical".to_owned(), 99_000)]);
    assert_eq!((record.tiers[0].missed, record.tiers[0].stamps_ns.clone()), (2, vec![0, 1, 10]));
    let column = &record.tiers[0].columns[0];
    assert_eq!([column.get(0), column.get(1), column.get(2)], [Some(1), None, Some(-3)]);
    assert_eq!(record.tiers[0].columns[1].channel, 1);
}

#[test]
fn a_file_cut_at_any_byte_gives_the_segments_before_the_cut() {
    let segments = [segment(0, &[Some(1), None]), segment(10, &[Some(2)]), segment(20, &[Some(3)])];
    let (_dir, path) = written(&segments, None, 1 << 20);
    let bytes = std::fs::read(&path).unwrap();
    let header = MAGIC.len() + FRAME_OVERHEAD + serde_json::to_vec(&template()).unwrap().len();
    for cut in header..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let record = read(&path).unwrap();
        assert!(record.truncated);
        let rows = record.tiers.first().map_or(0, |tier| tier.stamps_ns.len());
        assert!([0, 2, 3, 4].contains(&rows), "{rows} rows at {cut}");
        assert_eq!(rows == 4, cut == bytes.len());
    }
    std::fs::write(&path, &bytes[..header - 1]).unwrap();
    assert!(matches!(read(&path), Err(SeriesError::Format { .. })));
}

#[test]
fn a_file_at_its_bound_stops_and_says_so() {
    let segments: Vec<Segment> = (0..50).map(|at| segment(at * 10, &[Some(1); 8])).collect();
    let (_dir, path) = written(&segments, Some(&SamplingEnd::default()), 2000);
    assert!(std::fs::metadata(&path).unwrap().len() <= 2000);
    let record = read(&path).unwrap();
    assert!(record.truncated);
    assert!(!record.tiers[0].stamps_ns.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_segment_survives_its_encoding(values in proptest::collection::vec(any::<Option<i32>>(), 0..200)) {
        let segment = segment(3, &values);
        let mut bytes = Vec::new();
        encode(&segment, &mut bytes);
        prop_assert_eq!(decode(&bytes), Some(segment));
    }

    #[test]
    fn no_damage_makes_reading_fail_or_invent(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let (_dir, path) = written(&[segment(0, &[Some(1)]), segment(10, &[Some(2)])], None, 1 << 20);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(record) = read(&path) {
            let rows = record.tiers.first().map_or(0, |tier| tier.stamps_ns.len());
            prop_assert!(rows < 2);
        }
    }
}
