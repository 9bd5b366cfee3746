//! A small writer of ONNX graphs: values are names, every method adds nodes and returns their output.
//!
//! Knows the ONNX protobuf and a handful of operators; the architectures built with it are in
//! [`super::built_in`]. Only operators whose definition is the same from opset 13 to 17 are used, and
//! layer normalisation and GELU are spelled out, so that runtimes older than opset 17 can read the files.

use super::random::SplitMix64;
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType,
    tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
};

/// The name of a tensor in the graph.
pub(crate) type Value = String;

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dim {
    /// A number.
    Fixed(i64),
    /// A symbol that the caller binds at run time.
    Symbol(&'static str),
}

/// A graph under construction.
pub(crate) struct GraphBuilder {
    graph: GraphProto,
    seed: u64,
    scopes: Vec<String>,
    counter: usize,
}

impl GraphBuilder {
    /// An empty graph whose weights come from `seed`.
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        let graph = GraphProto { name: name.into(), ..GraphProto::default() };
        Self { graph, seed, scopes: Vec::new(), counter: 0 }
    }

    /// Names everything that `build` adds with the prefix `scope/`.
    pub(crate) fn scope<R>(&mut self, scope: &str, build: impl FnOnce(&mut Self) -> R) -> R {
        self.scopes.push(scope.into());
        let result = build(self);
        self.scopes.pop();
        result
    }

    /// Declares an input.
    pub(crate) fn input(&mut self, name: &str, dtype: DataType, dims: &[Dim]) -> Value {
        self.graph.input.push(value_info(name, dtype, dims));
        name.into()
    }

    /// Declares `value` as the output `name`.
    pub(crate) fn output(&mut self, name: &str, value: &Value, dims: &[Dim]) {
        self.node_to("Identity", name.into(), &[value], Vec::new());
        self.graph.output.push(value_info(name, DataType::Float, dims));
    }

    /// A weight drawn uniformly with standard deviation `1/sqrt(fan_in)`. Its stream depends on its full
    /// name alone, so that models which share a part share its weights.
    pub(crate) fn weight(&mut self, name: &str, shape: &[i64], fan_in: i64) -> Value {
        let name = self.full_name(name);
        let mut stream = SplitMix64::named(self.seed, &name);
        let bound = (3.0 / fan_in as f32).sqrt();
        let count = shape.iter().product::<i64>();
        let values = (0..count).map(|_| (stream.next_unit_f32() * 2.0 - 1.0) * bound);
        let raw_data = values.flat_map(f32::to_le_bytes).collect();
        self.initializer(name, DataType::Float, shape, raw_data)
    }

    /// A scalar constant.
    pub(crate) fn scalar(&mut self, value: f32) -> Value {
        let name = self.fresh("scalar");
        self.initializer(name, DataType::Float, &[], value.to_le_bytes().to_vec())
    }

    /// A vector that holds `value` `length` times, e.g. the gain of a fresh normalisation.
    pub(crate) fn filled(&mut self, name: &str, value: f32, length: i64) -> Value {
        let name = self.full_name(name);
        let raw_data = (0..length).flat_map(|_| value.to_le_bytes()).collect();
        self.initializer(name, DataType::Float, &[length], raw_data)
    }

    /// A vector of 64-bit integers: axes, shapes, indices.
    pub(crate) fn integers(&mut self, values: &[i64]) -> Value {
        let name = self.fresh("integers");
        let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(name, DataType::Int64, &[values.len() as i64], raw_data)
    }

    /// Adds a node of type `kind`.
    pub(crate) fn node(&mut self, kind: &str, inputs: &[&Value], attributes: Vec<AttributeProto>) -> Value {
        let output = self.fresh(kind);
        self.node_to(kind, output, inputs, attributes)
    }

    fn node_to(&mut self, kind: &str, out: Value, ins: &[&Value], attribute: Vec<AttributeProto>) -> Value {
        self.graph.node.push(NodeProto {
            name: out.clone(),
            op_type: kind.into(),
            input: ins.iter().map(|v| (*v).clone()).collect(),
            output: vec![out.clone()],
            attribute,
            ..NodeProto::default()
        });
        out
    }

    fn initializer(&mut self, name: String, dtype: DataType, dims: &[i64], raw_data: Vec<u8>) -> Value {
        self.graph.initializer.push(TensorProto {
            dims: dims.to_vec(),
            data_type: dtype as i32,
            name: name.clone(),
            raw_data,
            ..TensorProto::default()
        });
        name
    }

    fn full_name(&self, name: &str) -> String {
        self.scopes.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/")
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.counter += 1;
        self.full_name(&format!("{kind}_{}", self.counter))
    }

    /// The finished file, opset 17, IR version 8.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
        ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            producer_name: "clipmark".into(),
            // Not the crate's version: the file changes only when the architecture does.
            producer_version: "1".into(),
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}

