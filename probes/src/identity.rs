//! Who the board is: model, Jetson Linux release, operating system, CPU.

use crate::root::Root;

/// CPU cores by implementer and part number of the ID register (Arm's and NVIDIA's published numbers).
const ARM_CORES: [(u32, u32, &str); 11] = [
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd42, "Cortex-A78AE"),
    (0x41, 0xd83, "Neoverse-V3AE"),
    (0x41, 0xd0c, "Neoverse-N1"),
    (0x4e, 0x003, "NVIDIA Denver 2"),
    (0x4e, 0x004, "NVIDIA Carmel"),
];

/// DMI vendor and product as `VENDOR PRODUCT`, where the firmware gives them.
pub(crate) fn dmi(root: &Root) -> Option<String> {
    let (vendor, product) = if root.is_live() {
        let id = sysfs_class::DmiId::default();
        (id.sys_vendor().ok(), id.product_name().ok())
    } else {
        let read = |name: &str| root.read_text(&format!("/sys/class/dmi/id/{name}")).ok();
        (read("sys_vendor"), read("product_name"))
    };
    let parts = [vendor, product].into_iter().flatten();
    let parts: Vec<String> = parts.map(|part| part.trim().to_owned()).collect();
    let text = parts.join(" ").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The board's model from the device tree, else from what kept a copy of it, else from DMI.
pub(crate) fn model(root: &Root) -> Option<String> {
    let model = root.read_text("/proc/device-tree/model").ok().filter(|text| !text.is_empty());
    model.or_else(|| machine(root)).or_else(|| dmi(root))
}

/// The device tree's model as the SoC's driver or /proc/cpuinfo kept it: readable where the tree is hidden.
pub(crate) fn machine(root: &Root) -> Option<String> {
    let soc = root.read_text("/sys/devices/soc0/machine").ok();
    let cpuinfo = || {
        let text = root.read_text("/proc/cpuinfo").ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut model =
            lines.filter(|(key, _)| key.trim() == "Model").map(|(_, value)| value.trim().to_owned());
        model.next_back()
    };
    soc.filter(|text| !text.is_empty()).or_else(cpuinfo).filter(|text| !text.is_empty())
}

/// The family of the SoC, e.g. `Tegra`.
pub(crate) fn soc_family(root: &Root) -> Option<String> {
    let family = root.read_text("/sys/devices/soc0/family").ok().filter(|text| !text.is_empty());
    let is_tegra = || root.exists("/sys/module/tegra_fuse/parameters/tegra_chip_id");
    family.or_else(|| is_tegra().then(|| "Tegra".to_owned()))
}

/// The kind of container that this runs in, where one gives itself away.
pub(crate) fn container(root: &Root) -> Option<String> {
    let known = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
    let by_file = || known.iter().find(|(path, _)| root.exists(path)).map(|(_, kind)| (*kind).to_owned());
    root.read_text("/run/systemd/container").ok().filter(|kind| !kind.is_empty()).or_else(by_file)
}

/// The Jetson Linux release, e.g. `36.4.3`: from `# R36 (release), REVISION: 4.3, ...`.
pub(crate) fn l4t(root: &Root) -> Option<String> {
    let text = root.read_text("/etc/nv_tegra_release").ok()?;
    let major: String = text.split_once("# R")?.1.chars().take_while(char::is_ascii_digit).collect();
    let revision = text.split_once("REVISION:")?.1.split(',').next()?.trim();
    Some(format!("{major}.{revision}"))
}

/// The operating system's name for people.
pub(crate) fn os(root: &Root) -> Option<String> {
    let text = root.read_text("/etc/os-release").or_else(|_| root.read_text("/usr/lib/os-release")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

/// The CPU's model: its own name on x86, the kinds of cores on Arm.
pub(crate) fn cpu(root: &Root) -> Option<String> {
    let text = root.read_text("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        let matching = text.lines().filter_map(|line| line.split_once(':'));
        let matching = matching.filter(|(key, _)| key.trim() == name);
        matching.map(|(_, value)| value.trim().to_owned()).collect::<Vec<String>>()
    };
    if let Some(name) = field("model name").into_iter().find(|name| !name.is_empty()) {
        return Some(name);
    }
    let number = |text: &String| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let parts = field("CPU part");
    let implementers = field("CPU implementer");
    let mut cores: Vec<String> = Vec::new();
    for (implementer, part) in implementers.iter().zip(&parts) {
        let (implementer, part) = (number(implementer)?, number(part)?);
        let known = ARM_CORES.iter().find(|core| (core.0, core.1) == (implementer, part));
        let name = known.map_or_else(|| format!("Arm {implementer:#x}:{part:#x}"), |core| core.2.to_owned());
        if !cores.contains(&name) {
            cores.push(name);
        }
    }
    (!cores.is_empty()).then(|| cores.join(" + "))
}

#[cfg(test)]
mod tests {
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
}
