//! A control group for the measured processes, below the one that systemd hands the service (`Delegate=memory`).
//!
//! A group with processes of its own cannot bound its children (the kernel's rule of no inner processes), so the daemon
//! and its helpers first move into `clipmark`, and the measured processes enter `measured` as they start:
//!
//! ```text
//! clipmarkd.service/          handed over by systemd, empty
//!     clipmark/               the daemon, the run with its sampler
//!     measured/               workers; memory.max
//! ```

use clipmark_profile::units::Bytes;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the unified hierarchy is mounted.
const HIERARCHY: &str = "/sys/fs/cgroup";
const OWN: &str = "clipmark";
const MEASURED: &str = "measured";
/// Rounds of moving: a process may start another while it is moved.
const ROUNDS: usize = 5;

/// A control group for the measured processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory.
    pub path: PathBuf,
    /// Most memory of its processes together.
    pub memory_max: Bytes,
}

/// Divides this process's group and bounds the measured part, or says why that cannot be done here. May be repeated:
/// what is done already stays, and the bound is set anew.
pub(super) fn claim(memory_max: Bytes) -> Result<Group, String> {
    let membership = fs::read_to_string("/proc/self/cgroup")
        .map_err(|error| format!("/proc/self/cgroup cannot be read ({error})"))?;
    let base = base(Path::new(HIERARCHY), &membership)?;
    check(&base, is_ours)?;
    divide(&base, memory_max)
        .map_err(|(path, error)| format!("{} cannot be written ({error}): {MEND}", path.display()))
}

const MEND: &str = "the unit has to hand its control group over, as clipmarkd's own does by Delegate=memory";

/// The group that was handed over: this process's own, or the one above when it was divided before.
fn base(hierarchy: &Path, membership: &str) -> Result<PathBuf, String> {
    let own = membership.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.ok_or("this kernel keeps no unified control groups (cgroup v2)")?;
    let own = hierarchy.join(own);
    if !own.join("cgroup.controllers").exists() {
        return Err(format!(
            "control groups are not unified (cgroup v2) at {}; JetPack 4 and 5 start without them, JetPack 6 and later with",
            hierarchy.display()
        ));
    }
    let divided = own.file_name().is_some_and(|name| name == OWN);
    Ok(own.parent().filter(|_| divided).map_or(own.clone(), Path::to_path_buf))
}

/// Whether the group at `base` can bound memory and holds nobody else.
fn check(base: &Path, is_ours: impl Fn(u32) -> bool) -> Result<(), String> {
    let controllers = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_whitespace().any(|controller| controller == "memory") {
        return Err(format!("the group {} has no memory controller: {MEND}", base.display()));
    }
    match processes(base).into_iter().find(|&process| !is_ours(process)) {
        Some(stranger) => {
            Err(format!("process {stranger} shares the group {} with clipmark", base.display()))
        }
        None => Ok(()),
    }
}

fn processes(group: &Path) -> Vec<u32> {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    listed.lines().filter_map(|line| line.parse().ok()).collect()
}

/// This process, or a child that it started.
fn is_ours(process: u32) -> bool {
    let own = std::process::id();
    let parent = || {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok()
    };
    // One that has ended meanwhile has no status and is nobody's.
    process == own || parent().is_none_or(|parent| parent == own)
}

fn divide(base: &Path, memory_max: Bytes) -> Result<Group, (PathBuf, io::Error)> {
    let (own, measured) = (base.join(OWN), base.join(MEASURED));
    for group in [&own, &measured] {
        match fs::create_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err((group.clone(), error)),
            _ => {}
        }
    }
    for _ in 0..ROUNDS {
        for process in processes(base) {
            match write(&own.join("cgroup.procs"), &process.to_string()) {
                // It has ended.
                Err((_, error)) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                done => done?,
            }
        }
    }
    write(&base.join("cgroup.subtree_control"), "+memory")?;
    write(&measured.join("memory.max"), &memory_max.0.to_string())?;
    Ok(Group { path: measured, memory_max })
}

