//! One reading of every sensor.

use clipmark_probes::board::{BoardError, Boards};
use clipmark_probes::registry::Sensors;
use clipmark_probes::root::Root;
use clipmark_profile::message::{OperationResult, Reading};
use clipmark_profile::units::Nanos;

/// Reads every channel of the board under `root`.
///
/// # Errors
/// When the built-in board files cannot be read, which is a defect.
pub(super) fn read(root: &Root) -> Result<OperationResult, BoardError> {
    let boards = Boards::embedded()?;
    let mut sensors = Sensors::discover(root, &boards);
    let values = sensors.read_settled(Nanos(0));
    let read = sensors.channels().zip(&values).map(|(sensed, value)| Reading {
        channel: sensed.channel.id.clone(),
        value: value.ok().map(i64::from),
        unit: sensed.channel.kind.unit().into(),
        absent: value.err().map(|fault| fault.to_string()),
    });
    let absent = sensors.absent.iter().map(|absence| Reading {
        channel: absence.id.clone(),
        value: None,
        unit: String::new(),
        absent: Some(absence.cause.to_string()),
    });
    let mut notes = vec![format!("board file: {}", sensors.board.id)];
    notes.extend(sensors.power_topology.iter().map(|topology| format!("total power: {topology}")));
    notes.extend(sensors.notes.iter().cloned());
    Ok(OperationResult { readings: read.chain(absent).collect(), notes, ..OperationResult::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_of_a_board_has_a_value_or_the_reason_why_not() {
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("sys/class/thermal/thermal_zone0");
        std::fs::create_dir_all(&zone).unwrap();
        std::fs::write(zone.join("type"), "cpu-thermal\n").unwrap();
        std::fs::write(zone.join("temp"), "41500\n").unwrap();
        let result = read(&Root::open(root.path()).unwrap()).unwrap();
        let cpu = result.readings.iter().find(|reading| reading.value == Some(41_500)).unwrap();
        assert!(cpu.channel.contains("cpu"), "{}", cpu.channel);
        assert!(result.readings.iter().all(|reading| reading.value.is_some() != reading.absent.is_some()));
        assert!(result.notes[0].starts_with("board file: "));
    }
}
