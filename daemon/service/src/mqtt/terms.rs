//! What a broker says of itself in its CONNACK, held against what clipmark needs.
//!
//! A property that is absent stands for the full service (MQTT 5.0, section 3.2.2.3). A broker that lacks something
//! clipmark cannot do without is left with the feature's name; a broker that caps something is obeyed.

use rumqttc::v5::mqttbytes::v5::ConnAckProperties;

/// The feature without which boards could not be told online from offline.
const RETAINED: &str = "retained messages (RETAIN available), in which each device's state, the statuses of commands \
                        and receipts are kept; enable them in the broker's configuration";

/// The feature without which nobody could tell what the broker has taken.
const QOS_1: &str = "messages at QoS 1 (maximum QoS 1 or 2), by which it acknowledges what it has taken; raise its \
                     maximum QoS";

/// What the caller asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) session_expiry_s: u32,
    pub(super) keepalive_s: u16,
    pub(super) in_flight: u16,
    pub(super) filters: &'a [String],
}

/// The terms of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// A feature that clipmark needs and the broker does not have.
    pub(super) lacks: Option<&'static str>,
    /// Longest packet that the broker takes.
    pub(super) max_packet: Option<usize>,
    /// Unacknowledged messages that the broker takes.
    pub(super) in_flight: u16,
    /// Seconds without traffic after which the broker is probed.
    pub(super) keepalive_s: u16,
    /// What was asked for and is granted only in part, one sentence each.
    pub(super) caps: Vec<String>,
}

/// The feature that a reason code of a refused connection is about.
pub(super) const fn lacking(code: u8) -> Option<&'static str> {
    match code {
        0x9a => Some(RETAINED),
        0x9b => Some(QOS_1),
        _ => None,
    }
}

impl Terms {
    pub(super) fn read(properties: Option<&ConnAckProperties>, asked: Asked<'_>) -> Self {
        let Some(of) = properties else {
            return Self { in_flight: asked.in_flight, keepalive_s: asked.keepalive_s, ..Self::default() };
        };
        // Nothing at all, or a probe without end, is not what a broker can mean by 0.
        let in_flight = of.receive_max.filter(|most| *most > 0).unwrap_or(u16::MAX).min(asked.in_flight);
        let keepalive_s = of.server_keep_alive.filter(|s| *s > 0).unwrap_or(asked.keepalive_s);
        let mut caps = Vec::new();
        if let Some(granted) = of.session_expiry_interval.filter(|granted| *granted < asked.session_expiry_s)
        {
            caps.push(format!(
                "the broker keeps the session of an absent client for {granted} s, not for the {} s of \
                 mqtt.session_expiry_s: requests to a device that is away longer are lost",
                asked.session_expiry_s
            ));
        }
        if in_flight < asked.in_flight {
            caps.push(format!(
                "the broker takes {in_flight} unacknowledged messages at a time, not {}",
                asked.in_flight
            ));
        }
        if keepalive_s != asked.keepalive_s {
            caps.push(format!(
                "the broker asks for a keep alive of {keepalive_s} s instead of the {} s of mqtt.keepalive_s",
                asked.keepalive_s
            ));
        }
        Self {
            lacks: lacks(of, asked.filters),
            max_packet: of.max_packet_size.map(|most| most as usize),
            in_flight,
            keepalive_s,
            caps,
        }
    }
}

fn lacks(of: &ConnAckProperties, filters: &[String]) -> Option<&'static str> {
    let is_shared = |filter: &String| filter.starts_with("$share/");
    let has_wildcard = |filter: &String| filter.contains(['+', '#']);
    if of.retain_available == Some(0) {
        return Some(RETAINED);
    }
    if of.max_qos == Some(0) {
        return Some(QOS_1);
    }
    if of.wildcard_subscription_available == Some(0) && filters.iter().any(has_wildcard) {
        return Some(
            "subscriptions with wildcards (+ and #), by which requests are received; enable them in the broker's configuration",
        );
    }
    if of.shared_subscription_available == Some(0) && filters.iter().any(is_shared) {
        return Some(
            "shared subscriptions ($share), by which several aggregators divide the work; enable them in the broker's \
             configuration, or set aggregator.share = \"\" and run one aggregator",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> ConnAckProperties {
        ConnAckProperties {
            session_expiry_interval: None,
            receive_max: None,
            max_qos: None,
            retain_available: None,
            max_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }

    fn read(of: &ConnAckProperties) -> Terms {
        let filters = ["clipmark/v1/d/+/state".to_owned(), "$share/fleet/clipmark/v1/d/+/up/+".to_owned()];
        let asked = Asked { session_expiry_s: 100, keepalive_s: 30, in_flight: 16, filters: &filters };
        Terms::read(Some(of), asked)
    }

    #[test]
    fn what_is_absent_is_granted_in_full() {
        let full = Terms { in_flight: 16, keepalive_s: 30, ..Terms::default() };
        assert_eq!(read(&properties()), full);
        let nonsense = ConnAckProperties { receive_max: Some(0), server_keep_alive: Some(0), ..properties() };
        assert_eq!(read(&nonsense), full);
    }

    #[test]
    fn a_cap_is_obeyed_and_said() {
        let terms = read(&ConnAckProperties {
            session_expiry_interval: Some(60),
            receive_max: Some(2),
            max_packet_size: Some(2000),
            server_keep_alive: Some(10),
            ..properties()
        });
        assert_eq!((terms.in_flight, terms.keepalive_s, terms.max_packet), (2, 10, Some(2000)));
        let said = terms.caps.join("\n");
        for part in ["for 60 s, not for the 100 s", "takes 2 unacknowledged", "keep alive of 10 s"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(terms.lacks, None);
    }

    #[test]
    fn a_feature_that_is_missing_is_named() {
        let lacks = |change: fn(&mut ConnAckProperties)| {
            let mut of = properties();
            change(&mut of);
            read(&of).lacks.unwrap()
        };
        assert!(lacks(|of| of.retain_available = Some(0)).contains("retained messages"));
        assert!(lacks(|of| of.max_qos = Some(0)).contains("QoS 1"));
        assert!(lacks(|of| of.wildcard_subscription_available = Some(0)).contains("wildcards"));
        assert!(lacks(|of| of.shared_subscription_available = Some(0)).contains("aggregator.share"));
    }
}
