//! A backend library that attacks: as it is loaded, it tries whatever would let it harm the machine that it is on, and
//! reports what it got.
//!
//! It stands in for any library, because it acts before one of its functions is called. As `libnvonnxparser.so.10` it
//! hands its calls on to the stand-in beside it, so that a whole run happens around it. `fake.conf` beside it names its
//! targets (see [`attempts`]) and the file that gets the report: one line an attempt, `name`, `open` or `closed`, and
//! what it got or the kernel's answer, separated by tabs. What has no target is not tried.
#![expect(unsafe_code, reason = "attacks by system calls; each block states why it is sound")]

mod attempts;
mod forward;
mod system;

use attempts::ATTEMPTS;
use clipmark_trt_fakes::behaviour;
use std::fmt::Write as _;
use std::io::Write as _;

// The loader runs this before whoever loads the library gets to call it.
#[used]
#[unsafe(link_section = ".init_array")]
static ATTACK: extern "C" fn() = attack;

extern "C" fn attack() {
    let Some(report) = behaviour::text("report") else { return };
    let mut lines = format!("process\tinfo\t{}\n", std::process::id());
    for (name, attempt) in ATTEMPTS {
        let outcome = match attempt() {
            None => continue,
            Some(Ok(got)) => format!("open\t{got}"),
            Some(Err(answer)) => format!("closed\t{answer}"),
        };
        let _ = writeln!(lines, "{name}\t{}", outcome.replace('\n', " "));
    }
    let written = std::fs::File::options().create(true).append(true).open(report);
    if let Ok(mut file) = written {
        // A test that reads the report notices that it is missing.
        let _ = file.write_all(lines.as_bytes());
    }
}
