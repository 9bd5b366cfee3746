//! Sets of CPUs, written as the kernel writes them, and the affinity of this process.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::str::FromStr;

/// Beyond the kernel's own bound of a fixed-size set.
const HIGHEST: usize = CpuSet::MAX_CPU - 1;

/// A text that names no CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no list of CPUs; write for example 2-5 or 0,4-5, up to {HIGHEST}")]
pub struct CpuListError {
    text: String,
}

/// CPUs by number, e.g. `0,2-5`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuList(BTreeSet<usize>);

impl CpuList {
    /// Those that `other` lacks.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn to_set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        for &cpu in &self.0 {
            set.set(cpu);
        }
        set
    }

    /// Binds the calling thread, and the threads and processes that it starts from now on.
    ///
    /// # Errors
    /// The kernel's, when none of the CPUs can be used.
    pub fn confine_this_thread(&self) -> io::Result<()> {
        Ok(sched_setaffinity(None, &self.to_set())?)
    }
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let wrong = || CpuListError { text: text.to_owned() };
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&cpu| cpu <= HIGHEST);
            let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
            if first > last {
                return Err(wrong());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &cpu in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        for (index, (first, last)) in runs.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuList {
    type Error = CpuListError;

    fn try_from(text: String) -> Result<Self, CpuListError> {
        text.parse()
    }
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> Self {
        list.to_string()
    }
}

/// The CPUs that this process may use.
///
/// # Errors
/// The kernel's.
pub fn allowed() -> io::Result<CpuList> {
    let set = sched_getaffinity(None)?;
    Ok(CpuList((0..=HIGHEST).filter(|&cpu| set.is_set(cpu)).collect()))
}

/// Binds every thread of this process, and with them whatever they start from now on.
///
/// # Errors
/// The kernel's. A thread that ends meanwhile is none.
pub fn confine_this_process(cpus: &CpuList) -> io::Result<()> {
    let set = cpus.to_set();
    for task in std::fs::read_dir("/proc/self/task")? {
        let thread = task?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        match sched_setaffinity(thread, &set) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_writes_them() {
        for (text, written) in [("0", "0"), ("2-5", "2-5"), ("5,2-4,0", "0,2-5"), (" 1 , 3 - 4", "1,3-4")] {
            assert_eq!(text.parse::<CpuList>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_list_is_quoted() {
        for text in ["", "a", "3-1", "1-", "-1", "1,,2", "99999", "1;2"] {
            let error = text.parse::<CpuList>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_bound_thread_runs_where_it_was_bound() {
        let before = allowed().unwrap();
        let first: CpuList = before.to_string().split(['-', ',']).next().unwrap().parse().unwrap();
        let bound = std::thread::spawn({
            let first = first.clone();
            move || first.confine_this_thread().map(|()| allowed())
        });
        assert_eq!(bound.join().unwrap().unwrap().unwrap(), first);
        assert_eq!(allowed().unwrap(), before, "another thread is left alone");
    }
}
