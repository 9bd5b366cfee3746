//! Rows of one record: profile, variants, points, soaks, or what else its content is.

use super::bounds::{Excess, Refused, Room};
use super::content::Content;
use super::database::{Database, Value};
use super::rows::{ProfileRows, VariantRows, name_of};
use super::write::{Poison, Record};
use super::{StoreError, digests, inbox, live};
use clipmark_profile::axis::{Axis, AxisValue};
use clipmark_profile::figures::{Figure, Stored};
use clipmark_profile::message::SequenceRange;
use clipmark_profile::point::Shape;
use clipmark_profile::topics::{CommandId, DeviceTopic, Topic, UpKind};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Points in one INSERT.
const ROWS: usize = 32;

/// Columns of a point, in the order of [`insert_points`].
static POINT_COLUMNS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let shape = Axis::SHAPE.map(Axis::column);
    let figures = Figure::stored().map(|(figure, _)| figure.name());
    let fixed = ["status", "throttled", "steady"].into_iter();
    ["variant"].into_iter().chain(shape).chain(fixed).chain(figures).chain(["histogram"]).collect()
});

/// The sizes of `shape` in the order of its axes; 0 where unset.
fn sizes<'a>(shape: Shape) -> impl Iterator<Item = Value<'a>> {
    Axis::SHAPE.into_iter().map(move |axis| shape.get(axis).unwrap_or(0).into())
}

/// `columns` and a placeholder for each, as an INSERT has them.
fn places(columns: &[&str], from: usize) -> String {
    let places: Vec<String> = (from..from + columns.len()).map(|place| format!("?{place}")).collect();
    format!("({})", places.join(", "))
}

/// Where a content belongs.
struct Place<'a> {
    record: &'a Record,
    /// The sequence of its first part.
    sequence: u64,
    now: Value<'a>,
}

impl<'a> Place<'a> {
    fn key(&self) -> [Value<'a>; 3] {
        [self.record.device.as_str().into(), self.record.epoch.0.into(), self.sequence.into()]
    }

    fn command(&self) -> Value<'a> {
        self.record.command.as_ref().map(CommandId::as_str).into()
    }
}

/// What became of a record.
pub(super) enum Inserted {
    /// It is stored.
    Stored {
        /// The sequences that it declares lost.
        lost: Option<SequenceRange>,
    },
    /// It is a part of a content of which others are still to come.
    Waits,
    /// Its content came before under a former place and is stored there.
    CameBefore,
}

/// Stores a record that did not come before under its sequence. A content that can wait is put off when it has not been read, or when `others_wait`: contents are read in the order of arrival.
pub(super) fn insert(
    database: &mut dyn Database,
    record: &Record,
    now: Value<'_>,
    others_wait: bool,
    room: &mut Room,
) -> Result<Inserted, StoreError> {
    if record.parts == 1 && digests::came_before(database, record)? {
        return Ok(Inserted::CameBefore);
    }
    let is_refused = matches!(record.content, Some(Content::Unreadable { .. }));
    if inbox::can_wait(record) && !is_refused && (others_wait || record.content.is_none()) {
        return inbox::put_off(database, record, now).map(|()| Inserted::Stored { lost: None });
    }
    let sequence = record.sequence.saturating_sub(record.part.into());
    let place = Place { record, sequence, now };
    let (content, bytes) = match &record.content {
        Some(content) => (Cow::Borrowed(content), Cow::Borrowed(&record.bytes)),
        None if record.parts == 1 => {
            (Cow::Owned(Content::read(record.kind, &record.bytes)), Cow::Borrowed(&record.bytes))
        }
        None => {
            insert_part(database, &place)?;
            room.take(record.device.as_str(), Excess::Parts, 1);
            let Some(bytes) = assembled(database, &place)? else {
                live::seen(database, &record.device, now)?;
                return Ok(Inserted::Waits);
            };
            room.give_back(record.device.as_str(), Excess::Parts, record.parts.into());
            if digests::came_before(database, record)? {
                return Ok(Inserted::CameBefore);
            }
            (Cow::Owned(Content::read(record.kind, &bytes)), Cow::Owned(bytes))
        }
    };
    let mut declared = None;
    match content.as_ref() {
        Content::Profile(rows) => {
            insert_profile(database, &place, rows, &bytes)?;
            return Ok(Inserted::Stored { lost: None });
        }
        Content::Series { run_id } => insert_attachment(database, &place, Some(run_id), &bytes)?,
        Content::Event { lost } => {
            insert_attachment(database, &place, None, &bytes)?;
            declared = *lost;
        }
        Content::Unreadable { reason } => {
            let topic = Topic::device(&record.device, DeviceTopic::Up(record.kind)).to_string();
            let poison = Poison::new(&topic, reason, None, &bytes);
            set_aside(database, &poison, Some(place.key()), now, room)?;
        }
    }
    live::seen(database, &record.device, now)?;
    Ok(Inserted::Stored { lost: declared })
}

