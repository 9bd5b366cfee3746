use super::*;
use clipmark_profile::plan::Request;
use clipmark_profile::topics::Operation;
use proptest::prelude::*;

const RULES: Rules = Rules {
    queue: 2,
    attempts: 3,
    longest: Nanos::from_secs(100),
    remembered: 1000,
    past: PastBounds { longest_ms: u64::MAX, bytes: 1 << 20 },
};
const EPOCH: Epoch = Epoch(1);

fn now(seconds: u64) -> Now {
    Now { monotonic: Nanos::from_secs(seconds), unix_ms: seconds * 1000 }
}

fn id(number: u8) -> CommandId {
    format!("c{number}").parse().unwrap()
}

fn incoming(number: u8) -> Incoming {
    let run = Some(Box::new(Request::default()));
    Incoming {
        command: id(number),
        operation: Operation::Run.into(),
        task: Ok(Task { operation: Operation::Run, run }),
        reply: None,
        expires_in_ms: None,
    }
}

fn requested(number: u8) -> SessionEvent {
    SessionEvent::Requested(Box::new(incoming(number)))
}

fn cancel(number: u8) -> SessionEvent {
    SessionEvent::CancelRequested { command: id(number), operation: Operation::Run.into() }
}

fn finished(number: u8, outcome: CommandOutcome) -> SessionEvent {
    SessionEvent::Finished { command: id(number), outcome }
}

fn success() -> CommandOutcome {
    CommandOutcome::Successful { records: None, result: None }
}

fn fresh() -> Session {
    Session::restore(RULES, Vec::new(), |_| None, now(0)).0
}

fn state(session: &Session, number: u8) -> CommandState {
    session.command(&id(number)).unwrap().status.state
}

fn code(session: &Session, number: u8) -> ReasonCode {
    session.command(&id(number)).unwrap().status.reason.as_ref().unwrap().code
}

/// What a crash leaves: the commands as they are in memory.
fn restarted(session: &Session) -> (Session, Vec<Action>) {
    let stored = session.commands.values().cloned().collect();
    Session::restore(RULES, stored, |_| None, now(50))
}

#[test]
fn a_request_is_stored_and_told_before_it_starts() {
    let mut session = fresh();
    let actions = session.step(now(1), requested(1));
    let expected = [
        Action::Store(id(1)),
        Action::Publish(id(1)),
        Action::PublishState,
        Action::Start { command: id(1), attempt: 1 },
    ];
    assert_eq!(actions, expected);
    assert_eq!(state(&session, 1), CommandState::Executing);
}

#[test]
fn one_runs_the_queue_is_bounded_and_the_rest_is_refused_with_the_reason() {
    let mut session = fresh();
    for number in 1..=4 {
        session.step(now(1), requested(number));
    }
    assert_eq!(session.running(), Some(&id(1)));
    assert_eq!(session.waiting(), 2);
    assert_eq!(session.command(&id(3)).unwrap().status.queued_behind, Some(2));
    assert_eq!((state(&session, 4), code(&session, 4)), (CommandState::Rejected, ReasonCode::QueueFull));
    let actions = session.step(now(2), finished(1, success()));
    assert!(actions.contains(&Action::Start { command: id(2), attempt: 1 }));
    assert_eq!(state(&session, 1), CommandState::Successful);
}

#[test]
fn a_repeated_request_only_publishes_the_status_again() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    assert_eq!(session.step(now(2), requested(1)), [Action::Publish(id(1))]);
    session.step(now(3), finished(1, success()));
    assert_eq!(session.step(now(4), requested(1)), [Action::Publish(id(1))]);
    let (mut session, _) = restarted(&session);
    assert_eq!(session.step(now(60), requested(1)), [Action::Publish(id(1))]);
}

#[test]
fn a_cancel_ends_what_waits_at_once_and_what_runs_when_it_has_stopped() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    session.step(now(1), requested(2));
    session.step(now(2), cancel(2));
    assert_eq!(state(&session, 2), CommandState::Canceled);
    let stop = Action::Stop { command: id(1), how: Stop::GiveUp };
    assert_eq!(session.step(now(2), cancel(1)), std::slice::from_ref(&stop));
    assert_eq!(session.step(now(2), cancel(1)), []);
    assert_eq!(state(&session, 1), CommandState::Executing);
    session.step(now(3), finished(1, CommandOutcome::Stopped { records: None }));
    assert_eq!(
        (state(&session, 1), code(&session, 1)),
        (CommandState::Canceled, ReasonCode::CancelRequested)
    );
}

