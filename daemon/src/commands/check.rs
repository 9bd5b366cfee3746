//! `clipmarkd check`: what a good measurement needs on this machine, and how each gap is mended.

use crate::boundary;
use crate::commands::probe::BoardArgs;
use crate::commands::selftest;
use crate::commands::{RUNTIMES, print};
use crate::commands::{broker_check, drop_in};
use crate::config::{DEFAULT_MODELS, DEFAULT_PATH};
use crate::exit_codes::{CommandError, ExitCode};
use crate::preflight::{Requirement, Standing, requirements};
use crate::worker::examine::examine_backends;
use clipmark_probes::environment;
use clipmark_probes::registry::Sensors;
use std::fmt::Write as _;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  clipmarkd check                             what is missing here, with the command that mends it
  clipmarkd check --selftest                  TensorRT's outputs against tract's, on the model joint
  sudo clipmarkd check --drop-in --install    what the systemd unit needs on this board";

/// Arguments of `clipmarkd check`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{RUNTIMES}"))]
pub struct CheckArgs {
    #[command(flatten)]
    board: BoardArgs,
    /// Directory of the models that requests name
    #[arg(long, default_value = DEFAULT_MODELS, value_name = "DIR")]
    models: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Instead: hold TensorRT's outputs against tract and its compute time against trtexec, on this model
    #[arg(long, conflicts_with = "json", value_name = "MODEL.onnx", num_args = 0..=1, default_missing_value = "joint")]
    selftest: Option<String>,
    /// Instead: print the drop-ins that the systemd unit needs on this machine, and why
    #[arg(long, conflicts_with_all = ["json", "selftest"])]
    drop_in: bool,
    /// Write them below /etc/systemd/system (root)
    #[arg(long, requires = "drop_in")]
    install: bool,
    /// The daemon's configuration: it names the credentials, and the broker that is asked who may use which client id
    #[arg(long, default_value = DEFAULT_PATH, value_name = "FILE")]
    config: PathBuf,
    /// The self-test in this process
    #[arg(long, hide = true)]
    selftest_here: Option<String>,
}

impl CheckArgs {
    /// Prints every requirement; [`ExitCode::CheckFailed`] when nothing could be measured.
    ///
    /// # Errors
    /// When the root cannot be opened.
    pub fn execute(&self) -> Result<ExitCode, CommandError> {
        if let Some(model) = &self.selftest_here {
            return selftest::here(model);
        }
        if let Some(model) = &self.selftest {
            return selftest::in_a_child(model);
        }
        let (root, boards) = self.board.open()?;
        let sensors = Sensors::discover(&root, &boards);
        if self.drop_in {
            return drop_in::execute(&sensors, &self.board.root, &self.config, self.install);
        }
        let found = environment::read(&root, &sensors.board, env!("CARGO_PKG_VERSION"));
        let mut list = requirements(&root, &sensors, &found, &examine_backends(), &self.models);
        list.extend(boundary::requirements());
        list.extend(broker_check::requirement(&self.config));
        print(&if self.json { to_json(&list)? } else { to_text(&list) })?;
        let missed = list.iter().any(|requirement| requirement.standing == Standing::Missed);
        Ok(if missed { ExitCode::CheckFailed } else { ExitCode::Success })
    }
}

fn to_json(list: &[Requirement]) -> Result<String, CommandError> {
    let text = serde_json::to_string_pretty(list);
    text.map(|text| text + "\n").map_err(|error| CommandError::new(ExitCode::Storage, error))
}

fn to_text(list: &[Requirement]) -> String {
    let mut text = String::new();
    for requirement in list {
        let mark = match requirement.standing {
            Standing::Satisfied => "ok     ",
            Standing::Advised => "advised",
            Standing::Missed => "MISSED ",
            Standing::NotApplicable => "n/a    ",
        };
        let _ = writeln!(text, "{mark}  {}: {}", requirement.name, requirement.found);
        if let Some(mend) = &requirement.mend {
            let _ = writeln!(text, "         mend: {mend}");
        }
    }
    let count =
        |standing: Standing| list.iter().filter(|requirement| requirement.standing == standing).count();
    let (satisfied, advised, missed, idle) = (
        count(Standing::Satisfied),
        count(Standing::Advised),
        count(Standing::Missed),
        count(Standing::NotApplicable),
    );
    let idle = if idle == 0 { String::new() } else { format!(", {idle} not applicable here") };
    let _ = writeln!(text, "{satisfied} satisfied, {advised} advised, {missed} missed{idle}");
    text
}
