//! Measured points with everything that a cohort is made by.
//!
//! Newest first, one model's points are found by an index and read until the limit; by device they are sorted.

use super::filter::Filter;
use super::profiles::ProfileId;
use super::{count, flag, identifier, optional_count, optional_flag, required, small, text};
use crate::store::database::Row;
use crate::store::rows::named;
use crate::store::{PointFigures, Store, StoreError};
use clipmark_profile::stats::histogram::Histogram;
use clipmark_profile::summary::SteadyState;
use clipmark_profile::topics::DeviceId;
use std::collections::BTreeMap;

/// Which points.
#[derive(Debug, Clone, PartialEq)]
pub struct PointQuery {
    /// Of this profile.
    pub profile: Option<ProfileId>,
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Of the model with this SHA-256.
    pub model_sha256: Option<String>,
    /// Of the model with this name.
    pub model: Option<String>,
    /// On this backend.
    pub backend: Option<String>,
    /// At this precision, as [`clipmark_profile::point::Precision::name`] has it.
    pub precision: Option<String>,
    /// From this board model.
    pub board: Option<String>,
    /// From this Jetson Linux release.
    pub l4t: Option<String>,
    /// In this power mode.
    pub power_mode: Option<String>,
    /// At this batch size.
    pub batch_size: Option<u32>,
    /// At this clip length.
    pub clip_length: Option<u32>,
    /// Simulated ones only, or measured ones only.
    pub simulated: Option<bool>,
    /// Received at or after this time.
    pub since_unix_ms: Option<u64>,
    /// Received before this time.
    pub until_unix_ms: Option<u64>,
    /// Only from each device's newest profile among those that the other fields admit.
    pub latest_per_device: bool,
    /// By profile, the newest first, instead of by device.
    pub newest_first: bool,
    /// Whether to read the distributions; without, [`PointFigures::histogram`] is empty.
    pub histograms: bool,
    /// Most rows.
    pub limit: u32,
}

impl Default for PointQuery {
    fn default() -> Self {
        Self {
            profile: None,
            device: None,
            model_sha256: None,
            model: None,
            backend: None,
            precision: None,
            board: None,
            l4t: None,
            power_mode: None,
            batch_size: None,
            clip_length: None,
            simulated: None,
            since_unix_ms: None,
            until_unix_ms: None,
            latest_per_device: false,
            newest_first: false,
            histograms: true,
            limit: 100_000,
        }
    }
}

/// A point with what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRow {
    /// The profile.
    pub profile: ProfileId,
    /// The device.
    pub device: DeviceId,
    /// When the profile was stored, by the aggregator's clock.
    pub received_unix_ms: u64,
    /// When the run began, by the device's clock.
    pub started_unix_ms: u64,
    /// The device's clipmark.
    pub clipmark: String,
    /// Board model.
    pub board: Option<String>,
    /// Jetson Linux release.
    pub l4t: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Power mode.
    pub power_mode: Option<String>,
    /// Whether any figure of the profile is simulated.
    pub simulated: bool,
    /// The model's name.
    pub model: String,
    /// The model's SHA-256.
    pub model_sha256: Option<String>,
    /// The backend.
    pub backend: String,
    /// The version of the runtime behind it.
    pub backend_version: Option<String>,
    /// Precision asked of the backend.
    pub precision: String,
    /// Threads given to it.
    pub threads: u32,
    /// The figures.
    pub figures: PointFigures,
}

impl PointRow {
    /// What the board runs, by name and value: the Jetson Linux release, elsewhere the kernel's.
    #[must_use]
    pub fn firmware(&self) -> Option<(&'static str, &str)> {
        let l4t = self.l4t.as_deref().map(|release| ("L4T", release));
        l4t.or_else(|| self.kernel.as_deref().map(|release| ("kernel", release)))
    }
}

const COLUMNS: &str = "p.profile, p.device, p.received_unix_ms, p.board, p.l4t, p.power_mode, p.simulated, \
    s.model, s.model_sha256, s.backend, s.backend_version, s.precision_name, s.threads, q.batch_size, \
    q.clip_length, q.status, q.throttled, q.iterations, q.mean_ns, q.p50_ns, q.p95_ns, q.p99_ns, q.max_ns, \
    q.mad_ns, q.steady, q.frames_per_s, q.energy_per_frame_uj, q.peak_memory_bytes, p.started_unix_ms, p.clipmark, p.kernel";

fn figures(row: &dyn Row, histogram: Option<Vec<u8>>) -> Result<PointFigures, StoreError> {
    let damaged = |what, problem: String| StoreError::Damaged { what, problem };
    let histogram = match histogram {
        None => Histogram::default(),
        Some(bytes) => {
            Histogram::from_bytes(&bytes).map_err(|error| damaged("histogram", error.to_string()))?
        }
    };
    let status = text(row, 15, "status")?;
    let steady = text(row, 24, "steady state")?;
    Ok(PointFigures {
        batch_size: small(row, 13, "batch size")?,
        clip_length: small(row, 14, "clip length")?,
        status: named(&status).ok_or_else(|| damaged("status", status))?,
        throttled: optional_flag(row, 16)?,
        iterations: count(row, 17, "number of iterations")?,
        mean_ns: required(row.real(18)?, "mean")?,
        p50_ns: required(row.real(19)?, "median")?,
        p95_ns: row.real(20)?,
        p99_ns: row.real(21)?,
        max_ns: count(row, 22, "maximum")?,
        mad_ns: required(row.real(23)?, "MAD")?,
        steady: named::<SteadyState>(&steady).ok_or_else(|| damaged("steady state", steady))?,
        frames_per_s: row.real(25)?,
        energy_per_frame_uj: row.real(26)?,
        peak_memory_bytes: optional_count(row, 27)?,
        histogram,
    })
}

