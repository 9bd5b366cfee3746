//! The whole of clipmark on one machine with nothing installed: broker, aggregator, dashboard, one real
//! device and some simulated boards, and a run that is triggered and watched.
//!
//! The real device is a clipmarkd that measures a built-in model on this machine. Simulated boards speak the
//! same protocol from inside this process; their figures are made up and every place where they appear says
//! so. Everything lies in one directory, and nothing is left when the demonstration ends.

mod board;
mod boards;
mod daemon;
mod evidence;

pub use daemon::DaemonError;
pub(crate) use daemon::{beside_this_program, check};

use crate::config::Config;
use crate::dashboard::{Dashboard, Offer};
use crate::exit_codes::{CommandError, ExitCode};
use crate::ingest::{self, Live, Serving};
use crate::operator::{Ask, Operator};
use crate::printed::{failed, print_line};
use crate::progress::asked;
use crate::store::{ProfileQuery, Store, StoreError};
use boards::{BOARDS, Behaviour};
use clipmark_profile::message::Availability;
use clipmark_profile::plan::Request;
use clipmark_profile::topics::{CommandId, DeviceId, ROOT};
use daemon::Daemon;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The group that all devices of the demonstration belong to.
const GROUP: &str = "demo";

/// How long everything may take to come up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Events that a slow reader may be behind.
const LIVE: usize = 4096;

/// What the demonstration is given.
#[derive(Debug, Clone)]
pub(crate) struct DemoOptions {
    /// Where everything lies.
    pub(crate) folder: PathBuf,
    /// The clipmarkd to start.
    pub(crate) clipmarkd: PathBuf,
    /// Where the dashboard listens; port 0 takes any that is free.
    pub(crate) dashboard: SocketAddr,
    /// Seconds that a device may measure for.
    pub(crate) budget_s: f64,
    /// Whether to open the dashboard in a browser.
    pub(crate) open: bool,
}

fn broker<E: std::error::Error + Send + Sync + 'static>(error: E) -> CommandError {
    CommandError::new(ExitCode::Broker, error)
}

/// Runs until `end` is ready.
pub(crate) async fn run(
    options: &DemoOptions,
    config: &Config,
    end: impl Future<Output = ()>,
) -> Result<(), CommandError> {
    let (live, _) = broadcast::channel(LIVE);
    let (publisher, outgoing) = mpsc::channel(16);
    let offer = Offer { address: options.dashboard, token: None, per_device_metrics: false };
    let pages = Dashboard::listen(&offer, &config.store, live.clone(), Some(publisher)).await;
    let pages = pages.map_err(failed(ExitCode::Usage))?;
    let url = format!("http://{}/", pages.address);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Serving { live: live.clone(), outgoing };
    // What its sender's end means is that it is to stop.
    let aggregator = ingest::serve(config, serving, async { drop(stopped.await) });
    let heard = live.subscribe();
    let mut daemon = None;
    let mut boards = JoinSet::new();
    let story = async {
        story(options, config, &url, heard, &mut daemon, &mut boards).await?;
        match &mut daemon {
            Some(daemon) => Err(CommandError::new(ExitCode::NotSuccessful, daemon.ended().await)),
            None => Ok(()),
        }
    };
    tokio::pin!(aggregator);
    let told = tokio::select! {
        served = &mut aggregator => served.map_err(failed(ExitCode::Storage)),
        () = pages.serve(std::future::pending()) => Ok(()),
        told = story => told,
        () = end => Ok(()),
    };
    // In this order each can still say goodbye to the next.
    print_line("\nending the demonstration")?;
    if let Some(daemon) = daemon {
        let stopped = daemon.stop();
        tokio::select! {
            ended = stopped => drop(ended.map_err(|error| tracing::warn!(%error, "clipmarkd could not be ended"))),
            served = &mut aggregator => served.map_err(failed(ExitCode::Storage))?,
        }
    }
    boards.shutdown().await;
    drop(stop);
    if told.is_ok() {
        aggregator.await.map_err(failed(ExitCode::Storage))?;
    }
    told
}

/// What happens, in order, and what is said about it.
async fn story(
    options: &DemoOptions,
    config: &Config,
    url: &str,
    mut heard: broadcast::Receiver<Live>,
    daemon: &mut Option<Daemon>,
    boards: &mut JoinSet<()>,
) -> Result<(), CommandError> {
    wait_for_the_aggregator(config).await?;
    for model in &BOARDS {
        let config = config.clone();
        boards.spawn(async move {
            if let Err(error) = board::live(model, &config).await {
                tracing::warn!(device = model.device, %error, "a simulated board stopped");
            }
        });
    }
    let started = Daemon::start(&options.clipmarkd, &options.folder, config);
    *daemon = Some(started.map_err(failed(ExitCode::NothingFound))?);
    print_line(&format!("dashboard  {url}"))?;
    print_line(&format!(
        "boards     1 real ({}, this machine) and {} simulated (sim-...)",
        daemon::DEVICE,
        BOARDS.len()
    ))?;
    if let Some(daemon) = daemon {
        tokio::select! {
            present = present(&mut heard) => present?,
            ended = daemon.ended() => return Err(CommandError::new(ExitCode::NotSuccessful, ended)),
        }
    }
    if options.open {
        open(url);
    }
    measure(options, config).await?;
    tell_what_to_look_at(options, url)
}

