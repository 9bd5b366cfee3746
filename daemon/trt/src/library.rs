//! TensorRT's libraries as found on this machine.

use crate::callbacks::Logger;
use crate::dl::{Opened, Search, open};
use crate::error::{NvidiaLibrary, TrtError};
use crate::version::{Major, Version};
use std::cell::OnceCell;
use std::ffi::{c_char, c_void};

const TENSORRT_HINT: &str = "install TensorRT 8, 10 or 11 (on a Jetson: sudo apt install tensorrt)";
const PARSER_HINT: &str =
    "install TensorRT's ONNX parser (on a Jetson: sudo apt install libnvonnxparsers8 or libnvonnxparsers10)";

type Version32 = unsafe extern "C" fn() -> i32;
type Create = unsafe extern "C" fn(*mut c_void, i32) -> *mut c_void;
type CreateParser = unsafe extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void;
type InitPlugins = unsafe extern "C" fn(*mut c_void, *const c_char) -> bool;

/// The loaded libraries. Every object keeps them alive.
pub(crate) struct Library {
    pub(crate) version: Version,
    pub(crate) logger: &'static Logger,
    pub(crate) word: i32,
    /// Absent in the lean runtime library, which runs engines and builds none.
    pub(crate) create_builder: Option<Create>,
    pub(crate) create_runtime: Create,
    search: Search,
    parser: OnceCell<Parser>,
    _plugins: Option<Opened>,
    pub(crate) infer: Opened,
}

pub(crate) struct Parser {
    pub(crate) create: CreateParser,
    pub(crate) version: i32,
    _library: Opened,
}

impl Library {
    /// Opens libnvinfer, newest major first, and its plugins.
    pub(crate) fn open(search: &Search) -> Result<Self, TrtError> {
        let (infer, word) = open_infer(search)?;
        let version = Version::from_word(word).ok_or(TrtError::UnsupportedMajor { word })?;
        // SAFETY: the types are these functions' C signatures in NvInfer.h and NvInferRuntime.h.
        let (create_builder, create_runtime) = unsafe {
            (infer.optional("createInferBuilder_INTERNAL"), infer.function("createInferRuntime_INTERNAL")?)
        };
        let logger = Logger::leak(version.major == Major::V11);
        let plugins = open_plugins(search, version, logger);
        Ok(Self {
            version,
            logger,
            word,
            create_builder,
            create_runtime,
            search: search.clone(),
            parser: OnceCell::new(),
            _plugins: plugins,
            infer,
        })
    }

    pub(crate) fn parser_library(&self) -> Result<&Parser, TrtError> {
        match self.parser.get() {
            Some(parser) => Ok(parser),
            None => {
                let opened = self.open_parser()?;
                Ok(self.parser.get_or_init(|| opened))
            }
        }
    }

    fn open_parser(&self) -> Result<Parser, TrtError> {
        let files = [format!("libnvonnxparser.so.{}", self.version.major.number())];
        let library = open(&self.search, NvidiaLibrary::Parser, &files, PARSER_HINT)?;
        // SAFETY: the types are these functions' C signatures in NvOnnxParser.h.
        let (create, version): (CreateParser, Version32) = unsafe {
            (library.function("createNvOnnxParser_INTERNAL")?, library.function("getNvOnnxParserVersion")?)
        };
        // SAFETY: the function takes nothing and reads a constant.
        let version = unsafe { version() };
        Ok(Parser { create, version, _library: library })
    }
}

/// Opens libnvinfer and reads its version word, calling nothing else in it.
pub(crate) fn open_infer(search: &Search) -> Result<(Opened, i32), TrtError> {
    let file = |major: &Major| format!("libnvinfer.so.{}", major.number());
    let files: Vec<String> = Major::NEWEST_FIRST.iter().map(file).collect();
    let infer = open(search, NvidiaLibrary::TensorRt, &files, TENSORRT_HINT)?;
    // SAFETY: the type is this function's C signature in NvInferRuntimeBase.h.
    let version = unsafe { infer.function::<Version32>("getInferLibVersion")? };
    // SAFETY: the function takes nothing and reads a constant.
    let word = unsafe { version() };
    Ok((infer, word))
}

/// Registers TensorRT's own plugins, which the parser needs for some operators. Their absence is no error.
fn open_plugins(search: &Search, version: Version, logger: &'static Logger) -> Option<Opened> {
    let files = [format!("libnvinfer_plugin.so.{}", version.major.number())];
    let library = open(search, NvidiaLibrary::Plugins, &files, "").ok()?;
    // SAFETY: the type is this function's C signature in NvInferPlugin.h; the logger lives for ever and
    // the name space is an empty terminated string.
    unsafe {
        let init = library.optional::<InitPlugins>("initLibNvInferPlugins")?;
        init(logger.address(), c"".as_ptr());
    }
    Some(library)
}
