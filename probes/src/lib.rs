//! What a board says of itself: power rails, temperatures, clocks, throttle counters, identity.
//!
//! Board knowledge is data (`config/boards/*.toml`), discovery goes by driver, label, name and type,
//! and every signal that is missing is missing with its cause. Nothing here decides what a reading means
//! for a run: analysis does, from the [`clipmark_profile::sensors::SensorRecord`] that the sampler makes.

pub mod absence;
mod assemble;
pub mod board;
pub mod cadence;
pub mod capture;
mod clock;
mod content;
mod cooling;
mod energy;
pub mod environment;
pub mod errno;
mod fan;
mod hwmon;
mod identity;
pub mod latest;
mod memory;
mod monitors;
mod monotonic;
mod overcurrent;
mod power;
pub mod power_mode;
pub mod probe;
mod rails;
pub mod refresh;
pub mod registry;
pub mod root;
pub mod sampler;
mod sampling;
pub mod series_file;
pub mod state;
mod thermal;
mod total;
pub mod tree;
mod values;

pub use content::Content;
pub use sampling::Cadence;
