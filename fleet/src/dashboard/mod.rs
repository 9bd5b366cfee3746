//! The pages that `serve` offers: the fleet at a glance, one board, cohorts compared.
//!
//! Everything is made here and nothing is asked of another server; a content security policy forbids it. On
//! the loopback address the host name must be a loopback one, so that no other site's page reaches in under
//! a name of its own; anywhere else a token is required. Pages work without their script, which only keeps
//! states current over server-sent events.
//!
//! Deliberately not here: statistics (clipmark-profile), plots (clipmark-report), storing.

mod access;
mod compare;
mod device;
mod fleet;
mod guard;
mod layout;
mod live;
mod measure_form;
mod metrics;
mod server;
mod trends;

use crate::config;
use crate::ingest::{Live, Outgoing};
use crate::store::{Store, StoreError};
use access::Access;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use guard::Guard;
use maud::Markup;
use rustix::process::{Resource, getrlimit};
use server::Limits;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, mpsc};

/// Queries at a time; more wait.
const QUERIES: usize = 4;

/// Connections at a time. Each takes a file descriptor.
const CONNECTIONS: usize = 256;

/// What connections may take: half of the file descriptors of this process are left to what else it does.
fn limits() -> Limits {
    let half = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit / 2).ok());
    Limits {
        connections: half.map_or(CONNECTIONS, |half| half.min(CONNECTIONS)),
        head: Duration::from_secs(10),
        page: Duration::from_secs(120),
    }
}

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The address cannot be used.
    #[error("the dashboard cannot listen on {address}; stop what listens there, or choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The kernel's words.
        #[source]
        source: std::io::Error,
    },
    /// An address that others reach, and no token.
    #[error(
        "the dashboard is to listen on {address}, which other machines reach, without a token; give \
         --dashboard-token-file FILE, or set dashboard.token_file, or use a loopback address"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// No secret for its forms.
    #[error("the kernel gives no random bytes; check that /dev/urandom is there")]
    Random(#[source] std::io::Error),
}

/// What the pages are made from.
#[derive(Clone)]
struct Site {
    stores: Arc<Stores>,
    live: broadcast::Sender<Live>,
    /// Where requests to devices go; absent: nothing can be asked for.
    outgoing: Option<mpsc::Sender<Outgoing>>,
    guard: Guard,
    per_device_metrics: bool,
}

/// Connections to the store that are not in use.
struct Stores {
    config: config::Store,
    idle: Mutex<Vec<Store>>,
    permits: Semaphore,
}

/// A page that could not be made.
enum PageError {
    Store(StoreError),
    Missing(String),
    /// What was asked for makes no sense, in a sentence.
    Refused(String),
    /// A form that none of our pages has sent.
    Forbidden,
    Ended,
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (code, text) = match self {
            Self::Store(error) => {
                tracing::error!(%error, "a page could not be made");
                let text = format!("The store cannot be read: {error}. Look at the service's log.");
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
            Self::Missing(what) => (StatusCode::NOT_FOUND, format!("There is no {what} here.")),
            Self::Refused(what) => (StatusCode::BAD_REQUEST, what),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "This form did not come from a page of this service, or the service was started again since. \
                 Open the page anew."
                    .to_owned(),
            ),
            Self::Ended => (StatusCode::SERVICE_UNAVAILABLE, "The service is ending.".to_owned()),
        };
        (code, Html(layout::message(&text).into_string())).into_response()
    }
}

impl Site {
    /// Makes something from the store, away from the event loop.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, PageError> + Send + 'static,
    ) -> Result<T, PageError> {
        let _permit = self.stores.permits.acquire().await.map_err(|_| PageError::Ended)?;
        let stores = Arc::clone(&self.stores);
        let made = tokio::task::spawn_blocking(move || {
            let idle = stores.idle.lock().ok().and_then(|mut idle| idle.pop());
            let mut store = match idle {
                Some(store) => store,
                None => Store::create(&stores.config)?,
            };
            let made = work(&mut store);
            if made.is_ok()
                && let Ok(mut idle) = stores.idle.lock()
            {
                idle.push(store);
            }
            made
        });
        made.await.map_err(|_| PageError::Ended)?
    }
}

fn page(markup: Markup) -> Html<String> {
    Html(markup.into_string())
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")], text)
}

fn router(site: Site, access: Access) -> Router {
    Router::new()
        .route("/", get(fleet::show))
        .route("/device/:device", get(device::show))
        .route("/compare", get(compare::show))
        .route("/trends", get(trends::show))
        .route("/measure", get(measure_form::form).post(measure_form::measure))
        .route("/measure/confirm", get(measure_form::confirm))
        .route("/command/:command", get(measure_form::command))
        .route("/command/:command/cancel", get(measure_form::ask_cancel).post(measure_form::cancel))
        .route(server::STREAM, get(live::events))
        .route("/metrics", get(metrics::show))
        .route("/style.css", get(|| async { asset("text/css", crate::report::style()) }))
        .route("/app.js", get(|| async { asset("text/javascript", include_str!("app.js")) }))
        .layer(middleware::from_fn_with_state(access, access::check))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(middleware::from_fn(access::guarded))
        .with_state(site)
}

/// Where and for whom.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The address.
    pub address: SocketAddr,
    /// The token that is asked for; required unless the address is a loopback one.
    pub token: Option<String>,
    /// Whether `/metrics` has a line per device.
    pub per_device_metrics: bool,
}

/// A dashboard that listens.
pub struct Dashboard {
    listener: TcpListener,
    router: Router,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Dashboard {
    /// Listens; nothing is served before [`Dashboard::serve`]. Requests to devices go to `outgoing`.
    ///
    /// # Errors
    /// When the address cannot be used, or is open to others without a token.
    pub async fn listen(
        offer: &Offer,
        store: &config::Store,
        live: broadcast::Sender<Live>,
        outgoing: Option<mpsc::Sender<Outgoing>>,
    ) -> Result<Self, DashboardError> {
        let address = offer.address;
        if !address.ip().is_loopback() && offer.token.is_none() {
            return Err(DashboardError::Open { address });
        }
        let listen = |source| DashboardError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stores = Arc::new(Stores {
            config: store.clone(),
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(QUERIES),
        });
        let guard = Guard::new().map_err(DashboardError::Random)?;
        let per_device_metrics = offer.per_device_metrics;
        let site = Site { stores, live, outgoing, guard, per_device_metrics };
        let router = router(site, Access::new(offer.token.clone()));
        Ok(Self { listener, router, address })
    }

    /// Serves until `end` is ready.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        // Open event streams never end by themselves: the server is dropped instead of drained.
        tokio::select! {
            () = server::serve(self.listener, self.router, limits()) => {}
            () = end => {}
        }
    }
}

#[cfg(test)]
mod tests;
