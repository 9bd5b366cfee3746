//! Operations as child processes of the daemon: what it asks of them and what they answer.
//!
//! Whatever touches backends, models or sensors happens in a child, so that a crash there costs one command
//! and an idle daemon stays small. The child reads [`Order`] from `order.json` in its directory, writes
//! one [`ChildMessage`] of JSON per message to standard output, leaves results as files in the directory, and dies
//! with the daemon. The two ends are the same binary, so this protocol has no versions.

mod carry_out;
mod describe;
pub mod models;
mod readings;
mod running;

pub(crate) use carry_out::OUTPUTS;
pub use carry_out::{CarryOutError, carry_out, describe_device};
pub use describe::Description;

use crate::config::SeriesPolicy;
use crate::placement::Placement;
use crate::session::{CommandOutcome, Task};
use clipmark_profile::message::{OperationResult, Reason, Temperature};
use clipmark_profile::plan::Limits;
use clipmark_profile::topics::UpKind;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The file that holds the order.
pub const ORDER: &str = "order.json";

/// What a child is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The task as requested.
    pub task: Task,
    /// For a run: each model of the request as the benchmark takes it, a built-in's name or a path.
    pub models: Vec<String>,
    /// The model directory.
    pub models_dir: PathBuf,
    /// Caps on the request, those included that hold only once its models are known.
    pub limits: Limits,
    /// Which series are results.
    pub series: SeriesPolicy,
    /// Where measured processes run. The daemon has moved out of their way, and its children with it.
    pub placement: Placement,
    /// Where the request came from, for the record.
    pub origin: String,
}

/// One line from a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildMessage {
    /// How far it is.
    Step(OperationStep),
    /// It is done. The last line.
    Done(Done),
    /// It was tried and could not be done. The last line.
    Failed(Reason),
    /// It was not even tried: the request cannot be carried out as it is. The last line.
    Refused(Reason),
}

/// Why an operation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unable {
    /// The request cannot be carried out as it is; nothing was tried.
    Refused(Reason),
    /// It was tried.
    Failed(Reason),
}

impl From<Unable> for CommandOutcome {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Refused(reason) => Self::Rejected(reason),
            Unable::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStep {
    /// What is being done.
    pub phase: String,
    /// The point being worked on, from 1.
    pub point: Option<u32>,
    /// Points in the plan.
    pub points: Option<u32>,
    /// Which point that is.
    pub label: Option<String>,
    /// Temperatures.
    pub temperatures: Vec<Temperature>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Results that are part of the status.
    pub result: Option<OperationResult>,
    /// Results to be spooled, in this order.
    pub outputs: Vec<Output>,
    /// Whether it was told to give up and these are partial results.
    pub is_partial: bool,
}

/// One result file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// What it is.
    pub kind: UpKind,
    /// Its name in the child's directory.
    pub file: String,
}

impl From<Unable> for ChildMessage {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Refused(reason) => Self::Refused(reason),
            Unable::Failed(reason) => Self::Failed(reason),
        }
    }
}
