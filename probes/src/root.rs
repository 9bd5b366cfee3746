//! Where board files are read from: the live system, a directory that holds a tree, or a capture file.
//!
//! A path is always the path on the board, e.g. `/sys/class/thermal`. Discovery uses the one-shot
//! readers, which allocate; sampling keeps a [`Handle`] open and reads into a buffer on the stack.
//! There is no filesystem trait: a root is a value with three cases, and every error carries the path.

use crate::errno;
use crate::tree::{FormatError, Tree};
use clipmark_profile::units::Nanos;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes that a one-shot read takes.
const READ_LIMIT: usize = 256 * 1024;

/// A tree of board files.
#[derive(Debug, Clone)]
pub struct Root(Base);

#[derive(Debug, Clone)]
enum Base {
    Live,
    Directory { path: PathBuf, fd: Arc<OwnedFd> },
    Stored(Arc<Tree>),
}

/// A path that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The kernel or the driver refused.
    #[error("cannot read {path}: {name} ({hint})", name = errno::name(*errno), hint = errno::hint(*errno, path))]
    Refused {
        /// The path on the board.
        path: String,
        /// The error that it answered with.
        errno: Errno,
    },
    /// The contents are not what this file is known to hold.
    #[error("{path} holds `{text}`, not {expected}; the driver may have changed its format")]
    Unparsable {
        /// The path on the board.
        path: String,
        /// What it held, at most 40 characters.
        text: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// A root or an overlay that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The path cannot be opened.
    #[error("cannot open {path} as a board root; name `/`, a directory that holds a tree, or a capture file")]
    Open {
        /// The path given.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not in the capture format.
    #[error("{path} is not a capture file; make one with `clipmarkd probe capture FILE`")]
    Format {
        /// The path given.
        path: PathBuf,
        /// The line at fault.
        #[source]
        source: FormatError,
    },
}

impl Root {
    /// The system that this process runs on.
    #[must_use]
    pub const fn live() -> Self {
        Self(Base::Live)
    }

    /// A tree in memory.
    #[must_use]
    pub fn stored(tree: Tree) -> Self {
        Self(Base::Stored(Arc::new(tree)))
    }

    /// `/`, a directory that holds a tree, or a capture file.
    ///
    /// # Errors
    /// When `path` cannot be opened or is a file in another format.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let failed = |source: std::io::Error| RootError::Open { path: path.to_owned(), source };
        let real = path.canonicalize().map_err(failed)?;
        if real == Path::new("/") {
            return Ok(Self::live());
        }
        if real.is_dir() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&real, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
            return Ok(Self(Base::Directory { path: real, fd: Arc::new(fd) }));
        }
        let text = std::fs::read_to_string(&real).map_err(failed)?;
        let tree =
            Tree::parse(&text).map_err(|source| RootError::Format { path: path.to_owned(), source })?;
        Ok(Self::stored(tree))
    }

    /// The tree of a capture that nobody else holds, or the root itself.
    pub(crate) fn into_tree(self) -> Result<Tree, Self> {
        match self.0 {
            Base::Stored(tree) => Arc::try_unwrap(tree).map_err(|tree| Self(Base::Stored(tree))),
            Base::Live | Base::Directory { .. } => Err(self),
        }
    }

    /// Whether files can change while they are read: on a running system, in a bind mount of one, and in a
    /// capture that holds series.
    #[must_use]
    pub fn moves(&self) -> bool {
        const SYSFS: rustix::fs::FsWord = 0x6265_6572;
        match &self.0 {
            Base::Live => true,
            Base::Directory { fd, .. } => {
                let sys = open_below(fd, "/sys", OFlags::PATH);
                sys.and_then(rustix::fs::fstatfs).is_ok_and(|found| found.f_type == SYSFS)
            }
            Base::Stored(tree) => tree.last_change().is_some(),
        }
    }

    /// Whether this is the running system.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.0, Base::Live)
    }

    /// Whether this is a capture, with or without overlays.
    #[must_use]
    pub const fn is_capture(&self) -> bool {
        matches!(self.0, Base::Stored(_))
    }

    /// Sets the time at which a capture's series are read; the other roots have their own.
    pub fn set_time(&self, now: Nanos) {
        if let Base::Stored(tree) = &self.0 {
            tree.set_time(now);
        }
    }

    /// The last instant at which a capture's values change; `None` for other roots and still captures.
    #[must_use]
    pub fn last_change(&self) -> Option<Nanos> {
        match &self.0 {
            Base::Stored(tree) => tree.last_change(),
            Base::Live | Base::Directory { .. } => None,
        }
    }

    /// Whether `path` exists, whatever reading it gives.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_ok()
    }

    /// `path` with every symbolic link followed, still as a path on the board.
    ///
    /// # Errors
    /// When a part of it is missing or cannot be entered.
    pub fn resolve(&self, path: &str) -> Result<String, ReadError> {
        let refused = |errno| ReadError::refused(path, errno);
        match &self.0 {
            Base::Live => {
                let real = std::fs::canonicalize(path).map_err(|error| refused(errno_of(&error)))?;
                Ok(real.to_string_lossy().into_owned())
            }
            Base::Directory { path: root, fd } => {
                let target = open_below(fd, path, OFlags::PATH).map_err(refused)?;
                let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&target));
                let real = std::fs::read_link(link).map_err(|error| refused(errno_of(&error)))?;
                let inside = real.strip_prefix(root).map_err(|_| refused(Errno::NOENT))?;
                Ok(format!("/{}", inside.to_string_lossy()))
            }
            Base::Stored(tree) => tree.resolve(path).map_err(refused),
        }
    }

    /// The target of the symbolic link at `path` itself, if it is one.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<String> {
        let at = |path: &Path| Some(std::fs::read_link(path).ok()?.to_string_lossy().into_owned());
        match &self.0 {
            Base::Live => at(Path::new(path)),
            Base::Directory { path: root, .. } => {
                let (parent, name) = path.rsplit_once('/')?;
                let parent = self.resolve(if parent.is_empty() { "/" } else { parent }).ok()?;
                at(&root.join(parent.trim_start_matches('/')).join(name))
            }
            Base::Stored(tree) => tree.link_target(path),
        }
    }

    /// Names in the directory `path`, with numbers inside names in numerical order.
    ///
    /// # Errors
    /// When it is missing, not a directory, or closed to this user.
    pub fn list(&self, path: &str) -> Result<Vec<String>, ReadError> {
        let refused = |errno| ReadError::refused(path, errno);
        let mut names = match &self.0 {
            Base::Stored(tree) => tree.list(path).map_err(refused)?,
            Base::Live | Base::Directory { .. } => {
                let fd = self.open_fd(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(refused)?;
                let mut names = Vec::new();
                for entry in rustix::fs::Dir::new(fd).map_err(refused)? {
                    let entry = entry.map_err(refused)?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name != "." && name != ".." {
                        names.push(name);
                    }
                }
                names
            }
        };
        names.sort_by(|one, two| natural_order(one, two));
        Ok(names)
    }

    /// Everything that `path` holds, up to 256 KiB.
    ///
    /// # Errors
    /// The error that opening or reading it gives.
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        let refused = |errno| ReadError::refused(path, errno);
        let mut buffer = vec![0; 4096];
        let mut length = 0;
        match &self.0 {
            Base::Stored(tree) => {
                let file = tree.open(path).map_err(refused)?;
                buffer.resize(READ_LIMIT, 0);
                length = tree.read(file, &mut buffer).map_err(refused)?;
            }
            Base::Live | Base::Directory { .. } => {
                let fd = self.open_fd(path, OFlags::RDONLY).map_err(refused)?;
                while length < READ_LIMIT {
                    if length == buffer.len() {
                        buffer.resize(length * 2, 0);
                    }
                    match rustix::io::pread(&fd, &mut buffer[length..], length as u64).map_err(refused)? {
                        0 => break,
                        count => length += count,
                    }
                }
            }
        }
        buffer.truncate(length);
        Ok(buffer)
    }

    /// The text that `path` holds, without white space and NULs at its ends.
    ///
    /// # Errors
    /// The error that opening or reading it gives.
    pub fn read_text(&self, path: &str) -> Result<String, ReadError> {
        let bytes = self.read_bytes(path)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
    }

    /// The decimal integer that `path` holds.
    ///
    /// # Errors
    /// The error that reading it gives, or contents that are not one integer.
    pub fn read_number(&self, path: &str) -> Result<i64, ReadError> {
        let text = self.read_text(path)?;
        text.parse().map_err(|_| ReadError::Unparsable {
            path: path.to_owned(),
            text: text.chars().take(40).collect(),
            expected: "an integer",
        })
    }

    /// Opens `path` for repeated reading.
    ///
    /// # Errors
    /// The error that opening it gives.
    pub fn open_value(&self, path: &str) -> Result<Handle, ReadError> {
        let file = self.open_file(path).map_err(|errno| ReadError::refused(path, errno))?;
        Ok(Handle { root: self.clone(), path: path.to_owned(), file })
    }

    fn open_file(&self, path: &str) -> Result<OpenFile, Errno> {
        match &self.0 {
            Base::Stored(tree) => Ok(OpenFile::Stored(Arc::clone(tree), tree.open(path)?)),
            Base::Live | Base::Directory { .. } => Ok(OpenFile::Fd(self.open_fd(path, OFlags::RDONLY)?)),
        }
    }

    fn open_fd(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        match &self.0 {
            Base::Live => rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()),
            Base::Directory { fd, .. } => open_below(fd, path, flags),
            Base::Stored(_) => Err(Errno::INVAL),
        }
    }
}

