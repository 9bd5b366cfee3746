//! The options of the backends `tensorrt` and `trtexec`, checked once.

use crate::backend::{BackendError, EngineSpec};
use clipmark_profile::record::{Cause, Stage};
use clipmark_trt::{ShapeRange, TACTIC_SOURCES, Wait};
use std::collections::BTreeMap;

/// Every option with what it takes.
pub(in crate::backend) const KNOWN: &[(&str, &str)] = &[
    ("builder_level", "builder optimisation level 0 to 5, TensorRT 8.6 and later"),
    ("cuda_graph", "true: compute is recorded once and launched as a CUDA graph"),
    ("device", "index of the GPU, 0"),
    ("dla_core", "index of a DLA core"),
    ("engine_cache", "false: build every time"),
    ("engine_cache_mib", "most MiB of cached engines, 2048"),
    ("gpu_fallback", "false: fail where the DLA core cannot run a layer"),
    ("layer_details", "true: engines keep layer types for operator profiles"),
    ("profile", "point: one engine per point; shared: one engine for all, with profile_min and profile_max"),
    ("profile_max", "greatest shapes, as video:4x128x3x64x64,text:4x16"),
    ("profile_min", "least shapes"),
    ("profile_opt", "shapes that kernels are chosen for; the greatest unless set"),
    (
        "tactic_sources",
        "none, or any of cublas,cublas_lt,cudnn,edge_mask_convolutions,jit_convolutions: what the builder may choose kernels from",
    ),
    ("timing_cache", "false: time every kernel anew"),
    ("wait", "auto, spin or block: how the host waits for the GPU"),
    ("workspace_mib", "most MiB of scratch memory while building and running"),
];

/// The options of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct TensorrtOptions {
    pub(in crate::backend) builder_level: Option<i32>,
    pub(in crate::backend) cuda_graph: bool,
    pub(in crate::backend) device: u32,
    pub(in crate::backend) dla_core: Option<u32>,
    pub(in crate::backend) engine_cache: bool,
    pub(in crate::backend) engine_cache_bytes: u64,
    pub(in crate::backend) gpu_fallback: bool,
    pub(in crate::backend) layer_details: bool,
    /// Ranges of a shared engine; `None`: one engine per point.
    pub(in crate::backend) shared: Option<Vec<ShapeRange>>,
    /// A bit for each of [`TACTIC_SOURCES`].
    pub(in crate::backend) tactics: Option<u32>,
    pub(in crate::backend) timing_cache: bool,
    pub(in crate::backend) wait: Wait,
    pub(in crate::backend) workspace_bytes: Option<u64>,
}

impl TensorrtOptions {
    /// Reads the options that `backend` was given for one engine.
    pub(in crate::backend) fn of(
        backend: &'static str,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, BackendError> {
        let options = Given(given);
        options.reject_unknown(backend)?;
        Ok(Self {
            builder_level: options.number("builder_level", 0, 5)?.map(|level| level as i32),
            cuda_graph: options.switch("cuda_graph", false)?,
            device: options.number("device", 0, 63)?.unwrap_or(0) as u32,
            dla_core: options.number("dla_core", 0, 15)?.map(|core| core as u32),
            engine_cache: options.switch("engine_cache", true)?,
            engine_cache_bytes: options.number("engine_cache_mib", 1, 1 << 20)?.unwrap_or(2048) << 20,
            gpu_fallback: options.switch("gpu_fallback", true)?,
            layer_details: options.switch("layer_details", false)?,
            shared: options.shared()?,
            tactics: options.tactics()?,
            timing_cache: options.switch("timing_cache", true)?,
            wait: options.wait()?,
            workspace_bytes: options.number("workspace_mib", 1, 1 << 20)?.map(|mib| mib << 20),
        })
    }
}

