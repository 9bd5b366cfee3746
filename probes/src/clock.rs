//! Clocks of the CPU (cpufreq) and of units under devfreq, with their floors and caps, and unit loads.
//!
//! `scaling_cur_freq` is what was requested. `cpuinfo_cur_freq` is measured, costs about 500 us on the
//! measured CPU and rewrites the policy's own idea of its clock: it is a tier of its own that is off by
//! default. Over-current throttling shows in neither the requested nor the GPU's clock. Reading a GPU's
//! load holds it awake for the read; 0 there can mean that it was off.

use crate::absence::AbsenceCause;
use crate::board::{Board, Devfreq};
use crate::probe::{Discovery, Tier};
use crate::root::Root;
use crate::values::{Decode, Values};
use clipmark_profile::channel::{ChannelKind, Role};

const CPUS: &str = "/sys/devices/system/cpu";
const DEVFREQ: &str = "/sys/class/devfreq";
/// Policies beyond this many repeat what the first ones say.
const MAX_POLICIES: usize = 16;

/// Finds every clock and load.
pub(crate) fn discover(root: &Root, board: &Board, found: &mut Discovery) {
    cpu_clocks(root, found);
    let entries = devfreq_entries(root);
    let (mut fast, mut medium) = (Values::new(Tier::Fast), Values::new(Tier::Medium));
    for unit in &board.devfreq {
        let mut entry = entries.iter().filter(|(_, name)| unit.nodes.contains(name));
        match entry.next() {
            Some((dir, _)) => devfreq_clocks(root, board, unit, dir, &mut fast, &mut medium, found),
            None if unit.role == Role::GpuClock => {
                let note = board.notes.get("gpu").cloned().map(AbsenceCause::Board);
                let cause = note.unwrap_or(AbsenceCause::NoSource("no GPU under /sys/class/devfreq"));
                found.absence(ChannelKind::Clock, &unit.channel, cause.clone());
                found.absence(ChannelKind::Load, &unit.channel, cause);
            }
            None => {}
        }
    }
    fast.finish(found);
    medium.finish(found);
}

/// A cpufreq policy: CPUs that share a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Its directory.
    pub(crate) dir: String,
    /// Its first CPU that is online, else its first.
    pub(crate) cpu: u32,
    /// Whether any of its CPUs is online: the files of others answer EBUSY, `<unknown>` or with old values.
    pub(crate) is_online: bool,
}

/// cpufreq policies, each once: old kernels have one per CPU, without links.
pub(crate) fn policies(root: &Root) -> Vec<Policy> {
    let online = online_cpus(root);
    let mut found: Vec<Policy> = Vec::new();
    let named = |dir: &str, prefix: &str| {
        let names = root.list(dir).unwrap_or_default();
        let numbered = |name: &String| name.strip_prefix(prefix)?.parse::<u32>().ok();
        names.iter().filter_map(numbered).collect::<Vec<u32>>()
    };
    let policies = named(&format!("{CPUS}/cpufreq"), "policy");
    let policies = policies.iter().map(|number| (format!("{CPUS}/cpufreq/policy{number}"), *number));
    let per_cpu =
        named(CPUS, "cpu").into_iter().map(|number| (format!("{CPUS}/cpu{number}/cpufreq"), number));
    for (dir, number) in policies.chain(per_cpu) {
        let Ok(dir) = root.resolve(&dir) else { continue };
        if found.iter().all(|known| known.dir != dir) {
            found.push(policy(root, dir, number, online.as_deref()));
        }
    }
    found.sort_by_key(|policy| policy.cpu);
    found
}

