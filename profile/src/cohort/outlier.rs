//! Boards that are worse than their peers, and what may explain it.
//!
//! A board's figure is held against the median of the others; what counts as far is a multiple of their
//! spread, a floor, and the board's own noise. The spread is the standard deviation of values drawn in to
//! three scaled MADs, so that a second bad board does not hide the first. A cause is named when a sign on the board stands
//! out among its peers in the same way; it is likely, not proven.

use super::pool::Pool;
use super::sample::{Entry, Sample};
use crate::figures::Figure;
use crate::stats::interval::student_t;
use crate::stats::quantile::Quantile;
use crate::stats::robust::{MAD_TO_SIGMA, mad, median};
use crate::summary::ThrottleCause;
use std::collections::BTreeMap;

/// How boards are judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierRule {
    /// Fewest boards in a cohort, the judged one included.
    pub min_boards: usize,
    /// Multiple of the peers' spread, for many peers; fewer demand more.
    pub spreads: f64,
}

impl Default for OutlierRule {
    fn default() -> Self {
        Self { min_boards: 6, spreads: 4.5 }
    }
}

/// What may make a board slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LikelyCause {
    /// It runs hotter than its peers, or throttled at a thermal trip.
    Temperature,
    /// Over-current or under-voltage.
    OverCurrent,
    /// A clock's cap, floor or governor.
    Clock,
    /// Faults, swapping, memory pressure.
    Memory,
    /// Other work on the board.
    OtherWork,
}

/// A likely cause with the sign that speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// What.
    pub cause: LikelyCause,
    /// The sign, as a sentence part.
    pub sign: String,
}

/// A board that is worse than its peers.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlier {
    /// The board.
    pub device: String,
    /// The figure in which it differs most.
    pub metric: Figure,
    /// Its figure.
    pub value: f64,
    /// Its peers' median.
    pub peers: f64,
    /// Value / peers.
    pub ratio: f64,
    /// How many.
    pub peer_count: usize,
    /// Whether it throttled.
    pub throttled: Option<ThrottleCause>,
    /// Likely causes, most telling first; empty when nothing stands out.
    pub suspects: Vec<Suspect>,
}

/// The boards of one cohort that are worse than the others, worst first. `entries` are of one key.
#[must_use]
pub fn outliers(entries: &[Entry], rule: OutlierRule) -> Vec<Outlier> {
    let mut boards: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for entry in entries {
        boards.entry(&entry.sample.device).or_default().push(&entry.sample);
    }
    if boards.len() < rule.min_boards {
        return Vec::new();
    }
    let figures: BTreeMap<&str, [Option<f64>; 2]> =
        boards.iter().map(|(&device, samples)| (device, figures(samples))).collect();
    let mut found: Vec<Outlier> =
        boards.keys().filter_map(|device| judge(device, &boards, &figures, rule)).collect();
    found.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    found
}

const METRICS: [Figure; 2] = [Figure::P50, Figure::P99];

fn figures(samples: &[&Sample]) -> [Option<f64>; 2] {
    let pool = Pool::of_latencies(samples.iter().map(|&sample| (0, sample)));
    let all = samples.iter().all(|sample| sample.p99_ns.is_some());
    [pool.quantile(Quantile::P50), pool.quantile(Quantile::P99).filter(|_| all)]
}

fn judge(
    device: &str,
    boards: &BTreeMap<&str, Vec<&Sample>>,
    figures: &BTreeMap<&str, [Option<f64>; 2]>,
    rule: OutlierRule,
) -> Option<Outlier> {
    let own = &boards[device];
    let steady = |other: &str| boards[other].iter().all(|sample| sample.throttled.is_none());
    let one = |at: usize| {
        let value = figures[device][at]?;
        let peers: Vec<f64> = figures
            .iter()
            .filter(|&(&other, _)| other != device && steady(other))
            .filter_map(|(_, figures)| Some(figures[at]?.ln()))
            .collect();
        let excess = value.ln() - median(&peers)?;
        let limit = limit(&peers, at, own, rule)?;
        (excess > limit).then(|| Outlier {
            device: device.to_owned(),
            metric: METRICS[at],
            value,
            peers: value / excess.exp(),
            ratio: excess.exp(),
            peer_count: peers.len(),
            throttled: own.iter().filter_map(|sample| sample.throttled).min(),
            suspects: Vec::new(),
        })
    };
    let worst = (0..METRICS.len()).filter_map(one).max_by(|a, b| a.ratio.total_cmp(&b.ratio));
    worst.map(|outlier| Outlier { suspects: suspects(device, boards), ..outlier })
}

/// Log distance from the peers' median that counts.
fn limit(peers: &[f64], at: usize, own: &[&Sample], rule: OutlierRule) -> Option<f64> {
    if peers.len() + 1 < rule.min_boards {
        return None;
    }
    // A spread of few values is often too small: Student's t says how much more must be asked of it.
    let freedom = peers.len() as f64 - 1.0;
    let caution = student_t(freedom) / student_t(1e6);
    let (centre, near) = (median(peers)?, 3.0 * caution * mad(peers)? * MAD_TO_SIGMA);
    let drawn_in = peers.iter().map(|log| (log - centre).clamp(-near, near).powi(2));
    let sigma = (drawn_in.sum::<f64>() / freedom).sqrt();
    let spreads = rule.spreads * caution;
    let noise = own.iter().filter_map(|sample| {
        let (value, ends) =
            if at == 0 { (sample.p50_ns, sample.p50_ci_ns) } else { (sample.p99_ns?, sample.p99_ci_ns) };
        Some((ends.upper? - ends.lower?) / 2.0 / value)
    });
    let noise = noise.fold(0.0, f64::max);
    Some((spreads * sigma).max(METRICS[at].floor()).max(1.5 * noise))
}

