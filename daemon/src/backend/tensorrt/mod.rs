//! The backend `tensorrt`: NVIDIA's runtime on a Jetson's GPU or DLA, built from ONNX on the board.
//!
//! One engine per point, or a shared one on request. Engines are tied to TensorRT's version and the GPU, so
//! they are built here and cached. Terms: *profile*, in this module, is TensorRT's optimization profile: the
//! shapes that an engine takes and the one that its kernels are chosen for. The latency of an inference is
//! the host's wall time around copies in, compute and copies out; the device's own times for the three
//! stand beside it. What a precision means in each release is decided in `precision`; the C++ interface is
//! the crate clipmark-trt's.

mod cache;
mod convert;
mod engine;
mod facts;
mod failure;
mod options;
mod precision;

pub(super) use facts::ModelFacts;
pub(super) use options::{KNOWN, TensorrtOptions, check, shapes_text};
pub use options::{share, shared_profile};

use super::{Backend, BackendError, Engine, EngineSpec};
use cache::{EngineCache, Found, Header};
use clipmark_profile::record::{BackendRecord, Cause, EngineBuild, Stage};
use clipmark_profile::units::{Bytes, Nanos};
use clipmark_service::durable;
use clipmark_trt::{
    BuildRequest, DeclaredInput, Engine as Loaded, Network, Search, Session, ShapeRange, TensorRt, TrtError,
    Wait,
};
use engine::TensorRtEngine;
use failure::{at, unavailable};
use precision::Circumstances;
use std::path::Path;
use std::time::Instant;

/// The backend. Its libraries are searched for when it is used, not before.
#[derive(Debug, Clone, Default)]
pub struct TensorRtBackend {
    search: Option<Search>,
}

impl TensorRtBackend {
    /// A backend that searches in `search` alone instead of the environment's folders.
    #[must_use]
    pub fn searching(search: Search) -> Self {
        Self { search: Some(search) }
    }

    fn open(&self, device: u32, wait: Wait) -> Result<TensorRt, BackendError> {
        let search = self.search.clone().unwrap_or_else(Search::from_environment);
        let tensorrt = TensorRt::open(&search, device, wait).map_err(|error| unavailable(&error))?;
        tensorrt.require_parser().map_err(|error| unavailable(&error))?;
        Ok(tensorrt)
    }
}

impl Backend for TensorRtBackend {
    fn name(&self) -> &'static str {
        "tensorrt"
    }

    fn check(&self) -> Result<BackendRecord, BackendError> {
        let tensorrt = self.open(0, Wait::Auto)?;
        let device = tensorrt.device();
        let cuda = device.driver_version;
        let mut notes = vec![
            "latency is the host's wall time around copies to the device, compute and copies back; compute is the \
             device's own time by CUDA events"
                .to_owned(),
            format!("driver for CUDA {}.{}, {}", cuda / 1000, cuda % 1000 / 10, tensorrt.library_file()),
        ];
        notes.extend(tensorrt.version().warning());
        let (major, minor) = device.capability;
        Ok(BackendRecord {
            name: self.name().to_owned(),
            version: tensorrt.version().to_string(),
            device: format!("{}, compute capability {major}.{minor}", device.name),
            simulated: false,
            notes,
        })
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        KNOWN
    }

    fn check_options(&self, options: &super::options::BackendOptions) -> Result<(), BackendError> {
        check(self.name(), options)
    }

    fn prepare(&self, model: &Path, spec: &EngineSpec) -> Result<Box<dyn Engine>, BackendError> {
        let options = TensorrtOptions::of(self.name(), &spec.options)?;
        let tensorrt = self.open(options.device, options.wait)?;
        let facts = ModelFacts::read(model)?;
        let mut preparation =
            Preparation { tensorrt, model, spec, options, facts, built: None, remarks: Vec::new() };
        preparation.remarks.extend(preparation.tensorrt.version().warning());
        let request = preparation.request()?;
        let before = preparation.tensorrt.free_memory().map_err(at(Stage::Prepare))?;
        let loaded = preparation.engine(request)?;
        preparation.session(loaded, before)
    }
}

/// Everything that one preparation needs.
struct Preparation<'a> {
    tensorrt: TensorRt,
    model: &'a Path,
    spec: &'a EngineSpec,
    options: TensorrtOptions,
    facts: ModelFacts,
    built: Option<EngineBuild>,
    remarks: Vec<String>,
}

