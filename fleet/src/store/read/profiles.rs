//! Profiles, their soaks and series.

use super::filter::Filter;
use super::{Named, count, flag, identifier, optional_flag, text};
use crate::store::database::Row;
use crate::store::records::SOAK_COLUMNS;
use crate::store::{Store, StoreError};
use clipmark_profile::axis::Axis;
use clipmark_profile::message::Epoch;
use clipmark_profile::topics::{CommandId, DeviceId};

/// The store's own number of a profile. Higher ones were stored later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId(pub i64);

/// Which profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileQuery {
    /// Exactly this one.
    pub id: Option<ProfileId>,
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Of the run with this identifier.
    pub run_id: Option<String>,
    /// From this command.
    pub command: Option<CommandId>,
    /// With a variant of the model with this SHA-256.
    pub model_sha256: Option<String>,
    /// With a variant of the model with this name.
    pub model: Option<String>,
    /// From this board model.
    pub board: Option<String>,
    /// From this Jetson Linux release.
    pub l4t: Option<String>,
    /// In this power mode.
    pub power_mode: Option<String>,
    /// Simulated ones only, or measured ones only.
    pub simulated: Option<bool>,
    /// Throttled ones only, or only those that were soaked and did not throttle.
    pub throttled: Option<bool>,
    /// Received at or after this time.
    pub since_unix_ms: Option<u64>,
    /// Received before this time.
    pub until_unix_ms: Option<u64>,
    /// Only older ones than this: the last of a page leads to the next page.
    pub before: Option<ProfileId>,
    /// Most rows.
    pub limit: u32,
}

impl Default for ProfileQuery {
    fn default() -> Self {
        Self {
            id: None,
            device: None,
            run_id: None,
            command: None,
            model_sha256: None,
            model: None,
            board: None,
            l4t: None,
            power_mode: None,
            simulated: None,
            throttled: None,
            since_unix_ms: None,
            until_unix_ms: None,
            before: None,
            limit: 100,
        }
    }
}

/// A profile without its points.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileRow {
    /// Which.
    pub id: ProfileId,
    /// The device.
    pub device: DeviceId,
    /// The spool it came from.
    pub epoch: Epoch,
    /// Its place in the spool.
    pub sequence: u64,
    /// When it was stored, by the aggregator's clock.
    pub received_unix_ms: u64,
    /// When the run began, by the device's clock.
    pub started_unix_ms: u64,
    /// Length of the run.
    pub duration_ms: u64,
    /// The run's random identifier.
    pub run_id: String,
    /// The command that asked for it.
    pub command: Option<CommandId>,
    /// `sweep`, `soak` or `auto`.
    pub mode: String,
    /// The device's clipmark.
    pub clipmark: String,
    /// Board model.
    pub board: Option<String>,
    /// The board file that matched.
    pub board_id: Option<String>,
    /// Jetson Linux release.
    pub l4t: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Power mode.
    pub power_mode: Option<String>,
    /// Whether any figure is simulated.
    pub simulated: bool,
    /// Whether the run ended before its plan did.
    pub partial: bool,
    /// Whether any soak throttled; absent when nothing was soaked.
    pub throttled: Option<bool>,
    /// Points in the plan.
    pub points: u64,
    /// Points that have a latency.
    pub measured: u64,
    /// Size of the content on the wire.
    pub bytes: u64,
}

/// The columns that [`profile_row`] reads, of a table named `p`.
const COLUMNS: &str = "p.profile, p.device, p.epoch, p.sequence, p.received_unix_ms, p.started_unix_ms, \
    p.duration_ms, p.run_id, p.command, p.mode, p.clipmark, p.board, p.board_id, p.l4t, p.kernel, \
    p.power_mode, p.simulated, p.partial, p.throttled, p.points, p.measured, p.bytes";

