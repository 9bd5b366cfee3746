//! One line a device: how far a command is, as bars on a terminal and as plain lines elsewhere.

use crate::config::Config;
use crate::exit_codes::CommandError;
use crate::ingest::{Inbound, read};
use crate::operator::{Ask, Operator, OperatorError};
use crate::printed::broker_failed;
use crate::store::Message as Stored;
use clipmark_profile::message::{CommandState, CommandStatus, Progress};
use clipmark_profile::text::clean;
use clipmark_profile::topics::every_device_filter;
use clipmark_profile::topics::{CommandId, DeviceId};
use clipmark_service::mqtt::Received;
use clipmark_service::mqtt::Verdict;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Longest text that is shown of what a device said.
const SAID: usize = 500;

struct BoardProgress {
    bar: ProgressBar,
    state: Option<CommandState>,
    told: String,
}

/// The devices that a command went to.
pub(crate) struct Board {
    command: CommandId,
    bars: MultiProgress,
    lines: BTreeMap<DeviceId, BoardProgress>,
    is_shown: bool,
    is_terminal: bool,
}

/// What a state is called.
pub(super) const fn name(state: CommandState) -> &'static str {
    match state {
        CommandState::Init => "waiting",
        CommandState::Executing => "running",
        CommandState::Successful => "successful",
        CommandState::Failed => "failed",
        CommandState::Canceled => "canceled",
        CommandState::Rejected => "rejected",
        CommandState::TimedOut => "timed out",
    }
}

/// A status in one line.
pub(crate) fn status_line(status: &CommandStatus) -> String {
    match &status.reason {
        Some(reason) => format!("{}: {}", name(status.state), reason.message),
        None => name(status.state).to_owned(),
    }
}

/// A progress message in one line.
pub(super) fn progress_line(progress: &Progress) -> String {
    let label = progress.label.as_deref().unwrap_or_default();
    let hottest = progress.temperatures.iter().map(|reading| reading.millicelsius.get()).max();
    let heat = hottest.map_or(String::new(), |hottest| format!(", {} \u{b0}C", hottest / 1000));
    format!("{} {label}{heat}", progress.phase)
}

impl Board {
    pub(super) fn new(command: CommandId, is_shown: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { command, bars: MultiProgress::new(), lines: BTreeMap::new(), is_shown, is_terminal }
    }

    pub(super) fn add(&mut self, device: &DeviceId) {
        let bar = if self.is_shown && self.is_terminal {
            let bar = self.bars.add(ProgressBar::new(1));
            let style = ProgressStyle::with_template("{prefix:24} {bar:24} {pos:>4}/{len:4} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(device.to_string());
            bar
        } else {
            ProgressBar::hidden()
        };
        self.lines.insert(device.clone(), BoardProgress { bar, state: None, told: String::new() });
        self.tell(device, "asked");
    }

    /// The device will not take the request.
    pub(super) fn lost(&mut self, device: &DeviceId, why: &str) {
        self.add(device);
        self.set(device, CommandState::Rejected);
        self.tell(device, why);
    }

    pub(super) fn give_up(&mut self, why: &str) {
        let waiting: Vec<DeviceId> =
            self.lines.iter().filter(|(_, line)| line.state.is_none()).map(|(d, _)| d.clone()).collect();
        for device in waiting {
            self.set(&device, CommandState::TimedOut);
            self.tell(&device, why);
        }
    }

    fn set(&mut self, device: &DeviceId, state: CommandState) {
        if let Some(line) = self.lines.get_mut(device) {
            line.state = Some(state);
        }
    }

    fn tell(&mut self, device: &DeviceId, text: &str) {
        let Some(line) = self.lines.get_mut(device) else { return };
        let text = &clean(text, SAID);
        if line.told == *text {
            return;
        }
        line.told.clone_from(text);
        line.bar.set_message(text.clone());
        if self.is_shown && !self.is_terminal {
            // For whoever watches; a log that is full does not end the waiting.
            let _ = writeln!(std::io::stderr(), "{device}: {text}");
        }
    }

    /// Takes a status or a progress message of the command.
    pub(super) fn take(&mut self, received: &Received) {
        match read(&received.topic, &received.payload, received.content_type.as_deref()) {
            Inbound::Store(Stored::Status(device, status)) if status.command == self.command => {
                self.set(&device, status.state);
                self.tell(&device, &status_line(&status));
                if status.state.is_final()
                    && let Some(line) = self.lines.get(&device)
                {
                    line.bar.abandon();
                }
            }
            Inbound::Progress(device, progress) if progress.command == self.command => {
                if let (Some(line), Some(point), Some(points)) =
                    (self.lines.get(&device), progress.point, progress.points)
                {
                    line.bar.set_length(points.into());
                    line.bar.set_position(point.into());
                }
                self.tell(&device, &progress_line(&progress));
            }
            _ => {}
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.lines.values().all(|line| line.state.is_some_and(CommandState::is_final))
    }

    /// Whether any device ended otherwise than successfully.
    pub(crate) fn has_failures(&self) -> bool {
        let failed = |state: CommandState| state.is_final() && state != CommandState::Successful;
        self.lines.values().any(|line| line.state.is_some_and(failed))
    }

    pub(super) fn finish(&self) {
        for line in self.lines.values() {
            line.bar.abandon();
        }
    }
}

/// Asks `devices`, and with `too_late` shows how far they are until all are done, or until it says that those
/// which have not begun never will.
pub(crate) fn asked(
    config: &Config,
    ask: &Ask,
    devices: &[DeviceId],
    too_late: Option<&dyn Fn() -> bool>,
) -> Result<Board, CommandError> {
    let broker = broker_failed(config);
    let status = format!("cmd/{}/{}/status", ask.operation, ask.command);
    let filters = vec![every_device_filter(&status), every_device_filter("progress")];
    let filters = if too_late.is_some() { filters } else { Vec::new() };
    let mut operator = Operator::connect(config, filters).map_err(&broker)?;
    let mut board = Board::new(ask.command.clone(), too_late.is_some());
    for device in devices {
        match operator.publish(ask.to(device)).map_err(&broker)? {
            Verdict::Accepted => board.add(device),
            Verdict::NobodyListens => {
                board.lost(
                    device,
                    "the broker keeps no session for it: it has never connected, or too long ago",
                );
            }
            Verdict::Refused(reason) => {
                board.lost(device, &format!("the broker refuses the request: {reason}"));
            }
            Verdict::TooLarge { size } => {
                board.lost(
                    device,
                    &format!("the request's {size} bytes are more than the broker takes in one message"),
                );
            }
        }
    }
    if let Some(too_late) = too_late {
        follow(&mut operator, &mut board, too_late, &broker)?;
    }
    Ok(board)
}

fn follow(
    operator: &mut Operator,
    board: &mut Board,
    too_late: &dyn Fn() -> bool,
    broker: &dyn Fn(OperatorError) -> CommandError,
) -> Result<(), CommandError> {
    while !board.is_done() {
        let received = operator.receive(Duration::from_millis(500)).map_err(broker)?;
        if let Some(received) = received {
            board.take(&received);
        }
        if too_late() {
            board.give_up("it has not begun before the deadline");
        }
    }
    board.finish();
    Ok(())
}
