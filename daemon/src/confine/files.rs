//! Which files a worker reaches, held by Landlock (Linux 5.13).
//!
//! Everything that is not listed is closed: home folders, configuration, credentials, state, the spool, other
//! devices. Rights are per file and folder, below which they hold too. Nothing is hidden: names and attributes of
//! closed files can still be looked up.

use super::Bounds;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The newest Landlock whose rights are asked for; an older kernel keeps those that it knows.
const NEWEST: ABI = ABI::V6;
/// First Landlock that keeps signals inside.
pub(super) const SCOPES_SIGNALS: i32 = 6;

/// Where programs and libraries lie: read, mapped and run.
const LIBRARIES: [&str; 7] = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt"];

/// What the loader, libraries and backends read of the system.
const SYSTEM: [&str; 7] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    // L4T's release, by which NVIDIA's libraries know the board.
    "/etc/nv_tegra_release",
    // Memory, CPUs, the driver's facts. What is another process's own stays closed: Landlock forbids tracing it.
    "/proc",
];

/// Where threads get their names. CUDA names its own as it starts, and fails where it cannot.
const OWN_THREADS: &str = "/proc/self/task";

/// Parts of /sys/kernel that show more than a runtime's business. CUDA on Thor needs /sys and does not say what of it.
const CLOSED_IN_KERNEL: [&str; 4] = ["config", "debug", "security", "tracing"];

/// Devices of every program.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Beginnings of the names below /dev of GPUs and what belongs to them. The unit's `DeviceAllow` opens the same ones.
pub const GPU_DEVICES: [&str; 7] = ["nvhost", "nvmap", "nvgpu", "nvidia", "nvsciipc", "host1x-fence", "dri"];

/// There where NVIDIA's driver for PCs and for Thor runs.
const NVIDIA_CONTROL: &str = "/dev/nvidiactl";

/// Closes every file to this process that `bounds` and the lists above do not open. The version of Landlock that holds.
pub(super) fn close(bounds: &Bounds) -> Result<i32, String> {
    let threads = std::fs::read_dir(OWN_THREADS).map_or(0, Iterator::count);
    if threads != 1 {
        return Err(format!(
            "{threads} threads run already, and Landlock closes files to the calling one alone"
        ));
    }
    // A folder that is to be written must be there to be opened; backends make theirs too late for that.
    for folder in &bounds.write {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {} ({error})", folder.display()))?;
    }
    let status = rules(bounds)
        .and_then(RulesetCreated::restrict_self)
        .map_err(|error| format!("Landlock refuses the rules ({error})"))?;
    match (status.landlock, status.ruleset) {
        (LandlockStatus::NotImplemented, _) => {
            Err("this kernel has no Landlock, which closes files (Linux 5.13 and later have it), or a container hides it".into())
        }
        (LandlockStatus::NotEnabled, _) => {
            Err("Landlock, which closes files, is not switched on in this kernel (add it to lsm= at boot)"
                .into())
        }
        (_, RulesetStatus::NotEnforced) => Err("Landlock, which closes files, was not enforced".into()),
        (LandlockStatus::Available { effective_abi, kernel_abi }, _) => {
            Ok(kernel_abi.unwrap_or(effective_abi as i32))
        }
    }
}

fn rules(bounds: &Bounds) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::from_read(NEWEST);
    let look = read & !AccessFs::Execute;
    let write = AccessFs::from_all(NEWEST) & !AccessFs::Execute & !AccessFs::IoctlDev;
    let device = look | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let libraries = LIBRARIES.iter().map(PathBuf::from).chain(named_by_environment());
    ruleset = open(ruleset, libraries, read)?;
    ruleset = open(ruleset, SYSTEM.iter().map(PathBuf::from).chain(hardware(Path::new("/sys"))), look)?;
    ruleset = name_threads(ruleset, bounds.programs)?;
    ruleset = open(ruleset, DEVICES.iter().map(PathBuf::from).chain(gpu_devices(Path::new("/dev"))), device)?;
    ruleset = open(ruleset, bounds.read.iter().cloned(), look)?;
    open(ruleset, bounds.write.iter().cloned(), write)
}

/// Opens those of `paths` that exist.
fn open(
    mut ruleset: RulesetCreated,
    paths: impl Iterator<Item = PathBuf>,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths {
        let Ok(opened) = PathFd::new(&path) else { continue };
        // Rights to a folder's entries make no sense for a file, and the kernel refuses them.
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
    }
    Ok(ruleset)
}

/// Lets this process name its threads. A program that it starts has a number of its own, which nobody knows yet: to let
/// it name its threads, the files of all processes have to be opened, as far as their owner may write them.
fn name_threads(ruleset: RulesetCreated, programs: bool) -> Result<RulesetCreated, RulesetError> {
    let rename = AccessFs::WriteFile | AccessFs::Truncate;
    if programs && Path::new(NVIDIA_CONTROL).exists() {
        return open(ruleset, std::iter::once(PathBuf::from("/proc")), rename);
    }
    // The kernel forgets a folder of /proc that nobody holds, and with it the rule for it. So it is held for good.
    static HELD: OnceLock<PathFd> = OnceLock::new();
    let Ok(opened) = PathFd::new(OWN_THREADS) else { return Ok(ruleset) };
    ruleset.add_rule(PathBeneath::new(HELD.get_or_init(|| opened), rename))
}

