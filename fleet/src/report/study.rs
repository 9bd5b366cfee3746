//! One point of one model over the fleet: what is compared, and what came out.

use super::{At, Focus};
use crate::cohort::{explain, samples};
use crate::store::{ProfileId, Store, StoreError};
use clipmark_profile::axis::Axis;
use clipmark_profile::cohort::{
    CohortRule, Entry, GroupContrast, Outlier, OutlierRule, Pool, contrast, outliers,
};
use clipmark_profile::identity::{Factor, Identity};
use clipmark_report::words;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most runs that one study is made of; the newest are taken. More would say the same, more slowly.
pub(super) const MOST_POINTS: u32 = 1000;

/// Groups that are shown; the largest come first.
const MOST_GROUPS: usize = 6;

/// Boards whose whole profiles are read to explain an outlier.
const EXPLAINED: usize = 24;

/// What is compared. Absent: the model measured last, the point that most boards have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) model: String,
    #[serde(flatten)]
    pub(crate) at: At,
    pub(crate) by: String,
    pub(crate) baseline: String,
}

/// What groups can differ in.
pub(crate) const FACTORS: [Factor; 7] = [
    Factor::Firmware,
    Factor::Build,
    Factor::POWER_MODE,
    Factor::Board,
    Factor::Axis(Axis::Backend),
    Factor::Axis(Axis::Precision),
    Factor::Axis(Axis::Threads),
];

impl Asked {
    /// What the groups differ in.
    pub(crate) fn factor(&self) -> Factor {
        Factor::from_name(&self.by).unwrap_or(Factor::Firmware)
    }
}

/// Boards that agree in the factor.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) boards: usize,
    pub(crate) runs: usize,
    /// Boards that were soaked: only there is known whether they throttle.
    pub(crate) soaked: usize,
    pub(crate) throttled: usize,
    /// Latencies of all its boards, throttled runs left out.
    pub(crate) pool: Pool,
}

/// A group against the baseline.
#[derive(Debug, Clone)]
pub(crate) struct Against {
    pub(crate) name: String,
    pub(crate) contrasts: Vec<GroupContrast>,
}

/// What came out.
#[derive(Debug, Clone)]
pub(crate) struct Study {
    pub(crate) focus: Focus,
    pub(crate) factor: Factor,
    pub(crate) baseline: Option<String>,
    pub(crate) groups: Vec<Group>,
    pub(crate) against: Vec<Against>,
    /// Boards that are worse than the others of their cohort, with the cohort.
    pub(crate) outliers: Vec<(String, Outlier)>,
    /// Whether the figures of any run are simulated.
    pub(crate) simulated: bool,
    /// Runs, and those of them during which the board changed.
    pub(crate) runs: usize,
    pub(crate) moved_runs: usize,
    /// Whether there may be older runs beyond the newest [`MOST_POINTS`].
    pub(crate) is_cut: bool,
    /// What was asked for and is not there, with what was taken in its place.
    pub(crate) substituted: Vec<String>,
}

fn devices(entries: &[Entry]) -> BTreeSet<&str> {
    entries.iter().map(|entry| entry.sample.device.as_str()).collect()
}

fn group(name: &str, entries: &[Entry]) -> Group {
    let boards = devices(entries);
    let numbers: BTreeMap<&str, u32> = boards.iter().copied().zip(0..).collect();
    let steady = entries.iter().filter(|entry| entry.sample.throttled.is_none());
    let known = |wanted: fn(bool) -> bool| {
        let those = entries.iter().filter(|entry| entry.sample.saw_throttling().is_some_and(wanted));
        those.map(|entry| entry.sample.device.as_str()).collect::<BTreeSet<_>>().len()
    };
    Group {
        name: name.to_owned(),
        boards: boards.len(),
        runs: entries.len(),
        soaked: known(|_| true),
        throttled: known(|throttled| throttled),
        pool: Pool::of_latencies(steady.map(|entry| (numbers[entry.sample.device.as_str()], &entry.sample))),
    }
}