/// Waits until the aggregator's subscriptions are there: what is published before would be lost, because
/// simulated boards do not send again.
async fn wait_for_the_aggregator(config: &Config) -> Result<(), CommandError> {
    let config = config.clone();
    let waited = tokio::task::spawn_blocking(move || {
        let mut operator = Operator::connect(&config, vec![format!("{ROOT}/agg/+/state")])?;
        operator.receive(PATIENCE)
    });
    match waited.await {
        Ok(Ok(Some(_))) => Ok(()),
        Ok(Err(error)) => Err(broker(error)),
        _ => Err(CommandError::new(
            ExitCode::Broker,
            "the aggregator does not come to the broker; see the lines above",
        )),
    }
}

/// Every device that is to answer.
fn expected() -> BTreeSet<DeviceId> {
    let steady =
        BOARDS.iter().filter(|board| board.behaviour != Behaviour::Vanishes).map(|board| board.device);
    let names = steady.chain([daemon::DEVICE]);
    names.map(|name| name.parse().expect("the table holds identifiers")).collect()
}

/// Waits until every device is online, has sent what it had, and the one that vanishes has vanished.
async fn present(heard: &mut broadcast::Receiver<Live>) -> Result<(), CommandError> {
    let mut missing = expected();
    let mut vanishing: BTreeSet<&str> = BOARDS
        .iter()
        .filter(|board| board.behaviour == Behaviour::Vanishes)
        .map(|board| board.device)
        .collect();
    let all = async {
        while !(missing.is_empty() && vanishing.is_empty()) {
            match heard.recv().await {
                Ok(Live::State(device, state)) if state.state == Availability::Offline => {
                    vanishing.remove(device.as_str());
                }
                Ok(Live::State(device, _)) => drop(missing.remove(&device)),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    };
    let in_time = timeout(PATIENCE, all).await.is_ok();
    if in_time {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let what = format!("not every device came to the broker in time; missing: {}", names.join(", "));
    Err(CommandError::new(ExitCode::NotSuccessful, what))
}

/// Asks every device for a run and shows how far each is.
async fn measure(options: &DemoOptions, config: &Config) -> Result<(), CommandError> {
    let request = Request {
        models: boards::MODELS.map(str::to_owned).to_vec(),
        budget_s: Some(options.budget_s),
        ..boards::request()
    };
    let ask = Ask::run(&request, Duration::from_secs(3600));
    let ask = ask.map_err(|error| CommandError::new(ExitCode::Usage, error))?;
    print_line(&format!(
        "run        {}: joint and temporal, 8 and 16 frames, about {} s on every board",
        ask.command, options.budget_s
    ))?;
    let devices: Vec<DeviceId> = expected().into_iter().collect();
    let (settings, command, all) = (config.clone(), ask.command.clone(), devices.clone());
    let followed =
        tokio::task::spawn_blocking(move || asked(&settings, &ask, &devices, Some(&|| false))).await;
    let board = followed.map_err(|_| {
        CommandError::new(ExitCode::Interrupted, "the run could not be followed to its end")
    })??;
    if board.has_failures() {
        let log = options.folder.join("clipmarkd.log");
        let what = format!("the run did not succeed on every device; see {}", log.display());
        return Err(CommandError::new(ExitCode::NotSuccessful, what));
    }
    stored(config, command, all).await
}

/// Waits until what every device has measured for `command` is in the store, and no device is busy any more.
async fn stored(config: &Config, command: CommandId, devices: Vec<DeviceId>) -> Result<(), CommandError> {
    let from = Instant::now();
    let settings = config.store.clone();
    let waited = tokio::task::spawn_blocking(move || -> Result<bool, StoreError> {
        let mut store = Store::create(&settings)?;
        loop {
            let query =
                ProfileQuery { command: Some(command.clone()), limit: u32::MAX, ..ProfileQuery::default() };
            let here: BTreeSet<DeviceId> =
                store.profiles(&query)?.into_iter().map(|row| row.device).collect();
            let is_there = devices.iter().all(|device| here.contains(device));
            if is_there && store.counts()?.busy == 0 {
                return Ok(true);
            }
            if from.elapsed() > PATIENCE {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    match waited.await {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(CommandError::new(ExitCode::Storage, error)),
        _ => Err(CommandError::new(
            ExitCode::NotSuccessful,
            "what the devices measured did not reach the store in time; see the lines above",
        )),
    }
}

fn tell_what_to_look_at(options: &DemoOptions, url: &str) -> Result<(), CommandError> {
    let config = Path::new(&options.folder).join("fleet.toml");
    for line in [
        "every board is done. Look at:".to_owned(),
        format!("  {url}  the fleet, live"),
        format!("  {url}device/sim-orin-nano-5  a board that throttles, second by second"),
        format!("  {url}device/this-machine  what this machine measured"),
        format!("  {url}compare  which board stands out among its peers"),
        format!("  {url}trends  what got worse, and with what it coincides"),
        format!("or ask: clipmark-fleet --config {} devices", config.display()),
        "Ctrl-C ends everything.".to_owned(),
    ] {
        print_line(&line)?;
    }
    Ok(())
}

/// Opens the page where there is a display to show it on.
fn open(url: &str) {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let program = match std::env::consts::OS {
        "macos" => "open",
        _ if has_display => "xdg-open",
        _ => return,
    };
    let mut command = std::process::Command::new(program);
    command.arg(url).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    match command.stderr(std::process::Stdio::null()).spawn() {
        // It hands over to the browser and ends; nobody waits for that.
        Ok(opened) => drop(opened),
        Err(error) => tracing::warn!(%error, program, "the dashboard could not be opened in a browser"),
    }
}
