//! What an ONNX file declares of itself: inputs, outputs, symbolic axes, size, parameters, digest.
//!
//! Declarations are taken down, not believed: whether an axis is as dynamic as it says is found by
//! preparing the model ([`super::inspect`]).

use super::ModelError;
use super::weights::{Identity, Named};
use crate::account::memory_available;
use crate::digest::sha256;
use crate::tensor::Dtype;
use clipmark_profile::record::ModelRecord;
use clipmark_profile::units::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tract_onnx::pb::{
    GraphProto, ModelProto, TensorProto, ValueInfoProto, tensor_proto::DataType,
    tensor_shape_proto::dimension, type_proto,
};

/// The outside of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxModel {
    /// Inputs that a caller must give, in the model's order.
    pub inputs: Vec<DeclaredTensor>,
    /// Outputs, in the model's order.
    pub outputs: Vec<DeclaredTensor>,
    /// Elements in weight tensors, subgraphs included.
    pub parameters: u64,
    /// Digest and size of the file, without what lies in others.
    pub own: Identity,
    /// Version of the default operator set.
    pub opset: i64,
    /// The exporter's name and version, as it states them.
    pub producer: String,
    /// Sizes of the tables that integer inputs index, by the input's name, where the graph shows them.
    pub vocabularies: BTreeMap<String, u32>,
    /// Files beside the model that hold its weights.
    pub external_data: Named,
}

/// An input or output as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DeclaredDtype,
    /// Its dimensions; `None` when the file does not even state the rank.
    pub dims: Option<Vec<DeclaredDim>>,
}

/// A declared element type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredDtype {
    /// One that clipmark can feed.
    Known(Dtype),
    /// One that it cannot, by its ONNX name.
    Other(String),
}

/// A declared dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredDim {
    /// A number.
    Fixed(usize),
    /// A name.
    Symbol(String),
    /// Neither.
    Unnamed,
}

impl fmt::Display for DeclaredTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.dtype {
            DeclaredDtype::Known(dtype) => write!(f, "{}: {}", self.name, dtype.name())?,
            DeclaredDtype::Other(name) => write!(f, "{}: {name}", self.name)?,
        }
        let Some(dims) = &self.dims else { return f.write_str("[unknown rank]") };
        let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", dims.join(","))
    }
}

impl fmt::Display for DeclaredDim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Unnamed => f.write_str("?"),
        }
    }
}

impl OnnxModel {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is not ONNX.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = read_bounded(path, Bound::of_this_machine())?;
        Self::parse(&bytes).map_err(|reason| ModelError::NotOnnx { path: path.into(), reason })
    }

    /// Reads the contents of a file.
    ///
    /// # Errors
    /// What is wrong with them, to follow a colon.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty".into());
        }
        let model =
            ModelProto::decode(bytes).map_err(|error| format!("its protobuf is damaged ({error})"))?;
        let graph = model.graph.as_ref().ok_or("it holds no graph")?;
        if graph.node.is_empty() {
            return Err("its graph has no nodes".into());
        }
        let given =
            |input: &&ValueInfoProto| !graph.initializer.iter().any(|weight| weight.name == input.name);
        let mut weights = Weights::default();
        weights.count(graph);
        Ok(Self {
            inputs: graph.input.iter().filter(given).map(declared).collect(),
            outputs: graph.output.iter().map(declared).collect(),
            parameters: weights.elements,
            own: Identity { sha256: sha256(bytes), size: Bytes(bytes.len() as u64) },
            opset: model.opset_import.iter().find(|set| set.domain.is_empty()).map_or(0, |set| set.version),
            producer: format!("{} {}", model.producer_name, model.producer_version).trim().into(),
            vocabularies: vocabularies(graph),
            external_data: weights.external,
        })
    }

    /// The model as it is kept in a record, under `name`; `identity` covers its weight files.
    #[must_use]
    pub fn record(&self, name: &str, identity: Identity) -> ModelRecord {
        ModelRecord {
            name: name.into(),
            sha256: identity.sha256,
            size_bytes: identity.size,
            parameters: Some(self.parameters),
            inputs: self.inputs.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Most bytes that are read of a file, and why.
#[derive(Debug, Clone, Copy)]
struct Bound {
    most: u64,
    because: &'static str,
}

impl Bound {
    /// ONNX is protobuf, which holds no more than 2 GiB.
    const FORMAT: Self = Self { most: (2 << 30) - 1, because: "no ONNX file can be larger" };
    /// Bytes of free memory for one of the file, which is held twice while it is understood.
    const MEMORY_A_BYTE: u64 = 2;

    fn of_this_machine() -> Self {
        let free = memory_available().map(|free| free.0 / Self::MEMORY_A_BYTE);
        match free.filter(|free| *free < Self::FORMAT.most) {
            Some(most) => Self { most, because: "that is half of the free memory" },
            None => Self::FORMAT,
        }
    }
}

/// Reads a regular file up to `bound`. What the file's size promises is not believed: it may grow.
fn read_bounded(path: &Path, bound: Bound) -> Result<Vec<u8>, ModelError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ModelError::Missing { path: path.into() },
        _ => ModelError::Read { path: path.into(), source },
    };
    let too_large = |size| {
        let Bound { most, because } = bound;
        ModelError::TooLarge { path: path.into(), size, most, because }
    };
    // Asked before it is opened: opening a pipe waits for whoever writes into it.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    if metadata.len() > bound.most {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bound.most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    let size = bytes.len() as u64;
    if size > bound.most { Err(too_large(size)) } else { Ok(bytes) }
}

