//! From an ONNX file to a serialized engine.

use crate::constants::{
    BF16, DETAILED, DLA, FP16, GPU_FALLBACK, INT8, MIN, NETWORK_FLAG, TACTIC_SOURCES,
    TACTIC_SOURCES_GONE_IN_11, TF32, TF32_IN_8, WARNING, WORKSPACE,
};
use crate::dims;
use crate::dl::text;
use crate::error::{ParserError, TrtError};
use crate::library::Library;
use crate::object::{Object, Release, call};
use crate::slots::Method;
use crate::tensorrt::TensorRt;
use crate::version::{Major, Version};
use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// Sizes that an input may take in one engine, and the one that kernels are chosen for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeRange {
    /// The input.
    pub name: String,
    /// Least extents.
    pub min: Vec<i64>,
    /// The extents that kernels are chosen for.
    pub opt: Vec<i64>,
    /// Greatest extents.
    pub max: Vec<i64>,
}

/// Reduced-precision kernels that the builder may choose beside 32-bit ones. TensorRT 11 takes the
/// precision from the model: there only `tf32` has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kernels {
    /// TF32 on or off; `None` leaves TensorRT's default, which is on.
    pub tf32: Option<bool>,
    /// 16-bit floats.
    pub fp16: bool,
    /// bfloat16, TensorRT 10.
    pub bf16: bool,
    /// 8-bit integers, with the scales that the model's own QuantizeLinear nodes give.
    pub int8: bool,
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildRequest {
    /// Kernels allowed beside 32-bit ones.
    pub kernels: Kernels,
    /// Run on this DLA core.
    pub dla_core: Option<u32>,
    /// With a DLA core: layers that it cannot run go to the GPU instead of failing the build.
    pub gpu_fallback: bool,
    /// Most scratch memory in bytes; `None` leaves TensorRT's default, all of the device's memory.
    pub workspace: Option<u64>,
    /// Builder optimisation level, 0 to 5; `None` leaves TensorRT's default.
    pub level: Option<i32>,
    /// What the builder may take tactics from, a bit for each of [`TACTIC_SOURCES`](crate::TACTIC_SOURCES); `None`
    /// leaves TensorRT's default.
    pub tactics: Option<u32>,
    /// Keep layer details in the engine, so that a profile can name layer types.
    pub detailed: bool,
    /// Contents of a timing cache; empty starts one; `None` uses none.
    pub timing_cache: Option<Vec<u8>>,
    /// One range per dynamic input.
    pub shapes: Vec<ShapeRange>,
}

/// A finished build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The serialized engine.
    pub plan: Vec<u8>,
    /// The timing cache afterwards, where one was asked for.
    pub timing_cache: Option<Vec<u8>>,
    /// Layers in the network before fusion.
    pub layers: u32,
    /// What a reader should know, e.g. that a timing cache was not usable.
    pub remarks: Vec<String>,
}

/// An input as the model declares it; -1 marks a dynamic axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredInput {
    /// The input's name.
    pub name: String,
    /// Extents.
    pub extents: Vec<i64>,
}

/// A parsed model, not yet built.
pub struct Network {
    // Dropped in this order: what uses the builder goes first.
    _parser: Object,
    network: Object,
    builder: Object,
    owner: TensorRt,
    /// The model's inputs.
    pub inputs: Vec<DeclaredInput>,
}

impl TensorRt {
    /// Parses the ONNX file at `path`.
    ///
    /// # Errors
    /// [`TrtError::Parse`] with the parser's own errors, or what keeps TensorRT from starting.
    pub fn parse(&self, path: &Path) -> Result<Network, TrtError> {
        let builder = self.builder()?;
        // SAFETY: declared `INetworkDefinition* createNetworkV2(uint32_t)`; the caller owns the result.
        let network = unsafe {
            let address =
                call!(builder, Method::BuilderCreateNetwork, fn(u32) -> *mut c_void, 1 << NETWORK_FLAG);
            Object::new(&self.library, address, "network", Release::Delete)?
        };
        let parser = self.parser(&network)?;
        let file = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| TrtError::Mismatch(format!("the path {} holds a zero byte", path.display())))?;
        // SAFETY: declared `bool parseFromFile(char const*, int)`; the path outlives the call.
        let parsed = unsafe {
            call!(parser, Method::ParserParseFile, fn(*const c_char, i32) -> u8, file.as_ptr(), WARNING)
        };
        if parsed == 0 {
            return Err(TrtError::Parse {
                path: path.display().to_string(),
                errors: parser_errors(&parser)?,
            });
        }
        let inputs = declared_inputs(&network)?;
        Ok(Network { _parser: parser, network, builder, owner: self.clone(), inputs })
    }
}

