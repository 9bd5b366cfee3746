//! The layout of both messages, field by field. The number in brackets is a field's key on the wire.
//!
//! Append only: a new field gets the next number and is an `Option`. profile/schema/*.cddl says the same for
//! readers in other languages. Integers carry their unit in the name; a unit like `ns_x20` counts twentieths
//! of a nanosecond.

use crate::axis::AxisValue;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Whether a field is left out of the map.
pub(super) trait Omit {
    /// True only for an absent optional field.
    fn omit(&self) -> bool {
        false
    }
}

impl<T> Omit for Option<T> {
    fn omit(&self) -> bool {
        self.is_none()
    }
}

impl<T> Omit for Vec<T> {}

impl<K, V> Omit for BTreeMap<K, V> {}

macro_rules! never_omitted {
    ($($type:ty),*) => { $(impl Omit for $type {})* };
}

never_omitted!(u8, u16, u32, u64, i32, i64, bool, String, Blob);

/// Bytes, as a byte string rather than an array of numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(minicbor::Encode, minicbor::Decode), cbor(transparent))]
#[serde(transparent)]
pub(super) struct Blob(
    #[serde(with = "serde_bytes")]
    #[cfg_attr(test, n(0), cbor(with = "minicbor::bytes"))]
    pub(super) Vec<u8>,
);

/// A point: its variant, then its sizes in the order of [`crate::axis::Axis::SHAPE`].
pub(super) type PointKey = Vec<u32>;

/// The value of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Count(u32),
    Name(String),
}

impl From<AxisValue> for Scalar {
    fn from(value: AxisValue) -> Self {
        match value {
            AxisValue::Count(count) => Self::Count(count),
            AxisValue::Name(name) => Self::Name(name),
        }
    }
}

