//! Which axis of which input is the batch and which the frames, and what every other axis measures.
//!
//! Found in this order: what the user says ([`ModelHints`]), the names of symbolic axes, the layout of
//! video (rank 5) and image (rank 4) inputs. Nothing is guessed beyond that: what stays unknown is an
//! error that lists the inputs and says how to name the axis. A number in the file is a *fixed* axis:
//! the model is then measured at that value alone on this axis.

mod input_axis;

pub use input_axis::InputAxis;

use super::ModelError;
use super::hints::{InputHints, ModelHints};
use super::onnx::{DeclaredDim, DeclaredDtype, DeclaredTensor, OnnxModel};
use crate::tensor::{Dtype, InputSpec};
use clipmark_profile::axis::Axis;
use clipmark_profile::plan::UsableVariant;
use clipmark_profile::point::{Shape, Variant};
use clipmark_profile::record::{Cause, Failure, Stage};
use std::collections::BTreeMap;

/// Batch, frames, channels, height and width.
const VIDEO_RANK: usize = 5;

/// Where what a flag says can be written down as well, for advice that names a flag.
const ALSO: &str = " (or say the same in the sidecar, a MODEL.toml beside the model)";

/// How a model's inputs follow the batch size and the clip length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelShape {
    /// One entry per input, in the model's order.
    pub inputs: Vec<InputShape>,
    /// The one batch size that the model takes; `None` when its batch axis is dynamic.
    pub fixed_batch_size: Option<u32>,
    /// The one clip length that the model takes; `None` when its frames axis is dynamic.
    pub fixed_clip_length: Option<u32>,
    /// How each axis was found, and what was assumed, for people to read.
    pub findings: Vec<String>,
}

/// One input as a function of the grid point.
#[derive(Debug, Clone, PartialEq)]
pub struct InputShape {
    /// Its name in the model.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its axes.
    pub axes: Vec<InputAxis>,
    /// Least value of random contents.
    pub low: f64,
    /// Greatest value of random contents, exclusive for integers.
    pub high: f64,
}

impl ModelShape {
    /// Finds the axes of `model`.
    ///
    /// # Errors
    /// An axis that cannot be told, an input of a dtype that cannot be made, or a hint that contradicts
    /// the file. Every message lists the inputs.
    pub fn find(model: &OnnxModel, hints: &ModelHints) -> Result<Self, ModelError> {
        Finder { model, hints, symbols: symbols(model), findings: Vec::new() }.find()
    }

    /// One clip of `frames` frames, or what the model takes instead. `None` where that is nothing.
    #[must_use]
    pub fn nearest(&self, frames: u32) -> Option<Shape> {
        Shape::new(self.fixed_batch_size.unwrap_or(1), self.fixed_clip_length.unwrap_or(frames))
    }

    /// Concrete inputs for one grid point.
    ///
    /// # Errors
    /// An input that cannot have whole frames at this point: an impossible shape.
    pub fn at(&self, at: Shape) -> Result<Vec<InputSpec>, Failure> {
        self.inputs.iter().map(|input| input.at(at)).collect()
    }

    /// `variant` with the axis values that this model insists on.
    #[must_use]
    pub fn usable(&self, variant: Variant) -> UsableVariant {
        let sizes = [(Axis::BatchSize, self.fixed_batch_size), (Axis::ClipLength, self.fixed_clip_length)];
        let fixed = sizes.into_iter().filter_map(|(axis, size)| Some((axis, size?))).collect();
        UsableVariant { variant, fixed }
    }
}

impl InputShape {
    fn at(&self, at: Shape) -> Result<InputSpec, Failure> {
        let size = |(index, axis): (usize, &InputAxis)| {
            axis.at(at).ok_or_else(|| {
                let message = format!(
                    "axis {index} of input `{}` is {axis}, which is no whole number above 0 for a batch of {} and {} frames; \
                     choose another clip length",
                    self.name,
                    at.batch(),
                    at.clip()
                );
                Failure { stage: Stage::Prepare, cause: Cause::ImpossibleShape, message }
            })
        };
        Ok(InputSpec {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.axes.iter().enumerate().map(size).collect::<Result<_, _>>()?,
            low: self.low,
            high: self.high,
            clips: self.axes.iter().position(|axis| *axis == InputAxis::BATCH),
            frames: self.axes.iter().position(|axis| axis.counts_frames(at)),
        })
    }

