//! The models that clipmark brings along: video plus text in, similarity, class logits and embeddings out.
//!
//! `joint` and `temporal` are a pair: the same patch embedding, text tower and weights, but `joint`
//! attends over all space-time tokens (cost grows with the square of the clip length) and `temporal`
//! pools each frame first and attends over frames alone. `conv3d` replaces attention with 3D
//! convolutions. They are written on demand, never downloaded and never committed. They are untrained:
//! their outputs mean nothing, their cost is that of real ones of the same shape.

use super::ModelError;
use super::graph::{Dim, GraphBuilder, Value, int, ints};
use std::path::Path;
use tract_onnx::pb::tensor_proto::DataType;

/// Width of tokens and embeddings.
const WIDTH: i64 = 64;
/// Attention heads per block.
const HEADS: i64 = 4;
/// Frames are `IMAGE` x `IMAGE`, cut into `PATCH` x `PATCH` patches.
const IMAGE: i64 = 64;
const PATCH: i64 = 16;
/// Patches along one side of a frame.
const GRID: i64 = IMAGE / PATCH;
/// The longest clip that the temporal positions cover.
pub const MAX_FRAMES: u32 = 256;
/// Tokens in a text.
const TEXT_TOKENS: i64 = 16;
/// Token ids are below this.
pub const VOCABULARY: u32 = 1024;
/// Classes of the logits.
const CLASSES: i64 = 32;
/// Seed of every weight.
const SEED: u64 = 0x636c_6970_6d61_726b;

/// A model that clipmark generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum BuiltIn {
    /// Attention over all space-time tokens: quadratic in the clip length.
    Joint,
    /// Attention over frames, each pooled first: close to linear in the clip length.
    Temporal,
    /// 3D convolutions: shows how a runtime's convolutions behave over the batch size.
    Conv3d,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Joint, Self::Temporal, Self::Conv3d];
    /// What a run measures when no model is named.
    pub const DEFAULT_PAIR: [Self; 2] = [Self::Joint, Self::Temporal];

    /// The name on the command line and in profiles.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Temporal => "temporal",
            Self::Conv3d => "conv3d",
        }
    }

    /// The built-in of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    /// The ONNX file. The same bytes every time, on every machine.
    #[must_use]
    pub fn onnx_bytes(self) -> Vec<u8> {
        let mut graph = GraphBuilder::new(self.name(), SEED);
        let (batch, frames) = (Dim::Symbol("batch"), Dim::Symbol("frames"));
        let image = Dim::Fixed(IMAGE);
        let video = graph.input("video", DataType::Float, &[batch, frames, Dim::Fixed(3), image, image]);
        let text = graph.input("text", DataType::Int64, &[batch, Dim::Fixed(TEXT_TOKENS)]);
        let video_features = graph.scope("video_tower", |g| match self {
            Self::Joint | Self::Temporal => attention_tower(g, &video, self == Self::Joint),
            Self::Conv3d => convolution_tower(g, &video),
        });
        let text_features = graph.scope("text_tower", |g| text_tower(g, &text));
        let embeddings = graph.scope("video_head", |g| project(g, &video_features));
        let text_embeddings = graph.scope("text_head", |g| project(g, &text_features));
        let products = graph.mul(&embeddings, &text_embeddings);
        let similarity = graph.sum(&products, -1, false);
        let logits = graph.linear("classes", &embeddings, WIDTH, CLASSES);
        graph.output("similarity", &similarity, &[batch]);
        graph.output("logits", &logits, &[batch, Dim::Fixed(CLASSES)]);
        graph.output("embeddings", &embeddings, &[batch, Dim::Fixed(WIDTH)]);
        graph.into_bytes()
    }

    /// Writes the model to `path`.
    ///
    /// # Errors
    /// The file exists and `force` is false, or it cannot be written.
    pub fn write(self, path: &Path, force: bool) -> Result<(), ModelError> {
        let io = |source| ModelError::Write { path: path.into(), source };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(!force).create(true).truncate(true);
        let mut file = options.open(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => ModelError::Exists { path: path.into() },
            _ => io(source),
        })?;
        std::io::Write::write_all(&mut file, &self.onnx_bytes()).map_err(io)
    }
}

/// Patches of every frame as tokens, then attention over space and time or over time alone.
fn attention_tower(g: &mut GraphBuilder, video: &Value, joint: bool) -> Value {
    let tokens = g.scope("patches", |g| patch_tokens(g, video));
    let tokens = g.scope("positions", |g| add_positions(g, video, &tokens));
    let sequence = if joint { g.reshape(&tokens, &[0, -1, WIDTH]) } else { g.mean(&tokens, 2, false) };
    let first = g.scope("block0", |g| transformer_block(g, &sequence));
    let second = g.scope("block1", |g| transformer_block(g, &first));
    let normal = g.layer_norm("norm", &second, WIDTH);
    g.mean(&normal, 1, false)
}

