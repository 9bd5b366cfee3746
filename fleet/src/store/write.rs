//! Putting a batch of messages into the tables, all or nothing, and what may be promised afterwards.
//!
//! A batch is one transaction. The rows of its spools are locked first and in order, so that several
//! aggregators on one PostgreSQL neither overtake nor block each other for good; what is stored and what a
//! receipt says are decided under that lock.

use super::content::Content;
use super::coverage::Coverage;
use super::database::{Database, Value};
use super::{Store, StoreError, inbox, live, records};
use clipmark_profile::message::{CommandStatus, DeviceInfo, DeviceState, Epoch, Receipt, SequenceRange};
use clipmark_profile::topics::{CommandId, DeviceId, OperationName, UpKind};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

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
}

impl Message {
    fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Record(record) => Some(&record.device),
            Self::Poison(_) => None,
            Self::State(device, _) | Self::Status(device, _) => Some(device),
            Self::Info(info) => Some(&info.device),
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
    /// Why it is set aside.
    pub reason: String,
    /// Its MQTT content type.
    pub content_type: Option<String>,
    /// The message.
    pub payload: Vec<u8>,
    /// SHA-256 of the message, hexadecimal, by which a repetition is known.
    pub digest: String,
}

impl Poison {
    /// A message that is set aside for `reason`.
    #[must_use]
    pub fn new(topic: String, reason: String, content_type: Option<String>, payload: Vec<u8>) -> Self {
        let digest = Sha256::digest(&payload).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { topic, reason, content_type, payload, digest }
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
}

/// A spool under the lock of the transaction.
struct Locked {
    before: Coverage,
    now: Coverage,
    stored: u64,
    lost: u64,
}

fn lock(database: &mut dyn Database, (device, epoch): &Spool, now: Value<'_>) -> Result<Locked, StoreError> {
    let (device, epoch) = (Value::from(device.as_str()), Value::from(epoch.0));
    let (mut contiguous, mut highest) = (0, 0);
    let sql = "INSERT INTO spool (device, epoch, contiguous, highest, records, lost, first_received_unix_ms, \
        last_received_unix_ms) VALUES (?1, ?2, 0, 0, 0, 0, ?3, ?3) ON CONFLICT (device, epoch) DO UPDATE SET \
        last_received_unix_ms = excluded.last_received_unix_ms RETURNING contiguous, highest";
    database.query(sql, &[device, epoch, now], &mut |row| {
        contiguous = row.int(0)?.unwrap_or_default() as u64;
        highest = row.int(1)?.unwrap_or_default() as u64;
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
    Ok(Locked { before: now.clone(), now, stored: 0, lost: 0 })
}

fn unlock(database: &mut dyn Database, (device, epoch): &Spool, locked: &Locked) -> Result<(), StoreError> {
    let (device, epoch) = (Value::from(device.as_str()), Value::from(epoch.0));
    if locked.now == locked.before {
        return Ok(());
    }
    let sql = "UPDATE spool SET contiguous = ?3, highest = ?4, records = records + ?5, lost = lost + ?6 \
        WHERE device = ?1 AND epoch = ?2";
    let (contiguous, highest) = (locked.now.contiguous(), locked.now.highest());
    let counts = [contiguous, highest, locked.stored, locked.lost].map(Value::from);
    database.execute(sql, &[device, epoch, counts[0], counts[1], counts[2], counts[3]])?;
    if locked.before.ahead().next().is_some() {
        database.execute("DELETE FROM ahead WHERE device = ?1 AND epoch = ?2", &[device, epoch])?;
    }
    for range in locked.now.ahead() {
        let sql = "INSERT INTO ahead (device, epoch, first_sequence, last_sequence) VALUES (?1, ?2, ?3, ?4)";
        database.execute(sql, &[device, epoch, range.first.into(), range.last.into()])?;
    }
    Ok(())
}

fn store_record(
    database: &mut dyn Database,
    record: &Record,
    locked: &mut Locked,
    now: Value<'_>,
    others_wait: bool,
) -> Result<(), StoreError> {
    let own = SequenceRange { first: record.sequence, last: record.sequence };
    locked.stored += locked.now.cover(own);
    if let Some(lost) = records::insert(database, record, now, others_wait)? {
        // A range that reaches beyond the event itself would cover what is still to come.
        let last = lost.last.min(record.sequence);
        locked.lost += locked.now.cover(SequenceRange { first: lost.first.max(1), last });
    }
    Ok(())
}

fn store_all(
    database: &mut dyn Database,
    batch: &[&Message],
    now: Value<'_>,
    others_wait: bool,
) -> Result<(Committed, BTreeMap<Spool, Locked>), StoreError> {
    let mut committed = Committed::default();
    let spools: BTreeSet<Spool> = batch
        .iter()
        .filter_map(|message| match message {
            Message::Record(record) => Some((record.device.clone(), record.epoch)),
            _ => None,
        })
        .collect();
    let mut locked = BTreeMap::new();
    for spool in spools {
        let lock = lock(database, &spool, now)?;
        locked.insert(spool, lock);
    }
    for message in batch {
        match message {
            Message::Record(record) => {
                let spool = (record.device.clone(), record.epoch);
                let locked = locked.get_mut(&spool).expect("every spool of the batch was locked");
                if locked.now.contains(record.sequence) {
                    committed.repeated += 1;
                    continue;
                }
                let is_unreadable = matches!(record.content, Some(Content::Unreadable { .. }));
                committed.set_aside += u64::from(is_unreadable);
                committed.stored += u64::from(!is_unreadable);
                store_record(database, record, locked, now, others_wait)?;
            }
            Message::Poison(poison) => {
                records::set_aside(database, poison, None, now)?;
                committed.set_aside += 1;
            }
            Message::State(device, state) => live::state(database, device, state, now)?,
            Message::Info(info) => live::info(database, info, now)?,
            Message::Status(device, status) => live::status(database, device, status, now)?,
        }
    }
    for (spool, locked) in &locked {
        unlock(database, spool, locked)?;
    }
    Ok((committed, locked))
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
        let (mut committed, locked) =
            self.in_transaction(|database| store_all(database, &ordered, now_unix_ms.into(), others_wait))?;
        self.has_unread = others_wait;
        committed.receipts = locked
            .into_iter()
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
