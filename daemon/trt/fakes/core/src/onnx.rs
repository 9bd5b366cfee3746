//! The little of an ONNX file that the stand-in's parser needs: inputs, outputs and nodes.
//!
//! Field numbers are those of onnx.proto.

use std::collections::HashSet;

/// One extent of a declared shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extent {
    Fixed(i64),
    Symbol(String),
}

/// A graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) name: String,
    /// `TensorProto.DataType`.
    pub(crate) element: u64,
    pub(crate) shape: Vec<Extent>,
    /// Of an output: the input that it is a copy of, by Identity nodes alone.
    pub(crate) copies: Option<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) operator: String,
    /// First input and first output.
    pub(crate) edge: Option<(String, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Splits a message into its fields; `None` where it is no protocol buffer.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => Field::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => Field::Bytes(take(&mut bytes, 4)?),
            _ => return None,
        };
        found.push((key >> 3, field));
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn word(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Graph {
    /// Reads a ModelProto.
    pub(crate) fn read(model: &[u8]) -> Option<Self> {
        let graph = fields(model)?.into_iter().find_map(|field| match field {
            (7, Field::Bytes(bytes)) => Some(bytes),
            _ => None,
        })?;
        let mut read = Self::default();
        let mut constants = HashSet::new();
        for field in fields(graph)? {
            match field {
                (1, Field::Bytes(bytes)) => read.nodes.push(node(bytes)?),
                (5, Field::Bytes(bytes)) => constants.extend(string(bytes, 8)),
                (11, Field::Bytes(bytes)) => read.inputs.push(value(bytes)?),
                (12, Field::Bytes(bytes)) => read.outputs.push(value(bytes)?),
                _ => {}
            }
        }
        read.inputs.retain(|input| !constants.contains(&input.name));
        let copies: Vec<_> = read.outputs.iter().map(|output| read.source(&output.name)).collect();
        for (output, copies) in read.outputs.iter_mut().zip(copies) {
            output.copies = copies;
        }
        (!read.outputs.is_empty()).then_some(read)
    }

    /// The input that the value `name` is a copy of.
    fn source(&self, name: &str) -> Option<String> {
        let mut name = name;
        // Each step leads to an earlier node, so there are no more steps than nodes.
        for _ in 0..=self.nodes.len() {
            if self.inputs.iter().any(|input| input.name == name) {
                return Some(name.to_owned());
            }
            let copies = self.nodes.iter().filter(|node| node.operator == "Identity");
            name = copies.filter_map(|node| node.edge.as_ref()).find(|(_, to)| to == name)?.0.as_str();
        }
        None
    }
}

fn string(message: &[u8], number: u64) -> Option<String> {
    fields(message)?.into_iter().find_map(|field| match field {
        (found, Field::Bytes(bytes)) if found == number => Some(word(bytes)),
        _ => None,
    })
}

fn node(bytes: &[u8]) -> Option<Node> {
    Some(Node {
        name: string(bytes, 3).unwrap_or_default(),
        operator: string(bytes, 4)?,
        edge: string(bytes, 1).zip(string(bytes, 2)),
    })
}

fn value(bytes: &[u8]) -> Option<Value> {
    let mut read = Value { name: String::new(), element: 0, shape: Vec::new(), copies: None };
    for field in fields(bytes)? {
        match field {
            (1, Field::Bytes(bytes)) => read.name = word(bytes),
            (2, Field::Bytes(kind)) => {
                for field in fields(kind)? {
                    if let (1, Field::Bytes(tensor)) = field {
                        tensor_type(tensor, &mut read)?;
                    }
                }
            }
            _ => {}
        }
    }
    Some(read)
}

fn tensor_type(bytes: &[u8], value: &mut Value) -> Option<()> {
    for field in fields(bytes)? {
        match field {
            (1, Field::Number(element)) => value.element = element,
            (2, Field::Bytes(shape)) => {
                for field in fields(shape)? {
                    if let (1, Field::Bytes(extent)) = field {
                        value.shape.push(extent_of(extent)?);
                    }
                }
            }
            _ => {}
        }
    }
    Some(())
}

fn extent_of(bytes: &[u8]) -> Option<Extent> {
    for field in fields(bytes)? {
        match field {
            (1, Field::Number(value)) => return Some(Extent::Fixed(value as i64)),
            (2, Field::Bytes(name)) => return Some(Extent::Symbol(word(name))),
            _ => {}
        }
    }
    Some(Extent::Symbol(String::new()))
}
