//! Statistics: pure functions of slices, each with its source.

pub mod histogram;
