//! One made-up message of every kind, with everything in it that can be there.

use crate::codec::{self, Encoding};
use crate::message::{
    Availability, Check, CommandState, CommandStatus, ConfigDesired, ConfigReported, DeviceInfo, DeviceState,
    Envelope, Epoch, EventKind, EventReport, ModelInfo, NoArguments, OperationResult, Payload, Progress,
    Reading, Reason, ReasonCode, Receipt, RemoteSettings, SequenceRange, Temperature,
};
use crate::plan::{Limits, Load, Mode, Request};
use crate::point::Precision;
use crate::point::Shape;
use crate::streams::{ArrivalProcess, Phases, StreamCount};
use crate::topics::{
    AggregatorId, CommandId, DeviceId, GroupId, Operation, OperationName, TopicError, UpKind,
};
use crate::units::{Bytes, MilliCelsius};

/// An encoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its rule in profile/schema/messages.cddl.
    pub rule: &'static str,
    /// How it is encoded.
    pub encoding: Encoding,
    /// The payload.
    pub bytes: Vec<u8>,
}

const EPOCH: Epoch = Epoch(0x1f_0e2d_3c4b_5a69);
const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const AT: u64 = 1_790_000_000_000;

fn sample<T: Payload>(rule: &'static str, message: &T) -> Sample {
    let bytes = message.to_bytes().expect("a made-up message is short and has no odd keys");
    Sample { rule, encoding: T::ENCODING, bytes }
}

/// Every message, each in its customary encoding; the request as CBOR too.
#[must_use]
pub fn messages() -> Vec<Sample> {
    let names = Names::new().expect("the names below are usable");
    let request = request();
    let packed = codec::encode(&request, Encoding::Cbor, Request::LIMIT);
    let bytes = packed.expect("a made-up message is short and has no odd keys");
    vec![
        sample("request", &request),
        Sample { rule: "request-packed", encoding: Encoding::Cbor, bytes },
        sample("no-arguments", &NoArguments {}),
        sample("status", &status(&names)),
        sample("state", &state(&names)),
        sample("info", &info(&names)),
        sample("progress", &progress(&names)),
        sample("receipt", &receipt(&names)),
        sample("config-desired", &ConfigDesired { version: 7, settings: settings() }),
        sample("config-reported", &reported()),
        sample("envelope", &envelope(&names)),
        sample("event", &event()),
    ]
}

struct Names {
    device: DeviceId,
    group: GroupId,
    command: CommandId,
    operation: OperationName,
    aggregator: AggregatorId,
}

impl Names {
    fn new() -> Result<Self, TopicError> {
        Ok(Self {
            device: "orin-7".parse()?,
            group: "lab".parse()?,
            command: "c42".parse()?,
            operation: Operation::Run.into(),
            aggregator: "hq".parse()?,
        })
    }
}

fn request() -> Request {
    Request {
        models: vec!["joint".into()],
        digests: vec![SHA256.into()],
        backends: vec!["tensorrt".into(), "tract".into()],
        clip_lengths: vec![8, 16],
        batch_sizes: vec![1, 2],
        precisions: vec![Precision::Fp16],
        threads: vec![4],
        instances: vec![1],
        mode: Mode::Auto,
        load: Load::Closed,
        deadline_ms: None,
        fps: Some(29.97),
        streams: Some(StreamCount::Auto),
        hop: Some(4),
        phases: Phases::Aligned,
        arrivals: ArrivalProcess::Poisson,
        trial_s: 30.0,
        budget_s: Some(600.0),
        iterations: Some(500),
        exhaustive: false,
        seed: 11,
        prepare_limit_s: 300.0,
        inference_limit_s: 5.0,
        memory_limit_bytes: Some(4 << 30),
        per_op: true,
        soak_s: Some(1800.0),
        soak_points: vec![Shape::UNIT.with(crate::axis::Axis::ClipLength, 16).unwrap_or(Shape::UNIT)],
        abort_celsius: Some(95.0),
        backend_options: [("cuda_graph".to_owned(), "true".to_owned())].into(),
    }
}

