//! A broker inside the process, on the loopback address: for trying, where no broker is at hand.
//!
//! It keeps nothing on disk, lets everybody do everything, and so is never offered to another machine.

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long the broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Something else uses the port.
    #[error(
        "port {port} on the loopback address cannot be used; stop what listens there, or set mqtt.port to another"
    )]
    Port {
        /// The port.
        port: u16,
        /// The kernel's words.
        #[source]
        source: std::io::Error,
    },
    /// The broker does not come up.
    #[error("the embedded broker does not come up on {address}; use a real broker, e.g. mosquitto")]
    Silent {
        /// Where it was to listen.
        address: SocketAddr,
    },
}

/// Starts a broker for the rest of the process's life. Port 0 takes any that is free.
///
/// # Errors
/// When the port is taken, or the broker does not come up.
pub fn start(port: u16) -> Result<SocketAddr, EmbeddedError> {
    // The library takes an address, not a socket: a taken port is told here, in plain words.
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.local_addr())
        .map_err(|source| EmbeddedError::Port { port, source })?;
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: 1 << 20,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "clipmark".into(),
        listen: probe,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 1000,
        max_outgoing_packet_count: 200,
        max_segment_size: 16 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config =
        Config { router, v5: Some(HashMap::from([("clipmark".to_owned(), server)])), ..Config::default() };
    let thread = std::thread::Builder::new().name("broker".into());
    let spawned = thread.spawn(move || {
        if let Err(error) = Broker::new(config).start() {
            tracing::error!(%error, "the embedded broker has stopped");
        }
    });
    spawned.map_err(|source| EmbeddedError::Port { port, source })?;
    let from = Instant::now();
    while from.elapsed() < PATIENCE {
        if TcpStream::connect(probe).is_ok() {
            return Ok(probe);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(EmbeddedError::Silent { address: probe })
}
