//! Tiny ONNX models, each for one behaviour, written by hand.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType,
    tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
};

/// One input of each dtype, `[batch, 4]`; `total` is their sum as f32, `same` the f32 input passed through.
pub(crate) fn every_dtype() -> Vec<u8> {
    let inputs = [
        ("f32", DataType::Float),
        ("f16", DataType::Float16),
        ("i64", DataType::Int64),
        ("i32", DataType::Int32),
        ("u8", DataType::Uint8),
        ("bool", DataType::Bool),
    ];
    let mut graph = GraphProto { name: "every_dtype".into(), ..GraphProto::default() };
    let mut total = String::new();
    for (name, dtype) in inputs {
        graph.input.push(value(name, dtype, &["batch", "4"]));
        let cast = format!("{name}_as_f32");
        graph.node.push(node("Cast", &[name], &cast, vec![int("to", DataType::Float as i64)]));
        total = if total.is_empty() {
            cast
        } else {
            let sum = format!("{total}+{name}");
            graph.node.push(node("Add", &[&total, &cast], &sum, Vec::new()));
            sum
        };
    }
    graph.node.push(node("Identity", &[&total], "total", Vec::new()));
    graph.node.push(node("Identity", &["f32"], "same", Vec::new()));
    graph.output.push(value("total", DataType::Float, &["batch", "4"]));
    graph.output.push(value("same", DataType::Float, &["batch", "4"]));
    file(graph)
}

/// One LSTM layer over `x: f32[frames, batch, 2]`.
pub(crate) fn recurrent() -> Vec<u8> {
    let mut graph = GraphProto { name: "recurrent".into(), ..GraphProto::default() };
    graph.input.push(value("x", DataType::Float, &["frames", "batch", "2"]));
    let weights = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
    graph.initializer.push(floats("w", &[1, 8, 2], &weights(16)));
    graph.initializer.push(floats("r", &[1, 8, 2], &weights(16)));
    graph.node.push(node("LSTM", &["x", "w", "r"], "y", vec![int("hidden_size", 2)]));
    graph.output.push(value("y", DataType::Float, &["frames", "1", "batch", "2"]));
    file(graph)
}

fn file(graph: GraphProto) -> Vec<u8> {
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}

fn value(name: &str, dtype: DataType, dims: &[&str]) -> ValueInfoProto {
    let dim = |text: &&str| match text.parse() {
        Ok(size) => dimension::Value::DimValue(size),
        Err(_) => dimension::Value::DimParam((*text).into()),
    };
    let dim = dims.iter().map(|d| Dimension { denotation: String::new(), value: Some(dim(d)) }).collect();
    let tensor = type_proto::Tensor { elem_type: dtype as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..ValueInfoProto::default() }
}

fn node(kind: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: output.into(),
        op_type: kind.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}
