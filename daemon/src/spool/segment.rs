//! One segment file: how records lie in it, and what of a damaged one can still be read.
//!
//! Layout, little-endian: a header of 32 bytes (magic, epoch, first sequence, CRC-32C of these), then
//! records, each a length, the CRC-32C of the body, and the body: one encoded
//! [`Envelope`](clipmark_profile::message::Envelope), byte for byte what is published. A record without a
//! valid CRC never existed. This module interprets bytes; it does not decide what to do about damage.

use clipmark_profile::message::{Envelope, Epoch, Payload, Place, RecordDigest, SequenceRange};
use clipmark_profile::topics::{CommandId, UpKind};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: [u8; 8] = *b"CLMSPL01";

/// Bytes before the first record.
pub(super) const HEADER: usize = 32;

/// Bytes before each body.
pub(super) const FRAME: usize = 8;

/// Content type of a body.
const CBOR: Option<&str> = Some("application/cbor");

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) epoch: Epoch,
    pub(super) first: u64,
}

impl SegmentHeader {
    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are not an intact header.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let crc = u32_at(bytes, 24)?;
        if bytes[..8] != MAGIC || crc != crc32c::crc32c(&bytes[..24]) {
            return None;
        }
        Some(Self { epoch: Epoch(u64_at(bytes, 8)?), first: u64_at(bytes, 16)? })
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

/// A body with its frame in front.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME + body.len());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(crc32c::crc32c(body).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The body at `offset`, when frame and CRC are intact.
pub(super) fn body_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let length = u32_at(bytes, offset)? as usize;
    if length == 0 || length > Envelope::LIMIT {
        return None;
    }
    let body = bytes.get(offset + FRAME..offset + FRAME + length)?;
    (u32_at(bytes, offset + 4)? == crc32c::crc32c(body)).then_some(body)
}

/// Where one record lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) sequence: u64,
    pub(super) kind: UpKind,
    pub(super) part: u16,
    pub(super) parts: u16,
    pub(super) command: Option<CommandId>,
    /// Where it was before, and what tells it from another record at those places; `None` where it never moved.
    pub(super) former: Option<(Vec<Place>, RecordDigest)>,
    /// The body's place in the file, without its frame.
    pub(super) body: Range<usize>,
}

/// What a segment holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) records: Vec<Located>,
    /// Stretches between intact records that are none: file offsets.
    pub(super) damaged: Vec<Range<usize>>,
    /// Where the last intact record ends. Beyond it lies a torn tail or nothing.
    pub(super) end: usize,
}

fn locate(bytes: &[u8], offset: usize, epoch: Epoch, after: u64) -> Option<Located> {
    let body = body_at(bytes, offset)?;
    let envelope = Envelope::from_bytes(body, CBOR).ok()?;
    let is_ours = envelope.epoch == epoch && envelope.sequence > after;
    let former = (!envelope.former.is_empty()).then(|| (envelope.former.clone(), envelope.digest()));
    is_ours.then_some(Located {
        sequence: envelope.sequence,
        kind: envelope.kind,
        part: envelope.part,
        parts: envelope.parts,
        command: envelope.command,
        former,
        body: offset + FRAME..offset + FRAME + body.len(),
    })
}

/// What tells the record with this body from others; `None` where it cannot be read.
pub(super) fn digest_at(path: &Path, body: &Range<usize>) -> Option<RecordDigest> {
    let mut bytes = vec![0; body.len()];
    File::open(path).ok()?.read_exact_at(&mut bytes, body.start as u64).ok()?;
    Envelope::from_bytes(&bytes, CBOR).ok().map(|envelope| envelope.digest())
}

/// Finds every intact record of a file that begins with `header`. After damage the next record is found by
/// trying every offset: a length, a CRC over it and a fitting envelope do not occur by chance.
pub(super) fn scan(bytes: &[u8], header: SegmentHeader) -> Scan {
    let mut scan = Scan { end: HEADER, ..Scan::default() };
    let mut last = header.first.saturating_sub(1);
    let mut offset = HEADER;
    while offset < bytes.len() {
        let Some(found) = locate(bytes, offset, header.epoch, last) else {
            offset += 1;
            continue;
        };
        if offset > scan.end {
            scan.damaged.push(scan.end..offset);
        }
        last = found.sequence;
        offset = found.body.end;
        scan.end = offset;
        scan.records.push(found);
    }
    scan
}

/// Sequences that are missing between `expected` and the records, in order.
pub(super) fn holes(expected: u64, sequences: impl Iterator<Item = u64>) -> Vec<SequenceRange> {
    let mut next = expected;
    let mut holes = Vec::new();
    for sequence in sequences {
        if sequence > next {
            holes.push(SequenceRange { first: next, last: sequence - 1 });
        }
        next = sequence + 1;
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: SegmentHeader = SegmentHeader { epoch: Epoch(77), first: 5 };

    fn file(contents: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = HEAD.to_bytes().to_vec();
        for (index, content) in contents.iter().enumerate() {
            let envelope = Envelope {
                version: Envelope::VERSION,
                epoch: HEAD.epoch,
                sequence: HEAD.first + index as u64,
                kind: UpKind::Profile,
                part: 0,
                parts: 1,
                command: None,
                spooled_unix_ms: 0,
                content: content.clone(),
                former: Vec::new(),
            };
            bytes.extend(framed(&envelope.to_bytes().unwrap()));
        }
        bytes
    }

    fn contents() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..8)
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_goes_unnoticed() {
        let bytes = HEAD.to_bytes();
        assert_eq!(SegmentHeader::from_bytes(&bytes), Some(HEAD));
        for bit in 0..28 * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::from_bytes(&flipped), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn a_torn_tail_costs_the_torn_record_alone(contents in contents(), cut in any::<prop::sample::Index>()) {
            let bytes = file(&contents);
            let intact = file(&contents[..contents.len() - 1]);
            let cut = intact.len() + cut.index(bytes.len() - intact.len());
            let scan = scan(&bytes[..cut], HEAD);
            prop_assert_eq!(scan.records.len(), contents.len() - 1);
            prop_assert_eq!(scan.end, intact.len());
            prop_assert!(scan.damaged.is_empty());
        }

        #[test]
        fn damage_costs_the_damaged_record_alone(
            contents in contents(),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = file(&contents);
            let at = HEADER + at.index(bytes.len() - HEADER);
            bytes[at] ^= 1 << bit;
            let scan = scan(&bytes, HEAD);
            prop_assert_eq!(scan.records.len(), contents.len() - 1);
            let found = scan.records.iter().map(|record| record.sequence);
            let hit = (HEAD.first..).zip(&contents).find(|(sequence, _)| !found.clone().any(|s| s == *sequence));
            prop_assert!(hit.is_some());
        }
    }

    #[test]
    fn records_of_another_epoch_do_not_count() {
        let bytes = file(&[vec![1], vec![2]]);
        let other = SegmentHeader { epoch: Epoch(78), first: 5 };
        assert_eq!(scan(&bytes, other).records, vec![]);
    }

    #[test]
    fn holes_lie_between_the_expected_and_the_found() {
        let range = |first, last| SequenceRange { first, last };
        assert_eq!(holes(3, [5, 6, 9].into_iter()), vec![range(3, 4), range(7, 8)]);
        assert_eq!(holes(3, [3, 4].into_iter()), vec![]);
    }
}
