//! The broker, and the terms of the session with it, as a configuration file has them.

use crate::config::{Pair, Range};
use crate::secret::SecretPath;
use serde::Deserialize;

/// The broker, and the terms of the session with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name, by file.
    pub username_file: Option<SecretPath>,
    /// Password, by file.
    pub password_file: Option<SecretPath>,
    /// Seconds without traffic after which the connection is probed.
    pub keepalive_s: u16,
    /// Seconds for which the broker keeps the session of an absent client.
    pub session_expiry_s: u32,
    /// Seconds for which the broker waits before it declares an absent client offline.
    pub will_delay_s: u32,
    /// Longest packet that is received.
    pub max_packet_bytes: u32,
    /// Shortest pause before connecting again, in milliseconds.
    pub backoff_min_ms: u32,
    /// Longest pause before connecting again, in milliseconds.
    pub backoff_max_ms: u32,
    /// Encryption.
    pub tls: Tls,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 1883,
            username_file: None,
            password_file: None,
            keepalive_s: 30,
            session_expiry_s: 7 * 86_400,
            will_delay_s: 15,
            // No message of clipmark is longer than 66 KiB.
            max_packet_bytes: 128 << 10,
            backoff_min_ms: 100,
            backoff_max_ms: 60_000,
            tls: Tls::default(),
        }
    }
}

impl Mqtt {
    /// The numbers with what is permitted.
    #[must_use]
    pub fn ranges(&self) -> [Range; 7] {
        [
            ("mqtt.port", self.port.into(), 1, 65_535),
            // The client library refuses less than 5 s.
            ("mqtt.keepalive_s", self.keepalive_s.into(), 5, 3600),
            ("mqtt.session_expiry_s", self.session_expiry_s.into(), 0, u64::from(u32::MAX)),
            ("mqtt.will_delay_s", self.will_delay_s.into(), 0, 3600),
            ("mqtt.max_packet_bytes", self.max_packet_bytes.into(), 128 << 10, 64 << 20),
            ("mqtt.backoff_min_ms", self.backoff_min_ms.into(), 10, self.backoff_max_ms.into()),
            ("mqtt.backoff_max_ms", self.backoff_max_ms.into(), 10, 3_600_000),
        ]
    }

    /// The keys that are set together.
    #[must_use]
    pub const fn pairs(&self) -> [Pair; 4] {
        let (password, username) = (self.password_file.is_some(), self.username_file.is_some());
        let (key, certificate) = (self.tls.client_key.is_some(), self.tls.client_certificate.is_some());
        [
            ("mqtt.password_file", password, "mqtt.username_file", username),
            ("mqtt.tls.client_key", key, "mqtt.tls.client_certificate", certificate),
            ("mqtt.tls.client_certificate", certificate, "mqtt.tls.client_key", key),
            ("mqtt.tls.ca", self.tls.ca.is_some(), "mqtt.tls.enabled", self.tls.enabled),
        ]
    }
}

/// Encryption of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether the connection is encrypted.
    pub enabled: bool,
    /// Certificates that vouch for the broker, PEM; absent: the system's.
    pub ca: Option<SecretPath>,
    /// The client's own certificate chain, PEM.
    pub client_certificate: Option<SecretPath>,
    /// The client's own key, PEM.
    pub client_key: Option<SecretPath>,
}
