//! Everything a running daemon holds, and what it does about each event.

use super::clock::Clock;
use super::description::Describing;
use super::execution::{Ending, Execution, Happening};
use super::inbound::{Inbound, Reader, tightened};
use super::link::{Link, LinkEvent, Token};
use super::outbox::{Outbox, Slot};
use super::runs;
use super::startup::{self, OnDisk, StartError, count_connection};
use super::store::CommandStore;
use super::uplink::Uplink;
use super::{broker, messages};
use crate::config::Config;
use crate::mqtt::Backoff;
use crate::operation::{Description, Order, Step, models};
use crate::service::{self, Heartbeat};
use crate::session::{Action, Event, Outcome, Rules, Session, Stop};
use crate::spool::Spool;
use clipmark_profile::codec::CodecError;
use clipmark_profile::message::{
    Availability, ConfigReported, DeviceState, Progress, Reason, ReasonCode, RemoteSettings,
};
use clipmark_profile::plan::Limits;
use clipmark_profile::topics::{CommandId, DeviceId};
use clipmark_profile::units::Nanos;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// The loop turns at least this often, for the heartbeat.
const PULSE: Duration = Duration::from_secs(10);

/// Final commands that are remembered so that they are not carried out again.
const REMEMBERED: usize = 1024;

/// How long a stopping daemon tries to bring its last statuses to the broker.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What an operator should look at, by subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    Configuration,
    Connection,
    Publishing,
    Receipts,
    Spool,
    Subscription,
}

/// The daemon.
pub(super) struct Server {
    path: PathBuf,
    pub(super) config: Config,
    remote: RemoteSettings,
    pub(super) device: DeviceId,
    pub(super) clock: Clock,
    store: CommandStore,
    pub(super) session: Session,
    pub(super) spool: Spool,
    pub(super) outbox: Outbox,
    pub(super) uplink: Uplink,
    pub(super) link: Link,
    execution: Option<Execution>,
    describing: Describing,
    description: Option<Description>,
    concerns: BTreeMap<Concern, String>,
    pub(super) connections: u64,
    progress_due: Instant,
    no_room: Option<String>,
    told_systemd: String,
    heartbeat: Heartbeat,
    _lock: File,
}

/// What ends the wait of one turn.
enum Turn {
    Link(LinkEvent),
    Execution(Happening),
    Described(Description),
    Time,
}

fn rules(config: &Config, remote: &RemoteSettings) -> Rules {
    let queue = remote.queue.map_or(config.run.queue, |queue| queue.min(config.run.queue));
    Rules {
        queue: queue as usize,
        attempts: config.run.attempts,
        longest: Nanos::from_secs(config.run.longest_s.into()),
        remembered: REMEMBERED,
    }
}

fn backoff(config: &Config) -> Backoff {
    let pause = |ms: u32| Duration::from_millis(ms.into());
    // Without random bits the devices of a fleet merely come back in step.
    let seed = startup::random_bits().unwrap_or_default();
    Backoff::new(pause(config.mqtt.backoff_min_ms), pause(config.mqtt.backoff_max_ms), seed)
}

impl Server {
    /// Opens the state directory, takes up what was interrupted and begins to connect.
    pub(super) fn start(
        path: &Path,
        config: Config,
        heartbeat: Heartbeat,
        connection: Heartbeat,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let OnDisk { lock, device, store, commands, mut spool } = startup::open(&config)?;
        let remote = RemoteSettings::default();
        let state_dir = config.device.state_dir.clone();
        let spooled = |command: &CommandId| {
            spool.records_of(command)?;
            let dir = runs::dir_of(&state_dir, command);
            let outputs = runs::listed_outputs(&dir);
            let records = runs::spool_outputs(&mut spool, command, &dir, &outputs, clock.now().unix_ms);
            let records = records.unwrap_or_else(|error| {
                tracing::error!(%error, %command, "only a part of an interrupted command's results is in the spool");
                spool.records_of(command)
            });
            Some((spool.epoch(), records?))
        };
        let (session, actions) = Session::restore(rules(&config, &remote), commands, spooled, clock.now());
        let describing = Describing::start(&config.models.dir, &config.device.state_dir.join("digests.json"));
        let mut server = Self {
            path: path.to_owned(),
            remote,
            device,
            clock,
            store,
            session,
            uplink: Uplink::new(config.spool.window, config.spool.resend_s),
            spool,
            outbox: Outbox::default(),
            link: Link::new(backoff(&config), connection),
            config,
            execution: None,
            describing,
            description: None,
            concerns: BTreeMap::new(),
            connections: 0,
            progress_due: Instant::now(),
            no_room: None,
            told_systemd: String::new(),
            heartbeat,
            _lock: lock,
        };
        tracing::info!(device = %server.device, epoch = %server.spool.epoch(), "clipmarkd is up");
        server.apply(actions);
        server.look_for_room();
        server.publish_state();
        Ok(server)
    }

