//! Which rails form the total power: the first of the board file's alternatives that is whole, unambiguous and
//! alive. What was passed over on the way is said.
//!
//! A rail that the board file does not name is never added. Two rails of one name are never added either: the
//! module's is taken where the board file tells it from its carrier's, else there is no total.

use crate::absence::{AbsenceCause, NoTotal};
use crate::board::{Board, Pattern, any_match};
use crate::monotonic::monotonic_now;
use crate::probe::{Discovery, Fault};
use crate::rails::{Meter, Rails};
use crate::root::Root;
use clipmark_profile::channel::ChannelKind;
use clipmark_profile::units::Nanos;
use rustix::io::Errno;
use std::time::Duration;

/// How long counters are watched for whether they move. The slowest known platform counter steps by 1 J, which
/// is ten times a second at 10 W.
const WATCH: Nanos = Nanos(300_000_000);
/// Time between two looks at them.
const LOOK: Duration = Duration::from_millis(5);

/// Indices of the rails whose sum is the total; notes how it is formed, or why there is none.
pub(crate) fn choose(root: &Root, board: &Board, rails: &mut Rails, found: &mut Discovery) -> Vec<usize> {
    let several =
        board.power.total.iter().filter(|alternative| members(rails, alternative).is_some()).count() > 1;
    if several {
        mark_still_counters(root, rails);
    }
    mark_unread(rails);
    let mut passed: Vec<NoTotal> = Vec::new();
    // A rail that fails now may recover: it is waited for where there is no better total.
    for may_fail in [false, true] {
        passed.clear();
        for alternative in &board.power.total {
            match applies(board, rails, alternative, may_fail, found) {
                None => {}
                Some(Err(cause)) => passed.push(cause),
                Some(Ok(members)) => {
                    let topology = topology(rails, &members);
                    let taken = |cause: &NoTotal| format!("the total power is {topology} instead: {cause}");
                    found.notes.extend(passed.iter().map(taken));
                    found.power_topology = Some(topology);
                    return members;
                }
            }
        }
    }
    let cause = passed.into_iter().next().unwrap_or_else(|| none_applies(board, rails));
    found.absence(ChannelKind::Power, "total", AbsenceCause::NoTotal(cause));
    Vec::new()
}

fn none_applies(board: &Board, rails: &Rails) -> NoTotal {
    let labels = rails.all.iter().map(|rail| &rail.label);
    let labels: Vec<String> = labels.chain(rails.refused.iter().map(|(label, _)| label)).cloned().collect();
    if labels.is_empty() {
        return NoTotal::NoRail;
    }
    NoTotal::Unknown { rails: labels, board: board.id.clone() }
}

fn topology(rails: &Rails, members: &[usize]) -> String {
    let labels: Vec<&str> = members.iter().map(|at| rails.all[*at].label.as_str()).collect();
    match labels.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("sum of {}", several.join(", ")),
    }
}

/// The rails that `alternative` names, where every one of its patterns names one that is there.
fn members(rails: &Rails, alternative: &[Pattern]) -> Option<Vec<usize>> {
    let mut members = Vec::new();
    for pattern in alternative {
        let fits = rails.all.iter().enumerate().filter(|(_, rail)| pattern.matches(&rail.label));
        let fits: Vec<usize> = fits.map(|(at, _)| at).collect();
        let refused = rails.refused.iter().any(|(label, _)| pattern.matches(label));
        if fits.is_empty() && !refused {
            return None;
        }
        members.extend(fits);
    }
    members.sort_unstable();
    members.dedup();
    (!alternative.is_empty()).then_some(members)
}

/// The members of an alternative whose rails are there, or why they cannot be the total.
fn applies(
    board: &Board,
    rails: &Rails,
    alternative: &[Pattern],
    may_fail: bool,
    found: &mut Discovery,
) -> Option<Result<Vec<usize>, NoTotal>> {
    let members = members(rails, alternative)?;
    let refused = rails.refused.iter().find(|(label, _)| any_match(alternative, label));
    if let Some((rail, error)) = refused {
        return Some(Err(NoTotal::Refused { rail: rail.clone(), error: error.clone() }));
    }
    let members = match the_modules(board, rails, members, found) {
        Ok(members) => members,
        Err(cause) => return Some(Err(cause)),
    };
    let is_zero = |at: &usize| rails.all[*at].dead == Some(Fault::ReadsZero);
    let dead = members.iter().find(|at| match rails.all[**at].dead {
        // A unit that is off carries nothing; a whole total of 0 on a running board is none.
        Some(Fault::ReadsZero) => members.iter().all(is_zero),
        other => other.is_some(),
    });
    let dead = dead.and_then(|at| Some((rails.all[*at].label.clone(), rails.all[*at].dead?)));
    let failing = || {
        let mut members = members.iter().filter(|_| !may_fail);
        members.find_map(|at| Some((rails.all[*at].label.clone(), rails.all[*at].failing?)))
    };
    Some(match dead.or_else(failing) {
        Some((rail, fault)) => Err(NoTotal::Dead { rail, fault }),
        None => Ok(members),
    })
}