impl Preparation<'_> {
    /// What to ask of the builder, but for the shapes, which depend on the parsed model.
    fn request(&mut self) -> Result<BuildRequest, BackendError> {
        let circumstances = Circumstances {
            version: self.tensorrt.version(),
            capability: self.tensorrt.device().capability,
            quantized: self.facts.quantized,
            dla: self.options.dla_core.is_some(),
        };
        let refused = |reason| BackendError::new(Stage::Prepare, Cause::Backend, reason);
        let (kernels, note) = precision::kernels(self.spec.precision, &circumstances).map_err(refused)?;
        self.remarks.extend(note);
        Ok(BuildRequest {
            kernels,
            dla_core: self.options.dla_core,
            gpu_fallback: self.options.gpu_fallback,
            workspace: self.options.workspace_bytes,
            level: self.options.builder_level,
            tactics: self.options.tactics,
            detailed: self.options.layer_details,
            timing_cache: None,
            shapes: Vec::new(),
        })
    }

    /// The engine from the cache, or built and cached.
    fn engine(&mut self, request: BuildRequest) -> Result<Loaded, BackendError> {
        let key = self.key(&request);
        let cache = self.cache();
        let found = cache.as_ref().map_or(Found::Nothing, |cache| cache.get(&key));
        match found {
            Found::Engine(header, plan) => match self.tensorrt.load(&plan, self.options.dla_core) {
                Ok(loaded) => {
                    self.describe(&header, plan.len(), true);
                    return Ok(loaded);
                }
                Err(error) if error.is_out_of_memory() => return Err(at(Stage::Prepare)(error)),
                Err(error) => self.remarks.push(format!("the cached engine was built again: {error}")),
            },
            Found::Corrupt => self.remarks.push("the cached engine was damaged and is built again".into()),
            Found::Nothing => {}
        }
        let (header, plan) = self.build(key, request)?;
        self.describe(&header, plan.len(), false);
        if let Some(cache) = cache {
            match cache.put(&header, &plan) {
                Ok(0) => {}
                Ok(evicted) => {
                    self.remarks.push(format!("{evicted} least recently used engines left the full cache"));
                }
                Err(error) => self.remarks.push(format!("the engine could not be cached: {error}")),
            }
        }
        self.tensorrt.load(&plan, self.options.dla_core).map_err(at(Stage::Prepare))
    }

    fn cache(&mut self) -> Option<EngineCache> {
        let folder = self.spec.cache_dir.as_ref().filter(|_| self.options.engine_cache)?.join("tensorrt");
        match EngineCache::open(folder.clone(), self.options.engine_cache_bytes) {
            Ok(cache) => Some(cache),
            Err(error) => {
                self.remarks.push(format!("engines are not cached in {}: {error}", folder.display()));
                None
            }
        }
    }

    /// Everything that shapes the engine, in words.
    fn key(&self, request: &BuildRequest) -> String {
        let device = self.tensorrt.device();
        let shapes = match &self.options.shared {
            Some(ranges) => format!("{ranges:?}"),
            None => {
                let shapes = input_shapes(self.spec);
                shapes_text(shapes.iter().map(|(name, extents)| (name.as_str(), extents.as_slice())))
            }
        };
        format!(
            "model {}\ntensorrt {}\ndevice {} {:?}\nprecision {}\nprofile {shapes}\nbuild {:?}",
            self.facts.digest,
            self.tensorrt.version(),
            device.name,
            device.capability,
            self.spec.precision,
            request
        )
    }

    fn build(&mut self, key: String, mut request: BuildRequest) -> Result<(Header, Vec<u8>), BackendError> {
        let started = Instant::now();
        let network = self.parse()?;
        if let Some(core) = self.options.dla_core {
            require_dla(&network, core)?;
        }
        if let Some((fast_fp16, fast_int8)) = network.fast_kernels().map_err(at(Stage::Prepare))? {
            let slow = (request.kernels.fp16 && !fast_fp16) || (request.kernels.int8 && !fast_int8);
            if slow {
                self.remarks
                    .push(format!("TensorRT says that this GPU is not fast in {}", self.spec.precision));
            }
        }
        request.shapes = profile(&network.inputs, self.spec, self.options.shared.as_deref())?;
        request.timing_cache = self.read_timings();
        let built = network.build(&request).map_err(at(Stage::Prepare))?;
        if let Some(timings) = &built.timing_cache {
            self.write_timings(timings);
        }
        let build_ms = started.elapsed().as_millis() as u64;
        let header = Header { key, build_ms, layers: built.layers, remarks: built.remarks };
        Ok((header, built.plan))
    }

    fn parse(&self) -> Result<Network, BackendError> {
        self.tensorrt.parse(self.model).map_err(|mut error| {
            if let TrtError::Parse { errors, .. } = &mut error {
                self.facts.complete(errors);
            }
            at(Stage::Load)(error)
        })
    }

    fn timings_file(&self) -> Option<std::path::PathBuf> {
        let folder = self.spec.cache_dir.as_ref().filter(|_| self.options.timing_cache)?.join("tensorrt");
        let (major, minor) = self.tensorrt.device().capability;
        Some(folder.join(format!("timings-{}-sm{major}{minor}", self.tensorrt.version())))
    }

    fn read_timings(&self) -> Option<Vec<u8>> {
        self.timings_file().map(|path| std::fs::read(path).unwrap_or_default())
    }

    fn write_timings(&mut self, timings: &[u8]) {
        let Some(path) = self.timings_file() else { return };
        let folder = path.parent().unwrap_or(&path);
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| durable::replace(&path, timings).map_err(|error| error.source));
        if let Err(error) = written {
            self.remarks.push(format!("the timing cache could not be kept in {}: {error}", path.display()));
        }
    }

    fn describe(&mut self, header: &Header, size: usize, cached: bool) {
        let took = Nanos(header.build_ms.saturating_mul(1_000_000));
        self.built = Some(EngineBuild { took, size: Bytes(size as u64), cached });
        let how = if cached { "taken from the cache" } else { "built" };
        self.remarks.push(format!("engine {how}, {} layers before fusion", header.layers));
        self.remarks.extend(header.remarks.iter().cloned());
        if let Some(ranges) = &self.options.shared {
            let words = |pick: fn(&ShapeRange) -> &[i64]| {
                shapes_text(ranges.iter().map(|range| (range.name.as_str(), pick(range))))
            };
            self.remarks.push(format!(
                "one engine serves {} to {}, its kernels chosen for {}: other points may run slower than with an \
                 engine of their own (profile = point)",
                words(|range| &range.min),
                words(|range| &range.max),
                words(|range| &range.opt)
            ));
        }
        if let Some(core) = self.options.dla_core {
            let fallback = if self.options.gpu_fallback { "run on the GPU" } else { "are not permitted" };
            self.remarks.push(format!("DLA core {core}; layers that it cannot run {fallback}"));
        }
        if let Some(bytes) = self.options.workspace_bytes {
            self.remarks.push(format!("scratch memory limited to {} MiB", bytes >> 20));
        }
        if let Some(level) = self.options.builder_level {
            self.remarks.push(format!("builder optimisation level {level}"));
        }
        if let Some(text) = self.spec.options.get("tactic_sources") {
            self.remarks.push(format!("tactic sources: {text}"));
        }
        if self.options.cuda_graph {
            self.remarks.push("compute is launched as one CUDA graph".into());
        }
    }

    fn session(mut self, loaded: Loaded, free_before: u64) -> Result<Box<dyn Engine>, BackendError> {
        let takes = |name: &String| loaded.tensors.iter().any(|tensor| tensor.input && tensor.name == *name);
        let (used, unused): (Vec<_>, Vec<_>) =
            input_shapes(self.spec).into_iter().partition(|(name, _)| takes(name));
        for (name, _) in &unused {
            self.remarks.push(format!("input {name} has no effect on the outputs: TensorRT removed it"));
        }
        let session = Session::new(loaded, &used, self.options.cuda_graph).map_err(at(Stage::Prepare))?;
        let free_after = self.tensorrt.free_memory().map_err(at(Stage::Prepare))?;
        if self.tensorrt.device().integrated {
            self.remarks.push(
                "device memory is the change of the board's free memory while the engine was loaded: other processes \
                 can blur it"
                    .into(),
            );
        }
        let held = free_before.saturating_sub(free_after);
        let engine = TensorRtEngine::new(session, self.spec.inputs.clone(), held, self.built, self.remarks)?;
        Ok(Box::new(engine))
    }
}

