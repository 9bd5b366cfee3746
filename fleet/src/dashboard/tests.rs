//! The pages over a real socket and a real store.

use super::{Dashboard, DashboardError, Offer};
use crate::config;
use crate::ingest::{Live, Outgoing};
use crate::store::{Content, Excess, Message, Record, Refused, Store};
use clipmark_profile::example;
use clipmark_profile::message::{Availability, DeviceState, Epoch, RecordDigest};
use clipmark_profile::topics::{DeviceId, UpKind};
use clipmark_profile::wire::encode_profile;
use clipmark_service::mqtt::Verdict;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc};

fn store_in(folder: &Path) -> config::Store {
    config::Store { path: folder.join("fleet.db"), ..config::Store::default() }
}

/// A fleet of `boards`, the last of which is a third slower. Board 3 became 1.3 times as slow during its sweep.
fn fill(config: &config::Store, boards: u32) {
    let mut store = Store::create(config).unwrap();
    for board in 0..boards {
        let device: DeviceId = format!("board-{board}").parse().unwrap();
        let mut profile = example::profile_of_27_points();
        profile.run.id = format!("{board:016x}");
        let base = if board + 1 == boards { 8_000_000 } else { 6_000_000 } + u64::from(board) * 1_000;
        let at = profile.points[0].id.shape;
        profile.points = vec![example::measured(0, at, base, 300)];
        if board == 3 {
            profile.points = vec![example::measured(0, at, base * 10 / 13, 300)];
            profile = example::drifted(profile, 1.3);
        }
        let bytes = encode_profile(&profile).unwrap();
        let record = Record {
            device: device.clone(),
            epoch: Epoch(7),
            sequence: 1,
            kind: UpKind::Profile,
            part: 0,
            parts: 1,
            command: None,
            spooled_unix_ms: 1,
            content: Some(Content::read(UpKind::Profile, &bytes)),
            bytes,
            digest: RecordDigest(board.into()),
            former: Vec::new(),
        };
        let state = DeviceState {
            state: Availability::Online,
            connection: 1,
            since_unix_ms: 1,
            command: None,
            queued: 0,
            unconfirmed: 0,
            reasons: Vec::new(),
        };
        store
            .commit(&[Message::Record(record), Message::State(device, state)], 1_000 + u64::from(board))
            .unwrap();
    }
}

async fn get(dashboard: std::net::SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(dashboard).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn offer(address: &str) -> Offer {
    Offer { address: address.parse().unwrap(), token: None, per_device_metrics: false }
}

#[tokio::test]
async fn every_page_shows_the_fleet_and_refuses_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(folder.path());
    fill(&store, 8);
    let (live, _) = broadcast::channel::<Live>(16);
    let dashboard = Dashboard::listen(&offer("127.0.0.1:0"), &store, live, None).await.unwrap();
    let address = dashboard.address;
    tokio::spawn(dashboard.serve(std::future::pending()));
    let fleet = get(address, "/", "localhost").await;
    assert!(fleet.starts_with("HTTP/1.1 200") && fleet.contains("data-device=\"board-3\""), "{fleet}");
    assert!(fleet.contains("content-security-policy: default-src 'none'"));
    let device = get(address, "/device/board-7", "localhost").await;
    assert!(device.contains("section id=\"grid\"") && device.contains("Runs"), "{device}");
    let compare = get(address, "/compare?by=board", "localhost").await;
    assert!(compare.contains("8 boards, 8 runs"), "{compare}");
    assert!(compare.contains("/device/board-7"), "the slow board is named: {compare}");
    assert!(
        !compare.contains("/device/board-3"),
        "in the common state it is as fast as the others: {compare}"
    );
    for path in ["/compare?by=board", "/trends"] {
        let page = get(address, path, "localhost").await;
        assert!(page.contains("In 1 of 8 runs the board changed while it was measured"), "{path}: {page}");
    }
    let metrics = get(address, "/metrics", "localhost").await;
    assert!(metrics.contains("clipmark_devices{state=\"online\"} 8") && metrics.contains("# EOF"));
    assert!(get(address, "/healthz", "anything").await.ends_with("ok\n"));
    assert!(get(address, "/device/nobody", "localhost").await.starts_with("HTTP/1.1 404"));
    assert!(get(address, "/", "evil.example").await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let (live, _) = broadcast::channel::<Live>(16);
    let refused = Dashboard::listen(&offer("0.0.0.0:0"), &store_in(folder.path()), live, None).await;
    assert!(matches!(refused.err(), Some(DashboardError::Open { .. })));
}

/// Sends a form as a browser on `origin` would.
async fn post(dashboard: std::net::SocketAddr, path: &str, origin: &str, form: &str) -> String {
    let mut stream = TcpStream::connect(dashboard).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {dashboard}\r\nOrigin: {origin}\r\nConnection: close\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The secret that a page's form carries.
fn guard(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"guard\" value=\"").unwrap();
    rest.split_once('"').unwrap().0
}

/// A broker that accepts everything, and what it was sent.
fn accepting() -> (mpsc::Sender<Outgoing>, mpsc::UnboundedReceiver<String>) {
    let (publisher, mut outgoing) = mpsc::channel::<Outgoing>(4);
    let (note, noted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Outgoing { message, verdict }) = outgoing.recv().await {
            note.send(message.topic).unwrap();
            verdict.send(Verdict::Accepted).unwrap();
        }
    });
    (publisher, noted)
}

