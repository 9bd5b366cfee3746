//! What a board says of itself: power rails, temperatures, clocks, throttle counters, identity.
//!
//! Board knowledge is data (`config/boards/*.toml`), discovery goes by driver, label, name and type,
//! and every signal that is missing is missing with its cause. Nothing here decides what a reading means
//! for a run: analysis does, from the [`clipmark_profile::sensors::SensorRecord`] that the sampler makes.

mod content;
pub mod errno;
pub mod root;
pub mod tree;

pub use content::Content;
