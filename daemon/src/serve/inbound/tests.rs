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
    for topic in ["clipmark/v1/g/other/cmd/probe/c1/req", "clipmark/v1/d/nano/cmd/probe/c1/req", "weather"] {
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
        ("run/c1", br#"{"clip_lengths":[8],"fps":30,"deadline_ms":5}"#, ReasonCode::BadRequest, "exclude"),
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
    assert_eq!(incoming.reply, Some(ReplyTo { topic: "ops/answers".into(), correlation: Some(vec![1, 2]) }));
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
