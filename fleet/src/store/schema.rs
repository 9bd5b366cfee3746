//! The tables, and how older ones become these.

use super::StoreError;
use super::database::{Database, Dialect};
use clipmark_profile::axis::{Axis, Domain};
use clipmark_profile::figures::{Figure, Stored};

/// Version of the tables. Each step of [`STEPS`] leads to the next version.
const VERSION: i64 = STEPS.len() as i64;

/// What leads from one version to the next. A released step is never changed.
const STEPS: [&str; 7] = [STEP_1, STEP_2, STEP_3, STEP_4, STEP_5, STEP_6, STEP_7];

const STEP_1: &str = "
-- What a device last said of itself.
CREATE TABLE device (
  device TEXT PRIMARY KEY,
  first_seen_unix_ms {int} NOT NULL,
  seen_unix_ms {int} NOT NULL,
  availability TEXT, connection {int}, since_unix_ms {int},
  state TEXT,
  epoch {int}, board TEXT, l4t TEXT, kernel TEXT, power_mode TEXT, clipmark TEXT,
  info TEXT,
  last_profile {int}
) {table};
CREATE TABLE membership (
  device TEXT NOT NULL, fleet_group TEXT NOT NULL, PRIMARY KEY (device, fleet_group)
) {clustered};

-- How far each spool is stored: everything up to `contiguous`, and the ranges in `ahead`, up to `highest`.
CREATE TABLE spool (
  device TEXT NOT NULL, epoch {int} NOT NULL,
  contiguous {int} NOT NULL, highest {int} NOT NULL, records {int} NOT NULL, lost {int} NOT NULL,
  first_received_unix_ms {int} NOT NULL, last_received_unix_ms {int} NOT NULL,
  PRIMARY KEY (device, epoch)
) {clustered};
CREATE TABLE ahead (
  device TEXT NOT NULL, epoch {int} NOT NULL, first_sequence {int} NOT NULL, last_sequence {int} NOT NULL,
  PRIMARY KEY (device, epoch, first_sequence)
) {clustered};
-- Parts of contents of which not all parts are here yet.
CREATE TABLE part (
  device TEXT NOT NULL, epoch {int} NOT NULL, sequence {int} NOT NULL,
  first_sequence {int} NOT NULL, parts {int} NOT NULL, kind TEXT NOT NULL, command TEXT,
  spooled_unix_ms {int} NOT NULL, received_unix_ms {int} NOT NULL, content {blob} NOT NULL,
  PRIMARY KEY (device, epoch, sequence)
) {clustered};

-- One row a run. `blob` is the content as it came, NULL once retention dropped it.
CREATE TABLE profile (
  profile {key},
  device TEXT NOT NULL, epoch {int} NOT NULL, sequence {int} NOT NULL,
  received_unix_ms {int} NOT NULL, spooled_unix_ms {int} NOT NULL, started_unix_ms {int} NOT NULL,
  duration_ms {int} NOT NULL, run_id TEXT NOT NULL, command TEXT, mode TEXT NOT NULL,
  schema_version {int} NOT NULL, analysis_version {int} NOT NULL, clipmark TEXT NOT NULL,
  board TEXT, board_id TEXT, cpu TEXT, l4t TEXT, kernel TEXT, arch TEXT NOT NULL, power_mode TEXT,
  load TEXT NOT NULL, stream_micro_fps {int},
  simulated {int} NOT NULL, partial {int} NOT NULL, throttled {int} NOT NULL,
  points {int} NOT NULL, measured {int} NOT NULL,
  bytes {int} NOT NULL, blob {blob},
  UNIQUE (device, epoch, sequence)
) {table};
CREATE INDEX profile_device ON profile (device, received_unix_ms);
CREATE INDEX profile_received ON profile (received_unix_ms);
-- One row a variant of a run, with a column for each of its axes.
CREATE TABLE variant (
  variant {key},
  profile {int} NOT NULL REFERENCES profile ON DELETE CASCADE,
  ordinal {int} NOT NULL,
  {axes}, model_sha256 TEXT, backend_version TEXT, backend_device TEXT
) {table};
CREATE INDEX variant_profile ON variant (profile);
CREATE INDEX variant_model ON variant (model_sha256, profile);
-- One row a point that has a latency.
CREATE TABLE point (
  variant {int} NOT NULL REFERENCES variant ON DELETE CASCADE,
  {shape},
  status TEXT NOT NULL, throttled {int} NOT NULL, steady TEXT NOT NULL,
  {figures},
  histogram {blob} NOT NULL,
  PRIMARY KEY (variant, {sizes})
) {clustered};
-- One row a point that failed.
CREATE TABLE failure (
  variant {int} NOT NULL REFERENCES variant ON DELETE CASCADE,
  {shape},
  stage TEXT NOT NULL, cause TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (variant, {sizes})
) {clustered};
-- One row a soak.
CREATE TABLE soak (
  variant {int} NOT NULL REFERENCES variant ON DELETE CASCADE,
  {shape},
  duration_ms {int} NOT NULL, time_to_throttle_ms {int}, causes TEXT NOT NULL,
  burst_frames_per_s {real}, sustained_frames_per_s {real}, sustained_ratio {real}, sustained_p99_ns {real},
  peak_millicelsius {int}, aborted TEXT,
  PRIMARY KEY (variant, {sizes})
) {clustered};

