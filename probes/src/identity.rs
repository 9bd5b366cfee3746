//! Who the board is: model, SoC, Jetson Linux release, operating system, CPU.

use crate::root::Root;

/// DMI vendor and product as `VENDOR PRODUCT`, where the firmware gives them.
pub(crate) fn dmi(root: &Root) -> Option<String> {
    let (vendor, product) = if root.is_live() {
        let id = sysfs_class::DmiId::default();
        (id.sys_vendor().ok(), id.product_name().ok())
    } else {
        let read = |name: &str| root.read_text(&format!("/sys/class/dmi/id/{name}")).ok();
        (read("sys_vendor"), read("product_name"))
    };
    let parts: Vec<String> =
        [vendor, product].into_iter().flatten().map(|part| part.trim().to_owned()).collect();
    let text = parts.join(" ").trim().to_owned();
    (!text.is_empty()).then_some(text)
}