fn profile_row(row: &dyn Row) -> Result<ProfileRow, StoreError> {
    let command = row.text(8)?.map(|text| identifier(&text, "command id")).transpose()?;
    Ok(ProfileRow {
        id: ProfileId(row.int(0)?.unwrap_or_default()),
        device: identifier(&text(row, 1, "device")?, "device")?,
        epoch: Epoch(count(row, 2, "epoch")?),
        sequence: count(row, 3, "sequence")?,
        received_unix_ms: count(row, 4, "time of receipt")?,
        started_unix_ms: count(row, 5, "start")?,
        duration_ms: count(row, 6, "duration")?,
        run_id: text(row, 7, "run id")?,
        command,
        mode: text(row, 9, "mode")?,
        clipmark: text(row, 10, "version")?,
        board: row.text(11)?,
        board_id: row.text(12)?,
        l4t: row.text(13)?,
        kernel: row.text(14)?,
        power_mode: row.text(15)?,
        simulated: flag(row, 16, "flag")?,
        partial: flag(row, 17, "flag")?,
        throttled: optional_flag(row, 18)?,
        points: count(row, 19, "number of points")?,
        measured: count(row, 20, "number of points")?,
        bytes: count(row, 21, "size")?,
    })
}

/// A soak with what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct SoakRow {
    /// The profile.
    pub profile: ProfileId,
    /// The device.
    pub device: DeviceId,
    /// When the profile was stored.
    pub received_unix_ms: u64,
    /// The model's name.
    pub model: String,
    /// The backend.
    pub backend: String,
    /// Power mode.
    pub power_mode: Option<String>,
    /// The figures.
    pub figures: crate::store::SoakFigures,
}

/// A series or an event, without its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRow {
    /// The store's own number.
    pub id: i64,
    /// The device.
    pub device: DeviceId,
    /// `series` or `event`.
    pub kind: String,
    /// The run that a series belongs to.
    pub run_id: Option<String>,
    /// The command that led to it.
    pub command: Option<String>,
    /// When it was stored.
    pub received_unix_ms: u64,
    /// Size of the content on the wire.
    pub bytes: u64,
}