impl Network {
    /// DLA cores on this board.
    ///
    /// # Errors
    /// None of TensorRT's own; an unknown interface.
    pub fn dla_cores(&self) -> Result<u32, TrtError> {
        // SAFETY: declared `int32_t getNbDLACores() const`.
        let cores = unsafe { call!(self.builder, Method::BuilderDlaCores, fn() -> i32) };
        Ok(u32::try_from(cores).unwrap_or(0))
    }

    /// Whether the GPU is faster in 16-bit floats and in 8-bit integers than in 32-bit floats, by
    /// TensorRT's own word. `None` in TensorRT 11, which no longer says.
    ///
    /// # Errors
    /// As [`Network::dla_cores`].
    pub fn fast_kernels(&self) -> Result<Option<(bool, bool)>, TrtError> {
        if self.owner.version().major == Major::V11 {
            return Ok(None);
        }
        // SAFETY: declared `bool platformHasFastFp16() const` and `bool platformHasFastInt8() const`.
        let (fp16, int8) = unsafe {
            (
                call!(self.builder, Method::BuilderFastFp16, fn() -> u8),
                call!(self.builder, Method::BuilderFastInt8, fn() -> u8),
            )
        };
        Ok(Some((fp16 != 0, int8 != 0)))
    }

    /// Builds the engine. Takes seconds to many minutes.
    ///
    /// # Errors
    /// What TensorRT refused, with its own messages.
    pub fn build(&self, request: &BuildRequest) -> Result<Built, TrtError> {
        let library = &self.owner.library;
        let mut remarks = Vec::new();
        // SAFETY: declared `IBuilderConfig* createBuilderConfig()`; the caller owns the result.
        let config = unsafe {
            let address = call!(self.builder, Method::BuilderCreateConfig, fn() -> *mut c_void);
            Object::new(library, address, "builder configuration", Release::Delete)?
        };
        configure(&config, request)?;
        // Owned by the builder, like every profile it creates.
        let _profile = self.add_profile(&config, &request.shapes)?;
        let cache = match &request.timing_cache {
            Some(bytes) => Some(timing_cache(&config, bytes, &mut remarks)?),
            None => None,
        };
        library.logger.clear();
        // SAFETY: declared `IHostMemory* buildSerializedNetwork(INetworkDefinition&, IBuilderConfig&)`; the
        // caller owns the result.
        let plan = unsafe {
            let address = call!(
                self.builder,
                Method::BuilderBuild,
                fn(*mut c_void, *mut c_void) -> *mut c_void,
                self.network.address(),
                config.address()
            );
            Object::new(library, address, "engine from this model", Release::Delete)?
        };
        let timing_cache = match cache {
            Some(cache) => Some(serialize(&cache)?),
            None => None,
        };
        // SAFETY: declared `int32_t getNbLayers() const`.
        let layers = unsafe { call!(self.network, Method::NetworkLayers, fn() -> i32) };
        Ok(Built { plan: host_bytes(&plan)?, timing_cache, layers: layers.max(0) as u32, remarks })
    }

    fn add_profile(&self, config: &Object, shapes: &[ShapeRange]) -> Result<Option<Object>, TrtError> {
        if shapes.is_empty() {
            return Ok(None);
        }
        let library = &self.owner.library;
        // SAFETY: declared `IOptimizationProfile* createOptimizationProfile()`; the builder owns the result.
        let profile = unsafe {
            let address = call!(self.builder, Method::BuilderCreateProfile, fn() -> *mut c_void);
            Object::new(library, address, "optimization profile", Release::Borrowed)?
        };
        let refused = |what: String| TrtError::Refused { what, log: library.logger.recent() };
        for range in shapes {
            for (selector, extents) in [&range.min, &range.opt, &range.max].into_iter().enumerate() {
                if !dims::set_profile(&profile, &range.name, MIN + selector as i32, extents)? {
                    return Err(refused(format!("shape {extents:?} for input {}", range.name)));
                }
            }
        }
        // SAFETY: declared `bool isValid() const`.
        let valid = unsafe { call!(profile, Method::ProfileIsValid, fn() -> u8) };
        // SAFETY: declared `int32_t addOptimizationProfile(IOptimizationProfile const*)`.
        let index =
            unsafe { call!(config, Method::ConfigAddProfile, fn(*mut c_void) -> i32, profile.address()) };
        if valid == 0 || index < 0 {
            return Err(refused("the shapes of the optimization profile".into()));
        }
        Ok(Some(profile))
    }
}

