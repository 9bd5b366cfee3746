//! Connections to the pages: how many, and for how long.
//!
//! A connection carries one request. One that has not sent the head of its request is *waiting*: it is closed
//! after [`Limits::head`], or earlier when its place is needed, the oldest first. So whoever opens connections and says
//! nothing keeps nobody else out, and never takes the file descriptors that ingestion needs.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many there may be at a time.
    pub(super) connections: usize,
    /// How long the head of a request may take.
    pub(super) head: Duration,
    /// How long a page may take from the head of its request to its last byte. Streams of events are not pages.
    pub(super) page: Duration,
}

/// Longest head of a request, in bytes.
const HEAD_BYTES: usize = 128 << 10;

/// The pause after the kernel gave no connection, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The one address whose answer does not end.
pub(super) const STREAM: &str = "/events";

/// How far a connection is.
#[derive(Debug, Default)]
struct Stage {
    has_head: AtomicBool,
    is_stream: AtomicBool,
    head: Notify,
}

/// Connections that are open.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_age: BTreeMap<u64, (AbortHandle, Arc<Stage>)>,
}

impl Open {
    /// Makes room for one more below `most`. False when every one of them is being answered.
    fn has_room(&mut self, most: usize) -> bool {
        self.by_age.retain(|_, (task, _)| !task.is_finished());
        if self.by_age.len() < most {
            return true;
        }
        let waiting =
            |(_, (_, stage)): &(&u64, &(AbortHandle, Arc<Stage>))| !stage.has_head.load(Ordering::Relaxed);
        let Some(oldest) = self.by_age.iter().find(waiting).map(|(age, _)| *age) else { return false };
        if let Some((task, _)) = self.by_age.remove(&oldest) {
            task.abort();
        }
        true
    }

    fn add(&mut self, task: AbortHandle, stage: Arc<Stage>) {
        self.by_age.insert(self.next, (task, stage));
        self.next += 1;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.by_age.values().for_each(|(task, _)| task.abort());
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    let mut open = Open::default();
    let mut is_refused = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                is_refused = false;
                if open.has_room(limits.connections) {
                    let stage = Arc::new(Stage::default());
                    let task = tokio::spawn(attend(stream, router.clone(), Arc::clone(&stage), limits));
                    open.add(task.abort_handle(), stage);
                }
            }
            Err(error) => {
                if !is_refused {
                    tracing::warn!(%error, "the dashboard takes no connections for a moment; raise LimitNOFILE of this service");
                }
                is_refused = true;
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn attend(stream: TcpStream, router: Router, stage: Arc<Stage>, limits: Limits) {
    let pages = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        stage.is_stream.store(request.uri().path() == STREAM, Ordering::Relaxed);
        stage.has_head.store(true, Ordering::Relaxed);
        stage.head.notify_one();
        pages.call(request.map(Body::new))
    });
    let mut http = http1::Builder::new();
    // Their own timers would need one more clock.
    http.keep_alive(false).header_read_timeout(None).max_buf_size(HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Whoever went away needs no answer.
        _ = &mut connection => return,
        () = stage.head.notified() => {}
        () = sleep(limits.head) => return,
    }
    if stage.is_stream.load(Ordering::Relaxed) {
        let _ = connection.await;
    } else {
        let _ = timeout(limits.page, connection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PATIENT: Duration = Duration::from_secs(3600);

    async fn served(limits: Limits) -> SocketAddr {
        served_and_told(limits, &Arc::new(Notify::new())).await
    }

    /// Tells when the page that never comes is asked for.
    async fn served_and_told(limits: Limits, taken: &Arc<Notify>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::clone(taken);
        let slow = move || async move {
            taken.notify_one();
            std::future::pending::<&'static str>().await
        };
        let router = Router::new().route("/", get(|| async { "page" })).route("/slow", get(slow));
        tokio::spawn(serve(listener, router, limits));
        address
    }

    async fn begun(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What comes before the connection ends, in whichever way.
    async fn rest(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_not_waited_for() {
        let limits = Limits { connections: 2, head: Duration::from_millis(1), page: PATIENT };
        let address = served(limits).await;
        for text in ["", "GET / HTTP/1.1\r\nHost: loc"] {
            assert_eq!(rest(begun(address, text).await).await, "");
        }
        let limits = Limits { head: PATIENT, page: Duration::from_millis(1), ..limits };
        assert_eq!(rest(begun(served(limits).await, "GET /slow HTTP/1.1\r\n\r\n").await).await, "");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_makes_room_for_one_that_does() {
        let address = served(Limits { connections: 2, head: PATIENT, page: PATIENT }).await;
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(begun(address, "GET / HT").await);
        }
        let answer = rest(begun(address, "GET / HTTP/1.1\r\n\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("page"), "{answer}");
        assert_eq!(rest(silent.remove(0)).await, "", "the oldest was closed");
    }

    #[tokio::test]
    async fn connections_that_are_answered_are_not_closed_for_others() {
        let taken = Arc::new(Notify::new());
        let address = served_and_told(Limits { connections: 1, head: PATIENT, page: PATIENT }, &taken).await;
        let slow = begun(address, "GET /slow HTTP/1.1\r\n\r\n").await;
        taken.notified().await;
        assert_eq!(rest(begun(address, "GET / HTTP/1.1\r\n\r\n").await).await, "");
        assert!(slow.try_read(&mut [0]).is_err(), "it still waits for its answer");
    }
}
