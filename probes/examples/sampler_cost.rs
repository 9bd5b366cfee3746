//! What sampling costs: CPU share of 40 channels at 10 a second against a loop that opens, reads and
//! closes each file, and the shift of a compute loop's median with the sampler on and off.
//!
//! `cargo run --release --example sampler_cost [seconds]`. The channels are 40 descriptors on one real
//! sysfs attribute, so that the kernel's part is a virtual file's; a board's monitors add the time that
//! their bus takes, in which the thread sleeps.

use clipmark_probes::Cadence;
use clipmark_probes::board::{Boards, Fingerprint};
use clipmark_probes::probe::{Fault, Probe, Sensed, Sink, Tier};
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::{Handle, Root};
use clipmark_probes::sampler::{Sampler, SamplerOptions, monotonic_now};
use clipmark_profile::channel::{Channel, ChannelKind, Role};
use clipmark_profile::units::Nanos;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const CHANNELS: usize = 40;
const RATE_HZ: f64 = 10.0;
const ATTRIBUTE: &str = "/sys/devices/system/cpu/kernel_max";
/// Blocks of the compute loop, half of them with the sampler on.
const BLOCKS: usize = 40;
const ITERATIONS: usize = 100;

/// Forty descriptors on one attribute.
#[derive(Debug)]
struct Attributes {
    sensed: Vec<Sensed>,
    handles: Vec<Handle>,
}

impl Probe for Attributes {
    fn tier(&self) -> Tier {
        Tier::Rails
    }

    fn channels(&self) -> &[Sensed] {
        &self.sensed
    }

    fn read(&mut self, _at: Nanos, sink: &mut Sink<'_>) {
        for handle in &mut self.handles {
            let mut buffer = [0; 64];
            let text = handle.read(&mut buffer).map_err(Fault::Refused).map(|length| &buffer[..length]);
            let text = text.and_then(|text| std::str::from_utf8(text).map_err(|_| Fault::Unparsable));
            sink.put(text.and_then(|text| text.trim().parse().map_err(|_| Fault::Unparsable)));
        }
    }
}

fn sensors() -> Result<Sensors, Box<dyn std::error::Error>> {
    let root = Root::live();
    let board = Boards::embedded()?.find(&Fingerprint::default());
    let mut probe = Attributes { sensed: Vec::new(), handles: Vec::new() };
    for number in 0..CHANNELS {
        let channel = Channel::new(ChannelKind::Power, &number.to_string(), Role::Context);
        probe.sensed.push(Sensed { channel, source: ATTRIBUTE.to_owned(), meaning: None });
        probe.handles.push(root.open_value(ATTRIBUTE)?);
    }
    Ok(Sensors::of_probes(root, board, vec![Box::new(probe)]))
}

fn options() -> SamplerOptions {
    let cadence = Cadence { rails_hz: Some(RATE_HZ), ..Cadence::default() };
    SamplerOptions { cadence, origin: monotonic_now(), ..SamplerOptions::default() }
}

fn cpu_now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Shares of one core: the sampler's and the naive loop's.
fn shares(seconds: u64) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let sampler = Sampler::start(sensors()?, &options())?;
    std::thread::sleep(Duration::from_secs(seconds));
    let record = sampler.stop()?;
    let ticks = record.tiers.first().map_or(0, |tier| tier.stamps_ns.len());
    let sampled = record.sampler_cpu.as_secs_f64() / (ticks as f64 / RATE_HZ);

    let before = cpu_now();
    let mut series: Vec<i64> = Vec::new();
    let ticks = (seconds as f64 * RATE_HZ) as usize;
    for _ in 0..ticks {
        for _ in 0..CHANNELS {
            series.push(std::fs::read_to_string(ATTRIBUTE)?.trim().parse()?);
        }
        std::thread::sleep(Duration::from_secs_f64(1.0 / RATE_HZ));
    }
    black_box(&series);
    let naive = (cpu_now() - before) / (ticks as f64 / RATE_HZ);
    Ok((sampled, naive))
}

/// About a millisecond of arithmetic.
fn work(state: &mut [f32]) {
    for _ in 0..300 {
        for index in 1..state.len() {
            state[index] = state[index].mul_add(0.999, state[index - 1] * 1e-3);
        }
    }
    black_box(state);
}

fn block(state: &mut [f32], times: &mut Vec<f64>) {
    for _ in 0..ITERATIONS {
        let start = monotonic_now();
        work(state);
        times.push(monotonic_now().since(start).get() as f64);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Relative shift of the compute loop's median with the sampler on: median over adjacent pairs of blocks,
/// and half the interquartile range of those pairs.
fn shift() -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let mut state = vec![1.0; 1024];
    block(&mut state, &mut Vec::new());
    let mut shifts = Vec::new();
    for pair in 0..BLOCKS / 2 {
        let mut medians = [0.0; 2];
        // On first, then off first: a drift cancels out.
        for place in 0..2 {
            let on = (place + pair) % 2;
            let sampler = if on == 1 { Some(Sampler::start(sensors()?, &options())?) } else { None };
            let mut times = Vec::with_capacity(ITERATIONS);
            block(&mut state, &mut times);
            medians[on] = median(&mut times);
            if let Some(sampler) = sampler {
                sampler.stop()?;
            }
        }
        shifts.push(medians[1] / medians[0] - 1.0);
    }
    let middle = median(&mut shifts);
    let spread = (shifts[shifts.len() * 3 / 4] - shifts[shifts.len() / 4]) / 2.0;
    Ok((middle, spread))
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let (sampled, naive) = shares(seconds)?;
    println!("{CHANNELS} channels at {RATE_HZ} Hz for {seconds} s, share of one core:");
    println!("  sampler                {:.3} %", sampled * 100.0);
    println!("  open, read, close      {:.3} %   {:.1} times as much", naive * 100.0, naive / sampled);
    let (middle, spread) = shift()?;
    println!(
        "median of a compute loop, sampler on against off: {:+.2} % (half the interquartile range {:.2} %)",
        middle * 100.0,
        spread * 100.0
    );
    Ok(())
}