/// Signs on `device` that stand out among its peers.
fn suspects(device: &str, boards: &BTreeMap<&str, Vec<&Sample>>) -> Vec<Suspect> {
    let own = &boards[device];
    let peers: Vec<&Sample> = boards
        .iter()
        .filter(|&(&other, _)| other != device)
        .flat_map(|(_, samples)| samples.iter().copied())
        .collect();
    let mut found = throttle_suspects(own, &peers);
    found.extend(temperature(own, &peers));
    found.extend(governor(own, &peers));
    found.extend(memory(own, &peers));
    found.extend(other_work(own, &peers));
    found
}

fn throttle_suspects(own: &[&Sample], peers: &[&Sample]) -> Vec<Suspect> {
    let causes: std::collections::BTreeSet<ThrottleCause> =
        own.iter().flat_map(|sample| sample.signs.throttles.iter().flatten().copied()).collect();
    let rare = |cause: &ThrottleCause| {
        let with =
            peers.iter().filter(|peer| peer.signs.throttles.iter().flatten().any(|own| own == cause)).count();
        2 * with < peers.len()
    };
    let suspect = |cause: ThrottleCause| {
        let (cause, sign) = match cause {
            ThrottleCause::Thermal => (LikelyCause::Temperature, "it throttled at a thermal trip"),
            ThrottleCause::OverCurrent => (LikelyCause::OverCurrent, "over-current events while it was slow"),
            ThrottleCause::PowerModeCap => (LikelyCause::Clock, "a clock's cap or floor was lowered"),
            ThrottleCause::MemoryClock => (LikelyCause::Clock, "its memory clock fell"),
            ThrottleCause::CpuClock => (LikelyCause::Clock, "its CPU clock fell"),
            ThrottleCause::GpuClock => (LikelyCause::Clock, "its GPU clock fell"),
            ThrottleCause::Unexplained | ThrottleCause::Unknown => return None,
        };
        Some(Suspect { cause, sign: sign.to_owned() })
    };
    causes.into_iter().filter(rare).filter_map(suspect).collect()
}

/// Hotter than the peers' median by this much is worth naming, m\u{b0}C.
const HOTTER_MILLICELSIUS: f64 = 8_000.0;

fn temperature(own: &[&Sample], peers: &[&Sample]) -> Option<Suspect> {
    let hottest = |sample: &&Sample| sample.signs.hottest_millicelsius.map(f64::from);
    let mine = own.iter().filter_map(hottest).reduce(f64::max)?;
    let theirs = median(&peers.iter().filter_map(hottest).collect::<Vec<_>>())?;
    (mine - theirs >= HOTTER_MILLICELSIUS).then(|| Suspect {
        cause: LikelyCause::Temperature,
        sign: format!("it reached {:.0} \u{b0}C, its peers {:.0} \u{b0}C", mine / 1e3, theirs / 1e3),
    })
}

fn governor(own: &[&Sample], peers: &[&Sample]) -> Option<Suspect> {
    let mine = own.iter().find_map(|sample| sample.signs.governor.clone())?;
    let known: Vec<&String> = peers.iter().filter_map(|peer| peer.signs.governor.as_ref()).collect();
    let usual = known.iter().max_by_key(|name| known.iter().filter(|other| other == name).count())?;
    (mine != **usual).then(|| Suspect {
        cause: LikelyCause::Clock,
        sign: format!("its CPU governor is {mine}, its peers' {usual}"),
    })
}

fn memory(own: &[&Sample], peers: &[&Sample]) -> Option<Suspect> {
    let faults = |sample: &&Sample| sample.signs.major_faults.map(|count| count as f64);
    let swap = |sample: &&Sample| sample.signs.swap_in_pages.map(|count| count as f64);
    let stalls = |sample: &&Sample| sample.signs.psi_some_us.map(|us| us as f64);
    if let Some((mine, theirs)) = stands_out(own, peers, swap, 64.0) {
        return Some(Suspect {
            cause: LikelyCause::Memory,
            sign: format!("it swapped in {mine:.0} pages, its peers {theirs:.0}"),
        });
    }
    if let Some((mine, theirs)) = stands_out(own, peers, faults, 10.0) {
        return Some(Suspect {
            cause: LikelyCause::Memory,
            sign: format!("it had {mine:.0} major page faults, its peers {theirs:.0}"),
        });
    }
    stands_out(own, peers, stalls, 10_000.0).map(|(mine, theirs)| Suspect {
        cause: LikelyCause::Memory,
        sign: format!("memory-pressure stalls of {:.0} ms, its peers' {:.0} ms", mine / 1e3, theirs / 1e3),
    })
}

/// Load averages of less than half a CPU more than the peers' are everyday business.
fn other_work(own: &[&Sample], peers: &[&Sample]) -> Option<Suspect> {
    let load = |sample: &&Sample| sample.signs.load_centi.map(f64::from);
    stands_out(own, peers, load, 50.0).map(|(mine, theirs)| Suspect {
        cause: LikelyCause::OtherWork,
        sign: format!("its load average was {:.1} at the start, its peers' {:.1}", mine / 1e2, theirs / 1e2),
    })
}

/// The largest own value and the peers' median, when it is at least `least` and three times the peers' above
/// it.
fn stands_out(
    own: &[&Sample],
    peers: &[&Sample],
    read: impl Fn(&&Sample) -> Option<f64>,
    least: f64,
) -> Option<(f64, f64)> {
    let mine = own.iter().filter_map(&read).reduce(f64::max)?;
    let theirs = median(&peers.iter().filter_map(&read).collect::<Vec<_>>())?;
    (mine >= theirs + least && mine >= 3.0 * theirs).then_some((mine, theirs))
}
