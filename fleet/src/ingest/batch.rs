//! Messages that wait to be stored, with what acknowledges them.

use super::allowance::{Allowance, Share};
use crate::store::{Excess, Message, Refusals, Refused};
use clipmark_service::mqtt::AckHandle;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of records beyond which a batch is full, whatever their number.
const MOST_BYTES: usize = 16 << 20;

/// Bytes of records of one device beyond which the rest of its own waits for the next batch: whoever sends little
/// waits for a batch that is being written, and then for no more than this of each device that sends much.
const DEVICE_BYTES: usize = 1 << 20;

/// How often what found no room is counted in the store: it must not be written more often because more is refused.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The acknowledgement of a message, valid on the connection that it came by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledgement {
    /// Counts connections.
    pub(super) connection: u64,
    pub(super) handle: AckHandle,
}

/// The place of a message in the order in which messages came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

/// Acknowledgements in the order in which their messages came, which MQTT demands of them (MQTT-4.6.0-2): one that is
/// due waits for those before it.
#[derive(Debug, Default)]
struct Places {
    /// The number of the first.
    first: u64,
    /// With whether they are due.
    waiting: VecDeque<(Acknowledgement, bool)>,
}

impl Places {
    /// `None` where nobody waits for the acknowledgement: then nothing depends on its turn.
    fn enter(&mut self, acknowledgement: Acknowledgement, is_due: bool) -> Option<Place> {
        acknowledgement.handle.is_awaited().then(|| {
            self.waiting.push_back((acknowledgement, is_due));
            Place(self.first + self.waiting.len() as u64 - 1)
        })
    }

    fn settle(&mut self, place: Place) {
        let index = usize::try_from(place.0 - self.first);
        if let Some((_, is_due)) = index.ok().and_then(|index| self.waiting.get_mut(index)) {
            *is_due = true;
        }
    }

    /// The oldest, once it is due.
    fn next(&mut self) -> Option<Acknowledgement> {
        self.waiting.front().filter(|(_, is_due)| *is_due)?;
        self.first += 1;
        self.waiting.pop_front().map(|(acknowledgement, _)| acknowledgement)
    }
}

/// A message that waits to be stored.
#[derive(Debug)]
struct Waiting {
    message: Message,
    share: Share,
    place: Option<Place>,
}

/// What came: of each device in its order, and the devices in turn, so that one which sends much delays the others by
/// no more than its share of a batch.
#[derive(Debug, Default)]
pub(super) struct Queue {
    of: BTreeMap<String, VecDeque<Waiting>>,
    /// The devices of which messages wait, the next one first.
    turns: VecDeque<String>,
    places: Places,
    len: usize,
    allowance: Allowance,
    /// What found no room since that was last counted in the store.
    refused: Refusals,
    counted: Option<Instant>,
}

/// Messages taken out of the queue, and their places.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) places: Vec<Place>,
}

impl Queue {
    /// Whether a message may wait, of which nothing is known yet but its device, its length and what acknowledges it.
    /// One that may not is counted, and its acknowledgement waits for its turn.
    pub(super) fn admit(&mut self, device: &str, share: Share, acknowledgement: Acknowledgement) -> bool {
        let is_admitted = self.allowance.admit(device, share, Instant::now());
        if !is_admitted {
            let refused = self.refused.entry((device.to_owned(), Excess::Waiting)).or_default();
            refused.messages += 1;
            refused.bytes += share.bytes as u64;
            self.places.enter(acknowledgement, true);
        }
        is_admitted
    }

    /// Adds what was admitted.
    pub(super) fn push(&mut self, message: Message, share: Share, acknowledgement: Acknowledgement) {
        let place = self.places.enter(acknowledgement, false);
        let device = message.device();
        if !self.of.contains_key(device) {
            self.turns.push_back(device.to_owned());
            self.of.insert(device.to_owned(), VecDeque::new());
        }
        if let Some(of) = self.of.get_mut(device) {
            of.push_back(Waiting { message, share, place });
            self.len += 1;
        }
    }

    /// Nothing is to be stored of what came; `admitted` is the device and share, where it was admitted.
    pub(super) fn push_nothing(&mut self, device: &str, share: Share, acknowledgement: Acknowledgement) {
        self.allowance.release(device, share);
        self.places.enter(acknowledgement, true);
    }

    /// The store has refused what a device sent.
    pub(super) fn restrict(&mut self, device: &str) {
        self.allowance.restrict(device, Instant::now());
    }

