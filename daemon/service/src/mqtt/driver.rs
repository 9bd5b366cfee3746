//! The task that owns the socket: connects, reads packets, writes packets, probes the broker when it is silent.
//!
//! Packets are read and written by the library's codec. What it cannot read is read here, because brokers send it: a
//! DISCONNECT that ends after its reason code (mosquitto), reason codes that a PUBACK may not have, and the CONNACK of
//! a broker that speaks MQTT 3 only.

use super::closed::{Break, Closed, Place};
use super::reason::BrokerReason;
use super::{SetupError, Tls, tls};
use crate::systemd::Heartbeat;
use bytes::{Buf, BytesMut};
use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::v5::mqttbytes::v5::{ConnAck, ConnectReturnCode, Packet, PingReq, Publish, SubscribeReasonCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// Longest time to connect and be answered.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

const NOT_MQTT: &str = "what answers there does not speak MQTT";

/// Bytes that wait to be written, beyond which no further packet is taken.
const UNWRITTEN: usize = 256 << 10;

/// The task shows at least this often that it lives.
const BEAT: Duration = Duration::from_secs(10);

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What the broker sent, as far as it concerns the caller.
#[derive(Debug)]
pub(super) enum Incoming {
    ConnAck(Box<ConnAck>),
    PubAck { packet: u16, reason: BrokerReason },
    SubAck { packet: u16, refused: Option<String> },
    Publish(Box<Publish>),
}

/// What the task needs to know.
pub(super) struct Driver {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) connect: Packet,
    pub(super) client: String,
    pub(super) keepalive: Duration,
    /// Longest packet that is read.
    pub(super) max_packet: usize,
    pub(super) heartbeat: Heartbeat,
}

/// The TLS client, where one is asked for.
pub(super) fn tls_client(settings: &Tls) -> Result<Option<Arc<ClientConfig>>, SetupError> {
    Ok(if settings.enabled { Some(tls::client(settings)?) } else { None })
}

/// Packets as bytes, both ways.
#[derive(Default)]
struct Buffers {
    read: BytesMut,
    written: BytesMut,
}

impl Driver {
    fn place(&self, is_connected: bool) -> Place {
        let (host, port) = (&self.host, self.port);
        let broker = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Place { broker, host: host.clone(), has_tls: self.tls.is_some(), is_connected }
    }

    /// Runs until the connection is over; the last thing sent says why.
    pub(super) async fn run(
        self,
        mut outgoing: mpsc::UnboundedReceiver<Packet>,
        events: mpsc::Sender<Result<Incoming, Closed>>,
    ) {
        let closed = self.serve(&mut outgoing, &events).await;
        // Whoever waited for it may be gone.
        let _ = events.send(Err(closed)).await;
    }

