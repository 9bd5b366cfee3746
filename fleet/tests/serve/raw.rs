//! A client without manners.

use std::io::{Read, Write};
use std::net::TcpStream;

/// An MQTT 5 client that does not wait for anything, not even for its own acknowledgements.
pub(crate) struct Raw(TcpStream);

/// A length as MQTT writes it.
fn variable(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = length >= 128;
        bytes.push((length % 128) as u8 | if more { 0x80 } else { 0 });
        length /= 128;
        if !more {
            return bytes;
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

impl Raw {
    /// None when no broker lets it in.
    pub(crate) fn connect(port: u16, client: &str) -> Option<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let body = [text("MQTT"), vec![5, 2, 0, 0, 0], text(client)].concat();
        stream.write_all(&[vec![0x10], variable(body.len()), body].concat()).ok()?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).ok()?;
        ((answer[0], answer[3]) == (0x20, 0)).then_some(Self(stream))
    }

    /// Publishes at QoS 0. False when the broker has ended the connection.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> bool {
        let head = [text(topic), vec![0]].concat();
        let packet = [vec![0x30], variable(head.len() + payload.len()), head].concat();
        self.0.write_all(&packet).and_then(|()| self.0.write_all(payload)).is_ok()
    }
}
