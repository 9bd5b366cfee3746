//! Throws mutated inputs at every decoder of the daemon's own: files on its disk, and what its children say.
//!
//! `cargo run -p clipmarkd --example fuzz -- [EXECUTIONS] [TARGET]...`, by default 1,000,000 of each. It ends at the
//! first panic and prints per decoder how many inputs it took and how many of them it accepted. What arrives over
//! the network is decoded by clipmark-profile, which profile/fuzz/run.sh covers with libFuzzer.

#![expect(clippy::print_stdout, reason = "its counts are its output")]

mod mutate;

use clipmark_daemon::config::Config;
use clipmark_daemon::model::axes::ModelShape;
use clipmark_daemon::model::hints::ModelHints;
use clipmark_daemon::model::onnx::OnnxModel;
use clipmark_daemon::record_store::{self, Head, PointNews, RecordStore};
use clipmark_daemon::session::{QueuedCommand, Task};
use clipmark_daemon::spool::{Bounds, Spool};
use clipmark_daemon::worker::frame;
use clipmark_daemon::worker::protocol::{self, Reply};
use clipmark_profile::environment::Environment;
use clipmark_profile::message::Epoch;
use clipmark_profile::plan::{Limits, Plan, Request, UsableVariant};
use clipmark_profile::point::Variant;
use clipmark_profile::record::RunHeader;
use clipmark_profile::sweep::{JournalEntry, StepResult, Sweep, SweepRules};
use clipmark_profile::topics::{Operation, UpKind};
use clipmark_profile::units::Nanos;
use mutate::Mutator;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

type FuzzResult<T> = Result<T, Box<dyn Error>>;

/// Takes one input and says whether it was accepted.
type Decoder = Box<dyn FnMut(&[u8]) -> bool>;

/// A decoder and valid inputs for it.
struct Target {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    decode: Decoder,
}

fn target(name: &'static str, corpus: Vec<Vec<u8>>, decode: impl FnMut(&[u8]) -> bool + 'static) -> Target {
    Target { name, corpus, decode: Box::new(decode) }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn framed<T: serde::Serialize>(message: &T) -> FuzzResult<Vec<u8>> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, message)?;
    Ok(bytes)
}

fn in_memory() -> FuzzResult<Vec<Target>> {
    let shipped = include_bytes!("../../../config/clipmarkd.toml").to_vec();
    let hints = b"[inputs.video]\naxes = \"batch, frames, 3, 224, 224\"\n".to_vec();
    let mut command = QueuedCommand::new("c1".parse()?, Operation::Run.into(), 1, 1);
    command.task = Some(Task { operation: Operation::Run, run: Some(Box::new(Request::default())) });
    let replies = vec![framed(&Reply::Failed(failure()))?];
    let orders = vec![framed(&protocol::WorkerCommand::Check { backend: "tract".into() })?];
    Ok(vec![
        target("config", vec![shipped], |bytes| Config::parse(&text(bytes), Path::new("fuzz.toml")).is_ok()),
        target("model sidecar", vec![hints], |bytes| toml::from_str::<ModelHints>(&text(bytes)).is_ok()),
        target("stored command", vec![serde_json::to_vec(&command)?], |bytes| {
            serde_json::from_slice::<QueuedCommand>(bytes).is_ok()
        }),
        target("worker's reply", replies, |mut bytes| frame::read::<Reply>(&mut bytes).is_ok()),
        target("worker's order", orders, |mut bytes| {
            frame::read::<protocol::WorkerCommand>(&mut bytes).is_ok()
        }),
        target("ONNX model", vec![onnx()], |bytes| {
            let model = OnnxModel::parse(bytes);
            model.is_ok_and(|model| ModelShape::find(&model, &ModelHints::default()).is_ok())
        }),
    ])
}

/// A small model in protobuf's encoding: the built-in ones are nearly all weights.
fn onnx() -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let symbol = |name: &str| field(1, &field(2, name.as_bytes()));
    let dims = [symbol("batch"), symbol("frames"), field(1, &[1 << 3, 64])].concat();
    // Element type 1 is float.
    let tensor = [&[1 << 3, 1][..], &field(2, &dims)].concat();
    let value = |name: &str| [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat();
    let node = [field(1, b"video"), field(1, b"weight"), field(2, b"y"), field(4, b"Mul")].concat();
    // Two dimensions, element type, name, raw data.
    let weight = [&[1 << 3, 1, 1 << 3, 2, 2 << 3, 1][..], &field(8, b"weight"), &field(9, &[0; 8])].concat();
    let graph = [
        field(1, &node),
        field(2, b"graph"),
        field(5, &weight),
        field(11, &value("video")),
        field(12, &value("y")),
    ];
    let opset = field(8, &[2 << 3, 17]);
    [&[1 << 3, 8][..], &field(2, b"fuzz"), &long_field(7, &graph.concat()), &opset].concat()
}

/// A field whose length takes two bytes.
fn long_field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = [(content.len() & 0x7f) as u8 | 0x80, (content.len() >> 7) as u8];
    [&[number << 3 | 2][..], &length, content].concat()
}

fn failure() -> clipmark_profile::record::Failure {
    clipmark_profile::record::Failure {
        stage: clipmark_profile::record::Stage::Load,
        cause: clipmark_profile::record::Cause::BackendUnavailable,
        message: "no such library".into(),
    }
}

