//! What both of clipmark's services need: the MQTT connection, secrets by path, configuration files, systemd,
//! and how a command ends.
//!
//! Shared by the daemon on the board and the aggregator at the operator's, so that both treat a broker alike
//! and their configurations read alike. Knows neither clipmark's topics nor its payloads.

pub mod clock;
pub mod config;
pub mod disk;
pub mod durable;
pub mod logging;
pub mod mqtt;
pub mod outcome;
pub mod secret;
pub mod systemd;
