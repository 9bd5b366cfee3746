use super::{Head, PointNews, RecordStore, RunEnd, StoreError, read, write_atomic};
use clipmark_profile::environment::Environment;
use clipmark_profile::plan::{Limits, Plan, Request, UsableVariant};
use clipmark_profile::point::Variant;
use clipmark_profile::record::{
    Cause, Chunk, Failure, LoadEvidence, MemoryEvidence, PointOutcome, RunHeader, SoakEvidence, Stage,
};
use clipmark_profile::streams::arrivals::Clip;
use clipmark_profile::streams::search::Effort;
use clipmark_profile::streams::{ArrivalProcess, Inference, Load, Phases, Served, Servers};
use clipmark_profile::sweep::{JournalEntry, StepResult, Sweep, SweepRules};
use clipmark_profile::units::{Bytes, Nanos};
use std::path::Path;
use tempfile::TempDir;

fn head() -> Head {
    let variant = Variant::new("made-up", "simulated");
    let request = Request {
        clip_lengths: vec![8, 16],
        batch_sizes: vec![1],
        iterations: Some(5),
        ..Request::default()
    };
    let usable = UsableVariant { variant, fixed: Vec::new() };
    let plan = Plan::expand(request, vec![usable], &Limits::default()).unwrap();
    let rules = SweepRules::for_plan(&plan);
    let header = RunHeader {
        run_id: "00".into(),
        started_unix_ms: 0,
        origin: "a test".into(),
        plan,
        environment: Environment::default(),
        models: Vec::new(),
        backends: Vec::new(),
    };
    Head { header, rules }
}

/// The steps of a whole sweep whose every inference takes as long as its frames, in microseconds.
fn journal(head: &Head) -> Vec<JournalEntry> {
    let mut sweep = Sweep::new(&head.header.plan, head.rules.clone());
    let mut now = Nanos(0);
    let mut journal = Vec::new();
    while let Some(step) = sweep.next(now) {
        let each = step.point.shape.frames() * 1000;
        let latencies = vec![each; step.total_iterations() as usize];
        let ended = Nanos(now.0 + each * latencies.len() as u64);
        let mut chunk = step.chunk(now, ended, latencies);
        chunk.compute_ns = chunk.latencies_ns.iter().map(|ns| ns / 2).collect();
        chunk.h2d_ns = chunk.latencies_ns.iter().map(|ns| ns / 8).collect();
        chunk.d2h_ns = chunk.latencies_ns.iter().map(|ns| ns / 16).collect();
        let result = StepResult { prepare: Some(Nanos(7)), chunk: Some(chunk), ..StepResult::default() };
        journal.push(JournalEntry { restarted: false, asked: now, step, result: result.clone() });
        sweep.observe(&result);
        now = ended;
    }
    assert!(journal.len() >= 2, "a sweep takes several steps");
    journal
}

fn written(out: &Path) -> (Head, Vec<JournalEntry>) {
    let head = head();
    let journal = journal(&head);
    let mut store = RecordStore::create(out, &head).unwrap();
    for entry in &journal {
        store.commit(entry, PointNews::default()).unwrap();
    }
    (head, journal)
}