    /// Sends what can be sent, waits for one event and handles it. Cancel-safe: nothing is awaited after an
    /// event was taken.
    pub(super) async fn turn(&mut self) {
        self.heartbeat.beat();
        self.pump();
        let wake = self.wake();
        let execution = async {
            match &mut self.execution {
                Some(execution) => execution.next().await,
                None => std::future::pending().await,
            }
        };
        let turn = tokio::select! {
            event = self.link.next() => Turn::Link(event),
            happening = execution => Turn::Execution(happening),
            description = self.describing.next() => Turn::Described(description),
            () = sleep_until(wake) => Turn::Time,
        };
        match turn {
            Turn::Link(event) => self.link_event(event),
            Turn::Execution(Happening::Step(step)) => self.progress(step),
            Turn::Execution(Happening::Ended(ending)) => self.ended(*ending),
            Turn::Described(description) => {
                self.description = Some(description);
                self.publish_info();
            }
            Turn::Time => self.dispatch(Event::Tick),
        }
    }

    fn wake(&mut self) -> Instant {
        let now = self.clock.now().monotonic;
        let pulse = Instant::now() + PULSE;
        let uplink = self.link.connection().is_some().then(|| self.uplink.next_deadline(now)).flatten();
        let deadlines = [self.session.next_deadline(), uplink];
        deadlines.into_iter().flatten().map(|at| self.clock.instant(at)).fold(pulse, Instant::min)
    }

    /// Takes one event through the session and carries out what it says.
    pub(super) fn dispatch(&mut self, event: Event) {
        let actions = self.session.step(self.clock.now(), event);
        self.apply(actions);
    }

