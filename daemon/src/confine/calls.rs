//! Which system calls a worker can make, held by seccomp.
//!
//! A list of what is closed, not of what is open: what NVIDIA's libraries call differs by release and is not
//! documented, and the unit keeps a list of what is open for the whole service. Closed is what a worker could reach
//! others by, past the files that Landlock closes; a closed call fails with EPERM.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads, sock_filter,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

/// Sockets and what belongs to them.
const NETWORK: &[libc::c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

/// Other processes: their memory, their descriptors, their shared memory and queues.
const PROCESSES: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
];

/// The same number everywhere; the crate `libc` does not have it for aarch64.
const FCHMODAT2: libc::c_long = 452;

/// Attributes of files, which Landlock leaves to their owner. `truncate` is closed to it from Linux 6.2 on.
const ATTRIBUTES: &[libc::c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_truncate,
];

/// The kernel itself: io_uring (which does other calls' work past this filter), namespaces, mounts, keys, tracing,
/// modules, clocks.
const KERNEL: &[libc::c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// Calls that only x86 has.
#[cfg(target_arch = "x86_64")]
const OF_X86: &[libc::c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_X86: &[libc::c_long] = &[];

/// Running programs and starting processes.
#[cfg(target_arch = "x86_64")]
const PROGRAMS: &[libc::c_long] = &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const PROGRAMS: &[libc::c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// Signals to a process that the first argument names.
const SIGNALS: &[libc::c_long] =
    &[libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo];

/// Bits of `clone` that make namespaces.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// Puts characters into a terminal's input, as if they had been typed there.
const TERMINAL_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Closes the calls above, and processes too unless `programs`. Signals to others are closed here where Landlock does
/// not keep them inside (`scoped`).
pub(super) fn close(programs: bool, scoped: bool) -> Result<(), String> {
    let failed = |error: seccompiler::Error| {
        format!(
            "this kernel filters no system calls (seccomp: {error}), so that sockets and signals stay open"
        )
    };
    let filter = filter(programs, scoped).map_err(|error| failed(error.into()))?;
    apply_filter_all_threads(&not_implemented()).map_err(failed)?;
    apply_filter_all_threads(&filter).map_err(failed)
}

fn filter(programs: bool, scoped: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: Rules = [NETWORK, PROCESSES, ATTRIBUTES, KERNEL, OF_X86]
        .into_iter()
        .flatten()
        .map(|&call| (call, Vec::new()))
        .collect();
    let own = u64::from(std::process::id());
    for call in TERMINAL_INPUT {
        rules.entry(libc::SYS_ioctl).or_default().push(rule([argument(1, SeccompCmpOp::Eq, call)?])?);
    }
    // Time stamps of an open file are its holder's; those of any path are not.
    rules.insert(libc::SYS_utimensat, vec![rule([pointer(1, SeccompCmpOp::Ne, 0)?])?]);
    // Limits and priorities of this process and its threads, not of others.
    rules.insert(
        libc::SYS_prlimit64,
        vec![rule([argument(0, SeccompCmpOp::Ne, 0)?, argument(0, SeccompCmpOp::Ne, own)?])?],
    );
    rules.insert(
        libc::SYS_setpriority,
        vec![rule([argument(0, SeccompCmpOp::Ne, libc::PRIO_PROCESS as u64)?])?],
    );
    if programs {
        let bits = (0..u64::BITS).map(|bit| 1_u64 << bit).filter(|bit| NAMESPACES as u64 & bit != 0);
        for bit in bits {
            let made = rule([argument(0, SeccompCmpOp::MaskedEq(bit), bit)?])?;
            rules.entry(libc::SYS_clone).or_default().push(made);
        }
    } else {
        rules.extend(PROGRAMS.iter().map(|&call| (call, Vec::new())));
        let thread = libc::CLONE_THREAD as u64;
        rules.insert(libc::SYS_clone, vec![rule([argument(0, SeccompCmpOp::MaskedEq(thread), 0)?])?]);
    }
    if !scoped {
        rules.insert(libc::SYS_tkill, Vec::new());
        rules.insert(libc::SYS_pidfd_send_signal, Vec::new());
        for &call in SIGNALS {
            rules.insert(call, vec![rule([argument(0, SeccompCmpOp::Ne, own)?])?]);
        }
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    let closed = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, closed, architecture)?.try_into()
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions.to_vec())
}

fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

fn pointer(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value)
}

/// Calls that this process is to find missing: `clone3`, whose flags lie in memory that a filter cannot read (glibc
/// then takes `clone`), and the numbers of x32, by which x86-64 reaches every call a second time.
fn not_implemented() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    vec![
        // The number is the first word of the kernel's data.
        instruction(load, 0, 0, 0),
        instruction(equal, 2, 0, libc::SYS_clone3 as u32),
        instruction(at_least, 1, 0, X32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}
