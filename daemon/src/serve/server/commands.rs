//! The running command: its child, its progress, and what its end amounts to.

use super::Server;
use crate::operation::{OperationStep, Order, Unable, models};
use crate::placement::{Placement, confine_this_process};
use crate::serve::execution::{ChildExit, Execution};
use crate::serve::{messages, runs};
use crate::session::{CommandOutcome, SessionEvent, Stop};
use clipmark_profile::message::{Progress, Reason, ReasonCode};
use clipmark_profile::topics::CommandId;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

impl Server {
    /// Starts the child of a command, or tells how the command ends without one.
    pub(super) fn execute(&mut self, command: &CommandId, attempt: u32) -> Result<(), Unable> {
        let task = self.session.command(command).and_then(|command| command.task.clone());
        let task = task.ok_or_else(|| {
            let message = "the stored command has no task; send it again with a new id".into();
            Unable::Failed(Reason { code: ReasonCode::Storage, message })
        })?;
        let dir = &self.config.models.dir;
        let names = task.run.iter().flat_map(|request| &request.models);
        let resolved = names.map(|name| models::resolve(name, dir).map(|model| model.argument()));
        let order = Order {
            models: resolved.collect::<Result<_, _>>().map_err(Unable::Refused)?,
            task,
            models_dir: dir.clone(),
            limits: self.limits(),
            series: self.config.spool.series,
            placement: self.place(),
            origin: format!("MQTT command {command}"),
        };
        tracing::info!(%command, attempt, operation = %order.task.operation, "a command starts");
        let work_dir = runs::dir_of(&self.config.device.state_dir, command);
        let grace = Duration::from_secs(self.config.run.stop_grace_s.into());
        let execution = Execution::start(command.clone(), work_dir, &order, grace);
        self.execution = Some(execution.map_err(Unable::Failed)?);
        self.progress_due = Instant::now();
        Ok(())
    }

    /// Where the next command's measured processes run; the daemon itself moves out of their way.
    fn place(&self) -> Placement {
        let mut made = Placement::make(&self.config.worker, &self.allowed);
        if let Err(error) = confine_this_process(&made.others(&self.allowed)) {
            made.warnings.push(format!(
                "clipmark itself may run on the measured CPUs, it cannot be kept off them: {error}"
            ));
        }
        for (name, cause) in &made.absent {
            tracing::warn!("{name} is not to be had: {cause}");
        }
        made
    }

    pub(super) fn progress(&mut self, step: OperationStep) {
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
        if let Ok(message) = messages::progress(&self.device, &progress) {
            self.delivery.publish_progress(message);
        }
    }

    pub(super) fn ended(&mut self, ending: ChildExit) {
        let Some(execution) = self.execution.take() else { return };
        let command = execution.command;
        let outcome = self.outcome(&command, &execution.dir, ending);
        tracing::info!(%command, ?outcome, "a command ended");
        self.delivery.look_for_room();
        self.dispatch(SessionEvent::Finished { command, outcome });
        let session = &self.session;
        let is_over =
            |id: &CommandId| session.command(id).is_none_or(|command| command.status.state.is_final());
        runs::tidy(&self.config.device.state_dir, self.config.run.keep as usize, is_over);
    }

    /// What an end amounts to. Results are in the spool, synced, before anything is called successful.
    fn outcome(&mut self, command: &CommandId, dir: &Path, ending: ChildExit) -> CommandOutcome {
        let done = match (ending.answer, ending.ordered) {
            (Some(Ok(done)), _) => done,
            (Some(Err(unable)), _) => return unable.into(),
            (None, Some(Stop::Checkpoint)) => return CommandOutcome::Checkpointed,
            (None, Some(Stop::GiveUp)) => return CommandOutcome::Stopped { records: None },
            (None, None) => return CommandOutcome::Failed(ending.otherwise),
        };
        let now = self.clock.now().unix_ms;
        let records = match runs::spool_outputs(&mut self.delivery.spool, command, dir, &done.outputs, now) {
            Ok(records) => records.map(|records| (self.delivery.spool.epoch(), records)),
            Err(error) => {
                let message = format!(
                    "it was carried out, but the result did not reach the spool: {error}; the evidence is in {}",
                    dir.display()
                );
                tracing::error!(%command, message);
                return CommandOutcome::Failed(Reason { code: ReasonCode::Storage, message });
            }
        };
        match done.is_partial {
            true => CommandOutcome::Stopped { records },
            false => CommandOutcome::Successful { records, result: done.result },
        }
    }
}
