//! The clock of one run: time since its start.
//!
//! A run lives on the machine's monotonic clock. A simulated variant whose board is a capture lives on a
//! *virtual* clock instead: it advances by what the engine declares to have taken, and the capture is read as
//! of that instant, so that half an hour of throttling is reproduced in seconds.

use super::sensing::Sensing;
use crate::worker::clock::{monotonic, sleep_until};
use crate::worker::protocol::Measured;
use clipmark_profile::units::Nanos;
use std::cell::Cell;

/// The clock of one run.
#[derive(Debug)]
pub struct RunClock<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    Real {
        /// The run's start on the monotonic clock.
        origin: Nanos,
    },
    Virtual {
        now: Cell<Nanos>,
        sensing: &'a Sensing,
    },
}

impl<'a> RunClock<'a> {
    /// The clock that goes with `sensing`: a replayed board has a virtual one, which starts at `elapsed`.
    /// `origin` is the run's start on the monotonic clock.
    #[must_use]
    pub fn of(sensing: &'a Sensing, origin: Nanos, elapsed: Nanos) -> Self {
        Self(match sensing {
            Sensing::Replayed { .. } => Kind::Virtual { now: Cell::new(elapsed), sensing },
            Sensing::Off | Sensing::Live(_) => Kind::Real { origin },
        })
    }

    /// Time since the run's start.
    #[must_use]
    pub fn now(&self) -> Nanos {
        match &self.0 {
            Kind::Real { origin } => monotonic().since(*origin),
            Kind::Virtual { now, .. } => now.get(),
        }
    }

    /// Waits until `instant` of the run.
    pub fn sleep_until(&self, instant: Nanos) {
        match &self.0 {
            Kind::Real { origin } => sleep_until(Nanos(origin.0 + instant.0)),
            Kind::Virtual { .. } => self.advance_to(instant),
        }
    }

    /// `measured` with its stamps counted from the run's start. On a virtual clock the measurement begins now
    /// and time goes on to its end.
    #[must_use]
    pub fn place(&self, measured: Measured) -> Measured {
        let [started, ended] = self.place_span([measured.started, measured.ended]);
        Measured { started, ended, ..measured }
    }

    /// As [`Self::place`], of a start and an end.
    #[must_use]
    pub fn place_span(&self, [started, ended]: [Nanos; 2]) -> [Nanos; 2] {
        match &self.0 {
            Kind::Real { origin } => [started.since(*origin), ended.since(*origin)],
            Kind::Virtual { now, .. } => {
                let begun = now.get();
                self.advance_to(Nanos(begun.0 + ended.since(started).0));
                [begun, now.get()]
            }
        }
    }

    fn advance_to(&self, instant: Nanos) {
        if let Kind::Virtual { now, sensing } = &self.0 {
            now.set(now.get().max(instant));
            sensing.replay_to(now.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(started: u64, ended: u64) -> Measured {
        Measured { started: Nanos(started), ended: Nanos(ended), ..Measured::default() }
    }

    #[test]
    fn real_stamps_are_counted_from_the_runs_start() {
        let clock = RunClock::of(&Sensing::Off, Nanos(1000), Nanos(0));
        let placed = clock.place(measured(1500, 1800));
        assert_eq!((placed.started, placed.ended), (Nanos(500), Nanos(800)));
    }
}
