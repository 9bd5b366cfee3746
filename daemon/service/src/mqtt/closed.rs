//! Why a connection ended, in words that say what to do about it.

use super::reason::BrokerReason;
use super::terms::lacking;
use rustls::{AlertDescription, CertificateError};
use std::error::Error as _;
use std::io;
use std::time::Duration;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// It never came about, or broke.
    #[error("no connection to the broker at {broker}: {problem}; {advice}")]
    Lost {
        /// Where.
        broker: String,
        /// What happened.
        problem: String,
        /// What to do about it.
        advice: String,
        /// Whether the broker closed a connection that it had taken, without giving a reason.
        by_broker: bool,
    },
    /// The broker refused it.
    #[error("the broker at {broker} refuses this client: {reason}; {advice}")]
    Refused {
        /// Where.
        broker: String,
        /// The broker's reason.
        reason: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The broker cannot do what clipmark needs.
    #[error("the broker at {broker} does not offer what clipmark needs: {lacks}")]
    Unfit {
        /// Where.
        broker: String,
        /// The feature, and how to get it.
        lacks: &'static str,
    },
    /// The broker ended a connection that it had taken, and said why.
    #[error("the broker at {broker} ended the connection: {reason}; {}", ended_advice(reason.code))]
    Ended {
        /// Where.
        broker: String,
        /// Its reason.
        reason: BrokerReason,
    },
    /// Another client took over the session.
    #[error(
        "another client uses the id {client}: the broker says that it took over the session; give one of them another id"
    )]
    TakenOver {
        /// The shared id.
        client: String,
    },
    /// The broker says nothing any more.
    #[error(
        "the broker at {broker} has not answered for {} s, so the connection is given up; check that it is healthy",
        silence.as_secs()
    )]
    Silent {
        /// Where.
        broker: String,
        /// For how long.
        silence: Duration,
    },
}

/// A connection that could not be made, or that broke, as the socket, TLS or the packets showed it.
#[derive(Debug)]
pub(super) enum Break {
    /// The name has no address.
    Resolve(io::Error),
    /// No TCP connection.
    Dial(io::Error),
    /// No TLS session.
    Tls(io::Error),
    /// Nobody answered in time.
    TimedOut,
    /// The broker closed the socket.
    Eof,
    /// The socket broke.
    Io(io::Error),
    /// The bytes are no MQTT 5.
    Protocol(String),
}

/// Where a connection was when it ended.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) broker: String,
    pub(super) host: String,
    pub(super) has_tls: bool,
    /// Whether the broker had taken the connection.
    pub(super) is_connected: bool,
}

const REACH: &str = "check that it runs, can be reached, and is named by mqtt.host and mqtt.port";
const PLAIN_PORT: &str = "the port seems to be one without TLS: set mqtt.port to the broker's TLS port (8883 is usual), \
                          or mqtt.tls.enabled = false";
const TLS_PORT: &str = "the port may be one with TLS (set mqtt.tls.enabled = true) or of another service: check \
                        mqtt.host and mqtt.port";

impl Place {
    /// The end of a connection that broke.
    pub(super) fn broken(&self, why: Break) -> Closed {
        let by_broker = self.is_connected && matches!(&why, Break::Eof | Break::Io(_));
        let (problem, advice) = self.explained(why);
        Closed::Lost { broker: self.broker.clone(), problem, advice, by_broker }
    }

    fn explained(&self, why: Break) -> (String, String) {
        match why {
            Break::Resolve(error) => {
                (error.to_string(), "check mqtt.host, and that this machine resolves names".into())
            }
            Break::Dial(error) => (error.to_string(), dial_advice(&error).into()),
            Break::TimedOut if self.has_tls => {
                ("no answer in time".into(), format!("{REACH}, and that the port speaks TLS"))
            }
            Break::TimedOut => ("no answer in time".into(), REACH.into()),
            Break::Tls(error) => tls_explained(&error, &self.host),
            Break::Eof if self.is_connected => {
                ("the broker closed it without giving a reason".into(), "look into the broker's log".into())
            }
            Break::Eof if self.has_tls => {
                let advice = "look into the broker's log: it may ask for a client certificate (mqtt.tls.client_certificate \
                              and client_key)";
                ("it closed the connection before answering".into(), advice.into())
            }
            Break::Eof => ("it closed the connection before answering".into(), TLS_PORT.into()),
            Break::Io(error) => match tls_error(&error) {
                Some(_) => tls_explained(&error, &self.host),
                None if self.is_connected => (error.to_string(), REACH.into()),
                None if self.has_tls => (error.to_string(), REACH.into()),
                None => (error.to_string(), TLS_PORT.into()),
            },
            Break::Protocol(problem) if self.is_connected => (problem, "look into the broker's log".into()),
            Break::Protocol(problem) => (problem, TLS_PORT.into()),
        }
    }

