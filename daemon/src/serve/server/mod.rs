//! Everything a running daemon holds, and what it does about each event.

mod commands;
mod publish;
mod settings;

pub(in crate::serve) use settings::effective_limits;

use super::clock::Clock;
use super::delivery::{Delivery, LinkEvent, News, Slot};
use super::description::Describing;
use super::execution::{ChildEvent, Execution};
use super::inbound::{Inbound, Reader};
use super::startup::{self, OnDisk, StartError, count_connection};
use super::store::CommandStore;
use super::{messages, runs};
use crate::config::Config;
use crate::operation::Description;
use crate::placement::{self, CpuList};
use crate::service::Heartbeat;
use crate::session::{Action, Session, SessionEvent};
use clipmark_profile::message::{Availability, ConfigReported, RemoteSettings};
use clipmark_profile::topics::{CommandId, DeviceId};
use settings::{backoff, rules};
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Statuses that are told again to a broker that has lost its session.
const RECENT: usize = 64;

/// The loop turns at least this often, for the heartbeat.
const PULSE: Duration = Duration::from_secs(10);

/// How long a stopping daemon tries to bring its last statuses to the broker.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The daemon.
pub(in crate::serve) struct Server {
    path: PathBuf,
    config: Config,
    remote: RemoteSettings,
    device: DeviceId,
    clock: Clock,
    store: CommandStore,
    session: Session,
    delivery: Delivery,
    execution: Option<Execution>,
    describing: Describing,
    description: Option<Description>,
    connections: u64,
    progress_due: Instant,
    told_systemd: String,
    heartbeat: Heartbeat,
    /// The CPUs that the daemon was started on.
    allowed: CpuList,
    _lock: File,
}

/// What ends the wait of one turn.
enum Turn {
    Link(LinkEvent),
    Execution(ChildEvent),
    Described(Description),
    Time,
}

impl Server {
    /// Opens the state directory, takes up what was interrupted and begins to connect.
    pub(in crate::serve) fn start(
        path: &Path,
        config: Config,
        heartbeat: Heartbeat,
        connection: Heartbeat,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let OnDisk { lock, device, store, commands, past, mut spool } = startup::open(&config)?;
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
        let (mut session, actions) =
            Session::restore(rules(&config, &remote), commands, spooled, clock.now());
        session.remember(past, clock.now());
        let describing = Describing::start(&config.models.dir, &config.device.state_dir.join("digests.json"));
        let epoch = spool.epoch();
        let delivery = Delivery::new(device.clone(), &config, (clock, spool), (backoff(&config), connection));
        let mut server = Self {
            path: path.to_owned(),
            remote,
            device,
            clock,
            store,
            session,
            delivery,
            config,
            execution: None,
            describing,
            description: None,
            connections: 0,
            progress_due: Instant::now(),
            told_systemd: String::new(),
            heartbeat,
            allowed: placement::allowed().map_err(StartError::Cpus)?,
            _lock: lock,
        };
        tracing::info!(device = %server.device, %epoch, "clipmarkd is up");
        server.apply(actions);
        server.move_statuses();
        server.delivery.look_for_room();
        server.hear();
        server.publish_state();
        Ok(server)
    }