fn insert_part(database: &mut dyn Database, place: &Place<'_>) -> Result<(), StoreError> {
    let record = place.record;
    let [device, epoch, first] = place.key();
    let kind = record.kind.name();
    let values = [
        device,
        epoch,
        record.sequence.into(),
        first,
        u32::from(record.parts).into(),
        kind.into(),
        place.command(),
        record.spooled_unix_ms.into(),
        place.now,
        record.bytes.as_slice().into(),
    ];
    let sql = "INSERT INTO part (device, epoch, sequence, first_sequence, parts, kind, command, spooled_unix_ms, \
        received_unix_ms, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    database.execute(sql, &values).map(drop)
}

/// The whole content, once its last part is here; its parts are then removed.
fn assembled(database: &mut dyn Database, place: &Place<'_>) -> Result<Option<Vec<u8>>, StoreError> {
    let record = place.record;
    let [device, epoch, first] = place.key();
    // By their sequences, which the table is ordered by: there may be many other parts.
    let values = [device, epoch, first, (place.sequence + u64::from(record.parts)).into()];
    let mine = "FROM part WHERE device = ?1 AND epoch = ?2 AND sequence >= ?3 AND sequence < ?4 AND first_sequence = ?3";
    let mut here = 0;
    database.query(&format!("SELECT COUNT(*) {mine}"), &values, &mut |row| {
        here = row.int(0)?.unwrap_or_default();
        Ok(())
    })?;
    if here < i64::from(record.parts) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    database.query(&format!("SELECT content {mine} ORDER BY sequence"), &values, &mut |row| {
        bytes.extend(row.blob(0)?.unwrap_or_default());
        Ok(())
    })?;
    database.execute(&format!("DELETE {mine}"), &values)?;
    Ok(Some(bytes))
}

fn insert_attachment(
    database: &mut dyn Database,
    place: &Place<'_>,
    run_id: Option<&String>,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let [device, epoch, sequence] = place.key();
    let kind: &str = match place.record.kind {
        UpKind::Series => UpKind::Series.name(),
        UpKind::Event | UpKind::Profile => UpKind::Event.name(),
    };
    let values = [
        device,
        epoch,
        sequence,
        kind.into(),
        run_id.into(),
        place.command(),
        place.now,
        (bytes.len() as u64).into(),
        bytes.into(),
    ];
    let sql = "INSERT INTO attachment (device, epoch, sequence, kind, run_id, command, received_unix_ms, bytes, \
        blob) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (device, epoch, sequence) DO NOTHING";
    database.execute(sql, &values).map(drop)
}

