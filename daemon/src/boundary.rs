//! What `check` says of the boundary around models and runtimes: which of a worker's walls this kernel can build, and
//! whether the program itself was given a power that everybody then has.

use crate::confine::{Confinement, Layer};
use crate::preflight::{Requirement, Standing};
use crate::worker::handle::{Trouble, Worker, WorkerConfig};
use std::path::Path;
use std::time::Duration;

/// Longest time for a worker to build its walls.
const LIMIT: Duration = Duration::from_secs(60);

/// This program's file.
const OWN_FILE: &str = "/proc/self/exe";

/// The attribute in which the kernel keeps a file's capabilities.
const CAPABILITIES: &str = "security.capability";

/// The requirements of the boundary. Starts a worker.
#[must_use]
pub(crate) fn requirements() -> Vec<Requirement> {
    let confined = Worker::spawn(&WorkerConfig::own(None, LIMIT, LIMIT)).map_err(Trouble::Failed);
    let confined = confined.and_then(|mut worker| worker.confinement()).map_err(|trouble| match trouble {
        Trouble::Failed(failure) => failure.message,
        Trouble::Stopped => "it was not waited for".to_owned(),
    });
    let capable = has_capabilities(Path::new(OWN_FILE));
    let program = std::fs::read_link(OWN_FILE).unwrap_or_else(|_| "clipmarkd".into());
    std::iter::once(confinement(&confined)).chain(capable.then(|| privileged(&program))).collect()
}

fn confinement(outcome: &Result<Confinement, String>) -> Requirement {
    let name = "worker confinement".to_owned();
    let (found, mend) = match outcome {
        Ok(made) if made.absent.is_empty() => {
            let found = made.to_string();
            return Requirement { name, standing: Standing::Satisfied, found, mend: None };
        }
        Ok(made) => (made.to_string(), advice(made)),
        Err(cause) => (cause.clone(), "report the cause to the project"),
    };
    Requirement { name, standing: Standing::Advised, found, mend: Some(mend.to_owned()) }
}

fn advice(made: &Confinement) -> &'static str {
    let closes_files = made.absent.iter().all(|(layer, _)| *layer != Layer::Files);
    if closes_files {
        "a kernel that is built with CONFIG_SECCOMP_FILTER; until then measure only models and libraries that you trust"
    } else {
        "a kernel with Landlock, as in JetPack 6 and later; until then measure only models and libraries that you trust"
    }
}

fn privileged(program: &Path) -> Requirement {
    Requirement {
        name: "no power of its own".into(),
        standing: Standing::Advised,
        found: format!(
            "{} has capabilities of its own (setcap): everybody who may run it reads every file through it",
            program.display()
        ),
        mend: Some(format!(
            "sudo setcap -r {}   (the daemon gets what it needs by: sudo clipmarkd check --drop-in --install)",
            program.display()
        )),
    }
}

/// Whether whoever runs the file at `path` gains capabilities by it.
fn has_capabilities(path: &Path) -> bool {
    let mut value = [0_u8; 64];
    rustix::fs::getxattr(path, CAPABILITIES, &mut value).is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_landlock_is_a_gap_with_its_cause_and_what_to_do() {
        let cause = "this kernel has no Landlock".to_owned();
        let made = Confinement { landlock: None, absent: vec![(Layer::Files, cause.clone())] };
        let requirement = confinement(&Ok(made));
        assert_eq!((requirement.standing, requirement.found), (Standing::Advised, cause));
        assert!(requirement.mend.unwrap().contains("JetPack 6"));
    }

    #[test]
    fn walls_that_all_stand_are_satisfied() {
        let requirement = confinement(&Ok(Confinement { landlock: Some(6), absent: Vec::new() }));
        assert_eq!(requirement.standing, Standing::Satisfied);
        assert!(requirement.found.contains("Landlock 6"), "{}", requirement.found);
    }

    #[test]
    fn a_program_with_capabilities_is_told_apart_and_how_to_take_them_away() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("clipmarkd");
        std::fs::write(&program, "").unwrap();
        assert!(!has_capabilities(&program));
        let requirement = privileged(&program);
        assert!(requirement.mend.unwrap().contains(&format!("sudo setcap -r {}", program.display())));
        // Version 2, effective, CAP_DAC_READ_SEARCH permitted; only root may set it.
        let value = [1, 0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if rustix::fs::setxattr(&program, CAPABILITIES, &value, rustix::fs::XattrFlags::empty()).is_ok() {
            assert!(has_capabilities(&program));
        }
    }
}