    async fn serve(
        &self,
        outgoing: &mut mpsc::UnboundedReceiver<Packet>,
        events: &mpsc::Sender<Result<Incoming, Closed>>,
    ) -> Closed {
        let mut buffers = Buffers::default();
        let connected = timeout(CONNECT_LIMIT, self.connect(&mut buffers)).await;
        let (stream, connack) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(closed)) => return closed,
            Err(_) => return self.place(false).broken(Break::TimedOut),
        };
        self.heartbeat.beat();
        let of_broker = connack.properties.as_ref().and_then(|of| of.server_keep_alive).filter(|s| *s > 0);
        let keepalive = of_broker.map_or(self.keepalive, |s| Duration::from_secs(s.into()));
        let mut pump = Pump {
            driver: self,
            place: self.place(true),
            keepalive,
            heard: Instant::now(),
            sent: Instant::now(),
            is_probed: false,
            arrived: VecDeque::from([Incoming::ConnAck(Box::new(connack))]),
            buffers,
            is_leaving: false,
        };
        pump.run(stream, outgoing, events).await
    }

    async fn connect(&self, buffers: &mut Buffers) -> Result<(Box<dyn Stream>, ConnAck), Closed> {
        let place = self.place(false);
        let mut stream = self.dial().await.map_err(|why| place.broken(why))?;
        let written = self.connect.write(&mut buffers.written, None);
        written.map_err(|error| place.broken(Break::Protocol(error.to_string())))?;
        let sent = async {
            stream.write_all_buf(&mut buffers.written).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| place.broken(Break::Io(error)))?;
        loop {
            match Frame::next(&mut buffers.read, self.max_packet) {
                Ok(Some(frame)) => return frame.connack(&place).map(|connack| (stream, connack)),
                Ok(None) => {}
                Err(problem) => return Err(place.broken(Break::Protocol(problem))),
            }
            match stream.read_buf(&mut buffers.read).await {
                Ok(0) => return Err(place.broken(Break::Eof)),
                // Its length would be nonsense, and would be waited for.
                Ok(_) if buffers.read.first().is_some_and(|byte| byte >> 4 != CONNACK) => {
                    return Err(place.broken(Break::Protocol(NOT_MQTT.into())));
                }
                Ok(_) => {}
                Err(error) => return Err(place.broken(Break::Io(error))),
            }
        }
    }

    /// Connects to the first address that answers.
    async fn dial(&self) -> Result<Box<dyn Stream>, Break> {
        let addresses = lookup_host((self.host.as_str(), self.port)).await.map_err(Break::Resolve)?;
        let mut failed = std::io::Error::other("the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(tcp) => return self.encrypted(tcp).await,
                Err(error) => failed = error,
            }
        }
        Err(Break::Dial(failed))
    }

    async fn encrypted(&self, tcp: TcpStream) -> Result<Box<dyn Stream>, Break> {
        // Small packets that wait for each other's acknowledgement: without this each costs 40 ms.
        tcp.set_nodelay(true).map_err(Break::Io)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| Break::Resolve(std::io::Error::other(error)))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(Break::Tls)?;
        Ok(Box::new(stream))
    }
}

/// A connection that the broker has taken.
struct Pump<'a> {
    driver: &'a Driver,
    place: Place,
    keepalive: Duration,
    heard: Instant,
    sent: Instant,
    is_probed: bool,
    /// Read and not yet taken by the caller. While there is any, nothing more is read.
    arrived: VecDeque<Incoming>,
    buffers: Buffers,
    is_leaving: bool,
}