fn input_shapes(spec: &EngineSpec) -> Vec<(String, Vec<i64>)> {
    let shape = |shape: &[usize]| shape.iter().map(|&extent| extent as i64).collect();
    spec.inputs.iter().map(|input| (input.name.clone(), shape(&input.shape))).collect()
}

fn require_dla(network: &Network, core: u32) -> Result<(), BackendError> {
    let cores = network.dla_cores().map_err(at(Stage::Prepare))?;
    if core < cores {
        return Ok(());
    }
    let message = match cores {
        0 => "this board has no DLA core (Orin Nano, TX2 and Nano have none); leave dla_core out".to_owned(),
        _ => format!("there is no DLA core {core}; this board has {cores}, counted from 0"),
    };
    Err(BackendError::new(Stage::Prepare, Cause::BackendUnavailable, message))
}

/// One range per dynamic input, after holding the spec against what the model declares.
fn profile(
    declared: &[DeclaredInput],
    spec: &EngineSpec,
    shared: Option<&[ShapeRange]>,
) -> Result<Vec<ShapeRange>, BackendError> {
    let impossible = |message: String| BackendError::new(Stage::Prepare, Cause::ImpossibleShape, message);
    let asked = input_shapes(spec);
    let mut ranges = Vec::new();
    for input in declared {
        let Some((name, extents)) = asked.iter().find(|(name, _)| *name == input.name) else {
            return Err(impossible(format!(
                "the model has an input {} for which no shape was given",
                input.name
            )));
        };
        let fits = input.extents.len() == extents.len()
            && input
                .extents
                .iter()
                .zip(extents)
                .all(|(declared, extent)| *declared < 0 || declared == extent);
        if !fits {
            return Err(impossible(format!(
                "input {name} is declared as {:?} (-1 is free), so it cannot be {extents:?}",
                input.extents
            )));
        }
        if !input.extents.contains(&-1) {
            continue;
        }
        let own = || ShapeRange {
            name: name.clone(),
            min: extents.clone(),
            opt: extents.clone(),
            max: extents.clone(),
        };
        match shared {
            None => ranges.push(own()),
            Some(shared) => {
                let range = shared.iter().find(|range| range.name == *name).ok_or_else(|| {
                    impossible(format!("the shared profile says nothing of input {name}; add it to profile_min and profile_max"))
                })?;
                ranges.push(range.clone());
            }
        }
    }
    Ok(ranges)
}
