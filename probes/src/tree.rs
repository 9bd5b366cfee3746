//! A board's file tree held in memory, and the capture format that stores it as one text file.
//!
//! Format, one entry a line: an absolute path, a tab, a value. Lines that are empty or begin with `#`
//! are remarks. Forms of the value:
//!
//! | value | what reading the path gives |
//! |---|---|
//! | `text` | the text and a newline; no newline when the text ends in `\0` |
//! | `!EAGAIN`, `!EACCES`, ... | that error: `EACCES` and `EPERM` at open, others at read |
//! | `!ENOENT` | nothing is there; in an overlay this removes the path |
//! | `!DIR` | an empty directory |
//! | `@->X` | a symbolic link to X |
//! | `@series 0:5,2000:!EAGAIN,4000:7` | values over time, each held from its millisecond on |
//! | `@ramp 0:40000,60000:90000` | integers over time on straight lines between the points, held at both ends |
//!
//! Escapes inside text: `\n`, `\t`, `\0`, `\\`, `\xHH`, and `\,` inside a series. A leading `!` or `@` of plain text is
//! written `\x21` or `\x40`. Directories follow from the paths. Overlays are files of the same format:
//! a later path replaces an earlier one.
//!
//! Time inside a tree is set from outside ([`Tree::set_time`]): nothing here reads a clock.

use crate::content::Content;
use clipmark_profile::units::Nanos;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Symbolic links followed before a path counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// A tree of files with the answers that reading them gives.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    files: Vec<Content>,
    now_ms: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    Link(String),
    File(usize),
}

/// A line of a capture file that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}: `{text}`")]
pub struct FormatError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it, and what was expected.
    pub problem: &'static str,
    /// The line, at most 80 characters.
    pub text: String,
}

