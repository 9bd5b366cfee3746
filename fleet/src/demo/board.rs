//! One simulated board on the broker: birth, last will, an earlier history, and runs on request, all by the
//! protocol that real devices speak.
//!
//! It keeps nothing on disk: it lives as long as the broker beside it. Progress is spread over the request's
//! budget, so that it is seen; the figures come from a virtual clock and do not depend on it.

use super::boards::{self, Behaviour, MODELS, SimulatedBoard};
use super::evidence::{Findings, Run, carried_out, digest, plan};
use crate::config::Config;
use clipmark_profile::codec::CodecError;
use clipmark_profile::message::{
    Availability, CommandState, CommandStatus, DeviceInfo, DeviceState, Envelope, Epoch, ModelInfo, Payload,
    Progress, Reason, ReasonCode, Temperature,
};
use clipmark_profile::plan::{Limits, PlanError, Request};
use clipmark_profile::topics::{
    CommandId, CommandLeaf, DeviceId, DeviceTopic, GroupId, Operation, OperationName, Topic, UpKind,
    device_filters,
};
use clipmark_profile::units::MilliCelsius;
use clipmark_profile::wire::{WireError, encode_profile, encode_series};
use clipmark_service::clock::unix_ms;
use clipmark_service::mqtt::{
    Closed, Connection, ConnectionOptions, Message, MqttEvent, Received, SetupError,
};
use clipmark_service::systemd::Supervisor;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const DAY_MS: u64 = 86_400_000;

/// Earlier runs, one a day, of which so many have the newer build of `joint`, and so many the newer firmware.
const HISTORY: u64 = 12;
const REBUILT: u64 = 8;
const UPGRADED: u64 = 4;

/// Where a request gives no budget, progress is spread over so long.
const SHOWN: Duration = Duration::from_secs(8);

