//! A proxy before a real broker that changes what the broker says, for brokers that cannot be had here.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Ids of CONNACK's properties (MQTT 5.0, section 3.2.2.3).
pub(crate) mod property {
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
}

/// Kinds of packets, without their flags.
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;

/// What the proxy does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// Properties that CONNACK gets in place of the broker's own.
    pub(crate) connack: Vec<u8>,
    /// A PUBLISH whose packet is longer ends the connection.
    pub(crate) longest: Option<usize>,
    /// A PUBLISH to a topic with this part ends the connection.
    pub(crate) forbidden: Option<&'static str>,
    /// A PUBLISH whose payload holds this ends the connection.
    pub(crate) disliked: Option<&'static str>,
    /// A SUBSCRIBE to a filter with this part ends the connection.
    pub(crate) unreadable: Option<&'static str>,
    /// What is sent before the end.
    pub(crate) last_words: Vec<u8>,
}

/// A running proxy. Its threads end with the test's process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) connections: Arc<AtomicUsize>,
    /// The most messages at QoS 1 that were under way at once.
    pub(crate) in_flight: Arc<AtomicUsize>,
}

fn packet(from: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    from.read_exact(&mut byte).ok()?;
    let kind = byte[0];
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        from.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((kind, body))
}

fn encoded(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn holds(body: &[u8], part: &str) -> bool {
    body.windows(part.len()).any(|window| window == part.as_bytes())
}

impl Behaviour {
    fn is_refused(&self, kind: u8, body: &[u8]) -> bool {
        match kind {
            PUBLISH => {
                let (topic, rest) = body[2..].split_at(usize::from(u16::from_be_bytes([body[0], body[1]])));
                self.longest.is_some_and(|longest| body.len() > longest)
                    || self.forbidden.is_some_and(|part| holds(topic, part))
                    || self.disliked.is_some_and(|part| holds(rest, part))
            }
            SUBSCRIBE => self.unreadable.is_some_and(|part| holds(body, part)),
            _ => false,
        }
    }
}

impl Proxy {
    pub(crate) fn start(broker: u16, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, in_flight) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&connections), Arc::clone(&in_flight));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counts.0.fetch_add(1, Ordering::Relaxed);
                let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let behaviour = behaviour.clone();
                let most = Arc::clone(&counts.1);
                std::thread::spawn(move || relay(client, broker, &behaviour, &most));
            }
        });
        Self { port, connections, in_flight }
    }
}

fn relay(client: TcpStream, broker: TcpStream, behaviour: &Behaviour, most: &AtomicUsize) {
    let under_way = Arc::<AtomicUsize>::default();
    let back = {
        let (mut from, mut to) = (broker.try_clone().unwrap(), client.try_clone().unwrap());
        let (connack, under_way) = (behaviour.connack.clone(), Arc::clone(&under_way));
        std::thread::spawn(move || {
            while let Some((kind, mut body)) = packet(&mut from) {
                if kind >> 4 == 2 && !connack.is_empty() {
                    body.truncate(2);
                    body.push(connack.len() as u8);
                    body.extend(&connack);
                }
                if kind >> 4 == 4 {
                    under_way.fetch_sub(1, Ordering::SeqCst);
                }
                if to.write_all(&encoded(kind, &body)).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        })
    };
    let (mut from, mut to) = (client, broker);
    while let Some((kind, body)) = packet(&mut from) {
        if behaviour.is_refused(kind >> 4, &body) {
            let _ = from.write_all(&behaviour.last_words);
            break;
        }
        if kind >> 4 == PUBLISH && kind & 0x06 == 0x02 {
            most.fetch_max(1 + under_way.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        }
        if to.write_all(&encoded(kind, &body)).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = back.join();
}
