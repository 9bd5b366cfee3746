//! A soak's series to and from bytes. Columns are compressed by pco, which finds deltas, common divisors and
//! repeated patterns by itself.

use super::codes::Coded;
use super::describe::{point_id, point_key};
use super::layout::{Blob, Packed, SeriesChannel, SeriesMessage};
use super::soaks::{decode_segment, decode_throttle, encode_segment, encode_throttle};
use super::{MAX_SERIES_BYTES, VERSION, WireError, check_version};
use crate::channel::{Channel, ChannelKind, Role};
use crate::codec;
use crate::series::{ChannelSeries, MAX_TICKS, Series, Trip, quantum};
use pco::ChunkConfig;

/// Most ticks that are read: the columns of a series are unpacked into memory of this many numbers.
const MOST_TICKS: u32 = MAX_TICKS as u32;

/// Variants a point key may name: a series does not carry the profile's variants.
const ANY_VARIANT: usize = usize::MAX;

/// `series` as packed CBOR, version 1.
///
/// # Errors
/// [`WireError::Length`] when a column is not as long as the series, [`WireError::OutOfRange`] for more than
/// [`MAX_TICKS`] ticks, [`WireError::Codec`] beyond [`MAX_SERIES_BYTES`].
pub fn encode_series(series: &Series) -> Result<Vec<u8>, WireError> {
    Ok(codec::to_cbor(&to_message(series)?, MAX_SERIES_BYTES)?)
}

/// Reads [`encode_series`]'s bytes, or any others: what is not a series is refused.
///
/// # Errors
/// Any [`WireError`].
pub fn decode_series(bytes: &[u8]) -> Result<Series, WireError> {
    check_version(bytes, MAX_SERIES_BYTES)?;
    from_message(codec::from_cbor(bytes, MAX_SERIES_BYTES)?)
}

pub(super) fn to_message(series: &Series) -> Result<SeriesMessage, WireError> {
    let ticks = checked_ticks(series.ticks)?;
    let latency = |name: &'static str, values: &[Option<i32>]| pack(name, values, 1, ticks);
    Ok(SeriesMessage {
        version: VERSION,
        run_id: series.run_id.clone(),
        point: point_key(series.id),
        start_ms: series.start_ms,
        period_ms: series.period_ms,
        ticks: series.ticks,
        latency_unit_ns: series.latency_unit_ns,
        latency_p50: latency("latency_p50", &series.latency_p50)?,
        latency_max: latency("latency_max", &series.latency_max)?,
        channels: series
            .channels
            .iter()
            .map(|channel| encode_channel(channel, ticks))
            .collect::<Result<_, _>>()?,
        trips: series
            .trips
            .iter()
            .map(|trip| (trip.channel, trip.kind.clone(), trip.milli_celsius))
            .collect(),
        segments: series.segments.iter().map(encode_segment).collect::<Result<_, _>>()?,
        throttles: series.throttles.iter().map(encode_throttle).collect::<Result<_, _>>()?,
    })
}

fn from_message(message: SeriesMessage) -> Result<Series, WireError> {
    let ticks = checked_ticks(message.ticks)?;
    if message.period_ms == 0 || message.latency_unit_ns == 0 {
        return Err(WireError::OutOfRange { what: "the period or the latency unit" });
    }
    let count = message.channels.len();
    let trip = |(channel, kind, milli_celsius): (u16, String, i32)| {
        if usize::from(channel) < count {
            return Ok(Trip { channel, kind, milli_celsius });
        }
        Err(WireError::Dangling { what: "a trip point", index: channel.into(), count })
    };
    Ok(Series {
        run_id: message.run_id,
        id: point_id(&message.point, ANY_VARIANT)?,
        start_ms: message.start_ms,
        period_ms: message.period_ms,
        ticks: message.ticks,
        latency_unit_ns: message.latency_unit_ns,
        latency_p50: unpack("latency_p50", &message.latency_p50, 1, ticks)?,
        latency_max: unpack("latency_max", &message.latency_max, 1, ticks)?,
        channels: message
            .channels
            .into_iter()
            .map(|channel| decode_channel(channel, ticks))
            .collect::<Result<_, _>>()?,
        trips: message.trips.into_iter().map(trip).collect::<Result<_, _>>()?,
        segments: message.segments.iter().map(decode_segment).collect(),
        throttles: message.throttles.into_iter().map(decode_throttle).collect::<Result<_, _>>()?,
    })
}

