//! How far the receiver has confirmed, kept in two slots that are written in turn.
//!
//! Losing both slots only means that confirmed records are sent once more, so nothing here is synced.

use clipmark_profile::message::Epoch;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SLOT: usize = 28;

/// The file with its two slots.
#[derive(Debug)]
pub(super) struct Acks {
    file: File,
    writes: u64,
}

fn encode(writes: u64, epoch: Epoch, contiguous: u64) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(&writes.to_le_bytes());
    slot[8..16].copy_from_slice(&epoch.0.to_le_bytes());
    slot[16..24].copy_from_slice(&contiguous.to_le_bytes());
    let crc = crc32c::crc32c(&slot[..24]);
    slot[24..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, Epoch, u64)> {
    let number = |range: std::ops::Range<usize>| Some(u64::from_le_bytes(slot.get(range)?.try_into().ok()?));
    let crc = u32::from_le_bytes(slot.get(24..SLOT)?.try_into().ok()?);
    if crc != crc32c::crc32c(&slot[..24]) {
        return None;
    }
    Some((number(0..8)?, Epoch(number(8..16)?), number(16..24)?))
}

impl Acks {
    /// Opens or creates the file and reads the newer intact slot: what was confirmed in `epoch`, else 0.
    pub(super) fn open(path: &Path, epoch: Epoch) -> io::Result<(Self, u64)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; 2 * SLOT];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        let newest = bytes.chunks_exact(SLOT).filter_map(decode).max_by_key(|(writes, ..)| *writes);
        let (writes, contiguous) = match newest {
            Some((writes, of, contiguous)) if of == epoch => (writes, contiguous),
            Some((writes, ..)) => (writes, 0),
            None => (0, 0),
        };
        Ok((Self { file, writes }, contiguous))
    }

    /// Notes that everything up to `contiguous` is confirmed.
    pub(super) fn write(&mut self, epoch: Epoch, contiguous: u64) -> io::Result<()> {
        self.writes += 1;
        let offset = (self.writes % 2) * SLOT as u64;
        self.file.write_all_at(&encode(self.writes, epoch, contiguous), offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const EPOCH: Epoch = Epoch(9);

    #[test]
    fn the_newer_slot_counts_and_a_damaged_one_falls_back_to_the_older() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let (mut acks, confirmed) = Acks::open(&path, EPOCH).unwrap();
        assert_eq!(confirmed, 0);
        acks.write(EPOCH, 10).unwrap();
        acks.write(EPOCH, 20).unwrap();
        assert_eq!(Acks::open(&path, EPOCH).unwrap().1, 20);
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Acks::open(&path, EPOCH).unwrap().1, 10);
        fs::write(&path, b"short").unwrap();
        assert_eq!(Acks::open(&path, EPOCH).unwrap().1, 0);
    }

    #[test]
    fn confirmations_of_another_epoch_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        Acks::open(&path, EPOCH).unwrap().0.write(EPOCH, 10).unwrap();
        let (mut acks, confirmed) = Acks::open(&path, Epoch(8)).unwrap();
        assert_eq!(confirmed, 0);
        acks.write(Epoch(8), 3).unwrap();
        assert_eq!(Acks::open(&path, Epoch(8)).unwrap().1, 3);
    }
}
