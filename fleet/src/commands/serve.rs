//! `clipmark-fleet serve`: the aggregator as a service.

use crate::config::Config;
use crate::dashboard::{Dashboard, DashboardError, Offer};
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::{self, Serving};
use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// Where the dashboard listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8780")]
    dashboard: SocketAddr,
    /// Serve no dashboard
    #[arg(long, conflicts_with = "dashboard")]
    no_dashboard: bool,
    /// A file with the token that the dashboard asks for; required where other machines reach it
    #[arg(long, value_name = "FILE")]
    dashboard_token_file: Option<PathBuf>,
    /// Give every device a line of its own in /metrics
    #[arg(long)]
    per_device_metrics: bool,
}

/// Logs to standard error, without time stamps where systemd's journal adds its own. `CLIPMARK_LOG` filters, else
/// `default` does.
pub(crate) fn log(default: &str) {
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
pub(crate) async fn asked_to_end() {
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
        log("info,rumqttc=error,rumqttd=warn");
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
        let (publisher, outgoing) = mpsc::channel(16);
        let offer = self.offer()?;
        runtime.block_on(async {
            let pages = async {
                if let Some(offer) = offer {
                    let dashboard =
                        Dashboard::listen(&offer, &config.store, live.clone(), Some(publisher)).await?;
                    tracing::info!(address = %format_args!("http://{}/", dashboard.address), "dashboard");
                    dashboard.serve(std::future::pending()).await?;
                }
                std::future::pending::<Result<(), DashboardError>>().await
            };
            let serving = Serving { live: live.clone(), outgoing };
            tokio::select! {
                served = ingest::serve(&config, serving, asked_to_end()) => {
                    served.map_err(|error| CommandError::new(ExitCode::Storage, error))
                }
                pages = pages => pages.map_err(|error| CommandError::new(ExitCode::Usage, error)),
            }
        })?;
        Ok(ExitCode::Success)
    }

    /// Where the dashboard is offered, if it is.
    fn offer(&self) -> Result<Option<Offer>, CommandError> {
        if self.no_dashboard {
            return Ok(None);
        }
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).map(|text| text.trim().to_owned());
            let text = text.ok().filter(|token| !token.is_empty());
            text.ok_or_else(|| {
                let place = path.display();
                let what =
                    format!("the dashboard's token file {place} cannot be read or is empty; write one line");
                CommandError::new(ExitCode::Usage, what)
            })
        };
        let token = self.dashboard_token_file.as_ref().map(read).transpose()?;
        let per_device_metrics = self.per_device_metrics;
        Ok(Some(Offer { address: self.dashboard, token, per_device_metrics }))
    }
}
