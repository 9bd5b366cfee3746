//! The loop that holds the connection: understands messages, hands batches to the keeper, acknowledges what
//! is stored, and publishes receipts.

use super::allowance::{Complaints, Share};
use super::batch::{Acknowledgement, Queue};
use super::inbound::{Inbound, read_as};
use super::keeper::{self, Order, Report};
use super::link::{Link, LinkEvent, warn_of};
use super::receipts::Receipts;
use crate::config::Config;
use crate::store::{Excess, Message as Stored, Refusals, Retention, Store, StoreError, device_of};
use clipmark_profile::codec::CodecError;
use clipmark_profile::message::{Availability, CommandStatus, DeviceState, Payload, Progress, Receipt};
use clipmark_profile::topics::{AggregatorId, DeviceId, DeviceTopic, Topic, every_device_filter, up_filter};
use clipmark_service::clock::unix_ms;
use clipmark_service::mqtt::{
    Backoff, Binding, Closed, Connection, ConnectionOptions, Message, MqttEvent, NotSent, Received, Verdict,
};
use clipmark_service::systemd::{self, Heartbeat, Supervisor};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, interval};

/// The loop and the connection are stuck when silent for so long.
const STUCK: Duration = Duration::from_secs(90);

/// A commit may take so long, or a pass of the retention over a large store.
const STORE_STUCK: Duration = Duration::from_secs(900);

/// Messages that wait for the store beyond which more are not read before they are stored.
const PILE: usize = 32;

/// How often what is too old is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Why an aggregator did not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A message of the aggregator's own cannot be encoded.
    #[error("the aggregator's own state cannot be encoded")]
    Encode(#[from] CodecError),
    /// The keeper's thread cannot be started.
    #[error("no thread can be started for the store; check the limits of this service")]
    Thread(#[source] std::io::Error),
    /// The keeper is gone.
    #[error("the thread that owns the store has ended unexpectedly; see the log before this line")]
    KeeperGone,
}

/// What happens in the fleet, as it happens, for pages that are open.
#[derive(Debug, Clone)]
pub enum Live {
    /// A device's state.
    State(DeviceId, DeviceState),
    /// How far a run is.
    Progress(DeviceId, Progress),
    /// How far a command is.
    Status(DeviceId, Box<CommandStatus>),
    /// Records of these devices were stored.
    Stored(Vec<DeviceId>),
    /// The store takes nothing, with the reason; `None` once it does again.
    Trouble(Option<String>),
}

/// A message that somebody else in this process wants published, and where the broker's word goes.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub message: Message,
    /// What the broker did with it; dropped when the connection breaks first.
    pub verdict: oneshot::Sender<Verdict>,
}

/// What connects an aggregator to the rest of its process.
#[derive(Debug)]
pub struct Serving {
    /// Hears of everything that happens.
    pub live: broadcast::Sender<Live>,
    /// Takes messages to be published, e.g. requests of the dashboard.
    pub outgoing: mpsc::Receiver<Outgoing>,
}

/// Which of our messages an acknowledgement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Receipt(DeviceId),
    State,
    Outgoing(u64),
}

struct Receiver<'a> {
    config: &'a Config,
    client: String,
    link: Link,
    /// Whether the broker has told who may use which client id.
    has_asked: bool,
    connection: u64,
    backoff: Backoff,
    heartbeat: Heartbeat,
    orders: SyncSender<Order>,
    is_keeper_busy: bool,
    /// Whether contents wait in the store: what comes then waits behind them, and reading it here would be in vain.
    has_unread: bool,
    pending: Queue,
    receipts: Receipts,
    live: broadcast::Sender<Live>,
    verdicts: BTreeMap<u64, oneshot::Sender<Verdict>>,
    next_verdict: u64,
    is_announced: bool,
    /// Whose messages were set aside, and whose were refused.
    set_aside: Complaints,
    refused: Complaints,
}

