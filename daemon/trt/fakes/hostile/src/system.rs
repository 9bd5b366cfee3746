//! System calls that the standard library does not offer, with the kernel's answer as text.

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The outcome of a call that returns -1 when it fails.
pub(crate) fn answer(returned: libc::c_long) -> Result<String, String> {
    if returned < 0 {
        Err(io::Error::last_os_error().to_string())
    } else {
        Ok(format!("returned {returned}"))
    }
}

/// Any system call.
pub(crate) fn call(number: libc::c_long, arguments: [u64; 5]) -> Result<String, String> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: callers pass numbers, and pointers into memory that outlives the call.
    answer(unsafe { libc::syscall(number, a, b, c, d, e) })
}

/// Starts `count` processes that end at once, and waits for them.
pub(crate) fn fork(count: usize) -> Result<String, String> {
    for started in 0..count {
        // SAFETY: the child makes one async-signal-safe call and is gone.
        match unsafe { libc::fork() } {
            -1 if started == 0 => return Err(io::Error::last_os_error().to_string()),
            -1 => break,
            // SAFETY: ends the child without running anything of the parent's.
            0 => unsafe { libc::_exit(0) },
            child => {
                // SAFETY: no status is asked for.
                unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            }
        }
    }
    Ok(format!("{count} processes"))
}

/// Maps private memory that can be written, without touching it.
pub(crate) fn map(bytes: usize, executable: bool) -> Result<String, String> {
    let access = libc::PROT_READ | libc::PROT_WRITE | if executable { libc::PROT_EXEC } else { 0 };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().to_string());
    }
    // SAFETY: the mapping made above.
    unsafe { libc::munmap(mapped, bytes) };
    Ok(format!("{bytes} bytes"))
}

/// Changes the mode of `path` to the one it has.
pub(crate) fn chmod(path: &Path, mode: u32) -> Result<String, String> {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return Err("no path".into()) };
    // SAFETY: the name is terminated and outlives the call.
    answer(libc::c_long::from(unsafe { libc::chmod(name.as_ptr(), mode) }))
}

/// Bytes of `process` at the address of one of this process's own variables.
pub(crate) fn read_memory(process: u32) -> Result<String, String> {
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: both descriptions are valid, and one byte is written to `byte` at most.
    let read =
        unsafe { libc::process_vm_readv(process as i32, &raw const local, 1, &raw const remote, 1, 0) };
    match (read, io::Error::last_os_error().raw_os_error()) {
        // That the address means nothing there is told only to those who may read.
        (-1, Some(libc::EFAULT)) => Ok("may read".into()),
        (read, _) => answer(read as libc::c_long),
    }
}

/// Where `name` lies in the folder of this library.
pub(crate) fn beside(name: &str) -> PathBuf {
    // SAFETY: zero is a valid bit pattern for four pointers.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is valid for the write; the address is inside this library.
    let found = unsafe { libc::dladdr((beside as fn(&str) -> PathBuf) as *const c_void, &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return PathBuf::new();
    }
    // SAFETY: the loader's file names are terminated and live as long as the library.
    let own = unsafe { CStr::from_ptr(info.dli_fname) };
    Path::new(std::ffi::OsStr::from_bytes(own.to_bytes())).with_file_name(name)
}

/// The address of `name` in the library at `path`.
pub(crate) fn symbol(path: &Path, name: &CStr) -> Option<*mut c_void> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: loads a stand-in of the tests, and keeps it loaded.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return None;
    }
    // SAFETY: the library is loaded, and the name is terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