/// Running count over a graph and its subgraphs.
#[derive(Default)]
struct Weights {
    elements: u64,
    external: Named,
}

impl Weights {
    fn count(&mut self, graph: &GraphProto) {
        graph.initializer.iter().for_each(|tensor| self.add(tensor));
        for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
            attribute.t.iter().for_each(|tensor| self.add(tensor));
            attribute.g.iter().chain(&attribute.graphs).for_each(|subgraph| self.count(subgraph));
        }
    }

    /// Integers wider than a byte are shapes, axes and indices, not weights.
    fn add(&mut self, tensor: &TensorProto) {
        use DataType as D;
        let is_weight = matches!(
            DataType::try_from(tensor.data_type),
            Ok(D::Float | D::Float16 | D::Bfloat16 | D::Double | D::Int8 | D::Uint8)
        );
        if is_weight {
            let elements = tensor.dims.iter().map(|&d| u64::try_from(d).unwrap_or(0)).product::<u64>();
            self.elements = self.elements.saturating_add(elements);
        }
        let entry =
            |key| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key| entry(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        if let Some(location) = entry("location") {
            let end = number("offset").saturating_add(number("length"));
            let needed = self.external.entry(location.clone()).or_default();
            *needed = end.max(*needed);
        }
    }
}

/// Follows each input through nodes that keep its values to the first embedding table.
fn vocabularies(graph: &GraphProto) -> BTreeMap<String, u32> {
    const KEEPS_VALUES: [&str; 7] =
        ["Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"];
    let mut sources: BTreeMap<&str, &str> =
        graph.input.iter().map(|i| (i.name.as_str(), i.name.as_str())).collect();
    let mut found = BTreeMap::new();
    for node in &graph.node {
        let source = |slot: usize| node.input.get(slot).and_then(|name| sources.get(name.as_str())).copied();
        if node.op_type == "Gather" {
            let table =
                graph.initializer.iter().find(|w| node.input.first() == Some(&w.name) && w.dims.len() == 2);
            let rows = table.and_then(|table| u32::try_from(table.dims[0]).ok());
            if let (Some(input), Some(rows)) = (source(1), rows) {
                let least = found.entry(input.to_owned()).or_insert(rows);
                *least = rows.min(*least);
            }
        } else if KEEPS_VALUES.contains(&node.op_type.as_str())
            && let (Some(input), Some(output)) = (source(0), node.output.first())
        {
            sources.insert(output, input);
        }
    }
    found
}

fn declared(info: &ValueInfoProto) -> DeclaredTensor {
    let tensor =
        info.r#type.as_ref().and_then(|t| t.value.as_ref()).map(|type_proto::Value::TensorType(t)| t);
    let dtype = match tensor {
        Some(tensor) => declared_dtype(DataType::try_from(tensor.elem_type).unwrap_or(DataType::Undefined)),
        // The parser keeps tensors alone.
        None => DeclaredDtype::Other("sequence, map or optional value".into()),
    };
    let dims = tensor.and_then(|t| t.shape.as_ref()).map(|shape| {
        let dim = |value: &Option<dimension::Value>| match value {
            Some(dimension::Value::DimValue(n)) if *n >= 0 => DeclaredDim::Fixed(*n as usize),
            Some(dimension::Value::DimParam(name)) if !name.is_empty() => DeclaredDim::Symbol(name.clone()),
            _ => DeclaredDim::Unnamed,
        };
        shape.dim.iter().map(|d| dim(&d.value)).collect()
    });
    DeclaredTensor { name: info.name.clone(), dtype, dims }
}

fn declared_dtype(dtype: DataType) -> DeclaredDtype {
    DeclaredDtype::Known(match dtype {
        DataType::Float => Dtype::F32,
        DataType::Float16 => Dtype::F16,
        DataType::Int64 => Dtype::I64,
        DataType::Int32 => Dtype::I32,
        DataType::Uint8 => Dtype::U8,
        DataType::Bool => Dtype::Bool,
        other => return DeclaredDtype::Other(other.as_str_name().to_lowercase()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(most: u64) -> Bound {
        Bound { most, ..Bound::FORMAT }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse.onnx");
        File::create(&path).unwrap().set_len(6 << 30).unwrap();
        let before = crate::account::resident().peak.unwrap();
        let error = OnnxModel::read(&path).unwrap_err();
        let grown = crate::account::resident().peak.unwrap().0 - before.0;
        assert!(matches!(error, ModelError::TooLarge { size, .. } if size == 6 << 30), "{error}");
        assert!(error.to_string().contains("external data"), "{error}");
        assert!(grown < 1 << 30, "{grown} bytes of it were read");
    }

    #[test]
    fn the_bound_itself_is_read_and_one_byte_more_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, [0; 10]).unwrap();
        assert_eq!(read_bounded(&path, bound(10)).unwrap().len(), 10);
        assert!(matches!(read_bounded(&path, bound(9)), Err(ModelError::TooLarge { size: 10, most: 9, .. })));
    }

    #[test]
    fn a_model_that_is_no_regular_file_is_refused() {
        for path in ["/dev/zero", "/"] {
            let error = OnnxModel::read(Path::new(path)).unwrap_err();
            assert!(
                matches!(&error, ModelError::Read { source, .. } if source.to_string().contains("regular"))
            );
        }
    }
}