fn result() -> OperationResult {
    let reading = |value, absent: Option<&str>| Reading {
        channel: "power.vdd_in".into(),
        value,
        unit: "mW".into(),
        absent: absent.map(Into::into),
    };
    OperationResult {
        readings: vec![reading(Some(5120), None), reading(None, Some("no such rail"))],
        models: vec![ModelInfo {
            name: "clip".into(),
            size: Some(Bytes(90_000)),
            sha256: Some(SHA256.into()),
        }],
        checks: vec![Check { name: "backend tract".into(), met: true, detail: "tract 0.23".into() }],
        notes: vec!["board file: orin-nano".into()],
    }
}

fn status(names: &Names) -> CommandStatus {
    CommandStatus {
        command: names.command.clone(),
        operation: names.operation.clone(),
        state: CommandState::Rejected,
        at_unix_ms: AT,
        reason: Some(Reason { code: ReasonCode::QueueFull, message: "4 commands wait already".into() }),
        attempt: 2,
        queued_behind: Some(1),
        epoch: Some(EPOCH),
        records: Some(SequenceRange { first: 3, last: 4 }),
        result: Some(result()),
    }
}

fn state(names: &Names) -> DeviceState {
    DeviceState {
        state: Availability::Busy,
        connection: 12,
        since_unix_ms: AT,
        command: Some(names.command.clone()),
        queued: 1,
        unconfirmed: 3,
        reasons: vec!["the connection broke".into()],
    }
}

fn info(names: &Names) -> DeviceInfo {
    DeviceInfo {
        schema: 1,
        clipmark: "0.1.0".into(),
        device: names.device.clone(),
        groups: vec![names.group.clone()],
        operations: Operation::ALL.to_vec(),
        board: Some("NVIDIA Jetson Orin Nano".into()),
        l4t: Some("36.4.3".into()),
        kernel: Some("5.15.148-tegra".into()),
        arch: "aarch64".into(),
        power_mode: Some("15W".into()),
        backends: vec!["tract".into()],
        models: vec![ModelInfo { name: "joint".into(), size: None, sha256: None }],
        epoch: EPOCH,
        limits: limits(),
        absent: vec!["models: cannot list /var/lib/clipmark/models".into()],
    }
}

fn limits() -> Limits {
    Limits { max_abort_celsius: Some(90.0), ..Limits::default() }
}

fn progress(names: &Names) -> Progress {
    Progress {
        command: names.command.clone(),
        phase: "measure".into(),
        point: Some(3),
        points: Some(15),
        label: Some("joint/tract 1x16".into()),
        elapsed_ms: 41_000,
        temperatures: vec![Temperature { channel: "hottest".into(), millicelsius: MilliCelsius(61_500) }],
    }
}

fn receipt(names: &Names) -> Receipt {
    Receipt {
        epoch: EPOCH,
        contiguous: 40,
        gaps: vec![SequenceRange { first: 41, last: 42 }, SequenceRange { first: 44, last: 44 }],
        aggregator: Some(names.aggregator.clone()),
        stored: None,
        conflict: None,
    }
}

fn settings() -> RemoteSettings {
    RemoteSettings { limits: Some(limits()), queue: Some(2), paused: Some(true) }
}

fn reported() -> ConfigReported {
    let error = "JSON does not hold the expected message: unknown field `broker`";
    ConfigReported { version: Some(7), settings: settings(), error: Some(error.into()) }
}

fn envelope(names: &Names) -> Envelope {
    Envelope {
        version: Envelope::VERSION,
        epoch: EPOCH,
        sequence: 44,
        kind: UpKind::Event,
        part: 1,
        parts: 2,
        command: Some(names.command.clone()),
        spooled_unix_ms: AT,
        content: b"the second part".to_vec(),
        former: Vec::new(),
    }
}

fn event() -> EventReport {
    EventReport {
        version: EventReport::VERSION,
        kind: EventKind::SpoolGap,
        at_unix_ms: AT,
        message: "records 3 to 4 were damaged on the device's disk and will not come".into(),
        range: Some(SequenceRange { first: 3, last: 4 }),
        attachment: Vec::new(),
    }
}
