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
mod tests {
    use super::*;
    use crate::mqtt::AckHandle;
    use clipmark_profile::codec::{Encoding, encode};
    use proptest::prelude::*;
    use std::time::Duration;

    fn received(topic: &str, payload: &[u8]) -> Received {
        Received {
            topic: topic.into(),
            payload: payload.to_vec(),
            retained: false,
            content_type: None,
            response_topic: None,
            correlation: None,
            expiry: None,
            ack: AckHandle::none(),
        }
    }

    fn read(message: &Received) -> Inbound {
        let groups = ["lab".parse().unwrap()];
        let limits = Limits { max_clip_length: 64, ..Limits::default() };
        let device = "orin".parse().unwrap();
        Reader { device: &device, groups: &groups, limits: &limits, models: Path::new("/nonexistent") }
            .read(message)
    }

    fn incoming(message: &Received) -> Incoming {
        match read(message) {
            Inbound::Session(SessionEvent::Requested(incoming)) => *incoming,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(message: &Received) -> Reason {
        incoming(message).task.unwrap_err()
    }

    const RUN: &str = "clipmark/v1/d/orin/cmd/run/c1/req";

    #[test]
    fn a_request_is_read_as_json_without_a_content_type_and_as_cbor_with_one() {
        let request = Request { clip_lengths: vec![4, 8], ..Request::default() };
        let mut message = received(RUN, br#"{"clip_lengths":[4,8],"batch_sizes":[1,2,4]}"#);
        message.payload = br#"{"clip_lengths":[4,8]}"#.to_vec();
        assert_eq!(incoming(&message).task.unwrap().run.as_deref(), Some(&request));
        message.payload = encode(&request, Encoding::Cbor, 1000).unwrap();
        assert_eq!(refusal(&message).code, ReasonCode::BadRequest);
        message.content_type = Some("application/cbor".into());
        assert_eq!(incoming(&message).task.unwrap().run.as_deref(), Some(&request));
    }

    #[test]
    fn groups_reach_the_device_when_it_is_a_member() {
        let message = received("clipmark/v1/g/lab/cmd/probe/c1/req", b"");
        assert_eq!(incoming(&message).task.unwrap().operation, Operation::Probe);
        for topic in
            ["clipmark/v1/g/other/cmd/probe/c1/req", "clipmark/v1/d/nano/cmd/probe/c1/req", "weather"]
        {
            assert!(matches!(read(&received(topic, b"")), Inbound::Ignored(_)), "{topic}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_named() {
        let small = br#"{"clip_lengths":[8]}"#;
        for (topic, payload, code, part) in [
            ("reboot/c1", &b""[..], ReasonCode::UnknownOperation, "run, probe, capture"),
            ("run/c1", br#"{"clip_lenghts":[8]}"#, ReasonCode::BadRequest, "unknown field `clip_lenghts`"),
            ("run/c1", br#"{"clip_lengths":"8"}"#, ReasonCode::BadRequest, "invalid type"),
            ("run/c1", br#"{"clip_lengths":[8]"#, ReasonCode::BadRequest, "EOF"),
            ("run/c1", br#"{"clip_lengths":[65]}"#, ReasonCode::LimitExceeded, "1 to 64"),
            (
                "run/c1",
                br#"{"clip_lengths":[8],"fps":30,"deadline_ms":5}"#,
                ReasonCode::BadRequest,
                "exclude",
            ),
            ("run/c1", br#"{"clip_lengths":[8],"models":["../x"]}"#, ReasonCode::UnknownModel, "../x"),
            ("probe/c1", small, ReasonCode::BadRequest, "unknown field `clip_lengths`"),
            ("run/c1", &[b' '; 70_000], ReasonCode::BadRequest, "at most 65536"),
        ] {
            let reason = refusal(&received(&format!("clipmark/v1/d/orin/cmd/{topic}/req"), payload));
            assert_eq!(reason.code, code, "{}", reason.message);
            assert!(reason.message.contains(part), "{}", reason.message);
        }
    }

    #[test]
    fn a_retained_request_is_refused() {
        let message = Received { retained: true, ..received(RUN, br#"{"clip_lengths":[8]}"#) };
        assert_eq!(refusal(&message).code, ReasonCode::Retained);
    }

    #[test]
    fn expiry_and_response_topic_are_taken_along() {
        let mut message = received(RUN, br#"{"clip_lengths":[8]}"#);
        message.expiry = Some(Duration::from_secs(90));
        message.response_topic = Some("ops/answers".into());
        message.correlation = Some(vec![1, 2]);
        let incoming = incoming(&message);
        assert_eq!(incoming.expires_in_ms, Some(90_000));
        assert_eq!(
            incoming.reply,
            Some(ReplyTo { topic: "ops/answers".into(), correlation: Some(vec![1, 2]) })
        );
    }

    #[test]
    fn answers_never_go_where_they_could_pass_for_a_request() {
        let agg = "clipmark/v1/agg/a/state";
        for topic in
            ["", "a/+/b", "a/#", "$SYS/x", RUN, "clipmark/v1/g/lab/cmd/run/c/req", agg, &"x".repeat(2000)]
        {
            let message = Received { response_topic: Some(topic.into()), ..received(RUN, b"{}") };
            assert_eq!(incoming(&message).reply, None, "{topic}");
        }
    }

    #[test]
    fn cancels_receipts_and_settings_are_told_apart() {
        let cancel = read(&received("clipmark/v1/d/orin/cmd/run/c1/cancel", b"whatever"));
        assert!(matches!(cancel, Inbound::Session(SessionEvent::CancelRequested { .. })));
        let receipt = read(&received("clipmark/v1/d/orin/receipt", br#"{"epoch":5,"contiguous":9}"#));
        assert!(matches!(receipt, Inbound::Receipt(Receipt { contiguous: 9, .. })));
        assert!(matches!(read(&received("clipmark/v1/d/orin/receipt", b"no")), Inbound::Ignored(_)));
        let config =
            read(&received("clipmark/v1/d/orin/cfg/desired", br#"{"version":3,"settings":{"paused":true}}"#));
        assert!(matches!(config, Inbound::Config(Ok(ConfigDesired { version: 3, .. }))));
        let config =
            read(&received("clipmark/v1/d/orin/cfg/desired", br#"{"version":3,"settings":{"host":"x"}}"#));
        assert!(matches!(config, Inbound::Config(Err(error)) if error.contains("host")));
        assert!(matches!(read(&received("clipmark/v1/d/orin/state", b"{}")), Inbound::Ignored(_)));
    }

    proptest! {
        #[test]
        fn no_message_can_do_more_than_be_refused(
            topic in "clipmark/v1/d/orin/(cmd/[a-z]{1,7}/[a-z0-9./]{0,9}/(req|cancel)|receipt|cfg/desired|[a-z/]{0,9})",
            payload in prop::collection::vec(any::<u8>(), 0..300),
            content_type in prop::option::of("(application/(cbor|json)|[a-z/]{0,20})"),
        ) {
            let message = Received { content_type, ..received(&topic, &payload) };
            if let Inbound::Session(SessionEvent::Requested(incoming)) = read(&message) {
                let clip_lengths = incoming.task.ok().and_then(|task| task.run).map(|run| run.clip_lengths);
                let longest = clip_lengths.into_iter().flatten().max();
                prop_assert!(longest.is_none_or(|frames| frames <= 64));
            }
        }
    }
}
