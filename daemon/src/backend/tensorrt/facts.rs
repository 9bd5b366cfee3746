//! What the backend reads from an ONNX file itself: its digest, its nodes and whether it is quantized.
//!
//! Weights are skipped while decoding, so a large model costs no second copy. Field numbers are those of
//! onnx.proto.

use crate::backend::BackendError;
use crate::digest::hexadecimal;
use clipmark_profile::record::{Cause, Stage};
use clipmark_trt::ParserError;
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Initializer>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
}

#[derive(Message)]
struct Node {
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    operator: String,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Message)]
struct TensorKind {
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    extents: Vec<Extent>,
}

#[derive(Message)]
struct Extent {
    #[prost(int64, optional, tag = "1")]
    size: Option<i64>,
}

#[derive(Message)]
struct Initializer {
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external: Vec<Entry>,
}

#[derive(Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Value {
    fn is_dynamic(&self) -> bool {
        let tensor = self.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
        let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
        shape.is_some_and(|shape| shape.extents.iter().any(|extent| extent.size.is_none_or(|size| size < 1)))
    }
}

/// A model as the backend sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct ModelFacts {
    /// SHA-256 over the file and the weight files it names, lower-case hexadecimal.
    pub(in crate::backend) digest: String,
    /// Whether it has QuantizeLinear nodes.
    pub(in crate::backend) quantized: bool,
    /// Inputs with at least one axis that is free.
    pub(in crate::backend) dynamic: Vec<String>,
    /// Name and operator per node, in the file's order.
    nodes: Vec<(String, String)>,
}

impl ModelFacts {
    /// Reads the file at `path` and the weight files beside it.
    pub(in crate::backend) fn read(path: &Path) -> Result<Self, BackendError> {
        let bad = |message: String| BackendError::new(Stage::Load, Cause::BadModel, message);
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| bad(format!("cannot read {}: {error}", path.display())))
        };
        let bytes = read(path)?;
        let mut digest = Sha256::new_with_prefix(&bytes);
        let graph = Model::decode(bytes.as_slice()).ok().and_then(|model| model.graph).ok_or_else(|| {
            bad(format!("{} is no ONNX model, or it is truncated; export it again", path.display()))
        })?;
        let entries = graph.initializers.iter().flat_map(|initializer| &initializer.external);
        let files: BTreeSet<&str> =
            entries.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str()).collect();
        for file in files {
            digest.update(read(&path.with_file_name(file))?);
        }
        let constants: BTreeSet<&str> =
            graph.initializers.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph.inputs.iter().filter(|input| !constants.contains(input.name.as_str()));
        let dynamic = inputs.filter(|input| input.is_dynamic()).map(|input| input.name.clone()).collect();
        Ok(Self {
            dynamic,
            digest: hexadecimal(&digest.finalize()),
            quantized: graph.nodes.iter().any(|node| node.operator == "QuantizeLinear"),
            nodes: graph.nodes.into_iter().map(|node| (node.name, node.operator)).collect(),
        })
    }

    /// Adds the node's name and operator to errors of parsers that give its index alone (TensorRT 8).
    pub(super) fn complete(&self, errors: &mut [ParserError]) {
        for error in errors.iter_mut().filter(|error| error.operator.is_none()) {
            let node = usize::try_from(error.node).ok().and_then(|index| self.nodes.get(index));
            if let Some((name, operator)) = node {
                error.node_name = Some(name.clone());
                error.operator = Some(operator.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_trt_fakes::model;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, bytes).expect("writable");
        (folder, path)
    }

    fn node(name: &str, operator: &str) -> Node {
        Node { name: name.into(), operator: operator.into() }
    }

    #[test]
    fn an_error_without_names_gets_those_of_its_node() {
        let (_folder, path) = written(&model::identity());
        let facts = ModelFacts::read(&path).expect("a model");
        let error =
            |node| ParserError { code: 8, node, node_name: None, operator: None, reason: "no".into() };
        let mut errors = [error(0), error(9), error(-1)];
        facts.complete(&mut errors);
        assert_eq!(errors[0].to_string(), "node 0 `copy` (Identity): no");
        assert_eq!(errors[1].to_string(), "node 9: no");
        assert_eq!(errors[2].to_string(), "no");
    }

    #[test]
    fn the_digest_covers_weights_in_files_of_their_own() {
        let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
        let initializer = Initializer {
            name: "w".into(),
            external: vec![entry("location", "w.bin"), entry("offset", "0")],
        };
        let graph = Graph {
            nodes: vec![node("q", "QuantizeLinear")],
            initializers: vec![initializer],
            inputs: Vec::new(),
        };
        let (folder, path) = written(&Model { graph: Some(graph) }.encode_to_vec());
        let missing = ModelFacts::read(&path).expect_err("the weights are missing");
        assert!(missing.message.contains("w.bin"), "{missing}");
        let with_weights = |weights: &[u8]| {
            std::fs::write(folder.path().join("w.bin"), weights).expect("writable");
            ModelFacts::read(&path).expect("a model")
        };
        let (first, second) = (with_weights(b"1"), with_weights(b"2"));
        assert_ne!(first.digest, second.digest);
        assert!(first.quantized);
    }

    #[test]
    fn inputs_with_a_free_axis_are_told_from_fixed_ones() {
        let inputs: [model::Value<'_>; 2] =
            [("x", model::F32, &["B", "4"]), ("fixed", model::F32, &["1", "4"])];
        let outputs: [model::Value<'_>; 1] = [("y", model::F32, &["B", "4"])];
        let (_folder, path) =
            written(&model::encode(&inputs, &outputs, &[("n", "Add", &["x", "fixed"], &["y"])]));
        assert_eq!(ModelFacts::read(&path).expect("a model").dynamic, ["x"]);
    }

    #[test]
    fn a_file_that_is_no_model_is_refused_by_name() {
        let (_folder, path) = written(b"not a model");
        let error = ModelFacts::read(&path).expect_err("no model");
        assert_eq!(error.cause, Cause::BadModel);
        assert!(error.message.contains("m.onnx"), "{error}");
    }
}
