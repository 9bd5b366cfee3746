use super::*;
use crate::board::{Boards, Fingerprint};
use crate::tree::Tree;

fn environment(text: &str) -> Environment {
    let root = Root::stored(Tree::parse(text).unwrap());
    let board = Boards::embedded().unwrap().find(&Fingerprint::read(&root));
    read(&root, &board, "1.2.3")
}

fn warned(environment: &Environment, word: &str) -> bool {
    environment.warnings.iter().any(|warning| warning.contains(word))
}

#[test]
fn a_loaded_virtual_machine_with_swap_is_warned_about() {
    let found = environment(
        "/proc/loadavg\t1.25 1 1 1/1 1\n\
         /proc/meminfo\tMemTotal: 1000 kB\\nMemAvailable: 500 kB\\nSwapTotal: 7 kB\\n\n\
         /proc/cpuinfo\tvendor_id : GenuineIntel\\nmodel name : x\\nflags\\t\\t: fpu hypervisor\\n\n\
         /sys/devices/system/cpu/online\t0-3,6\n",
    );
    assert_eq!(found.load_centi, Some(125));
    assert_eq!(found.memory_available, Some(Bytes(512_000)));
    assert_eq!(found.cpus_online, Some(5));
    assert_eq!(found.board_id.as_deref(), Some("x86"));
    for word in ["load average", "swap", "virtual machine"] {
        assert!(warned(&found, word), "{word}: {:?}", found.warnings);
    }
    assert!(found.absent.iter().any(|(name, _)| name == "governor"));
}

#[test]
fn clocks_that_are_held_need_no_other_governor() {
    let policy = |floor: u32| {
        environment(&format!(
            "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor\tschedutil\n\
             /sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq\t{floor}\n\
             /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq\t1728000\n",
        ))
    };
    assert!(!warned(&policy(1_728_000), "governor"));
    assert!(warned(&policy(729_600), "governor is schedutil"));
}
