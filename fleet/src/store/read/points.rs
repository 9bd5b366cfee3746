//! Measured points with everything that a cohort is made by.
//!
//! Newest first, one model's points are found by an index and read until the limit; by device they are sorted.

use super::filter::Filter;
use super::profiles::ProfileId;
use super::{Named, count, identifier};
use crate::store::database::Row;
use crate::store::{PointFigures, Store, StoreError};
use clipmark_profile::axis::{Axis, AxisValue, Domain};
use clipmark_profile::figures::{Figure, Figures, Stored};
use clipmark_profile::identity::{self, Identity, Issued};
use clipmark_profile::plan::{Deadline, Load};
use clipmark_profile::point::{Shape, Variant};
use clipmark_profile::stats::histogram::Histogram;
use clipmark_profile::topics::DeviceId;
use std::collections::BTreeMap;
use std::sync::LazyLock;

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
    /// At this shape.
    pub shape: Option<Shape>,
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
            shape: None,
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
    /// What was measured: when two rows are of the same thing.
    pub identity: Identity,
    /// The version of the runtime behind the backend.
    pub backend_version: Option<String>,
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

/// What is read of a profile, a variant and a point.
const OF_PROFILE: [&str; 13] = [
    "profile",
    "device",
    "received_unix_ms",
    "started_unix_ms",
    "clipmark",
    "board",
    "board_id",
    "cpu",
    "l4t",
    "kernel",
    "load",
    "stream_micro_fps",
    "simulated",
];
const OF_VARIANT: [&str; 3] = ["model_sha256", "backend_version", "backend_device"];
const OF_POINT: [&str; 3] = ["status", "throttled", "steady"];

/// The power mode of the run, which is the variant's where it set none.
const RUN_POWER_MODE: &str = "run_power_mode";

/// The names of the columns that are read, and the SELECT that reads them in this order.
static COLUMNS: LazyLock<(Vec<&'static str>, String)> = LazyLock::new(|| {
    let figures = Figure::stored().map(|(figure, _)| figure.name());
    let groups: [(&str, Vec<&'static str>); 3] = [
        ("p", OF_PROFILE.to_vec()),
        ("s", OF_VARIANT.into_iter().chain(Axis::VARIANT.map(Axis::column)).collect()),
        ("q", OF_POINT.into_iter().chain(Axis::SHAPE.map(Axis::column)).chain(figures).collect()),
    ];
    let mut names: Vec<&'static str> = groups.iter().flat_map(|(_, names)| names.clone()).collect();
    let mut select: Vec<String> = groups
        .iter()
        .flat_map(|(table, names)| names.iter().map(move |name| format!("{table}.{name}")))
        .collect();
    names.push(RUN_POWER_MODE);
    select.push("p.power_mode".to_owned());
    (names, select.join(", "))
});

fn figures(row: &Named<'_>, histogram: Option<Vec<u8>>) -> Result<PointFigures, StoreError> {
    let damaged = |what, problem: String| StoreError::Damaged { what, problem };
    let histogram = match histogram {
        None => Histogram::default(),
        Some(bytes) => {
            Histogram::from_bytes(&bytes).map_err(|error| damaged("histogram", error.to_string()))?
        }
    };
    let mut figures = Figures::default();
    for (figure, kind) in Figure::stored() {
        let value = match kind {
            Stored::Int => row.int(figure.name())?.map(|value| value as f64),
            Stored::Real => row.real(figure.name())?,
        };
        figures.set(figure, value);
    }
    Ok(PointFigures {
        shape: row.shape()?,
        status: row.one_of("status")?,
        throttled: row.int("throttled")?.map(|value| value != 0),
        steady: row.one_of("steady")?,
        figures,
        histogram,
    })
}

