//! What devices say of themselves and of their commands: of each only the latest is kept.
//!
//! Messages may come late, twice and to several aggregators. A state that only a late last will can be, and
//! a command status that precedes the stored one, are ignored.

use super::StoreError;
use super::bounds::{Excess, Refused, Room};
use super::database::{Database, Value};
use super::rows::name_of;
use clipmark_profile::message::{CommandState, CommandStatus, DeviceInfo, DeviceState, Payload};
use clipmark_profile::topics::{CommandId, DeviceId, OperationName};

/// What a device published, as JSON.
fn json<T: Payload>(value: &T) -> Result<String, StoreError> {
    let unwritable = |problem: String| StoreError::Damaged { what: "message", problem };
    let bytes = value.to_bytes().map_err(|error| unwritable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| unwritable(error.to_string()))
}

/// The device was heard of.
pub(super) fn seen(database: &mut dyn Database, device: &DeviceId, now: Value<'_>) -> Result<(), StoreError> {
    let sql = "INSERT INTO device (device, first_seen_unix_ms, seen_unix_ms) VALUES (?1, ?2, ?2) \
        ON CONFLICT (device) DO UPDATE SET seen_unix_ms = excluded.seen_unix_ms";
    database.execute(sql, &[device.as_str().into(), now]).map(drop)
}

/// The device has a newer profile, unless one with a higher sequence of the same spool came before it.
pub(super) fn profiled(
    database: &mut dyn Database,
    device: &DeviceId,
    profile: i64,
    epoch: u64,
    sequence: u64,
    now: Value<'_>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO device (device, first_seen_unix_ms, seen_unix_ms, last_profile) VALUES (?1, ?2, ?2, ?3) \
        ON CONFLICT (device) DO UPDATE SET seen_unix_ms = excluded.seen_unix_ms, last_profile = CASE WHEN EXISTS \
        (SELECT 1 FROM profile l WHERE l.profile = device.last_profile AND l.epoch = ?4 AND l.sequence > ?5) \
        THEN device.last_profile ELSE excluded.last_profile END";
    let values = [device.as_str().into(), now, profile.into(), epoch.into(), sequence.into()];
    database.execute(sql, &values).map(drop)
}

/// The device's state or last will.
pub(super) fn state(
    database: &mut dyn Database,
    device: &DeviceId,
    state: &DeviceState,
    now: Value<'_>,
) -> Result<(), StoreError> {
    let (availability, text) = (name_of(&state.state), json(state)?);
    let values = [
        device.as_str().into(),
        now,
        (&availability).into(),
        state.connection.into(),
        state.since_unix_ms.into(),
        (&text).into(),
    ];
    // Only a last will can be older than what is known: everything else is published on a live connection.
    let sql = "INSERT INTO device (device, first_seen_unix_ms, seen_unix_ms, availability, connection, \
        since_unix_ms, state) VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (device) DO UPDATE SET \
        seen_unix_ms = excluded.seen_unix_ms, availability = excluded.availability, \
        connection = excluded.connection, since_unix_ms = excluded.since_unix_ms, state = excluded.state \
        WHERE NOT (excluded.availability = 'offline' AND excluded.connection < COALESCE(device.connection, 0))";
    database.execute(sql, &values).map(drop)
}

/// The device's birth message.
pub(super) fn info(database: &mut dyn Database, info: &DeviceInfo, now: Value<'_>) -> Result<(), StoreError> {
    let text = json(info)?;
    let device = Value::from(info.device.as_str());
    let values = [
        device,
        now,
        info.epoch.0.into(),
        info.board.as_ref().into(),
        info.l4t.as_ref().into(),
        info.kernel.as_ref().into(),
        info.power_mode.as_ref().into(),
        (&info.clipmark).into(),
        (&text).into(),
    ];
    let sql = "INSERT INTO device (device, first_seen_unix_ms, seen_unix_ms, epoch, board, l4t, kernel, power_mode, \
        clipmark, info) VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (device) DO UPDATE SET \
        seen_unix_ms = excluded.seen_unix_ms, epoch = excluded.epoch, board = excluded.board, \
        l4t = excluded.l4t, kernel = excluded.kernel, power_mode = excluded.power_mode, \
        clipmark = excluded.clipmark, info = excluded.info";
    database.execute(sql, &values)?;
    database.execute("DELETE FROM membership WHERE device = ?1", &[device])?;
    for group in &info.groups {
        let sql = "INSERT INTO membership (device, fleet_group) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        database.execute(sql, &[device, group.as_str().into()])?;
    }
    Ok(())
}

/// Later stages are never replaced by earlier ones.
const fn stage(state: CommandState) -> i64 {
    match state {
        CommandState::Init => 1,
        CommandState::Executing => 2,
        _ => 3,
    }
}

/// How far a command came on the device. One more than there is room for is only counted.
pub(super) fn status(
    database: &mut dyn Database,
    device: &DeviceId,
    status: &CommandStatus,
    now: Value<'_>,
    room: &mut Room,
) -> Result<(), StoreError> {
    let text = json(status)?;
    let mut is_known = false;
    let sql = "SELECT 1 FROM command WHERE command = ?1 AND device = ?2";
    database.query(sql, &[status.command.as_str().into(), device.as_str().into()], &mut |_| {
        is_known = true;
        Ok(())
    })?;
    if !is_known && !room.has(database, device.as_str(), Excess::Commands, 1)? {
        let refused = Refused { messages: 1, bytes: text.len() as u64 };
        room.refuse(device.as_str(), Excess::Commands, refused);
        return Ok(());
    }
    room.take(device.as_str(), Excess::Commands, u64::from(!is_known));
    let values = [
        status.command.as_str().into(),
        device.as_str().into(),
        status.operation.as_str().into(),
        stage(status.state).into(),
        now,
        (&text).into(),
    ];
    let sql = "INSERT INTO command (command, device, operation, stage, seen_unix_ms, status) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (command, device) DO UPDATE SET stage = excluded.stage, \
        seen_unix_ms = excluded.seen_unix_ms, status = excluded.status WHERE excluded.stage >= command.stage";
    database.execute(sql, &values).map(drop)
}

/// A command was sent to a device that has not answered yet.
pub(super) fn asked(
    database: &mut dyn Database,
    command: &CommandId,
    operation: &OperationName,
    device: &DeviceId,
    now: Value<'_>,
) -> Result<(), StoreError> {
    let values = [command.as_str().into(), device.as_str().into(), operation.as_str().into(), now];
    let sql = "INSERT INTO command (command, device, operation, stage, seen_unix_ms) VALUES (?1, ?2, ?3, 0, ?4) \
        ON CONFLICT (command, device) DO NOTHING";
    database.execute(sql, &values).map(drop)
}
