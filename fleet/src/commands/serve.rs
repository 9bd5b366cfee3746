//! `clipmark-fleet serve`: the aggregator as a service.

use crate::config::{self, Config};
use crate::dashboard::{Dashboard, DashboardError, Offer};
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::{self, Serving};
use clipmark_service::logging;
use clipmark_service::secret::SecretPath;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Events that a slow page may be behind before it misses some.
const LIVE: usize = 1024;

/// Stores what the devices publish and answers with receipts, until a signal ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  clipmark-fleet serve
  clipmark-fleet serve --embedded-broker --config my.toml
  clipmark-fleet serve --dashboard 0.0.0.0:8780 --dashboard-token-file /etc/clipmark/fleet-dashboard-token")]
pub struct Serve {
    /// Run a broker inside this process, on the loopback address and the configured port: for trying, not for
    /// production
    #[arg(long)]
    embedded_broker: bool,
    /// Offer the dashboard at this address; else at dashboard.address of the configuration, 127.0.0.1:8780 by default
    #[arg(long, value_name = "ADDRESS")]
    dashboard: Option<SocketAddr>,
    /// Serve no dashboard
    #[arg(long, conflicts_with = "dashboard")]
    no_dashboard: bool,
    /// Ask browsers for the token in this file, or in credential:NAME; required where other machines reach the
    /// dashboard; else dashboard.token_file of the configuration
    #[arg(long, value_name = "FILE", value_parser = secret)]
    dashboard_token_file: Option<SecretPath>,
    /// Give every device a line of its own in /metrics
    #[arg(long)]
    per_device_metrics: bool,
}

fn secret(path: &str) -> Result<SecretPath, Infallible> {
    Ok(path.into())
}

/// Logs to standard error, without time stamps where systemd's journal adds its own. `CLIPMARK_LOG` filters, else
/// `default` does.
pub(crate) fn log(default: &str) {
    let registry = tracing_subscriber::registry().with(logging::filter(default));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let set = if std::env::var_os("JOURNAL_STREAM").is_some() {
        registry.with(layer.without_time()).try_init()
    } else {
        registry.with(layer).try_init()
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

/// Takes as many files as may be open at once. Shells and systemd give fewer at first, for programs of old.
fn raise_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

impl Serve {
    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// A store that cannot be opened.
    pub fn execute(&self, config: &Config) -> Result<ExitCode, CommandError> {
        log("info,rumqttc=error,rumqttd=warn");
        raise_limit_of_files();
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
        let offer = self.offer(&config.dashboard)?;
        runtime.block_on(async {
            let pages = async {
                if let Some(offer) = offer {
                    let dashboard =
                        Dashboard::listen(&offer, &config.store, live.clone(), Some(publisher)).await?;
                    tracing::info!(address = %format_args!("http://{}/", dashboard.address), "dashboard");
                    dashboard.serve(std::future::pending()).await;
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

    /// Where the dashboard is offered, if it is. What the command line says wins over the configuration.
    fn offer(&self, config: &config::Dashboard) -> Result<Option<Offer>, CommandError> {
        let is_asked_for = self.dashboard.is_some() || config.enabled;
        if self.no_dashboard || !is_asked_for {
            return Ok(None);
        }
        let file = self.dashboard_token_file.as_ref().or(config.token_file.as_ref());
        let token = file.map(token).transpose()?;
        Ok(Some(Offer {
            address: self.dashboard.unwrap_or(config.address),
            token,
            per_device_metrics: self.per_device_metrics || config.per_device_metrics,
        }))
    }
}

/// The dashboard's token, from its file.
fn token(file: &SecretPath) -> Result<String, CommandError> {
    let line = file.read_line().map_err(|error| CommandError::new(ExitCode::Usage, error))?;
    let token = line.trim().to_owned();
    if token.is_empty() {
        let place = file.resolve().map(|path| path.display().to_string()).unwrap_or_default();
        let what =
            format!("the dashboard's token file {place} is empty; write the token into it, as one line");
        return Err(CommandError::new(ExitCode::Usage, what));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use clap::{FromArgMatches, Subcommand};
    use std::path::Path;

    /// What is offered with these options and this table of the configuration.
    fn offered(options: &[&str], table: &str) -> Result<Option<Offer>, CommandError> {
        let command = Command::augment_subcommands(clap::Command::new("clipmark-fleet"));
        let matches = command.get_matches_from(["clipmark-fleet", "serve"].iter().chain(options).copied());
        let Command::Serve(serve) = Command::from_arg_matches(&matches).unwrap() else {
            panic!("{options:?}");
        };
        let text = format!("[dashboard]\n{table}");
        serve.offer(&Config::parse(&text, Path::new("fleet.toml")).unwrap().dashboard)
    }

    #[test]
    fn the_dashboard_is_where_the_configuration_says_unless_an_option_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("configured"), "s3cret\n").unwrap();
        std::fs::write(path("given"), "0ther\n").unwrap();
        let table = format!(
            "address = \"0.0.0.0:9000\"\ntoken_file = \"{}\"\nper_device_metrics = true",
            path("configured")
        );
        let found = offered(&[], &table).unwrap().unwrap();
        assert_eq!((found.address.to_string().as_str(), found.per_device_metrics), ("0.0.0.0:9000", true));
        assert_eq!(found.token.as_deref(), Some("s3cret"));
        let given = ["--dashboard", "[::]:1", "--dashboard-token-file", &path("given")];
        let found = offered(&given, &table).unwrap().unwrap();
        assert_eq!((found.address.to_string().as_str(), found.token.as_deref()), ("[::]:1", Some("0ther")));
        let found = offered(&[], "").unwrap().unwrap();
        assert_eq!((found.address.to_string().as_str(), found.per_device_metrics), ("127.0.0.1:8780", false));
        assert_eq!(found.token, None);
    }

    #[test]
    fn a_dashboard_that_is_switched_off_is_offered_only_where_an_option_names_its_address() {
        assert!(offered(&[], "enabled = false").unwrap().is_none());
        assert!(offered(&["--no-dashboard"], "").unwrap().is_none());
        assert!(offered(&["--dashboard", "127.0.0.1:1"], "enabled = false").unwrap().is_some());
    }

    #[test]
    fn a_token_file_that_is_empty_or_missing_is_named() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for path in [empty.path().display().to_string(), "/nonexistent/token".to_owned()] {
            let told = offered(&["--dashboard-token-file", &path], "").unwrap_err();
            assert!(told.code == ExitCode::Usage && told.to_string().contains(&path), "{told}");
        }
    }
}
