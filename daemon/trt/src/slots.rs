//! The one table of C++ virtual functions that clipmark calls, with their slot in each TensorRT major.
//!
//! Terms: a *slot* is an index into a virtual function table as the Itanium C++ ABI lays it out (a virtual
//! destructor takes two). Classes whose name starts with `V` are TensorRT's implementation interfaces:
//! the object behind the wrapper's `mImpl`. Classes that start with `I` are called directly.
//!
//! Within a major TensorRT only appends functions, so a slot holds for every minor from the one that
//! introduced it. Source: the class declarations in TensorRT's public headers NvInferImpl.h and
//! NvOnnxParser.h; `daemon/trt/abi` compares this table with a compiler's own answer.

use crate::version::{Major, Version};

/// Where a function sits in one major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Index into the virtual function table.
    pub index: u16,
    /// The first minor that has it.
    pub since: u32,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The function, as the code names it.
    pub method: Method,
    /// The C++ class that declares it.
    pub class: &'static str,
    /// Its C++ name.
    pub name: &'static str,
    /// Its slot in 8, 10 and 11; `None` where the major does not have it.
    pub slots: [Option<Slot>; 3],
}

impl Entry {
    /// Whether it is called on the wrapper itself rather than on the implementation behind it.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.class.starts_with('I')
    }
}

/// In the major from its first release on.
const fn at(index: u16) -> Option<Slot> {
    Some(Slot { index, since: 0 })
}

/// In the major from minor `since` on.
const fn from(since: u32, index: u16) -> Option<Slot> {
    Some(Slot { index, since })
}

/// Not in the major, or not used there.
const NO: Option<Slot> = None;

macro_rules! table {
    ($($method:ident = $class:literal :: $name:literal [$v8:expr, $v10:expr, $v11:expr];)*) => {
        /// A virtual function that clipmark calls.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is named after its class and function in the table")]
        pub enum Method {
            $($method,)*
        }

        /// Every function, in the order of [`Method`].
        pub const TABLE: &[Entry] = &[
            $(Entry {
                method: Method::$method,
                class: $class,
                name: $name,
                slots: [$v8, $v10, $v11],
            },)*
        ];
    };
}

