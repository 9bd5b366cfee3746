//! What a store does, whatever database it is in.

use crate::Case;
use crate::records::{CBOR, envelope, lost, profile, profile_envelope, received, record};
use clipmark_fleet::config;
use clipmark_fleet::ingest::{Inbound, read};
use clipmark_fleet::store::{
    CommandQuery, Committed, DeviceQuery, Message, PointQuery, ProfileQuery, Record, Retention, Store,
    StoreError,
};
use clipmark_profile::figures::Figure;
use clipmark_profile::identity::Identity;
use clipmark_profile::message::{
    Availability, CommandState, CommandStatus, DeviceInfo, DeviceState, Envelope, Epoch, Place, Receipt,
    SequenceRange, StoredRecord,
};
use clipmark_profile::point::Shape;
use clipmark_profile::summary::Profile;
use clipmark_profile::topics::UpKind;
use clipmark_profile::{example, wire};

pub(crate) const CASES: [(&str, Case); 21] = [
    (
        "a_second_content_under_a_sequence_is_kept_apart_and_never_confirmed",
        a_second_content_under_a_sequence_is_kept_apart_and_never_confirmed,
    ),
    ("what_moves_to_a_new_epoch_is_stored_once", what_moves_to_a_new_epoch_is_stored_once),
    ("parts_that_move_to_a_new_epoch_come_together_once", parts_that_move_to_a_new_epoch_come_together_once),
    (
        "losses_that_move_to_a_new_epoch_are_of_the_old_one",
        losses_that_move_to_a_new_epoch_are_of_the_old_one,
    ),
    ("receipts_name_the_newest_record_that_is_stored", receipts_name_the_newest_record_that_is_stored),
    ("a_store_is_made_only_where_that_is_asked_for", a_store_is_made_only_where_that_is_asked_for),
    ("a_device_is_found_by_a_part_of_its_board", a_device_is_found_by_a_part_of_its_board),
    ("each_record_is_stored_once", each_record_is_stored_once),
    ("reordered_records_leave_gaps_until_they_come", reordered_records_leave_gaps_until_they_come),
    ("parts_come_together_in_any_order", parts_come_together_in_any_order),
    ("what_piles_up_is_confirmed_at_once_and_read_later", what_piles_up_is_confirmed_at_once_and_read_later),
    (
        "what_was_put_off_cannot_be_read_is_set_aside_later",
        what_was_put_off_cannot_be_read_is_set_aside_later,
    ),
    ("a_new_epoch_is_a_new_spool", a_new_epoch_is_a_new_spool),
    ("declared_losses_close_gaps", declared_losses_close_gaps),
    ("what_cannot_be_read_is_set_aside", what_cannot_be_read_is_set_aside),
    ("a_device_is_what_it_last_said", a_device_is_what_it_last_said),
    ("a_command_never_goes_back", a_command_never_goes_back),
    ("figures_come_back_as_they_were", figures_come_back_as_they_were),
    ("retention_keeps_points_and_promises", retention_keeps_points_and_promises),
    ("wrong_clocks_order_nothing", wrong_clocks_order_nothing),
    ("two_writers_store_everything_once", two_writers_store_everything_once),
];

const NOW: u64 = 1_800_000_000_000;

fn commit(store: &mut Store, batch: &[Message]) -> Committed {
    store.commit(batch, NOW).unwrap()
}

fn only(committed: &Committed) -> &Receipt {
    assert_eq!(committed.receipts.len(), 1, "{committed:?}");
    &committed.receipts[0].1
}

fn range(first: u64, last: u64) -> SequenceRange {
    SequenceRange { first, last }
}

fn a_store_is_made_only_where_that_is_asked_for(settings: &config::Store) {
    let missing = |settings| matches!(Store::open(settings), Err(StoreError::Missing { .. }));
    assert!(missing(settings) && missing(settings), "looking for a store makes none");
    let store = Store::create(settings).unwrap();
    assert_eq!(Store::open(settings).unwrap().place(), store.place());
}

