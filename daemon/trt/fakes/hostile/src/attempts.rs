//! What is tried, in order. Targets by the names of their keys in `fake.conf`:
//!
//! | key | target |
//! |---|---|
//! | `secrets` | files that hold passwords and keys, separated by colons |
//! | `broker` | the broker's port on the loopback |
//! | `socket` | a Unix socket that listens |
//! | `state` | the daemon's state directory |
//! | `daemon` | the daemon's process id |
//! | `outside` | a folder that is nobody's scratch |
//! | `model` | the model that is measured |
//! | `pause` | a pipe that is read to its end before a thread is named |

use crate::system::{call, chmod, fork, map, read_memory};
use clipmark_trt_fakes::behaviour::text;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

/// `None` where there is no target.
type Outcome = Option<Result<String, String>>;
type Attempt = (&'static str, fn() -> Outcome);

pub(crate) const ATTEMPTS: &[Attempt] = &[
    // Secrets.
    ("read secrets", || Some(read_any(&text("secrets")?))),
    ("read /etc/shadow", || Some(read(Path::new("/etc/shadow")))),
    ("find CREDENTIALS_DIRECTORY", || {
        Some(std::env::var("CREDENTIALS_DIRECTORY").map_err(|_| "not set".into()))
    }),
    ("find NOTIFY_SOCKET", || Some(std::env::var("NOTIFY_SOCKET").map_err(|_| "not set".into()))),
    // The network.
    ("connect to the broker", || {
        let port = text("broker")?.parse::<u16>().ok()?;
        Some(TcpStream::connect(("127.0.0.1", port)).map(|_| "connected".into()).map_err(|e| e.to_string()))
    }),
    ("listen on a port", || {
        Some(TcpListener::bind("127.0.0.1:0").map(|_| "listening".into()).map_err(|e| e.to_string()))
    }),
    ("connect to a Unix socket", || {
        let path = text("socket")?;
        Some(UnixStream::connect(path).map(|_| "connected".into()).map_err(|e| e.to_string()))
    }),
    ("set up io_uring", || {
        let parameters = [0_u64; 16];
        Some(call(libc::SYS_io_uring_setup, [1, parameters.as_ptr() as u64, 0, 0, 0]))
    }),
    // The daemon's state and everybody else's files.
    ("read the state", || Some(list(&state()?))),
    ("write into the state", || Some(write(&state()?.join("hostile")))),
    ("write into the spool", || Some(write(&state()?.join("spool/hostile")))),
    ("change the mode of the state", || Some(chmod(&state()?, 0o755))),
    ("truncate the model", || {
        let model = std::ffi::CString::new(text("model")?).ok()?;
        let size = fs::metadata(text("model")?).ok()?.len();
        Some(call(libc::SYS_truncate, [model.as_ptr() as u64, size, 0, 0, 0]))
    }),
    ("write outside of scratch", || Some(write(&PathBuf::from(text("outside")?).join("hostile")))),
    ("write into /tmp", || Some(write(&PathBuf::from(format!("/tmp/hostile-{}", std::process::id()))))),
    ("leave through another's root", || Some(list(&PathBuf::from(format!("/proc/{}/root/etc", daemon()?))))),
    // The daemon as a process.
    ("read the daemon's environment", || Some(read(&PathBuf::from(format!("/proc/{}/environ", daemon()?))))),
    ("read the parent's environment", || {
        Some(read(&PathBuf::from(format!("/proc/{}/environ", parent_id()))))
    }),
    ("open the daemon's memory", || {
        let opened = fs::File::options().read(true).write(true).open(format!("/proc/{}/mem", daemon()?));
        Some(opened.map(|_| "opened".into()).map_err(|error| error.to_string()))
    }),
    ("read the daemon's memory", || Some(read_memory(daemon()?))),
    ("trace the daemon", || {
        let daemon = u64::from(daemon()?);
        let attached = call(libc::SYS_ptrace, [u64::from(libc::PTRACE_SEIZE), daemon, 0, 0, 0]);
        if attached.is_ok() {
            let _ = call(libc::SYS_ptrace, [u64::from(libc::PTRACE_DETACH), daemon, 0, 0, 0]);
        }
        Some(attached)
    }),
    // Signal 0 asks whether a signal may be sent and sends none.
    ("signal the daemon", || Some(call(libc::SYS_kill, [u64::from(daemon()?), 0, 0, 0, 0]))),
    ("signal the parent", || Some(call(libc::SYS_kill, [u64::from(parent_id()), 0, 0, 0, 0]))),
    ("set the daemon's limits", || {
        let limit = [1_u64 << 16, 1_u64 << 16];
        let nofile = u64::from(libc::RLIMIT_NOFILE);
        Some(call(libc::SYS_prlimit64, [u64::from(daemon()?), nofile, limit.as_ptr() as u64, 0, 0]))
    }),
    // More power, more processes, more memory.
    ("start processes", || Some(fork(64))),
    ("run a program", || {
        let done = std::process::Command::new("/bin/true").status();
        Some(done.map(|status| status.to_string()).map_err(|error| error.to_string()))
    }),
    ("make a user namespace", || Some(call(libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0]))),
    ("keep a capability", || {
        Some(
            status_is_zero("CapPrm")
                .and_then(|()| status_is_zero("CapEff"))
                .and_then(|()| status_is_zero("CapAmb"))
                .map_or_else(Ok, |()| Err("none".into())),
        )
    }),
    ("gain privileges by a program", || {
        Some(status_is_zero("NoNewPrivs").map_or_else(
            |value| Err(format!("no_new_privs is {value}")),
            |()| Ok("no_new_privs is 0".into()),
        ))
    }),
    ("raise the group's memory limit", || Some(write_to(&group()?.join("memory.max"), "max"))),
    ("enter a group", || Some(write_to(&group()?.join("cgroup.procs"), "0"))),
    ("take twice the machine's memory", || Some(map(2 * total_memory()?, false))),
    ("outlive others when memory runs out", || {
        let score = fs::read_to_string("/proc/self/oom_score_adj").ok()?;
        let score = score.trim();
        Some(if score == "1000" {
            Err(format!("oom_score_adj is {score}"))
        } else {
            Ok(format!("oom_score_adj is {score}"))
        })
    }),
    // What a runtime needs.
    ("NEEDS the model", || Some(read(&PathBuf::from(text("model")?)))),
    ("NEEDS scratch", || Some(write(&std::env::temp_dir().join("file")))),
    ("NEEDS threads", || {
        Some(std::thread::Builder::new().spawn(|| ()).map(|_| "started".into()).map_err(|e| e.to_string()))
    }),
    ("NEEDS to name its threads", || Some(name_a_thread())),
    ("NEEDS executable memory", || Some(map(1 << 16, true))),
    ("NEEDS /proc/cpuinfo", || Some(read(Path::new("/proc/cpuinfo")))),
    ("NEEDS /sys/devices", || Some(list(Path::new("/sys/devices/system/cpu")))),
    ("NEEDS /dev/urandom", || {
        Some(fs::File::open("/dev/urandom").map(|_| "opened".into()).map_err(|e| e.to_string()))
    }),
    ("NEEDS the clock", || Some(call(libc::SYS_clock_getres, [libc::CLOCK_MONOTONIC as u64, 0, 0, 0, 0]))),
];

