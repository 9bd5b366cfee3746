//! What a user says about a model that its file does not: the sidecar `MODEL.toml` and the flags that
//! override it.
//!
//! ```toml
//! # x3d.toml, beside x3d.onnx
//! [sizes]                       # symbolic axes that are neither batch nor frames
//! height = 182
//!
//! [inputs.video]
//! axes = "batch, 3, frames, height, 182"
//! range = [-2.0, 2.0]
//!
//! [inputs.text]
//! vocabulary = 49408
//! ```
//!
//! An axis is a product of `batch`, `frames`, a name from `[sizes]` and numbers: `frames*160` is an audio
//! axis of 160 samples a frame, `batch*frames` the axis of a model that takes frames one by one.

use super::ModelError;
use crate::tensor::Dtype;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything a user says about one model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelHints {
    /// Sizes of symbolic axes by their name.
    pub sizes: BTreeMap<String, usize>,
    /// Hints on inputs by their name.
    pub inputs: BTreeMap<String, InputHints>,
}

/// What a user says about one input.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputHints {
    /// Every axis in order, separated by commas.
    pub axes: Option<String>,
    /// The dtype that the file is expected to declare.
    pub dtype: Option<Dtype>,
    /// Least and greatest value of random contents.
    pub range: Option<[f64; 2]>,
    /// Token ids are drawn from 0 to this, exclusive.
    pub vocabulary: Option<u32>,
}

/// The flags that say the same as a sidecar, and win over it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "What the model's file does not say")]
pub struct HintArgs {
    /// Axes of an input, e.g. video=batch,3,frames,224,224 (repeatable).
    #[arg(long, value_name = "INPUT=AXES")]
    pub axes: Vec<String>,
    /// Size of a symbolic axis, e.g. height=224 (repeatable).
    #[arg(long, value_name = "NAME=SIZE")]
    pub size: Vec<String>,
    /// Range of an input's random contents, e.g. video=-1,1 (repeatable).
    #[arg(long, value_name = "INPUT=LOW,HIGH", allow_hyphen_values = true)]
    pub range: Vec<String>,
    /// Vocabulary size of a token input, e.g. text=49408 (repeatable).
    #[arg(long, value_name = "INPUT=SIZE")]
    pub vocabulary: Vec<String>,
}

/// Where the sidecar of the model at `path` would lie.
fn sidecar_path(path: &Path) -> PathBuf {
    path.with_extension("toml")
}

impl ModelHints {
    /// The sidecar of the model at `path`, or no hints when there is none.
    ///
    /// # Errors
    /// The sidecar cannot be read, or is not understood; the message names the line.
    pub fn beside(path: &Path) -> Result<Self, ModelError> {
        let path = sidecar_path(path);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ModelError::Read { path, source }),
        };
        toml::from_str(&text).map_err(|error| ModelError::Sidecar { path, reason: error.to_string() })
    }

    /// These hints with what `flags` say in their place.
    ///
    /// # Errors
    /// A flag that is not of its form.
    pub fn with_flags(mut self, flags: &HintArgs) -> Result<Self, ModelError> {
        for text in &flags.axes {
            let (input, axes) = pair("--axes", text, "INPUT=AXES")?;
            self.inputs.entry(input.into()).or_default().axes = Some(axes.into());
        }
        for text in &flags.size {
            let (name, size) = pair("--size", text, "NAME=SIZE")?;
            self.sizes.insert(name.into(), number("--size", text, size)?);
        }
        for text in &flags.range {
            let (input, range) = pair("--range", text, "INPUT=LOW,HIGH")?;
            let (low, high) =
                range.split_once(',').ok_or_else(|| malformed("--range", text, "INPUT=LOW,HIGH"))?;
            let range = [number("--range", text, low)?, number("--range", text, high)?];
            self.inputs.entry(input.into()).or_default().range = Some(range);
        }
        for text in &flags.vocabulary {
            let (input, size) = pair("--vocabulary", text, "INPUT=SIZE")?;
            self.inputs.entry(input.into()).or_default().vocabulary =
                Some(number("--vocabulary", text, size)?);
        }
        Ok(self)
    }
}

/// Splits at the last `=`: input names may hold one, axes and numbers may not.
fn pair<'a>(flag: &'static str, text: &'a str, form: &'static str) -> Result<(&'a str, &'a str), ModelError> {
    text.rsplit_once('=').ok_or_else(|| malformed(flag, text, form))
}

fn number<T: std::str::FromStr>(flag: &'static str, text: &str, value: &str) -> Result<T, ModelError> {
    value.trim().parse().map_err(|_| malformed(flag, text, "a number on the right"))
}

fn malformed(flag: &'static str, text: &str, form: &'static str) -> ModelError {
    ModelError::Flag { flag, text: text.into(), form }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_sidecar_and_leave_the_rest_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("m.onnx");
        std::fs::write(
            dir.path().join("m.toml"),
            "[sizes]\nheight = 112\n[inputs.video]\naxes = \"batch, frames, 3, 64, 64\"\ndtype = \"f32\"\n[inputs.text]\nvocabulary = 9",
        )
        .unwrap();
        let flags = HintArgs {
            axes: vec!["video=1,3,frames,64,64".into()],
            size: vec!["width=224".into()],
            range: vec!["video=-2,2.5".into()],
            vocabulary: vec![],
        };
        let hints = ModelHints::beside(&model).unwrap().with_flags(&flags).unwrap();
        assert_eq!(hints.sizes, BTreeMap::from([("height".into(), 112), ("width".into(), 224)]));
        let video = &hints.inputs["video"];
        assert_eq!(video.axes.as_deref(), Some("1,3,frames,64,64"));
        assert_eq!((video.dtype, video.range), (Some(Dtype::F32), Some([-2.0, 2.5])));
        assert_eq!(hints.inputs["text"].vocabulary, Some(9));
    }

    #[test]
    fn a_model_without_a_sidecar_has_no_hints() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ModelHints::beside(&dir.path().join("m.onnx")).unwrap(), ModelHints::default());
    }

    #[test]
    fn an_unknown_key_in_a_sidecar_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.toml"), "[inputs.video]\naxis = \"batch\"").unwrap();
        let error = ModelHints::beside(&dir.path().join("m.onnx")).unwrap_err().to_string();
        assert!(error.contains("m.toml") && error.contains("axis") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_malformed_flag_is_named_with_its_form() {
        for flags in [
            HintArgs { axes: vec!["batch".into()], ..HintArgs::default() },
            HintArgs { size: vec!["h=big".into()], ..HintArgs::default() },
            HintArgs { range: vec!["v=1".into()], ..HintArgs::default() },
        ] {
            let error = ModelHints::default().with_flags(&flags).unwrap_err().to_string();
            assert!(error.starts_with("--"), "{error}");
        }
    }
}
