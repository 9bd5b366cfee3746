//! The walls that a worker puts around itself before it opens a backend's library or a model.
//!
//! Terms: a *layer* is one kind of wall, which a kernel has or lacks; [`Bounds`] is what one worker may still reach;
//! a [`Confinement`] is what became of each layer. The walls are built from the inside, by the worker's own code,
//! because that needs no privilege. They cannot be taken down again, and whatever the worker starts inherits them.
//!
//! A layer that this kernel lacks is absent with its cause, and the others stand: the parent decides by its
//! [`Policy`] whether that is enough. What is closed to the worker here, and which test holds it, is in
//! docs/security.md.

mod calls;
pub mod environment;
mod files;
mod privileges;

pub use files::GPU_DEVICES;

use crate::account::memory_total;
use clipmark_profile::environment::Environment;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What to do about layers that this kernel lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Measure behind the layers that there are; the profile says which are absent.
    #[default]
    Available,
    /// Measure nothing unless every layer stands.
    Required,
    /// No walls, for finding out whether they are in a runtime's way. The profile says so.
    Off,
}

/// One kind of wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// No capabilities, and no way to gain privileges by running a program.
    Privileges,
    /// A bound on its memory.
    Memory,
    /// When memory runs out, the kernel ends the worker first.
    OutOfMemoryOrder,
    /// Files and devices beyond the worker's own are closed (Landlock).
    Files,
    /// No sockets, no signals to others, no tracing, no new namespaces (seccomp).
    SystemCalls,
}

impl Layer {
    /// Its name where a profile lists what is absent.
    #[must_use]
    pub const fn absent_name(self) -> &'static str {
        match self {
            Self::Privileges => "worker_privileges",
            Self::Memory => "worker_memory_bound",
            Self::OutOfMemoryOrder => "worker_out_of_memory_order",
            Self::Files => "worker_files",
            Self::SystemCalls => "worker_system_calls",
        }
    }
}

/// What a worker may reach beside the system's libraries and the GPU's devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Files and folders that it reads: models, their weights, libraries in unusual places.
    pub read: Vec<PathBuf>,
    /// Folders that it writes: scratch and the engine cache. Made when they are not there.
    pub write: Vec<PathBuf>,
    /// Whether it starts programs, as the backend `trtexec` does.
    pub programs: bool,
    /// Most private writable memory, bytes; absent where a limit was set before.
    pub memory: Option<u64>,
}

/// Most private writable memory of a worker that nobody gave a limit: what the machine has, less an eighth for
/// everything else on it. Absent where the kernel does not say what the machine has.
#[must_use]
pub fn memory_bound() -> Option<u64> {
    memory_total().map(|total| total.0 - total.0 / 8)
}

/// What became of every layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Version of Landlock that holds; absent where the kernel has none.
    pub landlock: Option<i32>,
    /// Layers that do not stand, with the cause.
    pub absent: Vec<(Layer, String)>,
}

impl Confinement {
    /// The state of a worker whose policy is [`Policy::Off`].
    #[must_use]
    pub fn off() -> Self {
        const LAYERS: [Layer; 5] =
            [Layer::Privileges, Layer::Memory, Layer::OutOfMemoryOrder, Layer::Files, Layer::SystemCalls];
        let cause = "switched off by worker.confinement";
        Self { landlock: None, absent: LAYERS.map(|layer| (layer, cause.to_owned())).to_vec() }
    }
}

impl Confinement {
    /// Writes what is absent into the description of the machine.
    pub fn describe(&self, environment: &mut Environment) {
        let absent = self.absent.iter().map(|(layer, cause)| (layer.absent_name().to_owned(), cause.clone()));
        environment.absent.extend(absent);
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes: Vec<&str> = self.absent.iter().map(|(_, cause)| cause.as_str()).collect();
        match (self.landlock, causes.as_slice()) {
            (Some(version), []) => write!(f, "every layer stands (Landlock {version}, seccomp)"),
            (_, causes) => f.write_str(&causes.join("; ")),
        }
    }
}

/// Confines this process, whose only thread is the calling one, to `bounds`.
#[must_use]
pub fn confine(bounds: &Bounds) -> Confinement {
    let mut made = Confinement::default();
    let mut note = |layer, outcome: Result<(), String>| {
        if let Err(cause) = outcome {
            made.absent.push((layer, cause));
        }
    };
    note(Layer::OutOfMemoryOrder, privileges::die_first());
    note(Layer::Memory, bounds.memory.map_or(Ok(()), privileges::bound_memory));
    note(Layer::Privileges, privileges::drop_all());
    let files = files::close(bounds);
    let scoped = files.as_ref().is_ok_and(|version| *version >= files::SCOPES_SIGNALS);
    note(Layer::Files, files.as_ref().map(drop).map_err(Clone::clone));
    // Last: it closes calls that the others need.
    note(Layer::SystemCalls, calls::close(bounds.programs, scoped));
    made.landlock = files.ok();
    made
}
