//! From a message to what is stored of it. Pure.

use crate::store::{Content, Message, Poison, Record};
use clipmark_profile::message::{CommandStatus, DeviceInfo, DeviceState, Envelope, Payload, Place, Progress};
use clipmark_profile::topics::{CommandLeaf, DeviceId, DeviceTopic, Topic, UpKind};
use std::error::Error;

/// What a message is to the aggregator.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// To be stored.
    Store(Message),
    /// How far a run is: shown, not stored.
    Progress(DeviceId, Progress),
    /// A retained message was removed, or nothing that an aggregator is concerned with.
    Nothing,
}

/// The greatest number that every database holds.
const MOST: u64 = i64::MAX as u64;

/// Understands a message. What cannot be understood becomes a [`Poison`] with the reason.
#[must_use]
pub fn read(topic: &str, payload: &[u8], content_type: Option<&str>) -> Inbound {
    read_as(topic, payload, content_type, true)
}

/// As [`read`]; unless `is_eager`, profiles and series are left to be read later.
pub(super) fn read_as(topic: &str, payload: &[u8], content_type: Option<&str>, is_eager: bool) -> Inbound {
    understood(topic, payload, content_type, is_eager).unwrap_or_else(|reason| {
        Inbound::Store(Message::Poison(Poison::new(topic, &reason, content_type, payload)))
    })
}

fn told(error: impl Error) -> String {
    error.to_string()
}

fn understood(
    topic: &str,
    payload: &[u8],
    content_type: Option<&str>,
    is_eager: bool,
) -> Result<Inbound, String> {
    let Topic::Device { device, about } = topic.parse::<Topic>().map_err(told)? else {
        return Ok(Inbound::Nothing);
    };
    if payload.is_empty() && !matches!(about, DeviceTopic::Up(_)) {
        return Ok(Inbound::Nothing);
    }
    let message = match about {
        DeviceTopic::Up(kind) => Message::Record(record(device, kind, payload, content_type, is_eager)?),
        DeviceTopic::State => {
            Message::State(device, DeviceState::from_bytes(payload, content_type).map_err(told)?)
        }
        DeviceTopic::Info => {
            let info = DeviceInfo::from_bytes(payload, content_type).map_err(told)?;
            if info.device != device {
                return Err(format!("it speaks of the device {}, on the topic of {device}", info.device));
            }
            Message::Info(Box::new(info))
        }
        DeviceTopic::Command { command, leaf: CommandLeaf::Status, .. } => {
            let status = CommandStatus::from_bytes(payload, content_type).map_err(told)?;
            if status.command != command {
                return Err(format!(
                    "it speaks of the command {}, on the topic of {command}",
                    status.command
                ));
            }
            Message::Status(device, Box::new(status))
        }
        DeviceTopic::Progress => {
            let progress = Progress::from_bytes(payload, content_type).map_err(told)?;
            return Ok(Inbound::Progress(device, progress));
        }
        _ => return Ok(Inbound::Nothing),
    };
    Ok(Inbound::Store(message))
}