/// Holds options against what they may be, before the points of a plan are known: a shared profile without
/// bounds will get them from these.
pub(in crate::backend) fn check(
    backend: &'static str,
    given: &BTreeMap<String, String>,
) -> Result<(), BackendError> {
    let mut given = given.clone();
    if wants_bounds(&given) {
        given.remove("profile");
    }
    TensorrtOptions::of(backend, &given).map(|_| ())
}

/// Whether a shared profile is asked for and its bounds are left to the plan.
fn wants_bounds(given: &BTreeMap<String, String>) -> bool {
    given.get("profile").is_some_and(|profile| profile == "shared")
        && !["profile_min", "profile_opt", "profile_max"].iter().any(|bound| given.contains_key(*bound))
}

/// Gives a shared profile that was asked for without bounds those of `points`, each given by its inputs.
///
/// # Errors
/// The points have inputs of different rank, so that nothing can serve them all.
pub fn share(options: &mut BTreeMap<String, String>, points: &[EngineSpec]) -> Result<(), BackendError> {
    if wants_bounds(options) {
        let bounds = shared_profile(points).ok_or_else(|| {
            refuse("profile = shared is not possible: the points' inputs differ in rank".into())
        })?;
        options.extend(bounds);
    }
    Ok(())
}

struct Given<'a>(&'a BTreeMap<String, String>);

fn refuse(message: String) -> BackendError {
    BackendError::new(Stage::Prepare, Cause::Backend, message)
}

impl Given<'_> {
    fn reject_unknown(&self, backend: &str) -> Result<(), BackendError> {
        for name in self.0.keys() {
            if KNOWN.iter().all(|(known, _)| known != name) {
                let list: Vec<String> = KNOWN.iter().map(|(name, what)| format!("{name} ({what})")).collect();
                return Err(refuse(format!("{backend} has no option `{name}`; it has {}", list.join("; "))));
            }
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, BackendError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let value = text.parse().ok().filter(|value| (least..=most).contains(value));
        value.map(Some).ok_or_else(|| refuse(format!("{name} = {text} is no number from {least} to {most}")))
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool, BackendError> {
        match self.text(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(refuse(format!("{name} = {other} is neither true nor false"))),
        }
    }

    fn tactics(&self) -> Result<Option<u32>, BackendError> {
        let Some(text) = self.text("tactic_sources") else { return Ok(None) };
        if text == "none" {
            return Ok(Some(0));
        }
        let bit = |name: &str| {
            let place = TACTIC_SOURCES.iter().position(|known| *known == name);
            place.map(|place| 1 << place).ok_or_else(|| {
                let known = TACTIC_SOURCES.join(", ");
                refuse(format!(
                    "tactic_sources = {text}: `{name}` is none of {known}, and `none` stands alone"
                ))
            })
        };
        text.split(',').try_fold(0, |mask, name| Ok(mask | bit(name)?)).map(Some)
    }

    fn wait(&self) -> Result<Wait, BackendError> {
        match self.text("wait").unwrap_or("auto") {
            "auto" => Ok(Wait::Auto),
            "spin" => Ok(Wait::Spin),
            "block" => Ok(Wait::Block),
            other => Err(refuse(format!("wait = {other} is none of auto, spin and block"))),
        }
    }

    fn shared(&self) -> Result<Option<Vec<ShapeRange>>, BackendError> {
        let given = ["profile_min", "profile_opt", "profile_max"];
        match self.text("profile").unwrap_or("point") {
            "point" => match given.iter().find(|name| self.0.contains_key(**name)) {
                Some(name) => {
                    Err(refuse(format!("{name} is for profile = shared; leave it out or set that")))
                }
                None => Ok(None),
            },
            "shared" => {
                let [Some(min), Some(max)] = [self.text("profile_min"), self.text("profile_max")] else {
                    return Err(refuse("profile = shared requires profile_min and profile_max".into()));
                };
                let opt = self.text("profile_opt").unwrap_or(max);
                ranges(min, opt, max).map(Some)
            }
            other => Err(refuse(format!("profile = {other} is neither point nor shared"))),
        }
    }
}

fn ranges(min: &str, opt: &str, max: &str) -> Result<Vec<ShapeRange>, BackendError> {
    let [min, mut opt, mut max] = [parse_shapes(min)?, parse_shapes(opt)?, parse_shapes(max)?];
    min.into_iter()
        .map(|(name, min)| {
            let missing = || refuse(format!("profile_opt or profile_max gives no shape for input {name}"));
            let opt = opt.remove(&name).ok_or_else(missing)?;
            let max = max.remove(&name).ok_or_else(missing)?;
            let ordered = min.iter().zip(&opt).zip(&max).all(|((min, opt), max)| min <= opt && opt <= max);
            if min.len() != opt.len() || opt.len() != max.len() || !ordered {
                let message =
                    format!("input {name}: {min:?}, {opt:?} and {max:?} do not grow along every axis");
                return Err(refuse(message));
            }
            Ok(ShapeRange { name, min, opt, max })
        })
        .collect()
}

/// Reads `name:1x8x4,other:1x16`, the notation of trtexec's shape flags.
fn parse_shapes(text: &str) -> Result<BTreeMap<String, Vec<i64>>, BackendError> {
    let shape = |part: &str| {
        let (name, extents) = part.rsplit_once(':')?;
        let extents = extents.split('x').map(|extent| extent.parse().ok()).collect::<Option<Vec<i64>>>()?;
        Some((name.to_owned(), extents))
    };
    let unreadable = |part: &str| refuse(format!("`{part}` is no shape; write it as video:1x8x3x64x64"));
    text.split(',').map(|part| shape(part).ok_or_else(|| unreadable(part))).collect()
}

/// The notation of trtexec's shape flags.
pub(in crate::backend) fn shapes_text<'a>(shapes: impl Iterator<Item = (&'a str, &'a [i64])>) -> String {
    let shape = |(name, extents): (&str, &[i64])| {
        let extents: Vec<String> = extents.iter().map(ToString::to_string).collect();
        format!("{name}:{}", extents.join("x"))
    };
    shapes.map(shape).collect::<Vec<_>>().join(",")
}