#[test]
fn a_load_comes_back_as_it_was_written_and_one_that_was_cut_never_existed() {
    let out = TempDir::new().unwrap();
    let (head, _) = written(out.path());
    let clip = |arrival, stream| Clip { arrival: Nanos(arrival), stream };
    let load = LoadEvidence {
        id: head.header.plan.points[0],
        effort: Effort::Certify,
        started: Nanos(10),
        ended: Nanos(99),
        served: Served {
            load: Load {
                streams: 2,
                period: Nanos(30),
                deadline: Nanos(20),
                phases: Phases::Random,
                arrivals: ArrivalProcess::Poisson,
                seed: 4,
            },
            servers: Servers { instances: 2, batch: 2 },
            clips: vec![clip(3, 0), clip(5, 1), clip(40, 1)],
            inferences: vec![Inference { clips: 2, started: Nanos(5), completed: Nanos(19) }],
        },
        failure: None,
    };
    let (mut store, _) = RecordStore::resume(out.path()).unwrap();
    store.append_load(&load).unwrap();
    store.append_load(&load).unwrap();
    drop(store);
    assert_eq!(read(out.path()).unwrap().loads, [load.clone(), load.clone()]);
    std::fs::remove_file(out.path().join("record/loads/0001/evidence.json")).unwrap();
    assert_eq!(read(out.path()).unwrap().loads, std::slice::from_ref(&load));
    let (mut store, resumed) = RecordStore::resume(out.path()).unwrap();
    assert!(resumed.ended >= load.ended);
    store.append_load(&load).unwrap();
    assert_eq!(read(out.path()).unwrap().loads, [load.clone(), load]);
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let out = TempDir::new().unwrap();
    let head = head();
    let journal = journal(&head);
    let mut store = RecordStore::create(out.path(), &head).unwrap();
    let memory = |peak, faults| MemoryEvidence {
        peak_resident: Some(Bytes(peak)),
        minor_faults: Some(faults),
        ..MemoryEvidence::default()
    };
    for (peak, entry) in (1..).zip(&journal) {
        let news =
            PointNews { memory: Some(memory(peak, 2)), remarks: vec!["warm".into()], ..PointNews::default() };
        store.commit(entry, news).unwrap();
    }
    let outcomes: Vec<_> = head.header.plan.points.iter().map(|&id| (id, PointOutcome::Measured)).collect();
    store.settle(&outcomes).unwrap();
    store.finish(&RunEnd { partial: false, reason: "done".into() }).unwrap();

    let record = read(out.path()).unwrap();
    assert_eq!(record.header, head.header);
    assert!(!record.partial);
    for point in &record.points {
        let steps: Vec<_> = journal.iter().filter(|entry| entry.step.point == point.id).collect();
        let chunks: Vec<Chunk> = steps.iter().filter_map(|entry| entry.result.chunk.clone()).collect();
        assert_eq!(point.chunks, chunks);
        assert_eq!(point.prepare, Some(Nanos(7)));
        assert_eq!(point.outcome, PointOutcome::Measured);
        assert_eq!(point.remarks, ["warm"]);
        let faults = point.memory.as_ref().and_then(|memory| memory.minor_faults);
        assert_eq!(faults, Some(2 * steps.len() as u64));
    }
}

#[test]
fn python_reads_the_latencies_as_plain_words() {
    let out = TempDir::new().unwrap();
    let (head, journal) = written(out.path());
    let id = head.header.plan.points[0];
    let bytes = std::fs::read(out.path().join("record/points/0000/latencies.u64")).unwrap();
    let expected: Vec<u8> = journal
        .iter()
        .filter(|entry| entry.step.point == id)
        .flat_map(|entry| entry.result.chunk.as_ref().unwrap().latencies_ns.clone())
        .flat_map(u64::to_le_bytes)
        .collect();
    assert_eq!(bytes, expected);
}

#[test]
fn resuming_returns_every_committed_step() {
    let out = TempDir::new().unwrap();
    let (head, journal) = written(out.path());
    let (_, resumed) = RecordStore::resume(out.path()).unwrap();
    assert_eq!(resumed.head, head);
    assert_eq!(resumed.journal, journal);
    assert_eq!(resumed.ended, journal.last().unwrap().result.chunk.as_ref().unwrap().ended);
}

/// Cuts the journal at every byte: what is left is a prefix of the steps, and it can be gone on with.
#[test]
fn a_journal_cut_anywhere_resumes_from_its_last_whole_line() {
    let source = TempDir::new().unwrap();
    let (_, journal) = written(source.path());
    let whole = std::fs::read(source.path().join("record/journal.jsonl")).unwrap();
    for cut in (0..whole.len()).step_by(97) {
        std::fs::write(source.path().join("record/journal.jsonl"), &whole[..cut]).unwrap();
        let (mut store, resumed) = RecordStore::resume(source.path()).unwrap();
        let kept = resumed.journal.len();
        assert_eq!(resumed.journal, journal[..kept], "cut at {cut}");
        assert_eq!(kept, whole[..cut].iter().filter(|&&byte| byte == b'\n').count());
        for entry in &journal[kept..] {
            store.commit(entry, PointNews::default()).unwrap();
        }
        drop(store);
        let (_, resumed) = RecordStore::resume(source.path()).unwrap();
        assert_eq!(resumed.journal, journal, "cut at {cut}");
        let record = read(source.path()).unwrap();
        let chunks: usize = record.points.iter().map(|point| point.chunks.len()).sum();
        assert_eq!(chunks, journal.len(), "cut at {cut}");
    }
}