table! {
    //                                                                      8             10      11
    RuntimeDeserialize    = "VRuntime"::"deserializeCudaEngine"            [at(2),        at(3),  at(3)];
    RuntimeSetDlaCore     = "VRuntime"::"setDLACore"                       [at(3),        at(5),  at(4)];

    BuilderDlaCores       = "VBuilder"::"getNbDLACores"                    [at(7),        at(5),  at(3)];
    BuilderFastFp16       = "VBuilder"::"platformHasFastFp16"              [at(4),        at(2),  NO];
    BuilderFastInt8       = "VBuilder"::"platformHasFastInt8"              [at(5),        at(3),  NO];
    BuilderCreateConfig   = "VBuilder"::"createBuilderConfig"              [at(9),        at(7),  at(5)];
    BuilderCreateNetwork  = "VBuilder"::"createNetworkV2"                  [at(11),       at(8),  at(6)];
    BuilderCreateProfile  = "VBuilder"::"createOptimizationProfile"        [at(12),       at(9),  at(7)];
    BuilderBuild          = "VBuilder"::"buildSerializedNetwork"           [at(17),       at(14), at(11)];

    ConfigClearFlag       = "VBuilderConfig"::"clearFlag"                  [at(14),       at(10), at(8)];
    ConfigSetFlag         = "VBuilderConfig"::"setFlag"                    [at(15),       at(11), at(9)];
    ConfigSetDlaCore      = "VBuilderConfig"::"setDLACore"                 [at(22),       at(18), at(16)];
    ConfigSetDeviceType   = "VBuilderConfig"::"setDefaultDeviceType"       [at(24),       at(20), at(18)];
    ConfigAddProfile      = "VBuilderConfig"::"addOptimizationProfile"     [at(29),       at(25), at(23)];
    ConfigSetVerbosity    = "VBuilderConfig"::"setProfilingVerbosity"      [at(31),       at(27), at(25)];
    ConfigSetTactics      = "VBuilderConfig"::"setTacticSources"           [at(42),       at(38), at(27)];
    ConfigCreateTimings   = "VBuilderConfig"::"createTimingCache"          [at(44),       at(40), at(29)];
    ConfigSetTimings      = "VBuilderConfig"::"setTimingCache"             [at(45),       at(41), at(30)];
    ConfigSetWorkspace    = "VBuilderConfig"::"setMaxWorkspaceSize"        [at(10),       NO,     NO];
    ConfigSetPoolLimit    = "VBuilderConfig"::"setMemoryPoolLimit"         [from(4, 47),  at(43), at(32)];
    ConfigSetLevel        = "VBuilderConfig"::"setBuilderOptimizationLevel"[from(6, 51),  at(47), at(36)];
    TimingsSerialize      = "VTimingCache"::"serialize"                    [at(2),        at(2),  at(2)];

    NetworkInputs         = "VNetworkDefinition"::"getNbInputs"            [at(19),       at(14), at(14)];
    NetworkInput          = "VNetworkDefinition"::"getInput"               [at(20),       at(15), at(15)];
    NetworkLayers         = "VNetworkDefinition"::"getNbLayers"            [at(17),       at(12), at(12)];

    TensorName            = "VTensor"::"getName"                           [at(3),        at(3),  at(3)];
    TensorDimensions      = "VTensor"::"getDimensions"                     [at(5),        at(5),  at(5)];

    ProfileSetDimensions  = "VOptimizationProfile"::"setDimensions"        [at(2),        at(2),  at(2)];
    ProfileIsValid        = "VOptimizationProfile"::"isValid"              [at(9),        at(9),  at(7)];

    MemoryData            = "VHostMemory"::"data"                          [at(2),        at(2),  at(2)];
    MemorySize            = "VHostMemory"::"size"                          [at(3),        at(3),  at(3)];

    EngineCreateContext   = "VCudaEngine"::"createExecutionContext"        [at(11),       at(5),  at(5)];
    EngineLayers          = "VCudaEngine"::"getNbLayers"                   [at(9),        at(3),  at(3)];
    EngineCreateInspector = "VCudaEngine"::"createEngineInspector"         [from(2, 33),  at(18), at(14)];
    EngineBindings        = "VCudaEngine"::"getNbBindings"                 [at(2),        NO,     NO];
    EngineBindingName     = "VCudaEngine"::"getBindingName"                [at(4),        NO,     NO];
    EngineBindingIsInput  = "VCudaEngine"::"bindingIsInput"                [at(5),        NO,     NO];
    EngineBindingType     = "VCudaEngine"::"getBindingDataType"            [at(7),        NO,     NO];
    EngineTensors         = "VCudaEngine"::"getNbIOTensors"                [from(5, 45),  at(30), at(26)];
    EngineTensorName      = "VCudaEngine"::"getIOTensorName"               [from(5, 46),  at(31), at(27)];
    EngineTensorType      = "VCudaEngine"::"getTensorDataType"             [from(5, 35),  at(20), at(16)];
    EngineTensorMode      = "VCudaEngine"::"getTensorIOMode"               [from(5, 38),  at(23), at(19)];

    InspectorLayer        = "VEngineInspector"::"getLayerInformation"      [from(2, 4),   at(5),  at(5)];

    ContextSetProfiler    = "VExecutionContext"::"setProfiler"             [at(6),        at(5),  at(5)];
    ContextSetBindingDims = "VExecutionContext"::"setBindingDimensions"    [at(15),       NO,     NO];
    ContextBindingDims    = "VExecutionContext"::"getBindingDimensions"    [at(16),       NO,     NO];
    ContextExecuteV2      = "VExecutionContext"::"executeV2"               [at(23),       at(16), at(15)];
    ContextEnqueueV2      = "VExecutionContext"::"enqueueV2"               [at(24),       NO,     NO];
    ContextSetInputShape  = "VExecutionContext"::"setInputShape"           [from(5, 29),  at(21), at(20)];
    ContextTensorShape    = "VExecutionContext"::"getTensorShape"          [from(5, 30),  at(22), at(21)];
    ContextSetAddress     = "VExecutionContext"::"setTensorAddress"        [from(5, 32),  at(24), at(23)];
    ContextEnqueueV3      = "VExecutionContext"::"enqueueV3"               [from(5, 44),  at(37), at(36)];

    ParserParseFile       = "IParser"::"parseFromFile"                     [at(1),        at(1),  at(1)];
    ParserErrors          = "IParser"::"getNbErrors"                       [at(6),        at(5),  at(3)];
    ParserError           = "IParser"::"getError"                          [at(7),        at(6),  at(4)];
    ParserDestroy         = "IParser"::"destroy"                           [at(5),        NO,     NO];
    ParserDelete          = "IParser"::"~IParser"                          [NO,           at(9),  at(7)];

    ErrorCode             = "IParserError"::"code"                         [at(0),        at(0),  at(0)];
    ErrorDescription      = "IParserError"::"desc"                         [at(1),        at(1),  at(1)];
    ErrorFunction         = "IParserError"::"func"                         [at(4),        at(4),  at(4)];
    ErrorNode             = "IParserError"::"node"                         [at(5),        at(5),  at(5)];
    ErrorNodeName         = "IParserError"::"nodeName"                     [NO,           at(6),  at(6)];
    ErrorNodeOperator     = "IParserError"::"nodeOperator"                 [NO,           at(7),  at(7)];

    // Implemented by clipmark and called by TensorRT: `callbacks` lays out its tables by these.
    VersionedLanguage = "IVersionedInterface"::"getAPILanguage"            [NO,           NO,     at(0)];
    VersionedInfo     = "IVersionedInterface"::"getInterfaceInfo"          [NO,           NO,     at(1)];
    LoggerLog             = "ILogger"::"log"                               [at(0),        at(0),  at(4)];
    ProfilerReport        = "IProfiler"::"reportLayerTime"                 [at(0),        at(0),  at(4)];
}