#[test]
fn a_cancel_that_overtakes_its_request_holds() {
    let mut session = fresh();
    session.step(now(1), cancel(1));
    assert_eq!(session.step(now(2), requested(1)), [Action::Publish(id(1))]);
    assert_eq!(state(&session, 1), CommandState::Canceled);
}

#[test]
fn a_run_that_ends_before_the_cancel_takes_hold_is_successful() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    session.step(now(2), cancel(1));
    session.step(now(2), finished(1, success()));
    assert_eq!(state(&session, 1), CommandState::Successful);
}

#[test]
fn a_request_that_turns_out_to_be_wrong_is_rejected_unless_it_was_cancelled_before() {
    let wrong = || CommandOutcome::Rejected(reason(ReasonCode::DigestMismatch, "another file"));
    let mut session = fresh();
    session.step(now(1), requested(1));
    session.step(now(2), finished(1, wrong()));
    assert_eq!((state(&session, 1), code(&session, 1)), (CommandState::Rejected, ReasonCode::DigestMismatch));
    session.step(now(3), requested(2));
    session.step(now(4), cancel(2));
    session.step(now(5), finished(2, wrong()));
    assert_eq!(state(&session, 2), CommandState::Canceled);
}

#[test]
fn time_limits_end_what_waits_and_what_runs() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    let late = Incoming { expires_in_ms: Some(5000), ..incoming(2) };
    session.step(now(1), SessionEvent::Requested(Box::new(late)));
    assert_eq!(session.next_deadline(), Some(Nanos::from_secs(6)));
    session.step(now(6), SessionEvent::Tick);
    assert_eq!((state(&session, 2), code(&session, 2)), (CommandState::TimedOut, ReasonCode::Expired));
    assert_eq!(session.next_deadline(), Some(Nanos::from_secs(101)));
    let stop = Action::Stop { command: id(1), how: Stop::GiveUp };
    assert_eq!(session.step(now(101), SessionEvent::Tick), [stop]);
    session.step(now(102), finished(1, CommandOutcome::Stopped { records: None }));
    assert_eq!((state(&session, 1), code(&session, 1)), (CommandState::TimedOut, ReasonCode::TooLong));
}

#[test]
fn a_stop_of_the_daemon_checkpoints_and_the_restart_resumes_first() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    session.step(now(1), requested(2));
    let stop = Action::Stop { command: id(1), how: Stop::Checkpoint };
    assert_eq!(session.step(now(2), SessionEvent::Stopping), [stop]);
    session.step(now(3), finished(1, CommandOutcome::Checkpointed));
    assert_eq!(session.running(), None);
    let (session, actions) = restarted(&session);
    assert!(actions.contains(&Action::Start { command: id(1), attempt: 2 }));
    assert_eq!((session.waiting(), session.command(&id(1)).unwrap().unclean_starts), (1, 1));
}

#[test]
fn a_command_that_keeps_killing_the_daemon_is_given_up() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    for attempt in 2..=3 {
        let (after, actions) = restarted(&session);
        assert!(actions.contains(&Action::Start { command: id(1), attempt }));
        session = after;
    }
    let (session, actions) = restarted(&session);
    assert!(!actions.iter().any(|action| matches!(action, Action::Start { .. })));
    assert_eq!((state(&session, 1), code(&session, 1)), (CommandState::Failed, ReasonCode::Interrupted));
}

#[test]
fn a_result_that_is_already_spooled_is_not_measured_again() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    let stored = session.commands.values().cloned().collect();
    let records = SequenceRange { first: 4, last: 5 };
    let (session, actions) = Session::restore(RULES, stored, |_| Some((EPOCH, records)), now(9));
    assert!(actions.contains(&Action::Publish(id(1))));
    assert!(!actions.iter().any(|action| matches!(action, Action::Start { .. })));
    let status = &session.command(&id(1)).unwrap().status;
    assert_eq!((status.state, status.records), (CommandState::Successful, Some(records)));
}

#[test]
fn finals_are_published_again_after_a_restart_until_the_broker_has_them() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    session.step(now(2), finished(1, success()));
    let (mut session, actions) = restarted(&session);
    assert_eq!(actions, [Action::Publish(id(1))]);
    assert_eq!(session.step(now(51), SessionEvent::Delivered(id(1))), [Action::Store(id(1))]);
    assert_eq!(restarted(&session).1, []);
}