fn state() -> Option<PathBuf> {
    text("state").map(PathBuf::from)
}

fn daemon() -> Option<u32> {
    text("daemon")?.parse().ok()
}

/// As CUDA and `pthread_setname_np` do. Before, the kernel may be made to forget what it knows of /proc: the end of the pipe
/// `pause` says that it was.
fn name_a_thread() -> Result<String, String> {
    if let Some(pause) = text("pause") {
        let _ = fs::read(pause);
    }
    // The main thread has the number of the process.
    let name = format!("/proc/self/task/{}/comm", std::process::id());
    write_to(Path::new(&name), "hostile")
}

/// The group of the unified hierarchy that this process is in.
fn group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    roots.iter().find(|root| root.join("cgroup.procs").exists()).map(|root| root.join(own))
}

fn total_memory() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}

/// Fails with the value of a line of /proc/self/status that is not zero.
fn status_is_zero(key: &str) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let value = value.unwrap_or("missing").trim();
    if value.trim_start_matches('0').is_empty() { Ok(()) } else { Err(value.to_owned()) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read(path).map(|bytes| format!("{} bytes", bytes.len())).map_err(|error| error.to_string())
}

fn read_any(paths: &str) -> Result<String, String> {
    let mut last = Err("no path".into());
    for path in paths.split(':') {
        last = read(Path::new(path)).map(|got| format!("{path}: {got}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn list(folder: &Path) -> Result<String, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    Ok(format!("{} entries", entries.count()))
}

/// Makes a file, and removes it again.
fn write(path: &Path) -> Result<String, String> {
    fs::write(path, "hostile").map_err(|error| error.to_string())?;
    let _ = fs::remove_file(path);
    Ok(format!("wrote {}", path.display()))
}

/// Writes to a file that is there.
fn write_to(path: &Path, value: &str) -> Result<String, String> {
    let mut file = fs::File::options().write(true).open(path).map_err(|error| error.to_string())?;
    file.write_all(value.as_bytes())
        .map(|()| format!("wrote {}", path.display()))
        .map_err(|error| error.to_string())
}