fn policy(root: &Root, dir: String, number: u32, online: Option<&[u32]>) -> Policy {
    let listed = |file: &str| {
        let text = root.read_text(&format!("{dir}/{file}")).unwrap_or_default();
        text.split_whitespace().filter_map(|cpu| cpu.parse().ok()).collect::<Vec<u32>>()
    };
    let mut cpus = listed("affected_cpus");
    cpus.extend(listed("related_cpus"));
    cpus.push(number);
    let is_online = |cpu: u32| match online {
        Some(online) => online.contains(&cpu),
        None => root.read_text(&format!("{CPUS}/cpu{cpu}/online")).map_or(true, |text| text != "0"),
    };
    let first_online = cpus.iter().copied().find(|cpu| is_online(*cpu));
    Policy { dir, cpu: first_online.unwrap_or(cpus[0]), is_online: first_online.is_some() }
}

/// CPUs that are online, where the kernel lists them.
fn online_cpus(root: &Root) -> Option<Vec<u32>> {
    cpu_list(&root.read_text(&format!("{CPUS}/online")).ok()?)
}

/// CPUs of a list such as `0-3,6`; `None` for anything else.
pub(crate) fn cpu_list(list: &str) -> Option<Vec<u32>> {
    /// Most CPUs that Linux is built for.
    const MOST: u32 = 8192;
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

fn cpu_clocks(root: &Root, found: &mut Discovery) {
    let (mut medium, mut rare) = (Values::new(Tier::Medium), Values::new(Tier::Rare));
    let (policies, offline): (Vec<Policy>, Vec<Policy>) =
        policies(root).into_iter().partition(|policy| policy.is_online);
    if policies.is_empty() {
        let cause = "no cpufreq policy: the kernel does not control this CPU's clock";
        found.absence(ChannelKind::Clock, "cpu", AbsenceCause::NoSource(cause));
    }
    for policy in offline {
        let name = format!("cpu{}", policy.cpu);
        found.absence(ChannelKind::Clock, &name, AbsenceCause::CpuOffline(policy.cpu));
    }
    if policies.len() > MAX_POLICIES {
        found.notes.push(format!("{} cpufreq policies; the first {MAX_POLICIES} are read", policies.len()));
    }
    let kilohertz = Decode::Integer(1, 1);
    for Policy { dir, cpu, .. } in policies.into_iter().take(MAX_POLICIES) {
        let name = format!("cpu{cpu}");
        let clock = found.channel(ChannelKind::Clock, &name, Role::CpuClock);
        medium.add(root, found, clock, &format!("{dir}/scaling_cur_freq"), kilohertz);
        let floor = found.channel(ChannelKind::ClockFloor, &name, Role::Context);
        medium.add(root, found, floor, &format!("{dir}/scaling_min_freq"), kilohertz);
        let cap = found.channel(ChannelKind::ClockCap, &name, Role::Context);
        medium.add(root, found, cap, &format!("{dir}/scaling_max_freq"), kilohertz);
        let measured = found.channel(ChannelKind::Clock, &format!("{name}.measured"), Role::Context);
        let id = measured.id.clone();
        rare.add(root, found, measured, &format!("{dir}/cpuinfo_cur_freq"), kilohertz);
        rare.explain(&id, "measured by the hardware, where clock.cpuN is what was requested");
    }
    medium.finish(found);
    rare.finish(found);
}

/// devfreq devices as (directory, name): the device-tree node's name, else the device's own.
fn devfreq_entries(root: &Root) -> Vec<(String, String)> {
    let entries = root.list(DEVFREQ).unwrap_or_default();
    let named = entries.into_iter().map(|entry| {
        let dir = format!("{DEVFREQ}/{entry}");
        let node = root.read_text(&format!("{dir}/device/of_node/name")).ok();
        let own = entry.split_once('.').map_or(entry.as_str(), |(_, name)| name).to_owned();
        (dir, node.unwrap_or(own))
    });
    named.collect()
}

fn devfreq_clocks(
    root: &Root,
    board: &Board,
    unit: &Devfreq,
    dir: &str,
    fast: &mut Values,
    medium: &mut Values,
    found: &mut Discovery,
) {
    let kilohertz = Decode::Integer(1, 1000);
    let name = &unit.channel;
    let clock = found.channel(ChannelKind::Clock, name, unit.role);
    let id = clock.id.clone();
    fast.add(root, found, clock, &format!("{dir}/cur_freq"), kilohertz);
    if let Some(note) = board.notes.get("clock") {
        fast.explain(&id, note);
    }
    let floor = found.channel(ChannelKind::ClockFloor, name, Role::Context);
    medium.add(root, found, floor, &format!("{dir}/min_freq"), kilohertz);
    let cap = found.channel(ChannelKind::ClockCap, name, Role::Context);
    medium.add(root, found, cap, &format!("{dir}/max_freq"), kilohertz);
    if unit.role == Role::MemoryClock {
        return;
    }
    let mut paths = vec![format!("{dir}/device/load"), format!("{dir}/load")];
    paths.extend(unit.load.iter().cloned());
    match crate::values::first_readable(root, &paths) {
        Ok((path, text)) => {
            let decode = match text {
                text if text.contains('@') => Decode::PercentAt,
                text if text.contains('%') => Decode::MeanPercent,
                _ => Decode::Integer(1, 1),
            };
            let load = found.channel(ChannelKind::Load, name, Role::Context);
            fast.add(root, found, load, path, decode);
        }
        Err(cause) => {
            let note = board.notes.get("load").cloned().map(AbsenceCause::Board);
            found.absence(ChannelKind::Load, name, note.unwrap_or(cause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn root(text: &str) -> Root {
        Root::stored(Tree::parse(text).unwrap())
    }

    /// Each policy's CPU and whether it counts.
    fn online(text: &str) -> Vec<(u32, bool)> {
        policies(&root(text)).into_iter().map(|policy| (policy.cpu, policy.is_online)).collect()
    }

    const POLICY: &str = "/sys/devices/system/cpu/cpufreq/policy";

    #[test]
    fn policies_of_offline_cpus_do_not_count_however_the_kernel_shows_them() {
        let first = format!("{POLICY}0/affected_cpus\t0 1\n{POLICY}0/scaling_governor\tperformance\n");
        let listed = "/sys/devices/system/cpu/online\t0-1\n";
        let busy =
            format!("{first}{listed}{POLICY}2/affected_cpus\t!EBUSY\n{POLICY}2/scaling_governor\t!EBUSY\n");
        assert_eq!(online(&busy), [(0, true), (2, false)]);
        let unknown = format!("{first}{listed}{POLICY}2/affected_cpus\t\n{POLICY}2/related_cpus\t2 3\n");
        assert_eq!(online(&unknown), [(0, true), (2, false)]);
        let stale =
            format!("{first}{listed}{POLICY}2/affected_cpus\t2 3\n{POLICY}2/scaling_governor\tpowersave\n");
        assert_eq!(online(&stale), [(0, true), (2, false)]);
        let unlisted = format!("{first}{POLICY}2/affected_cpus\t2\n/sys/devices/system/cpu/cpu2/online\t0\n");
        assert_eq!(online(&unlisted), [(0, true), (2, false)]);
        let cluster = format!("{listed}{POLICY}0/affected_cpus\t1\n{POLICY}0/related_cpus\t0 1 2 3\n");
        assert_eq!(online(&cluster), [(1, true)], "a cluster that is partly online counts");
    }

    #[test]
    fn old_kernels_have_a_policy_below_each_cpu() {
        let cpu =
            |number: u32| format!("/sys/devices/system/cpu/cpu{number}/cpufreq/scaling_governor\tondemand\n");
        let text = format!("{}{}/sys/devices/system/cpu/online\t0\n", cpu(0), cpu(1));
        assert_eq!(online(&text), [(0, true), (1, false)]);
    }

    #[test]
    fn lists_of_cpus_are_read_and_nonsense_is_not() {
        for (list, expected) in [
            ("0", Some(vec![0])),
            ("0-2,5", Some(vec![0, 1, 2, 5])),
            ("", None),
            ("3-1", None),
            ("0-99999999", None),
            ("<unknown>", None),
        ] {
            assert_eq!(cpu_list(list), expected, "{list}");
        }
    }
}