/// Opens `path` with `root` as its `/`, so that absolute links inside a copied tree stay inside it.
fn open_below(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl ReadError {
    fn refused(path: &str, errno: Errno) -> Self {
        Self::Refused { path: path.to_owned(), errno }
    }

    /// The path on the board.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Refused { path, .. } | Self::Unparsable { path, .. } => path,
        }
    }

    /// The error that the kernel answered with, if it was one.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Unparsable { .. } => None,
        }
    }
}

/// A file kept open for repeated reading.
#[derive(Debug)]
pub struct Handle {
    root: Root,
    path: String,
    file: OpenFile,
}

#[derive(Debug)]
enum OpenFile {
    Fd(OwnedFd),
    Stored(Arc<Tree>, usize),
}

impl Handle {
    /// The path on the board.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads the file from its start into `buffer`, once. A descriptor that outlived its driver
    /// (`ENODEV`) is opened anew first, also where the driver came back under another number.
    ///
    /// # Errors
    /// What the read answered; `EAGAIN` is not tried again.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.file.read(buffer) {
            Err(Errno::NODEV) => {
                self.file = self.reopen()?;
                self.file.read(buffer)
            }
            answer => answer,
        }
    }

    fn reopen(&mut self) -> Result<OpenFile, Errno> {
        match self.root.open_file(&self.path) {
            Err(Errno::NOENT) => {
                let moved = renumbered(&self.root, &self.path).ok_or(Errno::NODEV)?;
                let file = self.root.open_file(&moved)?;
                self.path = moved;
                Ok(file)
            }
            answer => answer,
        }
    }
}

