//! The journal: one JSON line per committed step, followed by a tab and the CRC-32C of the line.

use super::error::StoreError;
use super::layout::EntryOnDisk;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The journal, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal at `path`, created when missing, and cuts it to `length` bytes.
    pub(super) fn open(path: PathBuf, length: u64) -> Result<Self, StoreError> {
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.set_len(length)?;
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(StoreError::write(&path)(error)),
        }
    }

    /// Commits `entry`.
    pub(super) fn append(&mut self, entry: &EntryOnDisk) -> Result<(), StoreError> {
        let json = serde_json::to_string(entry).map_err(|error| StoreError::damaged(&self.path, error))?;
        let line = format!("{json}\t{:08x}\n", crc32c::crc32c(json.as_bytes()));
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(StoreError::write(&self.path))
    }
}

/// The committed entries at `path`, and how many bytes they take. What follows the first line that is not
/// whole was never committed. A missing file is an empty journal.
pub(super) fn read(path: &Path) -> Result<(Vec<EntryOnDisk>, u64), StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(StoreError::read(path)(error)),
    };
    Ok(whole(&bytes))
}

/// The entries at the front of `bytes`, up to the first line that is not whole, and how many bytes they take.
fn whole(bytes: &[u8]) -> (Vec<EntryOnDisk>, u64) {
    let mut entries = Vec::new();
    let mut length = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let Some(entry) = parse(line) else { break };
        entries.push(entry);
        length += line.len() as u64;
    }
    (entries, length)
}

/// How many steps the contents of a journal commit, and how many bytes those take.
#[must_use]
pub fn committed(journal: &[u8]) -> (usize, u64) {
    let (entries, length) = whole(journal);
    (entries.len(), length)
}

fn parse(line: &[u8]) -> Option<EntryOnDisk> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (json, crc) = line.rsplit_once('\t')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}
