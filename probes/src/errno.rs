//! Names of the errors that kernel drivers answer with, and what they usually mean here.
//!
//! Capture files store an error by name, and an absent channel is explained by it.

use rustix::io::Errno;

const NAMES: [(&str, Errno); 24] = [
    ("EPERM", Errno::PERM),
    ("ENOENT", Errno::NOENT),
    ("EINTR", Errno::INTR),
    ("EIO", Errno::IO),
    ("ENXIO", Errno::NXIO),
    ("EBADF", Errno::BADF),
    ("EAGAIN", Errno::AGAIN),
    ("ENOMEM", Errno::NOMEM),
    ("EACCES", Errno::ACCESS),
    ("EBUSY", Errno::BUSY),
    ("ENODEV", Errno::NODEV),
    ("ENOTDIR", Errno::NOTDIR),
    ("EISDIR", Errno::ISDIR),
    ("EINVAL", Errno::INVAL),
    ("ERANGE", Errno::RANGE),
    ("ENOSYS", Errno::NOSYS),
    ("ELOOP", Errno::LOOP),
    ("ENODATA", Errno::NODATA),
    ("EPROTO", Errno::PROTO),
    ("EOPNOTSUPP", Errno::OPNOTSUPP),
    ("ETIMEDOUT", Errno::TIMEDOUT),
    ("ESTALE", Errno::STALE),
    ("EREMOTEIO", Errno::REMOTEIO),
    ("ESHUTDOWN", Errno::SHUTDOWN),
];

/// The symbolic name of `errno`, or `E` and its number for a rare one.
#[must_use]
pub fn name(errno: Errno) -> String {
    match NAMES.iter().find(|(_, known)| *known == errno) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("E{}", errno.raw_os_error()),
    }
}

/// The error called `name`, as written by [`name`].
#[must_use]
pub fn from_name(name: &str) -> Option<Errno> {
    if let Some((_, errno)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*errno);
    }
    let number: i32 = name.strip_prefix('E')?.parse().ok()?;
    (1..4096).contains(&number).then(|| Errno::from_raw_os_error(number))
}

/// What `errno` usually means when `path` answers with it, and what to do where something can be done.
#[must_use]
pub fn hint(errno: Errno, path: &str) -> &'static str {
    let debugfs = path.starts_with("/sys/kernel/debug");
    match errno {
        Errno::ACCESS | Errno::PERM if debugfs => {
            "debugfs is for root: run as root or with CAP_DAC_READ_SEARCH"
        }
        Errno::ACCESS | Errno::PERM => {
            "readable by root alone: run as root or with CAP_DAC_READ_SEARCH, or change its mode"
        }
        Errno::NOENT if debugfs => {
            "not there: mount debugfs (mount -t debugfs none /sys/kernel/debug), or this kernel lacks it"
        }
        Errno::NOENT => "this board or kernel does not have it",
        Errno::AGAIN => "the unit is power-gated or has no conversion ready",
        Errno::NODATA => "the channel is disabled or not connected",
        Errno::INVAL => "the driver refuses to answer in its present state",
        Errno::NODEV | Errno::NXIO => "the device went away, e.g. its driver was unbound",
        Errno::IO | Errno::REMOTEIO | Errno::TIMEDOUT => "the device did not answer on its bus",
        _ => "the driver answered with an error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_back() {
        for (text, errno) in NAMES {
            assert_eq!(name(errno), text);
            assert_eq!(from_name(text), Some(errno));
        }
        let rare = Errno::from_raw_os_error(95 + 20);
        assert_eq!(from_name(&name(rare)), Some(rare));
        assert_eq!(from_name("Enough"), None);
    }
}