/// `[B, T, 3, 64, 64]` to `[B, T, 16, WIDTH]`.
fn patch_tokens(g: &mut GraphBuilder, video: &Value) -> Value {
    let cut = g.reshape(video, &[0, 0, 3, GRID, PATCH, GRID, PATCH]);
    let grouped = g.transpose(&cut, &[0, 1, 3, 5, 2, 4, 6]);
    let pixels = 3 * PATCH * PATCH;
    let flat = g.reshape(&grouped, &[0, 0, GRID * GRID, pixels]);
    let embedded = g.linear("embed", &flat, pixels, WIDTH);
    g.gelu(&embedded)
}

/// Adds a learned position per patch and per frame; the frame table is cut to the clip's length.
fn add_positions(g: &mut GraphBuilder, video: &Value, tokens: &Value) -> Value {
    let spatial = g.weight("spatial", &[GRID * GRID, WIDTH], WIDTH);
    let table = g.weight("temporal", &[i64::from(MAX_FRAMES), WIDTH], WIDTH);
    let shape = g.node("Shape", &[video], Vec::new());
    let (start, axis) = (g.integers(&[0]), g.integers(&[1]));
    let frames = g.gather(&shape, &axis);
    let axes = g.integers(&[0]);
    let temporal = g.node("Slice", &[&table, &start, &frames, &axes], Vec::new());
    let temporal = g.node("Unsqueeze", &[&temporal, &axis], Vec::new());
    let placed = g.add(tokens, &spatial);
    g.add(&placed, &temporal)
}

/// Pre-norm attention and a two-layer perceptron, each with a residual: `[B, N, WIDTH]` to the same.
fn transformer_block(g: &mut GraphBuilder, x: &Value) -> Value {
    let attended = g.scope("attention", |g| {
        let normal = g.layer_norm("norm", x, WIDTH);
        attention(g, &normal)
    });
    let x = g.add(x, &attended);
    let expanded = g.scope("mlp", |g| {
        let normal = g.layer_norm("norm", &x, WIDTH);
        let hidden = g.linear("up", &normal, WIDTH, WIDTH * 4);
        let active = g.gelu(&hidden);
        g.linear("down", &active, WIDTH * 4, WIDTH)
    });
    g.add(&x, &expanded)
}

/// Multi-head self-attention over the middle axis.
fn attention(g: &mut GraphBuilder, x: &Value) -> Value {
    let head = WIDTH / HEADS;
    let split = |g: &mut GraphBuilder, name: &str, permutation: &[i64]| {
        let projected = g.linear(name, x, WIDTH, WIDTH);
        let heads = g.reshape(&projected, &[0, 0, HEADS, head]);
        g.transpose(&heads, permutation)
    };
    let query = split(g, "query", &[0, 2, 1, 3]);
    let key = split(g, "key", &[0, 2, 3, 1]);
    let value = split(g, "value", &[0, 2, 1, 3]);
    let scale = g.scalar(1.0 / (head as f32).sqrt());
    let query = g.mul(&query, &scale);
    let scores = g.matmul(&query, &key);
    let weights = g.node("Softmax", &[&scores], vec![int("axis", -1)]);
    let mixed = g.matmul(&weights, &value);
    let merged = g.transpose(&mixed, &[0, 2, 1, 3]);
    let merged = g.reshape(&merged, &[0, 0, WIDTH]);
    g.linear("out", &merged, WIDTH, WIDTH)
}

/// Three strided 3D convolutions that keep the number of frames, then the mean: `[B, WIDTH]`.
fn convolution_tower(g: &mut GraphBuilder, video: &Value) -> Value {
    let mut x = g.transpose(video, &[0, 2, 1, 3, 4]);
    let mut channels = 3;
    for (name, out) in [("conv0", 16), ("conv1", 32), ("conv2", WIDTH)] {
        x = g.scope(name, |g| {
            let fan_in = channels * 27;
            let weight = g.weight("weight", &[out, channels, 3, 3, 3], fan_in);
            let bias = g.weight("bias", &[out], fan_in);
            let attributes = vec![
                ints("kernel_shape", &[3, 3, 3]),
                ints("pads", &[1, 1, 1, 1, 1, 1]),
                ints("strides", &[1, 2, 2]),
            ];
            let convolved = g.node("Conv", &[&x, &weight, &bias], attributes);
            g.node("Relu", &[&convolved], Vec::new())
        });
        channels = out;
    }
    let pooled = g.node("GlobalAveragePool", &[&x], Vec::new());
    g.node("Flatten", &[&pooled], vec![int("axis", 1)])
}

/// Token ids `[B, 16]` to features `[B, WIDTH]`.
fn text_tower(g: &mut GraphBuilder, text: &Value) -> Value {
    let table = g.weight("tokens", &[i64::from(VOCABULARY), WIDTH], 1);
    let positions = g.weight("positions", &[TEXT_TOKENS, WIDTH], WIDTH);
    let tokens = g.gather(&table, text);
    let placed = g.add(&tokens, &positions);
    let mixed = g.scope("block0", |g| transformer_block(g, &placed));
    let normal = g.layer_norm("norm", &mixed, WIDTH);
    g.mean(&normal, 1, false)
}

/// A linear projection of unit length.
fn project(g: &mut GraphBuilder, features: &Value) -> Value {
    let projected = g.linear("project", features, WIDTH, WIDTH);
    g.l2_normalise(&projected)
}
