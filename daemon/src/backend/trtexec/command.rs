//! trtexec's program and the flags that this one understands.
//!
//! Flags came and went: --workspace became --memPoolSize in 8.5, --buildOnly became --skipInference, precision
//! flags left in 11, and 11 turned transfers off and CUDA graphs and spinning on by default. What a program takes
//! is read from its own --help, so that every release gets the same work under its own names.

use crate::backend::tensorrt::{TensorrtOptions, shapes_text};
use crate::backend::{BackendError, MissingPart};
use clipmark_profile::point::Precision;
use clipmark_profile::record::{Cause, Stage};
use clipmark_trt::{ShapeRange, TACTIC_SOURCES, Wait, die_with_parent};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names the program.
pub const PROGRAM_VARIABLE: &str = "CLIPMARK_TRTEXEC";
/// Where JetPack puts it.
const USUAL: &str = "/usr/src/tensorrt/bin/trtexec";

/// A trtexec on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// TensorRT's version by its banner, e.g. `8.5.2`; `unknown` without one.
    pub(super) version: String,
    help: String,
}

impl Program {
    /// Finds the program and asks it for its flags.
    ///
    /// Errors say what was looked for, or how the program failed.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, BackendError> {
        let named = std::env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = match given.map(Path::to_path_buf).or(named) {
            Some(path) => path,
            None => on_path().unwrap_or_else(|| PathBuf::from(USUAL)),
        };
        let output = die_with_parent(Command::new(&path).arg("--help")).output().map_err(|error| {
            let message = format!(
                "trtexec cannot be run as {} ({error}): install it (on a Jetson: sudo apt install libnvinfer-bin), or set \
                 {PROGRAM_VARIABLE} to its path",
                path.display()
            );
            BackendError::missing(MissingPart::Runtime, message)
        })?;
        let help =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        if !help.contains("--onnx") {
            let message = format!(
                "{} answers --help without naming --onnx: it is no trtexec, or it does not start here ({})",
                path.display(),
                help.lines().last().unwrap_or("no output")
            );
            return Err(BackendError::new(Stage::Load, Cause::BackendUnavailable, message));
        }
        Ok(Self { path, version: banner_version(&help), help })
    }

    /// Whether `flag` is among the program's own.
    pub(super) fn has(&self, flag: &str) -> bool {
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        self.help.match_indices(flag).any(|(at, _)| ends(&self.help[at + flag.len()..]))
    }

    fn only_if_known(&self, flag: &str) -> Option<String> {
        self.has(flag).then(|| flag.to_owned())
    }

    /// Flags that build `engine` from `model`.
    ///
    /// Errors name an option or precision that this release has no flag for.
    pub(super) fn build_flags(
        &self,
        model: &Path,
        engine: &Path,
        work: &Work<'_>,
    ) -> Result<Vec<String>, String> {
        let mut flags =
            vec![format!("--onnx={}", model.display()), format!("--saveEngine={}", engine.display())];
        flags.extend(self.only_if_known("--explicitBatch"));
        flags.extend(["--skipInference", "--buildOnly"].iter().find_map(|flag| self.only_if_known(flag)));
        flags.extend(self.precision_flag(work)?);
        if !work.ranges.is_empty() {
            for (flag, pick) in SHAPE_FLAGS {
                let shapes = work.ranges.iter().map(|range| (range.name.as_str(), pick(range)));
                flags.push(format!("{flag}={}", shapes_text(shapes)));
            }
        }
        if let Some(bytes) = work.options.workspace_bytes {
            let mib = bytes >> 20;
            let pool = self.has("--memPoolSize");
            flags.push(if pool {
                format!("--memPoolSize=workspace:{mib}")
            } else {
                format!("--workspace={mib}")
            });
        }
        if let Some(level) = work.options.builder_level {
            if !self.has("--builderOptimizationLevel") {
                return Err(format!("trtexec {} has no builder_level; it came with 8.6", self.version));
            }
            flags.push(format!("--builderOptimizationLevel={level}"));
        }
        if let Some(sources) = work.options.tactics {
            if !self.has("--tacticSources") {
                return Err(format!("trtexec {} has no tactic_sources; leave that option out", self.version));
            }
            flags.push(format!("--tacticSources={}", tactics_text(sources)));
        }
        flags.extend(self.device_flags(work.options));
        Ok(flags)
    }

    /// Flags that time inferences of `engine` one after the other; how many is for the caller to add.
    pub(super) fn run_flags(&self, engine: &Path, work: &Work<'_>) -> Vec<String> {
        let mut flags = vec![
            format!("--loadEngine={}", engine.display()),
            "--duration=0".to_owned(),
            "--warmUp=0".to_owned(),
        ];
        if !work.shapes.is_empty() {
            let shapes = work.shapes.iter().map(|(name, extents)| (name.as_str(), extents.as_slice()));
            flags.push(format!("--shapes={}", shapes_text(shapes)));
        }
        // One inference at a time, transfers included: what 11 no longer does by default.
        flags.extend(self.only_if_known("--exposeDMA"));
        flags.extend(self.only_if_known("--includeDataTransfers"));
        let graph = work.options.cuda_graph;
        flags.extend(self.choice(graph, "--useCudaGraph", "--noCudaGraph"));
        flags.extend(self.choice(work.options.wait == Wait::Spin, "--useSpinWait", "--noSpinWait"));
        flags.extend(self.device_flags(work.options));
        flags
    }

    /// The flag that turns a behaviour on where it is off by default, or off where it is on.
    fn choice(&self, on: bool, enable: &str, disable: &str) -> Option<String> {
        let on_by_default = self.has(disable);
        match on {
            true if !on_by_default => Some(enable.to_owned()),
            false if on_by_default => Some(disable.to_owned()),
            _ => None,
        }
    }

    fn device_flags(&self, options: &TensorrtOptions) -> Vec<String> {
        let mut flags = Vec::new();
        if options.device > 0 {
            flags.push(format!("--device={}", options.device));
        }
        if let Some(core) = options.dla_core {
            flags.push(format!("--useDLACore={core}"));
            if options.gpu_fallback {
                flags.push("--allowGPUFallback".to_owned());
            }
        }
        flags
    }

    fn precision_flag(&self, work: &Work<'_>) -> Result<Option<String>, String> {
        let flag = match work.precision {
            Precision::Unknown => return Err("this version does not know that precision".into()),
            Precision::Model | Precision::Tf32 => return Ok(None),
            Precision::Fp32 => "--noTF32",
            Precision::Fp16 => "--fp16",
            Precision::Bf16 => "--bf16",
            Precision::Int8 if !work.quantized => {
                return Err(
                    "the model has no QuantizeLinear nodes: trtexec would round to int8 at made-up scales; \
                            quantize the model first"
                        .to_owned(),
                );
            }
            Precision::Int8 => "--int8",
        };
        if self.has(flag) {
            return Ok(Some(flag.to_owned()));
        }
        Err(format!(
            "trtexec {} has no {flag}; from TensorRT 11 on the precision is the model's: export the model in {} and \
             measure it with --precision model",
            self.version, work.precision
        ))
    }
}