#[tokio::test]
async fn a_run_is_asked_for_only_after_a_confirmation_from_our_own_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(folder.path());
    fill(&store, 3);
    let (live, _) = broadcast::channel::<Live>(16);
    let (publisher, mut sent) = accepting();
    let dashboard = Dashboard::listen(&offer("127.0.0.1:0"), &store, live, Some(publisher)).await.unwrap();
    let address = dashboard.address;
    tokio::spawn(dashboard.serve(std::future::pending()));
    let page = get(address, "/measure/confirm?to=all&clip_lengths=8,16&batch_sizes=1", "localhost").await;
    assert!(page.contains("Measure on 3 boards?") && page.contains("board-0, board-1, board-2"), "{page}");
    let (own, form) =
        (format!("http://{address}"), format!("to=all&clip_lengths=8&batch_sizes=1&guard={}", guard(&page)));
    for (origin, form) in [(own.as_str(), "to=all&guard=guessed"), ("http://evil.example", form.as_str())] {
        assert!(post(address, "/measure", origin, form).await.starts_with("HTTP/1.1 403"));
    }
    assert!(sent.is_empty(), "nothing was sent");
    let answer = post(address, "/measure", &own, &form).await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let place = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned();
    let command = place.strip_prefix("/command/").unwrap().to_owned();
    for board in 0..3 {
        assert_eq!(sent.recv().await.unwrap(), format!("clipmark/v1/d/board-{board}/cmd/run/{command}/req"));
    }
    let page = get(address, &place, "localhost").await;
    assert_eq!(page.matches("asked, no answer yet").count(), 3, "{page}");
    let page = get(address, &format!("{place}/cancel"), "localhost").await;
    let answer = post(address, &format!("{place}/cancel"), &own, &format!("guard={}", guard(&page))).await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    assert_eq!(sent.recv().await.unwrap(), format!("clipmark/v1/d/board-0/cmd/run/{command}/cancel"));
}

#[tokio::test]
async fn a_plan_that_makes_no_sense_is_refused_with_the_field_and_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(folder.path());
    fill(&store, 1);
    let (live, _) = broadcast::channel::<Live>(16);
    let dashboard = Dashboard::listen(&offer("127.0.0.1:0"), &store, live, None).await.unwrap();
    let address = dashboard.address;
    tokio::spawn(dashboard.serve(std::future::pending()));
    for (asked, told) in [
        ("to=all&clip_lengths=0", "clip length: `0` is not a whole number from 1 to"),
        ("to=all&clip_lengths=many", "clip length: `many` is not a whole number from 1 to"),
        ("to=all&precisions=fp17", "precision: `fp17` is not one of model, fp32"),
        ("to=all&budget=-1", "budget_s"),
        ("to=device&device=nobody", "No known board matches"),
        ("to=group", "Choose a group"),
    ] {
        let page = get(address, &format!("/measure/confirm?{asked}"), "localhost").await;
        assert!(page.starts_with("HTTP/1.1 400") && page.contains(told), "{asked}: {page}");
    }
}

/// Sends bytes and returns what comes back.
async fn exchange(dashboard: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(dashboard).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn served(folder: &Path, token: Option<&str>) -> std::net::SocketAddr {
    let store = store_in(folder);
    fill(&store, 1);
    let (live, _) = broadcast::channel::<Live>(16);
    let offer = Offer { token: token.map(str::to_owned), ..offer("127.0.0.1:0") };
    let dashboard = Dashboard::listen(&offer, &store, live, None).await.unwrap();
    let address = dashboard.address;
    tokio::spawn(dashboard.serve(std::future::pending()));
    address
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (open, guarded) = (served(folder.path(), None).await, served(folder.path(), Some("s3cret")).await);
    for (answer, code) in [
        (get(open, "/", "localhost").await, 200),
        (get(open, "/", "evil.example").await, 403),
        (get(open, "/nowhere", "localhost").await, 404),
        (get(open, "/healthz", "localhost").await, 200),
        (get(guarded, "/", "localhost").await, 401),
        (exchange(open, "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").await, 400),
    ] {
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
        for header in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy:",
        ] {
            assert!(answer.contains(header), "{code} without {header}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_request_that_names_two_places_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = served(folder.path(), None).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        assert!(exchange(address, request).await.starts_with("HTTP/1.1 400"), "{request}");
    }
}

#[tokio::test]
async fn a_filter_that_no_board_can_match_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let address = served(folder.path(), None).await;
    for length in [201, 8000, 30_000, 60_000] {
        let page = get(address, &format!("/?board={}", "x".repeat(length)), "localhost").await;
        let is_told = page.contains("200 characters") || page.contains("too long");
        assert!(page.starts_with("HTTP/1.1 400") && is_told, "{length}: {page}");
    }
    assert!(
        get(address, &format!("/?board={}", "x".repeat(200)), "localhost").await.starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_board_that_exceeds_its_bounds_is_named_on_the_pages() {
    let folder = tempfile::tempdir().unwrap();
    let address = served(folder.path(), None).await;
    assert!(!get(address, "/", "localhost").await.contains("id=\"refused\""));
    let refused = Refused { messages: 7, bytes: 70 };
    let mut store = Store::create(&store_in(folder.path())).unwrap();
    store.commit(&[Message::Refused("board-0".into(), Excess::Gaps, refused)], 1_000).unwrap();
    for path in ["/", "/device/board-0"] {
        let page = get(address, path, "localhost").await;
        assert!(page.contains("left out more sequences than a device may: 7"), "{path}: {page}");
    }
    let metrics = get(address, "/metrics", "localhost").await;
    assert!(
        metrics.contains("clipmark_messages_refused_total{device=\"board-0\",kind=\"gaps\"} 7\n"),
        "{metrics}"
    );
}
