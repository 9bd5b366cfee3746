//! `clipmarkd serve` in surroundings that not every machine offers: a second broker, namespaces, a false clock.
//!
//! What is missing is ignored, and fails where `CLIPMARK_REQUIRE_EJABBERD`, `CLIPMARK_REQUIRE_NAMESPACES` or
//! `CLIPMARK_REQUIRE_FAKETIME` is 1.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers fail a test and show the logs when they do"
)]

#[path = "../serve/broker.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`, which use all of it")]
mod broker;
#[path = "../serve/certificates.rs"]
mod certificates;
#[path = "../serve/client.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`, which use all of it")]
mod client;
mod clock;
#[path = "../../../profile/tests/common/component.rs"]
mod component;
#[path = "../serve/daemon.rs"]
#[expect(dead_code, reason = "shared with the tests of `serve`, which use all of it")]
mod daemon;
mod ejabberd;
mod namespaces;
#[path = "../serve/whole.rs"]
mod whole;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [clock::trials(), ejabberd::trials(), namespaces::trials()];
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().flatten().collect()).exit_code()
}
