//! The binary `clipmarkd` of this workspace, built as this program was.

use anyhow::Context as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What cross/build.sh leaves for an architecture.
pub(crate) fn shipped(architecture: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace().join(target).join("dist-artefacts").join(architecture).join("clipmarkd")
}

/// The profile that a run left in the folder `out`.
pub(crate) fn profile(out: &Path) -> anyhow::Result<serde_json::Value> {
    let path = out.join("profile.json");
    let text = std::fs::read(&path).with_context(|| format!("{} was not written", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// Cargo, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The last lines of what a program said on standard error.
pub(crate) fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// How a run that was to be killed went.
pub(crate) enum Followed {
    Killed,
    /// It was over before.
    Over,
}

/// The daemon's binary.
pub(crate) struct Clipmarkd(PathBuf);

impl Clipmarkd {
    /// The one that the command line names, or the workspace's.
    pub(crate) fn of(context: &crate::Context) -> anyhow::Result<Self> {
        match &context.clipmarkd {
            Some(path) => {
                let path = path.canonicalize().with_context(|| format!("there is no {}", path.display()))?;
                Ok(Self(path))
            }
            None => Self::built(),
        }
    }

    /// Builds it beside this program, with this program's profile.
    fn built() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let dir = own.parent().context("this program lies in a folder")?;
        let profile = match dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let output = cargo()
            .args([
                "build",
                "--quiet",
                "--locked",
                "-p",
                "clipmarkd",
                "--bin",
                "clipmarkd",
                "--profile",
                profile,
            ])
            .stdout(Stdio::null())
            .output()
            .context("cargo cannot be started")?;
        anyhow::ensure!(output.status.success(), "clipmarkd cannot be built:\n{}", last_words(&output));
        let path = dir.join("clipmarkd");
        anyhow::ensure!(path.exists(), "cargo built no {}", path.display());
        Ok(Self(path))
    }

    /// The one in a file that exists.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether cargo's profile `dev` built it.
    pub(crate) fn is_development_build(&self) -> bool {
        self.0.parent().is_some_and(|dir| dir.ends_with("debug"))
    }

    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.current_dir(folder).stdin(Stdio::null());
        command
    }

    /// Runs it to its end, which must be a good one: what it said on standard output.
    pub(crate) fn run(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(folder).args(arguments).output()?;
        let words = || format!("clipmarkd {} failed:\n{}", arguments.join(" "), last_words(&output));
        anyhow::ensure!(output.status.success(), words());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Kills it with SIGKILL once it has told so many steps of its progress.
    pub(crate) fn run_and_kill(
        &self,
        folder: &Path,
        arguments: &[&str],
        after: usize,
    ) -> anyhow::Result<Followed> {
        let mut child =
            self.command(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stderr.take().context("a pipe")?).lines();
        let told = lines.map_while(Result::ok).take(after).count();
        if told < after {
            child.wait()?;
            return Ok(Followed::Over);
        }
        child.kill()?;
        child.wait()?;
        Ok(Followed::Killed)
    }
}
