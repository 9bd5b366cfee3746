//! The thread that owns the store: commits batches, tries again what the store could not take, forgets by
//! rule.

use super::batch::{Batch, Place};
use crate::store::{Committed, Message, Poison, Retention, Store, StoreError};
use clipmark_profile::topics::{DeviceId, DeviceTopic, Topic};
use clipmark_service::clock::unix_ms;
use clipmark_service::systemd::Heartbeat;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The pauses between two attempts at a batch.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// When no batch has come for so long, there is time to read what waits.
const LULL: Duration = Duration::from_millis(50);

/// Contents that are read in one transaction: a batch that comes meanwhile waits for so many.
const READ_AT_ONCE: u32 = 32;

/// How often the keeper gives a sign of life without work.
const IDLE: Duration = Duration::from_secs(10);

/// What the keeper is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Store these.
    Commit(Batch),
    /// Forget what is too old.
    Prune(Retention),
}

/// What the keeper says.
#[derive(Debug)]
pub(super) enum Report {
    /// A batch is durable: what came at these places may be acknowledged. With it, whether contents wait to be read.
    Stored { committed: Committed, places: Vec<Place>, messages: Vec<Message>, has_unread: bool },
    /// Contents that waited have been read: the devices that they are of, and whether more wait.
    Read { devices: Vec<DeviceId>, has_unread: bool },
    /// The store takes nothing; the batch is tried again.
    Trouble(String),
    /// The store takes batches again.
    Recovered,
}

/// Works until the receiver is gone. A batch in trouble is given up only then: the broker still has it. What is
/// stored and not yet read is read when no batch comes for a moment.
pub(super) fn keep(
    mut store: Store,
    orders: &Receiver<Order>,
    reports: &UnboundedSender<Report>,
    heartbeat: &Heartbeat,
) {
    let mut is_quiet = false;
    loop {
        heartbeat.beat();
        let patience = match (store.has_unread(), is_quiet) {
            (false, _) => IDLE,
            (true, false) => LULL,
            (true, true) => Duration::ZERO,
        };
        match orders.recv_timeout(patience) {
            Ok(Order::Commit(batch)) => {
                is_quiet = false;
                let Some(report) = commit(&mut store, batch, reports, heartbeat) else { return };
                if reports.send(report).is_err() {
                    return;
                }
            }
            Ok(Order::Prune(retention)) => prune(&mut store, &retention),
            Err(RecvTimeoutError::Timeout) if store.has_unread() => {
                is_quiet = true;
                if read_waiting(&mut store, reports).is_none() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Reads some of what waits. `None` when nobody wants to know any more.
fn read_waiting(store: &mut Store, reports: &UnboundedSender<Report>) -> Option<()> {
    let read = store.read_waiting(READ_AT_ONCE, None).or_else(|error| {
        if error.is_passing() {
            return Err(error);
        }
        tracing::warn!(%error, "the store refuses what was to be read; it is read one by one");
        store.read_waiting(1, None).or_else(|error| match error.is_passing() {
            true => Err(error),
            false => store.read_waiting(1, Some(&format!("the store refuses it: {error}"))),
        })
    });
    match read {
        Ok(devices) => reports.send(Report::Read { devices, has_unread: store.has_unread() }).ok(),
        Err(error) => {
            tracing::warn!(%error, "what is stored is read later");
            sleep(PAUSES[0]);
            Some(())
        }
    }
}

fn prune(store: &mut Store, retention: &Retention) {
    match store.prune(retention, unix_ms()) {
        Ok(pruned) => tracing::info!(?pruned, "forgot what is older than the retention"),
        Err(error) => tracing::warn!(%error, "nothing was forgotten; it is tried again in an hour"),
    }
}

/// Commits a batch, for as long as that takes. `None` when nobody wants to know any more.
fn commit(
    store: &mut Store,
    batch: Batch,
    reports: &UnboundedSender<Report>,
    heartbeat: &Heartbeat,
) -> Option<Report> {
    let mut pause = PAUSES[0];
    let mut was_in_trouble = false;
    loop {
        match store.commit(&batch.messages, unix_ms()).or_else(|error| apart(store, &batch, error)) {
            Ok(committed) => {
                if was_in_trouble {
                    reports.send(Report::Recovered).ok()?;
                }
                let Batch { messages, places } = batch;
                let has_unread = store.has_unread();
                return Some(Report::Stored { committed, places, messages, has_unread });
            }
            Err(error) => {
                was_in_trouble = true;
                reports.send(Report::Trouble(error.to_string())).ok()?;
                heartbeat.beat();
                sleep(pause);
                pause = (pause * 2).min(PAUSES[1]);
            }
        }
    }
}

/// When the store refuses a batch for its content, stores its messages one by one and sets aside what it
/// refuses, so that one message cannot block the others.
fn apart(store: &mut Store, batch: &Batch, error: StoreError) -> Result<Committed, StoreError> {
    if error.is_passing() {
        return Err(error);
    }
    tracing::warn!(%error, "the store refuses a batch; its messages are stored one by one");
    let mut all = Committed::default();
    for message in &batch.messages {
        let one = match store.commit(std::slice::from_ref(message), unix_ms()) {
            Err(error) if !error.is_passing() => store.commit(&[refused(message, &error)], unix_ms())?,
            done => done?,
        };
        all.stored += one.stored;
        all.repeated += one.repeated;
        all.set_aside += one.set_aside;
        for (key, refused) in one.refused {
            let of = all.refused.entry(key).or_default();
            of.messages += refused.messages;
            of.bytes += refused.bytes;
        }
        all.conflicts.extend(one.conflicts);
        // A later receipt of the same spool replaces an earlier one on its way out.
        all.receipts.extend(one.receipts);
    }
    Ok(all)
}

/// What is kept of a message that the store refuses.
fn refused(message: &Message, error: &StoreError) -> Message {
    let reason = format!("the store refuses it: {error}");
    match message {
        Message::Record(record) => {
            let mut record = record.clone();
            record.content = Some(crate::store::Content::Unreadable { reason });
            record.parts = 1;
            record.part = 0;
            record.command = None;
            Message::Record(record)
        }
        Message::Poison(poison) => Message::Poison(Poison { reason, ..poison.clone() }),
        Message::State(device, _) | Message::Status(device, _) => {
            let topic = Topic::device(device, DeviceTopic::State).to_string();
            Message::Poison(Poison::new(&topic, &reason, None, &[]))
        }
        Message::Info(info) => {
            let topic = Topic::device(&info.device, DeviceTopic::Info).to_string();
            Message::Poison(Poison::new(&topic, &reason, None, &[]))
        }
        Message::Refused(..) => message.clone(),
    }
}
