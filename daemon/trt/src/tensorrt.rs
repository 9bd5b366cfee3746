//! TensorRT with the device that it will use.

use crate::cuda::{Device, DeviceInfo, Wait};
use crate::dl::Search;
use crate::error::TrtError;
use crate::library::{Library, open_infer};
use crate::object::{Object, Release};
use crate::version::{Major, Version};
use std::rc::Rc;

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
        Version::from_word(word).ok_or(TrtError::UnsupportedMajor { word })
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
        self.runtime().map(|_| ())
    }

    /// A builder.
    pub(crate) fn builder(&self) -> Result<Object, TrtError> {
        self.library.logger.clear();
        let missing = || TrtError::MissingSymbol {
            library: self.library.infer.name.clone(),
            symbol: "createInferBuilder_INTERNAL".to_owned(),
        };
        let create = self.library.create_builder.ok_or_else(missing)?;
        // SAFETY: the logger lives for ever, and the word is the library's own version as it demands. The
        // driver was initialised before (`open`).
        unsafe {
            let address = create(self.library.logger.address(), self.library.word);
            Object::new(&self.library, address, "builder", Release::Delete)
        }
    }

    /// A runtime.
    pub(crate) fn runtime(&self) -> Result<Object, TrtError> {
        self.library.logger.clear();
        // SAFETY: as `builder`.
        unsafe {
            let address = (self.library.create_runtime)(self.library.logger.address(), self.library.word);
            Object::new(&self.library, address, "runtime", Release::Delete)
        }
    }

    /// An ONNX parser that fills `network`.
    pub(crate) fn parser(&self, network: &Object) -> Result<Object, TrtError> {
        let parser = self.library.parser_library()?;
        let release = match self.library.version.major {
            Major::V8 => Release::Call(crate::slots::Method::ParserDestroy),
            Major::V10 | Major::V11 => Release::Call(crate::slots::Method::ParserDelete),
        };
        // SAFETY: the network is alive and outlives the parser (both belong to one build), the logger
        // lives for ever, and the version is the parser library's own.
        unsafe {
            let address = (parser.create)(network.address(), self.library.logger.address(), parser.version);
            Object::new(&self.library, address, "ONNX parser", release)
        }
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