/// Why a simulated board stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum BoardError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("a message of a simulated board cannot be encoded")]
    Encode(#[from] CodecError),
    #[error("a simulated profile cannot be encoded")]
    Wire(#[from] WireError),
    #[error("a simulated run cannot be planned")]
    Plan(#[from] PlanError),
}

/// A run that is under way.
struct Job {
    operation: OperationName,
    command: CommandId,
    request: Request,
    labels: Vec<String>,
    done: usize,
    pause: Duration,
    began: Instant,
    next: Instant,
}

struct Board {
    model: &'static SimulatedBoard,
    device: DeviceId,
    group: GroupId,
    epoch: Epoch,
    sequence: u64,
    outbox: VecDeque<Message>,
    job: Option<Job>,
}

/// Lives on the broker until the connection ends, or until the board has vanished as it is meant to.
pub(super) async fn live(model: &'static SimulatedBoard, config: &Config) -> Result<(), BoardError> {
    let now = unix_ms();
    let mut board = Board {
        model,
        device: model.device.parse().expect("the table holds identifiers"),
        group: super::GROUP.parse().expect("the group's name is an identifier"),
        // Another demonstration is another fleet.
        epoch: Epoch::from_random(now.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ model.seed),
        sequence: 0,
        outbox: VecDeque::new(),
        job: None,
    };
    let client = format!("clipmark-{}", board.device);
    let options = ConnectionOptions {
        mqtt: &config.mqtt,
        client: &client,
        will: Some(board.state(Availability::Offline)?),
        filters: device_filters(&board.device, std::slice::from_ref(&board.group)),
        receive_maximum: 16,
    };
    let heartbeat = Supervisor::default().watch("connection", Duration::from_secs(60));
    let mut connection: Connection<()> = Connection::open(options, heartbeat)?;
    let mut under_way = 0_usize;
    loop {
        while connection.has_room() {
            let Some(message) = board.outbox.pop_front() else { break };
            if connection.publish(message.clone(), ()).is_err() {
                board.outbox.push_front(message);
                break;
            }
            under_way += 1;
        }
        let tick = board.job.as_ref().map(|job| job.next);
        let due = async {
            match tick {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = connection.next() => match event {
                MqttEvent::Connected { .. } => board.introduce(now).await?,
                MqttEvent::Received(received) => {
                    board.received(&received)?;
                    connection.acknowledge(received.ack);
                }
                MqttEvent::Acknowledged { .. } => under_way -= 1,
                MqttEvent::SubscriptionRefused { .. } | MqttEvent::Subscribed => {}
                MqttEvent::Closed(why) => return Err(why.into()),
            },
            () = due => board.step(&mut connection).await?,
        }
        // Dropping the connection without a word is what a power cut looks like.
        if model.behaviour == Behaviour::Vanishes
            && board.sequence > 0
            && under_way == 0
            && board.outbox.is_empty()
        {
            return Ok(());
        }
    }
}

impl Board {
    fn message(&self, about: DeviceTopic, payload: Vec<u8>, kind: &'static str, retain: bool) -> Message {
        let topic = Topic::device(&self.device, about).to_string();
        Message { topic, payload, retain, content_type: kind, expiry: None, correlation: None }
    }

    fn state(&self, state: Availability) -> Result<Message, BoardError> {
        let said = DeviceState {
            state,
            connection: 1,
            since_unix_ms: unix_ms(),
            command: self.job.as_ref().map(|job| job.command.clone()),
            queued: 0,
            unconfirmed: 0,
            reasons: vec!["simulated: no such board exists".into()],
        };
        let kind = DeviceState::ENCODING.content_type();
        Ok(self.message(DeviceTopic::State, said.to_bytes()?, kind, true))
    }

    fn info(&self) -> Result<Message, BoardError> {
        let kind = self.model.kind;
        let models =
            MODELS.map(|name| ModelInfo { name: name.into(), size: None, sha256: Some(digest(name, true)) });
        let info = DeviceInfo {
            schema: 1,
            clipmark: env!("CARGO_PKG_VERSION").into(),
            device: self.device.clone(),
            groups: vec![self.group.clone()],
            operations: vec![Operation::Run],
            board: Some(kind.board.into()),
            l4t: Some(kind.l4t[1].into()),
            kernel: None,
            arch: "aarch64".into(),
            power_mode: Some(kind.power_mode.into()),
            backends: vec!["simulated".into()],
            models: models.to_vec(),
            epoch: self.epoch,
            limits: Limits::default(),
            absent: vec!["kernel: the board is simulated".into()],
        };
        let content_type = DeviceInfo::ENCODING.content_type();
        Ok(self.message(DeviceTopic::Info, info.to_bytes()?, content_type, true))
    }

    /// What a board says when it comes to the broker: what it is, that it is there, what it has measured.
    async fn introduce(&mut self, now: u64) -> Result<(), BoardError> {
        let (info, state) = (self.info()?, self.state(Availability::Online)?);
        self.outbox.extend([info, state]);
        for day in (1..=HISTORY).rev() {
            let request = boards::request();
            let run = Run {
                board: self.model,
                request,
                run_id: format!("{:016x}", self.epoch.0 ^ day << 48),
                started_unix_ms: now - day * DAY_MS,
                origin: "made-up history of the demonstration".into(),
                upgraded: day <= UPGRADED,
                rebuilt: day <= REBUILT,
            };
            self.measure(run, None).await?;
        }
        Ok(())
    }

    /// Carries a run out and puts what it yields into the outbox.
    async fn measure(&mut self, run: Run<'static>, command: Option<&CommandId>) -> Result<(), BoardError> {
        let made = tokio::task::spawn_blocking(move || carried_out(&run)).await;
        // Only a panic or the end of the process ends the thread otherwise.
        let Ok(findings) = made else { return Ok(()) };
        let Findings { profile, series } = findings?;
        self.record(UpKind::Profile, encode_profile(&profile)?, command)?;
        for series in &series {
            self.record(UpKind::Series, encode_series(series)?, command)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        kind: UpKind,
        content: Vec<u8>,
        command: Option<&CommandId>,
    ) -> Result<(), BoardError> {
        let pieces: Vec<&[u8]> = content.chunks(Envelope::MAX_PART).collect();
        for (part, piece) in pieces.iter().enumerate() {
            self.sequence += 1;
            let envelope = Envelope {
                version: Envelope::VERSION,
                epoch: self.epoch,
                sequence: self.sequence,
                kind,
                part: part as u16,
                parts: pieces.len() as u16,
                command: command.cloned(),
                spooled_unix_ms: unix_ms(),
                content: piece.to_vec(),
                former: Vec::new(),
            };
            let content_type = Envelope::ENCODING.content_type();
            let message = self.message(DeviceTopic::Up(kind), envelope.to_bytes()?, content_type, false);
            self.outbox.push_back(message);
        }
        Ok(())
    }

    fn status(
        &mut self,
        (operation, command): (&OperationName, &CommandId),
        state: CommandState,
        reason: Option<Reason>,
    ) -> Result<(), BoardError> {
        let status = CommandStatus {
            command: command.clone(),
            operation: operation.clone(),
            state,
            at_unix_ms: unix_ms(),
            reason,
            attempt: 1,
            queued_behind: None,
            epoch: Some(self.epoch),
            records: None,
            result: None,
        };
        let topic = Topic::command(&self.device, operation.clone(), command, CommandLeaf::Status).to_string();
        self.outbox.push_back(Message {
            topic,
            payload: status.to_bytes()?,
            retain: true,
            content_type: CommandStatus::ENCODING.content_type(),
            expiry: None,
            correlation: None,
        });
        Ok(())
    }

    fn received(&mut self, received: &Received) -> Result<(), BoardError> {
        let Ok(topic) = received.topic.parse::<Topic>() else { return Ok(()) };
        let (operation, command, leaf) = match topic {
            Topic::Device { about: DeviceTopic::Command { operation, command, leaf }, .. } => {
                (operation, command, leaf)
            }
            Topic::GroupRequest { operation, command, .. } => (operation, command, CommandLeaf::Request),
            _ => return Ok(()),
        };
        match leaf {
            CommandLeaf::Cancel if self.job.as_ref().is_some_and(|job| job.command == command) => {
                self.job = None;
                self.status((&operation, &command), CommandState::Canceled, None)?;
                let state = self.state(Availability::Online)?;
                self.outbox.push_back(state);
                Ok(())
            }
            CommandLeaf::Request => self.asked(operation, command, received),
            _ => Ok(()),
        }
    }

    fn asked(
        &mut self,
        operation: OperationName,
        command: CommandId,
        received: &Received,
    ) -> Result<(), BoardError> {
        let rejected = |code, message: String| Some(Reason { code, message });
        let of = (&operation, &command);
        if Operation::from_name(&operation) != Some(Operation::Run) {
            let told = rejected(ReasonCode::UnknownOperation, "simulated boards only run".into());
            return self.status(of, CommandState::Rejected, told);
        }
        if self.job.is_some() {
            let told = rejected(ReasonCode::QueueFull, "simulated boards run one command at a time".into());
            return self.status(of, CommandState::Rejected, told);
        }
        let content_type = received.content_type.as_deref();
        let planned =
            Request::from_bytes(&received.payload, content_type).map_err(|error| error.to_string()).and_then(
                |request| plan(&request).map(|plan| (request, plan)).map_err(|error| error.to_string()),
            );
        let (request, plan) = match planned {
            Ok(planned) => planned,
            Err(why) => {
                return self.status(of, CommandState::Rejected, rejected(ReasonCode::BadRequest, why));
            }
        };
        self.status(of, CommandState::Executing, None)?;
        let labels = plan.points.iter().map(|id| {
            let model = &plan.variants[usize::from(id.variant)].model;
            format!("{model} {}", id.shape)
        });
        let labels: Vec<String> = labels.collect();
        let shown = request.budget_s.map_or(SHOWN, |budget| Duration::from_secs_f64(0.8 * budget));
        let now = Instant::now();
        let pause = shown / labels.len().max(1) as u32;
        self.job = Some(Job { operation, command, request, labels, done: 0, pause, began: now, next: now });
        let state = self.state(Availability::Busy)?;
        self.outbox.push_back(state);
        Ok(())
    }

    /// The next progress message of the run under way, or its end.
    async fn step(&mut self, connection: &mut Connection<()>) -> Result<(), BoardError> {
        let Some(job) = &mut self.job else { return Ok(()) };
        if let Some(label) = job.labels.get(job.done) {
            job.done += 1;
            job.next = Instant::now() + job.pause;
            let progress = Progress {
                command: job.command.clone(),
                phase: "measuring (simulated)".into(),
                point: Some(job.done as u32),
                points: Some(job.labels.len() as u32),
                label: Some(label.clone()),
                elapsed_ms: job.began.elapsed().as_millis() as u64,
                temperatures: vec![temperature(self.model, job.done)],
            };
            let kind = Progress::ENCODING.content_type();
            let message = self.message(DeviceTopic::Progress, progress.to_bytes()?, kind, false);
            // Progress that finds no room is not missed.
            let _ = connection.publish_unacknowledged(message, ());
            return Ok(());
        }
        let Some(Job { operation, command, request, .. }) = self.job.take() else { return Ok(()) };
        let run = Run {
            board: self.model,
            request,
            run_id: format!("{:016x}", self.epoch.0 ^ self.sequence << 40),
            started_unix_ms: unix_ms(),
            origin: format!("command {command}"),
            upgraded: true,
            rebuilt: true,
        };
        self.measure(run, Some(&command)).await?;
        self.status((&operation, &command), CommandState::Successful, None)?;
        let state = self.state(Availability::Online)?;
        self.outbox.push_back(state);
        Ok(())
    }
}

fn temperature(board: &SimulatedBoard, done: usize) -> Temperature {
    let (from, rise) = if board.behaviour == Behaviour::Throttles { (74_000, 2_500) } else { (48_000, 600) };
    let millicelsius = MilliCelsius((from + rise * done.min(9) as i32).min(96_000));
    Temperature { channel: "temp.tj-thermal".into(), millicelsius }
}
