//! What a message from the broker means.
//!
//! Everything here is hostile until read: topic, payload, properties. The outcome is an event for the
//! session, a receipt, a configuration, or a refusal that its sender or the log is told of.

use crate::mqtt::Received;
use crate::operation::models;
use crate::session::{Incoming, ReplyTo, SessionEvent, Task};
use clipmark_profile::message::{
    Availability, ConfigDesired, DeviceState, NoArguments, Payload, Reason, ReasonCode, Receipt, read_request,
};
use clipmark_profile::plan::{Limits, PlanError, Request};
use clipmark_profile::topics::{
    CommandId, CommandLeaf, DeviceId, DeviceTopic, GroupId, Operation, OperationName, Topic,
};
use std::path::Path;

/// Longest response topic and correlation data that are honoured.
const MAX_REPLY: usize = 1024;

/// What a message leads to.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Something for the session.
    Session(SessionEvent),
    /// A receipt.
    Receipt(Receipt),
    /// Settings, or why they cannot be read.
    Config(Result<ConfigDesired, String>),
    /// An aggregator has come.
    AggregatorCame,
    /// What concerns nobody.
    Nothing,
    /// Nothing that can be answered; the text is for the log.
    Ignored(String),
}

/// What a message is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) groups: &'a [GroupId],
    pub(super) limits: &'a Limits,
    pub(super) models: &'a Path,
}

fn reason(code: ReasonCode, message: impl Into<String>) -> Reason {
    Reason { code, message: message.into() }
}

impl Reader<'_> {
    /// Reads one message.
    pub(super) fn read(&self, message: &Received) -> Inbound {
        let topic = match message.topic.parse::<Topic>() {
            Ok(topic) => topic,
            Err(error) => return Inbound::Ignored(error.to_string()),
        };
        match topic {
            Topic::GroupRequest { group, operation, command } if self.groups.contains(&group) => {
                self.request(operation, command, message)
            }
            Topic::Device { device, about } if device == *self.device => self.about_us(about, message),
            Topic::AggregatorState(_) => aggregator(message),
            other => Inbound::Ignored(format!("{other} is not for this device")),
        }
    }

    fn about_us(&self, about: DeviceTopic, message: &Received) -> Inbound {
        let content_type = message.content_type.as_deref();
        match about {
            DeviceTopic::Command { operation, command, leaf: CommandLeaf::Request } => {
                self.request(operation, command, message)
            }
            DeviceTopic::Command { operation, command, leaf: CommandLeaf::Cancel } => {
                Inbound::Session(SessionEvent::CancelRequested { command, operation })
            }
            DeviceTopic::Receipt => match Receipt::from_bytes(&message.payload, content_type) {
                Ok(receipt) => Inbound::Receipt(receipt),
                Err(error) => Inbound::Ignored(format!("a receipt cannot be read: {error}")),
            },
            // An empty retained message is how a desired configuration is withdrawn.
            DeviceTopic::ConfigDesired if message.payload.is_empty() => {
                Inbound::Config(Ok(ConfigDesired { version: 0, settings: Default::default() }))
            }
            DeviceTopic::ConfigDesired => {
                let read = ConfigDesired::from_bytes(&message.payload, content_type);
                Inbound::Config(read.map_err(|error| error.to_string()))
            }
            other => Inbound::Ignored(format!("{other} is written by this device alone")),
        }
    }

    fn request(&self, operation: OperationName, command: CommandId, message: &Received) -> Inbound {
        Inbound::Session(SessionEvent::Requested(Box::new(Incoming {
            task: self.task(&operation, message),
            command,
            operation,
            reply: reply(message),
            expires_in_ms: message.expiry.map(|expiry| expiry.as_millis() as u64),
        })))
    }

    fn task(&self, name: &OperationName, message: &Received) -> Result<Task, Reason> {
        let Some(operation) = Operation::from_name(name) else {
            let known = Operation::ALL.map(Operation::name).join(", ");
            let text = format!("this device does not know the operation `{name}`; it knows {known}");
            return Err(reason(ReasonCode::UnknownOperation, text));
        };
        if message.retained {
            let text = "the request was published retained, so every subscription would bring it again; publish it \
                        without the retain flag and with a new id, and clear the retained message";
            return Err(reason(ReasonCode::Retained, text));
        }
        let unreadable =
            |error| reason(ReasonCode::BadRequest, format!("the request cannot be read: {error}"));
        let content_type = message.content_type.as_deref();
        if operation != Operation::Run {
            read_request::<NoArguments>(&message.payload, content_type).map_err(unreadable)?;
            return Ok(Task { operation, run: None });
        }
        let request: Request = read_request(&message.payload, content_type).map_err(unreadable)?;
        self.check(&request)?;
        Ok(Task { operation, run: Some(Box::new(request)) })
    }

    fn check(&self, request: &Request) -> Result<(), Reason> {
        request.validate(self.limits).map_err(|error| {
            let code = match error {
                PlanError::OutOfRange { .. } => ReasonCode::LimitExceeded,
                _ => ReasonCode::BadRequest,
            };
            reason(code, error.to_string())
        })?;
        for name in &request.models {
            models::resolve(name, self.models)?;
        }
        Ok(())
    }
}

/// What an aggregator says of itself. One that was there before the subscription has missed nothing.
fn aggregator(message: &Received) -> Inbound {
    let state = DeviceState::from_bytes(&message.payload, message.content_type.as_deref());
    match state {
        Ok(DeviceState { state: Availability::Online, .. }) if !message.retained => Inbound::AggregatorCame,
        _ => Inbound::Nothing,
    }
}

/// Where to answer besides the status topic. A topic of clipmark's own is not answered to: the answer could pass
/// for a request, or for another device's or an aggregator's word.
fn reply(message: &Received) -> Option<ReplyTo> {
    let topic = message.response_topic.clone()?;
    let is_publishable = !topic.is_empty() && topic.len() <= MAX_REPLY && !topic.contains(['+', '#', '\0']);
    let is_reserved = ["$", "clipmark/"].iter().any(|prefix| topic.starts_with(prefix));
    if !is_publishable || is_reserved {
        tracing::warn!(?topic, "the response topic of a request is not answered to");
        return None;
    }
    let correlation = message.correlation.clone().filter(|data| data.len() <= MAX_REPLY);
    Some(ReplyTo { topic, correlation })
}

#[cfg(test)]
mod tests;