/// The options that let one engine serve all of `points`, each given by its inputs: least and greatest
/// extents along every axis. `None` when there is nothing to share or the ranks differ.
#[must_use]
pub fn shared_profile(points: &[EngineSpec]) -> Option<BTreeMap<String, String>> {
    let first = points.first()?;
    let mut bounds: Vec<(&str, Vec<i64>, Vec<i64>)> = first
        .inputs
        .iter()
        .map(|input| {
            let extents: Vec<i64> = input.shape.iter().map(|&extent| extent as i64).collect();
            (input.name.as_str(), extents.clone(), extents)
        })
        .collect();
    for point in points {
        for ((name, min, max), input) in bounds.iter_mut().zip(&point.inputs) {
            if *name != input.name || min.len() != input.shape.len() {
                return None;
            }
            for (axis, &extent) in input.shape.iter().enumerate() {
                min[axis] = min[axis].min(extent as i64);
                max[axis] = max[axis].max(extent as i64);
            }
        }
    }
    let least = shapes_text(bounds.iter().map(|(name, min, _)| (*name, min.as_slice())));
    let greatest = shapes_text(bounds.iter().map(|(name, _, max)| (*name, max.as_slice())));
    let option = |name: &str, value: String| (name.to_owned(), value);
    Some(BTreeMap::from([
        option("profile", "shared".into()),
        option("profile_min", least),
        option("profile_max", greatest),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Dtype, InputSpec};
    use clipmark_profile::point::{Precision, Shape};

    fn spec(options: &[(&str, &str)], shape: &[usize]) -> EngineSpec {
        let input = InputSpec {
            name: "x".into(),
            dtype: Dtype::F32,
            shape: shape.into(),
            low: 0.0,
            high: 1.0,
            clips: None,
            frames: None,
        };
        EngineSpec {
            shape: Shape::new(1, 8).expect("not zero"),
            precision: Precision::Model,
            threads: 1,
            inputs: vec![input],
            options: options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            cache_dir: None,
        }
    }

    fn refused(options: &[(&str, &str)]) -> String {
        TensorrtOptions::of("tensorrt", &spec(options, &[1, 8]).options).expect_err("refused").message
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_list_of_known_ones() {
        let message = refused(&[("dla", "0")]);
        assert!(message.contains("no option `dla`") && message.contains("dla_core"), "{message}");
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        assert!(refused(&[("builder_level", "6")]).contains("0 to 5"));
        assert!(refused(&[("cuda_graph", "yes")]).contains("neither true nor false"));
        assert!(refused(&[("tactic_sources", "cublas,magic")]).contains("`magic` is none of cublas"));
        assert!(refused(&[("tactic_sources", "none,cudnn")]).contains("stands alone"));
        assert!(refused(&[("wait", "never")]).contains("auto, spin and block"));
    }

    #[test]
    fn a_shared_profile_needs_its_bounds_and_they_must_grow() {
        assert!(refused(&[("profile", "shared")]).contains("requires profile_min"));
        let reversed = [("profile", "shared"), ("profile_min", "x:2x8"), ("profile_max", "x:1x8")];
        assert!(refused(&reversed).contains("do not grow"));
        assert!(refused(&[("profile_min", "x:1x8")]).contains("is for profile = shared"));
    }

    #[test]
    fn the_bounds_of_all_points_are_read_back_as_ranges() {
        let points = [spec(&[], &[1, 8]), spec(&[], &[4, 2]), spec(&[], &[2, 32])];
        let options = shared_profile(&points).expect("points of one rank");
        let ranges =
            TensorrtOptions::of("tensorrt", &options).expect("valid options").shared.expect("shared");
        let expected = ShapeRange { name: "x".into(), min: vec![1, 2], opt: vec![4, 32], max: vec![4, 32] };
        assert_eq!(ranges, [expected]);
    }

    #[test]
    fn bounds_that_are_given_are_kept_and_missing_ones_are_the_plans() {
        let points = [spec(&[], &[1, 8]), spec(&[], &[2, 32])];
        let mut open = spec(&[("profile", "shared")], &[1, 8]).options;
        share(&mut open, &points).expect("one rank");
        assert_eq!(open["profile_max"], "x:2x32");
        let given = [("profile", "shared"), ("profile_min", "x:1x1"), ("profile_max", "x:9x99")];
        let mut given = spec(&given, &[1, 8]).options;
        share(&mut given, &points).expect("nothing to do");
        assert_eq!(given["profile_max"], "x:9x99");
        let mut own = spec(&[], &[1, 8]).options;
        share(&mut own, &points).expect("nothing to do");
        assert!(own.is_empty());
        let mut open = spec(&[("profile", "shared")], &[1, 8]).options;
        let error = share(&mut open, &[spec(&[], &[1, 8]), spec(&[], &[8])]).expect_err("two ranks");
        assert!(error.message.contains("rank"), "{error}");
    }

    #[test]
    fn tactic_sources_become_a_mask() {
        let mask = |text| {
            TensorrtOptions::of("tensorrt", &spec(&[("tactic_sources", text)], &[1]).options)
                .expect("valid")
                .tactics
        };
        assert_eq!(mask("none"), Some(0));
        assert_eq!(mask("cudnn,cublas"), Some(0b101));
        assert_eq!(TensorrtOptions::of("tensorrt", &BTreeMap::new()).expect("valid").tactics, None);
    }

    #[test]
    fn input_names_may_hold_colons() {
        assert_eq!(parse_shapes("a:0:1x2").expect("a shape"), BTreeMap::from([("a:0".into(), vec![1, 2])]));
    }
}
