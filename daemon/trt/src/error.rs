//! What can go wrong between clipmark and TensorRT, in words that a board's owner can act on.

use crate::constants::{UNSUPPORTED_GRAPH, UNSUPPORTED_NODE_SHAPE};
use crate::version::Version;

/// One error of the ONNX parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParserError {
    /// `nvonnxparser::ErrorCode`.
    pub code: i32,
    /// Index of the node in the model's graph; negative when no node is concerned.
    pub node: i32,
    /// The node's name, where the parser tells it (TensorRT 10 and later).
    pub node_name: Option<String>,
    /// The node's operator, where the parser tells it (TensorRT 10 and later).
    pub operator: Option<String>,
    /// The parser's reason.
    pub reason: String,
}

impl ParserError {
    /// The graph, or a node with its attributes, inputs, data types or shapes, is not
    /// supported, as opposed to invalid.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        (UNSUPPORTED_GRAPH..=UNSUPPORTED_NODE_SHAPE).contains(&self.code)
    }
}

impl std::fmt::Display for ParserError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.node >= 0 {
            write!(f, "node {}", self.node)?;
            if let Some(name) = self.node_name.as_deref().filter(|name| !name.is_empty()) {
                write!(f, " `{name}`")?;
            }
            if let Some(operator) = self.operator.as_deref().filter(|operator| !operator.is_empty()) {
                write!(f, " ({operator})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.reason)
    }
}

/// A library that is looked for at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NvidiaLibrary {
    /// The CUDA driver's.
    Driver,
    /// TensorRT itself.
    TensorRt,
    /// Its ONNX parser.
    Parser,
    /// Its plugins.
    Plugins,
}

impl std::fmt::Display for NvidiaLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Driver => "the CUDA driver (libcuda.so.1)",
            Self::TensorRt => "TensorRT (libnvinfer)",
            Self::Parser => "TensorRT's ONNX parser (libnvonnxparser)",
            Self::Plugins => "TensorRT's plugins",
        })
    }
}

/// A failure of the binding, of the driver or of TensorRT itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrtError {
    /// A library is not on this machine.
    #[error(
        "{library} was not found (tried {tried}): {hint}; if it is in an unusual folder, set CLIPMARK_TENSORRT_DIR to that"
    )]
    LibraryNotFound {
        /// The file looked for.
        library: NvidiaLibrary,
        /// Every name that was tried, with the loader's last answer.
        tried: String,
        /// What to install.
        hint: &'static str,
    },
    /// A library lacks a function that every supported release has.
    #[error(
        "{library} has no function {symbol}: it is not the library its name says, or it is truncated; reinstall it"
    )]
    MissingSymbol {
        /// The library's file.
        library: String,
        /// The function.
        symbol: String,
    },
    /// A TensorRT release with an interface that the slot table does not hold.
    #[error(
        "TensorRT reports version {word}; clipmark knows the interfaces of TensorRT 8, 10 and 11 only: \
         install one of these (JetPack 4.6 or later) or use another backend"
    )]
    UnsupportedMajor {
        /// The version word as returned.
        word: i32,
    },
    /// A function that this release does not have.
    #[error("TensorRT {version} has no {what}; leave that option out or use a later release")]
    NotInVersion {
        /// The function.
        what: String,
        /// The release.
        version: Version,
    },
    /// The CUDA driver refused a call.
    #[error("CUDA driver: {call} failed with {name} ({code}): {text}{hint}")]
    Cuda {
        /// The driver function.
        call: &'static str,
        /// `CUresult`.
        code: i32,
        /// The code's name.
        name: String,
        /// The driver's description.
        text: String,
        /// What to do, where that is known; starts with `; ` or is empty.
        hint: &'static str,
    },
    /// The driver works and sees no GPU.
    #[error(
        "the CUDA driver sees no GPU (device {ordinal} of {count}); check /dev/nvhost-gpu or nvidia-smi, and in a \
         container start it with --runtime nvidia"
    )]
    NoDevice {
        /// The device asked for.
        ordinal: u32,
        /// Devices that exist.
        count: u32,
    },
    /// TensorRT returned no object, or an address that cannot be one.
    #[error("TensorRT gave no {what}{}", said(log))]
    NoObject {
        /// The object.
        what: &'static str,
        /// TensorRT's own last messages.
        log: Vec<String>,
    },
    /// TensorRT answered false.
    #[error("TensorRT refused {what}{}", said(log))]
    Refused {
        /// What was asked of it.
        what: String,
        /// TensorRT's own last messages.
        log: Vec<String>,
    },
    /// The ONNX parser's errors.
    #[error("the ONNX parser rejects {path}: {}", joined(errors))]
    Parse {
        /// The model.
        path: String,
        /// Each error, in the parser's order.
        errors: Vec<ParserError>,
    },
    /// A shape, type or name that does not fit the model.
    #[error("{0}")]
    Mismatch(String),
}

impl TrtError {
    /// Whether memory ran out, on the device or on the host.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        let log = match self {
            Self::Cuda { code, .. } => return *code == 2,
            Self::NoObject { log, .. } | Self::Refused { log, .. } => log,
            _ => return false,
        };
        log.iter().any(|line| {
            let line = line.to_ascii_lowercase();
            line.contains("out of memory")
                || line.contains("outofmemory")
                || line.contains("insufficient memory")
        })
    }
}

fn said(log: &[String]) -> String {
    if log.is_empty() {
        "; it logged no reason".to_owned()
    } else {
        format!("; it said: {}", log.join(" | "))
    }
}

fn joined(errors: &[ParserError]) -> String {
    if errors.is_empty() {
        return "it names no reason; the file is not a valid ONNX model, or it cannot be read".to_owned();
    }
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_error_names_node_operator_and_reason() {
        let error = ParserError {
            code: 8,
            node: 3,
            node_name: Some("loop_1".into()),
            operator: Some("Loop".into()),
            reason: "no importer".into(),
        };
        assert_eq!(error.to_string(), "node 3 `loop_1` (Loop): no importer");
        assert!(error.is_unsupported());
    }

    #[test]
    fn running_out_of_memory_is_told_from_other_failures() {
        let refused = |line: &str| TrtError::Refused { what: "a build".into(), log: vec![line.into()] };
        assert!(refused("Error Code 2: OutOfMemory (no further information)").is_out_of_memory());
        assert!(!refused("Error Code 4: Internal Error").is_out_of_memory());
    }
}
