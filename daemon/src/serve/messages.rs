//! The messages that the daemon publishes, as topic, payload and properties.

use super::server::effective_limits;
use crate::config::Config;
use crate::mqtt::Message;
use crate::operation::Description;
use crate::session::{QueuedCommand, ReplyTo};
use clipmark_profile::codec::CodecError;
use clipmark_profile::message::{
    ConfigReported, DeviceInfo, DeviceState, Epoch, Payload, Progress, RemoteSettings,
};
use clipmark_profile::summary::SCHEMA_VERSION;
use clipmark_profile::topics::{CommandLeaf, DeviceId, DeviceTopic, Operation, Topic, UpKind};
use std::time::Duration;

/// After how long an unseen progress message is worthless.
const PROGRESS_EXPIRY: Duration = Duration::from_secs(60);

/// Bytes of a record's packet beside its content, at most: topic, properties and envelope with the longest names.
pub(super) const AROUND_A_PART: usize = 512;

fn message<T: Payload>(topic: &Topic, payload: &T) -> Result<Message, CodecError> {
    Ok(Message {
        topic: topic.to_string(),
        payload: payload.to_bytes()?,
        retain: true,
        content_type: T::ENCODING.content_type(),
        expiry: None,
        correlation: None,
    })
}

pub(super) fn state(device: &DeviceId, state: &DeviceState) -> Result<Message, CodecError> {
    message(&Topic::device(device, DeviceTopic::State), state)
}

pub(super) fn info(device: &DeviceId, info: &DeviceInfo) -> Result<Message, CodecError> {
    message(&Topic::device(device, DeviceTopic::Info), info)
}

pub(super) fn config(device: &DeviceId, reported: &ConfigReported) -> Result<Message, CodecError> {
    message(&Topic::device(device, DeviceTopic::ConfigReported), reported)
}

pub(super) fn progress(device: &DeviceId, progress: &Progress) -> Result<Message, CodecError> {
    let message = message(&Topic::device(device, DeviceTopic::Progress), progress)?;
    Ok(Message { retain: false, expiry: Some(PROGRESS_EXPIRY), ..message })
}

/// A command's status, for its own topic and, where the requester asked for it, for the response topic.
pub(super) fn status(
    device: &DeviceId,
    command: &QueuedCommand,
    expiry: Duration,
) -> Result<(Message, Option<Message>), CodecError> {
    let of = &command.status;
    let topic = Topic::command(device, of.operation.clone(), &of.command, CommandLeaf::Status);
    let message = Message { expiry: Some(expiry), ..message(&topic, of)? };
    let reply = command.reply.as_ref().map(|ReplyTo { topic, correlation }| Message {
        topic: topic.clone(),
        retain: false,
        correlation: correlation.clone(),
        ..message.clone()
    });
    Ok((message, reply))
}

/// A spooled record: the payload is the encoded envelope as it lies on disk.
pub(super) fn record(device: &DeviceId, kind: UpKind, envelope: Vec<u8>) -> Message {
    Message {
        topic: Topic::device(device, DeviceTopic::Up(kind)).to_string(),
        payload: envelope,
        retain: false,
        content_type: "application/cbor",
        expiry: None,
        correlation: None,
    }
}

/// What a device says of itself at birth; `described` is what a child process found out.
pub(super) fn device_info(
    device: &DeviceId,
    config: &Config,
    remote: &RemoteSettings,
    epoch: Epoch,
    described: Description,
) -> DeviceInfo {
    DeviceInfo {
        schema: SCHEMA_VERSION,
        clipmark: env!("CARGO_PKG_VERSION").into(),
        device: device.clone(),
        groups: config.device.groups.clone(),
        operations: Operation::ALL.to_vec(),
        board: described.board,
        l4t: described.l4t,
        kernel: described.kernel,
        arch: std::env::consts::ARCH.into(),
        power_mode: described.power_mode,
        backends: described.backends,
        models: described.models,
        epoch,
        limits: effective_limits(config, remote),
        absent: described.absent,
    }
}
