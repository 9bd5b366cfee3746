//! Everything a running daemon holds, and what it does about each event.

mod commands;
mod publish;
mod settings;

pub(in crate::serve) use publish::Concern;
pub(in crate::serve) use settings::effective_limits;

use super::clock::Clock;
use super::description::Describing;
use super::execution::{ChildEvent, Execution};
use super::inbound::{Inbound, Reader};
use super::link::{Link, LinkEvent, Token};
use super::outbox::{Outbox, Slot};
use super::startup::{self, OnDisk, StartError, count_connection};
use super::store::CommandStore;
use super::uplink::Uplink;
use super::{broker, messages, receipts, runs};
use crate::config::Config;
use crate::operation::Description;
use crate::placement::{self, CpuList};
use crate::service::Heartbeat;
use crate::session::{Action, Session, SessionEvent};
use crate::spool::Spool;
use clipmark_profile::message::{Availability, ConfigReported, RemoteSettings};
use clipmark_profile::topics::{CommandId, DeviceId};
use clipmark_service::logging::Repeated;
use settings::{backoff, rules};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// The loop turns at least this often, for the heartbeat.
const PULSE: Duration = Duration::from_secs(10);

/// How long a stopping daemon tries to bring its last statuses to the broker.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The daemon.
pub(in crate::serve) struct Server {
    path: PathBuf,
    pub(in crate::serve) config: Config,
    remote: RemoteSettings,
    pub(in crate::serve) device: DeviceId,
    pub(in crate::serve) clock: Clock,
    store: CommandStore,
    pub(in crate::serve) session: Session,
    pub(in crate::serve) spool: Spool,
    pub(in crate::serve) outbox: Outbox,
    pub(in crate::serve) uplink: Uplink,
    pub(in crate::serve) link: Link,
    execution: Option<Execution>,
    describing: Describing,
    description: Option<Description>,
    concerns: BTreeMap<Concern, String>,
    pub(in crate::serve) connections: u64,
    /// What the broker grants only in part, as it was last said.
    pub(in crate::serve) caps: Vec<String>,
    log: Repeated,
    progress_due: Instant,
    /// The broker refused a message about progress.
    no_progress_before: Instant,
    no_room: Option<String>,
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
            caps: Vec::new(),
            log: Repeated::default(),
            progress_due: Instant::now(),
            no_progress_before: Instant::now(),
            no_room: None,
            told_systemd: String::new(),
            heartbeat,
            allowed: placement::allowed().map_err(StartError::Cpus)?,
            _lock: lock,
        };
        tracing::info!(device = %server.device, epoch = %server.spool.epoch(), "clipmarkd is up");
        server.apply(actions);
        receipts::move_statuses(&mut server);
        server.look_for_room();
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
            event = self.link.next() => Turn::Link(event),
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
    }

    fn wake(&mut self) -> Instant {
        let now = self.clock.now().monotonic;
        let pulse = Instant::now() + PULSE;
        let uplink = self.link.connection().is_some().then(|| self.uplink.next_deadline(now)).flatten();
        // What waits for room on the connection is sent when there is some, not at a time that has passed.
        let to_send = [uplink, self.outbox.next_deadline()].map(|at| at.filter(|at| *at > now));
        let deadlines = [self.session.next_deadline(), to_send[0], to_send[1]];
        deadlines.into_iter().flatten().map(|at| self.clock.instant(at)).fold(pulse, Instant::min)
    }

    /// Takes one event through the session and carries out what it says.
    pub(in crate::serve) fn dispatch(&mut self, event: SessionEvent) {
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
                broker::open(self);
            }
            LinkEvent::Mqtt(event) => broker::event(self, event),
        }
    }

    /// What is to be published next is handed to the connection, until it takes no more.
    fn pump(&mut self) {
        broker::pump(self);
    }

    /// Reads a message that arrived and does what it says.
    pub(in crate::serve) fn received(&mut self, message: &crate::mqtt::Received) {
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
            Inbound::Receipt(receipt) => receipts::take(self, &receipt),
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
            Inbound::AggregatorCame => self.uplink.receiver_came(),
            Inbound::Nothing => {}
            Inbound::Ignored(why) => tracing::warn!(topic = message.topic, "a message is ignored: {why}"),
        }
    }

    /// The connection is gone: what was under way may not have arrived.
    pub(in crate::serve) fn disconnected(&mut self) {
        self.outbox.disconnected(self.clock.now().monotonic);
        self.uplink.restart();
    }

    /// Checkpoints what runs, brings the last words to the broker and says goodbye.
    pub(in crate::serve) async fn stop(mut self, signal: &str) {
        tracing::info!(signal, "clipmarkd stops");
        self.dispatch(SessionEvent::Stopping);
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
