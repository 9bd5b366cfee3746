//! What a run is of: run, environment, models, backends, variants, point keys.

use super::WireError;
use super::codes::Coded;
use super::layout::{self, Blob, PointKey};
use super::scale::{required, to_figure};
use crate::axis::Axis;
use crate::environment::Environment;
use crate::plan::{Deadline, Load, Mode};
use crate::point::{PointId, Shape, Variant};
use crate::record::{BackendRecord, ModelRecord};
use crate::summary::RunInfo;
use crate::units::{Bytes, Nanos};

const SIMULATED: u8 = 1;
const PARTIAL: u8 = 2;

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

pub(super) fn point_key(id: PointId) -> PointKey {
    [&[id.variant.into()], id.shape.sizes()].concat()
}

/// The point of `key`, whose variant must be one of `variants`.
pub(super) fn point_id(key: &[u32], variants: usize) -> Result<PointId, WireError> {
    let wrong = || WireError::OutOfRange { what: "a variant or a size of a point" };
    let (&variant, sizes) = key.split_first().ok_or_else(wrong)?;
    let variant = u16::try_from(variant).map_err(|_| wrong())?;
    let shape = Shape::of_sizes(sizes).ok_or_else(wrong)?;
    Ok(PointId { variant: variant_index(variant, variants)?, shape })
}

/// As [`point_id`]; `None` where the point varies axes that this version does not know.
pub(super) fn known_point(key: &[u32], variants: usize) -> Result<Option<PointId>, WireError> {
    let is_known = key.len() <= 1 + Axis::SHAPE.len();
    is_known.then(|| point_id(key, variants)).transpose()
}

/// `index`, which must be one of `variants`.
pub(super) fn variant_index(index: u16, variants: usize) -> Result<u16, WireError> {
    if usize::from(index) < variants {
        return Ok(index);
    }
    Err(WireError::Dangling { what: "a variant", index: index.into(), count: variants })
}

pub(super) fn encode_run(run: &RunInfo) -> Result<layout::Run, WireError> {
    let (deadline_ns, deadline_fps_e6) = match run.deadline {
        Deadline::None => (None, None),
        Deadline::PerInference(limit) => (Some(limit.get()), None),
        Deadline::Fps(fps) => (None, Some(required("the stream's frame rate", fps, 1e6)?)),
    };
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    Ok(layout::Run {
        id: run.id.clone(),
        started_unix_ms: run.started_unix_ms,
        duration_ms: run.duration_ms,
        origin: run.origin.clone(),
        mode: run.mode.code(),
        load: run.load.code(),
        seed: run.seed,
        flags: flag(run.simulated, SIMULATED) | flag(run.partial, PARTIAL),
        deadline_ns,
        deadline_fps_e6,
    })
}

pub(super) fn decode_run(run: layout::Run) -> Result<RunInfo, WireError> {
    let deadline = match (run.deadline_ns, run.deadline_fps_e6) {
        (Some(limit), None) => Deadline::PerInference(Nanos(limit)),
        (None, Some(fps)) if fps > 0 => Deadline::Fps(to_figure(fps, 1e6)),
        (None, None) => Deadline::None,
        _ => return Err(WireError::OutOfRange { what: "the deadline" }),
    };
    Ok(RunInfo {
        id: run.id,
        started_unix_ms: run.started_unix_ms,
        duration_ms: run.duration_ms,
        origin: run.origin,
        mode: Mode::of(run.mode),
        load: Load::of(run.load),
        deadline,
        seed: run.seed,
        simulated: run.flags & SIMULATED != 0,
        partial: run.flags & PARTIAL != 0,
    })
}

pub(super) fn encode_environment(e: &Environment) -> layout::Environment {
    layout::Environment {
        clipmark: e.clipmark.clone(),
        arch: e.arch.clone(),
        os: e.os.clone(),
        kernel: e.kernel.clone(),
        board: e.board.clone(),
        board_id: e.board_id.clone(),
        l4t: e.l4t.clone(),
        power_mode: e.power_mode.clone(),
        cpu: e.cpu.clone(),
        cpus_online: e.cpus_online,
        governor: e.governor.clone(),
        memory_total_bytes: e.memory_total.map(Bytes::get),
        memory_available_bytes: e.memory_available.map(Bytes::get),
        swap_total_bytes: e.swap_total.map(Bytes::get),
        load_centi: e.load_centi,
        virtualization: e.virtualization.clone(),
        warnings: e.warnings.clone(),
        absent: e.absent.clone(),
        worker_cpus: e.worker_cpus.clone(),
        worker_memory_max_bytes: e.worker_memory_max.map(Bytes::get),
    }
}