fn configure(config: &Object, request: &BuildRequest) -> Result<(), TrtError> {
    let major = config.library().version.major;
    let flag = |set: bool, flag: i32| -> Result<(), TrtError> {
        let method = if set { Method::ConfigSetFlag } else { Method::ConfigClearFlag };
        // SAFETY: declared `void setFlag(BuilderFlag)` and `void clearFlag(BuilderFlag)`, an int32_t enum.
        unsafe { call!(config, method, fn(i32) -> (), flag) };
        Ok(())
    };
    let tf32 = if major == Major::V8 { TF32_IN_8 } else { TF32 };
    if let Some(on) = request.kernels.tf32 {
        flag(on, tf32)?;
    }
    for (wanted, number) in
        [(request.kernels.fp16, FP16), (request.kernels.int8, INT8), (request.kernels.bf16, BF16)]
    {
        if wanted {
            flag(true, number)?;
        }
    }
    if let Some(core) = request.dla_core {
        // SAFETY: declared `void setDefaultDeviceType(DeviceType)` and `void setDLACore(int32_t)`.
        unsafe {
            call!(config, Method::ConfigSetDeviceType, fn(i32) -> (), DLA);
            call!(config, Method::ConfigSetDlaCore, fn(i32) -> (), core as i32);
        }
        if request.gpu_fallback {
            flag(true, GPU_FALLBACK)?;
        }
    }
    if let Some(bytes) = request.workspace {
        set_workspace(config, bytes as usize)?;
    }
    if let Some(level) = request.level {
        // SAFETY: declared `void setBuilderOptimizationLevel(int32_t)`.
        unsafe { call!(config, Method::ConfigSetLevel, fn(i32) -> (), level) };
    }
    if let Some(sources) = request.tactics {
        let sources = tactics_of(sources, config.library().version)?;
        // SAFETY: declared `bool setTacticSources(TacticSources)`, a uint32_t.
        let taken = unsafe { call!(config, Method::ConfigSetTactics, fn(u32) -> u8, sources) };
        if taken == 0 {
            let what = format!("tactic sources {sources:#b}");
            return Err(TrtError::Refused { what, log: config.library().logger.recent() });
        }
    }
    if request.detailed {
        // SAFETY: declared `void setProfilingVerbosity(ProfilingVerbosity)`.
        unsafe { call!(config, Method::ConfigSetVerbosity, fn(i32) -> (), DETAILED) };
    }
    Ok(())
}

/// The mask as `version` numbers its sources.
fn tactics_of(sources: u32, version: Version) -> Result<u32, TrtError> {
    if version.major != Major::V11 {
        return Ok(sources);
    }
    let gone = TACTIC_SOURCES.iter().take(TACTIC_SOURCES_GONE_IN_11);
    match gone.enumerate().find(|(place, _)| sources & 1 << place != 0) {
        Some((_, name)) => Err(TrtError::NotInVersion { what: format!("tactic source {name}"), version }),
        None => Ok(sources >> TACTIC_SOURCES_GONE_IN_11),
    }
}

fn set_workspace(config: &Object, bytes: usize) -> Result<(), TrtError> {
    let pools = crate::slots::lookup(Method::ConfigSetPoolLimit, config.library().version).is_some();
    // SAFETY: declared `void setMemoryPoolLimit(MemoryPoolType, size_t)`; before 8.4
    // `void setMaxWorkspaceSize(size_t)`.
    unsafe {
        if pools {
            call!(config, Method::ConfigSetPoolLimit, fn(i32, usize) -> (), WORKSPACE, bytes);
        } else {
            call!(config, Method::ConfigSetWorkspace, fn(usize) -> (), bytes);
        }
    }
    Ok(())
}