impl Pump<'_> {
    async fn run(
        &mut self,
        stream: Box<dyn Stream>,
        outgoing: &mut mpsc::UnboundedReceiver<Packet>,
        events: &mpsc::Sender<Result<Incoming, Closed>>,
    ) -> Closed {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut is_flushed = true;
        let closed = loop {
            let unwritten = !self.buffers.written.is_empty();
            let deadline = self.deadline();
            tokio::select! {
                permit = events.reserve(), if !self.arrived.is_empty() => match (permit, self.arrived.pop_front()) {
                    (Ok(permit), Some(incoming)) => {
                        permit.send(Ok(incoming));
                        // The broker was not silent, it was not listened to.
                        self.heard = Instant::now();
                    }
                    _ => break self.place.broken(Break::Eof),
                },
                read = reader.read_buf(&mut self.buffers.read), if self.arrived.is_empty() => match read {
                    Ok(0) => break self.place.broken(Break::Eof),
                    Ok(_) => {
                        self.heard = Instant::now();
                        if let Err(closed) = self.parse() {
                            break closed;
                        }
                    }
                    Err(error) => break self.place.broken(Break::Io(error)),
                },
                written = write_some(&mut writer, &mut self.buffers.written), if unwritten || !is_flushed => match written {
                    Ok(()) if !unwritten && self.is_leaving => break self.place.broken(Break::Eof),
                    Ok(()) => is_flushed = !unwritten,
                    // What the broker said before it closed says more.
                    Err(error) => break self.last_words(&mut reader, error).await,
                },
                packet = outgoing.recv(), if self.buffers.written.len() < UNWRITTEN && !self.is_leaving => match packet {
                    Some(packet) => if let Err(closed) = self.send(&packet) {
                        break closed;
                    },
                    None => break self.place.broken(Break::Eof),
                },
                () = sleep_until(deadline) => if let Err(closed) = self.tick() {
                    break closed;
                },
            }
            self.driver.heartbeat.beat();
        };
        for incoming in self.arrived.drain(..) {
            if events.send(Ok(incoming)).await.is_err() {
                break;
            }
        }
        closed
    }

    fn send(&mut self, packet: &Packet) -> Result<(), Closed> {
        self.is_leaving = matches!(packet, Packet::Disconnect(_));
        self.sent = Instant::now();
        let written = packet.write(&mut self.buffers.written, None);
        written.map(drop).map_err(|error| self.place.broken(Break::Protocol(error.to_string())))
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let probe = if self.is_probed { now + BEAT } else { self.sent.min(self.heard) + self.keepalive };
        probe.min(self.heard + self.keepalive * 3 / 2).min(now + BEAT)
    }

    /// Probes a broker that is silent, and gives up one that stays so. That also ends a write which it does not take.
    fn tick(&mut self) -> Result<(), Closed> {
        let silence = self.heard.elapsed();
        if silence >= self.keepalive * 3 / 2 {
            if self.arrived.is_empty() {
                return Err(Closed::Silent { broker: self.place.broker.clone(), silence });
            }
            self.heard = Instant::now();
        }
        if !self.is_probed && self.sent.min(self.heard).elapsed() >= self.keepalive {
            self.is_probed = true;
            self.send(&Packet::PingReq(PingReq))?;
        }
        Ok(())
    }

    fn parse(&mut self) -> Result<(), Closed> {
        loop {
            match Frame::next(&mut self.buffers.read, self.driver.max_packet) {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => self.take(frame)?,
                Err(problem) => return Err(self.place.broken(Break::Protocol(problem))),
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), Closed> {
        match frame.kind() {
            PUBACK => match frame.reason(2) {
                Some((packet, reason)) => self.arrived.push_back(Incoming::PubAck { packet, reason }),
                None => {
                    return Err(self
                        .place
                        .broken(Break::Protocol("the broker sent a malformed PUBACK".into())));
                }
            },
            DISCONNECT => {
                let reason = frame.reason(0).map_or(BrokerReason::new(0, &[]), |(_, reason)| reason);
                return Err(self.place.ended(reason, &self.driver.client));
            }
            PINGRESP => self.is_probed = false,
            _ => match frame.packet() {
                Ok(Packet::SubAck(ack)) => {
                    let refused =
                        ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
                    let refused = refused.map(|code| format!("{code:?}"));
                    self.arrived.push_back(Incoming::SubAck { packet: ack.pkid, refused });
                }
                Ok(Packet::Publish(publish)) => self.arrived.push_back(Incoming::Publish(Box::new(publish))),
                // Nothing else was asked for; AUTH, PUBREL and the like need no answer.
                Ok(_) => {}
                Err(problem) => return Err(self.place.broken(Break::Protocol(problem))),
            },
        }
        Ok(())
    }

    /// A write failed because the broker has closed the connection: its DISCONNECT may still lie in the socket.
    async fn last_words(&mut self, reader: &mut (impl AsyncRead + Unpin), error: std::io::Error) -> Closed {
        while let Ok(Ok(1..)) = timeout(Duration::from_secs(1), reader.read_buf(&mut self.buffers.read)).await
        {
            if let Err(closed) = self.parse() {
                return closed;
            }
        }
        self.place.broken(Break::Io(error))
    }
}

/// Writes a part of what waits, or flushes when nothing does. Cancel-safe.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), waiting: &mut BytesMut) -> std::io::Result<()> {
    if waiting.is_empty() { writer.flush().await } else { writer.write_buf(waiting).await.map(drop) }
}

const CONNACK: u8 = 2;
const PUBACK: u8 = 4;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// One whole packet, not yet understood.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    bytes: BytesMut,
    header: usize,
}