fn record(
    device: DeviceId,
    kind: UpKind,
    payload: &[u8],
    content_type: Option<&str>,
    is_eager: bool,
) -> Result<Record, String> {
    // A bridge may have dropped the content type, and no device writes envelopes as JSON.
    let content_type = content_type.or(Some("application/cbor"));
    let envelope = Envelope::from_bytes(payload, content_type).map_err(told)?;
    if envelope.version != Envelope::VERSION {
        let (found, known) = (envelope.version, Envelope::VERSION);
        return Err(format!("its envelope has version {found} and this program knows {known}; update it"));
    }
    if envelope.kind != kind {
        return Err(format!("it holds a {}, on the topic of a {kind}", envelope.kind));
    }
    let Envelope { epoch, sequence, part, parts, .. } = envelope;
    let in_range = (1..=MOST).contains(&sequence) && epoch.0 <= MOST && envelope.spooled_unix_ms <= MOST;
    let makes_sense = (1..=Envelope::MAX_PARTS).contains(&parts) && part < parts && sequence > part.into();
    if !in_range || !makes_sense {
        return Err(format!("sequence {sequence}, part {part} of {parts} makes no sense"));
    }
    let is_former = |place: &Place| place.epoch != epoch && place.epoch.0 <= MOST && place.sequence <= MOST;
    if envelope.former.len() > Envelope::MAX_FORMER || !envelope.former.iter().all(is_former) {
        return Err(format!(
            "the {} former places of record {sequence} make no sense",
            envelope.former.len()
        ));
    }
    let is_read = parts == 1 && (is_eager || kind == UpKind::Event);
    let content = is_read.then(|| Content::read(kind, &envelope.content));
    let digest = envelope.digest();
    let Envelope { command, spooled_unix_ms, content: bytes, former, .. } = envelope;
    Ok(Record {
        device,
        epoch,
        sequence,
        kind,
        part,
        parts,
        command,
        spooled_unix_ms,
        bytes,
        content,
        digest,
        former,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::message::Epoch;
    use clipmark_profile::{example, wire};
    use proptest::prelude::*;

    const UP: &str = "clipmark/v1/d/orin/up/profile";

    fn envelope() -> Envelope {
        Envelope {
            version: Envelope::VERSION,
            epoch: Epoch(7),
            sequence: 3,
            kind: UpKind::Profile,
            part: 0,
            parts: 1,
            command: None,
            spooled_unix_ms: 0,
            content: wire::encode_profile(&example::profile()).unwrap(),
            former: Vec::new(),
        }
    }

    fn reason(topic: &str, envelope: &Envelope) -> String {
        match read(topic, &envelope.to_bytes().unwrap(), None) {
            Inbound::Store(Message::Poison(poison)) => poison.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_profile_becomes_a_record_with_its_rows() {
        let payload = envelope().to_bytes().unwrap();
        let Inbound::Store(Message::Record(record)) = read(UP, &payload, Some("application/cbor")) else {
            panic!("not a record");
        };
        assert!(matches!(record.content, Some(Content::Profile(_))));
        assert_eq!((record.device.as_str(), record.sequence), ("orin", 3));
    }

    #[test]
    fn a_content_that_cannot_be_read_keeps_its_place_in_the_spool() {
        let payload = Envelope { content: vec![1, 2, 3], ..envelope() }.to_bytes().unwrap();
        let Inbound::Store(Message::Record(record)) = read(UP, &payload, None) else {
            panic!("not a record")
        };
        assert!(matches!(record.content, Some(Content::Unreadable { .. })), "{record:?}");
    }

    #[test]
    fn an_envelope_that_makes_no_sense_is_set_aside_with_the_reason() {
        assert!(reason(UP, &Envelope { version: 9, ..envelope() }).contains("version 9"));
        assert!(reason("clipmark/v1/d/orin/up/series", &envelope()).contains("topic of a series"));
        assert!(reason(UP, &Envelope { part: 1, ..envelope() }).contains("part 1 of 1"));
        assert!(reason(UP, &Envelope { sequence: 0, ..envelope() }).contains("sequence 0"));
        assert!(reason(UP, &Envelope { sequence: u64::MAX, ..envelope() }).contains("makes no sense"));
    }

    #[test]
    fn a_removed_retained_message_is_nothing() {
        assert_eq!(read("clipmark/v1/d/orin/state", b"", None), Inbound::Nothing);
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_set_aside(
            topic in "clipmark/v1/d/a/(up/(profile|series|event)|state|info|progress|cmd/run/c/status)",
            payload in prop::collection::vec(any::<u8>(), 0..200),
            content_type in prop::option::of("application/(json|cbor|xml)"),
        ) {
            let _ = read(&topic, &payload, content_type.as_deref());
        }
    }
}
