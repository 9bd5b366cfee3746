//! The folder of golden messages.

use clipmark_profile::codec::Encoding;
use clipmark_profile::example::Sample;
use std::path::{Path, PathBuf};

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
}

#[expect(clippy::disallowed_methods, reason = "a test reads files")]
pub(crate) fn vector(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("the vector is there")
}

/// The file of a sample.
pub(crate) fn message(sample: &Sample) -> String {
    let extension = if sample.encoding == Encoding::Cbor { "cbor" } else { "json" };
    format!("messages/v1-{}.{extension}", sample.rule)
}