impl Study {
    /// Makes the study from the store.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn of(store: &mut Store, asked: &Asked) -> Result<Self, StoreError> {
        let At(wanted) = asked.at;
        let focus = Focus::of(store, &asked.model, wanted)?;
        let query = focus.query(MOST_POINTS);
        let substituted = match (wanted, focus.at) {
            (Some(wanted), Some(taken)) if wanted != taken => vec![format!(
                "{} was not measured; {} was, by the most boards",
                words::point(wanted),
                words::point(taken)
            )],
            _ => Vec::new(),
        };
        let mut study = Self {
            focus,
            factor: asked.factor(),
            baseline: None,
            groups: Vec::new(),
            against: Vec::new(),
            outliers: Vec::new(),
            simulated: false,
            runs: 0,
            moved_runs: 0,
            is_cut: false,
            substituted,
        };
        if let Some(query) = query {
            let rows = store.points(&query)?;
            study.is_cut = rows.len() as u64 == u64::from(MOST_POINTS);
            let mut samples = samples(&rows);
            study.compare(&samples, &asked.baseline);
            study.outliers = odd_boards(store, &mut samples)?;
        }
        Ok(study)
    }

    fn compare(&mut self, samples: &[(ProfileId, Entry)], baseline: &str) {
        self.simulated = samples.iter().any(|(_, entry)| entry.key.simulated);
        self.runs = samples.len();
        self.moved_runs = samples.iter().filter(|(_, entry)| entry.sample.figures.moved()).count();
        let mut groups: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (_, entry) in samples {
            groups.entry(entry.key.value(self.factor)).or_default().push(entry.clone());
        }
        let mut names: Vec<&String> = groups.keys().collect();
        names.sort_by_key(|name| std::cmp::Reverse(groups[*name].len()));
        names.truncate(MOST_GROUPS);
        // The largest group is what most is known of.
        let largest = names.first().map(|name| (*name).clone());
        names.sort();
        self.groups = names.iter().map(|name| group(name, &groups[*name])).collect();
        let named = names.iter().find(|name| name.as_str() == baseline).map(|name| (*name).clone());
        if let (None, Some(largest), false) = (&named, &largest, baseline.is_empty()) {
            let factor = self.factor.name();
            self.substituted
                .push(format!("no group is called {baseline} by {factor}; {largest} has the most runs"));
        }
        self.baseline = named.or(largest);
        let Some(baseline) = &self.baseline else { return };
        let rule = CohortRule { varied: vec![self.factor], ..CohortRule::default() };
        let others = names.iter().filter(|name| **name != baseline);
        self.against = others
            .map(|name| Against {
                name: (*name).clone(),
                contrasts: contrast(&groups[baseline], &groups[*name], &rule).groups,
            })
            .collect();
    }
}

fn judged(samples: &[(ProfileId, Entry)]) -> Vec<(String, Outlier)> {
    let mut cohorts: BTreeMap<Identity, Vec<Entry>> = BTreeMap::new();
    for (_, entry) in samples {
        cohorts.entry(entry.key.clone()).or_default().push(entry.clone());
    }
    let named = |(key, entries): (Identity, Vec<Entry>)| {
        let found = outliers(&entries, OutlierRule::default());
        found.into_iter().map(move |outlier| (key.to_string(), outlier)).collect::<Vec<_>>()
    };
    cohorts.into_iter().flat_map(named).collect()
}

/// Boards that stand out, and what may explain them.
fn odd_boards(
    store: &mut Store,
    samples: &mut [(ProfileId, Entry)],
) -> Result<Vec<(String, Outlier)>, StoreError> {
    let first = judged(samples);
    if first.is_empty() {
        return Ok(first);
    }
    let mut wanted: BTreeSet<String> = first.iter().map(|(_, outlier)| outlier.device.clone()).collect();
    for (_, entry) in samples.iter() {
        if wanted.len() < EXPLAINED {
            wanted.insert(entry.sample.device.clone());
        }
    }
    explain(store, samples, &wanted)?;
    Ok(judged(samples))
}