type Pick = fn(&ShapeRange) -> &[i64];
const SHAPE_FLAGS: [(&str, Pick); 3] = [
    ("--minShapes", |range| &range.min),
    ("--optShapes", |range| &range.opt),
    ("--maxShapes", |range| &range.max),
];

/// What is to be built and run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) options: &'a TensorrtOptions,
    pub(super) precision: Precision,
    pub(super) quantized: bool,
    /// One range per dynamic input.
    pub(super) ranges: &'a [ShapeRange],
    /// The point's shapes of dynamic inputs.
    pub(super) shapes: &'a [(String, Vec<i64>)],
}

/// trtexec's notation, which changes its default: every source is switched on or off.
fn tactics_text(sources: u32) -> String {
    let switch = |(place, name): (usize, &&str)| {
        let sign = if sources & (1 << place) == 0 { '-' } else { '+' };
        format!("{sign}{}", name.to_uppercase())
    };
    TACTIC_SOURCES.iter().enumerate().map(switch).collect::<Vec<_>>().join(",")
}

fn on_path() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("trtexec")).find(|path| path.is_file())
}

/// The version in `[TensorRT v8502]` or `[TensorRT v100300] [b23]`.
fn banner_version(text: &str) -> String {
    let word =
        text.split_once("[TensorRT v").and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
    let version = word.and_then(|word| word.parse::<u32>().ok()).map(|word| {
        let (major, rest) =
            if word < 10_000 { (word / 1000, word % 1000) } else { (word / 10_000, word % 10_000) };
        format!("{major}.{}.{}", rest / 100, rest % 100)
    });
    version.unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program whose help names the flags of this release.
    fn program(version: &str, flags: &str) -> Program {
        Program { path: "trtexec".into(), version: version.into(), help: format!("--onnx=<file> {flags}") }
    }

    fn v8_2() -> Program {
        let flags = "--explicitBatch --buildOnly --workspace=N --fp16 --int8 --noTF32 --useCudaGraph --useSpinWait --exposeDMA";
        program("8.2.1", flags)
    }

    fn v10() -> Program {
        let flags = "--skipInference --memPoolSize=spec --fp16 --bf16 --int8 --noTF32 --builderOptimizationLevel --tacticSources=spec \
                     --useCudaGraph --useSpinWait --exposeDMA";
        program("10.3.0", flags)
    }

    fn v11() -> Program {
        let flags = "--skipInference --memPoolSize=spec --noTF32 --builderOptimizationLevel --useCudaGraph --noCudaGraph \
                     --useSpinWait --noSpinWait --includeDataTransfers --exposeDMA";
        program("11.1.0", flags)
    }

    fn options(given: &[(&str, &str)]) -> TensorrtOptions {
        let given = given.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        TensorrtOptions::of("trtexec", &given).expect("valid options")
    }

    fn build(program: &Program, given: &[(&str, &str)], precision: Precision) -> Result<String, String> {
        let range = ShapeRange { name: "x".into(), min: vec![1, 8], opt: vec![2, 8], max: vec![4, 8] };
        let (options, ranges) = (options(given), [range]);
        let work = Work { options: &options, precision, quantized: false, ranges: &ranges, shapes: &[] };
        let flags = program.build_flags(Path::new("m.onnx"), Path::new("m.engine"), &work)?;
        Ok(flags.join(" "))
    }

    fn run(program: &Program, given: &[(&str, &str)]) -> String {
        let (options, shapes) = (options(given), [("x".to_owned(), vec![2, 8])]);
        let work = Work {
            options: &options,
            precision: Precision::Model,
            quantized: false,
            ranges: &[],
            shapes: &shapes,
        };
        program.run_flags(Path::new("m.engine"), &work).join(" ")
    }

    #[test]
    fn the_same_build_is_asked_of_every_release_under_its_own_names() {
        let shapes = "--minShapes=x:1x8 --optShapes=x:2x8 --maxShapes=x:4x8";
        let given = [("workspace_mib", "64")];
        assert_eq!(
            build(&v8_2(), &given, Precision::Fp16).expect("flags"),
            format!(
                "--onnx=m.onnx --saveEngine=m.engine --explicitBatch --buildOnly --fp16 {shapes} --workspace=64"
            )
        );
        assert_eq!(
            build(&v10(), &given, Precision::Bf16).expect("flags"),
            format!(
                "--onnx=m.onnx --saveEngine=m.engine --skipInference --bf16 {shapes} --memPoolSize=workspace:64"
            )
        );
        assert_eq!(
            build(&v11(), &given, Precision::Fp32).expect("flags"),
            format!(
                "--onnx=m.onnx --saveEngine=m.engine --skipInference --noTF32 {shapes} --memPoolSize=workspace:64"
            )
        );
    }

    #[test]
    fn tactic_sources_are_each_switched_on_or_off() {
        let flags = build(&v10(), &[("tactic_sources", "cudnn")], Precision::Model).expect("flags");
        let all = "-CUBLAS,-CUBLAS_LT,+CUDNN,-EDGE_MASK_CONVOLUTIONS,-JIT_CONVOLUTIONS";
        assert!(flags.ends_with(&format!("--tacticSources={all}")), "{flags}");
    }

    #[test]
    fn what_a_release_has_no_flag_for_is_refused_with_the_reason() {
        assert!(
            build(&v11(), &[], Precision::Fp16)
                .expect_err("refused")
                .contains("the precision is the model's")
        );
        assert!(build(&v8_2(), &[], Precision::Bf16).expect_err("refused").contains("no --bf16"));
        assert!(build(&v10(), &[], Precision::Int8).expect_err("refused").contains("QuantizeLinear"));
        assert!(
            build(&v8_2(), &[("tactic_sources", "none")], Precision::Model)
                .expect_err("refused")
                .contains("no tactic_sources")
        );
        assert!(
            build(&v8_2(), &[("builder_level", "5")], Precision::Model).expect_err("refused").contains("8.6")
        );
    }

    #[test]
    fn the_same_work_is_timed_whatever_a_releases_defaults() {
        let common = "--loadEngine=m.engine --duration=0 --warmUp=0 --shapes=x:2x8 --exposeDMA";
        assert_eq!(run(&v10(), &[]), common);
        assert_eq!(run(&v11(), &[]), format!("{common} --includeDataTransfers --noCudaGraph --noSpinWait"));
        let given = [("cuda_graph", "true"), ("wait", "spin")];
        assert_eq!(run(&v10(), &given), format!("{common} --useCudaGraph --useSpinWait"));
        assert_eq!(run(&v11(), &given), format!("{common} --includeDataTransfers"));
    }

    #[test]
    fn a_flag_is_not_taken_for_a_longer_one() {
        assert!(!program("8.5.2", "--noTF32Foo").has("--noTF32"));
        assert!(program("8.5.2", "--noTF32, --x").has("--noTF32"));
    }

    #[test]
    fn the_banner_tells_the_version() {
        assert_eq!(banner_version("&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec"), "8.2.1");
        assert_eq!(
            banner_version("&&&& RUNNING TensorRT.trtexec [TensorRT v101301] [b6] # trtexec"),
            "10.13.1"
        );
        assert_eq!(banner_version("=== Model TensorrtOptions ==="), "unknown");
    }
}
