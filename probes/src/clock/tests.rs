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