#[test]
fn no_room_and_a_pause_refuse_runs_and_nothing_else() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    session.step(now(1), requested(2));
    session.step(now(1), SessionEvent::Room(Some("full".into())));
    session.step(now(1), requested(3));
    assert_eq!((state(&session, 3), code(&session, 3)), (CommandState::Rejected, ReasonCode::SpoolFull));
    let probe = Task { operation: Operation::Probe, run: None };
    let probe = Incoming { task: Ok(probe), operation: Operation::Probe.into(), ..incoming(4) };
    session.step(now(1), SessionEvent::Requested(Box::new(probe)));
    assert_eq!(state(&session, 4), CommandState::Init);
    // What waited when the room was used up is refused in its turn.
    session.step(now(2), finished(1, success()));
    assert_eq!((state(&session, 2), state(&session, 4)), (CommandState::Rejected, CommandState::Executing));
    session.step(now(3), SessionEvent::Room(None));
    session.step(now(3), SessionEvent::Paused(true));
    session.step(now(3), requested(5));
    assert_eq!((state(&session, 5), code(&session, 5)), (CommandState::Rejected, ReasonCode::Paused));
}

#[test]
fn what_cannot_be_stored_does_not_start_and_is_stored_later() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    let failed = SessionEvent::StoreFailed { command: id(1), message: "no space".into() };
    assert_eq!(session.step(now(1), failed), [Action::Publish(id(1)), Action::PublishState]);
    assert_eq!((state(&session, 1), code(&session, 1)), (CommandState::Failed, ReasonCode::Storage));
    assert_eq!(session.running(), None);
    assert_eq!(session.next_deadline(), Some(Nanos::from_secs(11)));
    assert_eq!(session.step(now(11), SessionEvent::Tick), [Action::Store(id(1))]);
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn only_so_many_finals_are_remembered_whole_and_the_others_are_not_carried_out_again() {
    let rules = Rules { remembered: 2, ..RULES };
    let (mut session, _) = Session::restore(rules, Vec::new(), |_| None, now(0));
    for number in 1..=3 {
        session.step(now(1), requested(number));
        let actions = session.step(now(2), finished(number, success()));
        assert_eq!(actions.contains(&Action::Archive(id(1))), number == 3);
    }
    assert!(session.command(&id(1)).is_none());
    assert_eq!(session.recent(9).collect::<Vec<_>>(), [&id(3), &id(2)]);
    // Also after a start with what was archived.
    let past: Vec<PastCommand> = session.past().cloned().collect();
    let (mut session, _) = Session::restore(rules, Vec::new(), |_| None, now(3));
    session.remember(past, now(3));
    assert_eq!(session.step(now(4), requested(1)), [Action::Publish(id(1))]);
    assert_eq!(state(&session, 1), CommandState::Successful);
    assert_eq!(session.step(now(4), cancel(1)), [Action::Publish(id(1))]);
}

#[test]
fn refused_commands_displace_none_that_was_carried_out() {
    let rules = Rules { remembered: 2, past: PastBounds { longest_ms: 0, bytes: 0 }, ..RULES };
    let (mut session, _) = Session::restore(rules, Vec::new(), |_| None, now(0));
    session.step(now(1), requested(1));
    session.step(now(2), finished(1, success()));
    for number in 10..30 {
        let task = Err(reason(ReasonCode::BadRequest, "unknown field"));
        session.step(now(3), SessionEvent::Requested(Box::new(Incoming { task, ..incoming(number) })));
        session.step(now(3), cancel(number + 100));
    }
    assert_eq!(session.commands.len(), 3);
    assert_eq!(session.step(now(4), requested(1)), [Action::Publish(id(1))]);
}

