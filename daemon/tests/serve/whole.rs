//! Results of every kind and size of a device.

use crate::client::Client;
use crate::daemon::DEVICE;
use clipmark_profile::message::{CommandState, CommandStatus, Envelope, EventKind, EventReport, Payload};
use clipmark_profile::topics::UpKind;
use clipmark_profile::wire::decode_profile;
use std::collections::BTreeMap;

const RUN: &str =
    r#"{"models":["temporal"],"backends":["tract"],"clip_lengths":[8,16],"batch_sizes":[1],"iterations":30}"#;

/// The content of a command's records of one kind, once all of its parts have come under one first sequence.
pub(crate) fn content(client: &mut Client, kind: UpKind, id: &str) -> Vec<u8> {
    let mut contents: BTreeMap<u64, BTreeMap<u16, Envelope>> = BTreeMap::new();
    let part = format!("/up/{kind}");
    client.wait(&format!("all parts of {id}"), |seen| {
        let envelope = seen.topic.ends_with(&part).then(|| seen.read::<Envelope>())?;
        if envelope.command.as_ref().map(|command| command.as_str()) != Some(id) {
            return None;
        }
        let parts = contents.entry(envelope.first_sequence()).or_default();
        parts.insert(envelope.part, envelope.clone());
        let is_whole = parts.len() == usize::from(envelope.parts);
        is_whole.then(|| parts.values().flat_map(|part| part.content.clone()).collect())
    })
}

/// A capture, which is large, and the run behind it both come up whole, and so does a result within a status or a word
/// in its place.
pub(crate) fn everything_comes_up(client: &mut Client) -> CommandStatus {
    client.online();
    client.request(DEVICE, "capture", "large", "");
    assert_eq!(client.final_status("large").state, CommandState::Successful);
    client.request(DEVICE, "run", "behind", RUN);
    assert_eq!(client.final_status("behind").state, CommandState::Successful);
    let event =
        EventReport::from_bytes(&content(client, UpKind::Event, "large"), Some("application/cbor")).unwrap();
    assert_eq!(event.kind, EventKind::Capture);
    assert!(String::from_utf8(event.attachment).unwrap().contains("/proc/meminfo"));
    let profile = decode_profile(&content(client, UpKind::Profile, "behind")).unwrap();
    assert_eq!(profile.points.len(), 2);
    client.request(DEVICE, "probe", "wordy", "");
    client.final_status("wordy")
}