fn checked_ticks(ticks: u32) -> Result<usize, WireError> {
    if ticks > MOST_TICKS {
        return Err(WireError::OutOfRange { what: "the number of ticks" });
    }
    Ok(ticks as usize)
}

fn encode_channel(series: &ChannelSeries, ticks: usize) -> Result<SeriesChannel, WireError> {
    let step = quantum(series.channel.kind);
    let whole = series.values.iter().flatten().all(|value| value % step == 0);
    let quantum = if whole { step } else { 1 };
    Ok(SeriesChannel {
        id: series.channel.id.clone(),
        kind: series.channel.kind.code(),
        role: series.channel.role.code(),
        quantum,
        values: pack(&series.channel.id, &series.values, quantum, ticks)?,
    })
}

fn decode_channel(message: SeriesChannel, ticks: usize) -> Result<ChannelSeries, WireError> {
    let values = unpack(&message.id, &message.values, message.quantum, ticks)?;
    let kind = ChannelKind::of(message.kind);
    let role = Role::of(message.role);
    Ok(ChannelSeries { channel: Channel { id: message.id, kind, role }, values })
}

fn pack(name: &str, values: &[Option<i32>], quantum: i32, ticks: usize) -> Result<Packed, WireError> {
    if values.len() != ticks {
        return Err(WireError::Length { column: "of a series", found: values.len(), expected: ticks });
    }
    let mut numbers = Vec::with_capacity(ticks);
    let mut held = values.iter().flatten().next().map_or(0, |first| first / quantum);
    for value in values {
        held = value.map_or(held, |value| value / quantum);
        numbers.push(held);
    }
    let problem = |error: pco::errors::PcoError| WireError::Compressed {
        column: name.to_owned(),
        problem: error.to_string(),
    };
    let bytes = pco::standalone::simple_compress(&numbers, &ChunkConfig::default()).map_err(problem)?;
    Ok(Packed { pco: Blob(bytes), runs: runs(values) })
}

/// Alternating runs, present first; `None` when nothing is absent.
fn runs(values: &[Option<i32>]) -> Option<Vec<u32>> {
    if values.iter().all(Option::is_some) {
        return None;
    }
    let mut runs = vec![0];
    let mut present = true;
    for value in values {
        if value.is_some() != present {
            runs.push(0);
            present = !present;
        }
        if let Some(run) = runs.last_mut() {
            *run += 1;
        }
    }
    Some(runs)
}

fn unpack(name: &str, packed: &Packed, quantum: i32, ticks: usize) -> Result<Vec<Option<i32>>, WireError> {
    let problem = |problem: String| WireError::Compressed { column: name.to_owned(), problem };
    // One number more than may be there, so that a column that is too long is seen.
    let mut numbers = vec![0_i32; ticks + 1];
    let progress = pco::standalone::simple_decompress_into(&packed.pco.0, &mut numbers)
        .map_err(|error| problem(error.to_string()))?;
    if progress.n_processed != ticks || !progress.finished {
        return Err(problem(format!("it does not hold {ticks} numbers")));
    }
    numbers.truncate(ticks);
    let scale = |number: i32| number.checked_mul(quantum).ok_or(WireError::OutOfRange { what: "a reading" });
    let values = numbers.into_iter().map(scale).collect::<Result<Vec<i32>, _>>()?;
    let Some(runs) = &packed.runs else { return Ok(values.into_iter().map(Some).collect()) };
    let total: u64 = runs.iter().map(|&run| u64::from(run)).sum();
    if total != ticks as u64 {
        return Err(problem(format!("its runs cover {total} of {ticks} numbers")));
    }
    let present = runs.iter().enumerate().flat_map(|(i, &run)| std::iter::repeat_n(i % 2 == 0, run as usize));
    Ok(values.into_iter().zip(present).map(|(value, present)| present.then_some(value)).collect())
}
