//! How two or more variants compare as clips grow longer: the point of sweeping over clip lengths.
//!
//! Terms: the *batch size of the contrast* is the one at which the variants share the most clip lengths,
//! the smallest of equals. The *leader* of a clip length is the variant with the least P99 there.
//! Deliberately no significance test: the figures shown are the profile's own.

use crate::grid::{Cell, Figure, Grid, cell};
use crate::{format, words};
use clipmark_profile::summary::{PointSummary, Profile};
use std::collections::BTreeSet;

/// Variants side by side over the clip lengths that at least two of them were asked for.
pub(crate) struct Contrast<'a> {
    /// The batch size of every figure in it.
    pub(crate) batch_size: u32,
    /// One label per variant.
    pub(crate) labels: Vec<String>,
    /// One row per clip length, ascending.
    pub(crate) rows: Vec<Row<'a>>,
    exponents: Vec<Option<f64>>,
}

/// One clip length.
pub(crate) struct Row<'a> {
    /// Frames in the clip.
    pub(crate) clip_length: u32,
    /// One entry per variant.
    pub(crate) points: Vec<Option<&'a PointSummary>>,
}

impl Row<'_> {
    /// What the table shows for the variant at `index`.
    pub(crate) fn cell(&self, figure: Figure, index: usize) -> Cell {
        self.points[index].map_or(Cell::Absent, |point| cell(figure, point))
    }

    fn p99(&self, index: usize) -> Option<f64> {
        self.points[index].and_then(|point| Figure::P99.of(point))
    }

    /// The variant with the least P99, and that P99.
    pub(crate) fn leader(&self) -> Option<(usize, f64)> {
        let known = (0..self.points.len()).filter_map(|index| Some((index, self.p99(index)?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// P99 of the variant at `index` over the leader's.
    pub(crate) fn ratio(&self, index: usize) -> Option<f64> {
        Some(self.p99(index)? / self.leader()?.1)
    }

    fn comparable(&self) -> bool {
        (0..self.points.len()).filter(|&index| self.p99(index).is_some()).count() >= 2
    }
}

impl<'a> Contrast<'a> {
    /// The contrast of `profile`'s variants, or `None` when fewer than two share a clip length.
    pub(crate) fn of(profile: &'a Profile) -> Option<Self> {
        if profile.variants.len() < 2 {
            return None;
        }
        let grids: Vec<Grid> =
            (0..profile.variants.len()).map(|index| Grid::of(profile, index as u16)).collect();
        let batches: BTreeSet<u32> = grids.iter().flat_map(|g| g.batch_sizes.clone()).collect();
        let candidates = batches.into_iter().map(|batch| (batch, rows(&grids, batch)));
        let score = |rows: &[Row]| rows.iter().filter(|row| row.comparable()).count();
        // max_by_key keeps the last of equals: walk from the largest batch size down.
        let candidates: Vec<_> = candidates.collect();
        let (batch_size, rows) = candidates.into_iter().rev().max_by_key(|(_, rows)| score(rows))?;
        if score(&rows) == 0 {
            return None;
        }
        let exponent = |index: usize| {
            let same = |s: &&clipmark_profile::summary::Scaling| {
                usize::from(s.variant) == index && s.batch_size == batch_size
            };
            profile.scaling.iter().find(same).map(|s| s.exponent)
        };
        let exponents = (0..profile.variants.len()).map(exponent).collect();
        Some(Self { batch_size, labels: words::labels(&profile.variants), rows, exponents })
    }

    /// The one sentence that the table amounts to.
    pub(crate) fn sentence(&self) -> String {
        let comparable: Vec<&Row> = self.rows.iter().filter(|row| row.comparable()).collect();
        let (Some(first), Some(last)) = (comparable.first(), comparable.last()) else {
            return String::new();
        };
        let leaders = (first.leader(), last.leader());
        let (Some((short, _)), Some((long, _))) = leaders else { return String::new() };
        let mut text = if short == long {
            self.same_leader(short, first, last)
        } else {
            self.crossover(short, long, &comparable)
        };
        text.push_str(&self.growth(&[short, long, self.slowest(last)]));
        text.push_str(&self.losses(last));
        text
    }

    fn slowest(&self, row: &Row) -> usize {
        let ratio = |index: &usize| row.ratio(*index).unwrap_or(0.0);
        (0..self.labels.len()).max_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap_or(0)
    }

    fn same_leader(&self, leader: usize, first: &Row, last: &Row) -> String {
        let follower = self.slowest(last);
        let (leader, label) = (&self.labels[leader], &self.labels[follower]);
        let at_last = last.ratio(follower).map(format::factor).unwrap_or_default();
        match first.ratio(follower) {
            Some(ratio) if first.clip_length != last.clip_length => format!(
                "At batch {}, the P99 of {label} is {} that of {leader} at {} frames and {at_last} at {}",
                self.batch_size,
                format::factor(ratio),
                first.clip_length,
                last.clip_length
            ),
            _ => format!(
                "At batch {} and {} frames, the P99 of {label} is {at_last} that of {leader}",
                self.batch_size, last.clip_length
            ),
        }
    }

    fn crossover(&self, short: usize, long: usize, rows: &[&Row]) -> String {
        let leads = |row: &&&Row| row.leader().is_some_and(|(index, _)| index == long);
        let from = rows.iter().rev().take_while(leads).last().map_or(0, |row| row.clip_length);
        let last = rows.last().and_then(|row| row.ratio(short)).map(format::factor);
        format!(
            "At batch {}, {} has the least P99 at {} frames and {} from {from} frames on{}",
            self.batch_size,
            self.labels[short],
            rows[0].clip_length,
            self.labels[long],
            last.map_or(String::new(), |ratio| format!(
                "; at {} frames {} takes {ratio} as long",
                rows[rows.len() - 1].clip_length,
                self.labels[short]
            ))
        )
    }

    fn growth(&self, of: &[usize]) -> String {
        let mut seen = BTreeSet::new();
        let parts: Vec<String> = of
            .iter()
            .filter(|index| seen.insert(**index))
            .filter_map(|&index| Some(format!("{:.2} for {}", self.exponents[index]?, self.labels[index])))
            .collect();
        if parts.is_empty() {
            return ".".into();
        }
        format!("; latency grows with clip length to the power {}.", parts.join(", "))
    }

    /// Which variants have no figure beyond the last comparable clip length although another has one.
    fn losses(&self, last: &Row) -> String {
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| row.clip_length > last.clip_length) {
            let Some((leader, _)) = row.leader() else { continue };
            text.push_str(&format!(
                " At {} frames only {} has a figure.",
                row.clip_length, self.labels[leader]
            ));
        }
        text
    }
}

fn rows<'a>(grids: &[Grid<'a>], batch_size: u32) -> Vec<Row<'a>> {
    let clips: BTreeSet<u32> = grids.iter().flat_map(|g| g.clip_lengths.clone()).collect();
    clips
        .into_iter()
        .map(|clip_length| Row {
            clip_length,
            points: grids.iter().map(|grid| grid.at(batch_size, clip_length)).collect(),
        })
        .filter(|row| row.points.iter().flatten().count() >= 2)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::example;

    fn sentence(profile: &Profile) -> String {
        Contrast::of(profile).expect("two variants share clip lengths").sentence()
    }

    #[test]
    fn a_variant_that_falls_behind_is_told_at_both_ends() {
        assert_eq!(
            sentence(&example::profile()),
            "At batch 1, the P99 of joint is 1.75x that of temporal at 8 frames and 30.2x at 128; latency grows \
             with clip length to the power 0.87 for temporal, 1.99 for joint."
        );
    }

    #[test]
    fn a_change_of_the_lead_names_the_clip_length() {
        let mut profile = example::profile();
        for point in profile.points.iter_mut().filter(|p| p.id.variant == 0 && p.id.shape.clip() < 32) {
            let at = point.id.shape;
            *point = example::measured(0, at, 700_000, 1000);
        }
        assert_eq!(
            sentence(&profile),
            "At batch 1, joint has the least P99 at 8 frames and temporal from 32 frames on; at 128 frames joint \
             takes 30.2x as long; latency grows with clip length to the power 1.99 for joint, 0.87 for temporal."
        );
    }

    #[test]
    fn a_variant_without_a_figure_at_the_end_is_named_as_lost() {
        let mut profile = example::profile();
        let failed = profile.points.iter().find(|p| p.failure.is_some()).cloned().unwrap();
        let last = profile.points.iter_mut().find(|p| p.id.variant == 0 && p.id.shape.clip() == 128).unwrap();
        let id = last.id;
        *last = PointSummary { id, ..failed };
        assert_eq!(
            sentence(&profile),
            "At batch 1, the P99 of joint is 1.75x that of temporal at 8 frames and 14.9x at 64; latency grows \
             with clip length to the power 0.87 for temporal, 1.99 for joint. At 128 frames only temporal has a \
             figure."
        );
    }

    #[test]
    fn one_variant_or_disjoint_clip_lengths_make_no_contrast() {
        assert!(Contrast::of(&example::profile_of_27_points()).is_none());
        let mut profile = example::profile();
        profile.points.retain(|p| (p.id.variant == 0) == (p.id.shape.clip() < 32));
        assert!(Contrast::of(&profile).is_none());
    }
}
