//! The numbers by which enum variants travel. A number, once given, is never given again.

use crate::channel::{ChannelKind, Role};
use crate::plan::{Load, Mode};
use crate::record::{Cause, NotRun, Stage};
use crate::streams::verdict::Verdict;
use crate::streams::{ArrivalProcess, Phases};
use crate::summary::{Objective, PressureSign, Status, SteadyState, ThrottleCause};

/// The code of what is unknown: of no variant, now or later.
const UNKNOWN: u8 = u8::MAX;

/// An enum with a code for every variant.
pub(super) trait Coded: Sized {
    /// The variant's code.
    fn code(self) -> u8;

    /// The variant of a code; `Unknown` where a newer device has one more.
    fn of(code: u8) -> Self;
}

macro_rules! codes {
    ($($type:ident: { $($variant:ident = $code:literal),* $(,)? })*) => {
        $(impl Coded for $type {
            fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* Self::Unknown => UNKNOWN }
            }

            fn of(code: u8) -> Self {
                match code { $($code => Self::$variant,)* _ => Self::Unknown }
            }
        })*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn every_code_names_the_variant_that_has_it() {
                $($(
                    assert_eq!($type::of($code), $type::$variant);
                    assert_eq!($type::$variant.code(), $code);
                )*
                assert_eq!($type::of(200), $type::Unknown);
                assert_eq!($type::of($type::Unknown.code()), $type::Unknown);)*
            }
        }
    };
}

codes! {
    Mode: { Sweep = 0, Soak = 1, Auto = 2 }
    Load: { Closed = 0, Paced = 1 }
    Status: { Measured = 0, Dominated = 1, Interrupted = 2, NotRun = 3, Failed = 4 }
    NotRun: {
        WouldExceedMemory = 0, WouldExceedTime = 1, Budget = 2, Cancelled = 3, VariantFailed = 4,
    }
    Stage: { Load = 0, Prepare = 1, WarmUp = 2, Measure = 3 }
    Cause: {
        UnsupportedOperator = 0, ImpossibleShape = 1, OutOfMemory = 2, TimedOut = 3, Crashed = 4,
        BackendUnavailable = 5, BadModel = 6, Backend = 7,
    }
    SteadyState: { Flat = 0, WarmUp = 1, Slowdown = 2, NoSteadyState = 3, TooShort = 4 }
    PressureSign: {
        MajorFaults = 0, PressureStall = 1, Swap = 2, OutOfMemory = 3, LatencyResidual = 4,
    }
    Objective: {
        Streaming = 0, Offline = 1, Efficiency = 2,
        SustainedStreaming = 3, SustainedOffline = 4, SustainedEfficiency = 5,
    }
    Phases: { Random = 0, Aligned = 1 }
    ArrivalProcess: { Periodic = 0, Poisson = 1 }
    Verdict: { Holds = 0, Fails = 1, Undecided = 2 }
    ThrottleCause: {
        Thermal = 0, OverCurrent = 1, PowerModeCap = 2, MemoryClock = 3, CpuClock = 4, GpuClock = 5,
        Unexplained = 6,
    }
    ChannelKind: {
        Power = 0, Temperature = 1, Clock = 2, ClockFloor = 3, ClockCap = 4, Load = 5,
        BandwidthActivity = 6, Cooling = 7, OverCurrent = 8, ThrottleFlags = 9, FanSpeed = 10,
        FanDrive = 11, MemoryAvailable = 12, MemoryPressure = 13, Voltage = 14, ThrottleCount = 15,
    }
    Role: {
        Context = 0, TotalPower = 1, Junction = 2, CpuClock = 3, GpuClock = 4, MemoryClock = 5,
        Throttles = 6,
    }
}
