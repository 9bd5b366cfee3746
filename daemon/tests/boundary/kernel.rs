//! What this machine's kernel has of what a worker's walls are built of.

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};

/// Kinds of walls that this kernel can build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
}

impl Kernel {
    /// Asks the kernel, not clipmark: what clipmark fails to use must not look like what is missing.
    pub(crate) fn look() -> Self {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let landlock = ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { landlock, seccomp: status.lines().any(|line| line.starts_with("Seccomp:")) }
    }
}