impl From<Scalar> for AxisValue {
    fn from(value: Scalar) -> Self {
        match value {
            Scalar::Count(count) => Self::Count(count),
            Scalar::Name(name) => Self::Name(name),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count or a name")
            }

            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Scalar, E> {
                u32::try_from(count).map(Scalar::Count).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Scalar, E> {
                Ok(Scalar::Name(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// [`crate::point::Variant`]: the value of each axis by its code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(minicbor::Encode, minicbor::Decode), cbor(transparent))]
#[serde(transparent)]
pub(super) struct Variant(#[cfg_attr(test, n(0))] pub(super) BTreeMap<u8, Scalar>);

#[cfg(test)]
mod swapped {
    use super::Scalar;
    use minicbor::data::Type;
    use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

    impl<C> Encode<C> for Scalar {
        fn encode<W: encode::Write>(
            &self,
            e: &mut Encoder<W>,
            _: &mut C,
        ) -> Result<(), encode::Error<W::Error>> {
            match self {
                Self::Count(count) => e.u32(*count)?.ok(),
                Self::Name(name) => e.str(name)?.ok(),
            }
        }
    }

    impl<'b, C> Decode<'b, C> for Scalar {
        fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
            match d.datatype()? {
                Type::String => Ok(Self::Name(d.str()?.to_owned())),
                _ => Ok(Self::Count(d.u32()?)),
            }
        }
    }
}

/// Declares a message. In tests it also derives minicbor's codec with the same numbers: the proof that the
/// CBOR crate can be swapped without changing a byte.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident($key:tt): $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(minicbor::Encode, minicbor::Decode), cbor(map))]
        pub(super) struct $name {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "Omit::omit")]
                #[cfg_attr(test, n($key))]
                pub(super) $field: $type,
            )*
        }

        impl Omit for $name {}
    };
}

/// Field 0 of any message; everything else is skipped.
#[derive(Deserialize)]
pub(super) struct Envelope {
    /// The message's version.
    pub(super) version: u16,
}

message! {
    /// [`crate::summary::Profile`].
    ProfileMessage {
        version(0): u16,
        analysis(1): u16,
        run(2): Run,
        environment(3): Environment,
        models(4): Vec<Model>,
        backends(5): Vec<Backend>,
        variants(6): Vec<Variant>,
        points(7): Points,
        /// What only some points have.
        notes(8): Vec<Note>,
        scaling(9): Vec<Scaling>,
        memory_pressure(10): Vec<Pressure>,
        operating_points(11): Vec<Chosen>,
        soaks(12): Vec<Soak>,
        idle_power_uw(13): Option<i64>,
        power_topology(14): Option<String>,
        sampler_cpu_ppm(15): Option<i64>,
        warnings(16): Vec<String>,
        drift(17): Option<Drift>,
        capacities(18): Option<Vec<Capacity>>,
    }
}

message! {
    /// [`crate::summary::BoardDrift`].
    Drift {
        anchor(0): Option<PointKey>,
        stalls(1): u64,
        blocks(2): Vec<DriftBlock>,
    }
}

message! {
    /// [`crate::summary::DriftBlock`].
    DriftBlock {
        block(0): u32,
        at_ms(1): u64,
        slowness_e6(2): i64,
        /// Ends of its interval in ten-thousandths of it, lower then upper.
        interval_e4(3): Vec<Option<i64>>,
    }
}

message! {
    /// [`crate::summary::Comparable`].
    Comparable {
        mean_ns_x100(0): i64,
        p50_ns_x100(1): i64,
        p99_ns_x100(2): Option<i64>,
        frames_per_s_e6(3): i64,
        energy_nj_per_frame(4): Option<i64>,
        stalls(5): u64,
        /// Ends of the mean's, P50's, P99's and the energy's interval in ten-thousandths, lower then upper.
        intervals_e4(6): Vec<Option<i64>>,
    }
}

message! {
    /// [`crate::summary::RunInfo`].
    Run {
        id(0): String,
        started_unix_ms(1): u64,
        duration_ms(2): u64,
        origin(3): String,
        /// Code of a mode.
        mode(4): u8,
        /// Code of a load.
        load(5): u8,
        seed(6): u64,
        /// Bit 0: simulated; bit 1: partial.
        flags(7): u8,
        /// At most one of the two deadlines.
        deadline_ns(8): Option<u64>,
        /// Millionths of a frame per second.
        deadline_fps_e6(9): Option<i64>,
    }
}

message! {
    /// [`crate::environment::Environment`].
    Environment {
        clipmark(0): String,
        arch(1): String,
        os(2): Option<String>,
        kernel(3): Option<String>,
        board(4): Option<String>,
        board_id(5): Option<String>,
        l4t(6): Option<String>,
        power_mode(7): Option<String>,
        cpu(8): Option<String>,
        cpus_online(9): Option<u32>,
        governor(10): Option<String>,
        memory_total_bytes(11): Option<u64>,
        memory_available_bytes(12): Option<u64>,
        swap_total_bytes(13): Option<u64>,
        load_centi(14): Option<u32>,
        virtualization(15): Option<String>,
        warnings(16): Vec<String>,
        /// Name and cause.
        absent(17): Vec<(String, String)>,
        worker_cpus(18): Option<String>,
        worker_memory_max_bytes(19): Option<u64>,
    }
}

message! {
    /// [`crate::record::ModelRecord`].
    Model {
        name(0): String,
        /// 32 bytes, or whatever the record holds as text when that is no SHA-256.
        sha256(1): Blob,
        size_bytes(2): u64,
        parameters(3): Option<u64>,
        inputs(4): Vec<String>,
    }
}

message! {
    /// [`crate::record::BackendRecord`].
    Backend {
        name(0): String,
        version(1): String,
        device(2): String,
        simulated(3): bool,
        notes(4): Vec<String>,
    }
}

message! {
    /// Every point's figures. A column (see [`super::varint`]) is left out when no point has the figure; a value is
    /// null where a point has none.
    Points {
        /// How many points there are.
        count(0): u32,
        /// Index of the variant.
        variant(1): Option<Blob>,
        /// A column for each axis of a shape, by the axis's code.
        shape(2): BTreeMap<u8, Blob>,
        /// A column for each figure; [`super::points`] has the codes.
        columns(3): BTreeMap<u8, Blob>,
        /// Compact histograms, without their exact tails but for chosen points; empty where there is none.
        histogram(4): Option<Vec<Blob>>,
    }
}

message! {
    /// What only some points have.
    Note {
        /// Index of the point.
        point(0): u32,
        /// Code of a reason.
        not_run(1): Option<u8>,
        because_of(2): Option<PointKey>,
        failure(3): Option<Failure>,
        operators(4): Option<Vec<Operator>>,
        remarks(5): Option<Vec<String>>,
        comparable(6): Option<Comparable>,
    }
}

message! {
    /// [`crate::record::Failure`].
    Failure {
        /// Code of a stage.
        stage(0): u8,
        /// Code of a cause.
        cause(1): u8,
        message(2): String,
    }
}

message! {
    /// [`crate::record::OperatorCost`].
    Operator {
        name(0): String,
        kind(1): String,
        time_ns(2): u64,
        share_ppm(3): i64,
    }
}

message! {
    /// [`crate::summary::Scaling`]; exponents in ten-thousandths.
    Scaling {
        variant(0): u16,
        batch_size(1): u32,
        exponent_e4(2): i64,
        lower_e4(3): Option<i64>,
        upper_e4(4): Option<i64>,
        breakpoint_clip_length(5): Option<u32>,
        segment_exponents_e4(6): Option<(i64, i64)>,
        /// Hundredths of a nanosecond: a, b, c of a + bF + cF^2.
        polynomial_ns_x100(7): Option<(i64, i64, i64)>,
    }
}

message! {
    /// [`crate::summary::MemoryPressure`].
    Pressure {
        variant(0): u16,
        /// Sizes in the order of [`crate::axis::Axis::SHAPE`].
        first(1): Option<Vec<u32>>,
        /// Code of a sign.
        sign(2): Option<u8>,
    }
}

message! {
    /// [`crate::summary::OperatingPoint`].
    Chosen {
        /// Code of an objective.
        objective(0): u8,
        model(1): String,
        chosen(2): Vec<PointKey>,
        reason(3): String,
    }
}

message! {
    /// [`crate::summary::EnergySummary`] of a soak.
    Energy {
        mean_power_uw(0): i64,
        gross_per_frame_nj(1): i64,
        net_per_frame_nj(2): Option<i64>,
        lower_nj(3): Option<i64>,
        upper_nj(4): Option<i64>,
        window_ms(5): u64,
    }
}

message! {
    /// [`crate::summary::SoakSummary`].
    Soak {
        point(0): PointKey,
        duration_ms(1): u64,
        inferences(2): u64,
        aborted(3): Option<String>,
        failure(4): Option<Failure>,
        gate(5): Option<Gate>,
        segments(6): Vec<Segment>,
        throttles(7): Vec<Throttle>,
        burst_mframes_per_s(8): Option<i64>,
        sustained_mframes_per_s(9): Option<i64>,
        sustained_ratio_ppm(10): Option<i64>,
        sustained_p99_ns_x100(11): Option<i64>,
        time_to_throttle_ms(12): Option<u64>,
        oscillation_period_ms(13): Option<u64>,
        energy(14): Option<Energy>,
        sustained_energy(15): Option<Energy>,
        /// Channel id and m\u{b0}C.
        peak_temperatures(16): Vec<(String, i32)>,
        remarks(17): Vec<String>,
    }
}

message! {
    /// [`crate::summary::Capacity`].
    Capacity {
        /// With its hop.
        point(0): PointKey,
        instances(1): u32,
        period_ns(2): u64,
        deadline_ns(3): u64,
        /// Code of phases.
        phases(4): u8,
        /// Code of a process of arrivals.
        arrivals(5): u8,
        loads(6): u32,
        last_holding(7): Option<Load>,
        first_failing(8): Option<Load>,
        undecided(9): Option<Load>,
        failure(10): Option<Failure>,
    }
}

message! {
    /// [`crate::streams::verdict::LoadFigures`].
    Load {
        streams(0): u32,
        /// Code of a verdict.
        verdict(1): u8,
        reason(2): Option<String>,
        duration_ms(3): u64,
        clips(4): u64,
        missed(5): u64,
        given_up(6): u64,
        inferences(7): u64,
        part_filled(8): u64,
        p50_ns_x2(9): Option<i64>,
        p99_ns_x100(10): Option<i64>,
        /// Ends of P99's interval, ns.
        p99_lower_ns(11): Option<i64>,
        p99_upper_ns(12): Option<i64>,
        /// Clips and misses of the stream with the most.
        worst_stream(13): Option<(u64, u64)>,
        streams_shown(14): u32,
        /// Growth of the number of waiting clips, millionths a second, and the ends of its interval.
        backlog_e6(15): Option<i64>,
        backlog_lower_e6(16): Option<i64>,
        backlog_upper_e6(17): Option<i64>,
        /// Most waiting clips in equal stretches of the load.
        waiting(18): Vec<u32>,
    }
}

message! {
    /// [`crate::record::GateOutcome`].
    Gate {
        passed(0): bool,
        waited_ns(1): u64,
        reason(2): String,
    }
}

message! {
    /// [`crate::summary::SoakSegment`].
    Segment {
        start_ms(0): u64,
        end_ms(1): u64,
        p50_ns_x100(2): i64,
        p99_ns_x100(3): Option<i64>,
        mframes_per_s(4): i64,
    }
}

message! {
    /// [`crate::summary::Throttle`].
    Throttle {
        onset_ms(0): u64,
        recovery_ms(1): Option<u64>,
        /// Code of a cause of throttling.
        cause(2): u8,
        slowdown_ppm(3): i64,
        evidence(4): Vec<String>,
    }
}

message! {
    /// [`crate::series::Series`].
    SeriesMessage {
        version(0): u16,
        run_id(1): String,
        point(2): PointKey,
        start_ms(3): u64,
        period_ms(4): u32,
        ticks(5): u32,
        latency_unit_ns(6): u64,
        latency_p50(7): Packed,
        latency_max(8): Packed,
        channels(9): Vec<SeriesChannel>,
        /// Index of the channel, the trip's type, m\u{b0}C.
        trips(10): Vec<(u16, String, i32)>,
        segments(11): Vec<Segment>,
        throttles(12): Vec<Throttle>,
    }
}

message! {
    /// [`crate::series::ChannelSeries`].
    SeriesChannel {
        id(0): String,
        /// Code of a kind of channel.
        kind(1): u8,
        /// Code of a channel's role.
        role(2): u8,
        /// What the packed numbers are to be multiplied with.
        quantum(3): i32,
        values(4): Packed,
    }
}

message! {
    /// One column of a series.
    Packed {
        /// The numbers as standalone pco of `i32`; an absent value repeats the one before it.
        pco(0): Blob,
        /// Lengths of alternating runs of present and absent values, present first; left out when all are
        /// present.
        runs(1): Option<Vec<u32>>,
    }
}
