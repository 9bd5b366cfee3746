//! How much of the store one device may take, and all together.
//!
//! What a device may do by its protocol it may also do without end: begin contents that it never finishes, leave
//! out sequences, begin epoch after epoch, send what nobody understands. Each of these is counted here, per
//! device and in all, and what exceeds its bound is *refused*: it is not stored and no receipt covers it, so a
//! device that means well still has it. Refusals are counted in the store, with the device's name.
//!
//! Counts in all are kept in memory and read again now and then: several aggregators over one database may
//! exceed them by what they store in between.

use super::StoreError;
use super::coverage::Coverage;
use super::database::{Database, Value};
use super::write::Record;
use clipmark_profile::topics::DeviceId;
use std::collections::BTreeMap;

/// Commits after which the counts in all are read again.
const REFRESH: u32 = 4096;

/// What a device exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Excess {
    /// Bytes of contents in the store.
    Bytes,
    /// Spools: a device begins one when it is set up anew.
    Epochs,
    /// Parts of contents of which not all parts are here.
    Parts,
    /// Ranges of sequences that came ahead of missing ones.
    Gaps,
    /// Messages that could not be understood.
    SetAside,
    /// Commands with a status.
    Commands,
    /// Messages that wait in the aggregator's memory.
    Waiting,
}

impl Excess {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Bytes, Self::Epochs, Self::Parts, Self::Gaps, Self::SetAside, Self::Commands, Self::Waiting];

    /// Its name in the store, in the log and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Epochs => "epochs",
            Self::Parts => "parts",
            Self::Gaps => "gaps",
            Self::SetAside => "set_aside",
            Self::Commands => "commands",
            Self::Waiting => "waiting",
        }
    }

    /// What the device does, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Bytes => "stores more bytes than a device may (store.device_mib)",
            Self::Epochs => "began more epochs than a device may",
            Self::Parts => "left more contents unfinished than a device may",
            Self::Gaps => "left out more sequences than a device may",
            Self::SetAside => "sent more messages that cannot be understood than are kept of a device",
            Self::Commands => "reported on more commands than are kept of a device",
            Self::Waiting => "sends faster than its messages can be stored",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Numbers of each kind but [`Excess::Waiting`], which nothing in the store counts.
type Usage = [u64; 6];

/// Most that one device may take, but for bytes.
const OF_DEVICE: Usage = [0, 1024, 2048, 1024, 256, 4096];

/// Most that all may take together, but for bytes.
const IN_ALL: Usage = [0, 1 << 20, 1 << 14, 1 << 18, 4096, 1 << 22];

/// How each is counted: for one device with a condition, or in all.
const COUNTS: [(&str, &str); 6] = [
    ("CAST(COALESCE(SUM(bytes), 0) AS BIGINT)", "spool"),
    ("COUNT(*)", "spool"),
    ("COUNT(*)", "part"),
    ("COUNT(*)", "ahead"),
    ("COUNT(*)", "poison"),
    ("COUNT(*)", "command"),
];

/// Bytes that one device, and all together, may store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MostBytes {
    pub(super) of_device: u64,
    pub(super) in_all: u64,
}

/// What was refused of one device for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Refusals by device, which is empty where a topic names none, and reason.
pub type Refusals = BTreeMap<(String, Excess), Refused>;

/// What all take, as far as this process knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InAll {
    used: Usage,
    /// Commits until the counts are read again.
    fresh_for: u32,
}

impl InAll {
    /// The counts are read again before the next commit.
    pub(super) const fn expire(&mut self) {
        self.fresh_for = 0;
    }
}

/// The room that a transaction finds and leaves.
#[derive(Debug)]
pub(super) struct Room {
    most: MostBytes,
    all: InAll,
    /// What is known of devices; counted on demand.
    of: BTreeMap<String, [Option<u64>; 6]>,
    pub(super) refused: Refusals,
}

fn counted(database: &mut dyn Database, kind: Excess, device: Option<&str>) -> Result<u64, StoreError> {
    let (what, table) = COUNTS[kind.index()];
    let mut found = 0;
    let mut each = |row: &dyn super::database::Row| {
        found = row.int(0)?.unwrap_or_default().unsigned_abs();
        Ok(())
    };
    match device {
        Some(device) => {
            let sql = format!("SELECT {what} FROM {table} WHERE device = ?1");
            database.query(&sql, &[device.into()], &mut each)?;
        }
        None => database.query(&format!("SELECT {what} FROM {table}"), &[], &mut each)?,
    }
    Ok(found)
}

const COUNTED: [Excess; 6] =
    [Excess::Bytes, Excess::Epochs, Excess::Parts, Excess::Gaps, Excess::SetAside, Excess::Commands];

