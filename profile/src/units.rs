//! Unit newtypes at the native scale of the sources they come from.
//!
//! sysfs speaks milliwatts and milli-degrees, clocks speak nanoseconds: quantities keep that scale as
//! integers and become `f64` only inside statistics. A missing quantity is `Option::None` with a cause
//! kept beside it, never a zero.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty), $suffix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare number, in this unit.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $suffix), self.0)
            }
        }
    };
}

unit!(/// A span of time, or an instant on the monotonic clock of one boot.
    Nanos(u64), "ns");
unit!(/// Electrical power.
    Milliwatts(i64), "mW");
unit!(/// Energy.
    Microjoules(i64), "uJ");
unit!(/// Temperature.
    MilliCelsius(i32), "m\u{b0}C");
unit!(/// Frequency.
    Hertz(u64), "Hz");
unit!(/// An amount of memory or storage.
    Bytes(u64), "B");

impl Nanos {
    /// Nanoseconds in a second.
    pub const PER_SECOND: u64 = 1_000_000_000;

    /// This span in milliseconds.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This span in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(Self::PER_SECOND))
    }

    /// The span since `earlier`, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}