    /// Sends what can be sent, waits for one event and handles it. Cancel-safe: nothing is awaited after an
    /// event was taken.
    pub(in crate::serve) async fn turn(&mut self) {
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
            event = self.delivery.next() => Turn::Link(event),
            happening = execution => Turn::Execution(happening),
            description = self.describing.next() => Turn::Described(description),
            () = sleep_until(wake) => Turn::Time,
        };
        match turn {
            Turn::Link(event) => self.link_event(event),
            Turn::Execution(ChildEvent::Step(step)) => self.progress(step),
            Turn::Execution(ChildEvent::Ended(ending)) => self.ended(*ending),
            Turn::Described(description) => {
                self.description = Some(description);
                self.publish_info();
            }
            Turn::Time => self.dispatch(SessionEvent::Tick),
        }
        self.hear();
    }

    /// Carries out what delivering led to. Returns whether it led to anything.
    fn hear(&mut self) -> bool {
        let mut has_heard = false;
        while let Some(news) = self.delivery.next_news() {
            has_heard = true;
            match news {
                News::Session(event) => self.step(event),
                News::Received(message) => {
                    self.received(&message);
                    self.delivery.acknowledge(&message);
                }
                News::State => self.publish_state(),
                News::Info => self.publish_info(),
                News::SessionLost => {
                    let recent: Vec<_> = self.session.recent(RECENT).cloned().collect();
                    recent.iter().for_each(|command| self.publish_status(command));
                }
                News::EpochBegan => self.move_statuses(),
            }
        }
        has_heard
    }

    /// Has statuses name the records where they are now.
    fn move_statuses(&mut self) {
        let epoch = self.delivery.spool.epoch();
        let elsewhere: Vec<CommandId> = self.session.with_records_outside(epoch).cloned().collect();
        for command in elsewhere {
            if let Some(records) = self.delivery.spool.records_of(&command) {
                self.step(SessionEvent::Moved { command, epoch, records });
            }
        }
    }

    fn wake(&mut self) -> Instant {
        let pulse = Instant::now() + PULSE;
        let deadlines = [self.session.next_deadline(), self.delivery.next_deadline()];
        deadlines.into_iter().flatten().map(|at| self.clock.instant(at)).fold(pulse, Instant::min)
    }

    /// Takes one event through the session, behind what was heard before it, and carries out what it says.
    fn dispatch(&mut self, event: SessionEvent) {
        self.hear();
        self.step(event);
    }

    fn step(&mut self, event: SessionEvent) {
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
                        self.session
                            .step(self.clock.now(), SessionEvent::StoreFailed { command: id, message }),
                    );
                }
                Action::Forget(id) => {
                    if let Err(error) = self.store.remove(&id) {
                        tracing::warn!(%error, "a forgotten command stays on disk");
                    }
                }
                Action::Archive(id) => {
                    let Some(past) = self.session.past_command(&id) else { continue };
                    if let Err(error) = self.store.archive(past, self.session.past()) {
                        tracing::warn!(%error, command = %id, "a finished command stays where it is on disk");
                    }
                }
                Action::Publish(id) => self.publish_status(&id),
                Action::PublishState => self.publish_state(),
                Action::Start { command, attempt } => {
                    if let Err(unable) = self.execute(&command, attempt) {
                        let outcome = unable.into();
                        queue.extend(
                            self.session.step(self.clock.now(), SessionEvent::Finished { command, outcome }),
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

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Due => {
                self.connections = count_connection(&self.config.device.state_dir, self.connections);
                let lost = vec!["the connection broke".to_owned()];
                let will = self.device_state(Some(Availability::Offline), lost);
                match messages::state(&self.device, &will) {
                    Ok(will) => self.delivery.open(&self.config, will),
                    Err(error) => tracing::error!(%error, "the last will cannot be encoded"),
                }
            }
            LinkEvent::Mqtt(event) => self.delivery.event(event),
        }
    }

    /// What is to be published next is handed to the connection, until it takes no more.
    fn pump(&mut self) {
        self.delivery.pump();
        while self.hear() {
            self.delivery.pump();
        }
    }

    /// Reads a message that arrived and does what it says.
    fn received(&mut self, message: &crate::mqtt::Received) {
        let limits = self.limits();
        let reader = Reader {
            device: &self.device,
            groups: &self.config.device.groups,
            limits: &limits,
            models: &self.config.models.dir,
        };
        match reader.read(message) {
            Inbound::Session(event) => {
                self.delivery.look_for_room();
                self.dispatch(event);
            }
            Inbound::Receipt(receipt) => self.delivery.take_receipt(&receipt),
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
                self.put(Slot::Config, messages::config(&self.device, &reported), None);
            }
            Inbound::AggregatorCame => self.delivery.receiver_came(),
            Inbound::Nothing => {}
            Inbound::Ignored(why) => tracing::warn!(topic = message.topic, "a message is ignored: {why}"),
        }
    }

    /// Checkpoints what runs, brings the last words to the broker and says goodbye.
    pub(in crate::serve) async fn stop(mut self, signal: &str) {
        tracing::info!(signal, "clipmarkd stops");
        self.dispatch(SessionEvent::Stopping);
        while self.execution.is_some() {
            self.turn().await;
        }
        let last_words = async {
            while self.delivery.has_last_words() {
                self.turn().await;
            }
        };
        if timeout(LAST_WORDS, last_words).await.is_err() {
            tracing::warn!(
                "the broker did not take the last statuses in time; they follow after the next start"
            );
        }
        let state = self.device_state(Some(Availability::Offline), vec![format!("stopped by {signal}")]);
        if let Ok(farewell) = messages::state(&self.device, &state) {
            self.delivery.close(farewell).await;
        }
    }
}