#[test]
fn past_commands_are_bounded_by_time_and_by_bytes() {
    const DAY: u64 = 24 * 3600;
    // In 2026, as a board's clock has it.
    const TODAY: u64 = 1_780_000_000;
    let carried_out = |past: PastBounds, at: &[u64]| -> Vec<String> {
        let (mut session, _) =
            Session::restore(Rules { remembered: 0, past, ..RULES }, Vec::new(), |_| None, now(0));
        for (number, seconds) in (1..).zip(at) {
            session.step(now(*seconds), requested(number));
            session.step(now(*seconds), finished(number, success()));
        }
        session.past().map(|past| past.command.to_string()).collect()
    };
    let by_bytes = PastBounds { longest_ms: u64::MAX, bytes: 400 };
    assert_eq!(carried_out(by_bytes, &[TODAY; 9]), ["c8", "c9"]);
    let by_time = PastBounds { longest_ms: 2 * DAY * 1000, bytes: 1 << 20 };
    assert_eq!(carried_out(by_time, &[TODAY, TODAY + DAY, TODAY + 3 * DAY]), ["c2", "c3"]);
    // A clock that was not set says nothing of an age.
    assert_eq!(carried_out(by_time, &[5, TODAY, TODAY + DAY]), ["c1", "c2", "c3"]);
}

#[test]
fn a_status_names_its_results_where_they_are_now() {
    let mut session = fresh();
    session.step(now(1), requested(1));
    let records = SequenceRange { first: 4, last: 5 };
    session.step(
        now(2),
        finished(1, CommandOutcome::Successful { records: Some((EPOCH, records)), result: None }),
    );
    session.step(now(2), SessionEvent::Delivered(id(1)));
    assert_eq!(session.with_records_outside(Epoch(2)).collect::<Vec<_>>(), [&id(1)]);
    let records = SequenceRange { first: 1, last: 2 };
    let moved = SessionEvent::Moved { command: id(1), epoch: Epoch(2), records };
    assert_eq!(session.step(now(3), moved), [Action::Store(id(1)), Action::Publish(id(1))]);
    let status = &session.command(&id(1)).unwrap().status;
    assert_eq!(
        (status.state, status.epoch, status.records),
        (CommandState::Successful, Some(Epoch(2)), Some(records))
    );
    assert_eq!(session.with_records_outside(Epoch(2)).count(), 0);
    assert_eq!(session.step(now(4), SessionEvent::Delivered(id(1))), [Action::Store(id(1))]);
}

/// A made-up world around a session: a disk, a spool, a broker and an executor, all of which can fail.
struct World {
    session: Session,
    seconds: u64,
    disk: BTreeMap<CommandId, QueuedCommand>,
    /// How often each command put a result into the spool.
    spool: BTreeMap<CommandId, u32>,
    /// What waits to be published; lost in a crash.
    outbox: BTreeMap<CommandId, CommandState>,
    /// Every distinct final state that the broker was told.
    finals: BTreeMap<CommandId, Vec<CommandState>>,
    executing: Option<CommandId>,
    connected: bool,
}

