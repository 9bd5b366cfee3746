use super::*;

#[test]
fn names_and_numbers_are_read_back() {
    for (text, errno) in NAMES {
        assert_eq!(name(errno), text);
        assert_eq!(from_name(text), Some(errno));
    }
    let rare = Errno::from_raw_os_error(95 + 20);
    assert_eq!(from_name(&name(rare)), Some(rare));
    assert_eq!(from_name("Enough"), None);
}
