//! The published schemas hold for what is really encoded.

use crate::component::trials;
use crate::python;
use crate::vectors::{message, path};
use clipmark_profile::example;
use clipmark_profile::message::{
    CommandState, CommandStatus, DeviceState, Envelope, Epoch, EventKind, EventReport, Payload, Place,
    Receipt, RecordDigest, StoredRecord,
};
use clipmark_profile::plan::Request;
use clipmark_profile::topics::UpKind;
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

const SCRIPT: &str = include_str!("schema.py");
const MODULES: &str = "cbor2, pycddl";

pub(crate) fn trials() -> Vec<Trial> {
    trials![&[python::component(MODULES)];
        golden_profiles_and_series_fit_their_schemas,
        golden_messages_fit_their_schema,
        messages_without_anything_optional_fit_the_schema_too,
    ]
}

fn schema(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

/// Holds each message against a rule and returns how many keys each had.
fn validated(schema_file: &str, messages: &[(&str, PathBuf)]) -> Vec<String> {
    let python = python::with(MODULES);
    let schema = schema(schema_file);
    let mut arguments = vec![schema.as_path()];
    arguments.extend(messages.iter().flat_map(|(rule, message)| [Path::new(*rule), message.as_path()]));
    python::run(&python, SCRIPT, &arguments).lines().map(str::to_owned).collect()
}

fn golden_profiles_and_series_fit_their_schemas() {
    let names = ["v1-profile.cbor", "v1-profile-27-points.cbor", "v1-profile-drifted.cbor"];
    let profiles = names.map(|name| ("profile", path(name)));
    assert_eq!(validated("profile.cddl", &profiles), ["profile 17", "profile 17", "profile 18"]);
    assert_eq!(validated("series.cddl", &[("series", path("v1-series.cbor"))]), ["series 13"]);
}

fn golden_messages_fit_their_schema() {
    // Packed requests are read, and written by this program alone: the schema has the keys' names.
    let published = example::messages().into_iter().filter(|sample| sample.rule != "request-packed");
    let messages: Vec<_> = published.map(|sample| (sample.rule, path(&message(&sample)))).collect();
    assert_eq!(validated("messages.cddl", &messages).len(), messages.len());
}

fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn messages_without_anything_optional_fit_the_schema_too() {
    let state = br#"{"state":"offline","connection":0,"since_unix_ms":0}"#;
    let state = DeviceState::from_bytes(state, None).unwrap();
    let status = br#"{"command":"c","operation":"probe","state":"init","at_unix_ms":0}"#;
    let status = CommandStatus::from_bytes(status, None).unwrap();
    assert_eq!(status.state, CommandState::Init);
    let receipt = Receipt::new(Epoch(0), 0, Vec::new());
    let event = EventReport {
        version: EventReport::VERSION,
        kind: EventKind::Capture,
        at_unix_ms: 0,
        message: String::new(),
        range: None,
        attachment: vec![1],
    };
    let envelope = Envelope {
        version: Envelope::VERSION,
        epoch: Epoch(0),
        sequence: 1,
        kind: UpKind::Profile,
        part: 0,
        parts: 1,
        command: None,
        spooled_unix_ms: 0,
        content: vec![0; Envelope::MAX_PART],
        former: Vec::new(),
    };
    let moved = Envelope {
        content: Vec::new(),
        former: vec![Place { epoch: Epoch(7), sequence: 3 }, Place { epoch: Epoch(8), sequence: 1 }],
        ..envelope.clone()
    };
    let conflicting = Receipt {
        stored: Some(StoredRecord { sequence: 4, digest: RecordDigest(1) }),
        conflict: Some(5),
        ..Receipt::new(Epoch(0), 4, Vec::new())
    };
    let messages = [
        ("receipt", put("receipt-conflict.json", &conflicting.to_bytes().unwrap())),
        ("envelope", put("envelope-moved.cbor", &moved.to_bytes().unwrap())),
        ("request", put("request.json", &Request::default().to_bytes().unwrap())),
        ("state", put("state.json", &state.to_bytes().unwrap())),
        ("status", put("status.json", &status.to_bytes().unwrap())),
        ("receipt", put("receipt.json", &receipt.to_bytes().unwrap())),
        ("event", put("event.cbor", &event.to_bytes().unwrap())),
        ("envelope", put("envelope.cbor", &envelope.to_bytes().unwrap())),
    ];
    assert_eq!(validated("messages.cddl", &messages).len(), messages.len());
}
