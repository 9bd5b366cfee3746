//! The backend `trtexec`: NVIDIA's own benchmark, driven as a program.
//!
//! For cross-checks, and as a fallback where TensorRT's libraries cannot be used directly. trtexec times a batch of
//! inferences in one process; this backend lets it, and [`Engine::run`] hands out one recorded latency per call.
//! Latency here is trtexec's: the device's time for copies in, compute and copies out, without the host's wait.

mod command;
mod report;

pub use command::PROGRAM_VARIABLE;

use super::tensorrt::{self, ModelFacts, TensorrtOptions};
use super::{Backend, BackendError, Engine, EngineSpec, RunTiming, check_inputs};
use crate::tensor::{Dtype, InputSpec, TensorData};
use clipmark_profile::record::{BackendRecord, Cause, EngineBuild, OperatorCost, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use clipmark_trt::{ShapeRange, die_with_parent};
use command::{Program, Work};
use report::Times;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Inferences per process: enough to spread its start, few enough to answer in time.
const BATCH: u32 = 50;

/// The backend. The program is searched for when it is used, not before.
#[derive(Debug, Clone, Default)]
pub struct Trtexec {
    program: Option<PathBuf>,
}

impl Trtexec {
    /// A backend that runs this program.
    #[must_use]
    pub fn running(program: PathBuf) -> Self {
        Self { program: Some(program) }
    }

    fn find(&self) -> Result<Program, BackendError> {
        Program::find(self.program.as_deref())
    }
}

impl Backend for Trtexec {
    fn name(&self) -> &'static str {
        "trtexec"
    }

    fn starts_programs(&self) -> bool {
        true
    }

    fn check(&self) -> Result<BackendRecord, BackendError> {
        let program = self.find()?;
        Ok(BackendRecord {
            name: self.name().to_owned(),
            version: program.version,
            device: "the GPU that trtexec selects".to_owned(),
            simulated: false,
            notes: vec![
                "latency is the device's time for copies to it, compute and copies back as trtexec reports it, without \
                 the host's wait; every time is recorded by trtexec, in batches of one process"
                    .to_owned(),
                format!("program {}", program.path.display()),
            ],
        })
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        tensorrt::KNOWN
    }

    fn check_options(&self, options: &super::options::BackendOptions) -> Result<(), BackendError> {
        tensorrt::check(self.name(), options)
    }

    fn prepare(&self, model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        let refused = |message| BackendError::new(Stage::Prepare, Cause::Backend, message);
        let options = TensorrtOptions::of(self.name(), &spec.options)?;
        let program = self.find()?;
        let facts = ModelFacts::read(model)?;
        let shapes: Vec<(String, Vec<i64>)> = spec
            .inputs
            .iter()
            .filter(|input| facts.dynamic.contains(&input.name))
            .map(|input| (input.name.clone(), input.shape.iter().map(|&extent| extent as i64).collect()))
            .collect();
        let own = |(name, extents): &(String, Vec<i64>)| ShapeRange {
            name: name.clone(),
            min: extents.clone(),
            opt: extents.clone(),
            max: extents.clone(),
        };
        let ranges = options.shared.clone().unwrap_or_else(|| shapes.iter().map(own).collect());
        let folder =
            Scratch::new().map_err(|error| refused(format!("no folder for trtexec's files: {error}")))?;
        let work = Work {
            options: &options,
            precision: spec.precision,
            quantized: facts.quantized,
            ranges: &ranges,
            shapes: &shapes,
        };
        let engine = folder.file("engine");
        let build = program.build_flags(model, &engine, &work).map_err(refused)?;
        let started = Instant::now();
        execute(&program, Stage::Prepare, &build)?;
        let size = std::fs::metadata(&engine)
            .map_err(|error| refused(format!("trtexec said that it built an engine and left none: {error}")))?
            .len();
        let run = program.run_flags(&engine, &work);
        let took = Nanos(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let remarks = vec![
            format!("engine built by trtexec {}", build.join(" ")),
            format!("timed by trtexec --iterations={BATCH} {}", run.join(" ")),
        ];
        let inputs = spec.inputs.clone();
        Ok(Box::new(TrtexecEngine {
            program,
            folder,
            run,
            inputs,
            files: Vec::new(),
            recorded: VecDeque::new(),
            built: EngineBuild { took, size: Bytes(size), cached: false },
            remarks,
        }))
    }
}

/// An engine file and the times that were recorded and not yet handed out.
struct TrtexecEngine {
    program: Program,
    folder: Scratch,
    run: Vec<String>,
    inputs: Vec<InputSpec>,
    /// Input files, as trtexec's --loadInputs takes them.
    files: Vec<String>,
    recorded: VecDeque<Times>,
    built: EngineBuild,
    remarks: Vec<String>,
}

impl TrtexecEngine {
    /// Times `iterations` inferences in a process that also gets `extra` and writes a file by `flag`, and reads
    /// that file with `parse`.
    fn batch<T>(
        &self,
        iterations: u32,
        extra: &[&str],
        flag: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, BackendError> {
        let failed = |message: String| {
            BackendError::new(
                Stage::Measure,
                Cause::Backend,
                format!("trtexec {}: {message}", self.program.version),
            )
        };
        let file = self.folder.file("report");
        let mut flags = self.run.clone();
        flags.push(format!("--iterations={iterations}"));
        if !self.files.is_empty() {
            flags.push(format!("--loadInputs={}", self.files.join(",")));
        }
        flags.extend(extra.iter().map(|flag| (*flag).to_owned()));
        flags.push(format!("{flag}={}", file.display()));
        execute(&self.program, Stage::Measure, &flags)?;
        let text = std::fs::read_to_string(&file)
            .map_err(|error| failed(format!("it wrote no {flag} file: {error}")))?;
        parse(&text).map_err(failed)
    }
}

impl Engine for TrtexecEngine {
    fn set_inputs(&mut self, inputs: &[TensorData]) -> Result<(), BackendError> {
        let refused = |message| BackendError::new(Stage::WarmUp, Cause::Backend, message);
        check_inputs(&self.inputs, inputs)?;
        let mut files = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let file = self.folder.file(&format!("input{index}"));
            std::fs::write(&file, loadable(input, &self.program.version).map_err(refused)?)
                .map_err(|error| refused(format!("cannot write {}: {error}", file.display())))?;
            files.push(format!("{}:{}", input.name, file.display()));
        }
        self.files = files;
        self.recorded.clear();
        Ok(())
    }

    fn run(&mut self) -> Result<RunTiming, BackendError> {
        if self.recorded.is_empty() {
            self.recorded =
                self.batch(BATCH, &[], "--exportTimes", |text| report::times(text, BATCH as usize))?.into();
        }
        let missing = || BackendError::new(Stage::Measure, Cause::Backend, "trtexec recorded no inference");
        let times = self.recorded.pop_front().ok_or_else(missing)?;
        Ok(RunTiming {
            compute: report::nanos(times.compute),
            h2d: report::nanos(times.h2d),
            d2h: report::nanos(times.d2h),
            recorded_wall: report::nanos(times.latency),
            ..RunTiming::default()
        })
    }

    fn outputs(&mut self) -> Result<Vec<TensorData>, BackendError> {
        self.batch(1, &[], "--exportOutput", report::outputs)
    }

    fn operators(&mut self, iterations: u32) -> Result<Vec<OperatorCost>, BackendError> {
        self.batch(iterations, &["--dumpProfile"], "--exportProfile", report::profile)
    }

    fn build(&self) -> Option<EngineBuild> {
        Some(self.built)
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

/// An input's bytes as trtexec reads them: TensorRT 8 takes 64-bit integers as 32-bit ones.
fn loadable(input: &TensorData, version: &str) -> Result<Vec<u8>, String> {
    if input.dtype != Dtype::I64 || !version.starts_with("8.") {
        return Ok(input.bytes.clone());
    }
    let narrow = |bytes: &[u8; 8]| {
        let value = i64::from_le_bytes(*bytes);
        i32::try_from(value)
            .map(i32::to_le_bytes)
            .map_err(|_| format!("input {}: {value} is beyond 32 bits", input.name))
    };
    Ok(input.bytes.as_chunks::<8>().0.iter().map(narrow).collect::<Result<Vec<_>, _>>()?.concat())
}

/// Runs trtexec to its end.
fn execute(program: &Program, stage: Stage, flags: &[String]) -> Result<(), BackendError> {
    let failed = |cause, message| BackendError::new(stage, cause, message);
    let mut command = Command::new(&program.path);
    // A worker that is killed for hanging leaves no trtexec behind to hold the GPU.
    let output = die_with_parent(command.args(flags)).output().map_err(|error| {
        failed(Cause::Backend, format!("{} cannot be run: {error}", program.path.display()))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("[E]")).collect();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    let words = if errors.is_empty() { last.to_owned() } else { errors[..errors.len().min(4)].join(" | ") };
    let lower = said.to_ascii_lowercase();
    let cause = match output.status.code() {
        None => Cause::Crashed,
        Some(_) if lower.contains("out of memory") || lower.contains("outofmemory") => Cause::OutOfMemory,
        Some(_) if lower.contains("no importer registered") => Cause::UnsupportedOperator,
        Some(_) => Cause::Backend,
    };
    Err(failed(cause, format!("trtexec ended with {}; it said: {words}", output.status)))
}

/// A folder that is removed with the engine.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("clipmark-trtexec-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-over files in the temporary folder are the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