-- Series and events, as they came.
CREATE TABLE attachment (
  attachment {key},
  device TEXT NOT NULL, epoch {int} NOT NULL, sequence {int} NOT NULL,
  kind TEXT NOT NULL, run_id TEXT, command TEXT,
  received_unix_ms {int} NOT NULL, bytes {int} NOT NULL, blob {blob},
  UNIQUE (device, epoch, sequence)
) {table};
CREATE INDEX attachment_run ON attachment (run_id);
CREATE INDEX attachment_received ON attachment (received_unix_ms);

-- Commands, one row a device: what was asked and how far it came.
CREATE TABLE command (
  command TEXT NOT NULL, device TEXT NOT NULL,
  operation TEXT NOT NULL, stage {int} NOT NULL, seen_unix_ms {int} NOT NULL, status TEXT,
  PRIMARY KEY (command, device)
) {clustered};
CREATE INDEX command_device ON command (device, seen_unix_ms);

-- What could not be understood, with the reason.
CREATE TABLE poison (
  poison {key},
  topic TEXT NOT NULL, digest TEXT NOT NULL, reason TEXT NOT NULL,
  device TEXT, epoch {int}, sequence {int}, content_type TEXT, received_unix_ms {int} NOT NULL, times {int} NOT NULL, payload {blob} NOT NULL,
  UNIQUE (topic, digest)
) {table};
";

/// Models are asked for by name, the newest runs first.
const STEP_2: &str = "
CREATE INDEX variant_model_name ON variant (model, profile, variant);
";

/// Contents that are stored and not yet read.
const STEP_3: &str = "
CREATE TABLE inbox (
  inbox {key},
  device TEXT NOT NULL, epoch {int} NOT NULL, sequence {int} NOT NULL, kind TEXT NOT NULL, command TEXT,
  spooled_unix_ms {int} NOT NULL, received_unix_ms {int} NOT NULL, content {blob} NOT NULL
) {table};
";

/// Whether something throttled is known only where it was soaked.
const STEP_4: &str = "
ALTER TABLE profile DROP COLUMN throttled;
ALTER TABLE profile ADD COLUMN throttled {int};
UPDATE profile SET throttled = (SELECT MAX(CASE WHEN k.causes = '' THEN 0 ELSE 1 END) FROM variant s
  JOIN soak k ON k.variant = s.variant WHERE s.profile = profile.profile);
ALTER TABLE point DROP COLUMN throttled;
ALTER TABLE point ADD COLUMN throttled {int};
UPDATE point SET throttled = (SELECT CASE WHEN k.causes = '' THEN 0 ELSE 1 END FROM soak k
  WHERE k.variant = point.variant AND k.batch_size = point.batch_size AND k.clip_length = point.clip_length);
";

/// What is counted against the bounds of a device, and what was refused.
const STEP_5: &str = "
ALTER TABLE spool ADD COLUMN bytes {int} NOT NULL DEFAULT 0;
UPDATE spool SET bytes =
  (SELECT CAST(COALESCE(SUM(p.bytes), 0) AS BIGINT) FROM profile p
   WHERE p.device = spool.device AND p.epoch = spool.epoch AND p.blob IS NOT NULL) +
  (SELECT CAST(COALESCE(SUM(a.bytes), 0) AS BIGINT) FROM attachment a
   WHERE a.device = spool.device AND a.epoch = spool.epoch AND a.blob IS NOT NULL);
