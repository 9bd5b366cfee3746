//! TensorRT as found on this machine: its libraries, its version and the device it will use.

use crate::callbacks::Logger;
use crate::cuda::{Device, DeviceInfo, Wait};
use crate::dl::{Opened, Search, open};
use crate::error::{NvidiaLibrary, TrtError};
use crate::object::{Object, Release};
use crate::version::{Major, Version};
use std::cell::OnceCell;
use std::ffi::{c_char, c_void};
use std::rc::Rc;

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
    word: i32,
    /// Absent in the lean runtime library, which runs engines and builds none.
    create_builder: Option<Create>,
    create_runtime: Create,
    search: Search,
    parser: OnceCell<Parser>,
    _plugins: Option<Opened>,
    infer: Opened,
}

struct Parser {
    create: CreateParser,
    version: i32,
    _library: Opened,
}

impl Library {
    /// Opens libnvinfer, newest major first, and its plugins.
    fn open(search: &Search) -> Result<Self, TrtError> {
        let (infer, word) = open_infer(search)?;
        let version = Version::from_word(word)?;
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

    /// A builder.
    pub(crate) fn builder(self: &Rc<Self>) -> Result<Object, TrtError> {
        self.logger.clear();
        let missing = || TrtError::MissingSymbol {
            library: self.infer.name.clone(),
            symbol: "createInferBuilder_INTERNAL".to_owned(),
        };
        let create = self.create_builder.ok_or_else(missing)?;
        // SAFETY: the logger lives for ever, and the word is the library's own version as it demands. The
        // driver was initialised before (`TensorRt::open`).
        unsafe {
            let address = create(self.logger.address(), self.word);
            Object::new(self, address, "builder", Release::Delete)
        }
    }

    /// A runtime.
    pub(crate) fn runtime(self: &Rc<Self>) -> Result<Object, TrtError> {
        self.logger.clear();
        // SAFETY: as `builder`.
        unsafe {
            let address = (self.create_runtime)(self.logger.address(), self.word);
            Object::new(self, address, "runtime", Release::Delete)
        }
    }

    /// An ONNX parser that fills `network`.
    pub(crate) fn parser(self: &Rc<Self>, network: &Object) -> Result<Object, TrtError> {
        let parser = self.parser_library()?;
        let release = match self.version.major {
            Major::V8 => Release::Call(crate::slots::Method::ParserDestroy),
            Major::V10 | Major::V11 => Release::Call(crate::slots::Method::ParserDelete),
        };
        // SAFETY: the network is alive and outlives the parser (both belong to one build), the logger
        // lives for ever, and the version is the parser library's own.
        unsafe {
            let address = (parser.create)(network.address(), self.logger.address(), parser.version);
            Object::new(self, address, "ONNX parser", release)
        }
    }

    fn parser_library(&self) -> Result<&Parser, TrtError> {
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
fn open_infer(search: &Search) -> Result<(Opened, i32), TrtError> {
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

/// TensorRT with a GPU to use it on. Everything else starts here. Clones share the libraries and the device.
#[derive(Clone)]
pub struct TensorRt {
    pub(crate) library: Rc<Library>,
    pub(crate) device: Rc<Device>,
    pub(crate) wait: Wait,
}

impl TensorRt {
    /// Opens the CUDA driver, checks that GPU `ordinal` exists, enters its context on this thread, and
    /// only then opens TensorRT.
    ///
    /// # Errors
    /// What is missing, its likely cause and what to do; or a version that clipmark does not know.
    pub fn open(search: &Search, ordinal: u32, wait: Wait) -> Result<Self, TrtError> {
        let device = Device::open(search, ordinal, wait)?;
        let library = Rc::new(Library::open(search)?);
        Ok(Self { library, device, wait })
    }

    /// The version of the library, without touching a GPU.
    ///
    /// # Errors
    /// The library is missing or of an unknown major.
    pub fn version_only(search: &Search) -> Result<Version, TrtError> {
        let (_library, word) = open_infer(search)?;
        Version::from_word(word)
    }

    /// Opens the ONNX parser's library, which [`TensorRt::parse`] would otherwise do.
    ///
    /// # Errors
    /// The library, or a function in it, is missing.
    pub fn require_parser(&self) -> Result<(), TrtError> {
        self.library.parser_library().map(|_| ())
    }

    /// Creates a runtime and gives it back: whether TensorRT itself starts here.
    ///
    /// # Errors
    /// TensorRT returned no runtime, or an address that cannot be one.
    pub fn try_runtime(&self) -> Result<(), TrtError> {
        self.library.runtime().map(|_| ())
    }

    /// TensorRT's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.library.version
    }

    /// The file that TensorRT was loaded from.
    #[must_use]
    pub fn library_file(&self) -> &str {
        &self.library.infer.name
    }

    /// The device in use.
    #[must_use]
    pub fn device(&self) -> &DeviceInfo {
        &self.device.info
    }

    /// Bytes free on the device; on an integrated GPU the board's free memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn free_memory(&self) -> Result<u64, TrtError> {
        self.device.free_memory()
    }
}