    fn apply(&mut self, actions: Vec<Action>) {
        let mut queue: VecDeque<Action> = actions.into();
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Store(id) => {
                    let Some(command) = self.session.command(&id) else { continue };
                    let Err(error) = self.store.write(command) else { continue };
                    tracing::error!(%error, command = %id, "a command cannot be stored");
                    queue.retain(|action| action.command() != Some(&id));
                    let message = error.to_string();
                    queue.extend(
                        self.session.step(self.clock.now(), Event::StoreFailed { command: id, message }),
                    );
                }
                Action::Forget(id) => {
                    if let Err(error) = self.store.remove(&id) {
                        tracing::warn!(%error, "a forgotten command stays on disk");
                    }
                }
                Action::Publish(id) => self.publish_status(&id),
                Action::PublishState => self.publish_state(),
                Action::Start { command, attempt } => {
                    if let Err(reason) = self.execute(&command, attempt) {
                        let outcome = Outcome::Failed(reason);
                        queue.extend(
                            self.session.step(self.clock.now(), Event::Finished { command, outcome }),
                        );
                    }
                }
                Action::Stop { how, .. } => {
                    if let Some(execution) = &self.execution {
                        execution.stop(how);
                    }
                }
            }
        }
    }

    fn execute(&mut self, command: &CommandId, attempt: u32) -> Result<(), Reason> {
        let task = self.session.command(command).and_then(|command| command.task.clone());
        let task = task.ok_or_else(|| Reason {
            code: ReasonCode::Storage,
            message: "the stored command has no task; send it again with a new id".into(),
        })?;
        let dir = &self.config.models.dir;
        let names = task.run.iter().flat_map(|request| &request.models);
        let resolved = names.map(|name| models::resolve(name, dir).map(|model| model.argument()));
        let order = Order {
            models: resolved.collect::<Result<_, _>>()?,
            task,
            models_dir: dir.clone(),
            origin: format!("MQTT command {command}"),
        };
        tracing::info!(%command, attempt, operation = %order.task.operation, "a command starts");
        let work_dir = runs::dir_of(&self.config.device.state_dir, command);
        let grace = Duration::from_secs(self.config.run.stop_grace_s.into());
        self.execution = Some(Execution::start(command.clone(), work_dir, &order, grace)?);
        self.progress_due = Instant::now();
        Ok(())
    }

    fn progress(&mut self, step: Step) {
        let Some(execution) = &self.execution else { return };
        if self.progress_due > Instant::now() {
            return;
        }
        self.progress_due = Instant::now() + Duration::from_secs(self.config.run.progress_s.into());
        let elapsed = execution.started.elapsed();
        let progress = Progress {
            command: execution.command.clone(),
            phase: step.phase,
            point: step.point,
            points: step.points,
            label: step.label,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            temperatures: step.temperatures,
        };
        let message = messages::progress(&self.device, &progress);
        if let (Some(connection), Ok(message)) = (self.link.connection(), message)
            && let Err(error) = connection.publish_unacknowledged(message)
        {
            tracing::debug!(%error, "a progress message is dropped");
        }
    }

    fn ended(&mut self, ending: Ending) {
        let Some(execution) = self.execution.take() else { return };
        let command = execution.command;
        let outcome = self.outcome(&command, &execution.dir, ending);
        tracing::info!(%command, ?outcome, "a command ended");
        self.look_for_room();
        self.dispatch(Event::Finished { command, outcome });
        let session = &self.session;
        let is_over =
            |id: &CommandId| session.command(id).is_none_or(|command| command.status.state.is_final());
        runs::tidy(&self.config.device.state_dir, self.config.run.keep as usize, is_over);
    }

    /// What an end amounts to. Results are in the spool, synced, before anything is called successful.
    fn outcome(&mut self, command: &CommandId, dir: &Path, ending: Ending) -> Outcome {
        if let Some(done) = ending.done {
            let now = self.clock.now().unix_ms;
            let records = match runs::spool_outputs(&mut self.spool, command, dir, &done.outputs, now) {
                Ok(records) => records.map(|records| (self.spool.epoch(), records)),
                Err(error) => {
                    let message = format!(
                        "it was carried out, but the result did not reach the spool: {error}; the evidence is in {}",
                        dir.display()
                    );
                    tracing::error!(%command, message);
                    return Outcome::Failed(Reason { code: ReasonCode::Storage, message });
                }
            };
            return match done.is_partial {
                true => Outcome::Stopped { records },
                false => Outcome::Successful { records, result: done.result },
            };
        }
        match (ending.failed, ending.ordered) {
            (Some(reason), _) => Outcome::Failed(reason),
            (None, Some(Stop::Checkpoint)) => Outcome::Checkpointed,
            (None, Some(Stop::GiveUp)) => Outcome::Stopped { records: None },
            (None, None) => Outcome::Failed(ending.otherwise),
        }
    }

    /// Tells the session when the spool's room for new results has come or gone.
    pub(super) fn look_for_room(&mut self) {
        let no_room = self.spool.room().err().map(|full| full.to_string());
        if no_room != self.no_room {
            match &no_room {
                Some(why) => self.concern(Concern::Spool, why.clone()),
                None => self.relieved(Concern::Spool),
            }
            self.no_room.clone_from(&no_room);
            self.dispatch(Event::Room(no_room));
        }
    }

    /// Something that an operator should know: it is logged and becomes part of the device's state.
    pub(super) fn concern(&mut self, about: Concern, what: String) {
        if self.concerns.get(&about) != Some(&what) {
            tracing::error!(?about, "{what}");
            self.concerns.insert(about, what);
            self.publish_state();
        }
    }

    /// It is no longer so.
    pub(super) fn relieved(&mut self, about: Concern) {
        if self.concerns.remove(&about).is_some() {
            tracing::info!(?about, "mended");
            self.publish_state();
        }
    }

    /// The state as it is now, with what the connection count says of its age.
    pub(super) fn device_state(&self, state: Option<Availability>, reasons: Vec<String>) -> DeviceState {
        let busy = if self.session.running().is_some() { Availability::Busy } else { Availability::Online };
        DeviceState {
            state: state.unwrap_or(busy),
            connection: self.connections,
            since_unix_ms: self.clock.now().unix_ms,
            command: self.session.running().cloned(),
            queued: self.session.waiting() as u32,
            unconfirmed: self.spool.unconfirmed() as u64,
            reasons,
        }
    }

    pub(super) fn publish_state(&mut self) {
        let state = self.device_state(None, self.concerns.values().cloned().collect());
        self.put(Slot::State, messages::state(&self.device, &state));
        let line = self.status_line();
        if line != self.told_systemd {
            service::status(&line);
            self.told_systemd = line;
        }
    }

    /// The spool has less to send than before: an operator waits for the moment when nothing is left.
    pub(super) fn confirmed(&mut self) {
        if self.spool.unconfirmed() == 0 {
            self.publish_state();
        }
        self.look_for_room();
    }

    pub(super) fn publish_info(&mut self) {
        let Some(described) = self.description.clone() else { return };
        let info =
            messages::device_info(&self.device, &self.config, &self.remote, self.spool.epoch(), described);
        self.put(Slot::Info, messages::info(&self.device, &info));
    }

    pub(super) fn publish_status(&mut self, id: &CommandId) {
        let Some(command) = self.session.command(id) else { return };
        let expiry = Duration::from_secs(self.config.mqtt.status_expiry_s.into());
        match messages::status(&self.device, command, expiry) {
            Ok((message, reply)) => {
                self.outbox.put(Slot::Status(id.clone()), message);
                if let Some(reply) = reply {
                    self.outbox.put(Slot::Reply(id.clone()), reply);
                }
            }
            Err(error) => tracing::error!(%error, command = %id, "a status cannot be encoded"),
        }
    }

    fn put(&mut self, slot: Slot, message: Result<crate::mqtt::Message, CodecError>) {
        match message {
            Ok(message) => self.outbox.put(slot, message),
            Err(error) => tracing::error!(%error, ?slot, "a message cannot be encoded"),
        }
    }

    /// One line for `systemctl status`.
    pub(super) fn status_line(&self) -> String {
        let doing = self.session.running().map_or("idle".into(), |command| format!("running {command}"));
        format!("{doing}, {} waiting, {} unconfirmed", self.session.waiting(), self.spool.unconfirmed())
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Due => {
                self.connections = count_connection(&self.config.device.state_dir);
                broker::open(self);
            }
            LinkEvent::Mqtt(event) => broker::event(self, event),
        }
    }

    /// What is to be published next is handed to the connection, until it takes no more.
    fn pump(&mut self) {
        broker::pump(self);
    }

    /// Limits in force.
    fn limits(&self) -> Limits {
        tightened(&self.config.limits, self.remote.limits.as_ref())
    }

    /// Reads a message that arrived and does what it says.
    pub(super) fn received(&mut self, message: &crate::mqtt::Received) {
        let limits = self.limits();
        let reader = Reader {
            device: &self.device,
            groups: &self.config.device.groups,
            limits: &limits,
            models: &self.config.models.dir,
        };
        match reader.read(message) {
            Inbound::Session(event) => {
                self.look_for_room();
                self.dispatch(event);
            }
            Inbound::Receipt(receipt) => broker::receipt(self, &receipt),
            Inbound::Config(desired) => {
                let (version, error) = match desired {
                    Ok(desired) => {
                        self.remote = desired.settings;
                        self.take_settings();
                        (Some(desired.version), None)
                    }
                    Err(error) => (None, Some(error)),
                };
                let reported = ConfigReported { version, settings: self.remote.clone(), error };
                self.put(Slot::Config, messages::config(&self.device, &reported));
            }
            Inbound::Ignored(why) => tracing::warn!(topic = message.topic, "a message is ignored: {why}"),
        }
    }

    fn take_settings(&mut self) {
        self.dispatch(Event::Rules(rules(&self.config, &self.remote)));
        self.dispatch(Event::Paused(self.remote.paused.unwrap_or(false)));
        self.uplink.set(self.config.spool.window, self.config.spool.resend_s);
        self.spool.set_bounds(self.config.spool.bounds());
        self.look_for_room();
        self.publish_info();
    }

    /// SIGHUP: takes a changed file over as a whole, or keeps the old one and says why.
    pub(super) fn reload(&mut self) {
        service::reloading();
        match self.reloaded() {
            Ok(config) => {
                let reconnect =
                    config.mqtt != self.config.mqtt || config.device.groups != self.config.device.groups;
                self.config = config;
                self.take_settings();
                let cache = self.config.device.state_dir.join("digests.json");
                self.describing = Describing::start(&self.config.models.dir, &cache);
                self.relieved(Concern::Configuration);
                if reconnect {
                    self.disconnected();
                    self.link.reopen(backoff(&self.config));
                }
                tracing::info!(file = %self.path.display(), reconnect, "the configuration was taken over");
            }
            Err(why) => self.concern(Concern::Configuration, why),
        }
        service::ready(&self.status_line());
    }

    fn reloaded(&self) -> Result<Config, String> {
        let config = Config::load(&self.path).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("the old configuration stays in force: {error}{cause}")
        })?;
        let keys = config.needs_restart(&self.config);
        if keys.is_empty() {
            return Ok(config);
        }
        Err(format!(
            "the old configuration stays in force: {} can only change with a restart",
            keys.join(", ")
        ))
    }

    /// The connection is gone: what was under way may not have arrived.
    pub(super) fn disconnected(&mut self) {
        self.outbox.disconnected();
        self.uplink.restart();
    }

    /// Checkpoints what runs, brings the last words to the broker and says goodbye.
    pub(super) async fn stop(mut self, signal: &str) {
        tracing::info!(signal, "clipmarkd stops");
        self.dispatch(Event::Stopping);
        while self.execution.is_some() {
            self.turn().await;
        }
        let last_words = async {
            while self.link.connection().is_some() && self.outbox.len() > 0 {
                self.turn().await;
            }
        };
        if timeout(LAST_WORDS, last_words).await.is_err() {
            tracing::warn!(
                "the broker did not take the last statuses in time; they follow after the next start"
            );
        }
        let state = self.device_state(Some(Availability::Offline), vec![format!("stopped by {signal}")]);
        let farewell = messages::state(&self.device, &state);
        if let (Some(connection), Ok(farewell)) = (self.link.into_connection(), farewell) {
            connection.close(farewell, Token::Farewell).await;
        }
    }
}