const BOUNDS: Bounds = Bounds { segment_bytes: 1 << 20, max_bytes: 1 << 22, reserve_bytes: 4096 };

/// A segment as it lies, and with a body whose checksum fits whatever became of it.
fn spool(dir: PathBuf) -> FuzzResult<Vec<Target>> {
    let open = |dir: &Path| Spool::open(dir, BOUNDS, Epoch(7), 0);
    let (mut filled, _) = open(&dir)?;
    let command = "c1".parse()?;
    for content in [&b"one"[..], &[0; 300], b"three"] {
        filled.append(UpKind::Profile, Some(&command), content, 1)?;
    }
    let envelope = filled.read(1)?.ok_or("the record is there")?;
    drop(filled);
    let name = format!("{:020}.seg", 1);
    let segment = fs::read(dir.join(&name))?;
    let header = segment[..32].to_vec();
    let take = move |bytes: &[u8]| {
        let _ = fs::remove_dir_all(&dir);
        let written = fs::create_dir_all(&dir).and_then(|()| fs::write(dir.join(&name), bytes));
        written.expect("the scratch folder can be written");
        let (spool, damage) = Spool::open(&dir, BOUNDS, Epoch(7), 0).expect("damage is no error");
        let mut from = 0;
        while let Some((sequence, _)) = spool.first_from(from) {
            spool.read(sequence).expect("what was found when it was opened can be read");
            from = sequence + 1;
        }
        damage.is_empty()
    };
    let other = take.clone();
    Ok(vec![
        target("spool segment", vec![segment], move |bytes| take(bytes)),
        target("spool record", vec![envelope], move |body| {
            let mut bytes = header.clone();
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(crc32c::crc32c(body).to_le_bytes());
            bytes.extend(body);
            other(&bytes)
        }),
    ])
}

fn head() -> FuzzResult<Head> {
    let variant = Variant::new("m", "b");
    let request = Request {
        clip_lengths: vec![8, 16],
        batch_sizes: vec![1],
        iterations: Some(3),
        ..Request::default()
    };
    let usable = UsableVariant { variant, fixed: Vec::new() };
    let plan = Plan::expand(request, vec![usable], &Limits::default())?;
    let rules = SweepRules::for_plan(&plan);
    let header = RunHeader {
        run_id: "0".into(),
        started_unix_ms: 0,
        origin: "fuzz".into(),
        plan,
        environment: Environment::default(),
        models: Vec::new(),
        backends: Vec::new(),
    };
    Ok(Head { header, rules })
}

/// The journal of a run as it lies, and one line of it with a checksum that fits whatever became of it.
fn record(dir: &Path) -> FuzzResult<Vec<Target>> {
    let head = head()?;
    let mut store = RecordStore::create(dir, &head)?;
    let mut sweep = Sweep::new(&head.header.plan, head.rules.clone());
    let mut now = Nanos(0);
    while let Some(step) = sweep.next(now) {
        let latencies = vec![1000; step.total_iterations() as usize];
        let ended = Nanos(now.0 + 1000 * latencies.len() as u64);
        let chunk = step.chunk(now, ended, latencies);
        let result = StepResult { prepare: Some(Nanos(7)), chunk: Some(chunk), ..StepResult::default() };
        let entry = JournalEntry { restarted: false, asked: now, step, result: result.clone() };
        store.commit(&entry, PointNews::default())?;
        sweep.observe(&result);
        now = ended;
    }
    drop(store);
    let journal = fs::read_dir(dir.join("record"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal")))
        .ok_or("a record has a journal")?;
    let whole = fs::read(journal)?;
    let line = whole.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let json = line.split(|&byte| byte == b'\t').next().unwrap_or_default().to_vec();
    Ok(vec![
        target("journal", vec![whole], |bytes| {
            let (steps, length) = record_store::committed(bytes);
            assert!(length <= bytes.len() as u64 && (steps > 0) == (length > 0));
            length == bytes.len() as u64
        }),
        target("journal entry", vec![json], |json| {
            let crc = format!("\t{:08x}\n", crc32c::crc32c(json));
            record_store::committed(&[json, crc.as_bytes()].concat()).0 == 1
        }),
    ])
}

fn run(mut target: Target, executions: u64) {
    assert!(
        target.corpus.iter().all(|input| (target.decode)(input)),
        "{}: valid inputs are accepted",
        target.name
    );
    let mut mutator = Mutator::new(0x5eed, target.corpus);
    let began = Instant::now();
    let accepted = (0..executions).filter(|_| (target.decode)(&mutator.next())).count();
    let took = began.elapsed().as_secs_f64();
    let rate = executions as f64 / took;
    println!("{:<16} {executions} executions in {took:.1} s, {rate:.0}/s, {accepted} accepted", target.name);
}

fn main() -> FuzzResult<()> {
    let mut arguments = std::env::args().skip(1);
    let executions = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let wanted: Vec<String> = arguments.collect();
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let mut targets = in_memory()?;
    targets.extend(spool(scratch.path().join("spool"))?);
    targets.extend(record(&scratch.path().join("record"))?);
    for target in
        targets.into_iter().filter(|target| wanted.is_empty() || wanted.iter().any(|w| w == target.name))
    {
        run(target, executions);
    }
    Ok(())
}