/// `members` with one rail of each name: the module's, where several bear it.
fn the_modules(
    board: &Board,
    rails: &Rails,
    members: Vec<usize>,
    found: &mut Discovery,
) -> Result<Vec<usize>, NoTotal> {
    let mut kept = Vec::new();
    let mut notes = Vec::new();
    for at in &members {
        let label = &rails.all[*at].label;
        let namesakes: Vec<usize> =
            members.iter().copied().filter(|other| rails.all[*other].label == *label).collect();
        let of_module: Vec<usize> = namesakes
            .iter()
            .copied()
            .filter(|other| any_match(&board.power.module, &rails.all[*other].source))
            .collect();
        match (namesakes.len(), of_module.as_slice()) {
            (1, _) => kept.push(*at),
            (_, [one]) if one == at => {
                kept.push(*at);
                let others = namesakes
                    .iter()
                    .filter(|other| *other != at)
                    .map(|other| rails.all[*other].source.as_str());
                let others = others.collect::<Vec<_>>().join("; ");
                notes.push(format!(
                    "{} rails are called {label}: the module's is read at {}; not added: {others}",
                    namesakes.len(),
                    rails.all[*at].source,
                ));
            }
            (_, [_]) => {}
            _ => {
                let sources = namesakes.iter().map(|other| rails.all[*other].source.clone()).collect();
                return Err(NoTotal::Ambiguous { label: label.clone(), sources });
            }
        }
    }
    notes.retain(|note| !found.notes.contains(note));
    found.notes.extend(notes);
    Ok(kept)
}

/// Marks energy counters that stand still while another one moves.
fn mark_still_counters(root: &Root, rails: &mut Rails) {
    if !root.moves() {
        return;
    }
    let counts = |rails: &mut Rails| {
        let counters = rails.all.iter_mut().map(|rail| match &mut rail.meter {
            Meter::Energy(counter) => counter.count().ok(),
            _ => None,
        });
        counters.collect::<Vec<Option<i64>>>()
    };
    root.set_time(Nanos(0));
    let first = counts(rails);
    let began = monotonic_now();
    let mut moved = vec![false; first.len()];
    loop {
        match root.last_change() {
            Some(last) => root.set_time(last),
            None => std::thread::sleep(LOOK),
        }
        let now = counts(rails);
        moved.iter_mut().zip(first.iter().zip(now)).for_each(|(moved, (first, now))| *moved |= now != *first);
        let all_moved = moved.iter().zip(&first).all(|(moved, first)| *moved || first.is_none());
        if all_moved || root.is_capture() || monotonic_now().since(began) >= WATCH {
            break;
        }
    }
    root.set_time(Nanos(0));
    if moved.contains(&true) {
        let still = rails.all.iter_mut().zip(moved.iter().zip(&first));
        let still = still.filter(|(_, (moved, first))| !**moved && first.is_some());
        still.for_each(|(rail, _)| rail.dead = Some(Fault::Still));
    }
}

/// Marks rails that cannot be read, and those that read 0 while others carry power.
fn mark_unread(rails: &mut Rails) {
    let readings: Vec<_> = rails.all.iter_mut().map(|rail| rail.meter.peek()).collect();
    let is_live = readings.iter().any(|reading| matches!(reading, Ok(Some(1..))));
    for (rail, reading) in rails.all.iter_mut().zip(readings) {
        match reading {
            Ok(Some(0)) if is_live => rail.dead = Some(Fault::ReadsZero),
            // No conversion is ready: the next read will do.
            Ok(_) | Err(Fault::Refused(Errno::AGAIN | Errno::BUSY | Errno::INTR)) => {}
            Err(fault) => rail.failing = Some(fault),
        }
    }
}
