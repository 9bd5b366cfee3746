//! Where measured processes run, so that they and the sampler do not disturb each other: CPUs of their own, and a
//! control group whose memory the kernel bounds.
//!
//! What was asked for comes from the configuration or the command line ([`Asked`]); what could be had of it is a
//! [`Placement`], which the profile shows. What could not be had is absent there with its cause, and the run goes on
//! without: a benchmark on a board that cannot isolate is still a benchmark.

mod cpus;
mod group;

pub use cpus::{CpuList, CpuListError, allowed, confine_this_process};
pub use group::{Group, enter, memory_kills};

use crate::confine::Policy;
use clipmark_profile::environment::Environment;
use clipmark_profile::units::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// CPUs of the measured processes; everything else of clipmark keeps off them.
    pub cpus: Option<CpuList>,
    /// Most memory that the measured processes hold together, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// What to do about walls around workers that this kernel lacks.
    pub confinement: Policy,
    /// Files and folders that workers read beside models and the system's libraries.
    pub readable: Vec<PathBuf>,
}

/// What could be had of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// CPUs of the measured processes.
    pub cpus: Option<CpuList>,
    /// Their control group.
    pub group: Option<Group>,
    /// What was asked for and cannot be had: name and cause.
    pub absent: Vec<(String, String)>,
    /// What a reader must know of it.
    pub warnings: Vec<String>,
    /// As [`Asked::confinement`].
    #[serde(default)]
    pub confinement: Policy,
    /// As [`Asked::readable`].
    #[serde(default)]
    pub readable: Vec<PathBuf>,
}

impl Placement {
    /// What can be had of `asked` for a process that may use the CPUs `allowed`, and moves this process out of the way:
    /// off the measured CPUs, and out of the control group that is to be divided.
    #[must_use]
    pub fn make(asked: &Asked, allowed: &CpuList) -> Self {
        let (confinement, readable) = (asked.confinement, asked.readable.clone());
        let mut made = Self { confinement, readable, ..Self::default() };
        if let Some(cpus) = &asked.cpus {
            made.place_cpus(cpus, allowed);
        }
        if let Some(bytes) = asked.memory_max_bytes {
            match group::claim(Bytes(bytes)) {
                Ok(group) => made.group = Some(group),
                Err(cause) => made.absent.push(("worker_memory_max".into(), cause)),
            }
        }
        made
    }

    fn place_cpus(&mut self, asked: &CpuList, allowed: &CpuList) {
        let missing = asked.without(allowed);
        if !missing.is_empty() {
            let cause = format!("CPU {missing} is not among those that clipmark may use here ({allowed})");
            self.absent.push(("worker_cpus".into(), cause));
            return;
        }
        let rest = allowed.without(asked);
        if rest.is_empty() {
            self.warnings.push(format!(
                "the sampler shares CPU {asked} with what is measured, because no other is left to it; leave one out of \
                 worker.cpus"
            ));
        }
        self.cpus = Some(asked.clone());
    }

    /// The CPUs for everything of clipmark that is not measured.
    #[must_use]
    pub fn others(&self, allowed: &CpuList) -> CpuList {
        let rest = self.cpus.as_ref().map(|cpus| allowed.without(cpus)).filter(|rest| !rest.is_empty());
        rest.unwrap_or_else(|| allowed.clone())
    }

    /// Writes itself into the description of the machine.
    pub fn describe(&self, environment: &mut Environment) {
        environment.worker_cpus = self.cpus.as_ref().map(ToString::to_string);
        environment.worker_memory_max = self.group.as_ref().map(|group| group.memory_max);
        environment.absent.extend(self.absent.iter().cloned());
        environment.warnings.extend(self.warnings.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> CpuList {
        text.parse().unwrap()
    }

    fn made(cpus: &str, allowed: &str) -> Placement {
        Placement::make(&Asked { cpus: Some(list(cpus)), ..Asked::default() }, &list(allowed))
    }

    #[test]
    fn measured_processes_and_everything_else_get_cpus_of_their_own() {
        let placement = made("2-5", "0-5");
        assert_eq!(placement.cpus, Some(list("2-5")));
        assert_eq!(placement.others(&list("0-5")), list("0-1"));
        assert_eq!((placement.absent.len(), placement.warnings.len()), (0, 0));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named_and_nothing_is_bound() {
        let placement = made("4-7", "0-5");
        assert_eq!(placement.cpus, None);
        assert_eq!(placement.others(&list("0-5")), list("0-5"));
        let [(name, cause)] = placement.absent.as_slice() else { panic!("{placement:?}") };
        assert_eq!(name, "worker_cpus");
        assert!(cause.contains("6-7") && cause.contains("0-5"), "{cause}");
    }

    #[test]
    fn a_sampler_without_a_cpu_of_its_own_is_a_warning() {
        let placement = made("0-1", "0-1");
        assert_eq!(placement.cpus, Some(list("0-1")));
        assert_eq!(placement.others(&list("0-1")), list("0-1"));
        assert!(placement.warnings[0].contains("worker.cpus"), "{placement:?}");
    }

    #[test]
    fn what_was_had_and_what_was_not_is_in_the_environment() {
        let mut environment = Environment::default();
        let absent = vec![("worker_memory_max".into(), "no cgroup".into())];
        Placement { absent, ..made("1", "0-1") }.describe(&mut environment);
        assert_eq!(environment.worker_cpus.as_deref(), Some("1"));
        assert_eq!(environment.worker_memory_max, None);
        assert_eq!(environment.absent, [("worker_memory_max".into(), "no cgroup".into())]);
    }
}
