//! Everything about the machine and the software that a reader needs to reproduce a run.

use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// The machine and the software at the start of a run. A value that could not be read is absent, and
/// [`Environment::absent`] says why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// clipmark's own version.
    pub clipmark: String,
    /// Operating system, e.g. `Ubuntu 22.04.5 LTS`.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// CPU architecture, e.g. `aarch64`.
    pub arch: String,
    /// Board model from the device tree or DMI.
    pub board: Option<String>,
    /// The board file that matched, from config/boards.
    pub board_id: Option<String>,
    /// Jetson Linux release, e.g. `36.4.3`.
    pub l4t: Option<String>,
    /// Power mode, e.g. `2 MAXN_SUPER`.
    pub power_mode: Option<String>,
    /// CPU model.
    pub cpu: Option<String>,
    /// CPUs online.
    pub cpus_online: Option<u32>,
    /// cpufreq governor.
    pub governor: Option<String>,
    /// Total memory.
    pub memory_total: Option<Bytes>,
    /// Memory available at the start.
    pub memory_available: Option<Bytes>,
    /// Total swap.
    pub swap_total: Option<Bytes>,
    /// Load average over one minute at the start, in hundredths.
    pub load_centi: Option<u32>,
    /// Container or virtual machine, where one was recognised.
    pub virtualization: Option<String>,
    /// CPUs that the measured processes were kept to, e.g. `2-5`, where that was asked for.
    #[serde(default)]
    pub worker_cpus: Option<String>,
    /// Most memory that the measured processes could hold together, where that was asked for.
    #[serde(default)]
    pub worker_memory_max: Option<Bytes>,
    /// Conditions that weaken the figures, each a sentence with what to do about it.
    pub warnings: Vec<String>,
    /// Values that could not be read: name and cause.
    pub absent: Vec<(String, String)>,
}
