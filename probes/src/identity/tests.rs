use super::*;
use crate::tree::Tree;

fn root(text: &str) -> Root {
    Root::stored(Tree::parse(text).unwrap())
}

#[test]
fn releases_and_cores_are_named() {
    let jetson = root(
        "/etc/nv_tegra_release\t# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n\
         /proc/device-tree/model\tNVIDIA Jetson AGX Orin\\0\n\
         /etc/os-release\tNAME=\"Ubuntu\"\\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\\n\n\
         /proc/cpuinfo\tprocessor\\t: 0\\nCPU implementer\\t: 0x41\\nCPU part\\t: 0xd42\\n\\nprocessor\\t: 1\\nCPU implementer\\t: 0x41\\nCPU part\\t: 0xd42\\n\n",
    );
    assert_eq!(l4t(&jetson).as_deref(), Some("36.4.3"));
    assert_eq!(model(&jetson).as_deref(), Some("NVIDIA Jetson AGX Orin"));
    assert_eq!(os(&jetson).as_deref(), Some("Ubuntu 22.04.5 LTS"));
    assert_eq!(cpu(&jetson).as_deref(), Some("Cortex-A78AE"));
}

#[test]
fn a_pc_is_named_by_its_firmware() {
    let pc = root(
        "/sys/class/dmi/id/sys_vendor\tLENOVO\n/sys/class/dmi/id/product_name\t20L5\n\
         /proc/cpuinfo\tvendor_id\\t: GenuineIntel\\nmodel name\\t: Core i7\\n\n",
    );
    assert_eq!(model(&pc).as_deref(), Some("LENOVO 20L5"));
    assert_eq!(cpu(&pc).as_deref(), Some("Core i7"));
    assert_eq!(l4t(&pc), None);
}