fn a_device_is_found_by_a_part_of_its_board(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let mut profile = profile("run");
    profile.environment.board = Some("100 % Orin_NX!".into());
    commit(&mut store, &[received("a", &profile_envelope(1, 1, &profile)), record("b", 1, 1)]);
    let mut found = |board: &str| -> Vec<String> {
        let query = DeviceQuery { board: Some(board.into()), ..DeviceQuery::default() };
        store.devices(&query).unwrap().into_iter().map(|row| row.device.to_string()).collect()
    };
    assert_eq!(found("orin"), ["a", "b"]);
    for part in ["orin_nx", "100 %", "NX!"] {
        assert_eq!(found(part), ["a"], "{part}");
    }
    for other in ["n_no", "o%n", "raspberry"] {
        assert!(found(other).is_empty(), "{other}");
    }
}

fn each_record_is_stored_once(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let batch = [record("a", 7, 1), record("a", 7, 2), record("a", 7, 1)];
    let committed = commit(&mut store, &batch);
    assert_eq!((committed.stored, committed.repeated), (2, 1));
    assert_eq!((only(&committed).contiguous, only(&committed).epoch), (2, Epoch(7)));
    // Also by a program that was started again.
    let mut store = Store::create(settings).unwrap();
    let again = commit(&mut store, &batch);
    assert_eq!((again.stored, again.repeated, only(&again).contiguous), (0, 3, 2));
    assert_eq!(store.counts().unwrap().profiles, 2);
    assert_eq!(store.points(&PointQuery::default()).unwrap().len(), 54);
}

fn reordered_records_leave_gaps_until_they_come(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let committed = commit(&mut store, &[record("a", 1, 5), record("a", 1, 2), record("a", 1, 1)]);
    assert_eq!((only(&committed).contiguous, &only(&committed).gaps), (2, &vec![range(3, 4)]));
    let committed = commit(&mut store, &[record("a", 1, 4)]);
    assert_eq!((only(&committed).contiguous, &only(&committed).gaps), (2, &vec![range(3, 3)]));
    let newest = store.devices(&DeviceQuery::default()).unwrap()[0].last_profile.unwrap();
    let query = ProfileQuery { id: Some(newest.id), ..ProfileQuery::default() };
    assert_eq!(store.profiles(&query).unwrap()[0].sequence, 5);
    let committed = commit(&mut store, &[record("a", 1, 3)]);
    assert_eq!((only(&committed).contiguous, only(&committed).gaps.len()), (5, 0));
    assert_eq!(store.counts().unwrap().profiles, 5);
}

fn parts(profile: &Profile) -> Vec<Envelope> {
    let bytes = wire::encode_profile(profile).unwrap();
    let pieces: Vec<&[u8]> = bytes.chunks(bytes.len().div_ceil(3)).collect();
    let whole = envelope(1, 10, UpKind::Profile, Vec::new());
    let part = |(index, piece): (usize, &&[u8])| Envelope {
        sequence: 10 + index as u64,
        part: index as u16,
        parts: pieces.len() as u16,
        content: piece.to_vec(),
        ..whole.clone()
    };
    pieces.iter().enumerate().map(part).collect()
}

fn parts_come_together_in_any_order(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let profile = profile("in-parts");
    let parts = parts(&profile);
    for index in [2, 0, 0] {
        commit(&mut store, &[received("a", &parts[index])]);
        assert_eq!(store.counts().unwrap().profiles, 0);
    }
    let committed = commit(&mut store, &[received("a", &parts[1])]);
    assert_eq!(only(&committed).gaps, [range(1, 9)]);
    let rows = store.profiles(&ProfileQuery::default()).unwrap();
    assert_eq!((rows.len(), rows[0].run_id.as_str(), rows[0].sequence), (1, "in-parts", 10));
    let bytes = store.profile_bytes(rows[0].id).unwrap().unwrap();
    assert_eq!(bytes, wire::encode_profile(&profile).unwrap());
}

/// A record whose content nobody has read yet.
fn unread(message: Message) -> Message {
    let Message::Record(record) = message else { panic!("not a record") };
    Message::Record(Record { content: None, ..record })
}

