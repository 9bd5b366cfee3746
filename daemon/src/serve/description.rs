//! What the device is, found out by a child process at start and after a reload.
//!
//! Two answers come: at once without the models' digests, and again with them, which may take a while for
//! large models.

use crate::operation::Description;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

/// The descriptions to come.
#[derive(Debug)]
pub(super) struct Describing {
    descriptions: Option<mpsc::Receiver<Description>>,
}

impl Describing {
    /// Starts the child. `cache` keeps digests between starts.
    pub(super) fn start(models: &Path, cache: &Path) -> Self {
        let child = Command::new("/proc/self/exe")
            .arg("describe")
            .arg("--models")
            .arg(models)
            .arg("--cache")
            .arg(cache)
            .args(["--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(%error, "no child process can be started to describe the device");
                return Self { descriptions: None };
            }
        };
        let (sender, descriptions) = mpsc::channel(2);
        tokio::spawn(async move {
            let Some(out) = child.stdout.take() else { return };
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    // The daemon may be stopping, then nobody wants to know.
                    Ok(description) => drop(sender.send(description).await),
                    Err(error) => {
                        tracing::error!(%error, line, "the description of the device is not understood")
                    }
                }
            }
            match child.wait().await {
                Ok(status) if status.success() => {}
                ended => tracing::error!(?ended, "the process that describes the device failed"),
            }
        });
        Self { descriptions: Some(descriptions) }
    }

    /// The next description. Cancel-safe; never ready when none is to come.
    pub(super) async fn next(&mut self) -> Description {
        if let Some(descriptions) = &mut self.descriptions {
            if let Some(description) = descriptions.recv().await {
                return description;
            }
            self.descriptions = None;
        }
        std::future::pending().await
    }
}
