//! Builder, network, configuration, optimization profile, timing cache and host memory.

use super::{Dims, error, keep_logger, no_object, out_of_memory, version};
use crate::behaviour;
use crate::onnx::{Extent, Graph};
use crate::plan::{Plan, Range};
use crate::vtable::{Entry, behind, data, wrapped};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};

/// A network's data: filled by the parser.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) graph: Graph,
    tensors: Vec<*mut c_void>,
}

struct Tensor {
    name: CString,
    extents: Vec<i64>,
}

#[derive(Default)]
struct Config {
    settings: BTreeMap<String, i64>,
    profiles: Vec<*mut c_void>,
    cache: Option<*mut c_void>,
}

const CACHE_HEAD: &[u8] = b"FAKETIMINGS";

/// A builder.
///
/// # Safety
/// `logger` is an ILogger of `MAJOR` that lives for ever.
pub unsafe fn create_builder<const MAJOR: u32>(logger: *mut c_void, word: i32) -> *mut c_void {
    behaviour::strike("create");
    if let Some(address) = no_object() {
        return address;
    }
    // SAFETY: by the caller's promise.
    unsafe { keep_logger::<MAJOR>(logger) };
    if word != version(MAJOR) {
        error::<MAJOR>("the version asked for is not the library's");
        return std::ptr::null_mut();
    }
    // Slots: fast fp16, fast int8, DLA cores, configuration, network, profile, build.
    let [fp16, int8, cores, config, network, profile, build] = match MAJOR {
        8 => [4, 5, 7, 9, 11, 12, 17],
        10 => [2, 3, 5, 7, 8, 9, 14],
        _ => [0, 1, 3, 5, 6, 7, 11],
    };
    let mut filled = vec![
        (cores, dla_cores as Entry),
        (config, create_config::<MAJOR> as Entry),
        (network, create_network::<MAJOR> as Entry),
        (profile, create_profile::<MAJOR> as Entry),
        (build, build_serialized::<MAJOR> as Entry),
    ];
    if MAJOR < 11 {
        filled.extend([(fp16, fast_fp16 as Entry), (int8, fast_int8 as Entry)]);
    }
    wrapped((), &filled)
}

extern "C" fn dla_cores(_this: *mut c_void) -> i32 {
    behaviour::number("dla_cores", 0) as i32
}

extern "C" fn fast_fp16(_this: *mut c_void) -> bool {
    behaviour::number("slow_fp16", 0) == 0
}

extern "C" fn fast_int8(_this: *mut c_void) -> bool {
    behaviour::number("slow_int8", 0) == 0
}

extern "C" fn create_network<const MAJOR: u32>(_this: *mut c_void, flags: u32) -> *mut c_void {
    if flags != 1 {
        error::<MAJOR>("implicit batch is not supported");
        return std::ptr::null_mut();
    }
    let [layers, inputs, input] = if MAJOR == 8 { [17, 19, 20] } else { [12, 14, 15] };
    let filled = [
        (layers, network_layers as Entry),
        (inputs, network_inputs as Entry),
        (input, network_input as Entry),
    ];
    wrapped(Network::default(), &filled)
}

extern "C" fn network_layers(this: *mut c_void) -> i32 {
    // SAFETY: `this` is a network of this module.
    unsafe { data::<Network>(this) }.graph.nodes.len() as i32
}

extern "C" fn network_inputs(this: *mut c_void) -> i32 {
    // SAFETY: `this` is a network of this module.
    unsafe { data::<Network>(this) }.graph.inputs.len() as i32
}

extern "C" fn network_input(this: *mut c_void, index: i32) -> *mut c_void {
    // SAFETY: `this` is a network of this module.
    unsafe { data::<Network>(this) }.tensors.get(index as usize).copied().unwrap_or(std::ptr::null_mut())
}

impl Network {
    /// Takes over a parsed graph and makes its input tensors.
    pub(crate) fn fill<const MAJOR: u32>(&mut self, graph: Graph) {
        for input in &graph.inputs {
            let extent = |extent: &Extent| if let Extent::Fixed(size) = extent { *size } else { -1 };
            let name = CString::new(input.name.as_str()).unwrap_or_default();
            let tensor = Tensor { name, extents: input.shape.iter().map(extent).collect() };
            let dimensions = if MAJOR == 8 { dimensions::<i32> as Entry } else { dimensions::<i64> as Entry };
            self.tensors.push(wrapped(tensor, &[(3, tensor_name as Entry), (5, dimensions)]));
        }
        self.graph = graph;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for &tensor in &self.tensors {
            // SAFETY: wrapper slot 1 is the deleting destructor, and the network owns its tensors.
            unsafe {
                let delete: extern "C" fn(*mut c_void) = std::mem::transmute(super::slot(tensor, 1));
                delete(tensor);
            }
        }
    }
}

