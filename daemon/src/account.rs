//! The kernel's account of a process: resident memory, page faults, context switches, memory pressure.
//!
//! Text comes from `/proc`; every parser is a pure function of it. A line that is missing gives `None`,
//! never a zero. Reads into the caller's stack: taking an account does not allocate, so that the account
//! of a measured chunk does not hold faults of its own making.

use clipmark_profile::units::Bytes;
use std::fs::File;
use std::io::Read;

/// Large enough for `/proc/self/status` and the head of `/proc/vmstat`'s relevant part.
const SMALL: usize = 8 << 10;
/// `/proc/vmstat` has about 190 lines.
const LARGE: usize = 32 << 10;

/// Counters of the calling process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Minor page faults of all threads since the process began.
    pub minor_faults: Option<u64>,
    /// Major page faults of all threads since the process began.
    pub major_faults: Option<u64>,
    /// Voluntary and involuntary context switches of the main thread, which runs the timed loop.
    pub context_switches: Option<u64>,
}

/// Resident memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// `VmRSS`.
    pub current: Option<Bytes>,
    /// `VmHWM`, the highest `VmRSS` so far.
    pub peak: Option<Bytes>,
}

/// System-wide signs of memory pressure, growing since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Total of PSI `some` for memory, microseconds.
    pub some_us: Option<u64>,
    /// Pages swapped in.
    pub swap_in_pages: Option<u64>,
}

/// The calling process's counters.
#[must_use]
pub fn counters() -> Counters {
    let mut buffer = [0_u8; SMALL];
    let faults = read_into("/proc/self/stat", &mut buffer).and_then(parse_faults);
    let mut buffer = [0_u8; SMALL];
    let switches = read_into("/proc/self/status", &mut buffer).and_then(parse_switches);
    Counters {
        minor_faults: faults.map(|(minor, _)| minor),
        major_faults: faults.map(|(_, major)| major),
        context_switches: switches,
    }
}

/// The calling process's resident memory.
#[must_use]
pub fn resident() -> Resident {
    let mut buffer = [0_u8; SMALL];
    read_into("/proc/self/status", &mut buffer).map(parse_resident).unwrap_or_default()
}

/// The system's memory pressure.
#[must_use]
pub fn pressure() -> Pressure {
    let mut buffer = [0_u8; SMALL];
    let some_us = read_into("/proc/pressure/memory", &mut buffer).and_then(parse_pressure);
    let mut buffer = [0_u8; LARGE];
    let swap_in_pages = read_into("/proc/vmstat", &mut buffer).and_then(|text| field(text, "pswpin", ' '));
    Pressure { some_us, swap_in_pages }
}

/// Processes killed for memory in this process's cgroup, where it has one (version 2).
#[must_use]
pub fn cgroup_memory_kills() -> Option<u64> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let events = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events")).ok()?;
    field(&events, "oom_kill", ' ')
}

/// Memory of the machine (`MemTotal`).
#[must_use]
pub fn memory_total() -> Option<Bytes> {
    let mut buffer = [0_u8; SMALL];
    kibibytes(read_into("/proc/meminfo", &mut buffer)?, "MemTotal")
}

/// Memory that new work can take without swapping (`MemAvailable`).
#[must_use]
pub fn memory_available() -> Option<Bytes> {
    let mut buffer = [0_u8; SMALL];
    kibibytes(read_into("/proc/meminfo", &mut buffer)?, "MemAvailable")
}

fn read_into<'a>(path: &str, buffer: &'a mut [u8]) -> Option<&'a str> {
    let mut file = File::open(path).ok()?;
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]).ok()? {
            0 => break,
            count => length += count,
        }
    }
    std::str::from_utf8(&buffer[..length]).ok()
}

/// Fields 10 and 12 of proc_pid_stat(5), counted after the command's name, which may hold spaces.
fn parse_faults(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let minor = fields.nth(7)?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some((minor, major))
}

fn parse_switches(status: &str) -> Option<u64> {
    let voluntary: u64 = field(status, "voluntary_ctxt_switches", ':')?;
    let involuntary: u64 = field(status, "nonvoluntary_ctxt_switches", ':')?;
    Some(voluntary + involuntary)
}

fn parse_resident(status: &str) -> Resident {
    Resident { current: kibibytes(status, "VmRSS"), peak: kibibytes(status, "VmHWM") }
}

fn parse_pressure(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_ascii_whitespace().find_map(|part| part.strip_prefix("total="))?.parse().ok()
}

fn kibibytes(text: &str, name: &str) -> Option<Bytes> {
    let value = value_of(text, name, ':')?;
    let number: u64 = value.strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(Bytes(number * 1024))
}

fn field(text: &str, name: &str, separator: char) -> Option<u64> {
    value_of(text, name, separator)?.parse().ok()
}

fn value_of<'a>(text: &'a str, name: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(separator)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::{Resident, counters, parse_faults, parse_pressure, parse_resident, parse_switches, resident};
    use clipmark_profile::units::Bytes;

    #[test]
    fn faults_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "1234 (a b) c) S 1 2 3 4 5 4194304 777 0 9 0 10 20";
        assert_eq!(parse_faults(stat), Some((777, 9)));
    }

    #[test]
    fn a_cut_line_gives_nothing() {
        assert_eq!(parse_faults("1234 (x) S 1 2 3"), None);
        assert_eq!(parse_pressure("full avg10=0.00 total=5\n"), None);
        assert_eq!(parse_resident("VmRSS:\t garbage\n"), Resident::default());
    }

    #[test]
    fn status_lines_are_read_in_their_units() {
        let status = "VmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\nvoluntary_ctxt_switches:\t3\n\
                      nonvoluntary_ctxt_switches:\t4\n";
        let expected = Resident { current: Some(Bytes(1 << 20)), peak: Some(Bytes(2 << 20)) };
        assert_eq!(parse_resident(status), expected);
        assert_eq!(parse_switches(status), Some(7));
    }

    #[test]
    fn pressure_is_the_total_of_some() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull avg10=0.00 total=9\n";
        assert_eq!(parse_pressure(text), Some(123));
    }

    #[test]
    fn this_process_has_an_account() {
        assert!(counters().minor_faults.is_some_and(|faults| faults > 0));
        // The kernel sums the two from per-CPU counters of their own, so that neither bounds the other.
        let resident = resident();
        assert!(resident.peak.is_some_and(|peak| peak.0 > 0));
        assert!(resident.current.is_some_and(|current| current.0 > 0));
    }

    #[test]
    fn page_faults_are_the_pages_that_were_touched() {
        rustix::thread::disable_transparent_huge_pages(true).unwrap();
        let page = rustix::param::page_size();
        // Beyond the largest size that the allocator serves from memory it already has.
        let pages = (64 << 20) / page;
        let before = counters().minor_faults.unwrap();
        let mut fresh = vec![0_u8; pages * page];
        for touched in fresh.iter_mut().step_by(page) {
            *touched = 1;
        }
        let faults = counters().minor_faults.unwrap() - before;
        assert_eq!(fresh.iter().map(|&byte| usize::from(byte)).sum::<usize>(), pages);
        let pages = pages as u64;
        assert!((pages..pages + 64).contains(&faults), "{faults} faults for {pages} pages");
    }
}
