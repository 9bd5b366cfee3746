//! Seeded mutations of valid inputs: what a bad disk, a cut transfer or a hostile sender makes of them.

use clipmark_profile::stats::rng::Rng;

/// Values at which decoders tend to err.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, u64::MAX];

/// Inputs that are near `corpus`.
#[derive(Debug)]
pub(crate) struct Mutator {
    rng: Rng,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        assert!(!corpus.is_empty(), "mutations need something to begin with");
        Self { rng: Rng::new(seed), corpus }
    }

    /// The next input: one of the corpus with one to eight changes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.corpus[self.rng.below(self.corpus.len())].clone();
        for _ in 0..=self.rng.below(8) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.rng.below(length + 1);
        let most = (length - start).min(1 + self.rng.below(64));
        start..start + most
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.rng.below(bytes.len() + 1);
        match self.rng.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.rng.below(8),
            1 if at < bytes.len() => bytes[at] = self.rng.next_u64() as u8,
            2 => bytes.insert(at, self.rng.next_u64() as u8),
            3 => drop(bytes.drain(self.range(bytes.len()))),
            4 => {
                let range = self.range(bytes.len());
                let copied = bytes[range].to_vec();
                bytes.splice(at..at, copied);
            }
            5 => {
                let edge = EDGES[self.rng.below(EDGES.len())].to_le_bytes();
                let width = (1 << self.rng.below(4)).min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            6 => {
                let other = self.rng.below(self.corpus.len());
                let range = self.range(self.corpus[other].len());
                let copied = self.corpus[other][range].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => bytes.truncate(at),
        }
    }
}