fn write(path: &Path, text: &str) -> Result<(), (PathBuf, io::Error)> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| (path.to_owned(), error))
}

/// Moves this process into the group at `path`.
///
/// # Errors
/// The kernel's, with the file concerned.
pub fn enter(path: &Path) -> io::Result<()> {
    let into = path.join("cgroup.procs");
    write(&into, "0").map_err(|(path, error)| {
        io::Error::new(error.kind(), format!("cannot enter {}: {error}", path.display()))
    })
}

/// Processes that the kernel has killed for memory in the group at `path`, and below.
#[must_use]
pub fn memory_kills(path: &Path) -> Option<u64> {
    let events = fs::read_to_string(path.join("memory.events")).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group in the likeness of the kernel's: plain files in place of its own.
    fn service(controllers: &str, processes: &str) -> (tempfile::TempDir, PathBuf) {
        let hierarchy = tempfile::tempdir().unwrap();
        let base = hierarchy.path().join("clipmark.slice/clipmarkd.service");
        for group in ["", OWN, MEASURED] {
            fs::create_dir_all(base.join(group)).unwrap();
            for file in ["cgroup.procs", "cgroup.subtree_control", "memory.max"] {
                fs::write(base.join(group).join(file), "").unwrap();
            }
            fs::write(base.join(group).join("cgroup.controllers"), controllers).unwrap();
        }
        fs::write(base.join("cgroup.procs"), processes).unwrap();
        (hierarchy, base)
    }

    #[test]
    fn the_group_is_found_before_and_after_it_was_divided() {
        let (hierarchy, expected) = service("memory pids\n", "");
        for membership in [
            "0::/clipmark.slice/clipmarkd.service\n",
            "1:name=systemd:/x\n0::/clipmark.slice/clipmarkd.service/clipmark\n",
        ] {
            assert_eq!(base(hierarchy.path(), membership).unwrap(), expected);
        }
    }

    #[test]
    fn a_system_without_unified_groups_is_told_so() {
        let hierarchy = tempfile::tempdir().unwrap();
        let hybrid = base(hierarchy.path(), "1:name=systemd:/x\n0::/system.slice/x.service\n").unwrap_err();
        assert!(hybrid.contains("JetPack 4 and 5"), "{hybrid}");
        let old = base(hierarchy.path(), "4:memory:/x\n").unwrap_err();
        assert!(old.contains("cgroup v2"), "{old}");
    }

    #[test]
    fn a_group_without_the_controller_or_with_a_stranger_is_left_alone() {
        let (_kept, base) = service("cpu pids\n", "7\n");
        assert!(check(&base, |_| true).unwrap_err().contains("Delegate=memory"));
        let (_kept, base) = service("cpu memory\n", "7\n8\n");
        assert!(check(&base, |process| process == 7).unwrap_err().contains("process 8"));
        assert_eq!(check(&base, |_| true), Ok(()));
    }

    #[test]
    fn dividing_moves_the_processes_and_bounds_the_measured_ones() {
        let (_kept, base) = service("memory\n", "41\n");
        let group = divide(&base, Bytes(1 << 30)).unwrap();
        let read = |path: &str| fs::read_to_string(base.join(path)).unwrap();
        assert_eq!(group, Group { path: base.join(MEASURED), memory_max: Bytes(1 << 30) });
        assert!(read("clipmark/cgroup.procs").starts_with("41"));
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        assert_eq!(read("measured/memory.max"), (1_u64 << 30).to_string());
    }

    #[test]
    fn kills_are_counted_where_the_kernel_counts_them() {
        let (_kept, base) = service("memory\n", "");
        assert_eq!(memory_kills(&base), None);
        fs::write(base.join("memory.events"), "low 0\noom 4\noom_kill 3\noom_group_kill 0\n").unwrap();
        assert_eq!(memory_kills(&base), Some(3));
    }

    #[test]
    fn this_process_and_its_children_are_its_own() {
        assert!(is_ours(std::process::id()));
        assert!(!is_ours(1));
    }
}
