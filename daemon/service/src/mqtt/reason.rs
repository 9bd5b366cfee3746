//! MQTT 5's reason codes, as a broker gives them for a connection, a message or a subscription.

use std::fmt;

/// Every code above 0x7f of MQTT 5.0, section 2.4, in plain words. One list for CONNACK, PUBACK, SUBACK and
/// DISCONNECT: brokers do not keep to the codes that each of these may have (mosquitto answers a PUBLISH that is
/// too large with a PUBACK of 0x95).
const MEANINGS: [(u8, &str); 37] = [
    (0x80, "unspecified error"),
    (0x81, "malformed packet"),
    (0x82, "protocol error"),
    (0x83, "implementation specific error"),
    (0x84, "unsupported protocol version"),
    (0x85, "client identifier not valid"),
    (0x86, "bad user name or password"),
    (0x87, "not authorized"),
    (0x88, "server unavailable"),
    (0x89, "server busy"),
    (0x8a, "banned"),
    (0x8b, "server shutting down"),
    (0x8c, "bad authentication method"),
    (0x8d, "keep alive timeout"),
    (0x8e, "session taken over"),
    (0x8f, "topic filter invalid"),
    (0x90, "topic name invalid"),
    (0x91, "packet identifier in use"),
    (0x92, "packet identifier not found"),
    (0x93, "receive maximum exceeded"),
    (0x94, "topic alias invalid"),
    (0x95, "packet too large"),
    (0x96, "message rate too high"),
    (0x97, "quota exceeded"),
    (0x98, "administrative action"),
    (0x99, "payload format invalid"),
    (0x9a, "retain not supported"),
    (0x9b, "QoS not supported"),
    (0x9c, "use another server"),
    (0x9d, "server moved"),
    (0x9e, "shared subscriptions not supported"),
    (0x9f, "connection rate exceeded"),
    (0xa0, "maximum connect time"),
    (0xa1, "subscription identifiers not supported"),
    (0xa2, "wildcard subscriptions not supported"),
    // MQTT 3's two codes of a refused connection that brokers without MQTT 5 give.
    (0x01, "unacceptable protocol version"),
    (0x05, "not authorized"),
];

/// A reason code with the sentence that the broker added, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerReason {
    /// The code.
    pub code: u8,
    /// The broker's own text, shortened and cleaned.
    pub text: Option<String>,
}

/// Longest text of a broker that is repeated.
const LONGEST: usize = 200;

impl BrokerReason {
    /// Packet too large.
    pub const TOO_LARGE: u8 = 0x95;
    /// Another connection took over the session.
    pub const TAKEN_OVER: u8 = 0x8e;

    /// A code with the properties of its packet, of which the reason string is kept.
    pub(super) fn new(code: u8, properties: &[u8]) -> Self {
        Self { code, text: reason_string(properties).map(cleaned) }
    }

    /// A code with the text that a parser found.
    pub(super) fn with_text(code: u8, text: Option<&str>) -> Self {
        Self { code, text: text.map(cleaned) }
    }

    /// Whether a broker gives this code because of a message that it was sent: sending the message again leads to
    /// the same end.
    #[must_use]
    pub const fn blames_a_message(&self) -> bool {
        matches!(self.code, 0x80..=0x83 | 0x87 | 0x90 | 0x94 | 0x95 | 0x97 | 0x99..=0x9b)
    }
}

fn cleaned(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// The reason string among the properties of a PUBACK or DISCONNECT, in which only user properties, a session expiry
/// and a server reference may stand beside it. What cannot be read holds no text.
fn reason_string(properties: &[u8]) -> Option<&str> {
    let string = |at: &[u8]| -> Option<usize> {
        Some(2 + usize::from(u16::from_be_bytes([*at.first()?, *at.get(1)?])))
    };
    let mut rest = properties;
    while let Some((kind, after)) = rest.split_first() {
        let length = match kind {
            0x1f => {
                let length = string(after)?;
                return std::str::from_utf8(after.get(2..length)?).ok();
            }
            0x26 => {
                let key = string(after)?;
                key + string(after.get(key..)?)?
            }
            0x1c => string(after)?,
            0x11 => 4,
            _ => return None,
        };
        rest = after.get(length..)?;
    }
    None
}

impl fmt::Display for BrokerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MEANINGS.iter().find(|(code, _)| *code == self.code) {
            Some((_, meaning)) => f.write_str(meaning)?,
            None => write!(f, "reason code {:#04x}", self.code)?,
        }
        match &self.text {
            Some(text) if !text.is_empty() => write!(f, " (\"{text}\")"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reason_says_its_meaning_and_the_brokers_own_text() {
        let properties = [0x26, 0, 1, b'k', 0, 1, b'v', 0x1f, 0, 4, b'l', b'e', 0x1b, b'n'];
        assert_eq!(BrokerReason::new(0x97, &properties).to_string(), "quota exceeded (\"len\")");
        assert_eq!(BrokerReason::new(0x95, &[]).to_string(), "packet too large");
        assert_eq!(BrokerReason::new(0xff, &[]).to_string(), "reason code 0xff");
    }

    #[test]
    fn each_code_has_one_meaning() {
        let mut codes: Vec<u8> = MEANINGS.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), MEANINGS.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(code: u8, properties: Vec<u8>) {
            let text = BrokerReason::new(code, &properties).to_string();
            prop_assert!(!text.contains(char::is_control));
        }
    }
}
