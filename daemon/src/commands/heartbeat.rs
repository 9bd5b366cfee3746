//! A sign of life while something takes long that cannot report by itself: reading a large model, building an engine.
//!
//! A thread of its own wakes once a second while there is something to report, and sleeps otherwise. It ends with
//! its owner.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(1);

/// Reports after this long where lines stay, and then each time the wait has doubled.
const FIRST_LINE: Duration = Duration::from_secs(10);

/// Reports on what goes on, until told that it is over.
#[derive(Debug)]
pub(super) struct Heartbeat {
    sender: Option<Sender<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// `live`: whether a line can be rewritten; else only long waits are reported. `write` puts text out.
    pub(super) fn start(live: bool, write: fn(&str)) -> Self {
        let (sender, receiver) = channel();
        let thread =
            std::thread::Builder::new().name("heartbeat".into()).spawn(move || beat(&receiver, live, write));
        Self { sender: Some(sender), thread: thread.ok() }
    }

    /// `doing` begins now; `None`: nothing is to be reported.
    pub(super) fn set(&self, doing: Option<String>) {
        if let Some(sender) = &self.sender {
            // Without its thread there is nobody to report to.
            let _ = sender.send(doing);
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn beat(receiver: &Receiver<Option<String>>, live: bool, write: fn(&str)) {
    let mut doing: Option<(String, Instant)> = None;
    let mut next_line = FIRST_LINE;
    loop {
        let received = match &doing {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => receiver.recv_timeout(PERIOD),
        };
        match received {
            Ok(now) => {
                doing = now.map(|text| (text, Instant::now()));
                next_line = FIRST_LINE;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let Some((text, began)) = &doing else { continue };
        let waited = began.elapsed();
        if live && waited >= PERIOD {
            write(&format!("\r\x1b[K{}", words(text, waited)));
        } else if !live && waited >= next_line {
            write(&format!("{}\n", words(text, waited)));
            next_line *= 2;
        }
    }
}

fn words(text: &str, waited: Duration) -> String {
    format!("{text}, {} s so far", waited.as_secs())
}

#[cfg(test)]
mod tests {
    use super::{Heartbeat, words};
    use std::sync::Mutex;
    use std::time::Duration;

    static SAID: Mutex<String> = Mutex::new(String::new());

    #[test]
    fn a_long_preparation_is_reported_while_it_lasts_and_no_longer() {
        let heartbeat = Heartbeat::start(true, |text| SAID.lock().unwrap().push_str(text));
        heartbeat.set(Some("preparing m B1 T8".into()));
        while !SAID.lock().unwrap().contains("preparing m B1 T8, 1 s so far") {
            std::thread::yield_now();
        }
        heartbeat.set(None);
        drop(heartbeat);
        assert_eq!(words("reading", Duration::from_secs(65)), "reading, 65 s so far");
    }
}