    /// Whether there is nothing to store.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.is_to_be_counted(Instant::now())
    }

    fn is_to_be_counted(&self, now: Instant) -> bool {
        !self.refused.is_empty() && self.counted.is_none_or(|at| now.duration_since(at) >= COUNT_EVERY)
    }

    /// How many messages wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// How many messages of a device wait.
    pub(super) fn waiting(&self, device: &str) -> usize {
        self.allowance.waiting(device)
    }

    /// Whether more may be taken from the connection.
    pub(super) const fn has_room(&self) -> bool {
        self.allowance.has_room()
    }

    /// Takes messages, one of each device in turn: at most `most`, and of records not many more bytes than
    /// [`MOST_BYTES`], nor of one device than [`DEVICE_BYTES`].
    pub(super) fn take(&mut self, most: usize) -> Batch {
        let mut batch = Batch::default();
        self.count_refused(&mut batch);
        let (mut bytes, mut taken) = (0, BTreeMap::<String, usize>::new());
        let mut served = VecDeque::new();
        while bytes < MOST_BYTES && batch.messages.len() < most {
            let Some(device) = self.turns.pop_front() else { break };
            let Some(Waiting { message, share, place }) = self.pop(&device) else { continue };
            self.allowance.release(&device, share);
            bytes += size(&message);
            let of = taken.entry(device.clone()).or_default();
            *of += size(&message);
            match *of < DEVICE_BYTES {
                true => self.turns.push_back(device),
                false => served.push_back(device),
            }
            batch.messages.push(message);
            batch.places.extend(place);
        }
        self.turns.append(&mut served);
        batch
    }

    /// The oldest message of a device, which is forgotten when none is left.
    fn pop(&mut self, device: &str) -> Option<Waiting> {
        let waiting = self.of.get_mut(device).and_then(VecDeque::pop_front);
        match waiting {
            Some(_) => self.len -= 1,
            None => drop(self.of.remove(device)),
        }
        waiting
    }

    fn count_refused(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        if self.is_to_be_counted(now) {
            self.counted = Some(now);
            let counted = |((device, excess), refused): ((String, Excess), Refused)| {
                Message::Refused(device, excess, refused)
            };
            batch.messages.extend(std::mem::take(&mut self.refused).into_iter().map(counted));
        }
    }

    /// What was taken is stored.
    pub(super) fn settle(&mut self, places: Vec<Place>) {
        places.into_iter().for_each(|place| self.places.settle(place));
    }

    /// The next acknowledgement that may be sent.
    pub(super) fn next_due(&mut self) -> Option<Acknowledgement> {
        self.places.next()
    }
}

