//! Writes small ONNX models for tests, field by field as onnx.proto numbers them.

/// `TensorProto.DataType` of 32-bit floats.
pub const F32: u64 = 1;
/// `TensorProto.DataType` of 64-bit integers.
pub const I64: u64 = 7;

/// An input or output: its name, its element type and its extents, where a word is a symbol.
pub type Value<'a> = (&'a str, u64, &'a [&'a str]);
/// A node: its name, its operator, its inputs and its outputs.
pub type Node<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn value_info((name, element, extents): &Value<'_>) -> Vec<u8> {
    let mut shape = Vec::new();
    for extent in *extents {
        let mut dimension = Vec::new();
        match extent.parse() {
            Ok(size) => number(&mut dimension, 1, size),
            Err(_) => bytes(&mut dimension, 2, extent.as_bytes()),
        }
        bytes(&mut shape, 1, &dimension);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, *element);
    bytes(&mut tensor, 2, &shape);
    let mut kind = Vec::new();
    bytes(&mut kind, 1, &tensor);
    let mut info = Vec::new();
    bytes(&mut info, 1, name.as_bytes());
    bytes(&mut info, 2, &kind);
    info
}

/// A model of IR version 8 and opset 17.
#[must_use]
pub fn encode(inputs: &[Value<'_>], outputs: &[Value<'_>], nodes: &[Node<'_>]) -> Vec<u8> {
    let mut graph = Vec::new();
    for (name, operator, from, to) in nodes {
        let mut node = Vec::new();
        from.iter().for_each(|input| bytes(&mut node, 1, input.as_bytes()));
        to.iter().for_each(|output| bytes(&mut node, 2, output.as_bytes()));
        bytes(&mut node, 3, name.as_bytes());
        bytes(&mut node, 4, operator.as_bytes());
        bytes(&mut graph, 1, &node);
    }
    bytes(&mut graph, 2, b"test");
    inputs.iter().for_each(|input| bytes(&mut graph, 11, &value_info(input)));
    outputs.iter().for_each(|output| bytes(&mut graph, 12, &value_info(output)));
    let mut opset = Vec::new();
    number(&mut opset, 2, 17);
    let mut model = Vec::new();
    number(&mut model, 1, 8);
    bytes(&mut model, 7, &graph);
    bytes(&mut model, 8, &opset);
    model
}

/// `y = Identity(x)`, x of shape [B, T, 4].
#[must_use]
pub fn identity() -> Vec<u8> {
    let shape = ["B", "T", "4"];
    encode(&[("x", F32, &shape)], &[("y", F32, &shape)], &[("copy", "Identity", &["x"], &["y"])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Extent, Graph};

    #[test]
    fn the_stand_ins_parser_reads_what_is_written() {
        let graph = Graph::read(&identity()).expect("a model");
        assert_eq!(graph.inputs[0].name, "x");
        assert_eq!(graph.inputs[0].shape[1], Extent::Symbol("T".into()));
        assert_eq!(graph.inputs[0].shape[2], Extent::Fixed(4));
        assert_eq!(graph.nodes[0].operator, "Identity");
        assert_eq!(graph.outputs[0].copies.as_deref(), Some("x"));
    }

    #[test]
    fn an_output_behind_other_nodes_copies_nothing() {
        let shape = ["B", "4"];
        let model = encode(
            &[("a", F32, &shape), ("b", F32, &shape)],
            &[("sum", F32, &shape), ("twice", F32, &shape)],
            &[
                ("add", "Add", &["a", "b"], &["c"]),
                ("i", "Identity", &["c"], &["sum"]),
                ("j", "Identity", &["b"], &["d"]),
                ("k", "Identity", &["d"], &["twice"]),
            ],
        );
        let graph = Graph::read(&model).expect("a model");
        let copies: Vec<_> = graph.outputs.iter().map(|output| output.copies.as_deref()).collect();
        assert_eq!(copies, [None, Some("b")]);
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        assert_eq!(Graph::read(b"not a model"), None);
        assert_eq!(Graph::read(&[]), None);
    }
}
