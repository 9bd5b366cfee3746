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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_at(tree: &Tree, path: &str) -> Result<String, Errno> {
        let mut buffer = [0; 256];
        let length = tree.read(tree.open(path)?, &mut buffer)?;
        Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    fn at_ms(tree: &Tree, ms: u64, path: &str) -> Result<String, Errno> {
        tree.set_time(Nanos(ms * 1_000_000));
        text_at(tree, path)
    }

    #[test]
    fn values_end_in_a_newline_unless_they_end_in_nul() {
        let tree = Tree::parse("# remark\n\n/a/b\t42\n/a/model\tJetson\\0\n").unwrap();
        assert_eq!(text_at(&tree, "/a/b").unwrap(), "42\n");
        assert_eq!(text_at(&tree, "/a/model").unwrap(), "Jetson\0");
    }

    #[test]
    fn errors_are_returned_as_the_errno_they_name() {
        let tree = Tree::parse("/a/gated\t!EAGAIN\n/a/secret\t!EACCES\n").unwrap();
        assert!(tree.open("/a/gated").is_ok(), "opening a gated zone succeeds, reading fails");
        assert_eq!(text_at(&tree, "/a/gated"), Err(Errno::AGAIN));
        assert_eq!(tree.open("/a/secret"), Err(Errno::ACCESS));
        assert_eq!(text_at(&tree, "/a/none"), Err(Errno::NOENT));
        assert_eq!(text_at(&tree, "/a"), Err(Errno::ISDIR));
        assert_eq!(text_at(&tree, "/a/gated/x"), Err(Errno::NOTDIR));
    }

    #[test]
    fn links_are_followed_and_loops_are_caught() {
        let tree = Tree::parse(
            "/sys/devices/i2c-1/hwmon/hwmon3/name\tina3221\n\
         /sys/class/hwmon/hwmon3\t@->../../devices/i2c-1/hwmon/hwmon3\n\
         /short\t@->/sys/class\n/loop\t@->/loop\n",
        )
        .unwrap();
        assert_eq!(text_at(&tree, "/short/hwmon/hwmon3/name").unwrap(), "ina3221\n");
        assert_eq!(tree.resolve("/sys/class/hwmon/hwmon3").unwrap(), "/sys/devices/i2c-1/hwmon/hwmon3");
        assert_eq!(tree.resolve("/loop"), Err(Errno::LOOP));
        assert_eq!(tree.list("/sys/class/hwmon").unwrap(), ["hwmon3"]);
        assert_eq!(tree.link_target("/short/hwmon/hwmon3").unwrap(), "../../devices/i2c-1/hwmon/hwmon3");
    }

    #[test]
    fn an_overlay_replaces_and_removes() {
        let mut tree = Tree::parse("/a/x\t1\n/a/y\t2\n/b/c/d\t3\n").unwrap();
        tree.apply("/a/x\t!EAGAIN\n/b/c\t!ENOENT\n").unwrap();
        assert_eq!(text_at(&tree, "/a/x"), Err(Errno::AGAIN));
        assert_eq!(text_at(&tree, "/a/y").unwrap(), "2\n");
        assert_eq!(text_at(&tree, "/b/c/d"), Err(Errno::NOENT));
    }

    #[test]
    fn a_series_holds_each_value_until_the_next() {
        let tree = Tree::parse("/t\t@series 0:5,2000:!EAGAIN,4000:a\\,b\n").unwrap();
        assert_eq!(at_ms(&tree, 0, "/t").unwrap(), "5\n");
        assert_eq!(at_ms(&tree, 1999, "/t").unwrap(), "5\n");
        assert_eq!(at_ms(&tree, 2000, "/t"), Err(Errno::AGAIN));
        assert_eq!(at_ms(&tree, 9000, "/t").unwrap(), "a,b\n");
        assert_eq!(tree.last_change(), Some(Nanos(4_000_000_000)));
    }

    #[test]
    fn a_ramp_runs_straight_between_its_points_and_holds_at_its_ends() {
        let tree = Tree::parse("/t\t@ramp 1000:100,2000:-100\n").unwrap();
        for (ms, expected) in [(0, "100\n"), (1000, "100\n"), (1250, "50\n"), (1500, "0\n"), (9000, "-100\n")]
        {
            assert_eq!(at_ms(&tree, ms, "/t").unwrap(), expected, "at {ms} ms");
        }
    }

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        let cases = [
            ("/a\t1\nno tab", 2),
            ("relative\t1", 1),
            ("/a\t!NOSUCH", 1),
            ("/a\t@other", 1),
            ("/a\tx\\q", 1),
            ("/a\t@series 5:1,5:2", 1),
            ("/a\t@ramp 0:x", 1),
        ];
        for (text, line) in cases {
            assert_eq!(Tree::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_survive_the_text_form(bytes in proptest::collection::vec(any::<u8>(), 0..40), at in 1..9u64) {
            let mut tree = Tree::default();
            tree.insert_file("/d/plain", Content::Bytes(bytes.clone()));
            let steps = vec![(0, Content::Bytes(bytes)), (at, Content::Fails(Errno::AGAIN))];
            tree.insert_file("/d/series", Content::Series(steps));
            tree.insert_file("/d/ramp", Content::Ramp(vec![(0, -5), (at, 5)]));
            tree.insert_directory("/e");
            tree.insert_link("/f", "d/plain");
            let again = Tree::parse(&tree.to_text()).unwrap();
            prop_assert_eq!(again.to_text(), tree.to_text());
            for (path, node) in &tree.nodes {
                match (node, &again.nodes[path]) {
                    (Node::File(one), Node::File(two)) => prop_assert_eq!(&tree.files[*one], &again.files[*two]),
                    (one, two) => prop_assert_eq!(one, two),
                }
            }
        }
    }
}
