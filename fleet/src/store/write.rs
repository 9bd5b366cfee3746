//! Putting a batch of messages into the tables, all or nothing, and what may be promised afterwards.
//!
//! A batch is one transaction. The rows of its spools are locked first and in order, so that several
//! aggregators on one PostgreSQL neither overtake nor block each other for good; what is stored and what a
//! receipt says are decided under that lock.

use super::bounds::{Excess, InAll, Refusals, Refused, Room, device_of};
use super::content::Content;
use super::coverage::Coverage;
use super::database::{Database, Value};
use super::{Store, StoreError, inbox, live, records};
use clipmark_profile::message::{CommandStatus, DeviceInfo, DeviceState, Epoch, Receipt, SequenceRange};
use clipmark_profile::text::clean;
use clipmark_profile::topics::{CommandId, DeviceId, OperationName, UpKind};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that are kept of a message that cannot be understood, and characters of what is said of it.
const KEPT_BYTES: usize = 64 << 10;
const KEPT_CHARACTERS: usize = 500;

/// Identifies a spool for all time.
pub(super) type Spool = (DeviceId, Epoch);

/// Something to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A record of a device's spool.
    Record(Record),
    /// What could not be understood, down to the identity of its record.
    Poison(Poison),
    /// A device's state or last will.
    State(DeviceId, DeviceState),
    /// A device's birth message.
    Info(Box<DeviceInfo>),
    /// A command's status on a device.
    Status(DeviceId, Box<CommandStatus>),
    /// What the receiver has refused of a device, which is empty where a topic names none: only counted.
    Refused(String, Excess, Refused),
}

impl Message {
    /// The device's name; empty where a topic names none.
    pub(crate) fn device(&self) -> &str {
        match self {
            Self::Record(record) => record.device.as_str(),
            Self::Poison(poison) => &poison.device,
            Self::State(device, _) | Self::Status(device, _) => device.as_str(),
            Self::Info(info) => info.device.as_str(),
            Self::Refused(device, ..) => device,
        }
    }
}

/// A record whose envelope makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The device.
    pub device: DeviceId,
    /// The spool.
    pub epoch: Epoch,
    /// The place in the spool.
    pub sequence: u64,
    /// What it is.
    pub kind: UpKind,
    /// Which part of its content this is, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// The command that led to it.
    pub command: Option<CommandId>,
    /// When the device spooled it, by its own clock.
    pub spooled_unix_ms: u64,
    /// The bytes of this part.
    pub bytes: Vec<u8>,
    /// The content, when this is all of it and has been read; else it is read later.
    pub content: Option<Content>,
}

/// A message that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Where it came.
    pub topic: String,
    /// The device that the topic names; empty where it names none.
    pub device: String,
    /// Why it is set aside.
    pub reason: String,
    /// Its MQTT content type.
    pub content_type: Option<String>,
    /// The message, of a long one its beginning.
    pub payload: Vec<u8>,
    /// SHA-256 of the whole message, hexadecimal, by which a repetition is known.
    pub digest: String,
}