/// The client id of an aggregator.
pub(crate) fn client_id(aggregator: &AggregatorId) -> String {
    format!("clipmark-fleet-{aggregator}")
}

/// Serves until `stop` is ready: then what is in hand is stored, acknowledged where it can be, and the broker
/// is told.
///
/// # Errors
/// When the store cannot be opened. Later trouble is told in the log and mended by trying again.
pub async fn serve(
    config: &Config,
    mut serving: Serving,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let settings = config.store.clone();
    // The database's client must not be used inside this event loop.
    let store = tokio::task::spawn_blocking(move || Store::create(&settings)).await;
    let store = store.map_err(|_| ServeError::KeeperGone)??;
    let has_unread = store.has_unread();
    let mut supervisor = Supervisor::default();
    let beats = supervisor.watch("receiver", STUCK);
    let heartbeat = supervisor.watch("connection", STUCK);
    let keeper_beats = supervisor.watch("store", STORE_STUCK);
    let (orders, taken) = sync_channel(4);
    let (reporter, mut reports) = mpsc::unbounded_channel();
    let thread = std::thread::Builder::new().name("keeper".into());
    let keeper = thread.spawn(move || keeper::keep(store, &taken, &reporter, &keeper_beats));
    let keeper = keeper.map_err(ServeError::Thread)?;
    let watchdog = tokio::spawn(supervisor.feed_watchdog());
    let mut receiver =
        Receiver { has_unread, ..Receiver::new(config, heartbeat, orders, serving.live.clone()) };
    let mut ticks = interval(Duration::from_secs(10));
    let mut prunes = interval(PRUNE_EVERY);
    systemd::ready("waiting for the broker");
    tokio::pin!(stop);
    let ended = loop {
        beats.beat();
        receiver.hand_over();
        // Requests go first: receipts, of which there may be thousands, would leave them no room.
        while receiver.takes_requests()
            && let Ok(outgoing) = serving.outgoing.try_recv()
        {
            receiver.outgoing(outgoing);
        }
        receiver.publish()?;
        tokio::select! {
            () = &mut stop => break Ok(()),
            next = receiver.link.next(), if receiver.takes_messages() => match next {
                LinkEvent::Mqtt(event) => receiver.event(event),
                LinkEvent::Due => receiver.due()?,
                LinkEvent::Answered(binding) => receiver.answered(binding.as_ref())?,
            },
            report = reports.recv() => match report {
                Some(report) => receiver.report(report),
                None => break Err(ServeError::KeeperGone),
            },
            Some(outgoing) = serving.outgoing.recv(), if receiver.takes_requests() => receiver.outgoing(outgoing),
            _ = prunes.tick() => receiver.prune(),
            _ = ticks.tick() => {}
        }
    };
    watchdog.abort();
    systemd::stopping();
    match ended {
        Ok(()) => receiver.close(&mut reports).await,
        Err(_) => drop(receiver),
    }
    // Without the receiver's end the keeper finishes.
    if tokio::task::spawn_blocking(move || keeper.join()).await.is_ok_and(|joined| joined.is_err()) {
        tracing::error!("the thread that owns the store panicked");
    }
    ended
}

impl<'a> Receiver<'a> {
    fn new(
        config: &'a Config,
        heartbeat: Heartbeat,
        orders: SyncSender<Order>,
        live: broadcast::Sender<Live>,
    ) -> Self {
        let [least, most] = [config.mqtt.backoff_min_ms, config.mqtt.backoff_max_ms]
            .map(|ms| Duration::from_millis(ms.into()));
        Self {
            client: client_id(&config.aggregator.id),
            has_asked: false,
            link: Link::Waiting(Instant::now()),
            connection: 0,
            backoff: Backoff::new(least, most, unix_ms()),
            heartbeat,
            orders,
            is_keeper_busy: false,
            has_unread: false,
            pending: Queue::default(),
            receipts: Receipts::default(),
            live,
            verdicts: BTreeMap::new(),
            next_verdict: 0,
            is_announced: true,
            set_aside: Complaints::default(),
            refused: Complaints::default(),
            config,
        }
    }

