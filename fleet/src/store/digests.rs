//! Digests of what came under each sequence, by which a repetition is told from another content.
//!
//! Terms: a *conflict* is a second content under one sequence. It means two writers of one epoch: a board whose
//! disk was set back, or a copy of it. It is set aside and never confirmed. A board that learns of it sends what
//! it still has under a new epoch and names the *former* places, so that what is stored there is not stored again.

use super::StoreError;
use super::database::{Database, Value};
use super::write::{Record, Spool};
use clipmark_profile::message::{Place, RecordDigest, StoredRecord};

/// It is said to have been here, and not all of its content has come from where it moved to.
const SAID: i64 = 0;
/// It is said to have been here, and its content is stored elsewhere.
const ELSEWHERE: i64 = 1;
/// It came under this sequence.
const CAME: i64 = 2;

/// What is known of a sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Some record came under it.
    pub(super) came: bool,
    /// This record came under it, or is said to have been there.
    pub(super) is_same: bool,
}

/// The same 64 bits; databases have no unsigned numbers.
const fn number(digest: RecordDigest) -> Value<'static> {
    Value::Int(digest.0.cast_signed())
}

/// What is known of the sequence of `record`.
pub(super) fn known(database: &mut dyn Database, record: &Record) -> Result<Known, StoreError> {
    let mut known = Known::default();
    let sql = "SELECT digest, state FROM digest WHERE device = ?1 AND epoch = ?2 AND sequence = ?3";
    let values = [record.device.as_str().into(), record.epoch.0.into(), record.sequence.into()];
    database.query(sql, &values, &mut |row| {
        known.is_same |= row.int(0)? == Some(record.digest.0.cast_signed());
        known.came |= row.int(1)? == Some(CAME);
        Ok(())
    })?;
    Ok(known)
}

fn insert(database: &mut dyn Database, record: &Record, place: Place, state: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO digest (device, epoch, sequence, digest, state) VALUES (?1, ?2, ?3, ?4, ?5) \
        ON CONFLICT (device, epoch, sequence, digest) DO UPDATE SET state = excluded.state \
        WHERE excluded.state > digest.state";
    let (device, digest) = (record.device.as_str().into(), number(record.digest));
    let values = [device, place.epoch.0.into(), place.sequence.into(), digest, state.into()];
    database.execute(sql, &values).map(drop)
}

/// Notes that a record came.
pub(super) fn note(database: &mut dyn Database, record: &Record) -> Result<(), StoreError> {
    insert(database, record, Place { epoch: record.epoch, sequence: record.sequence }, CAME)
}

/// Notes where a record is said to have been, should it still come from there.
pub(super) fn note_former(
    database: &mut dyn Database,
    record: &Record,
    former: Place,
) -> Result<(), StoreError> {
    insert(database, record, former, SAID)
}

/// The newest record that came at or below `contiguous`.
pub(super) fn newest(
    database: &mut dyn Database,
    (device, epoch): &Spool,
    contiguous: u64,
) -> Result<Option<StoredRecord>, StoreError> {
    let mut found = None;
    let sql = "SELECT sequence, digest FROM digest WHERE device = ?1 AND epoch = ?2 AND sequence <= ?3 \
        AND state = ?4 ORDER BY sequence DESC LIMIT 1";
    let values = [device.as_str().into(), epoch.0.into(), contiguous.into(), CAME.into()];
    database.query(sql, &values, &mut |row| {
        let sequence = row.int(0)?.unwrap_or_default().cast_unsigned();
        let digest = RecordDigest(row.int(1)?.unwrap_or_default().cast_unsigned());
        found = Some(StoredRecord { sequence, digest });
        Ok(())
    })?;
    Ok(found)
}

/// The sequences of the content of `record`, there and at a former place: first, last, former first.
fn content(record: &Record, former: Place) -> [Value<'static>; 3] {
    let part = u64::from(record.part);
    let first = record.sequence.saturating_sub(part);
    let last = first.saturating_add(record.parts.into()).saturating_sub(1);
    [first, last, former.sequence.saturating_sub(part)].map(Value::from)
}

/// Whether the whole content that `record` completes came before, under one of its former places. The digests of
/// all of its parts are noted by now.
pub(super) fn came_before(database: &mut dyn Database, record: &Record) -> Result<bool, StoreError> {
    for former in &record.former {
        let [first, last, formerly] = content(record, *former);
        let sql = "SELECT COUNT(*) FROM digest n JOIN digest f ON f.device = n.device AND f.epoch = ?5 \
            AND f.sequence = n.sequence - ?3 + ?6 AND f.digest = n.digest AND f.state >= ?7 \
            WHERE n.device = ?1 AND n.epoch = ?2 AND n.sequence BETWEEN ?3 AND ?4 AND n.state = ?8";
        let (device, epoch) = (record.device.as_str().into(), record.epoch.0.into());
        let states = [ELSEWHERE, CAME].map(Value::from);
        let values = [device, epoch, first, last, former.epoch.0.into(), formerly, states[0], states[1]];
        let mut same = 0;
        database.query(sql, &values, &mut |row| {
            same = row.int(0)?.unwrap_or_default();
            Ok(())
        })?;
        if same == i64::from(record.parts) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The content that `record` completes is stored: it need not come from its former places any more.
pub(super) fn stored(database: &mut dyn Database, record: &Record) -> Result<(), StoreError> {
    for former in &record.former {
        let [first, last, formerly] = content(record, *former);
        let sql = "UPDATE digest SET state = ?7 WHERE device = ?1 AND epoch = ?5 AND state = ?8 \
            AND sequence BETWEEN ?6 AND ?6 + ?4 - ?3 AND EXISTS (SELECT 1 FROM digest n WHERE n.device = ?1 \
            AND n.epoch = ?2 AND n.sequence = digest.sequence - ?6 + ?3 AND n.digest = digest.digest)";
        let (device, epoch) = (record.device.as_str().into(), record.epoch.0.into());
        let states = [ELSEWHERE, SAID].map(Value::from);
        let values = [device, epoch, first, last, former.epoch.0.into(), formerly, states[0], states[1]];
        database.execute(sql, &values)?;
    }
    Ok(())
}
