//! Devices, commands, models, what could not be understood, and how much of everything there is.

use super::filter::Filter;
use super::profiles::ProfileId;
use super::{count, flag, identifier, optional_count, optional_flag, text};
use crate::store::database::Row;
use crate::store::rows::named;
use crate::store::{Excess, Refused, Store, StoreError};
use clipmark_profile::message::{Availability, CommandStatus, DeviceInfo, DeviceState, Epoch};
use clipmark_profile::topics::{CommandId, DeviceId, GroupId};

/// Which devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceQuery {
    /// Exactly this one.
    pub device: Option<DeviceId>,
    /// Members of this group.
    pub group: Option<GroupId>,
    /// Of a board model that contains this text, in upper or lower case.
    pub board: Option<String>,
    /// Only these.
    pub availability: Option<Availability>,
    /// Only after this one, in the order of their names: the last of a page leads to the next page.
    pub after: Option<DeviceId>,
    /// Most rows.
    pub limit: u32,
}

impl Default for DeviceQuery {
    fn default() -> Self {
        Self { device: None, group: None, board: None, availability: None, after: None, limit: 1000 }
    }
}

/// A device at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRow {
    /// Which.
    pub device: DeviceId,
    /// When the aggregator first and last heard of it.
    pub first_seen_unix_ms: u64,
    /// When the aggregator last heard of it.
    pub seen_unix_ms: u64,
    /// What it last said of its state; absent when only records came.
    pub state: Option<DeviceState>,
    /// Board model, as the device or its newest profile says.
    pub board: Option<String>,
    /// Jetson Linux release.
    pub l4t: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Power mode.
    pub power_mode: Option<String>,
    /// The device's clipmark.
    pub clipmark: Option<String>,
    /// Its newest profile.
    pub last_profile: Option<LastProfile>,
}

/// A device's newest profile at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastProfile {
    /// Which.
    pub id: ProfileId,
    /// When it was stored.
    pub received_unix_ms: u64,
    /// Whether any soak throttled; absent when nothing was soaked.
    pub throttled: Option<bool>,
    /// Whether any figure is simulated.
    pub simulated: bool,
    /// Whether the run ended before its plan did.
    pub partial: bool,
}

fn json<T: serde::de::DeserializeOwned>(
    text: Option<String>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let read = |text: String| serde_json::from_str(&text);
    text.map(read).transpose().map_err(|error| StoreError::Damaged { what, problem: error.to_string() })
}

/// The pattern of what contains `text`, which itself has no pattern, among texts in lower case.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern + "%"
}

fn device_row(row: &dyn Row) -> Result<DeviceRow, StoreError> {
    let last_profile = match row.int(9)? {
        None => None,
        Some(id) => Some(LastProfile {
            id: ProfileId(id),
            received_unix_ms: count(row, 10, "time of receipt")?,
            throttled: optional_flag(row, 11)?,
            simulated: flag(row, 12, "flag")?,
            partial: flag(row, 13, "flag")?,
        }),
    };
    Ok(DeviceRow {
        device: identifier(&text(row, 0, "device")?, "device")?,
        first_seen_unix_ms: count(row, 1, "time")?,
        seen_unix_ms: count(row, 2, "time")?,
        state: json(row.text(3)?, "device state")?,
        board: row.text(4)?,
        l4t: row.text(5)?,
        kernel: row.text(6)?,
        power_mode: row.text(7)?,
        clipmark: row.text(8)?,
        last_profile,
    })
}

/// Which commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandQuery {
    /// Exactly this one, on every device.
    pub command: Option<CommandId>,
    /// On this device.
    pub device: Option<DeviceId>,
    /// Most rows.
    pub limit: u32,
}

impl Default for CommandQuery {
    fn default() -> Self {
        Self { command: None, device: None, limit: 100 }
    }
}

/// A command on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRow {
    /// Which.
    pub command: CommandId,
    /// On which device.
    pub device: DeviceId,
    /// What was to be done.
    pub operation: String,
    /// When the aggregator last heard of it.
    pub seen_unix_ms: u64,
    /// What the device last said; absent when only the request is known.
    pub status: Option<CommandStatus>,
}

