//! Append-only arrays of `u64`, little-endian, without a header: readable by `array('Q')` in Python.
//!
//! How many elements count, and their CRC-32C, is said elsewhere; what lies beyond never existed.

use super::error::StoreError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An array that is open for appending.
#[derive(Debug)]
pub(super) struct Array {
    path: PathBuf,
    file: File,
}

impl Array {
    /// Opens the array at `path`, created when missing, and cuts it to `length` elements.
    pub(super) fn open(path: PathBuf, length: u64) -> Result<Self, StoreError> {
        let open = || {
            let mut file =
                OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path)?;
            file.set_len(length * 8)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(StoreError::write(&path)(error)),
        }
    }

    /// Appends `values`; the CRC of their bytes. Durable after [`Array::sync`].
    pub(super) fn append(&mut self, values: &[u64]) -> Result<u32, StoreError> {
        let bytes = to_bytes(values);
        self.file.write_all(&bytes).map_err(StoreError::write(&self.path))?;
        Ok(crc32c::crc32c(&bytes))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::write(&self.path))
    }
}

/// Reads an array part by part.
pub(super) struct Reader {
    path: PathBuf,
    file: Option<File>,
}

impl Reader {
    /// A reader of the array at `path`. A missing file is an empty array.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::read(path)(error)),
        };
        Ok(Self { path: path.into(), file })
    }

    /// The next `count` elements, held against their CRC.
    pub(super) fn next(&mut self, count: u64, crc: u32) -> Result<Vec<u64>, StoreError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let short = || StoreError::damaged(&self.path, format!("it ends before {count} more values"));
        let file = self.file.as_mut().ok_or_else(short)?;
        let mut bytes = Vec::new();
        file.take(count * 8).read_to_end(&mut bytes).map_err(StoreError::read(&self.path))?;
        if bytes.len() as u64 != count * 8 {
            return Err(short());
        }
        if crc32c::crc32c(&bytes) != crc {
            return Err(StoreError::damaged(&self.path, "its values do not match their checksum"));
        }
        Ok(bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
            .collect())
    }
}

pub(super) fn to_bytes(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