UPDATE poison SET device = '' WHERE device IS NULL;
CREATE INDEX poison_device ON poison (device);
CREATE TABLE refusal (
  device TEXT NOT NULL, excess TEXT NOT NULL, messages {int} NOT NULL, bytes {int} NOT NULL,
  first_unix_ms {int} NOT NULL, last_unix_ms {int} NOT NULL,
  PRIMARY KEY (device, excess)
) {clustered};
";

/// The columns of `axes`, separated by commas. An axis of a shape that a point does not vary is 0, because a key cannot
/// be NULL.
fn axes(axes: &[Axis], of_shape: bool) -> String {
    let column = |axis: &Axis| {
        let name = axis.column();
        match axis.row().domain {
            Domain::Count { .. } if of_shape => format!("{name} {{int}} NOT NULL DEFAULT 0"),
            Domain::Count { .. } => format!("{name} {{int}} NOT NULL"),
            Domain::Choice(_) | Domain::Name { .. } => format!("{name} TEXT"),
        }
    };
    axes.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Figures that got their columns after [`STEP_1`], in the step of their own.
const ADDED: [Figure; 5] = [
    Figure::ComparableMean,
    Figure::ComparableP50,
    Figure::ComparableP99,
    Figure::ComparableFramesPerSecond,
    Figure::ComparableEnergyPerFrame,
];

/// The columns of the figures that were kept from the first version on.
fn figures() -> String {
    let column = |(figure, kind): (Figure, Stored)| match kind {
        Stored::Int => format!("{figure} {{int}}"),
        Stored::Real => format!("{figure} {{real}}"),
    };
    let first = Figure::stored().filter(|(figure, _)| !ADDED.contains(figure));
    first.map(column).collect::<Vec<_>>().join(", ")
}

/// Two contents under one sequence are told apart.
const STEP_6: &str = "
-- What came under each sequence (state 2), and what is said to have been there before it moved to another epoch:
-- 1 when it is stored there, 0 while parts of it are to come.
CREATE TABLE digest (
  device TEXT NOT NULL, epoch {int} NOT NULL, sequence {int} NOT NULL,
  digest {int} NOT NULL, state {int} NOT NULL,
  PRIMARY KEY (device, epoch, sequence, digest)
) {clustered};
-- The lowest sequence under which two contents came, and how often.
ALTER TABLE spool ADD COLUMN conflict {int};
ALTER TABLE spool ADD COLUMN conflicts {int} NOT NULL DEFAULT 0;
-- 1 when records of it are said to have moved to another epoch.
ALTER TABLE spool ADD COLUMN moved {int} NOT NULL DEFAULT 0;
";

/// Figures in the common state of boards that changed during the sweep: NULL where the board held still.
const STEP_7: &str = "
ALTER TABLE point ADD COLUMN comparable_mean_ns {real};
ALTER TABLE point ADD COLUMN comparable_p50_ns {real};
ALTER TABLE point ADD COLUMN comparable_p99_ns {real};
ALTER TABLE point ADD COLUMN comparable_frames_per_s {real};
ALTER TABLE point ADD COLUMN comparable_energy_per_frame_uj {real};
";

fn spelled(sql: &str, dialect: Dialect) -> String {
    sql.replace("{axes}", &axes(&Axis::VARIANT, false))
        .replace("{shape}", &axes(&Axis::SHAPE, true))
        .replace("{sizes}", &Axis::SHAPE.map(Axis::column).join(", "))
        .replace("{figures}", &figures())
        .replace("{key}", dialect.key)
        .replace("{int}", dialect.int)
        .replace("{real}", dialect.real)
        .replace("{blob}", dialect.blob)
        .replace("{table}", dialect.table)
        .replace("{clustered}", dialect.clustered)
}

fn version(database: &mut dyn Database) -> Result<i64, StoreError> {
    let mut found = 0;
    database.query("SELECT version FROM clipmark_fleet", &[], &mut |row| {
        found = row.int(0)?.unwrap_or(0);
        Ok(())
    })?;
    Ok(found)
}

/// Takes the tables from their version to version `to`.
fn upgrade(database: &mut dyn Database, to: i64) -> Result<(), StoreError> {
    let found = version(database)?;
    if found > to {
        return Err(StoreError::Newer { found, known: to });
    }
    let place = |version: i64| usize::try_from(version).unwrap_or(0);
    for step in &STEPS[place(found)..place(to)] {
        let sql = spelled(step, database.dialect());
        let without_comments: String =
            sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        for statement in without_comments.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            database.execute(statement, &[])?;
        }
    }
    if found < to {
        database.execute("DELETE FROM clipmark_fleet", &[])?;
        database.execute("INSERT INTO clipmark_fleet (version) VALUES (?1)", &[to.into()])?;
    }
    Ok(())
}