fn what_piles_up_is_confirmed_at_once_and_read_later(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let batch = [unread(record("a", 1, 1)), record("b", 1, 1), unread(record("a", 1, 2))];
    let committed = commit(&mut store, &batch);
    assert_eq!((committed.stored, committed.receipts.len()), (3, 2));
    assert_eq!(committed.receipts[0].1.contiguous, 2);
    // What comes meanwhile waits behind it, although it has been read.
    commit(&mut store, &[record("a", 1, 3), record("a", 1, 1)]);
    let counts = store.counts().unwrap();
    assert_eq!((counts.profiles, counts.unread), (0, 4));
    // Another program takes over.
    drop(store);
    let mut store = Store::create(settings).unwrap();
    assert!(store.has_unread());
    assert_eq!(store.read_waiting(3, None).unwrap().len(), 3);
    assert!(store.has_unread());
    assert_eq!(store.read_waiting(3, None).unwrap().len(), 1);
    assert!(!store.has_unread());
    let rows = store.profiles(&ProfileQuery::default()).unwrap();
    let of_a: Vec<u64> =
        rows.iter().filter(|row| row.device.as_str() == "a").map(|row| row.sequence).collect();
    assert_eq!((rows.len(), of_a), (4, vec![3, 2, 1]));
    assert!(rows.iter().all(|row| row.received_unix_ms == NOW && row.measured == 27));
    assert_eq!(store.counts().unwrap().unread, 0);
    let again = commit(&mut store, &batch);
    assert_eq!((again.stored, again.repeated), (0, 3));
}

fn what_was_put_off_cannot_be_read_is_set_aside_later(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let nonsense = received("a", &envelope(1, 1, UpKind::Profile, vec![0xff; 100]));
    commit(&mut store, &[unread(nonsense), unread(record("a", 1, 2))]);
    assert_eq!(store.read_waiting(10, None).unwrap().len(), 2);
    assert_eq!(store.counts().unwrap().profiles, 1);
    let poison = store.poison(10).unwrap();
    assert_eq!((poison.len(), poison[0].times), (1, 1));
    assert!(!poison[0].reason.is_empty());
}

/// The envelope of a profile of `run` on device `a`.
fn of_run(run: &str, epoch: u64, sequence: u64) -> Envelope {
    profile_envelope(epoch, sequence, &profile(run))
}

/// The same record at a new place.
fn moved(envelope: &Envelope, epoch: u64, sequence: u64) -> Envelope {
    let mut moved = envelope.clone();
    moved.relocate(Place { epoch: Epoch(epoch), sequence });
    moved
}

fn runs(store: &mut Store) -> Vec<String> {
    let mut runs: Vec<String> =
        store.profiles(&ProfileQuery::default()).unwrap().into_iter().map(|row| row.run_id).collect();
    runs.sort();
    runs
}

fn a_second_content_under_a_sequence_is_kept_apart_and_never_confirmed(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let first = ["r0", "r1", "r2"].iter().zip(1..).map(|(run, sequence)| of_run(run, 7, sequence));
    commit(&mut store, &first.map(|envelope| received("a", &envelope)).collect::<Vec<_>>());
    let second = [of_run("r3", 7, 2), of_run("r4", 7, 3), of_run("r5", 7, 4)].map(|e| received("a", &e));
    for repetition in 0..2 {
        let committed = commit(&mut store, &second);
        let places = [2, 3].map(|sequence| ("a".parse().unwrap(), Place { epoch: Epoch(7), sequence }));
        assert_eq!(committed.conflicts, places);
        assert_eq!((committed.stored, committed.set_aside), (1 - repetition, 2));
        let receipt = only(&committed);
        assert_eq!((receipt.contiguous, receipt.conflict, receipt.gaps.len()), (1, Some(2), 0));
    }
    // Whatever comes later, to whoever opens the store, and whatever waits to be read.
    let mut store = Store::create(settings).unwrap();
    let committed = commit(&mut store, &[unread(received("a", &of_run("r6", 7, 5)))]);
    assert_eq!((only(&committed).contiguous, only(&committed).conflict), (1, Some(2)));
    let committed = commit(&mut store, &[received("a", &of_run("r7", 7, 5))]);
    assert_eq!(committed.conflicts.len(), 1, "what waits to be read is compared too");
    store.read_waiting(9, None).unwrap();
    assert_eq!(runs(&mut store), ["r0", "r1", "r2", "r5", "r6"]);
    assert!(store.poison(9).unwrap()[0].reason.contains("record 5 of epoch 00000000000007"));
    let conflicts = store.conflicts(&"a".parse().unwrap()).unwrap();
    assert_eq!((conflicts.len(), conflicts[0].epoch, conflicts[0].sequence), (1, Epoch(7), 2));
    assert_eq!(store.counts().unwrap().conflicts, 1);
}