#[derive(Debug, Clone)]
enum Happening {
    Request(u8),
    RequestExpiring(u8),
    Unacceptable(u8),
    Cancel(u8),
    Succeed,
    /// The result reaches the spool and the daemon dies before it notes that.
    SucceedAndDie,
    Fail,
    Wait(u64),
    Connect(bool),
    /// The daemon dies after so many of the next event's actions.
    DieDuring(u8, usize),
    StopAndRestart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..6_u8).prop_map(Happening::Request),
        1 => (0..6_u8).prop_map(Happening::RequestExpiring),
        1 => (0..6_u8).prop_map(Happening::Unacceptable),
        2 => (0..6_u8).prop_map(Happening::Cancel),
        4 => Just(Happening::Succeed),
        1 => Just(Happening::SucceedAndDie),
        1 => Just(Happening::Fail),
        2 => (1..60_u64).prop_map(Happening::Wait),
        2 => any::<bool>().prop_map(Happening::Connect),
        3 => (0..6_u8, 0..6_usize).prop_map(|(number, actions)| Happening::DieDuring(number, actions)),
        1 => Just(Happening::StopAndRestart),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            session: fresh(),
            seconds: 0,
            disk: BTreeMap::new(),
            spool: BTreeMap::new(),
            outbox: BTreeMap::new(),
            finals: BTreeMap::new(),
            executing: None,
            connected: true,
        }
    }

    fn step(&mut self, event: SessionEvent) {
        let actions = self.session.step(now(self.seconds), event);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Store(id) => {
                    self.disk.insert(id.clone(), self.session.command(&id).unwrap().clone());
                }
                Action::Forget(id) | Action::Archive(id) => drop(self.disk.remove(&id)),
                Action::Publish(id) => {
                    let status = &self.session.command(&id).unwrap().status;
                    assert_eq!(
                        Some(status),
                        self.disk.get(&id).map(|command| &command.status),
                        "told before stored"
                    );
                    self.outbox.insert(id, status.state);
                }
                Action::PublishState => {}
                Action::Start { command, .. } => {
                    assert_eq!(self.executing.replace(command.clone()), None, "two runs at once");
                    assert_eq!(self.disk[&command].status.state, CommandState::Executing);
                    assert!(!self.finals.contains_key(&command), "started after its end");
                }
                Action::Stop { how: Stop::GiveUp, command } => {
                    if self.executing.take().is_some() {
                        self.step(SessionEvent::Finished {
                            command,
                            outcome: CommandOutcome::Stopped { records: None },
                        });
                    }
                }
                Action::Stop { how: Stop::Checkpoint, command } => {
                    self.executing = None;
                    self.step(SessionEvent::Finished { command, outcome: CommandOutcome::Checkpointed });
                }
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.connected {
            return;
        }
        for (id, state) in std::mem::take(&mut self.outbox) {
            if state.is_final() {
                let told = self.finals.entry(id.clone()).or_default();
                if !told.contains(&state) {
                    told.push(state);
                }
                self.step(SessionEvent::Delivered(id));
            }
        }
    }

    fn restart(&mut self) {
        self.executing = None;
        self.outbox.clear();
        let stored = self.disk.values().cloned().collect();
        let spool = &self.spool;
        let spooled =
            |id: &CommandId| spool.contains_key(id).then_some((EPOCH, SequenceRange { first: 1, last: 1 }));
        let (session, actions) = Session::restore(RULES, stored, spooled, now(self.seconds));
        self.session = session;
        self.carry_out(actions);
    }

    fn succeed(&mut self, dies: bool) {
        let Some(command) = self.executing.take() else { return };
        *self.spool.entry(command.clone()).or_default() += 1;
        if dies {
            return self.restart();
        }
        self.step(SessionEvent::Finished { command, outcome: success() });
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Request(number) => self.step(requested(number)),
            Happening::RequestExpiring(number) => {
                let expires_in_ms = Some(20_000);
                self.step(SessionEvent::Requested(Box::new(Incoming { expires_in_ms, ..incoming(number) })));
            }
            Happening::Unacceptable(number) => {
                let task = Err(reason(ReasonCode::BadRequest, "unknown field"));
                self.step(SessionEvent::Requested(Box::new(Incoming { task, ..incoming(number) })));
            }
            Happening::Cancel(number) => self.step(cancel(number)),
            Happening::Succeed => self.succeed(false),
            Happening::SucceedAndDie => self.succeed(true),
            Happening::Fail => {
                let Some(command) = self.executing.take() else { return };
                let outcome = CommandOutcome::Failed(reason(ReasonCode::RunFailed, "exit code 3"));
                self.step(SessionEvent::Finished { command, outcome });
            }
            Happening::Wait(seconds) => {
                self.seconds += seconds;
                self.step(SessionEvent::Tick);
            }
            Happening::Connect(connected) => {
                self.connected = connected;
                self.flush();
            }
            Happening::DieDuring(number, done) => {
                let mut actions = self.session.step(now(self.seconds), requested(number));
                actions.truncate(done);
                self.carry_out(actions);
                self.restart();
            }
            Happening::StopAndRestart => {
                self.step(SessionEvent::Stopping);
                self.restart();
            }
        }
        let doubly = self.spool.iter().find(|(_, results)| **results > 1);
        assert_eq!(doubly, None, "measured twice");
    }
}

proptest! {
    #[test]
    fn every_command_ends_in_exactly_one_final_status(happenings in prop::collection::vec(happening(), 0..60)) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
        }
        world.happen(Happening::Connect(true));
        for _ in 0..20 {
            world.happen(Happening::Succeed);
        }
        prop_assert_eq!(world.session.running(), None);
        for (id, command) in &world.disk {
            let told = world.finals.get(id);
            prop_assert_eq!(told, Some(&vec![command.status.state]), "{}", id);
            prop_assert!(command.status.state.is_final() && command.delivered);
            let has_reason = command.status.reason.is_some();
            prop_assert_eq!(has_reason, command.status.state != CommandState::Successful);
        }
        prop_assert_eq!(world.finals.len(), world.disk.len());
    }
}