/// A model that was measured somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its name; one digest may have several.
    pub model: String,
    /// Its SHA-256.
    pub model_sha256: Option<String>,
    /// Devices that measured it.
    pub devices: u64,
    /// Profiles with it.
    pub profiles: u64,
    /// When the newest was stored.
    pub last_received_unix_ms: u64,
}

/// A model by name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    /// Its name.
    pub model: String,
    /// The newest profile with it.
    pub newest: ProfileId,
}

/// A message that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoisonRow {
    /// The store's own number.
    pub id: i64,
    /// Where it came.
    pub topic: String,
    /// Why it was set aside.
    pub reason: String,
    /// When it first came.
    pub received_unix_ms: u64,
    /// How often it came.
    pub times: u64,
    /// Its length.
    pub bytes: u64,
}

/// How much of everything there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Devices.
    pub devices: u64,
    /// Devices that are connected and idle.
    pub online: u64,
    /// Devices that are carrying out a command.
    pub busy: u64,
    /// Devices that are not connected.
    pub offline: u64,
    /// Devices whose newest profile has a soak: only there is known whether they throttle.
    pub soaked: u64,
    /// Devices whose newest profile is known to have throttled.
    pub throttled: u64,
    /// Profiles.
    pub profiles: u64,
    /// Series and events.
    pub attachments: u64,
    /// Messages set aside.
    pub poison: u64,
    /// Records that devices declared lost.
    pub lost: u64,
    /// Records that came ahead of a missing one.
    pub ahead: u64,
    /// Profiles and series that are stored and not yet read.
    pub unread: u64,
    /// Parts of contents of which not all parts are here.
    pub unfinished: u64,
    /// Epochs of devices in which two contents came under one sequence.
    pub conflicts: u64,
}

/// Two contents under one sequence: the device's disk was set back, or another board works with a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConflictRow {
    /// The spool.
    pub epoch: Epoch,
    /// The lowest such sequence. From there on nothing is confirmed in this epoch.
    pub sequence: u64,
    /// How often another content came.
    pub times: u64,
}

/// What was refused of a device for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRow {
    /// The device's name; empty where a topic names none.
    pub device: String,
    /// Why.
    pub excess: Excess,
    /// How much.
    pub refused: Refused,
    /// When something was first refused.
    pub first_unix_ms: u64,
    /// When something was last refused.
    pub last_unix_ms: u64,
}

