//! `clipmark-fleet serve`: the aggregator as a service.

use crate::config::Config;
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::{self, Serving};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};
use tracing_subscriber::EnvFilter;

/// Events that a slow page may be behind before it misses some.
const LIVE: usize = 1024;

/// Stores what the devices publish and answers with receipts, until a signal ends it.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Run a broker inside this process, on the loopback address and the configured port: for trying, not for
    /// production
    #[arg(long)]
    embedded_broker: bool,
}

/// Logs to standard error, without time stamps where systemd's journal adds its own. `CLIPMARK_LOG` filters.
pub(crate) fn log() {
    let default = "info,rumqttc=error,rumqttd=warn";
    let filter = EnvFilter::try_from_env("CLIPMARK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let set = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().try_init()
    } else {
        builder.try_init()
    };
    // Another command of the same process has set it up already.
    drop(set);
}

/// Ready when the process is asked to end.
async fn asked_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

impl Serve {
    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// A store that cannot be opened.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        log();
        let mut config = config.clone();
        if self.embedded_broker {
            let started = crate::embedded::start(config.mqtt.port);
            let broker = started.map_err(|error| CommandError::new(ExitCode::Broker, error))?;
            tracing::info!(%broker, "a broker for trying runs inside this process");
            config.mqtt.host = broker.ip().to_string();
            config.mqtt.port = broker.port();
            config.mqtt.tls.enabled = false;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        let (live, _) = broadcast::channel(LIVE);
        let (_publisher, outgoing) = mpsc::channel(16);
        let served = runtime.block_on(ingest::serve(&config, Serving { live, outgoing }, asked_to_end()));
        served.map_err(|error| CommandError::new(ExitCode::Storage, error))?;
        Ok(ExitCode::Success)
    }
}
