//! What to do about a disk that refuses, and locks on files.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// How long a lock of a process that is gone may be held: its children have it until they start their own program.
const LEAVING: Duration = Duration::from_secs(3);

/// Locks `file` for this process alone, for as long as it is open. False where another process has it and goes on
/// having it for seconds.
///
/// # Errors
///
/// The system's refusal to lock.
pub fn lock(file: &File) -> Result<bool, Error> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() >= LEAVING => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// `EIO`, which has no kind of its own.
const IO: i32 = 5;

/// What to do about `error`, which a disk or directory gave.
#[must_use]
pub fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space there (`df -h` and `df -i` show it)"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "it is mounted read-only: remount it writable, or name another directory; the kernel remounts a disk with \
             errors read-only (`dmesg` says so)"
        }
        ErrorKind::PermissionDenied => "it must belong to the user that this program runs as",
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "something that is no directory is in the way: move it"
        }
        _ if error.raw_os_error() == Some(IO) => "the disk is failing: see `dmesg`, and replace it",
        _ => "check free space, ownership and the disk's health",
    }
}

/// Whether time may end the trouble without anybody changing this program's settings: space is freed, a disk is mounted
/// or comes back.
#[must_use]
pub fn may_pass(error: &Error) -> bool {
    let kinds = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::StaleNetworkFileHandle,
        ErrorKind::NotFound,
        ErrorKind::NotConnected,
        ErrorKind::ResourceBusy,
        ErrorKind::TimedOut,
        ErrorKind::OutOfMemory,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(IO)
}

#[cfg(test)]
mod tests {
    use super::{advice, lock, may_pass};
    use std::fs::File;
    use std::io::Error;

    #[test]
    fn a_lock_that_is_left_in_a_moment_is_waited_for_and_one_that_is_held_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = File::create(&path).unwrap();
        assert!(lock(&held).unwrap());
        let wanted = File::open(&path).unwrap();
        assert!(!lock(&wanted).unwrap());
        let leaving = std::thread::spawn(move || {
            std::thread::yield_now();
            drop(held);
        });
        assert!(lock(&wanted).unwrap());
        leaving.join().unwrap();
    }

    #[test]
    fn a_full_a_read_only_and_a_foreign_directory_have_their_own_advice() {
        for (code, part, passes) in [
            (28, "free some space", true),
            (122, "free some space", true),
            (30, "mounted read-only", true),
            (5, "failing", true),
            (13, "belong to the user", false),
            (20, "no directory", false),
        ] {
            let error = Error::from_raw_os_error(code);
            assert!(advice(&error).contains(part), "{error}: {}", advice(&error));
            assert_eq!(may_pass(&error), passes, "{error}");
        }
    }
}
