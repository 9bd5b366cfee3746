//! Memory: its clock with floor and cap, the controller's activity, what is available, and stalls.
//!
//! The activity's unit is undocumented and stays raw; only a board file can give its full scale.

use crate::board::Board;
use crate::probe::{Discovery, Tier};
use crate::root::Root;
use crate::values::{Decode, Values, first_readable};
use clipmark_profile::channel::{ChannelKind, Role};

/// Finds every memory signal. Runs after the clocks: a memory clock under devfreq comes first.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    let mut slow = Values::new(Tier::Slow);
    let files = &board.memory;
    let mut add = |paths: &[String], kind: ChannelKind, name: &str, role: Role, decode: Decode| {
        if found.has(kind, name) {
            return;
        }
        match first_readable(root, paths) {
            Ok((path, _)) => {
                let channel = found.channel(kind, name, role);
                slow.add(root, found, channel, path, decode);
            }
            Err(cause) => found.absence(kind, name, cause),
        }
    };
    let kilohertz = Decode::Integer(1, 1000);
    add(&files.rate, ChannelKind::Clock, "memory", Role::MemoryClock, kilohertz);
    add(&files.floor, ChannelKind::ClockFloor, "memory", Role::Context, kilohertz);
    add(&files.cap, ChannelKind::ClockCap, "memory", Role::Context, Decode::NonZero(1000));
    add(&files.activity, ChannelKind::BandwidthActivity, "raw", Role::Context, Decode::Integer(1, 1));
    slow.finish(found);

    let mut medium = Values::new(Tier::Medium);
    let available = found.channel(ChannelKind::MemoryAvailable, "available", Role::Context);
    let after = Decode::After("MemAvailable:", 1);
    medium.add(root, found, available, "/proc/meminfo", after);
    let stalls = found.channel(ChannelKind::MemoryPressure, "some", Role::Context);
    let id = stalls.id.clone();
    medium.add(root, found, stalls, "/proc/pressure/memory", Decode::After("total=", 1000));
    medium.explain(&id, "time in which some task waited for memory");
    medium.finish(found);
}