const fn size(message: &Message) -> usize {
    match message {
        Message::Record(record) => record.bytes.len(),
        Message::Poison(poison) => poison.payload.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Poison;
    use proptest::prelude::*;

    /// One that the broker waits for.
    fn acknowledgement(connection: u64) -> Acknowledgement {
        Acknowledgement { connection, handle: AckHandle::awaited(1) }
    }

    fn poison(name: &str, bytes: usize) -> Message {
        Message::Poison(Poison::new(&format!("clipmark/v1/d/{name}/state"), "", None, &vec![0; bytes]))
    }

    /// A message as the receiver treats it.
    fn came(queue: &mut Queue, message: Message, acknowledgement: Acknowledgement) {
        let share = Share { bytes: size(&message), is_awaited: acknowledgement.handle.is_awaited() };
        let device = message.device().to_owned();
        if queue.admit(&device, share, acknowledgement) {
            queue.push(message, share, acknowledgement);
        }
    }

    fn came_to_nothing(queue: &mut Queue, acknowledgement: Acknowledgement) {
        let share = Share { bytes: 0, is_awaited: acknowledgement.handle.is_awaited() };
        assert!(queue.admit("other", share, acknowledgement));
        queue.push_nothing("other", share, acknowledgement);
    }

    /// Stores what is taken at once; the numbers of the connections that may be acknowledged then.
    fn settled(queue: &mut Queue, batch: Batch) -> Vec<u64> {
        queue.settle(batch.places);
        std::iter::from_fn(|| queue.next_due()).map(|acknowledgement| acknowledgement.connection).collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_acknowledged_in_its_turn() {
        let mut queue = Queue::default();
        (0..1000).for_each(|number| came(&mut queue, poison("bad", 64 << 10), acknowledgement(number)));
        came(&mut queue, poison("good", 10), acknowledgement(1000));
        assert!(queue.has_room());
        let (mut messages, mut acknowledged) = (Vec::new(), Vec::new());
        while !queue.is_empty() {
            let mut batch = queue.take(100);
            messages.append(&mut batch.messages);
            acknowledged.extend(settled(&mut queue, batch));
        }
        assert_eq!(acknowledged, (0..=1000).collect::<Vec<u64>>());
        let of = |device: &str| messages.iter().filter(|message| message.device() == device).count();
        assert_eq!((of("bad"), of("good")), (256 + 1, 1));
        let Message::Refused(_, Excess::Waiting, refused) = &messages[0] else { panic!("{:?}", messages[0]) };
        assert_eq!(refused.messages, 1000 - 256);
    }

    #[test]
    fn one_that_sends_much_fills_no_batch_alone() {
        let mut queue = Queue::default();
        (0..256).for_each(|number| came(&mut queue, poison("bad", 64 << 10), acknowledgement(number)));
        came(&mut queue, poison("good", 10), acknowledgement(256));
        let first = queue.take(500);
        assert!(first.messages[..2].iter().any(|message| message.device() == "good"));
        assert_eq!(first.messages.len(), DEVICE_BYTES / (64 << 10) + 1);
        // Its acknowledgement waits although it is stored.
        assert_eq!(settled(&mut queue, first), (0..16).collect::<Vec<u64>>());
    }

    #[test]
    fn what_nobody_waits_for_leaves_nothing_behind() {
        let mut queue = Queue::default();
        let unawaited = Acknowledgement { connection: 1, handle: AckHandle::none() };
        (0..1000).for_each(|_| came_to_nothing(&mut queue, unawaited));
        (0..1000).for_each(|_| came(&mut queue, poison("bad", 10), unawaited));
        assert_eq!((queue.len(), queue.places.waiting.len()), (4, 0));
        queue.take(10);
        queue.take(10);
        assert!(queue.turns.is_empty() && queue.of.is_empty());
    }

    #[test]
    fn an_acknowledgement_waits_for_those_before_it() {
        let mut queue = Queue::default();
        came(&mut queue, poison("a", 0), acknowledgement(0));
        came_to_nothing(&mut queue, acknowledgement(1));
        assert_eq!(queue.next_due().map(|due| due.connection), None);
        came(&mut queue, poison("b", 0), acknowledgement(2));
        let [first, second] = [queue.take(1), queue.take(5)];
        assert_eq!((first.messages.len(), second.messages.len()), (1, 1));
        assert_eq!(settled(&mut queue, second), [] as [u64; 0]);
        assert_eq!(settled(&mut queue, first), [0, 1, 2]);
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn each_is_stored_once_in_the_order_of_its_device_and_acknowledged_in_the_order_of_all(
            steps in prop::collection::vec((0..5_u8, 0..(64_usize << 10), 1..20_usize), 1..100),
            order in any::<u64>(),
        ) {
            let mut queue = Queue::default();
            let (mut expected, mut taken) = (BTreeMap::<String, Vec<usize>>::new(), Vec::new());
            for (number, &(device, bytes, most)) in steps.iter().enumerate() {
                if device == 4 {
                    came_to_nothing(&mut queue, acknowledgement(number as u64));
                } else {
                    came(&mut queue, poison(&device.to_string(), bytes), acknowledgement(number as u64));
                    expected.entry(device.to_string()).or_default().push(bytes);
                }
                if number % 3 == 0 {
                    taken.push(queue.take(most));
                }
            }
            while !queue.is_empty() {
                taken.push(queue.take(7));
            }
            let mut stored = BTreeMap::<String, Vec<usize>>::new();
            for message in taken.iter().flat_map(|batch| &batch.messages) {
                stored.entry(message.device().to_owned()).or_default().push(size(message));
            }
            prop_assert_eq!(stored, expected);
            let mut acknowledged = Vec::new();
            while !taken.is_empty() {
                let index = usize::try_from(order).unwrap_or(usize::MAX) % taken.len();
                let batch = taken.swap_remove(index);
                acknowledged.extend(settled(&mut queue, batch));
            }
            acknowledged.extend(settled(&mut queue, Batch::default()));
            prop_assert_eq!(acknowledged, (0..steps.len() as u64).collect::<Vec<_>>());
        }
    }
}