/// Keeps a message that cannot be understood, where there is room: a repetition is only counted. `key` is the
/// record's identity, where that much is known.
pub(super) fn set_aside(
    database: &mut dyn Database,
    poison: &Poison,
    key: Option<[Value<'_>; 3]>,
    now: Value<'_>,
    room: &mut Room,
) -> Result<(), StoreError> {
    let sql = "UPDATE poison SET times = times + 1 WHERE topic = ?1 AND digest = ?2";
    if database.execute(sql, &[(&poison.topic).into(), (&poison.digest).into()])? > 0 {
        return Ok(());
    }
    if !room.has(database, &poison.device, Excess::SetAside, 1)? {
        let refused = Refused { messages: 1, bytes: poison.payload.len() as u64 };
        room.refuse(&poison.device, Excess::SetAside, refused);
        return Ok(());
    }
    room.take(&poison.device, Excess::SetAside, 1);
    let [_, epoch, sequence] = key.unwrap_or([Value::Null; 3]);
    let values = [
        (&poison.topic).into(),
        (&poison.digest).into(),
        (&poison.reason).into(),
        (&poison.device).into(),
        epoch,
        sequence,
        poison.content_type.as_ref().into(),
        now,
        poison.payload.as_slice().into(),
    ];
    let sql = "INSERT INTO poison (topic, digest, reason, device, epoch, sequence, content_type, received_unix_ms, \
        times, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9) \
        ON CONFLICT (topic, digest) DO UPDATE SET times = poison.times + 1";
    database.execute(sql, &values).map(drop)
}

fn returned_key(
    database: &mut dyn Database,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Option<i64>, StoreError> {
    let mut key = None;
    database.query(sql, values, &mut |row| {
        key = row.int(0)?;
        Ok(())
    })?;
    Ok(key)
}

fn insert_profile(
    database: &mut dyn Database,
    place: &Place<'_>,
    rows: &ProfileRows,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let [device, epoch, sequence] = place.key();
    let measured: usize = rows.variants.iter().map(|variant| variant.points.len()).sum();
    let values = [
        device,
        epoch,
        sequence,
        place.now,
        place.record.spooled_unix_ms.into(),
        rows.started_unix_ms.into(),
        rows.duration_ms.into(),
        (&rows.run_id).into(),
        place.command(),
        (&rows.mode).into(),
        u32::from(rows.versions[0]).into(),
        u32::from(rows.versions[1]).into(),
        (&rows.clipmark).into(),
        rows.board.as_ref().into(),
        rows.board_id.as_ref().into(),
        rows.cpu.as_ref().into(),
        rows.l4t.as_ref().into(),
        rows.kernel.as_ref().into(),
        (&rows.arch).into(),
        rows.power_mode.as_ref().into(),
        (&rows.load).into(),
        rows.stream_micro_fps.into(),
        rows.simulated.into(),
        rows.partial.into(),
        rows.throttled.into(),
        rows.points.into(),
        (measured as u64).into(),
        (bytes.len() as u64).into(),
        bytes.into(),
    ];
    let sql = "INSERT INTO profile (device, epoch, sequence, received_unix_ms, spooled_unix_ms, started_unix_ms, \
        duration_ms, run_id, command, mode, schema_version, analysis_version, clipmark, board, board_id, cpu, \
        l4t, kernel, arch, power_mode, load, stream_micro_fps, simulated, partial, throttled, points, measured, bytes, \
        blob) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
        ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29) ON CONFLICT (device, epoch, sequence) DO NOTHING RETURNING profile";
    let Some(profile) = returned_key(database, sql, &values)? else { return Ok(()) };
    for (ordinal, variant) in rows.variants.iter().enumerate() {
        insert_variant(database, profile, ordinal as u64, variant)?;
    }
    live::profiled(database, &place.record.device, profile, place.record.epoch.0, place.sequence, place.now)
}

fn insert_variant(
    database: &mut dyn Database,
    profile: i64,
    ordinal: u64,
    rows: &VariantRows,
) -> Result<(), StoreError> {
    let axes: Vec<Option<AxisValue>> = Axis::VARIANT.iter().map(|axis| rows.variant.get(*axis)).collect();
    let mut values = vec![
        profile.into(),
        ordinal.into(),
        rows.model_sha256.as_ref().into(),
        rows.backend_version.as_ref().into(),
        rows.backend_device.as_ref().into(),
    ];
    values.extend(axes.iter().map(|value| match value {
        None => Value::Null,
        Some(AxisValue::Count(count)) => (*count).into(),
        Some(AxisValue::Name(name)) => name.into(),
    }));
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let fixed = ["profile", "ordinal", "model_sha256", "backend_version", "backend_device"];
        let columns = [&fixed[..], &Axis::VARIANT.map(Axis::column)].concat();
        let (names, places) = (columns.join(", "), places(&columns, 1));
        format!("INSERT INTO variant ({names}) VALUES {places} RETURNING variant")
    });
    let Some(variant) = returned_key(database, &SQL, &values)? else { return Ok(()) };
    insert_points(database, variant, rows)?;
    for (shape, failure) in &rows.failures {
        let (stage, cause) = (name_of(&failure.stage), name_of(&failure.cause));
        let told: [Value<'_>; 3] = [(&stage).into(), (&cause).into(), (&failure.message).into()];
        let values: Vec<Value<'_>> = [variant.into()].into_iter().chain(sizes(*shape)).chain(told).collect();
        static SQL: LazyLock<String> = LazyLock::new(|| at_shape("failure", &["stage", "cause", "message"]));
        database.execute(&SQL, &values)?;
    }
    insert_soaks(database, variant, rows)
}

