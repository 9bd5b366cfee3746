//! A device's name, where the configuration gives none: made from the machine id, which is itself never
//! published (machine-id(5) asks for that).

use crate::digest::hexadecimal;
use clipmark_profile::topics::DeviceId;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Why no name could be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "this machine has no usable machine id in {}; run systemd-machine-id-setup, or set device.id in the configuration",
    tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
)]
pub struct IdentityError {
    tried: Vec<PathBuf>,
}

/// The name that the machine below `root` has by default: `cm-` and 16 hexadecimal digits of the SHA-256 of
/// its machine id, prefixed so that no other program derives the same.
///
/// # Errors
/// When there is no machine id.
pub fn device_id_from(root: &Path) -> Result<DeviceId, IdentityError> {
    let tried: Vec<PathBuf> =
        ["etc/machine-id", "var/lib/dbus/machine-id"].iter().map(|path| root.join(path)).collect();
    let machine = tried.iter().filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| {
        let id = text.trim().to_owned();
        (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    });
    let Some(machine) = machine else { return Err(IdentityError { tried }) };
    let hash = Sha256::new().chain_update(b"clipmark device id 1:").chain_update(machine).finalize();
    format!("cm-{}", hexadecimal(&hash[..8])).parse().map_err(|_| IdentityError { tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_stable_different_per_machine_and_does_not_show_the_machine_id() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        let write = |id: &str| fs::write(root.path().join("etc/machine-id"), id).unwrap();
        write("0123456789abcdef0123456789abcdef\n");
        let first = device_id_from(root.path()).unwrap();
        assert_eq!(first.as_str().len(), 19);
        assert_eq!(first, device_id_from(root.path()).unwrap());
        assert!(!first.as_str().contains("0123"));
        write("fedcba9876543210fedcba9876543210\n");
        assert_ne!(first, device_id_from(root.path()).unwrap());
    }

    #[test]
    fn without_a_machine_id_the_error_says_what_to_set() {
        let root = tempfile::tempdir().unwrap();
        let error = device_id_from(root.path()).unwrap_err().to_string();
        assert!(error.contains("etc/machine-id") && error.contains("device.id"), "{error}");
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        assert!(device_id_from(root.path()).is_err());
    }
}