impl Poison {
    /// A message that is set aside for `reason`.
    #[must_use]
    pub fn new(topic: &str, reason: &str, content_type: Option<&str>, payload: &[u8]) -> Self {
        let text = |text: &str| clean(text, KEPT_CHARACTERS);
        let whole = payload.len();
        let cut = if whole > KEPT_BYTES {
            format!(" (of {whole} bytes {KEPT_BYTES} are kept)")
        } else {
            String::new()
        };
        Self {
            topic: text(topic),
            device: device_of(topic),
            reason: text(reason) + &cut,
            content_type: content_type.map(text),
            payload: payload[..whole.min(KEPT_BYTES)].to_vec(),
            digest: Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// What a batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// What each device may forget, one a spool that the batch touched.
    pub receipts: Vec<(DeviceId, Receipt)>,
    /// Records stored for the first time.
    pub stored: u64,
    /// Records that were there already.
    pub repeated: u64,
    /// Messages set aside.
    pub set_aside: u64,
    /// Messages refused, by device and reason.
    pub refused: Refusals,
}

/// A spool under the lock of the transaction.
struct Locked {
    before: Coverage,
    now: Coverage,
    is_new: bool,
    stored: u64,
    lost: u64,
    bytes: u64,
    /// Whether all that came is refused: a receipt would only make the device send it again.
    is_idle: bool,
}

/// Whether a device may begin this epoch, or has.
fn may_have(
    database: &mut dyn Database,
    room: &mut Room,
    (device, epoch): &Spool,
) -> Result<bool, StoreError> {
    if room.has(database, device.as_str(), Excess::Epochs, 1)? {
        return Ok(true);
    }
    let mut is_there = false;
    let sql = "SELECT 1 FROM spool WHERE device = ?1 AND epoch = ?2";
    database.query(sql, &[device.as_str().into(), epoch.0.into()], &mut |_| {
        is_there = true;
        Ok(())
    })?;
    Ok(is_there)
}

fn lock(database: &mut dyn Database, (device, epoch): &Spool, now: Value<'_>) -> Result<Locked, StoreError> {
    let (device, epoch) = (Value::from(device.as_str()), Value::from(epoch.0));
    let (mut contiguous, mut highest, mut records) = (0, 0, 0);
    let sql = "INSERT INTO spool (device, epoch, contiguous, highest, records, lost, first_received_unix_ms, \
        last_received_unix_ms) VALUES (?1, ?2, 0, 0, 0, 0, ?3, ?3) ON CONFLICT (device, epoch) DO UPDATE SET \
        last_received_unix_ms = excluded.last_received_unix_ms RETURNING contiguous, highest, records";
    database.query(sql, &[device, epoch, now], &mut |row| {
        contiguous = row.int(0)?.unwrap_or_default() as u64;
        highest = row.int(1)?.unwrap_or_default() as u64;
        records = row.int(2)?.unwrap_or_default();
        Ok(())
    })?;
    let mut ranges = Vec::new();
    if highest > contiguous {
        let sql = "SELECT first_sequence, last_sequence FROM ahead WHERE device = ?1 AND epoch = ?2";
        database.query(sql, &[device, epoch], &mut |row| {
            let [first, last] = [row.int(0)?, row.int(1)?].map(|value| value.unwrap_or_default() as u64);
            ranges.push(SequenceRange { first, last });
            Ok(())
        })?;
    }
    let now = Coverage::new(contiguous, ranges);
    Ok(Locked { before: now.clone(), now, is_new: records == 0, stored: 0, lost: 0, bytes: 0, is_idle: true })
}

fn unlock(database: &mut dyn Database, (device, epoch): &Spool, locked: &Locked) -> Result<(), StoreError> {
    let (device, epoch) = (Value::from(device.as_str()), Value::from(epoch.0));
    if locked.now == locked.before {
        return Ok(());
    }
    let sql = "UPDATE spool SET contiguous = ?3, highest = ?4, records = records + ?5, lost = lost + ?6, \
        bytes = bytes + ?7 WHERE device = ?1 AND epoch = ?2";
    let (contiguous, highest) = (locked.now.contiguous(), locked.now.highest());
    let counts = [contiguous, highest, locked.stored, locked.lost, locked.bytes].map(Value::from);
    database.execute(sql, &[[device, epoch].as_slice(), &counts].concat())?;
    // Only what changed: there may be many ranges.
    let [before, now] =
        [&locked.before, &locked.now].map(|coverage| coverage.ahead().collect::<BTreeSet<_>>());
    for range in before.difference(&now) {
        let sql = "DELETE FROM ahead WHERE device = ?1 AND epoch = ?2 AND first_sequence = ?3";
        database.execute(sql, &[device, epoch, range.first.into()])?;
    }
    for range in now.difference(&before) {
        let sql = "INSERT INTO ahead (device, epoch, first_sequence, last_sequence) VALUES (?1, ?2, ?3, ?4)";
        database.execute(sql, &[device, epoch, range.first.into(), range.last.into()])?;
    }
    Ok(())
}

/// Stores a record for which there is room.
fn store_record(
    database: &mut dyn Database,
    record: &Record,
    locked: &mut Locked,
    now: Value<'_>,
    others_wait: bool,
    room: &mut Room,
) -> Result<(), StoreError> {
    let own = SequenceRange { first: record.sequence, last: record.sequence };
    let ranges = locked.now.ranges();
    locked.stored += locked.now.cover(own);
    if let Some(lost) = records::insert(database, record, now, others_wait, room)? {
        // A range that reaches beyond the event itself would cover what is still to come.
        let last = lost.last.min(record.sequence);
        locked.lost += locked.now.cover(SequenceRange { first: lost.first.max(1), last });
    }
    let (device, bytes) = (record.device.as_str(), record.bytes.len() as u64);
    locked.bytes += bytes;
    room.take(device, Excess::Bytes, bytes);
    room.take(device, Excess::Gaps, locked.now.ranges().saturating_sub(ranges));
    room.give_back(device, Excess::Gaps, ranges.saturating_sub(locked.now.ranges()));
    Ok(())
}

/// Locks the spools of a batch that have one or may begin one.
fn lock_all(
    database: &mut dyn Database,
    batch: &[&Message],
    now: Value<'_>,
    room: &mut Room,
) -> Result<BTreeMap<Spool, Locked>, StoreError> {
    let spools: BTreeSet<Spool> = batch
        .iter()
        .filter_map(|message| match message {
            Message::Record(record) => Some((record.device.clone(), record.epoch)),
            _ => None,
        })
        .collect();
    let mut locked = BTreeMap::new();
    for spool in spools {
        if may_have(database, room, &spool)? {
            let lock = lock(database, &spool, now)?;
            room.take(spool.0.as_str(), Excess::Epochs, u64::from(lock.is_new));
            locked.insert(spool, lock);
        }
    }
    Ok(locked)
}

/// Stores a record, unless it is there or finds no room.
fn store_once(
    database: &mut dyn Database,
    record: &Record,
    locked: Option<&mut Locked>,
    now: Value<'_>,
    others_wait: bool,
    (room, committed): (&mut Room, &mut Committed),
) -> Result<(), StoreError> {
    let of = Refused { messages: 1, bytes: record.bytes.len() as u64 };
    let Some(locked) = locked else {
        room.refuse(record.device.as_str(), Excess::Epochs, of);
        return Ok(());
    };
    if locked.now.contains(record.sequence) {
        locked.is_idle = false;
        committed.repeated += 1;
        return Ok(());
    }
    if let Some(excess) = room.lacks(database, record, &locked.now)? {
        room.refuse(record.device.as_str(), excess, of);
        return Ok(());
    }
    locked.is_idle = false;
    let is_unreadable = matches!(record.content, Some(Content::Unreadable { .. }));
    committed.set_aside += u64::from(is_unreadable);
    committed.stored += u64::from(!is_unreadable);
    store_record(database, record, locked, now, others_wait, room)
}

fn store_all(
    database: &mut dyn Database,
    batch: &[&Message],
    now: Value<'_>,
    others_wait: bool,
    mut room: Room,
) -> Result<(Committed, BTreeMap<Spool, Locked>, InAll), StoreError> {
    let mut committed = Committed::default();
    let mut locked = lock_all(database, batch, now, &mut room)?;
    for message in batch {
        match message {
            Message::Record(record) => {
                let of_spool = locked.get_mut(&(record.device.clone(), record.epoch));
                store_once(database, record, of_spool, now, others_wait, (&mut room, &mut committed))?;
            }
            Message::Poison(poison) => {
                records::set_aside(database, poison, None, now, &mut room)?;
                committed.set_aside += 1;
            }
            Message::State(device, state) => live::state(database, device, state, now)?,
            Message::Info(info) => live::info(database, info, now)?,
            Message::Status(device, status) => live::status(database, device, status, now, &mut room)?,
            Message::Refused(device, excess, refused) => room.refuse(device, *excess, *refused),
        }
    }
    for (spool, locked) in &locked {
        unlock(database, spool, locked)?;
    }
    room.note(database, now)?;
    let all = room.all();
    committed.refused = room.refused;
    Ok((committed, locked, all))
}

impl Store {
    /// Stores a batch durably, each record once whatever was stored before. `now_unix_ms` is this machine's
    /// clock. Nothing of the batch may be acknowledged unless this succeeds.
    ///
    /// # Errors
    /// The database's refusal. Nothing of the batch is then stored; when the error
    /// [is passing](StoreError::is_passing) the same batch may be tried again.
    pub fn commit(&mut self, batch: &[Message], now_unix_ms: u64) -> Result<Committed, StoreError> {
        // Rows are changed in one order everywhere, so that two aggregators cannot wait for each other.
        let mut ordered: Vec<&Message> = batch.iter().collect();
        ordered.sort_by_key(|message| message.device());
        let is_unread = |message: &Message| matches!(message, Message::Record(record) if record.content.is_none() && inbox::can_wait(record));
        // When one content of a batch waits, all do: they are read in the order of arrival.
        let others_wait = self.has_unread || batch.iter().any(is_unread);
        let (most, all) = (self.most, self.all);
        let (mut committed, locked, all) = self.in_transaction(|database| {
            let room = Room::new(database, most, all)?;
            store_all(database, &ordered, now_unix_ms.into(), others_wait, room)
        })?;
        self.has_unread = others_wait;
        self.all = all;
        committed.receipts = locked
            .into_iter()
            .filter(|(_, locked)| !locked.is_idle)
            .map(|((device, epoch), Locked { now, .. })| {
                let (contiguous, gaps) = (now.contiguous(), now.gaps());
                (device, Receipt { epoch, contiguous, gaps, aggregator: None })
            })
            .collect();
        Ok(committed)
    }

    /// Notes that `devices` are about to be asked, so that those which never answer are known too.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn asked(
        &mut self,
        command: &CommandId,
        operation: &OperationName,
        devices: &[DeviceId],
        now_unix_ms: u64,
    ) -> Result<(), StoreError> {
        self.in_transaction(|database| {
            devices
                .iter()
                .try_for_each(|device| live::asked(database, command, operation, device, now_unix_ms.into()))
        })
    }
}
