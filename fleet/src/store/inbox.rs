//! Contents that are stored and not yet read.
//!
//! Reading a profile into its rows costs many times what storing its bytes costs. When more comes than can be
//! read, whole contents are put here in the transaction that a receipt rests on, and are read when there is
//! time, in the order in which they came. Nothing else of a record waits: its place in the spool, and with
//! it the receipt, are decided at once.

use super::bounds::Room;
use super::content::Content;
use super::database::{Database, Row, Value};
use super::read::{count, identifier, text};
use super::write::Record;
use super::{Store, StoreError, records};
use clipmark_profile::message::{Epoch, RecordDigest};
use clipmark_profile::topics::{CommandId, DeviceId, UpKind};

/// Whether a record's content may be read later. What declares others lost may not: receipts rest on it.
pub(super) fn can_wait(record: &Record) -> bool {
    record.parts == 1 && record.kind != UpKind::Event
}

/// Puts the content of `record` aside, to be read later.
pub(super) fn put_off(
    database: &mut dyn Database,
    record: &Record,
    now: Value<'_>,
) -> Result<(), StoreError> {
    let values = [
        record.device.as_str().into(),
        record.epoch.0.into(),
        record.sequence.into(),
        record.kind.name().into(),
        record.command.as_ref().map(CommandId::as_str).into(),
        record.spooled_unix_ms.into(),
        now,
        record.bytes.as_slice().into(),
    ];
    let sql = "INSERT INTO inbox (device, epoch, sequence, kind, command, spooled_unix_ms, received_unix_ms, content) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    database.execute(sql, &values).map(drop)
}

/// A record that waits, its number, and when it was received.
struct Waiting {
    number: i64,
    received_unix_ms: u64,
    record: Record,
}

fn waiting(row: &dyn Row) -> Result<Waiting, StoreError> {
    let kind = text(row, 4, "kind")?;
    let known = UpKind::ALL.into_iter().find(|known| known.name() == kind);
    let command = row.text(5)?.map(|text| identifier(&text, "command id")).transpose()?;
    let record = Record {
        device: identifier(&text(row, 1, "device")?, "device")?,
        epoch: Epoch(count(row, 2, "epoch")?),
        sequence: count(row, 3, "sequence")?,
        kind: known.ok_or(StoreError::Damaged { what: "kind of a record", problem: kind })?,
        part: 0,
        parts: 1,
        command,
        spooled_unix_ms: count(row, 6, "time of spooling")?,
        bytes: row.blob(8)?.unwrap_or_default(),
        content: None,
        // Both were looked at when it came.
        digest: RecordDigest(0),
        former: Vec::new(),
    };
    Ok(Waiting {
        number: row.int(0)?.unwrap_or_default(),
        received_unix_ms: count(row, 7, "time of receipt")?,
        record,
    })
}

impl Store {
    /// Whether there may be contents that are not yet read.
    #[must_use]
    pub const fn has_unread(&self) -> bool {
        self.has_unread
    }

    /// Reads at most `most` contents that wait, the oldest first, and returns the devices that they are of.
    /// With a `reason` they are set aside instead, for what the database refuses.
    ///
    /// # Errors
    /// The database's refusal; all of them then wait as before.
    pub fn read_waiting(&mut self, most: u32, reason: Option<&str>) -> Result<Vec<DeviceId>, StoreError> {
        let skip = self.database.dialect().skip_locked;
        let sql = format!(
            "SELECT inbox, device, epoch, sequence, kind, command, spooled_unix_ms, received_unix_ms, content \
             FROM inbox ORDER BY inbox LIMIT ?1 {skip}"
        );
        let (most_bytes, in_all) = (self.most, self.all);
        let (devices, in_all) = self.in_transaction(|database| {
            let mut room = Room::new(database, most_bytes, in_all)?;
            let mut all = Vec::new();
            database.query(&sql, &[most.into()], &mut |row| {
                all.push(waiting(row)?);
                Ok(())
            })?;
            // Rows are changed in one order everywhere; of one device they stay in the order of arrival.
            all.sort_by(|a, b| a.record.device.cmp(&b.record.device));
            for Waiting { number, received_unix_ms, record } in &mut all {
                record.content = Some(match reason {
                    Some(reason) => Content::Unreadable { reason: reason.to_owned() },
                    None => Content::read(record.kind, &record.bytes),
                });
                records::insert(database, record, (*received_unix_ms).into(), false, &mut room)?;
                database.execute("DELETE FROM inbox WHERE inbox = ?1", &[(*number).into()])?;
            }
            if let Some(last) = all.last() {
                room.note(database, last.received_unix_ms.into())?;
            }
            Ok((all.into_iter().map(|waiting| waiting.record.device).collect::<Vec<_>>(), room.all()))
        })?;
        self.all = in_all;
        self.has_unread = devices.len() as u64 == u64::from(most);
        Ok(devices)
    }

    /// Asks the database whether contents wait, which another program may have left.
    pub(super) fn find_unread(&mut self) -> Result<(), StoreError> {
        let mut found = false;
        self.database.query("SELECT inbox FROM inbox ORDER BY inbox LIMIT 1", &[], &mut |_| {
            found = true;
            Ok(())
        })?;
        self.has_unread = found;
        Ok(())
    }
}
