use super::*;

#[test]
fn what_names_one_device_is_left_out() {
    let root = Root::stored(
        Tree::parse(
            "/proc/cpuinfo\tprocessor\\t: 0\\nSerial\\t\\t: 10000000abcdef01\\nmodel name : A\\n\\nprocessor\\t: 1\\n\n\
             /proc/device-tree/serial-number\t1423019041234\n\
             /sys/class/dmi/id/product_serial\tPF1234\n\
             /sys/class/dmi/id/product_uuid\t4c4c4544\n\
             /sys/class/net/eth0/address\t48:b0:2d:12:34:56\n\
             /sys/class/hwmon/hwmon0/name\tphy\n\
             /sys/class/hwmon/hwmon0/temp1_label\t48:b0:2d:12:34:56\n\
             /sys/class/hwmon/hwmon0/in1_crit_alarm\t1\n\
             /sys/class/hwmon/hwmon0/temp1_input\t5000\n",
        )
        .unwrap(),
    );
    let text = capture(&root).to_text();
    for secret in ["abcdef01", "1423019", "PF1234", "4c4c4544", "48:b0", "alarm"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    assert!(text.contains("model name : A") && text.contains("temp1_input\t5000"), "{text}");
}

#[test]
fn attributes_are_taken_by_pattern() {
    for (pattern, name, expected) in [
        ("pwm?", "pwm1", true),
        ("pwm?", "pwm1_enable", false),
        ("pwm??", "pwm12", true),
        ("in*_input", "in1_input", true),
        ("curr*_crit", "curr1_crit_alarm", false),
        ("*_label", "in1_label", true),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}
