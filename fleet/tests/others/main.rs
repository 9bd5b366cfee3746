//! clipmark-fleet with other programs: a clipmarkd that really measures, and another reader of what is exported.
//!
//! Ignored where they are missing, unless CLIPMARK_REQUIRE_CLIPMARKD or CLIPMARK_REQUIRE_PYTHON is 1: then it fails.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers fail a test and say what is amiss")]

#[expect(dead_code, reason = "shared with the other tests of the service, which use all of it")]
#[path = "../serve/aggregator.rs"]
mod aggregator;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../../daemon/tests/serve/broker.rs"]
mod broker;
#[expect(dead_code, reason = "shared with the daemon's tests, which use all of it")]
#[path = "../../../daemon/tests/serve/client.rs"]
mod client;
#[path = "../common/clipmarkd.rs"]
mod clipmarkd;
#[path = "../serve/command.rs"]
mod command;
#[path = "../../../profile/tests/common/component.rs"]
mod component;
mod device;
mod flood;
mod parquet;
#[path = "../common/place.rs"]
mod place;
#[path = "../../../profile/tests/common/python.rs"]
mod python;
#[path = "../serve/raw.rs"]
mod raw;
#[expect(dead_code, reason = "shared with the store's suite, which uses all of it")]
#[path = "../common/records.rs"]
mod records;
mod set_back;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [device::trials(), parquet::trials(), set_back::trials()];
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().flatten().collect()).exit_code()
}