impl Room {
    /// What is left beside what `all` says that is taken.
    pub(super) fn new(
        database: &mut dyn Database,
        most: MostBytes,
        mut all: InAll,
    ) -> Result<Self, StoreError> {
        if all.fresh_for == 0 {
            for kind in COUNTED {
                all.used[kind.index()] = counted(database, kind, None)?;
            }
            all.fresh_for = REFRESH;
        }
        all.fresh_for -= 1;
        Ok(Self { most, all, of: BTreeMap::new(), refused: Refusals::new() })
    }

    /// What is taken after the transaction.
    pub(super) const fn all(&self) -> InAll {
        self.all
    }

    /// Most of a kind: of one device, and in all.
    const fn most(&self, kind: Excess) -> [u64; 2] {
        match kind {
            Excess::Bytes => [self.most.of_device, self.most.in_all],
            kind => [OF_DEVICE[kind.index()], IN_ALL[kind.index()]],
        }
    }

    /// Whether `more` of a kind still find room.
    pub(super) fn has(
        &mut self,
        database: &mut dyn Database,
        device: &str,
        kind: Excess,
        more: u64,
    ) -> Result<bool, StoreError> {
        let [of_device, in_all] = self.most(kind);
        if self.all.used[kind.index()].saturating_add(more) > in_all {
            return Ok(false);
        }
        let known = self.of.get(device).and_then(|known| known[kind.index()]);
        let used = match known {
            Some(used) => used,
            None => counted(database, kind, Some(device))?,
        };
        self.of.entry(device.to_owned()).or_default()[kind.index()] = Some(used);
        Ok(used.saturating_add(more) <= of_device)
    }

    /// So many more of a kind are taken.
    pub(super) fn take(&mut self, device: &str, kind: Excess, more: u64) {
        self.all.used[kind.index()] += more;
        if let Some(Some(used)) = self.of.get_mut(device).map(|known| &mut known[kind.index()]) {
            *used += more;
        }
    }

    /// So many of a kind are given back.
    pub(super) fn give_back(&mut self, device: &str, kind: Excess, fewer: u64) {
        let all = &mut self.all.used[kind.index()];
        *all = all.saturating_sub(fewer);
        if let Some(Some(used)) = self.of.get_mut(device).map(|known| &mut known[kind.index()]) {
            *used = used.saturating_sub(fewer);
        }
    }

    /// Why a record of a spool with this coverage finds no room; `None` when it does.
    pub(super) fn lacks(
        &mut self,
        database: &mut dyn Database,
        record: &Record,
        coverage: &Coverage,
    ) -> Result<Option<Excess>, StoreError> {
        let device = record.device.as_str();
        let needs = [
            (Excess::Bytes, record.bytes.len() as u64),
            (Excess::Gaps, u64::from(coverage.would_open_a_gap(record.sequence))),
            (Excess::Parts, u64::from(record.parts > 1)),
        ];
        for (kind, more) in needs {
            if more > 0 && !self.has(database, device, kind, more)? {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// Notes that messages are refused.
    pub(super) fn refuse(&mut self, device: &str, excess: Excess, of: Refused) {
        let refused = self.refused.entry((device.to_owned(), excess)).or_default();
        refused.messages += of.messages;
        refused.bytes += of.bytes;
    }

    /// Counts the refusals in the store.
    pub(super) fn note(&self, database: &mut dyn Database, now: Value<'_>) -> Result<(), StoreError> {
        for ((device, excess), refused) in &self.refused {
            let sql = "INSERT INTO refusal (device, excess, messages, bytes, first_unix_ms, last_unix_ms) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (device, excess) DO UPDATE SET \
                messages = refusal.messages + excluded.messages, bytes = refusal.bytes + excluded.bytes, \
                last_unix_ms = excluded.last_unix_ms";
            let counts: [Value<'_>; 2] = [refused.messages.into(), refused.bytes.into()];
            database.execute(sql, &[device.into(), excess.name().into(), counts[0], counts[1], now])?;
        }
        Ok(())
    }
}

/// The device that a topic of ours names, even where the rest of it makes no sense; empty where it names none.
pub(crate) fn device_of(topic: &str) -> String {
    let below = topic.strip_prefix(clipmark_profile::topics::ROOT).and_then(|rest| rest.strip_prefix("/d/"));
    let name = below.and_then(|rest| rest.split('/').next()).and_then(|name| name.parse::<DeviceId>().ok());
    name.map(|device| device.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_names_its_device_even_where_the_rest_makes_no_sense() {
        assert_eq!(device_of("clipmark/v1/d/orin/up/nonsense"), "orin");
        assert_eq!(device_of("clipmark/v1/d/orin"), "orin");
        assert_eq!(device_of("clipmark/v1/d/\u{1b}[2J/state"), "");
        assert_eq!(device_of("elsewhere/d/orin"), "");
    }

    #[test]
    fn every_kind_that_the_store_counts_has_bounds_of_its_own() {
        for (index, kind) in COUNTED.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert!(kind == Excess::Bytes || OF_DEVICE[index] < IN_ALL[index], "{kind:?}");
        }
    }
}