/// The slot of the deleting destructor in every wrapper's own table: all wrappers derive from `INoCopy`,
/// whose virtual destructor comes first and takes slots 0 (complete) and 1 (deleting).
pub const DELETE: u16 = 1;

/// The row of `method`.
#[must_use]
pub fn entry(method: Method) -> &'static Entry {
    &TABLE[method as usize]
}

/// Where `method` sits in `version`, or `None` where that version does not have it.
#[must_use]
pub fn lookup(method: Method, version: Version) -> Option<u16> {
    let column = match version.major {
        Major::V8 => 0,
        Major::V10 => 1,
        Major::V11 => 2,
    };
    entry(method).slots[column].filter(|slot| version.minor >= slot.since).map(|slot| slot.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rows_are_found_by_their_method() {
        for row in TABLE {
            assert_eq!(entry(row.method).name, row.name);
        }
    }

    #[test]
    fn no_two_functions_of_a_class_share_a_slot() {
        for column in 0..3 {
            let mut seen = HashSet::new();
            for row in TABLE {
                if let Some(slot) = row.slots[column] {
                    assert!(
                        seen.insert((row.class, slot.index)),
                        "{}::{} repeats a slot",
                        row.class,
                        row.name
                    );
                }
            }
        }
    }

    #[test]
    fn a_function_is_absent_before_the_minor_that_introduced_it() {
        let version = |minor| Version { major: Major::V8, minor, patch: 0 };
        assert_eq!(lookup(Method::ConfigSetPoolLimit, version(3)), None);
        assert_eq!(lookup(Method::ConfigSetPoolLimit, version(4)), Some(47));
        assert_eq!(lookup(Method::EngineBindings, Version { major: Major::V10, minor: 3, patch: 0 }), None);
    }
}
