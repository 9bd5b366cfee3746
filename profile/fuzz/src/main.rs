//! One fuzz target per decoder that meets bytes from outside; `CLIPMARK_FUZZ_TARGET` names the one to run.
//!
//! A decoder may refuse anything. It may not panic, overflow, read past an end or allocate without bound, and what
//! it accepts must encode again. profile/fuzz/run.sh builds, feeds and counts; the decoders of the daemon's own files are
//! covered by daemon/examples/fuzz.

#![no_main]

use clipmark_probes::series_file;
use clipmark_probes::tree::Tree;
use clipmark_profile::message::{
    CommandStatus, ConfigDesired, ConfigReported, DeviceInfo, DeviceState, Envelope, EventReport, NoArguments,
    Payload, Progress, Receipt, read_request,
};
use clipmark_profile::plan::{Limits, Request};
use clipmark_profile::stats::histogram::Histogram;
use clipmark_profile::topics::Topic;
use clipmark_profile::wire;
use std::sync::OnceLock;

type Target = fn(&[u8]);

const CBOR: Option<&str> = Some("application/cbor");

const TARGETS: [(&str, Target); 13] = [
    ("topic", topic),
    ("request-json", |bytes| request(bytes, None)),
    ("request-cbor", |bytes| request(bytes, CBOR)),
    ("messages-json", |bytes| messages(bytes, None)),
    ("messages-cbor", |bytes| messages(bytes, CBOR)),
    ("envelope", |bytes| message::<Envelope>(bytes, CBOR)),
    ("event", |bytes| message::<EventReport>(bytes, CBOR)),
    ("profile", profile),
    ("series", series),
    ("histogram", histogram),
    ("plan-toml", plan),
    ("capture", capture),
    ("sensor-series", sensor_series),
];

fn topic(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text, "a topic has one spelling");
    }
}

fn message<T: Payload>(bytes: &[u8], content_type: Option<&str>) {
    if let Ok(message) = T::from_bytes(bytes, content_type) {
        // Written out it may be longer than what it was read from, and then beyond the limit.
        let _ = message.to_bytes();
    }
}

fn request(bytes: &[u8], content_type: Option<&str>) {
    let Ok(request) = read_request::<Request>(bytes, content_type) else { return };
    if request.validate(&Limits::default()).is_ok() {
        let _ = request.deadline();
        assert!(!request.clip_lengths.is_empty() && !request.batch_sizes.is_empty());
    }
}

fn messages(bytes: &[u8], content_type: Option<&str>) {
    message::<NoArguments>(bytes, content_type);
    message::<CommandStatus>(bytes, content_type);
    message::<DeviceState>(bytes, content_type);
    message::<DeviceInfo>(bytes, content_type);
    message::<Progress>(bytes, content_type);
    message::<Receipt>(bytes, content_type);
    message::<ConfigDesired>(bytes, content_type);
    message::<ConfigReported>(bytes, content_type);
}

fn profile(bytes: &[u8]) {
    if let Ok(profile) = wire::decode_profile(bytes) {
        let _ = wire::encode_profile(&profile);
    }
}

fn series(bytes: &[u8]) {
    // Not written again: compressing takes a thousand times as long as refusing.
    let _ = wire::decode_series(bytes);
}

fn histogram(bytes: &[u8]) {
    if let Ok(histogram) = Histogram::from_bytes(bytes) {
        let again = Histogram::from_bytes(&histogram.to_bytes());
        assert_eq!(again.ok().as_ref(), Some(&histogram), "what is written is read back");
    }
}

fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(request) = toml::from_str::<Request>(text) {
        let _ = request.validate(&Limits::default());
    }
}

fn capture(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tree) = Tree::parse(text) {
        assert!(Tree::parse(&tree.to_text()).is_ok(), "what is written is read back");
    }
}

fn sensor_series(bytes: &[u8]) {
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    let path =
        PATH.get_or_init(|| std::env::temp_dir().join(format!("clipmark-fuzz-{}", std::process::id())));
    std::fs::write(path, bytes).expect("the temporary folder can be written");
    let _ = series_file::read(path);
}

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("CLIPMARK_FUZZ_TARGET").expect("CLIPMARK_FUZZ_TARGET names a target");
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no target {name}; there are {:?}", TARGETS.map(|(name, _)| name))).1
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    chosen()(bytes);
});