fn point_row(row: &dyn Row, histograms: bool) -> Result<PointRow, StoreError> {
    let histogram = if histograms { row.blob(31)? } else { None };
    Ok(PointRow {
        profile: ProfileId(row.int(0)?.unwrap_or_default()),
        device: identifier(&text(row, 1, "device")?, "device")?,
        received_unix_ms: count(row, 2, "time of receipt")?,
        started_unix_ms: count(row, 28, "start")?,
        clipmark: text(row, 29, "version")?,
        board: row.text(3)?,
        l4t: row.text(4)?,
        kernel: row.text(30)?,
        power_mode: row.text(5)?,
        simulated: flag(row, 6, "flag")?,
        model: text(row, 7, "model")?,
        model_sha256: row.text(8)?,
        backend: text(row, 9, "backend")?,
        backend_version: row.text(10)?,
        precision: text(row, 11, "precision")?,
        threads: small(row, 12, "number of threads")?,
        figures: figures(row, histogram)?,
    })
}

/// Runs of a model that its grid is told from.
const GRID_RUNS: u32 = 300;

/// The conditions on profile and variant, which decide what the newest profile of a device is.
fn restrict<'a>(filter: &mut Filter<'a>, query: &'a PointQuery) {
    filter.and("p.profile = ?", query.profile.map(|id| id.0));
    filter.and("p.device = ?", query.device.as_ref().map(DeviceId::as_str));
    filter.and("s.model_sha256 = ?", query.model_sha256.as_ref());
    filter.and("s.model = ?", query.model.as_ref());
    filter.and("s.backend = ?", query.backend.as_ref());
    filter.and("s.precision_name = ?", query.precision.as_ref());
    filter.and("p.board = ?", query.board.as_ref());
    filter.and("p.l4t = ?", query.l4t.as_ref());
    filter.and("p.power_mode = ?", query.power_mode.as_ref());
    filter.and("p.simulated = ?", query.simulated);
    filter.and("p.received_unix_ms >= ?", query.since_unix_ms);
    filter.and("p.received_unix_ms < ?", query.until_unix_ms);
}

impl Store {
    /// Points, by device, then newest profile first.
    ///
    /// # Errors
    /// The database's refusal, or an unusable value in the store.
    pub fn points(&mut self, query: &PointQuery) -> Result<Vec<PointRow>, StoreError> {
        let mut filter = Filter::default();
        restrict(&mut filter, query);
        if query.latest_per_device {
            let newest = format!(
                "p.profile IN (SELECT MAX(p.profile) FROM profile p JOIN variant s ON s.profile = p.profile {} \
                 GROUP BY p.device)",
                filter.clause()
            );
            filter.and_plainly(&newest);
        }
        // One board's or one run's points are found from there, not from the model's: SQLite keeps the order of a
        // CROSS JOIN.
        let is_narrow = query.device.is_some() || query.profile.is_some();
        let from = if is_narrow {
            filter.and_plainly("s.profile = p.profile");
            filter.and_plainly("q.variant = s.variant");
            "profile p CROSS JOIN variant s CROSS JOIN point q"
        } else {
            "profile p JOIN variant s ON s.profile = p.profile JOIN point q ON q.variant = s.variant"
        };
        filter.and("q.batch_size = ?", query.batch_size);
        filter.and("q.clip_length = ?", query.clip_length);
        let limit = filter.parameter(query.limit);
        let histogram = if query.histograms { ", q.histogram" } else { "" };
        let order = if query.newest_first {
            "s.profile DESC, s.variant DESC, q.batch_size, q.clip_length"
        } else {
            "p.device, p.profile DESC, q.variant, q.batch_size, q.clip_length"
        };
        let sql = format!(
            "SELECT {COLUMNS}{histogram} FROM {from} {} ORDER BY {order} LIMIT {limit}",
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(point_row(row, query.histograms)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The points at which a model was measured lately, batch size and clip length, and how often each was.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn grid(&mut self, model: &str) -> Result<BTreeMap<(u32, u32), u64>, StoreError> {
        let sql = "SELECT q.batch_size, q.clip_length, COUNT(*) FROM (SELECT variant FROM variant WHERE model = ?1 \
            ORDER BY profile DESC, variant DESC LIMIT ?2) s JOIN point q ON q.variant = s.variant \
            GROUP BY q.batch_size, q.clip_length";
        let mut grid = BTreeMap::new();
        self.database.query(sql, &[model.into(), GRID_RUNS.into()], &mut |row| {
            let at = (small(row, 0, "batch size")?, small(row, 1, "clip length")?);
            grid.insert(at, count(row, 2, "number")?);
            Ok(())
        })?;
        Ok(grid)
    }
}