#[test]
fn a_changed_latency_is_found_by_its_checksum() {
    let out = TempDir::new().unwrap();
    written(out.path());
    let path = out.path().join("record/points/0000/latencies.u64");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = read(out.path()).unwrap_err();
    assert!(error.to_string().contains("checksum") && error.to_string().contains("latencies.u64"), "{error}");
}

#[test]
fn a_directory_is_written_by_one_process_and_holds_one_record() {
    let out = TempDir::new().unwrap();
    let store = RecordStore::create(out.path(), &head()).unwrap();
    assert!(matches!(RecordStore::resume(out.path()), Err(StoreError::Busy { .. })));
    drop(store);
    assert!(matches!(RecordStore::create(out.path(), &head()), Err(StoreError::Exists { .. })));
}

#[test]
fn a_missing_or_foreign_record_is_told_apart_from_a_damaged_one() {
    let out = TempDir::new().unwrap();
    assert!(matches!(read(out.path()), Err(StoreError::NoRecord { .. })));
    std::fs::create_dir(out.path().join("record")).unwrap();
    let header = out.path().join("record/header.json");
    std::fs::write(&header, r#"{"format": 99}"#).unwrap();
    assert!(matches!(read(out.path()), Err(StoreError::Version { found: 99, .. })));
    std::fs::write(&header, r#"{"format": 1}"#).unwrap();
    assert!(matches!(read(out.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_failed_write_keeps_the_old_content() {
    let out = TempDir::new().unwrap();
    let path = out.path().join("file");
    write_atomic(&path, b"old").unwrap();
    std::fs::create_dir(out.path().join("file.tmp")).unwrap();
    assert!(write_atomic(&path, b"new").is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
}

fn soak(head: &Head) -> SoakEvidence {
    SoakEvidence {
        id: head.header.plan.points[0],
        outcome: PointOutcome::Interrupted,
        aborted: None,
        gate: None,
        idle_before: None,
        span: [Nanos(5), Nanos(5)],
        idle_after: None,
        completed_ns: Vec::new(),
        latencies_ns: Vec::new(),
        truncated: false,
    }
}

#[test]
fn a_soak_that_was_cut_off_keeps_its_whole_segments() {
    let out = TempDir::new().unwrap();
    let head = head();
    let mut store = RecordStore::create(out.path(), &head).unwrap();
    let mut writer = store.begin_soak(&soak(&head)).unwrap();
    writer.append(&[10, 20], &[1, 2]).unwrap();
    writer.append(&[30], &[3]).unwrap();
    let latencies = out.path().join("record/soaks/0000/latencies.u64");
    let bytes = std::fs::read(&latencies).unwrap();
    std::fs::write(&latencies, &bytes[..bytes.len() - 1]).unwrap();

    let record = read(out.path()).unwrap();
    let soak = &record.soaks[0];
    assert_eq!((&*soak.completed_ns, &*soak.latencies_ns), (&[10, 20][..], &[1, 2][..]));
    assert_eq!(soak.span, [Nanos(5), Nanos(20)]);
    assert!(record.partial);
}

#[test]
fn a_failed_soak_says_so() {
    let out = TempDir::new().unwrap();
    let head = head();
    let mut store = RecordStore::create(out.path(), &head).unwrap();
    let writer = store.begin_soak(&soak(&head)).unwrap();
    let failure = Failure { stage: Stage::Measure, cause: Cause::Crashed, message: "gone".into() };
    let ended = SoakEvidence { outcome: PointOutcome::Failed(failure.clone()), ..soak(&head) };
    writer.describe(&ended).unwrap();
    assert_eq!(read(out.path()).unwrap().soaks[0].outcome, PointOutcome::Failed(failure));
}
