//! Devices as the aggregator sees them: records up, receipts down.

use crate::client::Client;
use crate::records::{profile, profile_envelope};
use clipmark_profile::message::{Envelope, Payload, Receipt};
use rumqttc::v5::mqttbytes::v5::PublishProperties;

/// The filter for every receipt.
pub(crate) const RECEIPTS: &str = "clipmark/v1/d/+/receipt";

/// A device's profile as an envelope.
pub(crate) fn numbered(device: &str, epoch: u64, sequence: u64) -> Envelope {
    profile_envelope(epoch, sequence, &profile(&format!("{device}-{epoch}-{sequence}")))
}

/// Publishes an envelope as `device` would.
pub(crate) fn send(client: &Client, device: &str, envelope: &Envelope) {
    let topic = format!("clipmark/v1/d/{device}/up/{}", envelope.kind);
    publish(client, &topic, &envelope.to_bytes().unwrap());
}

/// Publishes bytes that claim to be CBOR.
pub(crate) fn publish(client: &Client, topic: &str, payload: &[u8]) {
    let properties =
        PublishProperties { content_type: Some("application/cbor".into()), ..PublishProperties::default() };
    client.publish(topic, payload, properties);
}

/// Waits for a receipt of an epoch that covers `sequence` without gaps.
pub(crate) fn confirmed(client: &mut Client, device: &str, epoch: u64, sequence: u64) -> Receipt {
    let topic = format!("clipmark/v1/d/{device}/receipt");
    client.wait(&format!("the receipt for {device} {epoch} {sequence}"), |seen| {
        let receipt = (seen.topic == topic).then(|| seen.read::<Receipt>())?;
        (receipt.epoch.0 == epoch && receipt.contiguous >= sequence).then_some(receipt)
    })
}
