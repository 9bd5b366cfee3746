use crate::board::{Boards, Fingerprint, any_match};

#[test]
fn whatever_is_no_fan_or_alarm_slows_something_down() {
    let board = Boards::embedded().unwrap().find(&Fingerprint::default());
    let slowing = [
        "idle-cpu4",
        "thermal-idle-0",
        "cpufreq-cpu0",
        "thermal-cpufreq-0",
        "thermal-devfreq-1",
        "heavy",
        "light",
        "devfreq-17000000.gpu",
        "gpu-throttle-alert",
        "CPU-throttle-alert",
        "gpu-balanced",
        "Processor",
        "intel_powerclamp",
        "ddr",
        "cpu-isolate0",
        "pause-cpu3",
    ];
    for name in slowing {
        assert!(!any_match(&board.harmless, name), "{name}");
    }
    for name in
        ["pwm-fan", "Fan", "gpio-fan", "hot-surface-alert", "TCC Offset", "acpi_fan", "TFN1", "iwlwifi_1"]
    {
        assert!(any_match(&board.harmless, name), "{name}");
    }
}