    /// The end of a connection that the broker refused.
    pub(super) fn refused(&self, reason: &BrokerReason) -> Closed {
        let broker = self.broker.clone();
        if let Some(lacks) = lacking(reason.code) {
            return Closed::Unfit { broker, lacks };
        }
        let (reason, advice) = match reason.code {
            // MQTT 3 brokers answer 1.
            0x01 | 0x84 => (
                format!("it does not speak MQTT 5, which is required ({reason})"),
                "use a broker that does, or enable MQTT 5 in this one",
            ),
            0x88 | 0x89 | 0x97 | 0x9f => (
                reason.to_string(),
                "it has too much to do or limits its clients; it is tried again by itself",
            ),
            0x9c | 0x9d => (reason.to_string(), "set mqtt.host to the broker's new address"),
            0x90 => (
                reason.to_string(),
                "it does not accept the topic of the last will, clipmark/v1/...; allow that topic",
            ),
            0x95 => (
                reason.to_string(),
                "raise the packet size that it accepts: even the first packet is too large",
            ),
            _ => (reason.to_string(), "check user name, password, certificate and client id"),
        };
        Closed::Refused { broker, reason, advice }
    }

    /// The end of a connection that the broker had taken, by its own word.
    pub(super) fn ended(&self, reason: BrokerReason, client: &str) -> Closed {
        match reason.code {
            BrokerReason::TAKEN_OVER => Closed::TakenOver { client: client.into() },
            _ => Closed::Ended { broker: self.broker.clone(), reason },
        }
    }
}

fn ended_advice(code: u8) -> &'static str {
    match code {
        0x87 => "allow this user or client id what it does in the broker's ACL",
        0x8b | 0x89 | 0x98 | 0x9c | 0x9d | 0xa0 => "it is tried again by itself",
        0x8d => "check the network between this machine and the broker",
        BrokerReason::TOO_LARGE => {
            "a message is larger than the broker takes: raise its limit of packet or message size"
        }
        0x96 | 0x97 | 0x9f => "raise the broker's limits for this client",
        _ => "look into the broker's log",
    }
}

fn dial_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: check that the broker runs, and mqtt.host and mqtt.port"
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => {
            "this machine has no network or no route to the broker: check the cable, Wi-Fi and addresses; it is tried \
             again by itself"
        }
        io::ErrorKind::PermissionDenied => {
            "a firewall or the unit's IPAddressDeny forbids it: allow the broker's address"
        }
        _ => REACH,
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// What went wrong in TLS, and what to do about it.
fn tls_explained(error: &io::Error, host: &str) -> (String, String) {
    let Some(tls) = tls_error(error) else {
        let is_end = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let advice = if is_end { PLAIN_PORT } else { REACH };
        return (format!("the TLS handshake failed: {error}"), advice.into());
    };
    let advice = match tls {
        rustls::Error::InvalidCertificate(certificate) => certificate_advice(certificate, host),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => PLAIN_PORT.into(),
        rustls::Error::AlertReceived(alert) => alert_advice(*alert).into(),
        _ => "check the broker's TLS settings; TLS 1.2 or 1.3 is needed".into(),
    };
    let mut problem = tls.to_string();
    if let Some(cause) = tls.source() {
        problem = format!("{problem}: {cause}");
    }
    (problem, advice)
}

const CLOCK: &str = "compare this machine's clock (`date`, `timedatectl`) with the certificate's dates (`openssl x509 \
                     -noout -dates`)";

fn certificate_advice(error: &CertificateError, host: &str) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("{CLOCK}: set the clock if it is wrong, else renew the broker's certificate")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "{CLOCK}: a board without a battery starts in the past until the network sets its clock, and is then \
             connected by itself"
        ),
        // A signature that does not fit is that of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "set mqtt.tls.ca to the certificate of the authority that signed the broker's \
                                            certificate; without it those of the system are trusted"
                .into()
        }
        CertificateError::NotValidForName => {
            format!("set mqtt.host to a name in the certificate; {host} is not one")
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => format!(
            "the broker's certificate names no host in its subjectAltName: issue it anew with {}",
            subject_alternative(host)
        ),
        CertificateError::NotValidForNameContext { .. } => format!(
            "set mqtt.host to a name in the certificate, or issue the broker's certificate anew with {}",
            subject_alternative(host)
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "issue the broker's certificate anew with extendedKeyUsage=serverAuth".into()
        }
        CertificateError::Revoked => "renew the broker's certificate".into(),
        CertificateError::Other(_) => {
            "issue the broker's certificate anew: an X.509 version 3 end certificate \
                                       (basicConstraints=CA:FALSE), signed by the authority in mqtt.tls.ca"
                .into()
        }
        _ => "check the broker's certificate (`openssl x509 -noout -text`) and mqtt.tls.ca".into(),
    }
}

fn subject_alternative(host: &str) -> String {
    let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!("subjectAltName={kind}:{host}")
}

const fn alert_advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::HandshakeFailure => {
            "the broker does not accept this client's certificate: set mqtt.tls.client_certificate and client_key to \
             ones that the broker's authority signed"
        }
        AlertDescription::CertificateExpired => {
            "renew the client certificate (mqtt.tls.client_certificate), and check the broker's clock"
        }
        AlertDescription::UnrecognisedName => "the broker does not know itself by this name: check mqtt.host",
        _ => "check the broker's TLS settings; TLS 1.2 or 1.3 is needed",
    }
}
