//! Says which TensorRT a folder holds and what becomes of an attempt to use it.
//!
//! `cargo run -p clipmark-trt --example probe -- FOLDER`: prints the version word's meaning, then `usable: ...`
//! or `unusable: ...` with the reason, and exits with 0 in both cases. `daemon/trt/abi/real-libraries.sh` runs it
//! over real libraries on a machine without a driver.

use clipmark_trt::{Search, TensorRt, TrtError, Wait};
use std::io::{self, Write};

fn usable(search: &Search) -> Result<String, TrtError> {
    let tensorrt = TensorRt::open(search, 0, Wait::Auto)?;
    tensorrt.try_runtime()?;
    let device = tensorrt.device();
    Ok(format!("TensorRT {} on {} {:?}", tensorrt.version(), device.name, device.capability))
}

fn main() -> io::Result<()> {
    let folders = std::env::args_os().skip(1).map(Into::into).collect();
    let search = Search { folders, only: false };
    let mut out = io::stdout().lock();
    match TensorRt::version_only(&search) {
        Ok(version) => writeln!(out, "version: {version}")?,
        Err(error) => writeln!(out, "version: {error}")?,
    }
    match usable(&search) {
        Ok(what) => writeln!(out, "usable: {what}"),
        Err(error) => writeln!(out, "unusable: {error}"),
    }
}