extern "C" fn tensor_name(this: *mut c_void) -> *const c_char {
    // SAFETY: `this` is a tensor of this module.
    unsafe { data::<Tensor>(this) }.name.as_ptr()
}

extern "C" fn dimensions<T: Copy + Into<i64> + TryFrom<i64> + Default>(this: *mut c_void) -> Dims<T> {
    // SAFETY: `this` is a tensor of this module.
    Dims::of(&unsafe { data::<Tensor>(this) }.extents)
}

extern "C" fn create_config<const MAJOR: u32>(_this: *mut c_void) -> *mut c_void {
    // Slots: clear flag, set flag, DLA core, device type, add profile, verbosity, tactic sources, create and set
    // timing cache.
    let [clear, set, core, device, profile, verbosity, tactics, create, cache] = match MAJOR {
        8 => [14, 15, 22, 24, 29, 31, 42, 44, 45],
        10 => [10, 11, 18, 20, 25, 27, 38, 40, 41],
        _ => [8, 9, 16, 18, 23, 25, 27, 29, 30],
    };
    let mut filled = vec![
        (clear, clear_flag as Entry),
        (set, set_flag::<MAJOR> as Entry),
        (core, set_core as Entry),
        (device, set_device as Entry),
        (profile, add_profile as Entry),
        (verbosity, set_verbosity as Entry),
        (tactics, set_tactics as Entry),
        (create, create_cache::<MAJOR> as Entry),
        (cache, set_cache as Entry),
    ];
    let minor = if MAJOR == 8 { version(8) / 100 % 10 } else { 99 };
    let (pool, level) = match MAJOR {
        8 => (47, 51),
        10 => (43, 47),
        _ => (32, 36),
    };
    if minor >= 4 {
        filled.push((pool, set_pool as Entry));
    }
    if minor >= 6 {
        filled.push((level, set_level as Entry));
    }
    if MAJOR == 8 {
        filled.push((10, set_workspace as Entry));
    }
    wrapped(Config::default(), &filled)
}

fn setting(this: *mut c_void, name: impl Into<String>, value: i64) {
    // SAFETY: `this` is a configuration of this module.
    unsafe { data::<Config>(this) }.settings.insert(name.into(), value);
}

extern "C" fn clear_flag(this: *mut c_void, flag: i32) {
    setting(this, format!("flag{flag}"), 0);
}

extern "C" fn set_flag<const MAJOR: u32>(this: *mut c_void, flag: i32) {
    assert!(!(MAJOR == 11 && (flag == 0 || flag == 1)), "TensorRT 11 has no FP16 and INT8 flags");
    setting(this, format!("flag{flag}"), 1);
}

extern "C" fn set_core(this: *mut c_void, core: i32) {
    setting(this, "dla_core", i64::from(core));
}

extern "C" fn set_device(this: *mut c_void, device: i32) {
    setting(this, "device", i64::from(device));
}

extern "C" fn set_verbosity(this: *mut c_void, verbosity: i32) {
    setting(this, "verbosity", i64::from(verbosity));
}

extern "C" fn set_tactics(this: *mut c_void, sources: u32) -> bool {
    setting(this, "tactics", i64::from(sources));
    sources < 1 << 5
}

extern "C" fn set_pool(this: *mut c_void, pool: i32, bytes: usize) {
    setting(this, format!("pool{pool}"), bytes as i64);
}

extern "C" fn set_workspace(this: *mut c_void, bytes: usize) {
    setting(this, "workspace", bytes as i64);
}

extern "C" fn set_level(this: *mut c_void, level: i32) {
    setting(this, "level", i64::from(level));
}

extern "C" fn create_profile<const MAJOR: u32>(_this: *mut c_void) -> *mut c_void {
    let valid = if MAJOR == 11 { 7 } else { 9 };
    let set = if MAJOR == 8 { set_by_value as Entry } else { set_by_reference as Entry };
    wrapped(Vec::<Range>::new(), &[(2, set), (valid, profile_valid as Entry)])
}

extern "C" fn set_by_value(this: *mut c_void, name: *const c_char, selector: i32, dims: Dims<i32>) -> bool {
    set_range(this, name, selector, dims.list())
}

extern "C" fn set_by_reference(
    this: *mut c_void,
    name: *const c_char,
    selector: i32,
    dims: &Dims<i64>,
) -> bool {
    set_range(this, name, selector, dims.list())
}

fn set_range(this: *mut c_void, name: *const c_char, selector: i32, extents: Vec<i64>) -> bool {
    // SAFETY: `this` is a profile of this module, and the name is terminated.
    let (ranges, name) = unsafe { (data::<Vec<Range>>(this), CStr::from_ptr(name)) };
    let name = name.to_string_lossy().into_owned();
    if !ranges.iter().any(|range| range.name == name) {
        ranges.push(Range { name: name.clone(), ..Range::default() });
    }
    if let Some(range) = ranges.iter_mut().find(|range| range.name == name) {
        range.extents[selector as usize] = extents;
    }
    true
}