impl Store {
    /// Devices, by name.
    ///
    /// # Errors
    /// The database's refusal, or an unusable value in the store.
    pub fn devices(&mut self, query: &DeviceQuery) -> Result<Vec<DeviceRow>, StoreError> {
        let availability = query.availability.map(|availability| super::super::rows::name_of(&availability));
        let board = query.board.as_deref().map(containing);
        let mut filter = Filter::default();
        filter.and("d.device = ?", query.device.as_ref().map(DeviceId::as_str));
        let of_group = "d.device IN (SELECT m.device FROM membership m WHERE m.fleet_group = ?)";
        filter.and(of_group, query.group.as_ref().map(GroupId::as_str));
        filter.and("LOWER(COALESCE(d.board, p.board)) LIKE ? ESCAPE '!'", board.as_ref());
        filter.and("d.availability = ?", availability.as_ref());
        filter.and("d.device > ?", query.after.as_ref().map(DeviceId::as_str));
        let limit = filter.parameter(query.limit);
        let sql = format!(
            "SELECT d.device, d.first_seen_unix_ms, d.seen_unix_ms, d.state, COALESCE(d.board, p.board), \
             COALESCE(d.l4t, p.l4t), COALESCE(d.kernel, p.kernel), COALESCE(d.power_mode, p.power_mode), \
             COALESCE(d.clipmark, p.clipmark), p.profile, p.received_unix_ms, p.throttled, p.simulated, p.partial \
             FROM device d LEFT JOIN profile p ON p.profile = d.last_profile {} ORDER BY d.device LIMIT {limit}",
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(device_row(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// What a device said of itself at its last birth.
    ///
    /// # Errors
    /// The database's refusal, or an unusable value in the store.
    pub fn device_info(&mut self, device: &DeviceId) -> Result<Option<DeviceInfo>, StoreError> {
        let mut text = None;
        let sql = "SELECT info FROM device WHERE device = ?1";
        self.database.query(sql, &[device.as_str().into()], &mut |row| {
            text = row.text(0)?;
            Ok(())
        })?;
        json(text, "device info")
    }

    /// The groups that devices belong to, with the number of members.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn groups(&mut self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT fleet_group, COUNT(*) FROM membership GROUP BY fleet_group ORDER BY fleet_group";
        let mut rows = Vec::new();
        self.database.query(sql, &[], &mut |row| {
            rows.push((text(row, 0, "group")?, count(row, 1, "number")?));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Commands, the one heard of last first.
    ///
    /// # Errors
    /// The database's refusal, or an unusable value in the store.
    pub fn commands(&mut self, query: &CommandQuery) -> Result<Vec<CommandRow>, StoreError> {
        let mut filter = Filter::default();
        filter.and("command = ?", query.command.as_ref().map(CommandId::as_str));
        filter.and("device = ?", query.device.as_ref().map(DeviceId::as_str));
        let limit = filter.parameter(query.limit);
        let sql = format!(
            "SELECT command, device, operation, seen_unix_ms, status FROM command {} \
             ORDER BY seen_unix_ms DESC, command, device LIMIT {limit}",
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(CommandRow {
                command: identifier(&text(row, 0, "command id")?, "command id")?,
                device: identifier(&text(row, 1, "device")?, "device")?,
                operation: text(row, 2, "operation")?,
                seen_unix_ms: count(row, 3, "time")?,
                status: json(row.text(4)?, "command status")?,
            });
            Ok(())
        })?;
        Ok(rows)
    }

    /// Models, by name, the newest digest first.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn models(&mut self) -> Result<Vec<ModelRow>, StoreError> {
        let sql = "SELECT s.model, s.model_sha256, COUNT(DISTINCT p.device), COUNT(DISTINCT p.profile), \
            MAX(p.received_unix_ms) FROM variant s JOIN profile p ON p.profile = s.profile \
            GROUP BY s.model, s.model_sha256 ORDER BY s.model, MAX(p.received_unix_ms) DESC";
        let mut rows = Vec::new();
        self.database.query(sql, &[], &mut |row| {
            rows.push(ModelRow {
                model: text(row, 0, "model")?,
                model_sha256: row.text(1)?,
                devices: count(row, 2, "number")?,
                profiles: count(row, 3, "number")?,
                last_received_unix_ms: count(row, 4, "time of receipt")?,
            });
            Ok(())
        })?;
        Ok(rows)
    }

    /// The names of models, in their order: less than [`Store::models`] tells, and found by an index.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn model_names(&mut self) -> Result<Vec<ModelName>, StoreError> {
        let sql = "SELECT model, MAX(profile) FROM variant GROUP BY model ORDER BY model";
        let mut rows = Vec::new();
        self.database.query(sql, &[], &mut |row| {
            let newest = ProfileId(row.int(1)?.unwrap_or_default());
            rows.push(ModelName { model: text(row, 0, "model")?, newest });
            Ok(())
        })?;
        Ok(rows)
    }

    /// Messages that could not be understood, newest first.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn poison(&mut self, limit: u32) -> Result<Vec<PoisonRow>, StoreError> {
        let sql = "SELECT poison, topic, reason, received_unix_ms, times, CAST(LENGTH(payload) AS BIGINT) FROM poison \
            ORDER BY poison DESC LIMIT ?1";
        let mut rows = Vec::new();
        self.database.query(sql, &[limit.into()], &mut |row| {
            rows.push(PoisonRow {
                id: row.int(0)?.unwrap_or_default(),
                topic: text(row, 1, "topic")?,
                reason: text(row, 2, "reason")?,
                received_unix_ms: count(row, 3, "time of receipt")?,
                times: count(row, 4, "number")?,
                bytes: count(row, 5, "size")?,
            });
            Ok(())
        })?;
        Ok(rows)
    }

    /// What was refused, by device and reason, the last first.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn refusals(&mut self, limit: u32) -> Result<Vec<RefusalRow>, StoreError> {
        let sql = "SELECT device, excess, messages, bytes, first_unix_ms, last_unix_ms FROM refusal \
            ORDER BY last_unix_ms DESC, device, excess LIMIT ?1";
        let mut rows = Vec::new();
        self.database.query(sql, &[limit.into()], &mut |row| {
            let name = text(row, 1, "reason")?;
            let excess = Excess::ALL.into_iter().find(|excess| excess.name() == name);
            rows.push(RefusalRow {
                device: text(row, 0, "device")?,
                excess: excess.ok_or(StoreError::Damaged { what: "reason of a refusal", problem: name })?,
                refused: Refused { messages: count(row, 2, "number")?, bytes: count(row, 3, "size")? },
                first_unix_ms: count(row, 4, "time")?,
                last_unix_ms: count(row, 5, "time")?,
            });
            Ok(())
        })?;
        Ok(rows)
    }

    /// The epochs of a device in which two contents came under one sequence.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn conflicts(&mut self, device: &DeviceId) -> Result<Vec<ConflictRow>, StoreError> {
        let sql = "SELECT epoch, conflict, conflicts FROM spool WHERE device = ?1 AND conflict IS NOT NULL \
            ORDER BY last_received_unix_ms DESC LIMIT 20";
        let mut rows = Vec::new();
        self.database.query(sql, &[device.as_str().into()], &mut |row| {
            rows.push(ConflictRow {
                epoch: Epoch(count(row, 0, "epoch")?),
                sequence: count(row, 1, "sequence")?,
                times: count(row, 2, "number")?,
            });
            Ok(())
        })?;
        Ok(rows)
    }

