//! Putting a batch of messages into the tables, all or nothing, and what may be promised afterwards.
//!
//! A batch is one transaction. The rows of its spools are locked first and in order, so that several
//! aggregators on one PostgreSQL neither overtake nor block each other for good; what is stored and what a
//! receipt says are decided under that lock.

use super::bounds::{Excess, InAll, Refusals, Refused, Room, device_of};
use super::content::Content;
use super::coverage::Coverage;
use super::database::{Database, Value};
use super::digests::Known;
use super::records::Inserted;
use super::{Store, StoreError, digests, inbox, live, records};
use clipmark_profile::message::{
    CommandStatus, DeviceInfo, DeviceState, Epoch, Place, Receipt, RecordDigest, SequenceRange,
};
use clipmark_profile::text::clean;
use clipmark_profile::topics::{CommandId, DeviceId, DeviceTopic, OperationName, Topic, UpKind};
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
    /// What tells it from another record under the same sequence.
    pub digest: RecordDigest,
    /// Where it was in earlier epochs of the device, the oldest first.
    pub former: Vec<Place>,
}

impl Record {
    pub(super) fn spool(&self) -> Spool {
        (self.device.clone(), self.epoch)
    }
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
    /// Records that came under a sequence under which another content is stored. They are set aside too.
    pub conflicts: Vec<(DeviceId, Place)>,
}

/// A spool under the lock of the transaction.
struct Locked {
    /// Coverage, conflicts and `has_moved` as they were found.
    before: (Coverage, u64, bool),
    now: Coverage,
    is_new: bool,
    stored: u64,
    lost: u64,
    bytes: u64,
    /// The lowest sequence under which two contents came.
    conflict: Option<u64>,
    conflicts: u64,
    /// Some of its records are said to have moved to another epoch.
    has_moved: bool,
    /// Whether all that came is refused, or nothing came: a receipt would only make the device send it again.
    is_idle: bool,
}