/// The texts of INSERTs of 0 to [`ROWS`] points: made once, because making one costs more than running it.
static POINT_INSERTS: LazyLock<Vec<String>> = LazyLock::new(|| (0..=ROWS).map(many_points).collect());

/// The text of an INSERT into a table of shapes: variant, sizes, then `columns`.
fn at_shape(table: &str, columns: &[&'static str]) -> String {
    let shape = Axis::SHAPE.map(Axis::column);
    let columns: Vec<&str> = ["variant"].iter().chain(&shape).chain(columns).copied().collect();
    let (names, places) = (columns.join(", "), places(&columns, 1));
    format!("INSERT INTO {table} ({names}) VALUES {places} ON CONFLICT DO NOTHING")
}

/// The text of an INSERT of `rows` points.
fn many_points(rows: usize) -> String {
    let columns = &*POINT_COLUMNS;
    let rows: Vec<String> = (0..rows).map(|index| places(columns, index * columns.len() + 1)).collect();
    format!("INSERT INTO point ({}) VALUES {} ON CONFLICT DO NOTHING", columns.join(", "), rows.join(", "))
}

fn insert_points(database: &mut dyn Database, variant: i64, rows: &VariantRows) -> Result<(), StoreError> {
    for chunk in rows.points.chunks(ROWS) {
        let texts: Vec<_> = chunk
            .iter()
            .map(|point| (name_of(&point.status), name_of(&point.steady), point.histogram.to_bytes()))
            .collect();
        let mut values: Vec<Value<'_>> = Vec::with_capacity(chunk.len() * POINT_COLUMNS.len());
        for (point, (status, steady, histogram)) in chunk.iter().zip(&texts) {
            values.push(variant.into());
            values.extend(sizes(point.shape));
            let course: [Value<'_>; 3] = [status.into(), point.throttled.into(), steady.into()];
            values.extend(course);
            values.extend(Figure::stored().map(|(figure, kind)| match (kind, point.figures.get(figure)) {
                (_, None) => Value::Null,
                (Stored::Int, Some(value)) => (value as u64).into(),
                (Stored::Real, Some(value)) => value.into(),
            }));
            values.push(histogram.as_slice().into());
        }
        database.execute(&POINT_INSERTS[chunk.len()], &values)?;
    }
    Ok(())
}

/// Columns of a soak behind its shape, in the order of [`insert_soaks`].
pub(super) const SOAK_COLUMNS: [&str; 9] = [
    "duration_ms",
    "time_to_throttle_ms",
    "causes",
    "burst_frames_per_s",
    "sustained_frames_per_s",
    "sustained_ratio",
    "sustained_p99_ns",
    "peak_millicelsius",
    "aborted",
];

fn insert_soaks(database: &mut dyn Database, variant: i64, rows: &VariantRows) -> Result<(), StoreError> {
    static SQL: LazyLock<String> = LazyLock::new(|| at_shape("soak", &SOAK_COLUMNS));
    for soak in &rows.soaks {
        let causes = soak.causes.join(",");
        let figures: [Value<'_>; SOAK_COLUMNS.len()] = [
            soak.duration_ms.into(),
            soak.time_to_throttle_ms.into(),
            (&causes).into(),
            soak.burst_frames_per_s.into(),
            soak.sustained_frames_per_s.into(),
            soak.sustained_ratio.into(),
            soak.sustained_p99_ns.into(),
            soak.peak_millicelsius.map(i64::from).into(),
            soak.aborted.as_ref().into(),
        ];
        let values: Vec<Value<'_>> =
            [variant.into()].into_iter().chain(sizes(soak.shape)).chain(figures).collect();
        database.execute(&SQL, &values)?;
    }
    Ok(())
}
