//! Records as devices make them.

use clipmark_fleet::ingest::{Inbound, read};
use clipmark_fleet::store::Message;
use clipmark_profile::message::{Envelope, Epoch, EventKind, EventReport, Payload, SequenceRange};
use clipmark_profile::summary::Profile;
use clipmark_profile::topics::UpKind;
use clipmark_profile::{example, wire};

pub(crate) const CBOR: Option<&str> = Some("application/cbor");

/// An envelope of one part.
pub(crate) fn envelope(epoch: u64, sequence: u64, kind: UpKind, content: Vec<u8>) -> Envelope {
    Envelope {
        version: Envelope::VERSION,
        epoch: Epoch(epoch),
        sequence,
        kind,
        part: 0,
        parts: 1,
        command: Some(format!("c{sequence}").parse().unwrap()),
        spooled_unix_ms: 1_700_000_000_000,
        content,
        former: Vec::new(),
    }
}

/// A profile of one variant and 27 points.
pub(crate) fn profile(run: &str) -> Profile {
    let mut profile = example::profile_of_27_points();
    profile.run.id = run.into();
    profile
}

pub(crate) fn profile_envelope(epoch: u64, sequence: u64, profile: &Profile) -> Envelope {
    envelope(epoch, sequence, UpKind::Profile, wire::encode_profile(profile).unwrap())
}

/// What the aggregator makes of an envelope on the device's topic.
pub(crate) fn received(device: &str, envelope: &Envelope) -> Message {
    let topic = format!("clipmark/v1/d/{device}/up/{}", envelope.kind);
    match read(&topic, &envelope.to_bytes().unwrap(), CBOR) {
        Inbound::Store(message) => message,
        other => panic!("{other:?}"),
    }
}

/// What the aggregator makes of a device's profile.
pub(crate) fn record(device: &str, epoch: u64, sequence: u64) -> Message {
    let profile = profile(&format!("{device}-{epoch}-{sequence}"));
    received(device, &profile_envelope(epoch, sequence, &profile))
}

/// A device's word that records are lost.
pub(crate) fn lost(epoch: u64, sequence: u64, range: SequenceRange) -> Envelope {
    let event = EventReport {
        version: EventReport::VERSION,
        kind: EventKind::SpoolGap,
        at_unix_ms: 0,
        message: "damaged".into(),
        range: Some(range),
        attachment: Vec::new(),
    };
    envelope(epoch, sequence, UpKind::Event, event.to_bytes().unwrap())
}