    /// How many of its frames there are for one of the clip, where it is a video of its own.
    fn frames_factor(&self) -> Option<usize> {
        let is_frames =
            |axis: &&InputAxis| axis.frames && !axis.batch && axis.divisor == 1 && axis.offset == 0;
        let axis = self.axes.iter().find(is_frames)?;
        (self.axes.len() == VIDEO_RANK).then_some(axis.factor)
    }
}

/// What a symbolic name says of its axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Batch,
    Frames,
    /// Every frame of every clip.
    BatchOfFrames,
    /// Frames where nothing else is: the length of a token sequence or of a signal.
    Sequence,
    Unknown,
}

/// Whether it is a name by itself and no expression of names.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn meaning(name: &str) -> Meaning {
    if !is_plain(name) {
        return Meaning::Unknown;
    }
    let name = name.to_lowercase();
    let stem = name.trim_start_matches("num_").trim_start_matches("n_").trim_end_matches("_size");
    match stem {
        "b" | "n" | "bs" | "bsz" => Meaning::Batch,
        "t" | "temporal" | "clip_length" | "clip_len" => Meaning::Frames,
        "s" | "l" | "seq" | "seq_len" | "length" | "len" | "tokens" | "samples" => Meaning::Sequence,
        "bt" | "b_t" | "nt" | "n_t" => Meaning::BatchOfFrames,
        _ if stem.contains("batch") && stem.contains("frame") => Meaning::BatchOfFrames,
        _ if stem.contains("batch") => Meaning::Batch,
        _ if stem.contains("frame") || stem.contains("time") => Meaning::Frames,
        _ if stem.contains("sequence") => Meaning::Sequence,
        _ => Meaning::Unknown,
    }
}

/// The role of axis `index` by the usual layouts of video (NTCHW, NCTHW, NTHWC) and images (NCHW, NHWC).
/// The channel axis, of 3, 1, 4 or 2 (as flow has), tells them apart.
fn layout(dims: &[DeclaredDim], index: usize) -> Option<InputAxis> {
    let channels = |candidates: &[usize]| {
        let of = |size| candidates.iter().find(|&&at| dims[at] == DeclaredDim::Fixed(size)).copied();
        [3, 1, 4, 2].into_iter().find_map(of)
    };
    match dims.len() {
        5 => {
            let frames = if channels(&[2, 1, 4])? == 1 { 2 } else { 1 };
            [(0, InputAxis::BATCH), (frames, InputAxis::FRAMES)]
                .into_iter()
                .find(|role| role.0 == index)
                .map(|role| role.1)
        }
        4 => channels(&[1, 3]).filter(|_| index == 0).map(|_| InputAxis::BATCH),
        _ => None,
    }
}

/// What names stand for that say nothing themselves, by the layout of an input that has one as an axis: another input may
/// have a multiple of it.
fn symbols(model: &OnnxModel) -> BTreeMap<&str, InputAxis> {
    let mut symbols = BTreeMap::new();
    for dims in model.inputs.iter().filter_map(|input| input.dims.as_deref()) {
        for (index, dim) in dims.iter().enumerate() {
            if let (DeclaredDim::Symbol(name), Some(axis)) = (dim, layout(dims, index))
                && is_plain(name)
                && meaning(name) == Meaning::Unknown
            {
                symbols.entry(name.as_str()).or_insert(axis);
            }
        }
    }
    symbols
}

/// Of an axis that nothing is known of, the flag that gives its name a size, where one flag can.
type Unknown = Option<Option<String>>;

struct Finder<'a> {
    model: &'a OnnxModel,
    hints: &'a ModelHints,
    symbols: BTreeMap<&'a str, InputAxis>,
    findings: Vec<String>,
}