extern "C" fn profile_valid(this: *mut c_void) -> bool {
    // SAFETY: `this` is a profile of this module.
    let ranges = unsafe { data::<Vec<Range>>(this) };
    ranges.iter().all(|range| {
        let [min, opt, max] = &range.extents;
        let ordered = min.iter().zip(opt).zip(max).all(|((min, opt), max)| min <= opt && opt <= max);
        min.len() == opt.len() && opt.len() == max.len() && ordered
    })
}

extern "C" fn add_profile(this: *mut c_void, profile: *mut c_void) -> i32 {
    // SAFETY: `this` is a configuration of this module.
    let config = unsafe { data::<Config>(this) };
    config.profiles.push(profile);
    config.profiles.len() as i32 - 1
}

extern "C" fn create_cache<const MAJOR: u32>(
    _this: *mut c_void,
    bytes: *const u8,
    size: usize,
) -> *mut c_void {
    let contents = if size == 0 {
        CACHE_HEAD.to_vec()
    } else {
        // SAFETY: the caller's block has that size.
        unsafe { std::slice::from_raw_parts(bytes, size) }.to_vec()
    };
    if !contents.starts_with(CACHE_HEAD) {
        error::<MAJOR>("Timing cache header does not match");
        return std::ptr::null_mut();
    }
    wrapped(contents, &[(2, serialize_cache as Entry)])
}

extern "C" fn set_cache(this: *mut c_void, cache: *mut c_void, _ignore: bool) -> bool {
    // SAFETY: `this` is a configuration of this module.
    unsafe { data::<Config>(this) }.cache = Some(cache);
    true
}

extern "C" fn serialize_cache(this: *mut c_void) -> *mut c_void {
    // SAFETY: `this` is a timing cache of this module.
    host_memory(unsafe { data::<Vec<u8>>(this) }.clone())
}

fn host_memory(bytes: Vec<u8>) -> *mut c_void {
    wrapped(bytes, &[(2, memory_data as Entry), (3, memory_size as Entry)])
}

extern "C" fn memory_data(this: *mut c_void) -> *const u8 {
    // SAFETY: `this` is host memory of this module.
    unsafe { data::<Vec<u8>>(this) }.as_ptr()
}

extern "C" fn memory_size(this: *mut c_void) -> usize {
    // SAFETY: `this` is host memory of this module.
    unsafe { data::<Vec<u8>>(this) }.len()
}

extern "C" fn build_serialized<const MAJOR: u32>(
    _this: *mut c_void,
    network: *mut c_void,
    config: *mut c_void,
) -> *mut c_void {
    // SAFETY: both are wrappers of this module.
    let (network, config) = unsafe { (behind::<Network>(network), behind::<Config>(config)) };
    // SAFETY: the configuration's profiles are wrappers of this module.
    let ranges: Vec<Range> = config
        .profiles
        .iter()
        .flat_map(|&profile| unsafe { behind::<Vec<Range>>(profile) }.clone())
        .collect();
    behaviour::face(ranges.iter().flat_map(|range| range.extents.concat()));
    behaviour::strike("build");
    if out_of_memory::<MAJOR>("build") {
        return std::ptr::null_mut();
    }
    if behaviour::is("fail", "build") {
        error::<MAJOR>(
            "10: [optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error (no implementation)",
        );
        return std::ptr::null_mut();
    }
    let longest = behaviour::number("longest", u64::MAX);
    let too_long = |extent: &i64| u64::try_from(*extent).is_ok_and(|extent| extent > longest);
    if ranges.iter().any(|range| range.extents.concat().iter().any(too_long)) {
        error::<MAJOR>(
            "4: [shapeMachine.cpp::executeContinuation::905] Error Code 4: Internal Error (slice is out of range)",
        );
        return std::ptr::null_mut();
    }
    let dynamic = |extent: &Extent| matches!(extent, Extent::Symbol(_));
    for input in &network.graph.inputs {
        let missing = !ranges.iter().any(|range| range.name == input.name);
        if missing && input.shape.iter().any(dynamic) {
            error::<MAJOR>(&format!(
                "4: [network.cpp::validate::3040] Error Code 4: {}: dynamic input is missing dimensions in profile 0",
                input.name
            ));
            return std::ptr::null_mut();
        }
    }
    let mut asked: Vec<String> =
        config.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    asked.extend(ranges.iter().map(|range| format!("{}={:?}", range.name, range.extents)));
    behaviour::note(&format!("build {}", asked.join(" ")));
    if let Some(cache) = config.cache {
        // SAFETY: the cache is a wrapper of this module.
        unsafe { behind::<Vec<u8>>(cache) }.push(b'+');
    }
    let detailed = config.settings.get("verbosity") == Some(&2);
    let plan = Plan { version: version(MAJOR), detailed, graph: network.graph.clone(), ranges };
    host_memory(plan.write())
}
