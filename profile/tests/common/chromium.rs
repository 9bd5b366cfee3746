//! The browser that opens pages.

use crate::component::Component;
use std::process::Command;

/// Whether it is here.
pub(crate) fn component() -> Component {
    Component {
        is_here: Command::new("chromium").arg("--version").output().is_ok_and(|o| o.status.success()),
        required_by: "CLIPMARK_REQUIRE_CHROMIUM",
        had_by: "apt-get install chromium",
    }
}
