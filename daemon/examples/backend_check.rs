//! Whether a backend can be used here, asked in a worker: `backend_check NAME available|required|off`. Prints what the
//! worker answers, for comparing a runtime behind its walls with the same one without.

#![expect(clippy::print_stdout, reason = "the answer is for the caller")]

use clap::ValueEnum;
use clipmark_daemon::confine::Policy;
use clipmark_daemon::worker::handle::{Trouble, Worker, WorkerConfig};
use std::path::PathBuf;
use std::time::Duration;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, policy) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let Ok(policy) = Policy::from_str(&policy, false) else {
        println!("usage: backend_check NAME available|required|off");
        return;
    };
    let limit = Duration::from_secs(60);
    let mut settings = WorkerConfig::own(None, limit, limit);
    settings.confinement = policy;
    // The program lies beside the folder of examples.
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().and_then(|examples| examples.parent()).map(PathBuf::from);
    settings.program = folder.unwrap_or_default().join("clipmarkd");
    let answer = Worker::spawn(&settings).map_err(Trouble::Failed).and_then(|mut worker| worker.check(&name));
    match answer {
        Ok(record) => println!("usable: {} on {}", record.version, record.device),
        Err(Trouble::Failed(failure)) => println!("unusable: {}", failure.message),
        Err(Trouble::Stopped) => println!("stopped"),
    }
}