impl Locked {
    /// What may be said of it: nothing from the first conflict on.
    fn receipt(&self, database: &mut dyn Database, spool: &Spool) -> Result<Receipt, StoreError> {
        let below = self.conflict.map_or(u64::MAX, |conflict| conflict.saturating_sub(1));
        let contiguous = self.now.contiguous().min(below);
        let mut gaps = self.now.gaps();
        gaps.retain(|gap| gap.last < below);
        let stored = digests::newest(database, spool, contiguous)?;
        Ok(Receipt { stored, conflict: self.conflict, ..Receipt::new(spool.1, contiguous, gaps) })
    }
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

/// What a row of the spool says.
#[derive(Default)]
struct SpoolRow {
    contiguous: u64,
    highest: u64,
    records: u64,
    conflict: Option<u64>,
    conflicts: u64,
    has_moved: bool,
}

const RETURNED: &str = "RETURNING contiguous, highest, records, conflict, conflicts, moved";

/// Locks the row of a spool; one that is only said to be a record's former place is not made.
fn lock_row(
    database: &mut dyn Database,
    (device, epoch): &Spool,
    now: Value<'_>,
    makes: bool,
) -> Result<Option<SpoolRow>, StoreError> {
    let sql = match makes {
        true => format!(
            "INSERT INTO spool (device, epoch, contiguous, highest, records, lost, conflicts, moved, \
             first_received_unix_ms, last_received_unix_ms) VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, ?3, ?3) \
             ON CONFLICT (device, epoch) DO UPDATE SET last_received_unix_ms = excluded.last_received_unix_ms {RETURNED}"
        ),
        false => {
            format!("UPDATE spool SET last_received_unix_ms = ?3 WHERE device = ?1 AND epoch = ?2 {RETURNED}")
        }
    };
    let mut found = None;
    database.query(&sql, &[device.as_str().into(), epoch.0.into(), now], &mut |row| {
        let number = |column| row.int(column).map(|value| value.map(i64::cast_unsigned));
        found = Some(SpoolRow {
            contiguous: number(0)?.unwrap_or_default(),
            highest: number(1)?.unwrap_or_default(),
            records: number(2)?.unwrap_or_default(),
            conflict: number(3)?,
            conflicts: number(4)?.unwrap_or_default(),
            has_moved: number(5)? == Some(1),
        });
        Ok(())
    })?;
    Ok(found)
}

fn lock(
    database: &mut dyn Database,
    spool: &Spool,
    now: Value<'_>,
    makes: bool,
) -> Result<Option<Locked>, StoreError> {
    let Some(row) = lock_row(database, spool, now, makes)? else { return Ok(None) };
    let SpoolRow { contiguous, highest, records, conflict, conflicts, has_moved } = row;
    let mut ranges = Vec::new();
    if highest > contiguous {
        let values = [spool.0.as_str().into(), spool.1.0.into()];
        let sql = "SELECT first_sequence, last_sequence FROM ahead WHERE device = ?1 AND epoch = ?2";
        database.query(sql, &values, &mut |row| {
            let [first, last] = [row.int(0)?, row.int(1)?].map(|value| value.unwrap_or_default() as u64);
            ranges.push(SequenceRange { first, last });
            Ok(())
        })?;
    }
    let now = Coverage::new(contiguous, ranges);
    let before = (now.clone(), conflicts, has_moved);
    let is_new = makes && records == 0;
    Ok(Some(Locked {
        before,
        now,
        is_new,
        stored: 0,
        lost: 0,
        bytes: 0,
        conflict,
        conflicts,
        has_moved,
        is_idle: true,
    }))
}

fn unlock(database: &mut dyn Database, (device, epoch): &Spool, locked: &Locked) -> Result<(), StoreError> {
    let (device, epoch) = (Value::from(device.as_str()), Value::from(epoch.0));
    let (before, ..) = &locked.before;
    if (before, locked.before.1, locked.before.2) == (&locked.now, locked.conflicts, locked.has_moved) {
        return Ok(());
    }
    let sql = "UPDATE spool SET contiguous = ?3, highest = ?4, records = records + ?5, lost = lost + ?6, \
        bytes = bytes + ?7, conflict = ?8, conflicts = ?9, moved = ?10 WHERE device = ?1 AND epoch = ?2";
    let (contiguous, highest) = (locked.now.contiguous(), locked.now.highest());
    let counts = [contiguous, highest, locked.stored, locked.lost, locked.bytes].map(Value::from);
    let others = [locked.conflict.into(), locked.conflicts.into(), locked.has_moved.into()];
    database.execute(sql, &[&[device, epoch], &counts[..], &others].concat())?;
    // Only what changed: there may be many ranges.
    let [before, now] = [before, &locked.now].map(|coverage| coverage.ahead().collect::<BTreeSet<_>>());
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

/// A batch on its way into the tables.
struct Storing<'a> {
    database: &'a mut dyn Database,
    now: Value<'a>,
    others_wait: bool,
    room: Room,
    spools: BTreeMap<Spool, Locked>,
    committed: Committed,
}

impl Storing<'_> {
    /// Locks, in one order, the spools of the batch that a device has or may begin, and those from which records moved.
    fn lock_all(&mut self, batch: &[&Message]) -> Result<(), StoreError> {
        let mut spools: BTreeMap<Spool, bool> = BTreeMap::new();
        for message in batch {
            let Message::Record(record) = message else { continue };
            spools.insert(record.spool(), true);
            for former in &record.former {
                spools.entry((record.device.clone(), former.epoch)).or_default();
            }
        }
        for (spool, makes) in spools {
            if makes && !may_have(self.database, &mut self.room, &spool)? {
                continue;
            }
            if let Some(locked) = lock(self.database, &spool, self.now, makes)? {
                self.room.take(spool.0.as_str(), Excess::Epochs, u64::from(locked.is_new));
                self.spools.insert(spool, locked);
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<(), StoreError> {
        let (database, now, room) = (&mut *self.database, self.now, &mut self.room);
        match message {
            Message::Record(record) => self.record(record),
            Message::Poison(poison) => {
                self.committed.set_aside += 1;
                records::set_aside(database, poison, None, now, room)
            }
            Message::State(device, state) => live::state(database, device, state, now),
            Message::Info(info) => live::info(database, info, now),
            Message::Status(device, status) => live::status(database, device, status, now, room),
            Message::Refused(device, excess, refused) => {
                room.refuse(device, *excess, *refused);
                Ok(())
            }
        }
    }

    /// Stores a record, unless it is there, contradicts what is there, or finds no room.
    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        let of = Refused { messages: 1, bytes: record.bytes.len() as u64 };
        let Some(locked) = self.spools.get_mut(&record.spool()) else {
            self.room.refuse(record.device.as_str(), Excess::Epochs, of);
            return Ok(());
        };
        let is_known = locked.now.contains(record.sequence);
        let known = match is_known || locked.has_moved {
            true => digests::known(self.database, record)?,
            false => Known::default(),
        };
        match known {
            Known { is_same: false, came: true } if is_known => return self.conflict(record),
            Known { is_same: false, .. } if !is_known => {}
            _ => {
                // Also when it came before from the place that it has moved to.
                locked.now.cover(SequenceRange { first: record.sequence, last: record.sequence });
                locked.is_idle = false;
                self.committed.repeated += 1;
                return Ok(());
            }
        }
        if let Some(excess) = self.room.lacks(self.database, record, &locked.now)? {
            self.room.refuse(record.device.as_str(), excess, of);
            return Ok(());
        }
        self.new_record(record)
    }

    /// Stores a record for which there is room.
    fn new_record(&mut self, record: &Record) -> Result<(), StoreError> {
        let own = SequenceRange { first: record.sequence, last: record.sequence };
        let locked = self.spools.get_mut(&record.spool()).expect("the spool of a new record was locked");
        let ranges = locked.now.ranges();
        locked.is_idle = false;
        locked.stored += locked.now.cover(own);
        digests::note(self.database, record)?;
        for former in &record.former {
            digests::note_former(self.database, record, *former)?;
            if let Some(spool) = self.spools.get_mut(&(record.device.clone(), former.epoch)) {
                spool.has_moved = true;
            }
        }
        match records::insert(self.database, record, self.now, self.others_wait, &mut self.room)? {
            Inserted::CameBefore => {
                self.committed.repeated += 1;
                digests::stored(self.database, record)?;
            }
            Inserted::Waits => self.committed.stored += 1,
            Inserted::Stored { lost } => {
                digests::stored(self.database, record)?;
                let is_unreadable = matches!(record.content, Some(Content::Unreadable { .. }));
                self.committed.set_aside += u64::from(is_unreadable);
                self.committed.stored += u64::from(!is_unreadable);
                lost.into_iter().for_each(|lost| self.lost(record, lost));
            }
        }
        let locked = self.spools.get_mut(&record.spool()).expect("the spool of a new record was locked");
        let (device, bytes) = (record.device.as_str(), record.bytes.len() as u64);
        locked.bytes += bytes;
        self.room.take(device, Excess::Bytes, bytes);
        self.room.take(device, Excess::Gaps, locked.now.ranges().saturating_sub(ranges));
        self.room.give_back(device, Excess::Gaps, ranges.saturating_sub(locked.now.ranges()));
        Ok(())
    }

    /// Takes the device's word that records will not come. They are of the epoch in which it was first said.
    fn lost(&mut self, record: &Record, lost: SequenceRange) {
        let said = record.former.first().copied();
        let Place { epoch, sequence } =
            said.unwrap_or(Place { epoch: record.epoch, sequence: record.sequence });
        let Some(locked) = self.spools.get_mut(&(record.device.clone(), epoch)) else { return };
        // A range that reaches beyond the event itself would cover what is still to come.
        let last = lost.last.min(sequence);
        locked.lost += locked.now.cover(SequenceRange { first: lost.first.max(1), last });
    }

    /// Keeps a second content under one sequence, apart. Nothing from there on is confirmed any more.
    fn conflict(&mut self, record: &Record) -> Result<(), StoreError> {
        let Record { device, epoch, sequence, .. } = record;
        let locked = self.spools.get_mut(&record.spool()).expect("the spool of a known record was locked");
        locked.is_idle = false;
        locked.conflict = Some(locked.conflict.map_or(*sequence, |lowest| lowest.min(*sequence)));
        locked.conflicts += 1;
        let reason = format!(
            "another content is stored as record {sequence} of epoch {epoch}: the board's disk was set back or \
             copied to another board; it sends its records again under a new epoch"
        );
        let topic = Topic::device(device, DeviceTopic::Up(record.kind)).to_string();
        let poison = Poison::new(&topic, &reason, None, &record.bytes);
        let key = [device.as_str().into(), epoch.0.into(), (*sequence).into()];
        records::set_aside(self.database, &poison, Some(key), self.now, &mut self.room)?;
        self.committed.set_aside += 1;
        self.committed.conflicts.push((device.clone(), Place { epoch: *epoch, sequence: *sequence }));
        Ok(())
    }

    fn finish(mut self) -> Result<(Committed, InAll), StoreError> {
        for (spool, locked) in &self.spools {
            unlock(self.database, spool, locked)?;
            if !locked.is_idle {
                let receipt = locked.receipt(self.database, spool)?;
                self.committed.receipts.push((spool.0.clone(), receipt));
            }
        }
        self.room.note(self.database, self.now)?;
        let all = self.room.all();
        self.committed.refused = self.room.refused;
        Ok((self.committed, all))
    }
}

fn store_all(
    database: &mut dyn Database,
    batch: &[&Message],
    now: Value<'_>,
    others_wait: bool,
    room: Room,
) -> Result<(Committed, InAll), StoreError> {
    let (spools, committed) = (BTreeMap::new(), Committed::default());
    let mut storing = Storing { database, now, others_wait, room, spools, committed };
    storing.lock_all(batch)?;
    for message in batch {
        storing.message(message)?;
    }
    storing.finish()
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
        let (committed, all) = self.in_transaction(|database| {
            let room = Room::new(database, most, all)?;
            store_all(database, &ordered, now_unix_ms.into(), others_wait, room)
        })?;
        self.has_unread = others_wait;
        self.all = all;
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
