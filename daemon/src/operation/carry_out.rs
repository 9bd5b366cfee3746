//! The child's side: carry out one order and tell of it line by line.

use super::{ChildMessage, Done, ORDER, Order, Output, Unable, describe, models, readings, running};
use crate::boundary;
use crate::preflight::requirements;
use crate::worker::examine::examine_backends;
use clipmark_probes::board::{BoardError, Boards};
use clipmark_probes::environment;
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_profile::message::{
    Check, EventKind, EventReport, OperationResult, Payload, Reason, ReasonCode,
};
use clipmark_profile::topics::{Operation, UpKind};
use clipmark_service::clock::unix_ms;
use clipmark_service::durable::replace;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The list of results, kept for a daemon that dies before it has spooled them.
pub(crate) const OUTPUTS: &str = "outputs.json";

/// Why an order cannot even be begun, or its end not be told.
#[derive(Debug, thiserror::Error)]
pub enum CarryOutError {
    /// The directory's files cannot be used.
    #[error("cannot {action} {}; the daemon that gave the order owns this directory", path.display())]
    Directory {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The daemon is gone.
    #[error("the daemon does not read the answer any more")]
    Told(#[source] io::Error),
}

/// Tells the daemon one line.
pub(super) fn tell(out: &mut dyn Write, line: &ChildMessage) -> Result<(), CarryOutError> {
    let mut bytes = serde_json::to_vec(line).map_err(|error| CarryOutError::Told(error.into()))?;
    bytes.push(b'\n');
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(CarryOutError::Told)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CarryOutError {
    let path = path.to_owned();
    move |source| CarryOutError::Directory { action, path, source }
}

/// Carries out the order in `dir` and tells of it on `out`.
///
/// # Errors
/// Only what keeps it from being begun or told. A failed operation is told as a line.
pub fn carry_out(dir: &Path, out: &mut dyn Write) -> Result<(), CarryOutError> {
    match ended(dir, out) {
        Ok(Some(line)) => tell(out, &line),
        // Told to leave a checkpoint: there is no end to tell of yet.
        Ok(None) => Ok(()),
        // Told here, too: a full disk takes no words in the log.
        Err(error) => {
            tell(out, &ChildMessage::Failed(unusable(&error)))?;
            Err(error)
        }
    }
}

fn unusable(error: &CarryOutError) -> Reason {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Reason { code: ReasonCode::Storage, message: format!("{error}{cause}; check free space") }
}

fn ended(dir: &Path, out: &mut dyn Write) -> Result<Option<ChildMessage>, CarryOutError> {
    let path = dir.join(ORDER);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    let order: Order = serde_json::from_slice(&bytes)
        .map_err(|error| failed("understand", &path)(io::Error::from(error)))?;
    // An earlier attempt may still be dying: two must not work in one directory.
    let lock = dir.join("lock");
    let file = File::create(&lock).map_err(failed("create", &lock))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| failed("lock", &lock)(error.into()))?;
    Ok(match perform(&order, dir, out) {
        Ok(Some(done)) => {
            note_outputs(dir, &done.outputs)?;
            Some(ChildMessage::Done(done))
        }
        Ok(None) => None,
        Err(unable) => Some(unable.into()),
    })
}

fn note_outputs(dir: &Path, outputs: &[Output]) -> Result<(), CarryOutError> {
    if outputs.is_empty() {
        return Ok(());
    }
    let path = dir.join(OUTPUTS);
    let bytes = serde_json::to_vec(outputs).map_err(|error| failed("encode", &path)(error.into()))?;
    replace(&path, &bytes).map_err(|error| failed("write", &path)(error.source))
}

fn perform(order: &Order, dir: &Path, out: &mut dyn Write) -> Result<Option<Done>, Unable> {
    let with = |result| Some(Done { result: Some(result), ..Done::default() });
    let done = match order.task.operation {
        Operation::Probe => readings::read(&Root::live()).map(with).map_err(|error| defect(&error)),
        Operation::Models => Ok(with(list_models(&order.models_dir))),
        Operation::Check => check(&order.models_dir).map(with).map_err(|error| defect(&error)),
        Operation::Capture => capture(dir).map(Some),
        Operation::Run => return running::run(order, dir, out),
    };
    done.map_err(Unable::Failed)
}

/// Puts the board's tree into an event that is spooled, because it is too long for a status.
fn capture(dir: &Path) -> Result<Done, Reason> {
    const FILE: &str = "capture.cbor";
    let tree = clipmark_probes::capture::capture(&Root::live()).to_text();
    let event = EventReport {
        version: EventReport::VERSION,
        kind: EventKind::Capture,
        at_unix_ms: unix_ms(),
        message: "a copy of the board's sensor tree, for tests".into(),
        range: None,
        attachment: tree.into_bytes(),
    };
    let path = dir.join(FILE);
    let written = event.to_bytes().map_err(|error| error.to_string());
    written.and_then(|bytes| replace(&path, &bytes).map_err(|error| error.to_string())).map_err(
        |message| Reason {
            code: ReasonCode::Storage,
            message: format!("the capture cannot be kept: {message}; check free space"),
        },
    )?;
    let output = Output { kind: UpKind::Event, file: FILE.into() };
    Ok(Done { outputs: vec![output], ..Done::default() })
}

fn defect(error: &dyn std::error::Error) -> Reason {
    Reason { code: ReasonCode::RunFailed, message: format!("a defect of clipmarkd: {error}") }
}

fn list_models(dir: &Path) -> OperationResult {
    let mut listed = models::names(dir);
    let mut notes = Vec::new();
    for model in &mut listed {
        match models::resolve(&model.name, dir).map(|found| models::digest_of(&found)) {
            Ok(Ok(sha256)) => model.sha256 = Some(sha256),
            Ok(Err(error)) => notes.push(format!("digest of {}: {error}", model.name)),
            Err(reason) => notes.push(reason.message),
        }
    }
    OperationResult { models: listed, notes, ..OperationResult::default() }
}

fn check(models_dir: &Path) -> Result<OperationResult, BoardError> {
    let root = Root::live();
    let sensors = Sensors::discover(&root, &Boards::embedded()?);
    let found = environment::read(&root, &sensors.board, env!("CARGO_PKG_VERSION"));
    let required = requirements(&root, &sensors, &found, &examine_backends(), models_dir);
    let checks = required.into_iter().chain(boundary::requirements()).map(|requirement| Check {
        name: requirement.name,
        met: !requirement.standing.is_gap(),
        detail: match requirement.mend {
            Some(mend) => format!("{}; mend: {mend}", requirement.found),
            None => requirement.found,
        },
    });
    Ok(OperationResult { checks: checks.collect(), ..OperationResult::default() })
}

/// Prints the description of the device, twice: without and with the models' digests.
///
/// # Errors
/// When the daemon does not read it any more.
pub fn describe_device(models_dir: &Path, cache: &Path, out: &mut dyn Write) -> Result<(), CarryOutError> {
    let mut description = describe::describe(&Root::live(), models_dir);
    for round in 0..2 {
        if round > 0 {
            describe::digest(&mut description, models_dir, cache);
        }
        let mut bytes =
            serde_json::to_vec(&description).map_err(|error| CarryOutError::Told(error.into()))?;
        bytes.push(b'\n');
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(CarryOutError::Told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_order_from_being_begun_is_told_as_a_failure_of_the_disk() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut out = Vec::new();
        let error = carry_out(dir.path(), &mut out).expect_err("there is no order");
        assert!(error.to_string().contains(ORDER), "{error}");
        let line: ChildMessage = serde_json::from_slice(&out).expect("one line");
        let ChildMessage::Failed(reason) = line else { panic!("{line:?}") };
        assert_eq!(reason.code, ReasonCode::Storage);
        assert!(
            reason.message.contains(ORDER) && reason.message.contains("No such file"),
            "{}",
            reason.message
        );
    }
}
