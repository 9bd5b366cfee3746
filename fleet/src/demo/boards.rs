//! The simulated boards of the demonstration, as data. Their figures are made up and say so everywhere: in
//! the device's name, the board's name, the backend's name and the profile's own mark.

use clipmark_profile::plan::Request;
use clipmark_profile::simulated::{Noise, ParetoTail, PowerDraw, SimulatedSpec, Surface, ThrottleSpan};

/// How a simulated board behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// As one would wish.
    Steady,
    /// Soaks in every run, overheats and throttles.
    Throttles,
    /// Loses its connection after it has sent what it has, so that the broker publishes its last will.
    Vanishes,
}

/// A simulated board.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimulatedBoard {
    pub(super) device: &'static str,
    pub(super) kind: &'static Kind,
    pub(super) behaviour: Behaviour,
    /// Its own place among its kind: latency over the kind's.
    pub(super) factor: f64,
    pub(super) seed: u64,
}

/// A type of board.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) board: &'static str,
    pub(super) board_id: &'static str,
    /// Jetson Linux before and after the upgrade in the board's history.
    pub(super) l4t: [&'static str; 2],
    pub(super) power_mode: &'static str,
    pub(super) cpu: &'static str,
    /// Latency over that of the Orin Nano.
    latency: f64,
    idle_mw: f64,
    active_mw: f64,
    pub(super) memory_bytes: u64,
}

const ORIN_NANO: Kind = Kind {
    board: "Jetson Orin Nano Developer Kit (simulated)",
    board_id: "orin-nano",
    l4t: ["36.4.3", "36.4.4"],
    power_mode: "15W",
    cpu: "Cortex-A78AE (simulated)",
    latency: 1.0,
    idle_mw: 4_700.0,
    active_mw: 4_900.0,
    memory_bytes: 8 << 30,
};

/// Of the same generation: the same releases and cores.
const AGX_ORIN: Kind = Kind {
    board: "Jetson AGX Orin Developer Kit (simulated)",
    board_id: "agx-orin",
    power_mode: "MAXN",
    latency: 0.34,
    idle_mw: 8_900.0,
    active_mw: 17_000.0,
    memory_bytes: 64 << 30,
    ..ORIN_NANO
};

const NANO: Kind = Kind {
    board: "Jetson Nano Developer Kit (simulated)",
    board_id: "nano",
    l4t: ["32.7.4", "32.7.6"],
    power_mode: "MAXN",
    cpu: "Cortex-A57 (simulated)",
    latency: 4.8,
    idle_mw: 1_900.0,
    active_mw: 5_600.0,
    memory_bytes: 4 << 30,
};

const fn board(
    device: &'static str,
    kind: &'static Kind,
    behaviour: Behaviour,
    factor: f64,
    seed: u64,
) -> SimulatedBoard {
    SimulatedBoard { device, kind, behaviour, factor, seed }
}

/// Six of a kind, the fewest among which one can stand out, and two others.
pub(super) const BOARDS: [SimulatedBoard; 8] = [
    board("sim-orin-nano-1", &ORIN_NANO, Behaviour::Steady, 1.000, 1),
    board("sim-orin-nano-2", &ORIN_NANO, Behaviour::Steady, 1.004, 2),
    board("sim-orin-nano-3", &ORIN_NANO, Behaviour::Steady, 0.997, 3),
    board("sim-orin-nano-4", &ORIN_NANO, Behaviour::Steady, 1.006, 4),
    board("sim-orin-nano-5", &ORIN_NANO, Behaviour::Throttles, 1.21, 5),
    board("sim-orin-nano-6", &ORIN_NANO, Behaviour::Vanishes, 1.001, 6),
    board("sim-agx-orin", &AGX_ORIN, Behaviour::Steady, 1.0, 7),
    board("sim-nano", &NANO, Behaviour::Steady, 1.0, 8),
];

/// The models that simulated boards pretend to have: those that clipmark brings along.
pub(super) const MODELS: [&str; 2] = ["joint", "temporal"];

/// The points that every board measures.
pub(super) fn request() -> Request {
    Request { clip_lengths: vec![8, 16], batch_sizes: vec![1], ..Request::default() }
}

impl SimulatedBoard {
    /// What its engine for `model` is declared to be. `scale` multiplies every latency; `throttle` are spans
    /// of the run's own time in which it is slower.
    pub(super) fn spec(&self, model: &str, scale: f64, throttle: Vec<ThrottleSpan>) -> SimulatedSpec {
        let factor = self.kind.latency * self.factor * scale;
        // `joint` attends over all frames at once, `temporal` nearly pays per frame.
        let (linear_us, quadratic_us) = if model == "joint" { (180.0, 26.0) } else { (230.0, 0.4) };
        SimulatedSpec {
            seed: self.seed,
            latency: Surface {
                fixed_us: 700.0 * factor,
                linear_us: linear_us * factor,
                quadratic_us: quadratic_us * factor,
                batch_exponent: 0.93,
                texture: 0.02,
                ..Surface::default()
            },
            noise: Noise {
                sigma: 0.015,
                autocorrelation: 0.2,
                tail: Some(ParetoTail { share: 0.015, factor: 1.08, alpha: 6.0 }),
                ..Noise::default()
            },
            throttle,
            power: Some(PowerDraw {
                idle_mw: self.kind.idle_mw,
                active_mw: self.kind.active_mw,
                exponent: 0.05,
            }),
            ..SimulatedSpec::default()
        }
    }
}
