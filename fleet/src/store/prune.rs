//! Retention: what is forgotten, and when.
//!
//! Blobs are most of the volume and the first to go: a profile without its blob keeps its row, its points with
//! their distributions and its soaks. Everything else goes only where the operator says so.

use super::database::Database;
use super::{Store, StoreError};
use crate::config::RetentionDays;

/// Milliseconds in a day.
const DAY_MS: u64 = 86_400_000;

/// After how many days what is forgotten; absent: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The bytes of profiles, series and events. Points stay.
    pub blob_days: Option<u32>,
    /// Profiles with their points, and series and events.
    pub profile_days: Option<u32>,
    /// Statuses of commands.
    pub command_days: Option<u32>,
    /// Messages that could not be understood, and parts whose other parts never came.
    pub poison_days: Option<u32>,
}

impl From<RetentionDays> for Retention {
    fn from(days: RetentionDays) -> Self {
        let given = |days: u32| Some(days).filter(|days| *days > 0);
        Self {
            blob_days: given(days.blob_days),
            profile_days: given(days.profile_days),
            command_days: given(days.command_days),
            poison_days: given(days.poison_days),
        }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Blobs of profiles, series and events.
    pub blobs: u64,
    /// Profiles.
    pub profiles: u64,
    /// Series and events.
    pub attachments: u64,
    /// Statuses.
    pub commands: u64,
    /// Messages set aside, and parts.
    pub poison: u64,
}

/// The bytes that spools hold and that are older than a time.
const HELD: [&str; 3] = [
    "SELECT device, epoch, CAST(SUM(bytes) AS BIGINT) FROM profile WHERE blob IS NOT NULL AND received_unix_ms < ?1 \
     GROUP BY device, epoch",
    "SELECT device, epoch, CAST(SUM(bytes) AS BIGINT) FROM attachment WHERE blob IS NOT NULL AND received_unix_ms < ?1 \
     GROUP BY device, epoch",
    "SELECT device, epoch, CAST(SUM(LENGTH(content)) AS BIGINT) FROM part WHERE received_unix_ms < ?1 \
     GROUP BY device, epoch",
];

/// Takes what is about to be forgotten off what its spools count.
fn give_back(database: &mut dyn Database, held: &str, before: u64) -> Result<(), StoreError> {
    let mut spools = Vec::new();
    database.query(held, &[before.into()], &mut |row| {
        spools.push((row.text(0)?.unwrap_or_default(), row.int(1)?, row.int(2)?));
        Ok(())
    })?;
    for (device, epoch, bytes) in &spools {
        let sql = "UPDATE spool SET bytes = CASE WHEN bytes > ?3 THEN bytes - ?3 ELSE 0 END \
            WHERE device = ?1 AND epoch = ?2";
        database.execute(sql, &[device.into(), (*epoch).into(), (*bytes).into()])?;
    }
    Ok(())
}

impl Store {
    /// Forgets what is older than `retention` says, by the time of receipt. What receipts rest on stays: a
    /// forgotten record is not taken for a new one when it comes again.
    ///
    /// # Errors
    /// The database's refusal; nothing is then forgotten.
    pub fn prune(&mut self, retention: &Retention, now_unix_ms: u64) -> Result<Pruned, StoreError> {
        let before =
            |days: Option<u32>| days.map(|days| now_unix_ms.saturating_sub(u64::from(days) * DAY_MS));
        let statements: [(&str, Option<u64>); 9] = [
            ("DELETE FROM profile WHERE received_unix_ms < ?1", before(retention.profile_days)),
            ("DELETE FROM attachment WHERE received_unix_ms < ?1", before(retention.profile_days)),
            (
                "UPDATE profile SET blob = NULL WHERE blob IS NOT NULL AND received_unix_ms < ?1",
                before(retention.blob_days),
            ),
            (
                "UPDATE attachment SET blob = NULL WHERE blob IS NOT NULL AND received_unix_ms < ?1",
                before(retention.blob_days),
            ),
            ("DELETE FROM command WHERE seen_unix_ms < ?1", before(retention.command_days)),
            ("DELETE FROM poison WHERE received_unix_ms < ?1", before(retention.poison_days)),
            ("DELETE FROM part WHERE received_unix_ms < ?1", before(retention.poison_days)),
            ("DELETE FROM refusal WHERE last_unix_ms < ?1", before(retention.poison_days)),
            (
                "UPDATE device SET last_profile = (SELECT MAX(p.profile) FROM profile p WHERE p.device = \
                 device.device) WHERE CAST(?1 AS BIGINT) IS NOT NULL AND last_profile IS NOT NULL AND NOT EXISTS \
                 (SELECT 1 FROM profile p WHERE p.profile = device.last_profile)",
                before(retention.profile_days),
            ),
        ];
        let mut changed = [0; 9];
        // Blobs go with their profiles, if not before.
        let contents = before(retention.blob_days).max(before(retention.profile_days));
        self.all.expire();
        self.in_transaction(|database| {
            for (held, before) in HELD.into_iter().zip([contents, contents, before(retention.poison_days)]) {
                if let Some(before) = before {
                    give_back(database, held, before)?;
                }
            }
            for (changed, (sql, before)) in changed.iter_mut().zip(&statements) {
                if let Some(before) = before {
                    *changed = database.execute(sql, &[(*before).into()])?;
                }
            }
            Ok(())
        })?;
        let [profiles, attachments, blobs, more_blobs, commands, poison, parts, _, _] = changed;
        Ok(Pruned { blobs: blobs + more_blobs, profiles, attachments, commands, poison: poison + parts })
    }
}
