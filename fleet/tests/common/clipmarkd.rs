//! The clipmarkd that somebody has built: the one that CLIPMARKD names, or the one beside clipmark-fleet.

use crate::component::Component;
use std::path::PathBuf;

/// Whether it is there.
pub(crate) fn component() -> Component {
    Component {
        is_here: path().exists(),
        required_by: "CLIPMARK_REQUIRE_CLIPMARKD",
        had_by: "cargo build --bin clipmarkd, or set CLIPMARKD to one",
    }
}

pub(crate) fn path() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_BIN_EXE_clipmark-fleet")).with_file_name("clipmarkd");
    std::env::var_os("CLIPMARKD").map_or_else(beside, PathBuf::from)
}
