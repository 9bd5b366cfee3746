//! How two or more variants compare along [`ACROSS`]: the point of sweeping over it.
//!
//! Terms: what is *held* in the contrast is the rest of the shape: the one at which the variants share the most points,
//! the smallest of equals. The *leader* of a row is the variant with the least P99 there.
//! Deliberately no significance test: the figures shown are the profile's own.

use crate::grid::{ACROSS, Cell, Figure, cell};
use crate::{format, words};
use clipmark_profile::point::Shape;
use clipmark_profile::summary::{PointSummary, Profile};
use std::collections::{BTreeMap, BTreeSet};

/// Variants side by side over the sizes that at least two of them were asked for.
pub(crate) struct Contrast<'a> {
    /// What is held in every figure of it, in words.
    pub(crate) held: String,
    /// One label per variant.
    pub(crate) labels: Vec<String>,
    /// One row per clip length, ascending.
    pub(crate) rows: Vec<Row<'a>>,
    exponents: Vec<Option<f64>>,
}

/// One size along [`ACROSS`].
pub(crate) struct Row<'a> {
    /// The size.
    pub(crate) across: u32,
    /// One entry per variant.
    pub(crate) points: Vec<Option<&'a PointSummary>>,
}

impl Row<'_> {
    fn words(&self) -> String {
        words::amount(ACROSS, self.across)
    }

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
    /// The contrast of `profile`'s variants, or `None` when fewer than two share a point.
    pub(crate) fn of(profile: &'a Profile) -> Option<Self> {
        let mut by_held = BTreeMap::<Shape, Vec<&PointSummary>>::new();
        for point in &profile.points {
            by_held.entry(point.id.shape.with(ACROSS, 1)?).or_default().push(point);
        }
        let candidates =
            by_held.into_iter().map(|(held, points)| (held, rows(&points, profile.variants.len())));
        let score = |rows: &[Row]| rows.iter().filter(|row| row.comparable()).count();
        // max_by_key keeps the last of equals: walk from the largest down.
        let candidates: Vec<_> = candidates.collect();
        let (held, rows) = candidates.into_iter().rev().max_by_key(|(_, rows)| score(rows))?;
        if score(&rows) == 0 {
            return None;
        }
        let exponent = |index: usize| profile.scaling_at(index, held).map(|line| line.exponent);
        let exponents = (0..profile.variants.len()).map(exponent).collect();
        let held = words::held(held, &[ACROSS]).unwrap_or_default();
        Some(Self { held, labels: words::labels(&profile.variants), rows, exponents })
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
        let (held, end) = (&self.held, last.words());
        match first.ratio(follower) {
            Some(ratio) if first.across != last.across => format!(
                "At {held}, the P99 of {label} is {} that of {leader} at {} and {at_last} at {}",
                format::factor(ratio),
                first.words(),
                last.across
            ),
            _ => format!("At {held} and {end}, the P99 of {label} is {at_last} that of {leader}"),
        }
    }

    fn crossover(&self, short: usize, long: usize, rows: &[&Row]) -> String {
        let leads = |row: &&&Row| row.leader().is_some_and(|(index, _)| index == long);
        let from = rows.iter().rev().take_while(leads).last().map_or(String::new(), |row| row.words());
        let last = rows.last().and_then(|row| Some((row, format::factor(row.ratio(short)?))));
        let last = last.map_or(String::new(), |(row, ratio)| {
            format!("; at {} {} takes {ratio} as long", row.words(), self.labels[short])
        });
        format!(
            "At {}, {} has the least P99 at {} and {} from {from} on{last}",
            self.held,
            self.labels[short],
            rows[0].words(),
            self.labels[long],
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
        format!("; latency grows with {ACROSS} to the power {}.", parts.join(", "))
    }

    /// Which variants have no figure beyond the last comparable row although another has one.
    fn losses(&self, last: &Row) -> String {
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| row.across > last.across) {
            let Some((leader, _)) = row.leader() else { continue };
            text.push_str(&format!(" At {} only {} has a figure.", row.words(), self.labels[leader]));
        }
        text
    }
}

/// The rows in which at least two of `variants` have a point.
fn rows<'a>(points: &[&'a PointSummary], variants: usize) -> Vec<Row<'a>> {
    let mut rows = BTreeMap::<u32, Vec<Option<&PointSummary>>>::new();
    for &point in points {
        let row = point.id.shape.get(ACROSS).map(|across| rows.entry(across).or_insert(vec![None; variants]));
        if let Some(place) = row.and_then(|row| row.get_mut(usize::from(point.id.variant))) {
            *place = Some(point);
        }
    }
    let rows = rows.into_iter().map(|(across, points)| Row { across, points });
    rows.filter(|row| row.points.iter().flatten().count() >= 2).collect()
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