impl Finder<'_> {
    fn find(mut self) -> Result<ModelShape, ModelError> {
        self.refuse_hints_without_input()?;
        let mut inputs = Vec::with_capacity(self.model.inputs.len());
        for input in &self.model.inputs {
            let hint = self.hints.inputs.get(&input.name).cloned().unwrap_or_default();
            let dtype = self.dtype(input, &hint)?;
            let axes = self.axes(input, &hint)?;
            let (low, high) = self.range(input, dtype, &hint)?;
            inputs.push(InputShape { name: input.name.clone(), dtype, axes, low, high });
        }
        self.roles_of_fixed_axes(&mut inputs);
        self.count_frames_of_the_longest(&mut inputs);
        let fixed_batch_size = self.fixed(&inputs, "batch", |axis| axis.batch)?;
        let fixed_clip_length = self.fixed(&inputs, "frames", |axis| axis.frames)?;
        Ok(ModelShape { inputs, fixed_batch_size, fixed_clip_length, findings: self.findings })
    }

    fn refuse_hints_without_input(&self) -> Result<(), ModelError> {
        let known = |name: &String| self.model.inputs.iter().any(|input| input.name == *name);
        match self.hints.inputs.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => self.refuse(format!("there is no input `{name}`"), "name one of the inputs"),
        }
    }

    fn dtype(&self, input: &DeclaredTensor, hint: &InputHints) -> Result<Dtype, ModelError> {
        let dtype = match &input.dtype {
            DeclaredDtype::Known(dtype) => *dtype,
            DeclaredDtype::Other(name) => {
                let problem = format!("input `{}` is of type {name}", input.name);
                return self.refuse(problem, "export the model with f32, f16, i64, i32, u8 or bool inputs");
            }
        };
        match hint.dtype {
            Some(said) if said != dtype => self.refuse(
                format!("input `{}` is {}, not {}", input.name, dtype.name(), said.name()),
                "correct the dtype in the sidecar",
            ),
            _ => Ok(dtype),
        }
    }

    fn axes(&mut self, input: &DeclaredTensor, hint: &InputHints) -> Result<Vec<InputAxis>, ModelError> {
        if let Some(text) = &hint.axes {
            return self.axes_as_told(input, text);
        }
        let Some(dims) = &input.dims else {
            let cure = format!("give its axes, e.g. --axes {}=batch,3,224,224{ALSO}", input.name);
            return self.refuse(format!("the file does not state the rank of input `{}`", input.name), &cure);
        };
        let mut axes = Vec::with_capacity(dims.len());
        for (index, dim) in dims.iter().enumerate() {
            axes.push(match dim {
                DeclaredDim::Fixed(size) => InputAxis::fixed(*size),
                DeclaredDim::Symbol(name) => self.dynamic_axis(input, index, name)?,
                DeclaredDim::Unnamed => self.dynamic_axis(input, index, "")?,
            });
        }
        Ok(axes)
    }

    /// The axes that a hint spells out.
    fn axes_as_told(&mut self, input: &DeclaredTensor, text: &str) -> Result<Vec<InputAxis>, ModelError> {
        let mut axes = Vec::new();
        for part in text.split(',') {
            let Some(axis) = self.expression(part) else {
                return self.refuse(
                    format!("axis `{}` of input `{}` is not understood", part.trim(), input.name),
                    "write a product of batch, frames, numbers and names that have a size, e.g. frames*160 or frames/4+1",
                );
            };
            axes.push(axis);
        }
        if let Some(dims) = input.dims.as_ref().filter(|dims| dims.len() != axes.len()) {
            let problem =
                format!("input `{}` has {} axes, {} were given", input.name, dims.len(), axes.len());
            return self.refuse(problem, "give every axis in order");
        }
        let shown: Vec<String> = axes.iter().map(ToString::to_string).collect();
        self.findings.push(format!("{}: axes {}, as told", input.name, shown.join(", ")));
        Ok(axes)
    }

    /// What an expression of names and numbers says, or `None` where a name is unknown.
    fn expression(&self, text: &str) -> Option<InputAxis> {
        if let Some(size) = self.hints.sizes.get(text.trim()) {
            return Some(InputAxis::fixed(*size));
        }
        InputAxis::parse(text, |name| {
            let size = self.hints.sizes.get(name).copied().or_else(|| name.parse().ok());
            match (size, meaning(name)) {
                (Some(size), _) => Some(InputAxis::fixed(size)),
                (None, Meaning::Batch) => Some(InputAxis::BATCH),
                (None, Meaning::Frames) => Some(InputAxis::FRAMES),
                (None, Meaning::BatchOfFrames) => Some(InputAxis::BATCH_OF_FRAMES),
                (None, Meaning::Sequence | Meaning::Unknown) => self.symbols.get(name).copied(),
            }
        })
    }

    fn dynamic_axis(
        &mut self,
        input: &DeclaredTensor,
        index: usize,
        name: &str,
    ) -> Result<InputAxis, ModelError> {
        let Some((axis, why)) = self.role(input, index, name) else {
            return self.unknown_axis(input, index, name);
        };
        self.findings.push(format!("{}: axis {index} is {axis}, {why}", input.name));
        Ok(axis)
    }

    /// What a dynamic axis is, and how that is known.
    fn role(&self, input: &DeclaredTensor, index: usize, name: &str) -> Option<(InputAxis, String)> {
        let by_name = || format!("by its name `{name}`");
        let by_layout = |axis| (axis, "by the input's layout".to_owned());
        let is_sized = self.hints.sizes.contains_key(name);
        // Exporters number axes; such a name is no size.
        let is_number = name.parse::<usize>().is_ok();
        let symbol = self.symbols.get(name).filter(|_| !is_sized);
        let expression = || self.expression(name).filter(|_| is_sized || !is_number);
        if let Some(axis) = symbol {
            Some(by_layout(*axis))
        } else if let Some(axis) = expression() {
            Some((axis, by_name()))
        } else if meaning(name) == Meaning::Sequence && self.sequence_is_frames(input) {
            Some((InputAxis::FRAMES, format!("{}: the model has no other frames axis", by_name())))
        } else if let Some(axis) = layout(input.dims.as_deref().unwrap_or_default(), index) {
            Some(by_layout(axis))
        } else {
            let first = "the first axis, dynamic and without a telling name".to_owned();
            (index == 0).then_some((InputAxis::BATCH, first))
        }
    }

    /// A sequence takes the place of frames in models without any: in signals, and in texts where there
    /// is nothing but text.
    fn sequence_is_frames(&self, input: &DeclaredTensor) -> bool {
        let dims = || self.model.inputs.iter().filter_map(|input| input.dims.as_ref());
        let named = |dim: &DeclaredDim| matches!(dim, DeclaredDim::Symbol(s) if self.expression(s).is_some_and(|axis| axis.frames));
        let has_frames = dims().any(|dims| dims.len() == 5 || dims.iter().any(named));
        let all_text = !self.model.inputs.iter().any(is_signal);
        !has_frames && (is_signal(input) || all_text)
    }

    /// Asks for every axis of the input that nothing is known of, with a proposal that works as it is.
    fn unknown_axis<T>(&self, input: &DeclaredTensor, index: usize, name: &str) -> Result<T, ModelError> {
        let what = match name {
            "" => "has no name".into(),
            name => format!("`{name}` is neither batch nor frames"),
        };
        let (axes, sizes): (Vec<String>, Vec<Unknown>) = self.proposed(input).into_iter().unzip();
        let sizes: Option<Vec<String>> = sizes.into_iter().flatten().collect();
        let sizes = sizes.map_or_else(String::new, |sizes| format!(", or sizes: {}", sizes.join(" ")));
        let cure =
            format!("give the input's axes, e.g. --axes {}={}{sizes}{ALSO}", input.name, axes.join(","));
        self.refuse(format!("axis {index} of input `{}` {what}", input.name), &cure)
    }

    /// For each axis what `--axes` could say.
    fn proposed(&self, input: &DeclaredTensor) -> Vec<(String, Unknown)> {
        const SIDE: usize = 224;
        let proposed = |(index, dim): (usize, &DeclaredDim)| {
            let name = match dim {
                DeclaredDim::Fixed(size) => return (size.to_string(), None),
                DeclaredDim::Symbol(name) => name.as_str(),
                DeclaredDim::Unnamed => "",
            };
            match self.role(input, index, name) {
                Some((axis, _)) => (axis.to_string(), None),
                None if is_plain(name) && !name.is_empty() => {
                    (SIDE.to_string(), Some(Some(format!("--size {name}={SIDE}"))))
                }
                None => (SIDE.to_string(), Some(None)),
            }
        };
        input.dims.iter().flatten().enumerate().map(proposed).collect()
    }

    /// Gives the roles that no dynamic axis has to the fixed axes of the main input, by its layout.
    fn roles_of_fixed_axes(&mut self, inputs: &mut [InputShape]) {
        let Some(main) = self.main_input() else { return };
        let input = &self.model.inputs[main];
        if self.hints.inputs.get(&input.name).is_some_and(|hint| hint.axes.is_some()) {
            return;
        }
        let dims = input.dims.as_deref().unwrap_or_default();
        for (is_role, role) in
            [(is_batch as fn(&InputAxis) -> bool, InputAxis::BATCH), (is_frames, InputAxis::FRAMES)]
        {
            if inputs.iter().flat_map(|input| &input.axes).any(is_role) {
                continue;
            }
            for index in 0..dims.len() {
                if matches!(dims[index], DeclaredDim::Fixed(_)) && layout(dims, index) == Some(role) {
                    inputs[main].axes[index] = role;
                    self.findings
                        .push(format!("{}: axis {index} is {role}, by the input's layout", input.name));
                }
            }
        }
    }

    /// The input whose layout speaks for the model: of the videos the first of those with the most frames, else the first
    /// image.
    fn main_input(&self) -> Option<usize> {
        let inputs = self.model.inputs.iter().enumerate();
        let signals =
            inputs.filter_map(|(at, input)| Some((at, input.dims.as_deref().filter(|_| is_signal(input))?)));
        let frames = |dims: &[DeclaredDim]| {
            let frames = (0..dims.len()).find(|index| layout(dims, *index) == Some(InputAxis::FRAMES));
            frames.map_or(0, |index| if let DeclaredDim::Fixed(size) = dims[index] { size } else { 0 })
        };
        let of_rank = |wanted| signals.clone().filter(move |(_, dims)| dims.len() == wanted);
        let longest = of_rank(VIDEO_RANK).rev().max_by_key(|(_, dims)| frames(dims));
        longest.or_else(|| of_rank(4).next()).map(|(at, _)| at)
    }

    /// Of several videos, as slow and fast pathways are, the one with the most frames says how long a clip is.
    fn count_frames_of_the_longest(&mut self, inputs: &mut [InputShape]) {
        let videos = inputs.iter().filter_map(|input| Some((input.frames_factor()?, &input.name)));
        let (Some((least, _)), Some((most, name))) =
            (videos.clone().min_by_key(|video| video.0), videos.max_by_key(|video| video.0))
        else {
            return;
        };
        if least == most {
            return;
        }
        self.findings.push(format!("frames are those of `{name}`, which has the most"));
        for input in inputs {
            input.axes.iter_mut().for_each(|axis| *axis = axis.of_frames_divided_by(most));
        }
    }

    /// The one value that the file's numbers leave to a role, if they do.
    fn fixed(
        &mut self,
        inputs: &[InputShape],
        role: &str,
        has: fn(&InputAxis) -> bool,
    ) -> Result<Option<u32>, ModelError> {
        let mut value = None;
        for (input, declared) in inputs.iter().zip(&self.model.inputs) {
            for (index, axis) in input.axes.iter().enumerate() {
                let Some(DeclaredDim::Fixed(size)) = declared.dims.as_ref().map(|dims| &dims[index]) else {
                    continue;
                };
                if *axis == InputAxis::fixed(*size) {
                    continue;
                }
                let implied = axis.solve(*size);
                if implied.is_none() || (has(axis) && value.is_some() && value != implied) {
                    let problem =
                        format!("axis {index} of input `{}` is {size} in the file, not {axis}", input.name);
                    return self.refuse(problem, "correct its axes so that they agree with the file");
                }
                if has(axis) {
                    value = implied;
                }
            }
        }
        let dynamic = value.is_none() && inputs.iter().flat_map(|input| &input.axes).any(has);
        if dynamic {
            return Ok(None);
        }
        let (value, why) = match value {
            Some(value) => (value, "the file fixes it"),
            None if role == "frames" => (1, "no input has a frames axis"),
            None => (self.batch_of_one(inputs)?, "no input has a batch axis"),
        };
        self.findings.push(format!("{role} is {value} alone: {why}"));
        let value = u32::try_from(value).ok();
        value.map_or_else(
            || self.refuse(format!("{role} is too large"), "export a smaller model"),
            |v| Ok(Some(v)),
        )
    }

    /// A model without a batch axis takes one clip, unless an axis of unknown meaning comes first.
    fn batch_of_one(&self, inputs: &[InputShape]) -> Result<usize, ModelError> {
        let main = self.main_input().unwrap_or(0);
        let told = |name: &String| self.hints.inputs.get(name).is_some_and(|hint| hint.axes.is_some());
        let suspect = inputs.get(main).filter(|input| {
            let first = input.axes.first().is_some_and(|axis| !axis.frames && axis.factor > 1);
            !told(&input.name) && input.axes.len() > 1 && first
        });
        let has_frames = inputs.iter().flat_map(|input| &input.axes).any(is_frames);
        match suspect {
            Some(input) if !has_frames => self.refuse(
                format!(
                    "no batch axis was found; the first axis of input `{}` is {}",
                    input.name, input.axes[0]
                ),
                &format!(
                    "give the axes, e.g. --axes {}=batch,3,224,224, with its own number if it is no batch{ALSO}",
                    input.name
                ),
            ),
            _ => Ok(1),
        }
    }

    fn range(
        &mut self,
        input: &DeclaredTensor,
        dtype: Dtype,
        hint: &InputHints,
    ) -> Result<(f64, f64), ModelError> {
        let vocabulary = hint.vocabulary.or_else(|| self.model.vocabularies.get(&input.name).copied());
        let (low, high) = match (hint.range, vocabulary, dtype) {
            (Some([low, high]), ..) => (low, high),
            (None, Some(size), Dtype::I64 | Dtype::I32) => (0.0, f64::from(size)),
            (None, _, Dtype::F32 | Dtype::F16) => (-1.0, 1.0),
            (None, _, Dtype::U8) => (0.0, 256.0),
            (None, _, Dtype::Bool) => (0.0, 2.0),
            (None, None, Dtype::I64 | Dtype::I32) if input.name.contains("mask") => (1.0, 2.0),
            (None, None, Dtype::I64 | Dtype::I32) => {
                let advice = "give --vocabulary or --range for others";
                self.findings.push(format!(
                    "{}: its values are 0 and 1, their range being unknown; {advice}",
                    input.name
                ));
                (0.0, 2.0)
            }
        };
        let integer = !matches!(dtype, Dtype::F32 | Dtype::F16);
        if low.is_finite() && high.is_finite() && low <= high && !(integer && low.ceil() >= high.ceil()) {
            return Ok((low, high));
        }
        self.refuse(
            format!("the range {low} to {high} of input `{}` is empty", input.name),
            "give the lesser value first",
        )
    }

    fn refuse<T>(&self, problem: String, cure: &str) -> Result<T, ModelError> {
        let inputs: Vec<String> = self.model.inputs.iter().map(ToString::to_string).collect();
        Err(ModelError::Axes { problem, inputs: inputs.join("; "), cure: cure.into() })
    }
}

fn is_batch(axis: &InputAxis) -> bool {
    axis.batch
}

fn is_frames(axis: &InputAxis) -> bool {
    axis.frames
}

/// Video, images and audio, as opposed to token ids and masks.
fn is_signal(input: &DeclaredTensor) -> bool {
    matches!(input.dtype, DeclaredDtype::Known(Dtype::F32 | Dtype::F16 | Dtype::U8))
}

#[cfg(test)]
mod tests;