fn what_moves_to_a_new_epoch_is_stored_once(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let [shared, other, mine, late] =
        [of_run("r0", 1, 1), of_run("r1", 1, 2), of_run("r2", 1, 2), of_run("r3", 1, 3)];
    commit(&mut store, &[received("a", &shared), received("a", &other)]);
    let again = [moved(&shared, 2, 1), moved(&mine, 2, 2), moved(&late, 2, 3)];
    let committed = commit(&mut store, &again.clone().map(|envelope| received("a", &envelope)));
    assert_eq!((committed.stored, committed.repeated), (2, 1));
    let receipt = only(&committed);
    assert_eq!((receipt.epoch, receipt.contiguous, receipt.conflict), (Epoch(2), 3, None));
    assert_eq!(runs(&mut store), ["r0", "r1", "r2", "r3"]);
    // Overtaken on its way from its former place.
    let committed = commit(&mut store, &[received("a", &late)]);
    assert_eq!((committed.stored, committed.repeated, only(&committed).contiguous), (0, 1, 3));
    // Somebody else's record may still come from there.
    commit(
        &mut store,
        &[received("a", &of_run("r4", 1, 4)), received("a", &moved(&of_run("r5", 1, 5), 2, 4))],
    );
    let committed = commit(&mut store, &[received("a", &of_run("r6", 1, 5))]);
    assert_eq!((committed.stored, committed.conflicts.len()), (1, 0));
    // And once more, from the second epoch to a third.
    let thrice = again.map(|envelope| received("a", &moved(&envelope, 3, envelope.sequence)));
    let committed = commit(&mut store, &thrice);
    assert_eq!((committed.stored, committed.repeated, only(&committed).contiguous), (0, 3, 3));
    assert_eq!(runs(&mut store), ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
}

fn parts_that_move_to_a_new_epoch_come_together_once(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let parts = parts(&profile("in-parts"));
    let to = |epoch: u64| -> Vec<Message> {
        let moved = parts.iter().zip(1..).map(|(part, sequence)| moved(part, epoch, sequence));
        moved.map(|part| received("a", &part)).collect()
    };
    // Only two of three came from the former place, one of them later than the new ones.
    commit(&mut store, &[received("a", &parts[0])]);
    let committed = commit(&mut store, &to(2));
    assert_eq!(only(&committed).contiguous, 3);
    commit(&mut store, &[received("a", &parts[1])]);
    assert_eq!(runs(&mut store), ["in-parts"]);
    // All came, from there and from elsewhere.
    commit(&mut store, &to(3));
    assert_eq!(runs(&mut store), ["in-parts"]);
    // The first two sequences belong to somebody else's records.
    let others = [10, 11].map(|sequence| received("b", &of_run(&format!("other-{sequence}"), 1, sequence)));
    commit(&mut store, &others);
    let committed = commit(&mut store, &[0, 1, 2].map(|index| received("b", &parts[index])));
    assert_eq!(committed.conflicts.len(), 2);
    let moved = parts.iter().zip(1..).map(|(part, sequence)| received("b", &moved(part, 2, sequence)));
    commit(&mut store, &moved.collect::<Vec<_>>());
    assert_eq!(runs(&mut store), ["in-parts", "in-parts", "other-10", "other-11"]);
}

fn losses_that_move_to_a_new_epoch_are_of_the_old_one(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    commit(&mut store, &[received("a", &of_run("r0", 1, 1)), received("a", &of_run("r1", 1, 4))]);
    let event = moved(&lost(1, 5, range(2, 3)), 2, 4);
    let committed = commit(&mut store, &[received("a", &event)]);
    assert_eq!(only(&committed).gaps, [range(1, 3)], "records 2 and 3 of the new epoch are still to come");
    let committed = commit(&mut store, &[received("a", &of_run("r2", 1, 5))]);
    assert_eq!((only(&committed).contiguous, only(&committed).gaps.len()), (5, 0));
}

fn receipts_name_the_newest_record_that_is_stored(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let envelopes = [of_run("r0", 1, 1), of_run("r1", 1, 2), lost(1, 5, range(3, 3)), of_run("r2", 1, 4)];
    let [one, two, event, four] = envelopes;
    let committed = commit(&mut store, &[received("a", &one), received("a", &two), received("a", &event)]);
    let stored = |of: &Envelope| Some(StoredRecord { sequence: of.sequence, digest: of.digest() });
    assert_eq!((only(&committed).contiguous, only(&committed).stored), (3, stored(&two)));
    let committed = commit(&mut store, &[unread(received("a", &four))]);
    assert_eq!((only(&committed).contiguous, only(&committed).stored), (5, stored(&event)));
}

fn a_new_epoch_is_a_new_spool(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    commit(&mut store, &[record("a", 1, 1), record("a", 1, 2)]);
    let committed = commit(&mut store, &[record("a", 2, 1)]);
    assert_eq!((only(&committed).epoch, only(&committed).contiguous), (Epoch(2), 1));
    assert_eq!(store.counts().unwrap().profiles, 3);
    let committed = commit(&mut store, &[record("a", 1, 3)]);
    assert_eq!((only(&committed).epoch, only(&committed).contiguous), (Epoch(1), 3));
}

fn declared_losses_close_gaps(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    commit(&mut store, &[record("a", 1, 1), record("a", 1, 5)]);
    let committed = commit(&mut store, &[received("a", &lost(1, 6, range(2, 3)))]);
    assert_eq!((only(&committed).contiguous, &only(&committed).gaps), (3, &vec![range(4, 4)]));
    assert_eq!(store.counts().unwrap().lost, 2);
    // A device cannot declare lost what it has yet to write.
    let committed = commit(&mut store, &[received("a", &lost(1, 7, range(4, 1000)))]);
    assert_eq!(only(&committed).contiguous, 7);
}

fn what_cannot_be_read_is_set_aside(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let unreadable = received("a", &envelope(1, 1, UpKind::Profile, vec![0xff; 100]));
    let Inbound::Store(nonsense) = read("clipmark/v1/d/a/up/profile", b"nonsense", CBOR) else { panic!() };
    let batch = [unreadable, nonsense, record("a", 1, 2)];
    let committed = commit(&mut store, &batch);
    assert_eq!((committed.stored, committed.set_aside, only(&committed).contiguous), (1, 2, 2));
    commit(&mut store, &batch);
    let poison = store.poison(10).unwrap();
    assert_eq!(poison.len(), 2);
    assert!(poison.iter().all(|row| !row.reason.is_empty()), "{poison:?}");
    assert_eq!(poison.iter().map(|row| row.times).max(), Some(2));
}

fn state(state: Availability, connection: u64) -> Message {
    let state = DeviceState {
        state,
        connection,
        since_unix_ms: 5,
        command: None,
        queued: 0,
        unconfirmed: 0,
        reasons: vec!["nul \0 in a text".into()],
    };
    Message::State("a".parse().unwrap(), state)
}

fn info(board: &str, groups: &[&str]) -> Message {
    Message::Info(Box::new(DeviceInfo {
        schema: 1,
        clipmark: "0.1.0".into(),
        device: "a".parse().unwrap(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        operations: Vec::new(),
        board: Some(board.into()),
        l4t: None,
        kernel: None,
        arch: "aarch64".into(),
        power_mode: None,
        backends: Vec::new(),
        models: Vec::new(),
        epoch: Epoch(1),
        limits: clipmark_profile::plan::Limits::default(),
        absent: Vec::new(),
    }))
}

fn a_device_is_what_it_last_said(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    commit(&mut store, &[state(Availability::Online, 5), info("Orin Nano\0", &["lab", "rack"])]);
    // A last will that comes late, and one that does not.
    commit(&mut store, &[state(Availability::Offline, 4)]);
    let availability = |store: &mut Store| {
        let devices = store.devices(&DeviceQuery::default()).unwrap();
        devices[0].state.as_ref().unwrap().state
    };
    assert_eq!(availability(&mut store), Availability::Online);
    commit(&mut store, &[state(Availability::Offline, 5)]);
    assert_eq!(availability(&mut store), Availability::Offline);
    // A re-flashed device counts from the beginning.
    commit(&mut store, &[state(Availability::Busy, 1)]);
    assert_eq!(availability(&mut store), Availability::Busy);
    let of_group =
        |group: &str| DeviceQuery { group: Some(group.parse().unwrap()), ..DeviceQuery::default() };
    assert_eq!(store.devices(&of_group("lab")).unwrap().len(), 1);
    commit(&mut store, &[info("Orin Nano", &["rack"])]);
    assert_eq!(store.devices(&of_group("lab")).unwrap().len(), 0);
    assert_eq!(store.groups().unwrap(), [("rack".to_owned(), 1)]);
    assert_eq!(store.device_info(&"a".parse().unwrap()).unwrap().unwrap().board.unwrap(), "Orin Nano");
    assert_eq!(store.counts().unwrap().busy, 1);
}

fn status(state: CommandState) -> Message {
    let status = CommandStatus {
        command: "c1".parse().unwrap(),
        operation: "run".parse().unwrap(),
        state,
        at_unix_ms: 1,
        reason: None,
        attempt: 1,
        queued_behind: None,
        epoch: None,
        records: None,
        result: None,
    };
    Message::Status("a".parse().unwrap(), Box::new(status))
}

fn a_command_never_goes_back(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    for state in
        [CommandState::Executing, CommandState::Init, CommandState::Successful, CommandState::Executing]
    {
        commit(&mut store, &[status(state)]);
    }
    let rows = store.commands(&CommandQuery::default()).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].status.as_ref().unwrap().state, CommandState::Successful);
}