/// Operators, one method each.
impl GraphBuilder {
    pub(crate) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], Vec::new())
    }

    pub(crate) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], Vec::new())
    }

    pub(crate) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], Vec::new())
    }

    pub(crate) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("MatMul", &[a, b], Vec::new())
    }

    /// `shape` may hold 0 (copy the dimension at this position) and one -1 (infer).
    pub(crate) fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        self.node("Reshape", &[x, &shape], Vec::new())
    }

    pub(crate) fn transpose(&mut self, x: &Value, permutation: &[i64]) -> Value {
        self.node("Transpose", &[x], vec![ints("perm", permutation)])
    }

    pub(crate) fn mean(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        self.node("ReduceMean", &[x], vec![ints("axes", &[axis]), int("keepdims", i64::from(keep))])
    }

    pub(crate) fn sum(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        let axes = self.integers(&[axis]);
        self.node("ReduceSum", &[x, &axes], vec![int("keepdims", i64::from(keep))])
    }

    /// Rows of `table` by the integer tensor `indices`.
    pub(crate) fn gather(&mut self, table: &Value, indices: &Value) -> Value {
        self.node("Gather", &[table, indices], vec![int("axis", 0)])
    }

    /// `x W + b` over the last axis; `W` is `[inputs, outputs]`.
    pub(crate) fn linear(&mut self, name: &str, x: &Value, inputs: i64, outputs: i64) -> Value {
        self.scope(name, |g| {
            let weight = g.weight("weight", &[inputs, outputs], inputs);
            let bias = g.weight("bias", &[outputs], inputs * 16);
            let product = g.matmul(x, &weight);
            g.add(&product, &bias)
        })
    }

    /// GELU in its exact form: `x/2 (1 + erf(x / sqrt 2))`.
    pub(crate) fn gelu(&mut self, x: &Value) -> Value {
        self.scope("gelu", |g| {
            let inverse_sqrt_2 = g.scalar(std::f32::consts::FRAC_1_SQRT_2);
            let (one, half) = (g.scalar(1.0), g.scalar(0.5));
            let scaled = g.mul(x, &inverse_sqrt_2);
            let erf = g.node("Erf", &[&scaled], Vec::new());
            let gate = g.add(&erf, &one);
            let gated = g.mul(x, &gate);
            g.mul(&gated, &half)
        })
    }

    /// Layer normalisation over the last axis of `width` elements.
    pub(crate) fn layer_norm(&mut self, name: &str, x: &Value, width: i64) -> Value {
        self.scope(name, |g| {
            let epsilon = g.scalar(1e-5);
            let gain = g.filled("gain", 1.0, width);
            let bias = g.filled("bias", 0.0, width);
            let mean = g.mean(x, -1, true);
            let centred = g.node("Sub", &[x, &mean], Vec::new());
            let squared = g.mul(&centred, &centred);
            let variance = g.mean(&squared, -1, true);
            let shifted = g.add(&variance, &epsilon);
            let deviation = g.node("Sqrt", &[&shifted], Vec::new());
            let normal = g.div(&centred, &deviation);
            let scaled = g.mul(&normal, &gain);
            g.add(&scaled, &bias)
        })
    }

    /// `x` over its Euclidean norm along the last axis.
    pub(crate) fn l2_normalise(&mut self, x: &Value) -> Value {
        self.scope("l2", |g| {
            let epsilon = g.scalar(1e-12);
            let squared = g.mul(x, x);
            let total = g.sum(&squared, -1, true);
            let shifted = g.add(&total, &epsilon);
            let norm = g.node("Sqrt", &[&shifted], Vec::new());
            g.div(x, &norm)
        })
    }
}

fn value_info(name: &str, dtype: DataType, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| {
        let value = match dim {
            Dim::Fixed(n) => dimension::Value::DimValue(*n),
            Dim::Symbol(s) => dimension::Value::DimParam((*s).into()),
        };
        Dimension { denotation: String::new(), value: Some(value) }
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: dtype as i32, shape: Some(shape) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..ValueInfoProto::default() }
}

/// An integer attribute.
pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

/// An attribute that is a list of integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let ints = values.to_vec();
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints,
        ..AttributeProto::default()
    }
}
