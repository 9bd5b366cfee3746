use super::*;

fn message(payload: &str) -> Message {
    Message {
        topic: "t".into(),
        payload: payload.into(),
        retain: true,
        content_type: "application/json",
        expiry: None,
        correlation: None,
    }
}

const NOW: Nanos = Nanos(0);

fn next(outbox: &mut Outbox) -> Option<(Slot, u64, String)> {
    let (slot, version, message) = outbox.next(NOW)?;
    outbox.sent(&slot, version);
    Some((slot, version, String::from_utf8(message.payload).unwrap()))
}

#[test]
fn only_the_latest_is_sent_and_only_its_acknowledgement_counts() {
    let mut outbox = Outbox::default();
    outbox.put(Slot::State, message("busy"), None);
    let (slot, first, _) = next(&mut outbox).unwrap();
    assert_eq!(next(&mut outbox), None);
    outbox.put(Slot::State, message("online"), None);
    outbox.put(Slot::State, message("offline"), None);
    let (_, second, payload) = next(&mut outbox).unwrap();
    assert_eq!(payload, "offline");
    assert!(!outbox.acknowledged(&slot, first));
    assert_eq!(outbox.len(), 1);
    assert!(outbox.acknowledged(&slot, second));
    assert_eq!(outbox.len(), 0);
}

#[test]
fn what_was_under_way_when_the_connection_broke_is_sent_again() {
    let mut outbox = Outbox::default();
    outbox.put(Slot::Info, message("i"), None);
    outbox.put(Slot::State, message("s"), None);
    assert_eq!(next(&mut outbox).unwrap().0, Slot::State);
    assert_eq!(next(&mut outbox).unwrap().0, Slot::Info);
    outbox.disconnected(NOW);
    assert_eq!(next(&mut outbox).unwrap().0, Slot::State);
}

#[test]
fn what_is_to_come_shorter_is_sent_again_on_the_same_connection() {
    let mut outbox = Outbox::default();
    outbox.put(Slot::Info, message("i"), None);
    assert!(next(&mut outbox).is_some() && next(&mut outbox).is_none());
    outbox.not_taken(&Slot::Info);
    assert_eq!(next(&mut outbox).unwrap().0, Slot::Info);
}

fn id(command: &str) -> CommandId {
    command.parse().unwrap()
}

#[test]
fn what_the_broker_refuses_is_tried_again_ever_more_rarely_whatever_the_connection_does() {
    let mut outbox = Outbox::default();
    outbox.put(Slot::Info, message("i"), None);
    let mut now = NOW;
    for pause in [60, 120, 240] {
        let (slot, ..) = outbox.next(now).unwrap();
        outbox.refused(&slot, now);
        outbox.put(Slot::Info, message("j"), None);
        outbox.disconnected(NOW);
        let until = Nanos(now.get() + Nanos::from_secs(pause).get());
        assert_eq!((outbox.next(Nanos(until.get() - 1)), outbox.len()), (None, 0));
        assert_eq!(outbox.next_deadline(), Some(until));
        now = until;
    }
    let (slot, version, message) = outbox.next(now).unwrap();
    assert_eq!(message.payload, b"j");
    assert!(outbox.acknowledged(&slot, version));
    assert_eq!(outbox.next_deadline(), None);
}

#[test]
fn a_reply_that_is_refused_or_ends_the_connection_is_dropped() {
    let mut outbox = Outbox::default();
    outbox.put(Slot::Reply(id("a")), message("r"), None);
    let (slot, ..) = next(&mut outbox).unwrap();
    outbox.refused(&slot, NOW);
    assert_eq!((outbox.next(Nanos(u64::MAX)), outbox.len()), (None, 0));
    outbox.put(Slot::Reply(id("b")), message("r"), None);
    for _ in 0..REPLY_TRIES {
        assert!(next(&mut outbox).is_some());
        outbox.disconnected(NOW);
    }
    assert_eq!(next(&mut outbox), None);
}

#[test]
fn replies_that_keep_ending_the_connection_are_left_out_for_an_hour() {
    let mut outbox = Outbox::default();
    let mut sent = 0;
    for index in 0..100 {
        outbox.put(Slot::Reply(id(&format!("c{index}"))), message("r"), None);
        if let Some((slot, ..)) = next(&mut outbox) {
            sent += 1;
            outbox.refused(&slot, NOW);
            outbox.disconnected(NOW);
        }
    }
    assert_eq!(sent, REPLY_ENDS);
    outbox.put(Slot::Reply(id("later")), message("r"), None);
    assert!(outbox.next(Nanos::from_secs(3600)).is_some());
}

#[test]
fn refused_statuses_are_bounded() {
    let mut outbox = Outbox::default();
    for index in 0..1000 {
        let slot = Slot::Status(id(&format!("c{index}")));
        outbox.put(slot.clone(), message("s"), None);
        outbox.refused(&slot, NOW);
    }
    assert_eq!(outbox.held.len(), KEPT_REFUSED);
    assert!(outbox.held.contains_key(&Slot::Status(id("c999"))));
}

#[test]
fn a_slot_holds_less_where_less_can_be_said() {
    let mut outbox = Outbox::default();
    let id: CommandId = "c".parse().unwrap();
    let [status, reply] = [Slot::Status(id.clone()), Slot::Reply(id)];
    for slot in [&status, &reply] {
        let shorter = Shorter::new(|limit| Some(message(&"x".repeat(limit))));
        outbox.put(slot.clone(), message("a long status"), Some(shorter));
    }
    assert!(outbox.shorten(&status, 3));
    let sent: Vec<usize> = std::iter::from_fn(|| {
        let (slot, version, message) = outbox.next(NOW)?;
        outbox.sent(&slot, version);
        Some(message.payload.len())
    })
    .collect();
    assert_eq!(sent, [3, 3], "the reply says the same");
    assert!(!outbox.shorten(&status, 2), "less cannot be said twice");
    outbox.put(Slot::State, message("s"), Some(Shorter::new(|_| Some(message("longer")))));
    assert!(!outbox.shorten(&Slot::State, 3));
    outbox.put(Slot::Config, message("config"), None);
    assert!(!outbox.shorten(&Slot::Config, 3));
}
