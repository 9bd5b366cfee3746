//! `/metrics` in OpenMetrics text, for Prometheus and what reads its format.
//!
//! Numbers of boards by state, and of what is stored. There is no label per board unless asked for: ten
//! thousand boards would make ten thousand series of each.

use super::{PageError, Site};
use crate::store::{Counts, DeviceQuery, DeviceRow, RefusalRow};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use clipmark_profile::message::Availability;
use std::fmt::Write as _;

/// Most lines of boards that exceed their bounds.
const MOST_REFUSALS: u32 = 200;

/// Most boards with lines of their own.
const MOST_DEVICES: u32 = 10_000;

/// The answer.
pub(super) async fn show(State(site): State<Site>) -> Result<impl IntoResponse, PageError> {
    let each = site.per_device_metrics;
    let text = site
        .read(move |store| {
            let query = DeviceQuery { limit: MOST_DEVICES, ..DeviceQuery::default() };
            let devices = if each { store.devices(&query)? } else { Vec::new() };
            Ok(text(&store.counts()?, &devices, &store.refusals(MOST_REFUSALS)?))
        })
        .await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

fn text(counts: &Counts, devices: &[DeviceRow], refusals: &[RefusalRow]) -> String {
    let unknown = counts.devices.saturating_sub(counts.online + counts.busy + counts.offline);
    let mut out = String::from("# TYPE clipmark_devices gauge\n# HELP clipmark_devices Boards by state.\n");
    let states =
        [("online", counts.online), ("busy", counts.busy), ("offline", counts.offline), ("unknown", unknown)];
    for (state, count) in states {
        let _ = writeln!(out, "clipmark_devices{{state=\"{state}\"}} {count}");
    }
    // Absent rather than 0 where nothing was soaked.
    let throttled = (counts.soaked > 0).then_some((
        "devices_throttled",
        "Boards whose newest profile throttled, of those that were soaked in it.",
        counts.throttled,
    ));
    let gauges = [
        ("devices_soaked", "Boards whose newest profile has a soak.", counts.soaked),
        ("profiles_stored", "Profiles in the store.", counts.profiles),
        ("attachments_stored", "Series and events in the store.", counts.attachments),
        ("messages_set_aside", "Messages that could not be understood.", counts.poison),
        ("records_lost", "Records that devices declared lost.", counts.lost),
        ("records_ahead", "Records that came ahead of a missing one.", counts.ahead),
        ("parts_unfinished", "Parts of contents of which not all parts are here.", counts.unfinished),
        (
            "epochs_in_conflict",
            "Epochs of boards in which two contents came under one sequence.",
            counts.conflicts,
        ),
        ("records_unread", "Profiles and series that are stored and not yet read.", counts.unread),
    ];
    for (name, help, value) in throttled.into_iter().chain(gauges) {
        let _ = writeln!(
            out,
            "# TYPE clipmark_{name} gauge\n# HELP clipmark_{name} {help}\nclipmark_{name} {value}"
        );
    }
    if !refusals.is_empty() {
        out.push_str(
            "# TYPE clipmark_messages_refused counter\n# HELP clipmark_messages_refused Messages of boards that exceed \
             their bounds.\n",
        );
        for row in refusals {
            let (kind, messages) = (row.excess.name(), row.refused.messages);
            let _ = writeln!(
                out,
                "clipmark_messages_refused_total{{device=\"{}\",kind=\"{kind}\"}} {messages}",
                row.device
            );
        }
    }
    if !devices.is_empty() {
        out.push_str(
            "# TYPE clipmark_device_up gauge\n# HELP clipmark_device_up Whether a board is connected.\n",
        );
        for row in devices {
            let state = row.state.as_ref().map(|state| state.state);
            let up = matches!(state, Some(Availability::Online | Availability::Busy));
            // Device names have no character that would need escaping.
            let _ = writeln!(out, "clipmark_device_up{{device=\"{}\"}} {}", row.device, u8::from(up));
        }
    }
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Excess, Refused};

    #[test]
    fn families_are_described_once_and_the_text_ends_as_openmetrics_demands() {
        let counts = Counts {
            devices: 5,
            online: 2,
            busy: 1,
            offline: 1,
            soaked: 3,
            throttled: 1,
            ..Counts::default()
        };
        let text = text(&counts, &[], &[]);
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("clipmark_devices{state=\"unknown\"} 1\n"), "{text}");
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let distinct: std::collections::BTreeSet<&&str> = names.iter().collect();
        assert!(names.len() >= 10 && distinct.len() == names.len(), "{names:?}");
        assert!(text.contains("\nclipmark_devices_soaked 3\n"));
        assert!(text.contains("\nclipmark_devices_throttled 1\n"));
        assert!(!text.contains("device=\""), "no label per device unless asked for");
    }

    #[test]
    fn a_board_that_exceeds_its_bounds_is_named() {
        let refusal = RefusalRow {
            device: "orin-7".into(),
            excess: Excess::Gaps,
            refused: Refused { messages: 3, bytes: 10 },
            first_unix_ms: 1,
            last_unix_ms: 2,
        };
        let text = text(&Counts::default(), &[], &[refusal]);
        assert!(
            text.contains("\nclipmark_messages_refused_total{device=\"orin-7\",kind=\"gaps\"} 3\n"),
            "{text}"
        );
    }
}