/// Everything below `sys` but what shows the kernel's inside.
fn hardware(sys: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path, closed: &[&str]| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let open =
            entries.filter(|entry| !entry.file_name().to_str().is_none_or(|name| closed.contains(&name)));
        open.map(|entry| entry.path()).collect()
    };
    [inside(sys, &["kernel"]), inside(&sys.join("kernel"), &CLOSED_IN_KERNEL)].concat()
}

/// Where the environment says that libraries and trtexec lie, beyond the usual places.
fn named_by_environment() -> Vec<PathBuf> {
    let value = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let path = |name: &str| value(name).map(PathBuf::from);
    let paths = |name: &str| -> Vec<PathBuf> { value(name).iter().flat_map(std::env::split_paths).collect() };
    // An empty entry stands for the working directory, which is nobody's library folder.
    let mut found: Vec<PathBuf> = ["LD_LIBRARY_PATH", "LD_PRELOAD"].into_iter().flat_map(paths).collect();
    found.retain(|path| path.is_absolute());
    found.extend(path("CLIPMARK_TENSORRT_DIR"));
    found.extend(found.iter().flat_map(|folder| behind_links(folder)).collect::<BTreeSet<_>>());
    found.extend(["VIRTUAL_ENV", "CLIPMARK_TRTEXEC"].into_iter().filter_map(path));
    found.extend(path("HOME").map(|home| home.join(".local/lib")));
    found.extend(path("CLIPMARK_ONNXRUNTIME").iter().flat_map(|library| around(library)));
    found.extend(paths("PATH").into_iter().map(|folder| folder.join("trtexec")));
    found
}

/// Where the libraries lie to which links in `folder` lead.
fn behind_links(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_library =
        |path: &Path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.contains(".so"));
    let links = entries.map(|entry| entry.path()).filter(|path| path.is_symlink() && is_library(path));
    links.flat_map(|link| around(&link)).collect()
}

/// The folders with what belongs to `library`: its own, and that of the file behind a link. A Python package's libraries
/// lie in other packages, so that there the folder of all packages is meant.
fn around(library: &Path) -> Vec<PathBuf> {
    let packages = |folder: &Path| {
        matches!(folder.file_name().and_then(OsStr::to_str), Some("site-packages" | "dist-packages"))
    };
    let folder = |file: &Path| {
        file.ancestors().find(|folder| packages(folder)).or(file.parent()).map(Path::to_path_buf)
    };
    let real = std::fs::canonicalize(library).ok();
    [Some(library), real.as_deref()].into_iter().flatten().filter_map(folder).collect()
}

/// Devices of GPUs below `dev`, as far as they exist now.
fn gpu_devices(dev: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dev).into_iter().flatten().flatten();
    let is_gpus = |name: &str| GPU_DEVICES.iter().any(|prefix| name.starts_with(prefix));
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_gpus))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_open_and_the_kernels_inside_is_not() {
        let sys = tempfile::tempdir().unwrap();
        for folder in ["bus", "devices", "kernel/debug", "kernel/mm", "kernel/security", "kernel/tracing"] {
            std::fs::create_dir_all(sys.path().join(folder)).unwrap();
        }
        let mut open = hardware(sys.path());
        open.sort();
        assert_eq!(open, ["bus", "devices", "kernel/mm"].map(|folder| sys.path().join(folder)));
    }

    #[test]
    fn what_belongs_to_a_library_lies_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("lib/python3.12/site-packages");
        std::fs::create_dir_all(package.join("onnxruntime/capi")).unwrap();
        let library = package.join("onnxruntime/capi/libonnxruntime.so.1");
        std::fs::write(&library, "").unwrap();
        let link = folder.path().join("libonnxruntime.so");
        std::os::unix::fs::symlink(&library, &link).unwrap();
        let expected = [folder.path().to_path_buf(), std::fs::canonicalize(&package).unwrap()];
        assert_eq!(around(&link), expected);
        assert_eq!(behind_links(folder.path()), expected);
        assert_eq!(around(Path::new("/opt/ort/lib/libonnxruntime.so")), [PathBuf::from("/opt/ort/lib")]);
    }

    #[test]
    fn devices_of_gpus_are_found_by_their_names_beginning() {
        let dev = tempfile::tempdir().unwrap();
        for name in ["nvmap", "nvhost-ctrl-gpu", "nvidia-uvm-tools", "mem", "sda", "tty", "vhost-net"] {
            std::fs::write(dev.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dev.path().join("nvgpu")).unwrap();
        let mut found = gpu_devices(dev.path());
        found.sort();
        let expected = ["nvgpu", "nvhost-ctrl-gpu", "nvidia-uvm-tools", "nvmap"];
        assert_eq!(found, expected.map(|name| dev.path().join(name)));
    }
}
