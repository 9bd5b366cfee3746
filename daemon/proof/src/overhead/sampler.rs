//! What sampling costs: CPU share of 40 channels at 10 a second against a loop that opens, reads and closes each
//! file and, where it is installed, against prometheus-node-exporter asked as often; and the shift of a compute
//! loop's median with the sampler on and off.
//!
//! The channels are 40 descriptors on one real sysfs attribute, so that the kernel's part is a virtual file's; a
//! board's monitors add the time that their bus takes, in which the thread sleeps.

use crate::median;
use crate::row::Row;
use crate::{Context, Found};
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
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
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

fn sensors() -> Result<Sensors, anyhow::Error> {
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
fn shares(seconds: u64) -> Result<(f64, f64), anyhow::Error> {
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

/// Share of one core that node_exporter takes when it is asked [`RATE_HZ`] times a second; `None` where it is
/// not installed. It reads what its default collectors read, which is more than 40 values.
fn node_exporter(seconds: u64) -> Result<Option<f64>, anyhow::Error> {
    const ADDRESS: &str = "127.0.0.1:19100";
    let mut command = Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address={ADDRESS}")).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Ok(None) };
    let scrape = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(ADDRESS)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
    };
    while scrape().is_err() {
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("prometheus-node-exporter ended at once: {status}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = cpu_of(child.id())?;
    let ticks = (seconds as f64 * RATE_HZ) as usize;
    for _ in 0..ticks {
        scrape()?;
        std::thread::sleep(Duration::from_secs_f64(1.0 / RATE_HZ));
    }
    let share = (cpu_of(child.id())? - before) / (ticks as f64 / RATE_HZ);
    child.kill()?;
    child.wait()?;
    Ok(Some(share))
}

/// CPU time of a process, seconds: utime and stime of /proc/PID/stat, whose tick is 10 ms (man 5 proc).
fn cpu_of(pid: u32) -> Result<f64, anyhow::Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields =
        stat.rsplit_once(')').ok_or_else(|| anyhow::anyhow!("no command in stat"))?.1.split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
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

/// Relative shift of the compute loop's median with the sampler on: median over adjacent pairs of blocks,
/// and half the interquartile range of those pairs.
fn shift() -> Result<(f64, f64), anyhow::Error> {
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
            medians[on] = median(&times)?;
            if let Some(sampler) = sampler {
                sampler.stop()?;
            }
        }
        shifts.push(medians[1] / medians[0] - 1.0);
    }
    shifts.sort_by(f64::total_cmp);
    let middle = median(&shifts)?;
    let spread = (shifts[shifts.len() * 3 / 4] - shifts[shifts.len() / 4]) / 2.0;
    Ok((middle, spread))
}

pub(super) fn measure(context: &Context, found: Found<'_>) -> anyhow::Result<()> {
    let seconds = u64::from(context.runs(12));
    let (sampled, naive) = shares(seconds)?;
    let exporter = match node_exporter(seconds)? {
        Some(share) => format!("node_exporter asked as often takes {:.0} times as much", share / sampled),
        None => "node_exporter is not installed here (package prometheus-node-exporter)".to_owned(),
    };
    found(Row::at_most("sampler, 40 channels at 10 Hz: share of a core", sampled * 100.0, "%", 1.0).note(
        format!(
            "opening, reading and closing every file takes {:.1} times as much, {exporter}",
            naive / sampled
        ),
    ));
    let (middle, spread) = shift()?;
    found(
        Row::at_most("latency's median moved by the sampler, on against off", middle.abs() * 100.0, "%", 0.5)
            .note(format!(
                "{BLOCKS} interleaved blocks; half the interquartile range of pairs {:.2} %",
                spread * 100.0
            )),
    );
    Ok(())
}
