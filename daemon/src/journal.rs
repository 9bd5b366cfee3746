//! The log as systemd's journal takes it: a line for people, and every field on its own for searching.
//!
//! An event's fields become journal fields with the prefix `CLIPMARK_`, e.g. `CLIPMARK_COMMAND=nightly`, so
//! that `journalctl CLIPMARK_COMMAND=nightly` finds all of a command. Used only where standard error is the
//! journal (`$JOURNAL_STREAM`); the protocol is systemd's "Native Journal Protocol". Spans are left out: the
//! daemon has none.

use std::fmt::{Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest value that is sent: a datagram must fit into a socket's buffer.
const LONGEST: usize = 16 << 10;

/// Sends events to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// The journal, where `journal_stream` (the variable's value) says that standard error leads there.
    #[must_use]
    pub fn of_standard_error(journal_stream: &str) -> Option<Self> {
        let stat = rustix::fs::fstat(rustix::stdio::stderr()).ok()?;
        if journal_stream != format!("{}:{}", stat.st_dev, stat.st_ino) {
            return None;
        }
        Self::at(SOCKET).ok()
    }

    fn at(socket: &str) -> io::Result<Self> {
        let own = UnixDatagram::unbound()?;
        own.connect(socket)?;
        Ok(Self { socket: own })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // A journal that takes nothing leaves nowhere to say so.
        let _ = self.socket.send(&datagram(event.metadata(), &fields));
    }
}

/// An event's message and fields.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = format!("{value:?}");
        text.truncate(text.floor_char_boundary(LONGEST));
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((name, text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

fn datagram(event: &tracing::Metadata<'_>, fields: &Fields) -> Vec<u8> {
    let mut line = fields.message.clone();
    for (name, value) in &fields.others {
        let _ = write!(line, " {name}={value}");
    }
    let mut bytes = Vec::new();
    put(&mut bytes, "PRIORITY", priority(*event.level()));
    put(&mut bytes, "SYSLOG_IDENTIFIER", "clipmarkd");
    put(&mut bytes, "CODE_MODULE", event.target());
    put(&mut bytes, "MESSAGE", &line);
    for (name, value) in &fields.others {
        put(&mut bytes, &field_name(name), value);
    }
    bytes
}

/// syslog's number of a level.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// A journal field's name: upper-case letters, digits and underscores.
fn field_name(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("CLIPMARK_{}", plain.collect::<String>())
}

/// One field: `NAME=value`, or with the value's length before it where the value has several lines.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn logged(log: impl FnOnce()) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(path.to_str().unwrap()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
        let mut buffer = vec![0; 64 << 10];
        let length = journald.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn an_event_is_a_line_for_people_and_fields_for_searching() {
        let sent = logged(|| tracing::warn!(command = %"nightly", attempt = 2, "a command starts"));
        let sent = String::from_utf8(sent).unwrap();
        let lines: Vec<&str> = sent.lines().collect();
        assert_eq!(
            lines,
            [
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=clipmarkd",
                "CODE_MODULE=clipmark_daemon::journal::tests",
                "MESSAGE=a command starts command=nightly attempt=2",
                "CLIPMARK_COMMAND=nightly",
                "CLIPMARK_ATTEMPT=2",
            ]
        );
    }

    #[test]
    fn a_value_of_several_lines_goes_with_its_length() {
        let sent = logged(|| tracing::error!(detail = "one\ntwo", "it failed"));
        let expected = b"CLIPMARK_DETAIL\n\x07\0\0\0\0\0\0\0one\ntwo\n";
        assert!(sent.ends_with(expected), "{:?}", String::from_utf8_lossy(&sent));
    }

    #[test]
    fn standard_error_that_is_no_journal_is_not_taken_for_one() {
        assert!(Journal::of_standard_error("0:0").is_none());
        assert!(Journal::of_standard_error("").is_none());
    }
}