fn lock(database: &mut dyn Database) -> Result<(), StoreError> {
    match database.dialect().lock {
        "" => Ok(()),
        lock => database.execute(&format!("{lock} clipmark_fleet"), &[]).map(drop),
    }
}

/// Whether any version of the tables is there.
pub(super) fn is_there(database: &mut dyn Database) -> Result<bool, StoreError> {
    let mut found = false;
    database.query(database.dialect().is_store, &[], &mut |_| {
        found = true;
        Ok(())
    })?;
    Ok(found)
}

/// Makes the tables what this program expects.
pub(super) fn prepare(database: &mut dyn Database) -> Result<(), StoreError> {
    prepare_as(database, VERSION)
}

fn prepare_as(database: &mut dyn Database, to: i64) -> Result<(), StoreError> {
    let int = database.dialect().int;
    database.execute(&format!("CREATE TABLE IF NOT EXISTS clipmark_fleet (version {int} NOT NULL)"), &[])?;
    // The common case takes no lock.
    if version(database)? == to {
        return Ok(());
    }
    database.begin()?;
    // Several programs may open a new database at once: the others wait here.
    let upgraded = lock(database).and_then(|()| upgrade(database, to)).and_then(|()| database.commit());
    if upgraded.is_err() {
        database.roll_back();
    }
    upgraded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::Value;
    use crate::store::sqlite::Sqlite;

    const PROFILE: &str = "INSERT INTO profile (device, epoch, sequence, received_unix_ms, spooled_unix_ms, \
        started_unix_ms, duration_ms, run_id, mode, load, schema_version, analysis_version, clipmark, arch, simulated, \
        partial, throttled, points, measured, bytes) VALUES ('a', 1, ?1, 0, 0, 0, 0, 'r', 'auto', 'closed', 1, 1, '0.1.0', \
        'aarch64', 0, 0, ?2, 1, 1, 0)";
    const VARIANT: &str = "INSERT INTO variant (profile, ordinal, model, backend, precision, threads, instances) \
        VALUES (?1, 0, 'joint', 'tract', 'model', 1, 1)";
    const POINT: &str = "INSERT INTO point (variant, batch_size, clip_length, status, throttled, iterations, \
        mean_ns, p50_ns, max_ns, mad_ns, steady, histogram) \
        VALUES (?1, 1, 8, 'measured', ?2, 1, 1.0, 1.0, 1, 0.0, 'flat', ?3)";
    const SOAK: &str = "INSERT INTO soak (variant, batch_size, clip_length, duration_ms, causes) \
        VALUES (?1, 1, 8, 1, ?2)";

    #[test]
    fn every_figure_that_is_kept_has_its_column() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Sqlite::create(&folder.path().join("fleet.db")).unwrap();
        prepare(&mut database).unwrap();
        for (figure, _) in Figure::stored() {
            database.query(&format!("SELECT {figure} FROM point"), &[], &mut |_| Ok(())).unwrap();
        }
    }

    #[test]
    fn an_upgrade_tells_what_was_never_soaked_from_what_did_not_throttle() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Sqlite::create(&folder.path().join("fleet.db")).unwrap();
        prepare_as(&mut database, 3).unwrap();
        for (id, throttled, causes) in
            [(1_i64, true, Some("thermal")), (2, false, Some("")), (3, false, None)]
        {
            let id = Value::from(id);
            database.execute(PROFILE, &[id, throttled.into()]).unwrap();
            database.execute(VARIANT, &[id]).unwrap();
            database.execute(POINT, &[id, throttled.into(), Value::Blob(&[])]).unwrap();
            if let Some(causes) = causes {
                database.execute(SOAK, &[id, causes.into()]).unwrap();
            }
        }
        prepare(&mut database).unwrap();
        for sql in
            ["SELECT throttled FROM profile ORDER BY profile", "SELECT throttled FROM point ORDER BY variant"]
        {
            let mut found = Vec::new();
            database
                .query(sql, &[], &mut |row| {
                    found.push(row.int(0)?);
                    Ok(())
                })
                .unwrap();
            assert_eq!(found, [Some(1), Some(0), None], "{sql}");
        }
    }
}