    fn state(&self, state: Availability) -> Result<Message, CodecError> {
        let said = DeviceState {
            state,
            connection: self.connection,
            since_unix_ms: unix_ms(),
            command: None,
            queued: 0,
            unconfirmed: 0,
            reasons: Vec::new(),
        };
        Ok(Message {
            topic: Topic::AggregatorState(self.config.aggregator.id.clone()).to_string(),
            payload: said.to_bytes()?,
            retain: true,
            content_type: DeviceState::ENCODING.content_type(),
            expiry: None,
            correlation: None,
        })
    }

    /// It is time to connect, the first time after a question.
    fn due(&mut self) -> Result<(), ServeError> {
        if self.has_asked {
            return self.open();
        }
        self.link = Link::ask(&self.config.mqtt);
        Ok(())
    }

    fn answered(&mut self, binding: Option<&Binding>) -> Result<(), ServeError> {
        if let Some(binding) = binding {
            self.has_asked = true;
            warn_of(binding, &self.config.mqtt.host);
        }
        self.open()
    }

    fn open(&mut self) -> Result<(), ServeError> {
        self.connection += 1;
        let share = Some(self.config.aggregator.share.as_str()).filter(|share| !share.is_empty());
        let mut filters = vec![up_filter(share)];
        // Retained messages do not reach shared subscriptions, and these are stored idempotently.
        filters.extend(["state", "info", "cmd/+/+/status", "progress"].map(every_device_filter));
        let options = ConnectionOptions {
            mqtt: &self.config.mqtt,
            client: &self.client,
            will: Some(self.state(Availability::Offline)?),
            filters,
            receive_maximum: self.config.aggregator.receive_maximum,
        };
        match Connection::open(options, self.heartbeat.clone()) {
            Ok(connection) => self.link = Link::Open(Box::new(connection)),
            Err(error) => {
                tracing::error!(%error, "no connection can be tried");
                self.link = Link::Waiting(Instant::now() + self.backoff.after_failure());
            }
        }
        Ok(())
    }

    fn event(&mut self, event: MqttEvent<Token>) {
        match event {
            MqttEvent::Connected { session_present, caps } => {
                tracing::info!(session_present, "connected to the broker");
                caps.iter().for_each(|cap| tracing::warn!("{cap}"));
                systemd::status("connected to the broker");
                self.backoff.held();
                self.is_announced = false;
            }
            MqttEvent::Received(received) => self.received(&received),
            MqttEvent::Acknowledged { token, verdict } => self.acknowledged(token, verdict),
            MqttEvent::SubscriptionRefused { filter, reason } => {
                tracing::error!(
                    filter,
                    reason,
                    "the broker refuses a subscription; check its ACL (clipmark-fleet acl)"
                );
            }
            MqttEvent::Subscribed => {}
            MqttEvent::Closed(why) => self.closed(&why),
        }
    }

    fn closed(&mut self, why: &Closed) {
        let pause = match why {
            Closed::TakenOver { .. } => self.backoff.after_takeover(0),
            _ => self.backoff.after_failure(),
        };
        tracing::warn!(%why, pause_ms = pause.as_millis() as u64, "the connection is over");
        systemd::status(&why.to_string());
        self.verdicts.clear();
        self.link = Link::Waiting(Instant::now() + pause);
    }