impl Tree {
    /// Reads a capture file's text.
    ///
    /// # Errors
    /// The first line that is not in the format.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut tree = Self::default();
        tree.apply(text)?;
        Ok(tree)
    }

    /// Lays another capture file's text over this tree: its paths replace those that exist.
    ///
    /// # Errors
    /// The first line that is not in the format.
    pub fn apply(&mut self, text: &str) -> Result<(), FormatError> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.apply_line(line).map_err(|problem| FormatError {
                line: index + 1,
                problem,
                text: line.chars().take(80).collect(),
            })?;
        }
        Ok(())
    }

    fn apply_line(&mut self, line: &str) -> Result<(), &'static str> {
        let (path, value) = line.split_once('\t').ok_or("no tab between path and value")?;
        if !path.starts_with('/') || path.len() < 2 || path.ends_with('/') || path.contains("//") {
            return Err("the path is not absolute and clean");
        }
        if let Some(target) = value.strip_prefix("@->") {
            self.insert_link(path, target);
        } else if value == "!DIR" {
            self.insert_directory(path);
        } else if value == "!ENOENT" {
            self.remove(path);
        } else {
            self.insert_file(path, Content::parse(value)?);
        }
        Ok(())
    }

    /// Puts a file at `path`, replacing what is there.
    pub fn insert_file(&mut self, path: &str, content: Content) {
        self.insert_ancestors(path);
        self.nodes.insert(path.to_owned(), Node::File(self.files.len()));
        self.files.push(content);
    }

    /// Puts a symbolic link at `path`, replacing what is there.
    pub fn insert_link(&mut self, path: &str, target: &str) {
        self.insert_ancestors(path);
        self.nodes.insert(path.to_owned(), Node::Link(target.to_owned()));
    }

    /// Makes `path` a directory unless it is one.
    pub fn insert_directory(&mut self, path: &str) {
        self.insert_ancestors(path);
        self.nodes.entry(path.to_owned()).or_insert(Node::Directory);
    }

    fn insert_ancestors(&mut self, path: &str) {
        let slashes = path.match_indices('/').map(|(index, _)| index).filter(|index| *index > 0);
        for index in slashes {
            self.nodes.entry(path[..index].to_owned()).or_insert(Node::Directory);
        }
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        let below = format!("{path}/");
        self.nodes.retain(|other, _| !other.starts_with(&below));
    }

    /// Sets the time that series and ramps are read at, counted from the capture's start.
    pub fn set_time(&self, now: Nanos) {
        self.now_ms.store(now.get() / 1_000_000, Ordering::Relaxed);
    }

    /// The last instant at which a value of this tree changes; `None` when none does.
    #[must_use]
    pub fn last_change(&self) -> Option<Nanos> {
        let last = self.files.iter().filter_map(|content| match content {
            Content::Series(steps) => steps.last().map(|(at, _)| *at),
            Content::Ramp(points) => points.last().map(|(at, _)| *at),
            Content::Bytes(_) | Content::Fails(_) => None,
        });
        last.max().map(|ms| Nanos(ms * 1_000_000))
    }

    /// `path` with every symbolic link followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR` or `ELOOP`, as the kernel would answer.
    pub fn resolve(&self, path: &str) -> Result<String, Errno> {
        let mut pending: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done = String::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part.is_empty() || part == "." {
                continue;
            }
            if part == ".." {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{done}/{part}");
            match self.nodes.get(&next) {
                None => return Err(Errno::NOENT),
                Some(Node::File(_)) if pending.iter().any(|rest| !rest.is_empty()) => {
                    return Err(Errno::NOTDIR);
                }
                Some(Node::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.starts_with('/') {
                        done.clear();
                    }
                    pending.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(Node::Directory | Node::File(_)) => done = next,
            }
        }
        Ok(if done.is_empty() { "/".to_owned() } else { done })
    }

    /// Index of the file at `path`, for [`Self::read`].
    ///
    /// # Errors
    /// Those of [`Self::resolve`], `EISDIR`, or the file's own refusal to be opened.
    pub fn open(&self, path: &str) -> Result<usize, Errno> {
        let real = self.resolve(path)?;
        let Some(Node::File(index)) = self.nodes.get(&real) else {
            return Err(Errno::ISDIR);
        };
        match self.files.get(*index) {
            Some(Content::Fails(errno)) if matches!(*errno, Errno::ACCESS | Errno::PERM) => Err(*errno),
            _ => Ok(*index),
        }
    }

    /// Reads the file that [`Self::open`] gave into `buffer`, as much as fits.
    ///
    /// # Errors
    /// The error that the tree holds for this file at this time.
    pub fn read(&self, file: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
        let content = self.files.get(file).ok_or(Errno::BADF)?;
        content.read(self.now_ms.load(Ordering::Relaxed), buffer)
    }

    /// Names in the directory at `path`, in no particular order.
    ///
    /// # Errors
    /// Those of [`Self::resolve`], or `ENOTDIR`.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let real = self.resolve(path)?;
        if real != "/" && self.nodes.get(&real) != Some(&Node::Directory) {
            return Err(Errno::NOTDIR);
        }
        let prefix = if real == "/" { real } else { format!("{real}/") };
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let names = below.map(|(path, _)| &path[prefix.len()..]).filter(|rest| !rest.contains('/'));
        Ok(names.map(str::to_owned).collect())
    }

    /// The target of the symbolic link at `path` itself, if it is one.
    #[must_use]
    pub fn link_target(&self, path: &str) -> Option<String> {
        let (parent, name) = path.rsplit_once('/')?;
        let parent = self.resolve(parent).ok()?;
        let parent = if parent == "/" { "" } else { &parent };
        match self.nodes.get(&format!("{parent}/{name}")) {
            Some(Node::Link(target)) => Some(target.clone()),
            _ => None,
        }
    }

    /// The tree in the capture format, sorted by path.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (path, node) in &self.nodes {
            let value = match node {
                Node::Link(target) => format!("@->{target}"),
                Node::File(index) => match self.files.get(*index) {
                    Some(content) => content.to_text(),
                    None => continue,
                },
                Node::Directory if self.has_children(path) => continue,
                Node::Directory => "!DIR".to_owned(),
            };
            text.push_str(path);
            text.push('\t');
            text.push_str(&value);
            text.push('\n');
        }
        text
    }

    fn has_children(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.nodes.range(prefix.clone()..).next().is_some_and(|(next, _)| next.starts_with(&prefix))
    }
}

#[cfg(test)]
mod tests;
