use super::*;
use std::os::unix::fs::symlink;

fn sample_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let device = dir.path().join("sys/devices/1-0040/hwmon/hwmon3");
    std::fs::create_dir_all(&device).unwrap();
    std::fs::create_dir_all(dir.path().join("sys/class/hwmon")).unwrap();
    std::fs::write(device.join("in1_input"), "5016\n").unwrap();
    symlink("../../devices/1-0040/hwmon/hwmon3", dir.path().join("sys/class/hwmon/hwmon3")).unwrap();
    symlink("/sys/devices", dir.path().join("devices")).unwrap();
    dir
}

#[test]
fn a_directory_is_read_with_its_own_slash() {
    let dir = sample_directory();
    let root = Root::open(dir.path()).unwrap();
    assert!(!root.is_live());
    assert_eq!(root.read_number("/sys/class/hwmon/hwmon3/in1_input").unwrap(), 5016);
    assert_eq!(root.read_number("/devices/1-0040/hwmon/hwmon3/in1_input").unwrap(), 5016);
    assert_eq!(root.resolve("/sys/class/hwmon/hwmon3").unwrap(), "/sys/devices/1-0040/hwmon/hwmon3");
    assert_eq!(root.link_target("/devices").unwrap(), "/sys/devices");
    assert_eq!(root.read_number("/proc/version").unwrap_err().errno(), Some(Errno::NOENT));
}

#[test]
fn a_capture_file_and_the_live_system_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board.txt");
    std::fs::write(&file, "/sys/x\t7\n").unwrap();
    assert_eq!(Root::open(&file).unwrap().read_number("/sys/x").unwrap(), 7);
    assert!(Root::open(Path::new("/")).unwrap().is_live());
    std::fs::write(&file, "not a capture\n").unwrap();
    assert!(matches!(Root::open(&file), Err(RootError::Format { .. })));
    assert!(matches!(Root::open(&dir.path().join("none")), Err(RootError::Open { .. })));
}

#[test]
fn errors_carry_the_path_the_errno_and_a_hint() {
    let tree = Tree::parse("/sys/kernel/debug/emc\t!EACCES\n/sys/x\tabc\n").unwrap();
    let root = Root::stored(tree);
    let message = root.read_text("/sys/kernel/debug/emc").unwrap_err().to_string();
    assert!(message.contains("/sys/kernel/debug/emc") && message.contains("EACCES"), "{message}");
    assert!(message.contains("CAP_DAC_READ_SEARCH"), "{message}");
    let message = root.read_number("/sys/x").unwrap_err().to_string();
    assert!(message.contains("`abc`"), "{message}");
}

#[test]
fn names_are_listed_in_numerical_order() {
    let mut tree = Tree::default();
    for number in [10, 2, 0, 1] {
        tree.insert_directory(&format!("/sys/class/thermal/cooling_device{number}"));
    }
    let names = Root::stored(tree).list("/sys/class/thermal").unwrap();
    assert_eq!(names, ["cooling_device0", "cooling_device1", "cooling_device2", "cooling_device10"]);
}

#[test]
fn a_handle_reads_the_present_value_and_follows_a_renumbered_driver() {
    let dir = sample_directory();
    let root = Root::open(dir.path()).unwrap();
    let path = "/sys/devices/1-0040/hwmon/hwmon3/in1_input";
    let mut handle = root.open_value(path).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(handle.read(&mut buffer), Ok(5));
    std::fs::write(dir.path().join(&path[1..]), "40\n").unwrap();
    assert_eq!(handle.read(&mut buffer), Ok(3));
    assert_eq!(&buffer[..3], b"40\n");

    let parent = dir.path().join("sys/devices/1-0040/hwmon");
    std::fs::rename(parent.join("hwmon3"), parent.join("hwmon7")).unwrap();
    handle.file = handle.reopen().unwrap();
    assert_eq!(handle.path(), "/sys/devices/1-0040/hwmon/hwmon7/in1_input");
    assert_eq!(handle.read(&mut buffer), Ok(3));
}