    fn received(&mut self, received: &Received) {
        let acknowledgement = Acknowledgement { connection: self.connection, handle: received.ack };
        let device = device_of(&received.topic);
        let share = Share { bytes: received.payload.len(), is_awaited: received.ack.is_awaited() };
        // Before it is read: a flood is to cost its neighbours as little as can be.
        if !self.pending.admit(&device, share, acknowledgement) {
            return;
        }
        // What piles up is stored first and read later.
        let is_eager = !self.has_unread && self.pending.len() < PILE;
        match read_as(&received.topic, &received.payload, received.content_type.as_deref(), is_eager) {
            Inbound::Store(message) => {
                if let Stored::Poison(poison) = &message
                    && let Some(messages) =
                        self.set_aside.count(&poison.device, Excess::SetAside, 1, Instant::now())
                {
                    let (topic, reason) = (&poison.topic, &poison.reason);
                    tracing::warn!(topic, reason, messages, "a message is set aside");
                }
                self.pending.push(message, share, acknowledgement);
            }
            Inbound::Progress(sender, progress) => {
                // Nobody may be listening.
                let _ = self.live.send(Live::Progress(sender, progress));
                self.pending.push_nothing(&device, share, acknowledgement);
            }
            Inbound::Nothing => self.pending.push_nothing(&device, share, acknowledgement),
        }
    }

    /// Acknowledges what may be, in the order in which it came.
    fn acknowledge(&mut self) {
        while let Some(acknowledgement) = self.pending.next_due() {
            if let Link::Open(connection) = &self.link
                && acknowledgement.connection == self.connection
            {
                connection.acknowledge(acknowledgement.handle);
            }
        }
    }