/// Hands `bytes` to the configuration as its timing cache; starts afresh when TensorRT does not take them.
fn timing_cache(config: &Object, bytes: &[u8], remarks: &mut Vec<String>) -> Result<Object, TrtError> {
    let create = |bytes: &[u8]| -> Result<Object, TrtError> {
        let method = Method::ConfigCreateTimings;
        // SAFETY: declared `ITimingCache* createTimingCache(void const*, size_t) const`; TensorRT copies the
        // bytes, and the caller owns the result.
        unsafe {
            let address = call!(
                config,
                method,
                fn(*const c_void, usize) -> *mut c_void,
                bytes.as_ptr().cast(),
                bytes.len()
            );
            Object::new(config.library(), address, "timing cache", Release::Delete)
        }
    };
    let usable = create(bytes).and_then(|cache| set_timing_cache(config, &cache).map(|taken| (taken, cache)));
    match usable {
        Ok((true, cache)) => Ok(cache),
        _ if bytes.is_empty() => {
            Err(TrtError::Refused { what: "an empty timing cache".into(), log: Vec::new() })
        }
        _ => {
            remarks
                .push("the stored timing cache does not suit this TensorRT and GPU: started afresh".into());
            let cache = create(&[])?;
            set_timing_cache(config, &cache)?;
            Ok(cache)
        }
    }
}

fn set_timing_cache(config: &Object, cache: &Object) -> Result<bool, TrtError> {
    let method = Method::ConfigSetTimings;
    // SAFETY: declared `bool setTimingCache(ITimingCache const&, bool)`; the cache outlives the build.
    unsafe { Ok(call!(config, method, fn(*mut c_void, u8) -> u8, cache.address(), 0) != 0) }
}

fn serialize(cache: &Object) -> Result<Vec<u8>, TrtError> {
    // SAFETY: declared `IHostMemory* serialize() const`; the caller owns the result.
    let memory = unsafe {
        let address = call!(cache, Method::TimingsSerialize, fn() -> *mut c_void);
        Object::new(cache.library(), address, "serialized timing cache", Release::Delete)?
    };
    host_bytes(&memory)
}

fn host_bytes(memory: &Object) -> Result<Vec<u8>, TrtError> {
    // SAFETY: declared `void* data() const` and `size_t size() const`; the block is `size` bytes long and
    // lives as long as the object.
    unsafe {
        let data = call!(memory, Method::MemoryData, fn() -> *const u8);
        let size = call!(memory, Method::MemorySize, fn() -> usize);
        if data.is_null() {
            return Ok(Vec::new());
        }
        Ok(std::slice::from_raw_parts(data, size).to_vec())
    }
}

fn declared_inputs(network: &Object) -> Result<Vec<DeclaredInput>, TrtError> {
    let library: &Rc<Library> = network.library();
    // SAFETY: declared `int32_t getNbInputs() const`.
    let count = unsafe { call!(network, Method::NetworkInputs, fn() -> i32) };
    (0..count)
        .map(|index| {
            // SAFETY: declared `ITensor* getInput(int32_t) const`; the network owns the tensor.
            let tensor = unsafe {
                let address = call!(network, Method::NetworkInput, fn(i32) -> *mut c_void, index);
                Object::new(library, address, "network input", Release::Borrowed)?
            };
            // SAFETY: declared `char const* getName() const`; the tensor owns the string.
            let name = unsafe { text(call!(tensor, Method::TensorName, fn() -> *const c_char)) };
            let extents = dims::get(&tensor, Method::TensorDimensions)?.unwrap_or_default();
            Ok(DeclaredInput { name: name.unwrap_or_default(), extents })
        })
        .collect()
}

fn parser_errors(parser: &Object) -> Result<Vec<ParserError>, TrtError> {
    // SAFETY: declared `int getNbErrors() const`.
    let count = unsafe { call!(parser, Method::ParserErrors, fn() -> i32) };
    let named = parser.library().version.major != Major::V8;
    (0..count)
        .map(|index| {
            // SAFETY: declared `IParserError const* getError(int) const`; the parser owns the error.
            let error = unsafe {
                let address = call!(parser, Method::ParserError, fn(i32) -> *mut c_void, index);
                Object::new(parser.library(), address, "parser error", Release::Borrowed)?
            };
            // SAFETY: `code` and `node` are declared to return an int, the others `char const*`; the error
            // owns its strings.
            unsafe {
                let words = |method| -> Result<Option<String>, TrtError> {
                    Ok(text(call!(error, method, fn() -> *const c_char)))
                };
                Ok(ParserError {
                    code: call!(error, Method::ErrorCode, fn() -> i32),
                    node: call!(error, Method::ErrorNode, fn() -> i32),
                    node_name: if named { words(Method::ErrorNodeName)? } else { None },
                    operator: if named { words(Method::ErrorNodeOperator)? } else { None },
                    reason: words(Method::ErrorDescription)?.unwrap_or_default(),
                })
            }
        })
        .collect()
}