fn figures_come_back_as_they_were(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let sent = example::drifted(example::profile(), 1.2);
    let bytes = wire::encode_profile(&sent).unwrap();
    let arrived = wire::decode_profile(&bytes).unwrap();
    commit(
        &mut store,
        &[received("a", &profile_envelope(1, 1, &sent)), record("b", 1, 1), record("b", 1, 2)],
    );
    let of_a = PointQuery { device: Some("a".parse().unwrap()), ..PointQuery::default() };
    let points = store.points(&of_a).unwrap();
    let measured: Vec<_> = arrived.points.iter().filter(|point| point.latency.is_some()).collect();
    assert_eq!(points.len(), measured.len());
    for point in &points {
        let of_arrived =
            measured.iter().find(|measured| Identity::of(&arrived, measured.id).unwrap() == point.identity);
        let of_arrived = of_arrived.unwrap();
        assert_eq!(point.figures.histogram, of_arrived.latency.as_ref().unwrap().histogram);
        for (figure, _) in Figure::stored() {
            assert_eq!(point.figures.figures.get(figure), figure.of(of_arrived), "{figure}");
        }
    }
    assert!(points.iter().all(|point| point.figures.figures.moved()));
    let of_b = PointQuery { device: Some("b".parse().unwrap()), ..PointQuery::default() };
    let still = store.points(&of_b).unwrap();
    assert!(!still.is_empty() && still.iter().all(|point| !point.figures.figures.moved()));
    let joint = PointQuery { model: Some("joint".into()), shape: Shape::new(1, 16), ..PointQuery::default() };
    assert_eq!(store.points(&joint).unwrap().len(), 3);
    let newest = PointQuery { latest_per_device: true, histograms: false, ..joint };
    assert_eq!(store.points(&newest).unwrap().len(), 2);
    let soaks = store.soaks(Some(&"a".parse().unwrap()), 10).unwrap();
    assert_eq!(soaks.len(), arrived.soaks.len());
    assert_eq!(soaks[0].figures.time_to_throttle_ms, arrived.soaks[0].time_to_throttle_ms);
    let throttled = ProfileQuery { throttled: Some(true), ..ProfileQuery::default() };
    assert_eq!(store.profiles(&throttled).unwrap().len(), 1);
    // The others were not soaked: nobody knows whether they throttle.
    let steady = ProfileQuery { throttled: Some(false), ..ProfileQuery::default() };
    assert_eq!(store.profiles(&steady).unwrap().len(), 0);
    let devices = store.devices(&DeviceQuery::default()).unwrap();
    let known: Vec<_> = devices.iter().map(|row| row.last_profile.unwrap().throttled).collect();
    assert_eq!(known, [Some(true), None]);
    let soaked = points.iter().filter(|point| point.figures.throttled.is_some()).count();
    assert_eq!(soaked, arrived.soaks.len());
    assert_eq!(store.models().unwrap().iter().map(|model| model.profiles).sum::<u64>(), 4);
    let counts = store.counts().unwrap();
    assert_eq!((counts.devices, counts.soaked, counts.throttled), (2, 1, 1));
}