    /// Gives the keeper what has gathered, unless it is busy.
    fn hand_over(&mut self) {
        self.acknowledge();
        if self.is_keeper_busy || self.pending.is_empty() {
            return;
        }
        let batch = self.pending.take(self.config.aggregator.batch as usize);
        self.is_keeper_busy = self.orders.try_send(Order::Commit(batch)).is_ok();
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Stored { committed, places, messages, has_unread } => {
                self.is_keeper_busy = false;
                self.has_unread = has_unread;
                self.pending.settle(places);
                self.acknowledge();
                self.complain(&committed.refused);
                for (device, place) in &committed.conflicts {
                    tracing::error!(
                        %device,
                        epoch = %place.epoch,
                        sequence = place.sequence,
                        "a record came with another content than is stored under its sequence, and is set aside; the \
                         board's disk was set back, or another board works with a copy of it"
                    );
                }
                let stored = committed.receipts.iter().map(|(device, _)| device.clone()).collect();
                let now = Instant::now();
                for (device, receipt) in committed.receipts {
                    let aggregator = Some(self.config.aggregator.id.clone());
                    self.receipts.put(device, Receipt { aggregator, ..receipt }, now);
                }
                self.tell(stored, messages);
            }
            Report::Read { devices, has_unread } => {
                self.has_unread = has_unread;
                if !devices.is_empty() {
                    // Nobody may be listening.
                    let _ = self.live.send(Live::Stored(devices));
                }
            }
            Report::Trouble(why) => {
                tracing::error!(why, "nothing is acknowledged until the store takes it");
                systemd::status(&why);
                let _ = self.live.send(Live::Trouble(Some(why)));
            }
            Report::Recovered => {
                tracing::info!("the store takes batches again");
                systemd::status("connected to the broker");
                let _ = self.live.send(Live::Trouble(None));
            }
        }
    }

    /// Names the devices that exceed their bounds, and takes less of them for a while.
    fn complain(&mut self, refusals: &Refusals) {
        for ((device, excess), refused) in refusals {
            if *excess != Excess::Waiting {
                self.pending.restrict(device);
            }
            let of = self.refused.count(device, *excess, refused.messages, Instant::now());
            if let Some(messages) = of {
                let kind = excess.name();
                tracing::warn!(
                    device,
                    kind,
                    messages,
                    "messages are refused: this device {}",
                    excess.words()
                );
            }
        }
    }

    fn tell(&self, stored: Vec<DeviceId>, messages: Vec<Stored>) {
        if self.live.receiver_count() == 0 {
            return;
        }
        for message in messages {
            let _ = match message {
                Stored::State(device, state) => self.live.send(Live::State(device, state)),
                Stored::Status(device, status) => self.live.send(Live::Status(device, status)),
                _ => continue,
            };
        }
        if !stored.is_empty() {
            let _ = self.live.send(Live::Stored(stored));
        }
    }

    /// Publishes as many receipts as the connection takes.
    fn publish(&mut self) -> Result<(), ServeError> {
        if !self.is_announced {
            let state = self.state(Availability::Online)?;
            if let Link::Open(connection) = &mut self.link {
                self.is_announced = connection.publish(state, Token::State).is_ok();
            }
        }
        let Self { link, receipts, pending, .. } = self;
        let Link::Open(connection) = link else { return Ok(()) };
        let now = Instant::now();
        while connection.has_room() {
            let piles_up = |device: &DeviceId| pending.waiting(device.as_str()) >= PILE;
            let Some((device, receipt)) = receipts.next(piles_up, now) else { break };
            let message = Message {
                topic: Topic::device(&device, DeviceTopic::Receipt).to_string(),
                payload: receipt.to_bytes()?,
                retain: true,
                content_type: Receipt::ENCODING.content_type(),
                expiry: None,
                correlation: None,
            };
            match connection.publish(message, Token::Receipt(device.clone())) {
                Ok(()) => {}
                Err(NotSent::Busy) => {
                    receipts.put(device, receipt, now);
                    break;
                }
                Err(error) => tracing::error!(%device, %error, "a receipt cannot be published"),
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, token: Token, verdict: Verdict) {
        match token {
            Token::Outgoing(number) => {
                if let Some(sender) = self.verdicts.remove(&number) {
                    // Whoever asked may have gone.
                    let _ = sender.send(verdict);
                }
            }
            Token::Receipt(device) => {
                if let Verdict::Refused(reason) = verdict {
                    tracing::error!(%device, reason, "the broker refuses a receipt; the device will send its records again");
                }
            }
            Token::State => {}
        }
    }

    /// Whether a request would be answered now, if only by a refusal because there is no connection.
    fn takes_requests(&self) -> bool {
        match &self.link {
            Link::Open(connection) => connection.has_room(),
            Link::Waiting(_) | Link::Asking(_) => true,
        }
    }

    /// Whether more may be taken from the connection, if there is one.
    const fn takes_messages(&self) -> bool {
        !matches!(self.link, Link::Open(_)) || self.pending.has_room()
    }

    fn outgoing(&mut self, outgoing: Outgoing) {
        let Outgoing { message, verdict } = outgoing;
        let number = self.next_verdict;
        self.next_verdict += 1;
        let sent = match &mut self.link {
            Link::Open(connection) => connection.publish(message, Token::Outgoing(number)),
            // Dropping its sender says that the connection is broken.
            Link::Waiting(_) | Link::Asking(_) => return,
        };
        match sent {
            Ok(()) => drop(self.verdicts.insert(number, verdict)),
            Err(error) => drop(verdict.send(Verdict::Refused(error.to_string()))),
        }
    }

    fn prune(&self) {
        let retention = Retention::from(self.config.retention);
        if self.orders.try_send(Order::Prune(retention)).is_err() {
            tracing::debug!("the store is busy; what is too old is forgotten later");
        }
    }

    /// Waits for the batch in hand, acknowledges it, and says goodbye.
    async fn close(mut self, reports: &mut mpsc::UnboundedReceiver<Report>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_keeper_busy {
            match tokio::time::timeout_at(deadline, reports.recv()).await {
                Ok(Some(report)) => self.report(report),
                _ => break,
            }
        }
        if self.publish().is_err() {
            tracing::warn!("the last receipts could not be published");
        }
        reports.close();
        let Ok(farewell) = self.state(Availability::Offline) else { return };
        if let Link::Open(connection) = self.link {
            connection.close(farewell, Token::State).await;
        }
    }
}
