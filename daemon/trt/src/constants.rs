//! TensorRT's enumerators and sizes that clipmark relies on, each with its C++ expression: `daemon/trt/abi`
//! compares them with a compiler's own answer.

/// `BuilderFlag::kFP16`, TensorRT 8 and 10.
pub(crate) const FP16: i32 = 0;
/// `BuilderFlag::kINT8`, TensorRT 8 and 10.
pub(crate) const INT8: i32 = 1;
/// `BuilderFlag::kGPU_FALLBACK`.
pub(crate) const GPU_FALLBACK: i32 = 3;
/// `BuilderFlag::kTF32` in TensorRT 8.
pub(crate) const TF32_IN_8: i32 = 7;
/// `BuilderFlag::kTF32` from TensorRT 10 on.
pub(crate) const TF32: i32 = 6;
/// `BuilderFlag::kBF16`, TensorRT 10.
pub(crate) const BF16: i32 = 17;
/// Bit 0 of the network's flags: explicit batch in 8, without effect in 10, strongly typed in 11.
pub(crate) const NETWORK_FLAG: i32 = 0;
/// `ILogger::Severity::kWARNING`.
pub(crate) const WARNING: i32 = 2;
/// `DeviceType::kDLA`.
pub(crate) const DLA: i32 = 1;
/// `MemoryPoolType::kWORKSPACE`, TensorRT 8.4 and later.
pub(crate) const WORKSPACE: i32 = 0;
/// Libraries and kinds of kernels that the builder may take tactics from, by clipmark's names: the place of each
/// is its `TacticSource` in 8 and 10, a bit of the mask. The fourth came with TensorRT 8.4, the fifth with 8.5; 11 has
/// these two alone and counts them from 0.
pub const TACTIC_SOURCES: [&str; 5] =
    ["cublas", "cublas_lt", "cudnn", "edge_mask_convolutions", "jit_convolutions"];
/// How many of [`TACTIC_SOURCES`] TensorRT 11 no longer has.
pub(crate) const TACTIC_SOURCES_GONE_IN_11: usize = 3;
/// `ProfilingVerbosity::kDETAILED`; in 8.0 and 8.1 the same number is kVERBOSE.
pub(crate) const DETAILED: i32 = 2;
/// `TensorIOMode::kINPUT`, TensorRT 8.5 and later.
pub(crate) const INPUT: i32 = 1;
/// `LayerInformationFormat::kJSON`, TensorRT 8.2 and later.
pub(crate) const JSON: i32 = 1;
/// `ExecutionContextAllocationStrategy::kSTATIC`, from TensorRT 10 on.
pub(crate) const STATIC: i32 = 0;
/// `OptProfileSelector::kMIN`; kOPT and kMAX follow.
pub(crate) const MIN: i32 = 0;
/// `nvonnxparser::ErrorCode::kUNSUPPORTED_GRAPH`, the first of those that say "not supported".
pub(crate) const UNSUPPORTED_GRAPH: i32 = 7;
/// `nvonnxparser::ErrorCode::kUNSUPPORTED_NODE_SHAPE`, the last of them, from TensorRT 10 on.
pub(crate) const UNSUPPORTED_NODE_SHAPE: i32 = 13;

/// `nvinfer1::DataType`, by clipmark's order of element types.
pub(crate) const DATA_TYPES: [i32; 8] = [0, 1, 2, 3, 4, 5, 7, 8];

/// A number that C++ computes from `expression` inside namespace nvinfer1.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    /// The C++ expression.
    pub expression: &'static str,
    /// Its value in 8, 10 and 11; `None` where the major does not have it, or only some of its minors do.
    pub values: [Option<i32>; 3],
}

const fn everywhere(expression: &'static str, value: i32) -> Constant {
    Constant { expression, values: [Some(value); 3] }
}

const fn each(expression: &'static str, values: [Option<i32>; 3]) -> Constant {
    Constant { expression, values }
}

const fn since_10(expression: &'static str, value: i32) -> Constant {
    each(expression, [None, Some(value), Some(value)])
}

/// Every enumerator and size that the code relies on.
pub const CONSTANTS: &[Constant] = &[
    each("BuilderFlag::kFP16", [Some(FP16), Some(FP16), None]),
    each("BuilderFlag::kINT8", [Some(INT8), Some(INT8), None]),
    each("BuilderFlag::kBF16", [None, Some(BF16), None]),
    everywhere("BuilderFlag::kGPU_FALLBACK", GPU_FALLBACK),
    each("BuilderFlag::kTF32", [Some(TF32_IN_8), Some(TF32), Some(TF32)]),
    each("NetworkDefinitionCreationFlag::kEXPLICIT_BATCH", [Some(NETWORK_FLAG), None, None]),
    each("NetworkDefinitionCreationFlag::kSTRONGLY_TYPED", [None, None, Some(NETWORK_FLAG)]),
    everywhere("ILogger::Severity::kWARNING", WARNING),
    everywhere("DeviceType::kDLA", DLA),
    since_10("MemoryPoolType::kWORKSPACE", WORKSPACE),
    each("TacticSource::kCUBLAS", [Some(0), Some(0), None]),
    each("TacticSource::kCUBLAS_LT", [Some(1), Some(1), None]),
    each("TacticSource::kCUDNN", [None, Some(2), None]),
    each("TacticSource::kEDGE_MASK_CONVOLUTIONS", [None, Some(3), Some(0)]),
    each("TacticSource::kJIT_CONVOLUTIONS", [None, Some(4), Some(1)]),
    since_10("ProfilingVerbosity::kDETAILED", DETAILED),
    since_10("TensorIOMode::kINPUT", INPUT),
    since_10("LayerInformationFormat::kJSON", JSON),
    since_10("ExecutionContextAllocationStrategy::kSTATIC", STATIC),
    everywhere("OptProfileSelector::kMIN", MIN),
    everywhere("OptProfileSelector::kOPT", MIN + 1),
    everywhere("OptProfileSelector::kMAX", MIN + 2),
    everywhere("nvonnxparser::ErrorCode::kUNSUPPORTED_GRAPH", UNSUPPORTED_GRAPH),
    since_10("nvonnxparser::ErrorCode::kUNSUPPORTED_NODE_SHAPE", UNSUPPORTED_NODE_SHAPE),
    everywhere("DataType::kFLOAT", DATA_TYPES[0]),
    everywhere("DataType::kHALF", DATA_TYPES[1]),
    everywhere("DataType::kINT8", DATA_TYPES[2]),
    everywhere("DataType::kINT32", DATA_TYPES[3]),
    everywhere("DataType::kBOOL", DATA_TYPES[4]),
    since_10("DataType::kUINT8", DATA_TYPES[5]),
    since_10("DataType::kBF16", DATA_TYPES[6]),
    since_10("DataType::kINT64", DATA_TYPES[7]),
    each("sizeof(Dims)", [Some(36), Some(72), Some(72)]),
    // Wrappers: a table pointer, then `mImpl`.
    everywhere("sizeof(IHostMemory)", 16),
    everywhere("sizeof(IExecutionContext)", 16),
    // Functions that return nothing wider must not be called as if they did.
    everywhere("sizeof(bool)", 1),
    everywhere("sizeof(BuilderFlag)", 4),
    everywhere("sizeof(DataType)", 4),
];
