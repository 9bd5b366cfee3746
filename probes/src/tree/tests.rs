use super::*;
use proptest::prelude::*;

fn text_at(tree: &Tree, path: &str) -> Result<String, Errno> {
    let mut buffer = [0; 256];
    let length = tree.read(tree.open(path)?, &mut buffer)?;
    Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

fn at_ms(tree: &Tree, ms: u64, path: &str) -> Result<String, Errno> {
    tree.set_time(Nanos(ms * 1_000_000));
    text_at(tree, path)
}

#[test]
fn values_end_in_a_newline_unless_they_end_in_nul() {
    let tree = Tree::parse("# remark\n\n/a/b\t42\n/a/model\tJetson\\0\n").unwrap();
    assert_eq!(text_at(&tree, "/a/b").unwrap(), "42\n");
    assert_eq!(text_at(&tree, "/a/model").unwrap(), "Jetson\0");
}

#[test]
fn errors_are_returned_as_the_errno_they_name() {
    let tree = Tree::parse("/a/gated\t!EAGAIN\n/a/secret\t!EACCES\n").unwrap();
    assert!(tree.open("/a/gated").is_ok(), "opening a gated zone succeeds, reading fails");
    assert_eq!(text_at(&tree, "/a/gated"), Err(Errno::AGAIN));
    assert_eq!(tree.open("/a/secret"), Err(Errno::ACCESS));
    assert_eq!(text_at(&tree, "/a/none"), Err(Errno::NOENT));
    assert_eq!(text_at(&tree, "/a"), Err(Errno::ISDIR));
    assert_eq!(text_at(&tree, "/a/gated/x"), Err(Errno::NOTDIR));
}

#[test]
fn links_are_followed_and_loops_are_caught() {
    let tree = Tree::parse(
        "/sys/devices/i2c-1/hwmon/hwmon3/name\tina3221\n\
         /sys/class/hwmon/hwmon3\t@->../../devices/i2c-1/hwmon/hwmon3\n\
         /short\t@->/sys/class\n/loop\t@->/loop\n",
    )
    .unwrap();
    assert_eq!(text_at(&tree, "/short/hwmon/hwmon3/name").unwrap(), "ina3221\n");
    assert_eq!(tree.resolve("/sys/class/hwmon/hwmon3").unwrap(), "/sys/devices/i2c-1/hwmon/hwmon3");
    assert_eq!(tree.resolve("/loop"), Err(Errno::LOOP));
    assert_eq!(tree.list("/sys/class/hwmon").unwrap(), ["hwmon3"]);
    assert_eq!(tree.link_target("/short/hwmon/hwmon3").unwrap(), "../../devices/i2c-1/hwmon/hwmon3");
}

#[test]
fn an_overlay_replaces_and_removes() {
    let mut tree = Tree::parse("/a/x\t1\n/a/y\t2\n/b/c/d\t3\n").unwrap();
    tree.apply("/a/x\t!EAGAIN\n/b/c\t!ENOENT\n").unwrap();
    assert_eq!(text_at(&tree, "/a/x"), Err(Errno::AGAIN));
    assert_eq!(text_at(&tree, "/a/y").unwrap(), "2\n");
    assert_eq!(text_at(&tree, "/b/c/d"), Err(Errno::NOENT));
}

#[test]
fn a_series_holds_each_value_until_the_next() {
    let tree = Tree::parse("/t\t@series 0:5,2000:!EAGAIN,4000:a\\,b\n").unwrap();
    assert_eq!(at_ms(&tree, 0, "/t").unwrap(), "5\n");
    assert_eq!(at_ms(&tree, 1999, "/t").unwrap(), "5\n");
    assert_eq!(at_ms(&tree, 2000, "/t"), Err(Errno::AGAIN));
    assert_eq!(at_ms(&tree, 9000, "/t").unwrap(), "a,b\n");
    assert_eq!(tree.last_change(), Some(Nanos(4_000_000_000)));
}

#[test]
fn a_ramp_runs_straight_between_its_points_and_holds_at_its_ends() {
    let tree = Tree::parse("/t\t@ramp 1000:100,2000:-100\n").unwrap();
    for (ms, expected) in [(0, "100\n"), (1000, "100\n"), (1250, "50\n"), (1500, "0\n"), (9000, "-100\n")] {
        assert_eq!(at_ms(&tree, ms, "/t").unwrap(), expected, "at {ms} ms");
    }
}

#[test]
fn a_bad_line_is_named_with_its_number() {
    let cases = [
        ("/a\t1\nno tab", 2),
        ("relative\t1", 1),
        ("/a\t!NOSUCH", 1),
        ("/a\t@other", 1),
        ("/a\tx\\q", 1),
        ("/a\t@series 5:1,5:2", 1),
        ("/a\t@ramp 0:x", 1),
    ];
    for (text, line) in cases {
        assert_eq!(Tree::parse(text).unwrap_err().line, line, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_survive_the_text_form(bytes in proptest::collection::vec(any::<u8>(), 0..40), at in 1..9u64) {
        let mut tree = Tree::default();
        tree.insert_file("/d/plain", Content::Bytes(bytes.clone()));
        let steps = vec![(0, Content::Bytes(bytes)), (at, Content::Fails(Errno::AGAIN))];
        tree.insert_file("/d/series", Content::Series(steps));
        tree.insert_file("/d/ramp", Content::Ramp(vec![(0, -5), (at, 5)]));
        tree.insert_directory("/e");
        tree.insert_link("/f", "d/plain");
        let again = Tree::parse(&tree.to_text()).unwrap();
        prop_assert_eq!(again.to_text(), tree.to_text());
        for (path, node) in &tree.nodes {
            match (node, &again.nodes[path]) {
                (Node::File(one), Node::File(two)) => prop_assert_eq!(&tree.files[*one], &again.files[*two]),
                (one, two) => prop_assert_eq!(one, two),
            }
        }
    }
}