fn identity(row: &Named<'_>, shape: Shape) -> Result<Identity, StoreError> {
    let mut variant = Variant::new("", "");
    for axis in Axis::VARIANT {
        let value = match axis.row().domain {
            Domain::Count { .. } => {
                row.int(axis.column())?.and_then(|count| u32::try_from(count).ok()).map(AxisValue::Count)
            }
            Domain::Choice(_) | Domain::Name { .. } => row.text(axis.column())?.map(AxisValue::Name),
        };
        if let Some(value) = value {
            variant.set(axis, value);
        }
    }
    if variant.power_mode.is_none() {
        variant.power_mode = row.text(RUN_POWER_MODE)?;
    }
    let names = [row.text("board_id")?, row.text("board")?, row.text("cpu")?];
    let [id, name, cpu] = [&names[0], &names[1], &names[2]].map(Option::as_deref);
    let (l4t, kernel) = (row.text("l4t")?, row.text("kernel")?);
    let load = match (row.one_of("load")?, row.int("stream_micro_fps")?) {
        (Load::Paced, Some(micros)) => Issued::Stream(micros.unsigned_abs()),
        (load, _) => Issued::of(load, Deadline::None),
    };
    Ok(Identity {
        variant,
        digest: row.text("model_sha256")?,
        shape,
        board: identity::board(id, name, cpu).map(str::to_owned),
        firmware: identity::firmware(l4t.as_deref(), kernel.as_deref()).map(str::to_owned),
        device: row.text("backend_device")?,
        load,
        simulated: row.count("simulated")? != 0,
    })
}

fn point_row(row: &dyn Row, histograms: bool) -> Result<PointRow, StoreError> {
    let names = &COLUMNS.0;
    let histogram = if histograms { row.blob(names.len())? } else { None };
    let row = Named { row, names };
    let figures = figures(&row, histogram)?;
    Ok(PointRow {
        profile: ProfileId(row.int("profile")?.unwrap_or_default()),
        device: identifier(&row.needed("device")?, "device")?,
        received_unix_ms: row.count("received_unix_ms")?,
        started_unix_ms: row.count("started_unix_ms")?,
        clipmark: row.needed("clipmark")?,
        board: row.text("board")?,
        l4t: row.text("l4t")?,
        kernel: row.text("kernel")?,
        identity: identity(&row, figures.shape)?,
        backend_version: row.text("backend_version")?,
        figures,
    })
}

/// A condition that a point has these sizes.
fn at_shape<'a>(filter: &mut Filter<'a>, shape: Option<Shape>) {
    for axis in Axis::SHAPE {
        let size = shape.map(|shape| shape.get(axis).unwrap_or(0));
        filter.and(&format!("q.{} = ?", axis.column()), size);
    }
}

/// The columns of a shape, for an order.
fn sizes(table: &str) -> String {
    Axis::SHAPE.map(|axis| format!("{table}.{}", axis.column())).join(", ")
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
    filter.and("s.precision = ?", query.precision.as_ref());
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
        at_shape(&mut filter, query.shape);
        let limit = filter.parameter(query.limit);
        let histogram = if query.histograms { ", q.histogram" } else { "" };
        let runs = if query.newest_first {
            "s.profile DESC, s.variant DESC"
        } else {
            "p.device, p.profile DESC, q.variant"
        };
        let (select, order) = (&COLUMNS.1, format!("{runs}, {}", sizes("q")));
        let sql = format!(
            "SELECT {select}{histogram} FROM {from} {} ORDER BY {order} LIMIT {limit}",
            filter.clause()
        );
        let mut rows = Vec::new();
        self.database.query(&sql, &filter.values, &mut |row| {
            rows.push(point_row(row, query.histograms)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The shapes at which a model was measured in its newest runs, and how often each was.
    ///
    /// # Errors
    /// The database's refusal.
    pub fn grid(&mut self, model: &str) -> Result<BTreeMap<Shape, u64>, StoreError> {
        let sizes = sizes("q");
        let sql = format!(
            "SELECT {sizes}, COUNT(*) FROM (SELECT variant FROM variant WHERE model = ?1 \
             ORDER BY profile DESC, variant DESC LIMIT ?2) s JOIN point q ON q.variant = s.variant GROUP BY {sizes}"
        );
        let names = Axis::SHAPE.map(Axis::column);
        let mut grid = BTreeMap::new();
        self.database.query(&sql, &[model.into(), GRID_RUNS.into()], &mut |row| {
            let shape = Named { row, names: &names }.shape()?;
            grid.insert(shape, count(row, names.len(), "number")?);
            Ok(())
        })?;
        Ok(grid)
    }
}
