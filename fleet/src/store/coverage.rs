//! Which sequences of one spool are dealt with, as what a receipt says. Pure.
//!
//! A sequence is *covered* when its record is stored, set aside as not understandable, or declared lost by
//! the device: in each case it need not be sent again.

use clipmark_profile::message::SequenceRange;
use std::collections::BTreeMap;

/// Most gaps that one receipt names. The device sends again what is named, and hears of the rest later.
const MAX_GAPS: usize = 64;

/// Covered sequences: 1 to `contiguous`, and the ranges ahead of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    contiguous: u64,
    /// First and last of each range. Ranges neither touch each other nor `contiguous`.
    ahead: BTreeMap<u64, u64>,
}

impl Coverage {
    /// Everything up to `contiguous`, and `ranges` in any order.
    pub(super) fn new(contiguous: u64, ranges: impl IntoIterator<Item = SequenceRange>) -> Self {
        let mut coverage = Self { contiguous, ahead: BTreeMap::new() };
        for range in ranges {
            coverage.cover(range);
        }
        coverage
    }

    pub(super) const fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// The highest covered sequence; 0 when there is none.
    pub(super) fn highest(&self) -> u64 {
        self.ahead.last_key_value().map_or(self.contiguous, |(_, last)| *last)
    }

    pub(super) fn ahead(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        self.ahead.iter().map(|(&first, &last)| SequenceRange { first, last })
    }

    /// How many ranges are ahead.
    pub(super) fn ranges(&self) -> u64 {
        self.ahead.len() as u64
    }

    pub(super) fn contains(&self, sequence: u64) -> bool {
        let before = self.ahead.range(..=sequence).next_back();
        sequence <= self.contiguous || before.is_some_and(|(_, last)| sequence <= *last)
    }

    /// Whether covering `sequence` alone would begin another range ahead of a missing one.
    pub(super) fn would_open_a_gap(&self, sequence: u64) -> bool {
        let touches = |other: u64| other <= self.contiguous || self.contains(other);
        !touches(sequence.saturating_sub(1))
            && !touches(sequence)
            && !self.contains(sequence.saturating_add(1))
    }

    /// Covers a range and returns how many of its sequences were not covered before.
    pub(super) fn cover(&mut self, range: SequenceRange) -> u64 {
        let SequenceRange { first, last } = range;
        if last < first || last <= self.contiguous {
            return 0;
        }
        let mut first = first.max(self.contiguous + 1);
        let mut last = last;
        let mut new = last - first + 1;
        // What the range overlaps or touches becomes part of it.
        let touching: Vec<(u64, u64)> = self
            .ahead
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touching {
            let shared = (last.min(end) + 1).saturating_sub(first.max(start));
            new -= shared.min(new);
            self.ahead.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        if first == self.contiguous + 1 {
            self.contiguous = last;
        } else {
            self.ahead.insert(first, last);
        }
        new
    }

    /// What is missing below the highest covered sequence, the lowest first.
    pub(super) fn gaps(&self) -> Vec<SequenceRange> {
        let mut from = self.contiguous + 1;
        let mut gaps = Vec::new();
        for (&first, &last) in self.ahead.iter().take(MAX_GAPS) {
            gaps.push(SequenceRange { first: from, last: first - 1 });
            from = last + 1;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(first: u64, last: u64) -> SequenceRange {
        SequenceRange { first, last }
    }

    #[test]
    fn a_late_record_closes_the_gap() {
        let mut coverage = Coverage::new(0, []);
        for sequence in [1, 2, 4, 6] {
            assert_eq!(coverage.cover(range(sequence, sequence)), 1);
        }
        assert_eq!((coverage.contiguous(), coverage.gaps()), (2, vec![range(3, 3), range(5, 5)]));
        coverage.cover(range(3, 3));
        assert_eq!((coverage.contiguous(), coverage.gaps()), (4, vec![range(5, 5)]));
        assert_eq!(coverage.cover(range(3, 3)), 0);
    }

    #[test]
    fn only_what_touches_nothing_opens_a_gap() {
        let coverage = Coverage::new(3, [range(6, 7)]);
        let opens: Vec<u64> = (0..=12).filter(|sequence| coverage.would_open_a_gap(*sequence)).collect();
        assert_eq!(opens, [9, 10, 11, 12]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_numbers(
            ranges in prop::collection::vec((1..60_u64, 0..6_u64), 0..40),
            contiguous in 0..10_u64,
        ) {
            let mut set: BTreeSet<u64> = (1..=contiguous).collect();
            let mut coverage = Coverage::new(contiguous, []);
            for (first, more) in ranges {
                let (opens, before) = (coverage.would_open_a_gap(first), coverage.ahead().count());
                let mut alone = coverage.clone();
                alone.cover(range(first, first));
                prop_assert_eq!(opens, alone.ahead().count() > before);
                let fresh = (first..=first + more).filter(|sequence| set.insert(*sequence)).count() as u64;
                prop_assert_eq!(coverage.cover(range(first, first + more)), fresh);
            }
            for sequence in 1..80 {
                prop_assert_eq!(coverage.contains(sequence), set.contains(&sequence), "{}", sequence);
            }
            let first_missing = (1..).find(|sequence| !set.contains(sequence)).unwrap_or(0);
            prop_assert_eq!(coverage.contiguous(), first_missing - 1);
            prop_assert_eq!(coverage.highest(), set.last().copied().unwrap_or(0));
            let missing: Vec<u64> = (1..coverage.highest()).filter(|s| !set.contains(s)).collect();
            let said: Vec<u64> = coverage.gaps().iter().flat_map(|gap| gap.first..=gap.last).collect();
            prop_assert_eq!(said, missing);
            let again = Coverage::new(coverage.contiguous(), coverage.ahead());
            prop_assert_eq!(again, coverage);
        }

        #[test]
        fn the_ends_of_the_numbers_do_no_harm(first in any::<u64>(), last in any::<u64>(), contiguous in 0..=i64::MAX as u64) {
            let mut coverage = Coverage::new(contiguous, []);
            coverage.cover(range(first, last));
            coverage.cover(range(last, last));
            prop_assert!(coverage.contains(last) || last == 0);
        }
    }
}