    /// How much of everything there is.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn counts(&mut self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        self.database.query(
            "SELECT d.availability, COUNT(*), COUNT(p.throttled), CAST(SUM(p.throttled) AS BIGINT) FROM device d \
             LEFT JOIN profile p ON p.profile = d.last_profile GROUP BY d.availability",
            &[],
            &mut |row| {
                let devices = count(row, 1, "number")?;
                counts.devices += devices;
                counts.soaked += count(row, 2, "number")?;
                counts.throttled += optional_count(row, 3)?.unwrap_or(0);
                match row.text(0)?.as_deref().and_then(named::<Availability>) {
                    Some(Availability::Online) => counts.online += devices,
                    Some(Availability::Busy) => counts.busy += devices,
                    Some(Availability::Offline) => counts.offline += devices,
                    None => {}
                }
                Ok(())
            },
        )?;
        let tables = "SELECT (SELECT COUNT(*) FROM profile), (SELECT COUNT(*) FROM attachment), \
            (SELECT COUNT(*) FROM poison), (SELECT SUM(CAST(lost AS DOUBLE PRECISION)) FROM spool), (SELECT COUNT(*) FROM ahead), \
            (SELECT COUNT(*) FROM inbox), (SELECT COUNT(*) FROM part), \
            (SELECT COUNT(*) FROM spool WHERE conflict IS NOT NULL)";
        self.database.query(tables, &[], &mut |row| {
            counts.profiles = count(row, 0, "number")?;
            counts.attachments = count(row, 1, "number")?;
            counts.poison = count(row, 2, "number")?;
            // A board may declare 2^63 records lost, and so may the next: the sum saturates.
            counts.lost = row.real(3)?.unwrap_or_default() as u64;
            counts.ahead = count(row, 4, "number")?;
            counts.unread = count(row, 5, "number")?;
            counts.unfinished = count(row, 6, "number")?;
            counts.conflicts = count(row, 7, "number")?;
            Ok(())
        })?;
        Ok(counts)
    }
}
