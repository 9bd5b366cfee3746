//! The pages over a real socket and a real store.

use super::{Dashboard, DashboardError, Offer};
use crate::config;
use crate::ingest::Live;
use crate::store::{Content, Message, Record, Store};
use clipmark_profile::example;
use clipmark_profile::message::{Availability, DeviceState, Epoch};
use clipmark_profile::topics::{DeviceId, UpKind};
use clipmark_profile::wire::encode_profile;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

fn store_in(folder: &Path) -> config::Store {
    config::Store { path: folder.join("fleet.db"), ..config::Store::default() }
}

/// A fleet of `boards`, the last of which is a third slower.
fn fill(config: &config::Store, boards: u32) {
    let mut store = Store::open(config).unwrap();
    for board in 0..boards {
        let device: DeviceId = format!("board-{board}").parse().unwrap();
        let mut profile = example::profile_of_27_points();
        profile.run.id = format!("{board:016x}");
        let base = if board + 1 == boards { 8_000_000 } else { 6_000_000 } + u64::from(board) * 1_000;
        let at = profile.points[0].id.at;
        profile.points = vec![example::measured(0, at, base, 300)];
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
    let dashboard = Dashboard::listen(&offer("127.0.0.1:0"), &store, live).await.unwrap();
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
    let refused = Dashboard::listen(&offer("0.0.0.0:0"), &store_in(folder.path()), live).await;
    assert!(matches!(refused.err(), Some(DashboardError::Open { .. })));
}
