use super::*;
use crate::topics::UpKind;
use proptest::prelude::*;

fn status(state: CommandState) -> CommandStatus {
    CommandStatus {
        command: "c1".parse().unwrap(),
        operation: "run".parse().unwrap(),
        state,
        at_unix_ms: 1_750_000_000_000,
        reason: Some(Reason { code: ReasonCode::SpoolFull, message: "no room".into() }),
        attempt: 1,
        queued_behind: None,
        epoch: Some(Epoch::from_random(u64::MAX)),
        records: Some(SequenceRange { first: 7, last: 9 }),
        result: None,
    }
}

#[test]
fn a_status_reads_as_words_in_json() {
    let json = String::from_utf8(status(CommandState::TimedOut).to_bytes().unwrap()).unwrap();
    assert_eq!(
        json,
        "{\"command\":\"c1\",\"operation\":\"run\",\"state\":\"timed_out\",\"at_unix_ms\":1750000000000,\
         \"reason\":{\"code\":\"spool_full\",\"message\":\"no room\"},\"attempt\":1,\
         \"epoch\":9007199254740991,\"records\":{\"first\":7,\"last\":9}}"
    );
}

#[test]
fn a_status_survives_both_encodings() {
    let value = status(CommandState::Successful);
    let cbor = codec::to_cbor(&value, 1000).unwrap();
    assert_eq!(CommandStatus::from_bytes(&cbor, Some("application/cbor")), Ok(value.clone()));
    assert_eq!(CommandStatus::from_bytes(&value.to_bytes().unwrap(), None), Ok(value));
}

#[test]
fn only_two_states_are_not_final() {
    use CommandState::{Canceled, Executing, Failed, Init, Rejected, Successful, TimedOut};
    for (state, is_final) in [
        (Init, false),
        (Executing, false),
        (Successful, true),
        (Failed, true),
        (Canceled, true),
        (Rejected, true),
        (TimedOut, true),
    ] {
        assert_eq!(state.is_final(), is_final, "{state:?}");
    }
}

#[test]
fn an_envelope_begins_with_its_version_and_keeps_bytes_as_bytes() {
    let envelope = Envelope {
        version: Envelope::VERSION,
        epoch: Epoch(5),
        sequence: 9,
        kind: UpKind::Profile,
        part: 2,
        parts: 3,
        command: Some("c".parse().unwrap()),
        spooled_unix_ms: 1,
        content: vec![0xff; 3],
        former: Vec::new(),
    };
    let expected = [0xa9, 0, 1, 1, 5, 2, 9, 3, 0, 4, 2, 5, 3, 6, 0x61, b'c', 7, 1, 8, 0x43, 0xff, 0xff, 0xff];
    assert_eq!(envelope.to_bytes().unwrap(), expected);
    assert_eq!(Envelope::from_bytes(&expected, Some("application/cbor")), Ok(envelope.clone()));
    assert_eq!(envelope.first_sequence(), 7);
}

#[test]
fn the_largest_part_fits_an_envelope() {
    let envelope = Envelope {
        version: 1,
        epoch: Epoch(u64::MAX >> 11),
        sequence: u64::MAX,
        kind: UpKind::Series,
        part: 1023,
        parts: Envelope::MAX_PARTS,
        command: Some("x".repeat(64).parse().unwrap()),
        spooled_unix_ms: u64::MAX,
        content: vec![0; Envelope::MAX_PART],
        former: vec![Place { epoch: Epoch(u64::MAX >> 11), sequence: u64::MAX }; Envelope::MAX_FORMER],
    };
    assert!(envelope.to_bytes().unwrap().len() <= Envelope::LIMIT);
}

#[test]
fn an_empty_request_asks_for_the_defaults() {
    assert_eq!(read_request::<Request>(b"", None), Ok(Request::default()));
    assert_eq!(read_request::<Request>(b"{}", None), Ok(Request::default()));
    assert_eq!(read_request::<NoArguments>(b"", None), Ok(NoArguments {}));
}

