//! From sensors and series to the record that analysis reads.
//!
//! The *template* is a record without series, made at the start: it names every channel that was found.
//! Finishing keeps the channels that were read at least once and turns the others into absences.

use crate::absence::{Absence, AbsenceCause, NoTotal};
use crate::probe::Fault;
use crate::registry::Sensors;
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use clipmark_profile::sensors::{Column, Rail, SensorRecord, TierSeries};
use clipmark_profile::units::Nanos;
use serde::{Deserialize, Serialize};

/// A record without series, and why each channel's first read failed, where it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template {
    /// Everything that is known at the start.
    pub(crate) record: SensorRecord,
    /// Per channel: the fault of its reads so far.
    pub(crate) faults: Vec<Option<String>>,
}

/// What is known only at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SamplingEnd {
    /// CPU time of the sampling thread.
    pub(crate) cpu: Nanos,
    /// Measured refresh intervals: channel and interval.
    pub(crate) refresh: Vec<(u16, Nanos)>,
    /// Per channel: the last fault.
    pub(crate) faults: Vec<Option<String>>,
    /// Remarks that arose while sampling.
    pub(crate) notes: Vec<String>,
}

/// The template of `sensors`.
pub(crate) fn template(sensors: &Sensors, faults: &[Option<Fault>]) -> Template {
    let channels: Vec<_> = sensors.channels().map(|sensed| sensed.channel.clone()).collect();
    let index =
        |id: &str| channels.iter().position(|channel| channel.id == id).and_then(|at| u16::try_from(at).ok());
    let rails = sensors.rails.iter().filter_map(|(id, settings)| {
        Some(Rail {
            channel: index(id)?,
            samples: settings.samples,
            update_interval: settings.update_interval,
            shunt_uohm: settings.shunt_uohm,
        })
    });
    let trips = sensors.trips.iter().filter_map(|(id, kind, at)| Some((index(id)?, kind.clone(), *at)));
    let meanings = sensors.channels().zip(0u16..);
    let meanings = meanings.filter_map(|(sensed, at)| Some((at, sensed.meaning.clone()?)));
    let has_total = sensors.power_topology.is_some();
    let record = SensorRecord {
        absent: sensors
            .absent
            .iter()
            .map(|absence| (absence.id.clone(), absence.cause.to_string()))
            .collect(),
        power_topology: sensors.power_topology.clone(),
        power_scope: has_total.then(|| sensors.board.power.scope.clone()),
        board: Some(sensors.board.id.clone()),
        rails: rails.collect(),
        trips: trips.collect(),
        meanings: meanings.collect(),
        bandwidth_full_scale: sensors.board.memory.activity_full_scale,
        notes: sensors.notes.clone(),
        channels,
        ..SensorRecord::default()
    };
    Template { record, faults: fault_texts(faults) }
}

/// Faults in words.
pub(crate) fn fault_texts(faults: &[Option<Fault>]) -> Vec<Option<String>> {
    faults.iter().map(|fault| fault.map(|fault| fault.to_string())).collect()
}

/// The finished record: `series` joined to the template. Without an ending the series was cut off.
pub(crate) fn finish(
    template: Template,
    series: Vec<TierSeries>,
    cpu: Nanos,
    ending: Option<SamplingEnd>,
) -> SensorRecord {
    let Template { mut record, mut faults } = template;
    record.tiers = series;
    record.sampler_cpu = cpu;
    match ending {
        Some(ending) => {
            record.sampler_cpu = ending.cpu;
            record.refresh = ending.refresh;
            record.notes.extend(ending.notes);
            faults = ending.faults;
        }
        None => record.truncated = true,
    }
    drop_never_read(&mut record, &faults);
    record
}

/// Turns channels without a single valid reading into absences and renumbers the others.
fn drop_never_read(record: &mut SensorRecord, faults: &[Option<String>]) {
    let mut kept: Vec<Option<u16>> = Vec::with_capacity(record.channels.len());
    let mut next = 0;
    for index in 0..record.channels.len() {
        let column = u16::try_from(index).ok().and_then(|at| record.series(at));
        let read = column.is_some_and(|(_, column)| column.any_valid());
        kept.push(read.then_some(next));
        next += u16::from(read);
    }
    let renumber = |channel: u16| kept.get(usize::from(channel)).copied().flatten();
    for (channel, (keep, at)) in record.channels.iter().zip(kept.iter().zip(0..)) {
        if keep.is_none() {
            let fault = faults.get(at).cloned().flatten();
            let cause = fault.unwrap_or_else(|| AbsenceCause::NeverDue.to_string());
            record.absent.push((channel.id.clone(), cause));
        }
    }
    forget_incomplete_total(record, &kept);
    let mut keeps = kept.iter().map(Option::is_some);
    record.channels.retain(|_| keeps.next().unwrap_or(false));
    for tier in &mut record.tiers {
        let columns = std::mem::take(&mut tier.columns);
        let renumbered = columns
            .into_iter()
            .filter_map(|column| Some(Column { channel: renumber(column.channel)?, ..column }));
        tier.columns = renumbered.collect();
    }
    record.tiers.retain(|tier| !tier.columns.is_empty());
    record.refresh.retain_mut(|(channel, _)| keep_as(channel, renumber));
    record.trips.retain_mut(|(channel, _, _)| keep_as(channel, renumber));
    record.meanings.retain_mut(|(channel, _)| keep_as(channel, renumber));
    record.rails.retain_mut(|rail| keep_as(&mut rail.channel, renumber));
}

/// A sum that lacks a rail is no total: its other rails go on as rails alone.
fn forget_incomplete_total(record: &mut SensorRecord, kept: &[Option<u16>]) {
    let counts = |channel: &Channel| channel.kind == ChannelKind::Power && channel.role == Role::TotalPower;
    let missing = record.channels.iter().zip(kept).find(|(channel, keep)| counts(channel) && keep.is_none());
    let Some(missing) = missing.map(|(channel, _)| channel.id.clone()) else { return };
    let topology = record.power_topology.take().unwrap_or_default();
    record.power_scope = None;
    let absence = Absence::new(
        ChannelKind::Power,
        "total",
        AbsenceCause::NoTotal(NoTotal::NeverRead { rail: missing, topology }),
    );
    record.absent.push((absence.id, absence.cause.to_string()));
    for channel in record.channels.iter_mut().filter(|channel| counts(channel)) {
        channel.role = Role::Context;
    }
}

fn keep_as(channel: &mut u16, renumber: impl Fn(u16) -> Option<u16>) -> bool {
    match renumber(*channel) {
        Some(renumbered) => {
            *channel = renumbered;
            true
        }
        None => false,
    }
}