fn retention_keeps_points_and_promises(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    let batch = [record("a", 1, 1)];
    commit(&mut store, &batch);
    let mut retention =
        Retention { blob_days: Some(10), profile_days: None, command_days: None, poison_days: None };
    let day = 86_400_000;
    assert_eq!(store.prune(&retention, NOW + 9 * day).unwrap().blobs, 0);
    assert_eq!(store.prune(&retention, NOW + 11 * day).unwrap().blobs, 1);
    let id = store.profiles(&ProfileQuery::default()).unwrap()[0].id;
    assert_eq!(store.profile_bytes(id).unwrap(), None);
    assert_eq!(store.points(&PointQuery::default()).unwrap().len(), 27);
    retention.profile_days = Some(20);
    assert_eq!(store.prune(&retention, NOW + 21 * day).unwrap().profiles, 1);
    assert_eq!(store.points(&PointQuery::default()).unwrap().len(), 0);
    assert_eq!(store.devices(&DeviceQuery::default()).unwrap()[0].last_profile, None);
    let again = commit(&mut store, &batch);
    assert_eq!((again.stored, again.repeated), (0, 1));
}

fn wrong_clocks_order_nothing(settings: &config::Store) {
    let mut store = Store::create(settings).unwrap();
    for (index, started) in [4_102_444_800_000, 0, 1_700_000_000_000].into_iter().enumerate() {
        let mut profile = profile(&format!("run-{index}"));
        profile.run.started_unix_ms = started;
        let envelope =
            Envelope { spooled_unix_ms: started, ..profile_envelope(1, 1 + index as u64, &profile) };
        store.commit(&[received("a", &envelope)], NOW + index as u64).unwrap();
    }
    let rows = store.profiles(&ProfileQuery::default()).unwrap();
    let runs: Vec<&str> = rows.iter().map(|row| row.run_id.as_str()).collect();
    assert_eq!(runs, ["run-2", "run-1", "run-0"]);
    let since = ProfileQuery { since_unix_ms: Some(NOW + 1), ..ProfileQuery::default() };
    assert_eq!(store.profiles(&since).unwrap().len(), 2);
    let newest = store.devices(&DeviceQuery::default()).unwrap()[0].last_profile.unwrap();
    assert_eq!(newest.id, rows[0].id);
}

fn two_writers_store_everything_once(settings: &config::Store) {
    const RECORDS: u64 = 12;
    drop(Store::create(settings).unwrap());
    let write = |reversed: bool| {
        let settings = settings.clone();
        std::thread::spawn(move || {
            let mut store = Store::create(&settings).unwrap();
            let mut sequences: Vec<u64> = (1..=RECORDS).collect();
            if reversed {
                sequences.reverse();
            }
            let mut stored = 0;
            for pair in sequences.chunks(2) {
                let batch: Vec<_> =
                    pair.iter().flat_map(|s| ["b", "a"].map(|device| record(device, 1, *s))).collect();
                stored += store.commit(&batch, NOW).unwrap().stored;
            }
            stored
        })
    };
    let writers = [write(false), write(true)];
    let stored: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    assert_eq!(stored, 2 * RECORDS);
    let mut store = Store::create(settings).unwrap();
    assert_eq!(store.counts().unwrap().profiles, 2 * RECORDS);
    let receipts = commit(&mut store, &[record("a", 1, 1), record("b", 1, 1)]).receipts;
    assert!(receipts.iter().all(|(_, receipt)| receipt.contiguous == RECORDS), "{receipts:?}");
}