pub(super) fn decode_environment(e: layout::Environment) -> Environment {
    Environment {
        clipmark: e.clipmark,
        os: e.os,
        kernel: e.kernel,
        arch: e.arch,
        board: e.board,
        board_id: e.board_id,
        l4t: e.l4t,
        power_mode: e.power_mode,
        cpu: e.cpu,
        cpus_online: e.cpus_online,
        governor: e.governor,
        memory_total: e.memory_total_bytes.map(Bytes),
        memory_available: e.memory_available_bytes.map(Bytes),
        swap_total: e.swap_total_bytes.map(Bytes),
        load_centi: e.load_centi,
        virtualization: e.virtualization,
        worker_cpus: e.worker_cpus,
        worker_memory_max: e.worker_memory_max_bytes.map(Bytes),
        warnings: e.warnings,
        absent: e.absent,
    }
}

pub(super) fn encode_model(model: &ModelRecord) -> Result<layout::Model, WireError> {
    Ok(layout::Model {
        name: model.name.clone(),
        sha256: Blob(digest_bytes(&model.sha256)?),
        size_bytes: model.size_bytes.get(),
        parameters: model.parameters,
        inputs: model.inputs.clone(),
    })
}

pub(super) fn decode_model(model: layout::Model) -> Result<ModelRecord, WireError> {
    Ok(ModelRecord {
        name: model.name,
        sha256: digest_text(model.sha256.0)?,
        size_bytes: Bytes(model.size_bytes),
        parameters: model.parameters,
        inputs: model.inputs,
    })
}

/// The bytes of a lower-case hexadecimal SHA-256. Other text, e.g. that of a simulated model, stays text
/// unless it is as long as a digest.
fn digest_bytes(text: &str) -> Result<Vec<u8>, WireError> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let parsed: Option<Vec<u8>> =
        text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    match parsed {
        Some(bytes) if bytes.len() == DIGEST => Ok(bytes),
        _ if text.len() == DIGEST => Err(WireError::OutOfRange { what: "a model's SHA-256" }),
        _ => Ok(text.as_bytes().to_vec()),
    }
}

fn digest_text(bytes: Vec<u8>) -> Result<String, WireError> {
    if bytes.len() == DIGEST {
        return Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    String::from_utf8(bytes).map_err(|_| WireError::OutOfRange { what: "a model's SHA-256" })
}

pub(super) fn encode_backend(backend: &BackendRecord) -> layout::Backend {
    layout::Backend {
        name: backend.name.clone(),
        version: backend.version.clone(),
        device: backend.device.clone(),
        simulated: backend.simulated,
        notes: backend.notes.clone(),
    }
}

pub(super) fn decode_backend(backend: layout::Backend) -> BackendRecord {
    BackendRecord {
        name: backend.name,
        version: backend.version,
        device: backend.device,
        simulated: backend.simulated,
        notes: backend.notes,
    }
}

pub(super) fn encode_variant(variant: &Variant) -> layout::Variant {
    let value = |axis: Axis| Some((axis.row().code, variant.get(axis)?.into()));
    layout::Variant(Axis::VARIANT.into_iter().filter_map(value).collect())
}

/// The variant; axes that this version does not know are left out.
pub(super) fn decode_variant(message: layout::Variant) -> Result<Variant, WireError> {
    let mut variant = Variant::new("", "");
    for (code, value) in message.0 {
        let axis = Axis::VARIANT.into_iter().find(|axis| axis.row().code == code);
        if let Some(axis) = axis
            && !variant.set(axis, value.into())
        {
            return Err(WireError::OutOfRange { what: axis.name() });
        }
    }
    Ok(variant)
}