impl OpenFile {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => rustix::io::pread(fd, buffer, 0),
            Self::Stored(tree, file) => tree.read(*file, buffer),
        }
    }
}

/// Where `path` went when its driver was bound again: the directory that the kernel numbers has a new
/// number, everything around it is the same.
fn renumbered(root: &Root, path: &str) -> Option<String> {
    ["/hwmon/hwmon", "/iio:device"].iter().find_map(|marker| {
        let start = path.find(marker)?;
        let parent_end = start + marker.rfind('/')?;
        let stem = &marker[marker.rfind('/')? + 1..];
        let rest = path[start + marker.len()..].split_once('/')?.1;
        let parent = &path[..parent_end];
        let names = root.list(parent).ok()?;
        let found = names.iter().filter(|name| name.starts_with(stem));
        found.map(|name| format!("{parent}/{name}/{rest}")).find(|candidate| root.exists(candidate))
    })
}

/// Orders names so that `zone10` comes after `zone2`.
fn natural_order(one: &str, two: &str) -> Ordering {
    let key = |text: &str| {
        let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let end = text[digits..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| digits + at);
        (text[..digits].to_owned(), text[digits..end].parse::<u64>().unwrap_or(0), text[end..].to_owned())
    };
    key(one).cmp(&key(two))
}

#[cfg(test)]
mod tests;