impl Frame {
    /// Takes the next whole packet from the front, if it is there.
    fn next(buffer: &mut BytesMut, most: usize) -> Result<Option<Self>, String> {
        let mut length = 0;
        for index in 0..4 {
            let Some(byte) = buffer.get(1 + index) else { return Ok(None) };
            length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let header = 2 + index;
                if header + length > most {
                    return Err(format!(
                        "the broker sent a packet of {} bytes; at most {most} were asked for",
                        header + length
                    ));
                }
                if buffer.len() < header + length {
                    buffer.reserve(header + length - buffer.len());
                    return Ok(None);
                }
                return Ok(Some(Self { bytes: buffer.split_to(header + length), header }));
            }
        }
        Err(NOT_MQTT.into())
    }

    fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    /// The packet identifier, where `skip` says that one comes first, and the reason code; a code that is left out is
    /// success.
    fn reason(&self, skip: usize) -> Option<(u16, BrokerReason)> {
        let mut body = &self.bytes[self.header..];
        if body.len() < skip {
            return None;
        }
        let packet = if skip == 2 { body.get_u16() } else { 0 };
        let code = body.first().copied().unwrap_or(0);
        // One byte for their length: no text that is worth reading is longer than what that reaches.
        Some((packet, BrokerReason::new(code, body.get(2..).unwrap_or_default())))
    }

    fn packet(mut self) -> Result<Packet, String> {
        let problem = |error| format!("the broker sent a packet that cannot be read ({error})");
        Packet::read(&mut self.bytes, None).map_err(problem)
    }

    fn connack(self, place: &Place) -> Result<ConnAck, Closed> {
        let broken = |problem: String| place.broken(Break::Protocol(problem));
        if self.kind() != CONNACK {
            return Err(broken(NOT_MQTT.into()));
        }
        let body = &self.bytes[self.header..];
        let code = body.get(1).copied().ok_or_else(|| broken("its answer to CONNECT is too short".into()))?;
        if body.len() == 2 {
            // Without properties it is not of MQTT 5.
            return Err(place.refused(&BrokerReason::new(if code == 0 { 1 } else { code }, &[])));
        }
        let connack = match self.packet().map_err(broken)? {
            Packet::ConnAck(connack) => connack,
            _ => return Err(broken(NOT_MQTT.into())),
        };
        if connack.code == ConnectReturnCode::Success {
            return Ok(connack);
        }
        let text = connack.properties.as_ref().and_then(|of| of.reason_string.as_deref());
        Err(place.refused(&BrokerReason::with_text(code, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(bytes: &[u8]) -> Frame {
        Frame::next(&mut BytesMut::from(bytes), 1 << 20).unwrap().unwrap()
    }

    #[test]
    fn a_disconnect_that_ends_after_its_reason_code_is_read() {
        // mosquitto's: no length of properties.
        let (_, reason) = frame(&[0xe0, 1, 0x8e]).reason(0).unwrap();
        assert_eq!(reason.code, BrokerReason::TAKEN_OVER);
        let (packet, reason) = frame(&[0x40, 3, 0, 7, 0x95]).reason(2).unwrap();
        assert_eq!((packet, reason.code), (7, BrokerReason::TOO_LARGE));
        assert_eq!(frame(&[0x40, 2, 0, 7]).reason(2).unwrap().1.code, 0);
        assert_eq!(frame(&[0x40, 1, 0]).reason(2), None);
    }

    #[test]
    fn a_packet_is_taken_when_it_is_whole() {
        let mut buffer = BytesMut::from(&[0xe0][..]);
        assert_eq!(Frame::next(&mut buffer, 100), Ok(None));
        buffer.extend([1, 0x8e, 0xd0]);
        assert!(Frame::next(&mut buffer, 100).unwrap().is_some());
        assert_eq!(Frame::next(&mut buffer, 100), Ok(None));
        buffer.extend([0x80, 0x80]);
        assert_eq!(Frame::next(&mut buffer, 100), Ok(None));
        buffer.extend([0x80, 0x80]);
        assert!(Frame::next(&mut buffer, 100).is_err());
        let mut long = BytesMut::from(&[0x30, 0xff, 0x7f][..]);
        assert!(Frame::next(&mut long, 100).unwrap_err().contains("at most 100"));
    }

    #[test]
    fn a_broker_without_mqtt_5_is_refused_for_that() {
        let place = Place { broker: "b:1".into(), host: "b".into(), has_tls: false, is_connected: false };
        for answer in [[0x20, 2, 0, 1], [0x20, 2, 0, 0]] {
            let refused = frame(&answer).connack(&place).unwrap_err().to_string();
            assert!(refused.contains("does not speak MQTT 5"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let place = Place { broker: "b:1".into(), host: "b".into(), has_tls: false, is_connected: false };
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = Frame::next(&mut buffer, 100) {
                let _ = frame.reason(2);
                let _ = frame.connack(&place);
            }
        }
    }
}