impl Store {
    /// Profiles, newest first.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn profiles(&mut self, query: &ProfileQuery) -> Result<Vec<ProfileRow>, StoreError> {
        let mut filter = Filter::default();
        filter.and("p.profile = ?", query.id.map(|id| id.0));
        filter.and("p.device = ?", query.device.as_ref().map(DeviceId::as_str));
        filter.and("p.run_id = ?", query.run_id.as_ref());
        filter.and("p.command = ?", query.command.as_ref().map(CommandId::as_str));
        let with_model = "p.profile IN (SELECT s.profile FROM variant s WHERE";
        filter.and(&format!("{with_model} s.model_sha256 = ?)"), query.model_sha256.as_ref());
        filter.and(&format!("{with_model} s.model = ?)"), query.model.as_ref());
        filter.and("p.board = ?", query.board.as_ref());
        filter.and("p.l4t = ?", query.l4t.as_ref());
        filter.and("p.power_mode = ?", query.power_mode.as_ref());
        filter.and("p.simulated = ?", query.simulated);
        filter.and("p.throttled = ?", query.throttled);
        filter.and("p.received_unix_ms >= ?", query.since_unix_ms);
        filter.and("p.received_unix_ms < ?", query.until_unix_ms);
        filter.and("p.profile < ?", query.before.map(|id| id.0));
        let limit = filter.parameter(query.limit);
        let sql = format!(
            "SELECT {COLUMNS} FROM profile p {} ORDER BY p.profile DESC LIMIT {limit}",
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(profile_row(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The content of a profile as it came, for [`clipmark_profile::wire::decode_profile`]; `None` when there
    /// is no such profile or retention has dropped it.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn profile_bytes(&mut self, id: ProfileId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut bytes = None;
        self.database.query("SELECT blob FROM profile WHERE profile = ?1", &[id.0.into()], &mut |row| {
            bytes = row.blob(0)?;
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Soaks of one device, or of all, newest first.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn soaks(&mut self, device: Option<&DeviceId>, limit: u32) -> Result<Vec<SoakRow>, StoreError> {
        let mut filter = Filter::default();
        filter.and("p.device = ?", device.map(DeviceId::as_str));
        let limit = filter.parameter(limit);
        let sizes = Axis::SHAPE.map(|axis| format!("k.{}", axis.column())).join(", ");
        let sql = format!(
            "SELECT p.profile, p.device, p.received_unix_ms, s.model, s.backend, p.power_mode, {}, {sizes} \
             FROM soak k JOIN variant s ON s.variant = k.variant JOIN profile p ON p.profile = s.profile {} \
             ORDER BY p.profile DESC, k.variant, {sizes} LIMIT {limit}",
            SOAK_COLUMNS.map(|name| format!("k.{name}")).join(", "),
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(soak_row(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Series and events of one device, newest first, without their bytes. `run_id` asks for one run's series.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn series(
        &mut self,
        device: &DeviceId,
        run_id: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SeriesRow>, StoreError> {
        let mut filter = Filter::default();
        filter.and("device = ?", Some(device.as_str()));
        filter.and("run_id = ?", run_id);
        let limit = filter.parameter(limit);
        let sql = format!(
            "SELECT attachment, device, kind, run_id, command, received_unix_ms, bytes FROM attachment {} \
             ORDER BY attachment DESC LIMIT {limit}",
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(SeriesRow {
                id: row.int(0)?.unwrap_or_default(),
                device: identifier(&text(row, 1, "device")?, "device")?,
                kind: text(row, 2, "kind")?,
                run_id: row.text(3)?,
                command: row.text(4)?,
                received_unix_ms: count(row, 5, "time of receipt")?,
                bytes: count(row, 6, "size")?,
            });
            Ok(())
        })?;
        Ok(rows)
    }

    /// The bytes of a series or an event as they came; `None` when there is none or retention dropped them.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn series_bytes(&mut self, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut bytes = None;
        self.database.query(
            "SELECT blob FROM attachment WHERE attachment = ?1",
            &[id.into()],
            &mut |row| {
                bytes = row.blob(0)?;
                Ok(())
            },
        )?;
        Ok(bytes)
    }
}

fn soak_row(row: &dyn Row) -> Result<SoakRow, StoreError> {
    let of_run = ["profile", "device", "received_unix_ms", "model", "backend", "power_mode"];
    let names = [&of_run[..], &SOAK_COLUMNS, &Axis::SHAPE.map(Axis::column)].concat();
    let row = Named { row, names: &names };
    let causes = row.needed("causes")?;
    Ok(SoakRow {
        profile: ProfileId(row.int("profile")?.unwrap_or_default()),
        device: identifier(&row.needed("device")?, "device")?,
        received_unix_ms: row.count("received_unix_ms")?,
        model: row.needed("model")?,
        backend: row.needed("backend")?,
        power_mode: row.text("power_mode")?,
        figures: crate::store::SoakFigures {
            shape: row.shape()?,
            duration_ms: row.count("duration_ms")?,
            time_to_throttle_ms: row.int("time_to_throttle_ms")?.and_then(|value| u64::try_from(value).ok()),
            causes: causes.split(',').filter(|cause| !cause.is_empty()).map(str::to_owned).collect(),
            burst_frames_per_s: row.real("burst_frames_per_s")?,
            sustained_frames_per_s: row.real("sustained_frames_per_s")?,
            sustained_ratio: row.real("sustained_ratio")?,
            sustained_p99_ns: row.real("sustained_p99_ns")?,
            peak_millicelsius: row.int("peak_millicelsius")?.and_then(|value| i32::try_from(value).ok()),
            aborted: row.text("aborted")?,
        },
    })
}
