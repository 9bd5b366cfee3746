//! Holds the slot table and the constants against a C++ compiler that reads TensorRT's own headers.
//!
//! TensorRT 11's headers come from the crate trtx-sys, which `cargo metadata` finds; nothing of it is built or
//! kept. TensorRT 8's and 10's are compared where `TENSORRT_INCLUDE_DIR` names a folder with NvInfer.h, e.g.
//! /usr/include/aarch64-linux-gnu on a board. The tests need a C++ compiler ($CXX or g++) and are ignored by
//! default: `cargo test -p clipmark-trt --test abi -- --ignored --nocapture`.

use clipmark_trt::constants::CONSTANTS;
use clipmark_trt::slots::{Entry, Method, TABLE, lookup};
use clipmark_trt::{Major, Version};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const ABI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/abi");

/// How C++ tells the slot of a member function: by the representation of a pointer to it (Itanium C++ ABI,
/// 2.3; on ARM the mark of a virtual function is in the adjustment).
const PRELUDE: &str = r#"
#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cstdio>
#include <cstring>
template <class F> void slot(char const* name, F function) {
    std::ptrdiff_t words[2];
    static_assert(sizeof(function) == sizeof(words), "not the Itanium ABI");
    std::memcpy(words, &function, sizeof(words));
#if defined(__aarch64__) || defined(__arm__)
    bool isVirtual = words[1] & 1;
    std::ptrdiff_t offset = words[0];
#else
    bool isVirtual = words[0] & 1;
    std::ptrdiff_t offset = words[0] - 1;
#endif
    std::printf("%s %td\n", name, isVirtual ? offset / std::ptrdiff_t(sizeof(void*)) : -1);
}
using namespace nvinfer1;
"#;

fn headers_of_trtx() -> PathBuf {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(format!("{ABI}/Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo fetches trtx-sys, which ships TensorRT 11's headers");
    let package = metadata.packages.iter().find(|package| package.name == "trtx-sys").expect("trtx-sys");
    let folder = package.manifest_path.parent().expect("a package folder");
    folder.join("TensorRT-Headers/TRT-Enterprise-11.4").into_std_path_buf()
}

/// The version that NvInferVersion.h in `folder` defines, by the compiler's own reading.
fn version_of(folder: &Path) -> Version {
    let source = "#include <NvInferVersion.h>\n#include <cstdio>\nint main() { std::printf(\"%d %d %d\", \
                  NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH); }\n";
    let words = compile_and_run(folder, source);
    let numbers: Vec<u32> = words.split(' ').map(|word| word.parse().expect("a number")).collect();
    let major = match numbers[0] {
        8 => Major::V8,
        10 => Major::V10,
        11 => Major::V11,
        other => panic!("TensorRT {other} has no column in the table"),
    };
    Version { major, minor: numbers[1], patch: numbers[2] }
}

fn compile_and_run(headers: &Path, source: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, program) = (folder.path().join("probe.cpp"), folder.path().join("probe"));
    std::fs::write(&file, source).expect("writable");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
    let status = Command::new(&compiler)
        .args(["-std=c++17", "-w", "-isystem"])
        .arg(headers)
        .args(["-isystem", "/usr/local/cuda/include", "-idirafter"])
        .arg(format!("{ABI}/stub"))
        .arg(&file)
        .arg("-o")
        .arg(&program)
        .status();
    let status = status.unwrap_or_else(|error| panic!("{compiler}: {error}; install g++ or set CXX"));
    assert!(status.success(), "the headers in {} do not compile", headers.display());
    let output = Command::new(&program).output().expect("the probe runs");
    String::from_utf8(output.stdout).expect("text")
}

/// A C++ expression for a pointer to the function of `row`.
fn pointer(row: &Entry, version: Version) -> String {
    let space = match row.class {
        class if class.starts_with('V') => "nvinfer1::apiv",
        "IParser" | "IParserError" => "nvonnxparser",
        _ => "nvinfer1",
    };
    let class = format!("{space}::{}", row.class);
    if row.method == Method::RuntimeDeserialize && version.major == Major::V10 {
        let overload = format!("nvinfer1::ICudaEngine* ({class}::*)(void const*, std::size_t) noexcept");
        return format!("static_cast<{overload}>(&{class}::{})", row.name);
    }
    // A destructor has no address. Its two entries lie between the functions declared around it.
    if row.method == Method::ParserDelete {
        return format!("&{class}::getUsedVCPluginLibraries");
    }
    format!("&{class}::{}", row.name)
}

/// Compares every row and constant; tells how many.
fn compare(headers: &Path) -> String {
    let version = version_of(headers);
    let column = Major::NEWEST_FIRST.iter().rev().position(|major| *major == version.major).expect("known");
    let rows: Vec<(&Entry, u16)> =
        TABLE.iter().filter_map(|row| Some((row, lookup(row.method, version)?))).collect();
    let constants: Vec<(&str, i32)> = CONSTANTS
        .iter()
        .filter_map(|constant| Some((constant.expression, constant.values[column]?)))
        .collect();
    let mut source = format!("{PRELUDE}int main() {{\n");
    for (row, _) in &rows {
        let _ = writeln!(source, "slot(\"{}::{}\", {});", row.class, row.name, pointer(row, version));
    }
    for (expression, _) in &constants {
        let _ = writeln!(source, "std::printf(\"{expression} %d\\n\", int({expression}));");
    }
    source += "}\n";
    let output = compile_and_run(headers, &source);
    let answers: BTreeMap<&str, i64> = output
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name, value.parse().expect("a number")))
        .collect();
    let mut wrong = Vec::new();
    for (row, slot) in &rows {
        let name = format!("{}::{}", row.class, row.name);
        // The deleting destructor directly precedes the function that was asked for in its place.
        let found = answers[name.as_str()] - i64::from(row.method == Method::ParserDelete);
        if found != i64::from(*slot) {
            wrong.push(format!("{name}: the table says {slot}, the headers say {found}"));
        }
    }
    for (expression, value) in &constants {
        if answers[expression] != i64::from(*value) {
            wrong.push(format!(
                "{expression}: the code says {value}, the headers say {}",
                answers[expression]
            ));
        }
    }
    assert!(wrong.is_empty(), "TensorRT {version}:\n{}", wrong.join("\n"));
    format!("TensorRT {version}: {} slots and {} constants compared, all equal", rows.len(), constants.len())
}

#[test]
#[ignore = "compiles C++ against headers fetched by cargo"]
fn the_table_agrees_with_tensorrt_11s_headers() {
    let headers = headers_of_trtx();
    assert_eq!(version_of(&headers).major, Major::V11);
    println!("{}", compare(&headers));
}

#[test]
#[ignore = "needs a board's headers"]
fn the_table_agrees_with_the_headers_that_the_environment_names() {
    match std::env::var_os("TENSORRT_INCLUDE_DIR") {
        Some(folder) => println!("{}", compare(Path::new(&folder))),
        None => println!("TENSORRT_INCLUDE_DIR is not set: no headers of TensorRT 8 or 10 compared"),
    }
}