#[test]
fn unknown_fields_of_requests_are_named() {
    let error = read_request::<Request>(br#"{"modles":["a"]}"#, None).unwrap_err();
    assert!(error.to_string().contains("unknown field `modles`"), "{error}");
    let error = read_request::<NoArguments>(br#"{"verbose":true}"#, None).unwrap_err();
    assert!(error.to_string().contains("unknown field `verbose`"), "{error}");
    let error = ConfigDesired::from_bytes(br#"{"version":1,"settings":{"broker":"x"}}"#, None).unwrap_err();
    assert!(error.to_string().contains("unknown field `broker`"), "{error}");
}

#[test]
fn a_device_may_publish_fields_that_this_version_does_not_know() {
    let json = br#"{"state":"busy","connection":3,"since_unix_ms":5,"mood":"good"}"#;
    let state = DeviceState::from_bytes(json, None).unwrap();
    assert_eq!((state.state, state.connection), (Availability::Busy, 3));
}

proptest! {
    #[test]
    fn requests_survive_both_encodings(
        models in prop::collection::vec("[a-z]{1,8}", 0..3),
        clip_lengths in prop::collection::vec(1..4096_u32, 1..5),
        seed in any::<u64>(),
        budget in prop::option::of(1..100_000_u32),
    ) {
        let budget_s = budget.map(f64::from);
        let request = Request { models, clip_lengths, seed, budget_s, ..Request::default() };
        for encoding in [Encoding::Cbor, Encoding::Json] {
            let bytes = codec::encode(&request, encoding, Request::LIMIT).unwrap();
            prop_assert_eq!(Request::from_bytes(&bytes, Some(encoding.content_type())), Ok(request.clone()));
        }
    }

    #[test]
    fn receipts_survive_both_encodings(contiguous in any::<u64>(), gaps in prop::collection::vec(any::<(u64, u64)>(), 0..9)) {
        let gaps = gaps.into_iter().map(|(first, last)| SequenceRange { first, last }).collect();
        let receipt = Receipt::new(Epoch(1), contiguous, gaps);
        for encoding in [Encoding::Cbor, Encoding::Json] {
            let bytes = codec::encode(&receipt, encoding, Receipt::LIMIT).unwrap();
            prop_assert_eq!(Receipt::from_bytes(&bytes, Some(encoding.content_type())), Ok(receipt.clone()));
        }
    }
}

fn moved() -> Envelope {
    Envelope {
        version: Envelope::VERSION,
        epoch: Epoch(5),
        sequence: 9,
        kind: UpKind::Event,
        part: 0,
        parts: 1,
        command: Some("c".parse().unwrap()),
        spooled_unix_ms: 1,
        content: vec![1, 2],
        former: Vec::new(),
    }
}

#[test]
fn a_record_says_the_same_wherever_it_stands_and_nothing_else_has_its_digest() {
    let first = moved();
    let mut second = first.clone();
    second.relocate(Place { epoch: Epoch(6), sequence: 1 });
    assert_eq!((second.epoch, second.sequence), (Epoch(6), 1));
    assert_eq!(second.former, [Place { epoch: Epoch(5), sequence: 9 }]);
    assert_eq!(second.digest(), first.digest());
    // SHA-256 of 02 0000 0001 0000000000000001 01 'c' 0102, by Python's hashlib.
    assert_eq!(first.digest().to_string(), "8a043330cceae89f");
    let others = [
        Envelope { content: vec![1, 3], ..first.clone() },
        Envelope { command: None, ..first.clone() },
        Envelope { command: Some("d".parse().unwrap()), ..first.clone() },
        Envelope { spooled_unix_ms: 2, ..first.clone() },
        Envelope { kind: UpKind::Series, ..first.clone() },
        Envelope { parts: 2, ..first.clone() },
        Envelope { part: 1, parts: 2, ..first.clone() },
    ];
    assert!(others.iter().all(|other| other.digest() != first.digest()));
}

#[test]
fn former_places_are_bounded_and_the_first_one_is_kept() {
    let mut envelope = moved();
    for epoch in 10..30 {
        envelope.relocate(Place { epoch: Epoch(epoch), sequence: epoch });
    }
    assert_eq!(envelope.former.len(), Envelope::MAX_FORMER);
    assert_eq!(envelope.former[0], Place { epoch: Epoch(5), sequence: 9 });
    assert_eq!(envelope.former[7], Place { epoch: Epoch(28), sequence: 28 });
    let bytes = envelope.to_bytes().unwrap();
    assert_eq!(Envelope::from_bytes(&bytes, Some("application/cbor")), Ok(envelope));
}

#[test]
fn a_receipt_names_what_is_stored_and_what_is_in_conflict() {
    let stored = StoredRecord { sequence: 7, digest: RecordDigest(0x00ff) };
    let receipt =
        Receipt { stored: Some(stored), conflict: Some(8), ..Receipt::new(Epoch(1), 7, Vec::new()) };
    let json = String::from_utf8(receipt.to_bytes().unwrap()).unwrap();
    let expected = "{\"epoch\":1,\"contiguous\":7,\"stored\":{\"sequence\":7,\"digest\":\"00000000000000ff\"},\"conflict\":8}";
    assert_eq!(json, expected);
    assert_eq!(Receipt::from_bytes(json.as_bytes(), None), Ok(receipt));
    for digest in ["ff", "+000000000000ff0", "00000000000000fg"] {
        let json = json.replace("00000000000000ff", digest);
        assert!(Receipt::from_bytes(json.as_bytes(), None).is_err(), "{digest}");
    }
}
